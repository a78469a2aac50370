/* The files of a layer of wheels, in its order, with the folders above them, as operations: what assemble/layer.py arranges, and
   what blob.py in the folder above makes of it. Where two files have one path, or anything else is to be decided, it is refused. */

#include <stdio.h>
#include <stdlib.h>

#include "listed.h"

/* Bytes of the tar stream after which, at the next header or content, a new member begins: docs/deflate.md. */
#define GROUP ((uint64_t)256 << 10)
/* Of the tar stream, that is enough for a thread to begin. */
#define FED ((uint64_t)512 << 10)
#define MOST_BYTES ((uint64_t)64 << 20)

/* -- what there is ------------------------------------------------------------------------------------------ */

API layout *layout_open(void) { return calloc(1, sizeof(layout)); }

API void layout_close(layout *l) {
    for (size_t i = 0; i < l->owned_count; i++) free(l->owned[i]);
    free(l->owned);
    free(l->files);
    free(l->folders);
    free(l->order);
    free(l->ops.data);
    free(l->listing.data);
    free(l);
}

void *layout_memory(layout *l, size_t size) {
    if (l->owned_count == l->owned_room) {
        size_t room = 2 * l->owned_room + 16;
        void **more = realloc(l->owned, room * sizeof *more);
        if (!more) return NULL;
        l->owned = more, l->owned_room = room;
    }
    void *made = malloc(size ? size : 1);
    if (made) l->owned[l->owned_count++] = made;
    return made;
}

static listed *one_more(listed **rows, size_t *count, size_t *room) {
    if (*count == *room) {
        size_t wanted = 2 * *room + 256;
        listed *more = realloc(*rows, wanted * sizeof *more);
        if (!more) return NULL;
        *rows = more, *room = wanted;
    }
    listed *row = &(*rows)[(*count)++];
    memset(row, 0, sizeof *row);
    return row;
}

listed *layout_file(layout *l) { return one_more(&l->files, &l->files_count, &l->files_room); }

/* One file more: what lies somewhere, as the operation that it is (NULL: nothing does), then bytes. 0, or -1. */
API int layout_add(layout *l, const uint8_t *path, size_t path_size, int mode, const uint8_t *op, size_t op_size, const uint8_t *data,
                   size_t data_size) {
    if (!plain_path(path, path_size) || mode < 0 || mode > 07777 || data_size > MOST_BYTES) return -1;
    uint8_t *own = layout_memory(l, path_size + op_size + data_size);
    listed *f = own ? layout_file(l) : NULL;
    if (!f) return -1;
    memcpy(own, path, path_size);
    if (op_size) memcpy(own + path_size, op, op_size);
    if (data_size) memcpy(own + path_size + op_size, data, data_size);
    f->path = own, f->path_size = (uint32_t)path_size, f->mode = (uint32_t)mode;
    f->data = own + path_size + op_size, f->data_size = data_size;
    const uint8_t *at = own + path_size, *end = at + op_size;
    if (!op_size) return 0;
    return next_operation(&at, end, &f->stream) && at == end && f->stream.op >= OP_DEFLATED && !(f->stream.flags & TELL_CRC) ? 0 : -1;
}

int plain_path(const uint8_t *path, size_t size) {
    if (!size || size > LONGEST_PATH || path[size - 1] == '/') return 0;
    for (size_t at = 0, start = 0; at < size; at++) {
        uint8_t byte = path[at];
        if (byte < 0x20 || byte > 0x7e || byte == '\\') return 0;
        if (at == start) {
            size_t left = size - at;
            const uint8_t *p = path + at;
            if (byte == '/') return 0;
            if (byte == '.' && (left == 1 || p[1] == '/' || (p[1] == '.' && (left == 2 || p[2] == '/')))) return 0;
            if (left >= 4 && !memcmp(p, ".wh.", 4)) return 0;
        }
        if (byte == '/') start = at + 1;
    }
    return 1;
}

/* -- the order ---------------------------------------------------------------------------------------------- */

static int compare(const listed *a, const listed *b) {
    uint32_t least = a->path_size < b->path_size ? a->path_size : b->path_size;
    int order = memcmp(a->path, b->path, least);
    return order ? order : a->path_size < b->path_size ? -1 : a->path_size > b->path_size;
}

static int by_path(const void *a, const void *b) { return compare(*(listed *const *)a, *(listed *const *)b); }

static int rows_by_path(const void *a, const void *b) { return compare(a, b); }

/* Whether it is one of `kept`: paths, each with a zero. */
static int is_kept(const uint8_t *kept, size_t kept_size, const uint8_t *path, size_t size) {
    for (size_t at = 0; at < kept_size;) {
        const uint8_t *end = memchr(kept + at, 0, kept_size - at);
        if (!end) return 0;
        if ((size_t)(end - kept) - at == size && !memcmp(kept + at, path, size)) return 1;
        at = (size_t)(end - kept) + 1;
    }
    return 0;
}

/* The folders above the file, of which those above `before` are there. */
static int add_folders(layout *l, const listed *before, const listed *file, const uint8_t *kept, size_t kept_size) {
    uint32_t same = 0;
    if (before)
        while (same < before->path_size && same < file->path_size && before->path[same] == file->path[same]) same++;
    for (uint32_t at = same; at < file->path_size; at++) {
        if (file->path[at] != '/' || is_kept(kept, kept_size, file->path, at)) continue;
        listed *folder = one_more(&l->folders, &l->folders_count, &l->folders_room);
        if (!folder) return 0;
        folder->path = file->path, folder->path_size = at, folder->mode = 0755, folder->folder = 1;
    }
    return 1;
}

static uint8_t *room_for(buffer *b, size_t size) {
    if (b->room - b->size < size && !make_room(b, 2 * b->room + size + 4096)) return NULL;
    uint8_t *at = b->data + b->size;
    b->size += size;
    return at;
}

static uint64_t size_of(const listed *f) { return (f->stream.op ? f->stream.size : 0) + f->data_size; }

/* The path, its identity as a listing has it, and a zero after each. */
static int tell(layout *l, const listed *f) {
    uint64_t size = size_of(f);
    char identity[64];
    uint32_t crc = f->stream.op ? f->stream.crc : 0;
    if (f->data_size) crc = crc32_of(crc, f->data, f->data_size);
    int length = f->folder ? snprintf(identity, sizeof identity, "d %04o", f->mode)
                           : snprintf(identity, sizeof identity, "f %04o %llu %08x", f->mode, (unsigned long long)size, crc);
    uint8_t *p = room_for(&l->listing, f->path_size + (size_t)length + 2);
    if (!p) return 0;
    memcpy(p, f->path, f->path_size);
    p[f->path_size] = 0;
    memcpy(p + f->path_size + 1, identity, (size_t)length + 1);
    return 1;
}

/* Puts all into the layer's order, with the folders above, but for those that are `kept` as they are, and lists it. 0, or -1
   where two have one path. */
API int layout_arrange(layout *l, const uint8_t *kept, size_t kept_size) {
    size_t files = l->files_count, sorted = 1;
    listed **order = malloc((files + 1) * sizeof *order);
    if (!order) return -1;
    for (size_t i = 0; i < files; i++) {
        order[i] = &l->files[i];
        sorted = sorted && (!i || compare(order[i - 1], order[i]) < 0);
    }
    if (!sorted) qsort(order, files, sizeof *order, by_path);
    int good = 1;
    for (size_t i = 0; i < files && good; i++) good = add_folders(l, i ? order[i - 1] : NULL, order[i], kept, kept_size);
    if (good && l->folders_count) qsort(l->folders, l->folders_count, sizeof *l->folders, rows_by_path);
    l->order = good ? malloc((files + l->folders_count + 1) * sizeof *l->order) : NULL;
    good = l->order != NULL;
    for (size_t i = 0, j = 0; good && i + j < files + l->folders_count; l->count++) {
        listed *folder = j < l->folders_count ? &l->folders[j] : NULL;
        int before = i == files ? -1 : folder ? compare(folder, order[i]) : 1;
        l->order[l->count] = before < 0 ? l->folders + j++ : order[i++];
        good = !l->count || compare(l->order[l->count - 1], l->order[l->count]) < 0;
    }
    for (size_t i = 0; good && i < l->count; i++) good = tell(l, l->order[i]);
    free(order);
    return good ? 0 : -1;
}

/* -- operations --------------------------------------------------------------------------------------------- */

static uint8_t *put64(uint8_t *p, uint64_t v) { return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32)); }

static int flush(layout *l) {
    uint8_t *p = room_for(&l->ops, 1);
    if (!p) return 0;
    *p = OP_FLUSH;
    l->cut = l->ops.size, l->group = 0;
    return 1;
}

/* Before a header or content of `size` bytes: a group that is large enough ends. */
static int begin(layout *l, uint64_t size) {
    if (l->group >= GROUP && !flush(l)) return 0;
    l->group += size;
    return 1;
}

static int put_piece(layout *l, const uint8_t *data, size_t size) {
    uint8_t *p = room_for(&l->ops, 5 + size);
    if (!p) return 0;
    *p = OP_PIECE;
    memcpy(put32(p + 1, (uint32_t)size), data, size);
    return 1;
}

static int put_header(layout *l, const listed *f, uint64_t size) {
    uint8_t *p = begin(l, TAR_BLOCK) ? room_for(&l->ops, 22 + f->path_size + (size_t)f->folder) : NULL;
    if (!p) return 0;
    memset(p, 0, 22);
    p[0] = OP_HEADER, p[1] = f->folder ? '5' : '0', p[2] = (uint8_t)f->mode, p[3] = (uint8_t)(f->mode >> 8);
    put64(p + 12, size);
    p[20] = (uint8_t)(f->path_size + (uint32_t)f->folder);
    memcpy(p + 22, f->path, f->path_size);
    if (f->folder) p[22 + f->path_size] = '/';
    return 1;
}

static int put_stream(layout *l, const operation *o) {
    size_t hashed = o->flags & HAS_HASH ? 32 : 0, fixed = o->op == OP_DEFLATED ? 34 : 30;
    int sharing = shares(o);
    uint8_t *p = !sharing || begin(l, o->size) ? room_for(&l->ops, fixed + hashed) : NULL;
    if (!p) return 0;
    *p++ = o->op, *p++ = o->flags;
    p = put64(put32(p, (uint32_t)o->file), o->offset);
    if (o->op == OP_DEFLATED) p = put64(p, o->csize);
    p = put32(put64(p, o->size), o->crc);
    if (o->op == OP_PLAIN) p = put32(p, 0);
    if (hashed) memcpy(p, o->hash, 32);
    if (!sharing) l->cut = l->ops.size, l->group = 0;
    return 1;
}

static int put_bytes(layout *l, const uint8_t *data, uint64_t size) {
    if (size <= SEGMENT) return begin(l, size) && put_piece(l, data, (size_t)size);
    if (!flush(l)) return 0;
    for (uint64_t at = 0; at < size; at += SEGMENT)
        if (!put_piece(l, data + at, size - at < SEGMENT ? (size_t)(size - at) : SEGMENT) || !flush(l)) return 0;
    return 1;
}

static int put(layout *l, const listed *f, uint64_t *tar) {
    uint64_t size = size_of(f), rest = -size % TAR_BLOCK;
    if (size > 077777777777 || !put_header(l, f, size) || (f->stream.op && !put_stream(l, &f->stream))) return 0;
    if (f->data_size && !put_bytes(l, f->data, f->data_size)) return 0;
    if (rest) {
        uint8_t *p = room_for(&l->ops, 3);
        if (!p) return 0;
        p[0] = OP_ZEROS, p[1] = (uint8_t)rest, p[2] = (uint8_t)(rest >> 8);
        l->group += rest;
    }
    *tar += TAR_BLOCK + size + rest;
    return 1;
}

static int hand_over(layout *l, core *c) {
    if (core_feed(c, l->ops.data, l->cut)) return 0;
    memmove(l->ops.data, l->ops.data + l->cut, l->ops.size - l->cut);
    l->ops.size -= l->cut, l->cut = 0;
    return 1;
}

static int feed(void *from, core *c) {
    static const uint8_t end[2 * TAR_BLOCK] = {0};
    layout *l = from;
    uint64_t tar = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (!put(l, l->order[i], &tar)) return -1;
        if (tar < FED || !l->cut) continue;
        if (!hand_over(l, c)) return -1;
        tar = 0;
    }
    if (!put_piece(l, end, sizeof end)) return -1;
    l->cut = l->ops.size;
    return hand_over(l, c) ? 0 : -1;
}

/* A thread feeds the core all that was arranged; both have to stay until the core is closed. 0, or -1 where there is none. */
API int layout_feed(layout *l, core *c) {
    uint64_t room = 0;
    for (size_t i = 0; i < l->files_count; i++) {
        const operation *o = &l->files[i].stream;
        if (o->op == OP_DEFLATED && o->size > o->csize) room += o->size - o->csize;
    }
    return core_fed_by(c, feed, l, room) ? 0 : -1;
}

/* The listing of what was arranged; its bytes are the layout's. */
API const uint8_t *layout_listing(const layout *l, size_t *size) {
    *size = l->listing.size;
    return l->listing.data;
}
