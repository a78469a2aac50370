/* A blob's gzip members, one after the other (RFC 1952), into the hands of whoever takes what they hold. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "unpack.h"

#define MOST_HEADER 10u
#define TRAILER 8u

typedef struct {
    int blob, ended; /* all of the blob was read */
    const uint8_t *in, *in_end;
    uint8_t *to; /* where what is inflated next begins: in `made` */
    const uint8_t *base;
    inflater inflating;
    uint8_t input[UNPACK_INPUT + SLACK_IN];
    uint8_t made[UNPACK_WINDOW + UNPACK_CHUNK + SLACK_OUT];
} gunzip;

/* Whether at least `least` bytes are there, or all that the blob has; false where it cannot be read. */
static int more(gunzip *g, size_t least) {
    size_t left = (size_t)(g->in_end - g->in);
    if (left >= least || g->ended) return 1;
    memmove(g->input, g->in, left);
    while (left < UNPACK_INPUT) {
        ssize_t got = read(g->blob, g->input + left, UNPACK_INPUT - left);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 0;
        if (!got) {
            g->ended = 1;
            break;
        }
        left += (size_t)got;
    }
    g->in = g->input, g->in_end = g->input + left;
    memset(g->input + left, 0, SLACK_IN);
    return 1;
}

/* One member, whose header has been read, to its end. */
static int member(gunzip *g, unpacking *u) {
    uint32_t crc = 0, size = 0;
    int outcome = INFLATE_INPUT;
    inflate_init(&g->inflating);
    g->base = g->to = g->made;
    while (outcome != INFLATE_END) {
        /* It asks for more with up to 1 KiB left, and 7 bytes that it gave back. */
        if (!more(g, 2048)) return 0;
        uint8_t *start = g->to, *end = g->made + UNPACK_WINDOW + UNPACK_CHUNK;
        outcome = inflate_run(&g->inflating, &g->in, g->in_end, g->ended, g->base, &g->to, end, 0);
        if (outcome == INFLATE_BAD) return 0;
        size_t made = (size_t)(g->to - start);
        crc = crc32_of(crc, start, made), size += (uint32_t)made;
        if (made && !unpack_bytes(u, start, made)) return 0;
        if (outcome == INFLATE_ROOM) {
            size_t kept = (size_t)(g->to - g->base) < UNPACK_WINDOW ? (size_t)(g->to - g->base) : UNPACK_WINDOW;
            memmove(g->made, g->to - kept, kept);
            g->base = g->made, g->to = g->made + kept;
        }
    }
    if (!more(g, TRAILER) || g->in_end - g->in < (ptrdiff_t)TRAILER) return 0;
    if (get32(g->in) != crc || get32(g->in + 4) != size) return 0;
    g->in += TRAILER;
    return 1;
}

static int members(gunzip *g, unpacking *u) {
    g->in = g->in_end = g->input;
    for (;;) {
        if (!more(g, MOST_HEADER)) return 0;
        if (g->in == g->in_end) return 1;
        /* One with a name, or anything else that is no image's, is Python's. */
        if (g->in_end - g->in < (ptrdiff_t)MOST_HEADER || memcmp(g->in, "\x1f\x8b\x08\0", 4)) return 0;
        g->in += MOST_HEADER;
        if (!member(g, u)) return 0;
    }
}

/* Unpack the blob, open at its start, into the empty folder `into`, if its tar has at most `limit` bytes. 0: it is done, and
   `r` says what came of it, which core_unpacked() ends; -1: Python's turn, whatever is in the folder by then. */
API int core_unpack(int blob, int into, uint64_t limit, unpack_result *r) {
    core_setup();
    gunzip *g = malloc(sizeof *g);
    unpacking *u = unpack_begin(into, limit);
    int good = g && u;
    if (good) {
        g->blob = blob, g->ended = 0;
        good = members(g, u);
    }
    free(g);
    return u && unpack_end(u, good, r) ? 0 : -1;
}

API void core_unpacked(unpack_result *r) {
    free(r->files);
    r->files = NULL;
}
