/* One part of a layer: the bytes of its tar stream and of its blob, from what the operations say; then hashed. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline.h"

int next_operation(const uint8_t **at, const uint8_t *end, operation *o) {
    const uint8_t *p = *at;
    size_t left = (size_t)(end - p), more = 0;
    if (!left) return 0;
    memset(o, 0, sizeof *o);
    o->op = p[0];
    switch (o->op) {
    case OP_HEADER:
        if (left < 22) return 0;
        o->kind = p[1], o->mode = get16(p + 2), o->uid = get32(p + 4), o->gid = get32(p + 8), o->size = get64(p + 12);
        o->name_size = p[20], o->link_size = p[21], o->name = p + 22, o->link = o->name + o->name_size;
        p += 22, more = o->name_size + o->link_size;
        if (o->link_size > 100 || more > left - 22 || (o->name_size > 100 && !tar_split(o->name, o->name_size))) return 0;
        break;
    case OP_PIECE:
        if (left < 5) return 0;
        more = get32(p + 1), p += 5, o->data = p, o->size = more;
        break;
    case OP_ZEROS:
        if (left < 3) return 0;
        o->size = get16(p + 1), p += 3;
        break;
    case OP_FLUSH:
        p += 1;
        break;
    case OP_DEFLATED:
        if (left < 34) return 0;
        o->flags = p[1], o->file = (int)get32(p + 2), o->offset = get64(p + 6), o->csize = get64(p + 14);
        o->size = get64(p + 22), o->crc = get32(p + 30), p += 34, o->hash = p;
        more = o->flags & HAS_HASH ? 32 : 0;
        break;
    case OP_PLAIN:
        if (left < 30) return 0;
        o->flags = p[1], o->file = (int)get32(p + 2), o->offset = get64(p + 6), o->size = get64(p + 14);
        o->crc = get32(p + 22), o->place = get32(p + 26), p += 30, o->hash = p;
        more = o->flags & HAS_HASH ? 32 : 0;
        break;
    default:
        return 0;
    }
    if (more > (size_t)(end - p)) return 0;
    *at = p + more;
    return 1;
}

int make_room(buffer *b, size_t room) {
    if (b->room >= room) return 1;
    uint8_t *data = realloc(b->data, room);
    if (!data) return 0;
    b->data = data, b->room = room;
    return 1;
}

int read_all(int file, uint8_t *to, uint64_t size, uint64_t offset) {
    while (size) {
        ssize_t got = pread(file, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        to += got, offset += (uint64_t)got, size -= (uint64_t)got;
    }
    return 1;
}

static int add_check(part *p, size_t at, size_t size, const uint8_t *hash) {
    if (p->checks_count == p->checks_room) {
        size_t room = p->checks_room ? 2 * p->checks_room : 64;
        check *more = realloc(p->checks, room * sizeof *more);
        if (!more) return 0;
        p->checks = more, p->checks_room = room;
    }
    check *c = &p->checks[p->checks_count++];
    c->at = at, c->size = size;
    memcpy(c->hash, hash, 32);
    return 1;
}

static int tell(part *p, uint32_t place, uint32_t crc) {
    if (p->told_count == p->told_room) {
        size_t room = p->told_room ? 2 * p->told_room : 64;
        told *more = realloc(p->told, room * sizeof *more);
        if (!more) return 0;
        p->told = more, p->told_room = room;
    }
    p->told[p->told_count++] = (told){place, crc};
    return 1;
}

int shares(const operation *o) {
    if (o->op == OP_DEFLATED) return o->size <= JOINED && o->csize <= JOINED;
    return o->op == OP_PLAIN && o->size <= SEGMENT;
}

/* All of a stream from `raw`, which has its slack, into `tar`; where it ends as blocks that others can follow, `separator` is
   the size of the empty block that then has to, else 0. */
static int inflate_whole(const operation *o, inflater *d, uint8_t *raw, uint8_t *tar, int *separator) {
    const uint8_t *in = raw, *in_end = raw + o->csize;
    uint8_t *out = tar;
    if (!read_all(o->file, raw, o->csize, o->offset)) return 0;
    memset(raw + o->csize, 0, SLACK_IN);
    inflate_init(d);
    if (inflate_run(d, &in, in_end, 1, tar, &out, tar + o->size, 1) != INFLATE_END) return 0;
    if (in != in_end || out != tar + o->size || crc32_of(0, tar, o->size) != o->crc) return 0;
    unsigned left = d->count < 3 ? d->count : 3;
    *separator = !(raw[0] & 1) || (d->bits & ((1u << left) - 1)) ? 0 : left < 3 ? 5 : 4;
    return 1;
}

/* Content that is whole: written to `tar` and, in a member, to `blob`. */
static int content(part *p, const operation *o, uint8_t *tar, uint8_t **blob, inflater *d, fresh *f) {
    if (o->op == OP_PLAIN) {
        if (!read_all(o->file, tar, o->size, o->offset)) return 0;
        if (o->flags & (HAS_CRC | TELL_CRC)) {
            uint32_t crc = crc32_of(0, tar, o->size);
            if ((o->flags & HAS_CRC) && crc != o->crc) return 0;
            if ((o->flags & TELL_CRC) && !tell(p, o->place, crc)) return 0;
        }
        fresh_piece(f, *blob, tar, o->size);
        return 1;
    }
    int separator = 0, small = shares(o);
    uint8_t *raw = encoder_raw(f->encoder);
    if (small && !inflate_whole(o, d, raw, tar, &separator)) return 0;
    if (separator) {
        if (!f->member) *blob = member_begin(*blob), f->member = tar;
        *blob = fresh_join(fresh_item(f, *blob), raw, o->csize, separator);
        return 1;
    }
    uint8_t *to = member_begin(fresh_flush(f, *blob, tar));
    if (small)
        memcpy(to, raw, o->csize);
    else if (!inflate_whole(o, d, to, tar, &separator))
        return 0;
    *blob = put32(put32(to + o->csize, o->crc), (uint32_t)o->size);
    return 1;
}

/* The most that the operations take, in both forms; content is known to be no more than WHOLE. */
static int measure(const uint8_t *at, const uint8_t *end, size_t *tar, size_t *blob) {
    operation o;
    *tar = SLACK_OUT, *blob = SLACK_IN;
    while (at < end) {
        if (!next_operation(&at, end, &o)) return 0;
        size_t size = o.op == OP_HEADER ? TAR_BLOCK : o.op == OP_FLUSH ? 0 : o.size;
        *tar += size;
        *blob += o.op == OP_DEFLATED ? o.csize + 64 : FRESH_MEMBER(size);
    }
    return 1;
}

static int make_entries(part *p, encoder *e) {
    const uint8_t *at = p->ops, *end = at + p->ops_size;
    size_t tar_room, blob_room;
    operation o;
    fresh f = {.encoder = e};
    inflater d;
    if (!measure(at, end, &tar_room, &blob_room) || !make_room(&p->tar, tar_room) || !make_room(&p->blob, blob_room)) return 0;
    uint8_t *tar = p->tar.data, *blob = p->blob.data;
    while (at < end) {
        if (!next_operation(&at, end, &o)) return 0;
        if (o.op == OP_HEADER) {
            unsigned pieces[TAR_PIECES];
            tar_header(&(tar_entry){o.kind, o.mode, o.uid, o.gid, o.size, o.name, o.link, o.name_size, o.link_size}, tar, pieces);
            for (int i = 0; i < TAR_PIECES; tar += pieces[i++]) fresh_piece(&f, blob, tar, pieces[i]);
        } else if (o.op == OP_PIECE || o.op == OP_ZEROS) {
            if (o.op == OP_PIECE)
                memcpy(tar, o.data, o.size);
            else
                memset(tar, 0, o.size);
            fresh_piece(&f, blob, tar, o.size);
            tar += o.size;
        } else {
            if (o.op == OP_FLUSH) {
                blob = fresh_flush(&f, blob, tar);
                continue;
            }
            if (!content(p, &o, tar, &blob, &d, &f)) return 0;
            if ((o.flags & HAS_HASH) && !add_check(p, (size_t)(tar - p->tar.data), o.size, o.hash)) return 0;
            tar += o.size;
        }
    }
    blob = fresh_flush(&f, blob, tar);
    p->tar_at = 0, p->tar.size = (size_t)(tar - p->tar.data), p->blob.size = (size_t)(blob - p->blob.data);
    return 1;
}

static int more_input(stream *s, buffer *blob) {
    size_t left = (size_t)(s->in_end - s->in), take = INPUT - left;
    if (take > s->o.csize - s->read) take = (size_t)(s->o.csize - s->read);
    memmove(s->input, s->in, left);
    if (blob->size + take > MOST_INPUT || !make_room(blob, blob->size + take + 8)) return 0;
    if (!read_all(s->o.file, s->input + left, take, s->o.offset + s->read)) return 0;
    memcpy(blob->data + blob->size, s->input + left, take);
    blob->size += take, s->read += take;
    s->in = s->input, s->in_end = s->input + left + take;
    memset(s->input + left + take, 0, SLACK_IN);
    return 1;
}

static int make_deflated(part *p, stream *s) {
    int last = p->number + 1 == s->parts;
    size_t size = last ? (size_t)(s->o.size - p->number * CHUNK) : CHUNK;
    if (!make_room(&p->tar, WINDOW + CHUNK + SLACK_OUT) || !make_room(&p->blob, 2 * INPUT + 10)) return 0;
    uint8_t *start = p->tar.data + WINDOW, *out = start + s->beyond;
    const uint8_t *base = start;
    p->blob.size = 0;
    if (p->number == 0) {
        inflate_init(&s->inflating);
        s->in = s->in_end = s->input;
        p->blob.size = (size_t)(member_begin(p->blob.data) - p->blob.data);
    } else {
        memcpy(p->tar.data, s->carried, WINDOW + s->beyond);
        base = p->tar.data;
    }
    int outcome = INFLATE_INPUT;
    while (outcome == INFLATE_INPUT) {
        /* It asks for more with up to 1 KiB left, and 7 bytes that it gave back. */
        if (s->read < s->o.csize && s->in_end - s->in < 2048 && !more_input(s, &p->blob)) return 0;
        outcome = inflate_run(&s->inflating, &s->in, s->in_end, s->read == s->o.csize, base, &out, start + size, last);
    }
    if (outcome != (last ? INFLATE_END : INFLATE_ROOM)) return 0;
    if (last) {
        if (s->in != s->in_end || s->read != s->o.csize || out != start + size) return 0;
        if (!make_room(&p->blob, p->blob.size + 8)) return 0;
        put32(put32(p->blob.data + p->blob.size, s->o.crc), (uint32_t)s->o.size);
        p->blob.size += 8;
    } else {
        s->beyond = (size_t)(out - (start + size));
        memcpy(s->carried, start + size - WINDOW, WINDOW + s->beyond);
    }
    p->tar_at = WINDOW, p->tar.size = WINDOW + size;
    return 1;
}

/* A member. */
static int make_plain(part *p, const stream *s, encoder *e) {
    int last = p->number + 1 == s->parts;
    size_t size = last ? (size_t)(s->o.size - p->number * SEGMENT) : SEGMENT;
    fresh f = {.encoder = e};
    if (!make_room(&p->tar, size + SLACK_OUT) || !make_room(&p->blob, FRESH_MEMBER(size))) return 0;
    if (!read_all(s->o.file, p->tar.data, size, s->o.offset + p->number * SEGMENT)) return 0;
    fresh_piece(&f, p->blob.data, p->tar.data, size);
    p->blob.size = (size_t)(fresh_flush(&f, p->blob.data, p->tar.data + size) - p->blob.data);
    p->tar_at = 0, p->tar.size = size;
    return 1;
}

int make_part(part *p, encoder *e) {
    p->checks_count = p->told_count = 0;
    if (!p->of) return make_entries(p, e);
    return p->of->o.op == OP_DEFLATED ? make_deflated(p, p->of) : make_plain(p, p->of, e);
}

/* -- in order ------------------------------------------------------------------------------------------- */

static int is(sha256 *s, const uint8_t hash[32]) {
    uint8_t found[32];
    sha256_final(s, found);
    return memcmp(found, hash, 32) == 0;
}

static int hash_stream(layer *l, part *p, stream *s, beside *blob) {
    const uint8_t *data = p->tar.data + p->tar_at;
    size_t size = p->tar.size - p->tar_at;
    sha256_update_beside(&l->tar, s->o.flags & HAS_HASH ? &s->hashed : NULL, data, size, blob);
    s->crc = crc32_of(s->crc, data, size);
    s->seen++;
    if (s->seen < s->parts) return 1;
    if ((s->o.op == OP_DEFLATED || (s->o.flags & HAS_CRC)) && s->crc != s->o.crc) return 0;
    if ((s->o.flags & HAS_HASH) && !is(&s->hashed, s->hash)) return 0;
    if (s->o.flags & TELL_CRC) l->crcs[s->o.place] = s->crc;
    return 1;
}

static int hash_entries(layer *l, part *p, beside *blob) {
    size_t at = 0;
    for (size_t i = 0; i < p->checks_count; i++) {
        const check *k = &p->checks[i];
        sha256 own;
        sha256_init(&own);
        sha256_update_beside(&l->tar, NULL, p->tar.data + at, k->at - at, blob);
        sha256_update_beside(&l->tar, &own, p->tar.data + k->at, k->size, blob);
        at = k->at + k->size;
        if (!is(&own, k->hash)) return 0;
    }
    sha256_update_beside(&l->tar, NULL, p->tar.data + at, p->tar.size - at, blob);
    for (size_t i = 0; i < p->told_count; i++) l->crcs[p->told[i].place] = p->told[i].crc;
    return 1;
}

int hash_part(layer *l, part *p) {
    beside artifact, blob = {&l->blob, p->blob.data, p->blob.size, NULL};
    if (!artifacts_beside(&l->artifacts, p, &artifact)) return 0;
    if (artifact.s) blob.next = &artifact;
    l->tar_size += p->tar.size - p->tar_at, l->blob_size += p->blob.size;
    int good = p->of ? hash_stream(l, p, p->of, &blob) : hash_entries(l, p, &blob);
    sha256_rest(&blob);
    artifacts_took(&l->artifacts, &artifact);
    return good;
}
