/* How every entry of a tree lies: what store/sealed.py's Examiner.lie does, with a system call an entry and little else.

   Gives the same text for the same tree. Whatever is unusual (a name that is no UTF-8, whose place in an order of texts is
   not that of its bytes; a tree that changes meanwhile, or that cannot be read) is Python's. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define PIECE ((size_t)64 << 10)

/* What getdents64(2) gives. */
struct found {
    uint64_t inode;
    int64_t next;
    uint16_t size;
    uint8_t kind;
    char name[];
};
#define IS_FOLDER 4
#define UNKNOWN 0

struct buffer {
    uint8_t *at;
    size_t size, room;
};

/* Room for so many bytes more. */
static int grow(struct buffer *b, size_t more) {
    if (b->room - b->size >= more) return 1;
    size_t room = b->room ? b->room : PIECE;
    while (room - b->size < more) room *= 2;
    uint8_t *at = realloc(b->at, room);
    if (!at) return 0;
    b->at = at, b->room = room;
    return 1;
}

static void put(struct buffer *b, const void *data, size_t size) {
    memcpy(b->at + b->size, data, size);
    b->size += size;
}

static void put_number(struct buffer *b, uint64_t n, unsigned base) {
    char digits[24], *p = digits + sizeof digits;
    do *--p = (char)('0' + n % base);
    while (n /= base);
    put(b, p, (size_t)(digits + sizeof digits - p));
}

static int is_plain(const char *name) {
    const uint8_t *p = (const uint8_t *)name;
    while (*p) {
        uint32_t c = *p++;
        if (c == '\n') return 0; /* it would be two lines */
        if (c < 0x80) continue;
        int rest = c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 0;
        if (!rest) return 0;
        uint32_t least = rest == 1 ? 0x80 : rest == 2 ? 0x800 : 0x10000;
        c &= 0x3Fu >> rest;
        for (int i = 0; i < rest; i++, p++) {
            if ((*p & 0xC0) != 0x80) return 0;
            c = c << 6 | (*p & 0x3F);
        }
        if (c < least || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    }
    return 1;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct found *const *)a)->name, (*(const struct found *const *)b)->name);
}

/* All that is in the open folder, `.` and `..` left out, into `raw`; how many, or -1. */
static ssize_t list(int folder, struct buffer *raw) {
    ssize_t count = 0;
    raw->size = 0;
    for (;;) {
        if (!grow(raw, PIECE)) return -1;
        long got = syscall(SYS_getdents64, folder, raw->at + raw->size, PIECE);
        if (got < 0) return -1;
        if (!got) return count;
        /* The two are moved over by what follows. */
        uint8_t *from = raw->at + raw->size, *end = from + got, *to = from;
        while (from < end) {
            struct found *one = (struct found *)(void *)from;
            size_t size = one->size;
            if (strcmp(one->name, ".") && strcmp(one->name, "..")) {
                if (!is_plain(one->name)) return -1;
                memmove(to, from, size);
                to += size;
                count++;
            }
            from += size;
        }
        raw->size = (size_t)(to - raw->at);
    }
}

/* A line of `out` for each entry of the open folder at `prefix`; folders are put on `below`, each with its size after it. */
static int lie(int folder, const char *prefix, struct buffer *out, struct buffer *below, struct buffer *raw) {
    ssize_t count = list(folder, raw);
    if (count < 0) return 0;
    const struct found **order = malloc(((size_t)count + 1) * sizeof *order);
    if (!order) return 0;
    size_t at = 0, length = strlen(prefix);
    for (ssize_t i = 0; i < count; i++) {
        order[i] = (const struct found *)(const void *)(raw->at + at);
        at += order[i]->size;
    }
    qsort(order, (size_t)count, sizeof *order, by_name);
    int good = 1;
    for (ssize_t i = 0; good && i < count; i++) {
        const char *name = order[i]->name;
        size_t size = strlen(name);
        struct stat s;
        good = !fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW) && grow(out, length + size + 128);
        if (!good) break;
        int inner = S_ISDIR(s.st_mode);
        /* It was another thing a moment ago. */
        if (order[i]->kind != UNKNOWN && inner != (order[i]->kind == IS_FOLDER)) good = 0;
        put(out, "\n", 1);
        put(out, prefix, length);
        put(out, name, size);
        put(out, "/", (size_t)inner);
        put(out, "\0", 1);
        put_number(out, s.st_mode, 8);
        if (inner) {
            size_t whole = length + size + 2;
            if (!(good = grow(below, whole + sizeof whole))) break;
            put(below, prefix, length);
            put(below, name, size);
            put(below, "/\0", 2);
            put(below, &whole, sizeof whole);
            continue;
        }
        int64_t mtime = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
        put(out, " ", 1);
        put_number(out, s.st_ino, 10);
        put(out, " ", 1);
        put_number(out, (uint64_t)s.st_size, 10);
        put(out, " -", mtime < 0 ? 2 : 1);
        put_number(out, mtime < 0 ? (uint64_t)-mtime : (uint64_t)mtime, 10);
    }
    free(order);
    return good;
}

/* The lines of the tree whose top is open as `top`, for core_lay to free; whether that could be told. */
API int core_lie(int top, uint8_t **text, size_t *size) {
    struct buffer out = {0}, below = {0}, raw = {0}, path = {0};
    struct stat s;
    int good = !fstat(top, &s) && grow(&out, 128);
    if (good) {
        put(&out, "/\0", 2);
        put_number(&out, s.st_mode, 8);
        int folder = openat(top, ".", FOLDER);
        good = folder >= 0 && lie(folder, "", &out, &below, &raw);
        if (folder >= 0) close(folder);
    }
    while (good && below.size) {
        size_t whole;
        memcpy(&whole, below.at + below.size - sizeof whole, sizeof whole);
        below.size -= sizeof whole + whole;
        path.size = 0;
        if (!(good = grow(&path, whole))) break;
        put(&path, below.at + below.size, whole);
        char *prefix = (char *)path.at;
        /* Without its slash: what is a link by now is not followed. */
        prefix[whole - 2] = 0;
        int folder = openat(top, prefix, FOLDER);
        prefix[whole - 2] = '/';
        good = folder >= 0 && lie(folder, prefix, &out, &below, &raw);
        if (folder >= 0) close(folder);
    }
    free(below.at), free(raw.at), free(path.at);
    if (good)
        *text = out.at, *size = out.size;
    else
        free(out.at);
    return good;
}

API void core_lay(uint8_t *text) { free(text); }
