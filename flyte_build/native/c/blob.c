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

/* Bytes of the blob after which the disk is told to begin: whoever has it all written waits for the rest alone. */
#define BEHIND ((size_t)4 << 20)

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

void disown(stream *s) {
    if (s && !--s->owners) free(s);
}

void release(part *p) {
    free(p->ops);
    p->ops = NULL;
    disown(p->of);
    p->of = NULL;
    p->state = FREE;
}

/* With the lock held, as all of these. */
static int all_done(const core *c) { return (!c->feeding || c->fed) && c->written == c->queued && !c->hashing && !c->beside; }

void fail(core *c) {
    c->failed = 1;
    pthread_cond_broadcast(&c->changed);
    pthread_cond_broadcast(&c->room);
    pthread_cond_broadcast(&c->told);
}

static void hashed(core *c) {
    c->hashing = 0;
    c->went = c->layer.tar_size;
    c->beside = c->layer.artifacts.done < c->layer.artifacts.count;
}

static void *work(void *argument) {
    core *c = argument;
    encoder *e = encoder_new();
    part *p;
    pthread_mutex_lock(&c->lock);
    if (!e) fail(c);
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
            pthread_cond_signal(&c->room);
        } else if (!c->hashing && c->hashed < c->queued && part_of(c, c->hashed)->state == MADE) {
            p = part_of(c, c->hashed);
            c->hashing = 1;
            pthread_mutex_unlock(&c->lock);
            good = hash_part(&c->layer, p);
            pthread_mutex_lock(&c->lock);
            hashed(c);
            c->hashed++;
        } else if ((p = to_make(c))) {
            p->state = RUNNING;
            pthread_mutex_unlock(&c->lock);
            good = make_part(p, e);
            pthread_mutex_lock(&c->lock);
            p->state = MADE;
            if (p->of && p->of->o.op == OP_DEFLATED) p->of->busy = 0, p->of->done++;
        } else if (!c->hashing && c->beside) {
            c->hashing = 1;
            pthread_mutex_unlock(&c->lock);
            good = artifacts_alone(&c->layer.artifacts);
            pthread_mutex_lock(&c->lock);
            hashed(c);
        } else {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        if (!good) fail(c);
        pthread_cond_broadcast(&c->changed);
        if (c->went >= c->wanted || all_done(c)) pthread_cond_broadcast(&c->told);
    }
    pthread_mutex_unlock(&c->lock);
    free(e);
    return NULL;
}

/* Waits until `enough` bytes of the tar stream have been hashed, or all that is fed is done: how many they are; -1 where something
   failed. */
API int64_t core_went(core *c, uint64_t enough) {
    pthread_mutex_lock(&c->lock);
    c->wanted = enough;
    while (!c->failed && c->went < enough && !all_done(c)) pthread_cond_wait(&c->told, &c->lock);
    int64_t went = c->failed ? -1 : (int64_t)c->went;
    c->wanted = UINT64_MAX;
    pthread_mutex_unlock(&c->lock);
    return went;
}

/* Waits for all that is fed. 0, or -1 where something failed. */
API int core_wait(core *c) { return core_went(c, UINT64_MAX) < 0 ? -1 : 0; }

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

/* After core_wait: the hashes of the files that were to be hashed. */
API void core_hashes(const core *c, uint8_t *out) {
    if (c->layer.artifacts.count) memcpy(out, c->layer.artifacts.hashes, c->layer.artifacts.count * 32);
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
    pthread_cond_broadcast(&c->room);
    pthread_mutex_unlock(&c->lock);
    if (c->feeding) pthread_join(c->feeder, NULL);
    for (int i = 0; i < c->threads_count; i++) pthread_join(c->threads[i], NULL);
    for (uint64_t n = c->written; n < c->queued; n++) release(part_of(c, n));
    keep_parts(c->parts, c->places);
    free(c->layer.crcs);
    artifacts_end(&c->layer.artifacts);
    pthread_cond_destroy(&c->changed);
    pthread_cond_destroy(&c->room);
    pthread_cond_destroy(&c->told);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int begin_thread(pthread_t *thread, void *(*does)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, does, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

/* A layer that is written to the descriptor `out`, by `threads` threads (1 to 8); beside it `count` files are hashed, whole. NULL
   where there is no room for it. */
API core *core_open(int out, int threads, const int *files, size_t count) {
    core_setup();
    if (threads < 1) threads = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    core *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->layer.out = out;
    c->places = (uint64_t)threads + 3;
    c->wanted = UINT64_MAX;
    c->beside = count > 0;
    c->layer.begun = lseek(out, 0, SEEK_CUR);
    if (!artifacts_begin(&c->layer.artifacts, files, count) || !(c->parts = kept_parts(c->places))) {
        artifacts_end(&c->layer.artifacts);
        free(c);
        return NULL;
    }
    sha256_init(&c->layer.tar);
    sha256_init(&c->layer.blob);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    pthread_cond_init(&c->room, NULL);
    pthread_cond_init(&c->told, NULL);
    while (c->threads_count < threads && begin_thread(&c->threads[c->threads_count], work, c)) c->threads_count++;
    if (c->threads_count) return c;
    core_close(c);
    return NULL;
}
