/* A layer as it is made: operations come in, parts are made in any order by all threads, hashed and written in order.

   One thread at a time hashes the tar stream (with it, contents that have a hash of their own, and the blob), and one writes
   the blob, always behind the first. At most as many parts exist as there are places, so memory stays flat. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline.h"

#define MOST_THREADS 8
/* Bytes of the blob after which the disk is told to begin: whoever has it all written waits for the rest alone. */
#define BEHIND ((size_t)2 << 20)

struct core {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[MOST_THREADS];
    int threads_count;
    int failed, stop;
    layer layer;
    part *parts; /* a ring: part n is in place n % places */
    uint64_t places, queued, hashed, written;
    int hashing, writing;
    size_t crcs_room;
};

typedef struct {
    uint8_t blob[32], tar[32];
    uint64_t blob_size, tar_size;
} core_result;

/* -- threads ----------------------------------------------------------------------------------------------- */

/* The bytes of the blob, part after part, one thread at a time. */
static int write_part(layer *l, part *p) {
    const uint8_t *data = p->blob.data;
    size_t left = p->blob.size;
    l->waiting += left;
    while (left) {
        ssize_t took = write(l->out, data, left);
        if (took < 0 && errno == EINTR) continue;
        if (took <= 0) return 0;
        data += took, left -= (size_t)took;
    }
    if (l->waiting < BEHIND) return 1;
    /* A file system that cannot is none the worse. */
    (void)!sync_file_range(l->out, l->begun, (off_t)l->waiting, SYNC_FILE_RANGE_WRITE);
    l->begun += (off_t)l->waiting, l->waiting = 0;
    return 1;
}

static part *part_of(core *c, uint64_t n) { return &c->parts[n % c->places]; }

static part *to_make(core *c) {
    for (uint64_t n = c->hashed; n < c->queued; n++) {
        part *p = part_of(c, n);
        if (p->state != QUEUED) continue;
        if (!p->of || p->of->o.op == OP_PLAIN) return p;
        if (!p->of->busy && p->of->done == p->number) {
            p->of->busy = 1;
            return p;
        }
    }
    return NULL;
}

static void disown(stream *s) {
    if (s && !--s->owners) free(s);
}

static void release(part *p) {
    free(p->ops);
    p->ops = NULL;
    disown(p->of);
    p->of = NULL;
    p->state = FREE;
}

static void *work(void *argument) {
    core *c = argument;
    part *p;
    pthread_mutex_lock(&c->lock);
    while (!c->stop && !c->failed) {
        int good;
        if (!c->writing && c->written < c->hashed) {
            p = part_of(c, c->written);
            c->writing = 1;
            pthread_mutex_unlock(&c->lock);
            good = write_part(&c->layer, p);
            pthread_mutex_lock(&c->lock);
            c->writing = 0;
            release(p);
            c->written++;
        } else if (!c->hashing && c->hashed < c->queued && part_of(c, c->hashed)->state == MADE) {
            p = part_of(c, c->hashed);
            c->hashing = 1;
            pthread_mutex_unlock(&c->lock);
            good = hash_part(&c->layer, p);
            pthread_mutex_lock(&c->lock);
            c->hashing = 0;
            c->hashed++;
        } else if ((p = to_make(c))) {
            p->state = RUNNING;
            pthread_mutex_unlock(&c->lock);
            good = make_part(p);
            pthread_mutex_lock(&c->lock);
            p->state = MADE;
            if (p->of && p->of->o.op == OP_DEFLATED) p->of->busy = 0, p->of->done++;
        } else {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        if (!good) c->failed = 1;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* -- feeding ----------------------------------------------------------------------------------------------- */

/* With the lock held: the next free part, or NULL where all has failed. */
static part *free_part(core *c) {
    while (!c->failed && c->queued - c->written >= c->places) pthread_cond_wait(&c->changed, &c->lock);
    return c->failed ? NULL : part_of(c, c->queued);
}

static int queue_part(core *c, uint8_t *ops, size_t size, stream *of, uint64_t number) {
    pthread_mutex_lock(&c->lock);
    part *p = free_part(c);
    if (p) {
        p->ops = ops, p->ops_size = size, p->of = of, p->number = number;
        p->state = QUEUED;
        if (of) of->owners++;
        c->queued++;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    return p != NULL;
}

static int queue_entries(core *c, const uint8_t *ops, size_t size) {
    if (!size) return 1;
    uint8_t *own = malloc(size);
    if (!own) return 0;
    memcpy(own, ops, size);
    if (queue_part(c, own, size, NULL, 0)) return 1;
    free(own);
    return 0;
}

static int queue_stream(core *c, const operation *o) {
    stream *s = malloc(sizeof *s);
    if (!s) return 0;
    size_t chunk = o->op == OP_PLAIN ? SEGMENT : CHUNK;
    s->o = *o;
    if (o->flags & HAS_HASH) memcpy(s->hash, o->hash, 32);
    s->parts = o->size ? (o->size - 1) / chunk + 1 : 1;
    s->done = s->read = s->seen = s->beyond = 0;
    s->busy = 0, s->crc = 0;
    sha256_init(&s->hashed);
    s->owners = 1;
    int good = 1;
    for (uint64_t i = 0; i < s->parts && good; i++) good = queue_part(c, NULL, 0, s, i);
    pthread_mutex_lock(&c->lock);
    disown(s);
    pthread_mutex_unlock(&c->lock);
    return good;
}

static int room_for_crc(core *c, uint32_t place) {
    if (place < c->crcs_room) return 1;
    size_t room = 2 * (size_t)place + 1024;
    pthread_mutex_lock(&c->lock);
    while (c->hashing && !c->failed) pthread_cond_wait(&c->changed, &c->lock);
    uint32_t *more = c->hashing ? NULL : realloc(c->layer.crcs, room * sizeof *more);
    if (more) c->layer.crcs = more, c->crcs_room = room;
    pthread_mutex_unlock(&c->lock);
    return more != NULL;
}

API int core_feed(core *c, const uint8_t *ops, size_t size) {
    const uint8_t *at = ops, *end = ops + size, *first = ops;
    uint64_t held = 0;
    while (at < end) {
        const uint8_t *before = at;
        operation o;
        if (!next_operation(&at, end, &o)) return -1;
        if (o.op < OP_FLUSH) {
            held += o.op == OP_HEADER ? TAR_BLOCK : o.size;
            continue;
        }
        if ((o.flags & TELL_CRC) && !room_for_crc(c, o.place)) return -1;
        if (shares(&o)) {
            held += o.size + o.csize;
            continue;
        }
        if (o.op == OP_PLAIN || o.size > WHOLE || o.csize > WHOLE) {
            if (!queue_entries(c, first, (size_t)(before - first)) || !queue_stream(c, &o)) return -1;
            first = at, held = 0;
            continue;
        }
        held += o.size + o.csize;
        if (held < PART) continue;
        if (!queue_entries(c, first, (size_t)(at - first))) return -1;
        first = at, held = 0;
    }
    return queue_entries(c, first, (size_t)(end - first)) ? 0 : -1;
}

/* Waits for all that was fed. 0, or -1 where something failed. */
API int core_wait(core *c) {
    pthread_mutex_lock(&c->lock);
    while (!c->failed && c->written < c->queued) pthread_cond_wait(&c->changed, &c->lock);
    int failed = c->failed;
    pthread_mutex_unlock(&c->lock);
    return failed ? -1 : 0;
}

/* After core_wait: what came of it, and the first `count` CRCs that were to be told. */
API int core_results(core *c, core_result *r, uint32_t *crcs, size_t count) {
    if (count > c->crcs_room) return -1;
    if (count) memcpy(crcs, c->layer.crcs, count * sizeof *crcs);
    sha256 tar = c->layer.tar, blob = c->layer.blob;
    sha256_final(&tar, r->tar);
    sha256_final(&blob, r->blob);
    r->tar_size = c->layer.tar_size, r->blob_size = c->layer.blob_size;
    return 0;
}

/* -- the core itself ----------------------------------------------------------------------------------------- */

API int core_abi(void) { return CORE_ABI; }

static void setup(void) {
    sha256_setup();
    crc32_setup();
    inflate_setup();
    fixed_setup();
    encode_setup();
}

void core_setup(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
}

API void core_close(core *c) {
    pthread_mutex_lock(&c->lock);
    c->stop = 1;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->threads_count; i++) pthread_join(c->threads[i], NULL);
    for (uint64_t n = c->written; n < c->queued; n++) release(part_of(c, n));
    keep_parts(c->parts, c->places);
    free(c->layer.crcs);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* A layer that is written to the descriptor `out`, by `threads` threads (1 to 8); NULL where there is no room for it. */
API core *core_open(int out, int threads) {
    core_setup();
    if (threads < 1) threads = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    core *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->layer.out = out;
    c->places = (uint64_t)threads + 3;
    c->layer.begun = lseek(out, 0, SEEK_CUR);
    c->parts = kept_parts(c->places);
    if (!c->parts) {
        free(c);
        return NULL;
    }
    sha256_init(&c->layer.tar);
    sha256_init(&c->layer.blob);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    /* Signals are for the threads of Python. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (c->threads_count < threads && !pthread_create(&c->threads[c->threads_count], NULL, work, c)) c->threads_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (c->threads_count) return c;
    core_close(c);
    return NULL;
}
