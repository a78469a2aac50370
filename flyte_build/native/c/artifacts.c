/* The SHA-256 of the files that a layer is made of, taken while it is made: a chain of rounds beside those of its own streams. */

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline.h"

int artifacts_begin(artifacts *a, const int *files, size_t count) {
    memset(a, 0, sizeof *a);
    sha256_init(&a->now);
    if (!count) return 1;
    a->files = malloc(count * sizeof *a->files), a->hashes = malloc(count * sizeof *a->hashes), a->data = malloc(BESIDE);
    if (!a->files || !a->hashes || !a->data) return 0;
    memcpy(a->files, files, count * sizeof *files);
    for (size_t i = 0; i < count; i++) {
        struct stat s;
        if (!fstat(files[i], &s)) a->left += (uint64_t)s.st_size;
    }
    a->count = count;
    return 1;
}

void artifacts_end(artifacts *a) {
    free(a->files);
    free(a->hashes);
    free(a->data);
}

/* What comes next; no bytes: all is done. */
static int next(artifacts *a, beside *b) {
    while (a->size < 64 && a->done < a->count) {
        sha256_update(&a->now, a->data + a->from, a->size);
        a->from = a->size = 0;
        ssize_t got = pread(a->files[a->done], a->data, BESIDE, (off_t)a->at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 0;
        a->size = (size_t)got, a->at += (uint64_t)got;
        if (got) continue;
        sha256_final(&a->now, a->hashes[a->done++]);
        sha256_init(&a->now);
        a->at = 0;
    }
    *b = (beside){&a->now, a->data + a->from, a->size, NULL};
    return 1;
}

/* Threads have nothing to do now and then, and then the hash costs nothing; so there is one beside only when there would not be
   room for it later. */
int artifacts_beside(artifacts *a, const part *p, beside *b) {
    uint64_t size = p->tar.size - p->tar_at, room = size > p->blob.size ? size - p->blob.size : 0;
    b->s = NULL;
    int wait = a->left + room < a->room;
    a->room -= room < a->room ? room : a->room;
    return wait || next(a, b);
}

void artifacts_took(artifacts *a, const beside *b) {
    if (!b->s) return;
    uint64_t took = a->size - b->size;
    a->left -= took < a->left ? took : a->left;
    a->from = (size_t)(b->data - a->data), a->size = b->size;
}

int artifacts_alone(artifacts *a) {
    beside all;
    if (!next(a, &all)) return 0;
    sha256_rest(&all);
    artifacts_took(a, &all);
    return 1;
}
