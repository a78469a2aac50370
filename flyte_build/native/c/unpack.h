/* What gunzip.c (a blob's bytes) and unpack.c (the tar in them, and its files) share. */

#ifndef UNPACK_H
#define UNPACK_H

#include "core.h"

#define UNPACK_WINDOW ((size_t)32768)
#ifndef SMALL
#define UNPACK_INPUT ((size_t)128 << 10)
#define UNPACK_CHUNK ((size_t)256 << 10)
#else /* for tests: what takes megabytes otherwise */
#define UNPACK_INPUT ((size_t)3 << 10)
#define UNPACK_CHUNK ((size_t)5 << 10)
#endif

typedef struct {
    uint64_t inode, size;
    int64_t mtime; /* in nanoseconds */
    uint64_t mode;
    uint8_t hash[32];
} unpacked_file;

typedef struct {
    uint8_t tar[32];
    uint64_t tar_size;
    unpacked_file *files; /* how each lies, and what was written to it */
    uint64_t count;
} unpack_result;

typedef struct unpacking unpacking;

/* NULL where there is no room for it. */
unpacking *unpack_begin(int into, uint64_t limit);
/* The next bytes of the tar; false: Python's turn. */
int unpack_bytes(unpacking *u, const uint8_t *data, size_t size);
/* Ends it, and says what came of it where it is `good` so far and the tar came to its end; else false. */
int unpack_end(unpacking *u, int good, unpack_result *r);

#endif
