/* What blob.c (feeding and threads) and work.c (what is done with one part of a layer) share. */

#ifndef PIPELINE_H
#define PIPELINE_H

#include <pthread.h>
#include <sys/types.h>
#include "core.h"

#define WINDOW ((size_t)32768)
#ifndef SMALL
/* A stream up to WHOLE bytes, either way, is done in one piece; a longer one is parts of CHUNK bytes of content, which has
   no less than WINDOW. */
#define WHOLE ((uint64_t)512 << 10)
#define CHUNK ((size_t)512 << 10)
#define INPUT ((size_t)128 << 10)
/* Content of a part that is made of many entries, about. */
#define PART ((uint64_t)256 << 10)
/* Of a file that is hashed beside the layer, at a time. */
#define BESIDE ((size_t)64 << 10)
#else /* for tests: what takes megabytes otherwise */
#define WHOLE ((uint64_t)JOINED)
#define CHUNK WINDOW
#define INPUT ((size_t)3 << 10)
#define PART ((uint64_t)2 << 10)
#define BESIDE ((size_t)3 << 10)
#endif
/* What lies uncompressed and is longer is so many members of so many bytes, and parts; a part of the format, as is JOINED. */
#define SEGMENT ((size_t)256 << 10)
/* One part of a stream that takes more input than this is left to Python. */
#define MOST_INPUT (4 * CHUNK)

enum { OP_HEADER = 1, OP_PIECE, OP_ZEROS, OP_FLUSH, OP_DEFLATED, OP_PLAIN };
enum { HAS_HASH = 1, HAS_CRC = 2, TELL_CRC = 4 };

typedef struct {
    uint8_t op, flags, kind;
    uint32_t mode, uid, gid;                  /* header */
    const uint8_t *name, *link, *data, *hash; /* header; piece; content */
    unsigned name_size, link_size;
    int file; /* content: a descriptor, and where in it */
    uint64_t offset, csize, size;
    uint32_t crc, place; /* expected; where to tell the one found */
} operation;

/* The operation at *at, which moves on; false where that is none. */
int next_operation(const uint8_t **at, const uint8_t *end, operation *o);

/* Whether it is content that may share a member with what is around it. */
int shares(const operation *o);

typedef struct {
    uint8_t *data;
    size_t size, room;
} buffer;

int make_room(buffer *b, size_t room);
/* All of `size` bytes at `offset`; false where there are fewer. */
int read_all(int file, uint8_t *to, uint64_t size, uint64_t offset);

typedef struct {
    operation o;
    uint8_t hash[32];
    uint64_t parts, done; /* `done` have been made */
    uint64_t owners;      /* its parts that are queued, and whoever queues them */
    int busy;
    /* for DEFLATE */
    inflater inflating;
    uint64_t read;
    uint8_t input[INPUT + SLACK_IN];
    const uint8_t *in, *in_end;
    uint8_t carried[WINDOW + SLACK_OUT];
    size_t beyond;
    /* of those that have been hashed */
    sha256 hashed;
    uint32_t crc;
    uint64_t seen;
} stream;

typedef struct {
    size_t at, size;
    uint8_t hash[32];
} check;

typedef struct {
    uint32_t place, crc;
} told;

enum { FREE, QUEUED, RUNNING, MADE };

typedef struct {
    int state;
    uint8_t *ops; /* a part of many entries, where `of` is NULL */
    size_t ops_size;
    stream *of;
    uint64_t number; /* of the part of the stream */
    buffer tar, blob;
    size_t tar_at; /* where the content begins in `tar`, which ends at tar.size */
    check *checks;
    size_t checks_count, checks_room;
    told *told;
    size_t told_count, told_room;
} part;

/* So many parts, all free, whose memory may have been another layer's; NULL where there is no room for them. Then they are kept
   for the next one. */
part *kept_parts(uint64_t places);
void keep_parts(part *parts, uint64_t places);

/* Files that are hashed beside the layer, one after the other. */
typedef struct {
    int *files;
    uint8_t (*hashes)[32];
    size_t count, done; /* of them, so many have been */
    uint64_t at;        /* up to where the next one was read */
    sha256 now;
    uint8_t *data;
    size_t from, size; /* of `data`, what was not hashed yet */
    uint64_t left, room; /* bytes of all; bytes of the tar stream that are to come, less those of the blob, about */
} artifacts;

/* False where there is no room for them; then, too, artifacts_end() has to be called. */
int artifacts_begin(artifacts *a, const int *files, size_t count);
void artifacts_end(artifacts *a);
/* What is to be hashed beside a part, to be told what was taken of it; `s` is NULL where that has time. False where it cannot be
   read. */
int artifacts_beside(artifacts *a, const part *p, beside *b);
void artifacts_took(artifacts *a, const beside *b);
/* What comes next, by a thread that has nothing else to do. */
int artifacts_alone(artifacts *a);

/* What is made: both streams so far, and the CRCs that are to be told. */
typedef struct {
    int out;
    sha256 tar, blob;
    uint64_t tar_size, blob_size;
    uint32_t *crcs;
    off_t begun; /* bytes of the file up to here are on their way to the disk */
    size_t waiting;
    artifacts artifacts;
} layer;

/* Make what the part is, in any thread, which has an encoder of its own; then hash its content, part after part, one thread at a
   time. False: something is not as it should be. */
int make_part(part *p, encoder *e);
int hash_part(layer *l, part *p);

#define MOST_THREADS 8

typedef struct core core;

struct core {
    pthread_mutex_t lock;
    pthread_cond_t changed, room, told; /* for workers; for who feeds; for who waits until `wanted` bytes went, or all */
    pthread_t threads[MOST_THREADS], feeder;
    int threads_count;
    int failed, stop;
    int feeding, fed; /* by a thread of its own, which has come to its end */
    int (*feed)(void *from, core *c);
    void *from;
    layer layer;
    part *parts; /* a ring: part n is in place n % places */
    uint64_t places, queued, hashed, written;
    uint64_t went, wanted;        /* bytes of the tar stream that were hashed */
    int hashing, writing, beside; /* `beside`: files are left to be hashed */
    size_t crcs_room;
};

static inline part *part_of(core *c, uint64_t n) { return &c->parts[n % c->places]; }

/* With the lock held: nobody needs the stream any more, nor the part; all has failed. */
void disown(stream *s);
void release(part *p);
void fail(core *c);

/* A thread that no signal reaches: those are for Python's. */
int begin_thread(pthread_t *thread, void *(*work)(void *), void *argument);

/* Whole operations, which end after content that shares no member or after a flush, unless they are the last. 0, or -1 where
   all has failed. */
int core_feed(core *c, const uint8_t *ops, size_t size);
/* A thread of its own feeds the core, by `feed`, which gives 0, or -1 where it failed; `room` is how much the tar stream will be
   larger than the blob, about. False where there is no thread for it. */
int core_fed_by(core *c, int (*feed)(void *from, core *c), void *from, uint64_t room);

#endif
