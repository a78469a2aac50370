/* How a layer's operations become its parts: what is fed is cut, and waits for a place. */

#include <stdlib.h>

#include "pipeline.h"

/* With the lock held: the next free part, or NULL where all has failed. */
static part *free_part(core *c) {
    while (!c->failed && !c->stop && c->queued - c->written >= c->places) pthread_cond_wait(&c->room, &c->lock);
    return c->failed || c->stop ? NULL : part_of(c, c->queued);
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

static void *feeding(void *argument) {
    core *c = argument;
    int failed = c->feed(c->from, c);
    pthread_mutex_lock(&c->lock);
    c->fed = 1;
    if (failed) fail(c);
    pthread_cond_broadcast(&c->changed);
    pthread_cond_broadcast(&c->told);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int core_fed_by(core *c, int (*feed)(void *from, core *c), void *from, uint64_t room) {
    c->layer.artifacts.room = room;
    c->feed = feed, c->from = from, c->feeding = 1;
    if (begin_thread(&c->feeder, feeding, c)) return 1;
    c->feeding = 0;
    return 0;
}
