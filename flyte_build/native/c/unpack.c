/* A layer's tar, as it comes, into a folder that nobody else touches: what submit/unpack.py does, for plain layers only.

   Plain is what our assembler and most others write. A name that leads out, or through a link, or that is there already, a
   whiteout, a device, a header with anything unusual: all that is Python's, which begins anew and is the law. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unpack.h"

#define MOST_PATH 4000u
#define MOST_PARTS 256
#define MOST_MEMBERS (1u << 22)
#define MOST_PAX ((uint64_t)64 << 10)
#define LAST_TIME ((uint64_t)1 << 33)

struct unpacking {
    int into;
    uint64_t limit, size, members;
    sha256 tar, own;
    int ended; /* at the archive's end: what follows is hashed only */
    uint8_t block[TAR_BLOCK];
    size_t have;           /* of the block */
    uint64_t left, padded; /* of the content that is read, and of what follows it */
    int file;              /* what the content goes into; -1: into `pax` */
    mode_t mode;
    uint64_t mtime;
    uint8_t *pax;
    size_t pax_size;
    int after_pax, has_path, has_link;
    char path[MOST_PATH + 1], link[MOST_PATH + 1]; /* of the member, or what pax says of the next */
    /* The folder of the last member, and its name: empty is `into` itself. */
    int parent;
    char parent_path[MOST_PATH + 1];
    unpacked_file *files;
    uint64_t count, room;
};

unpacking *unpack_begin(int into, uint64_t limit) {
    unpacking *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    u->into = into, u->limit = limit, u->file = u->parent = -1;
    sha256_init(&u->tar);
    return u;
}

int unpack_end(unpacking *u, int good, unpack_result *r) {
    good = good && u->ended;
    if (u->file >= 0) close(u->file);
    if (u->parent >= 0) close(u->parent);
    free(u->pax);
    if (good) {
        sha256_final(&u->tar, r->tar);
        r->tar_size = u->size, r->files = u->files, r->count = u->count;
    } else
        free(u->files);
    free(u);
    return good;
}

/* -- names ------------------------------------------------------------------------------------------------ */

/* Whether nothing in the text moves a cursor or turns its direction, and all of it is UTF-8; some more is refused, too. */
static int plain_text(const char *text, size_t size) {
    const uint8_t *p = (const uint8_t *)text, *end = p + size;
    while (p < end) {
        uint32_t c = *p++;
        if (c >= 0x20 && c < 0x7F) continue;
        int rest = c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE1 && c < 0xF0 ? 2 : 0;
        if (!rest || end - p < rest) return 0;
        c &= rest == 1 ? 0x1F : 0x0F;
        for (int i = 0; i < rest; i++, p++) {
            if ((*p & 0xC0) != 0x80) return 0;
            c = c << 6 | (*p & 0x3F);
        }
        if (!(c >= 0xA0 && c < 0x2000) && !(c >= 0x3000 && c < 0xD800)) return 0;
    }
    return 1;
}

/* `./usr//bin/` → `usr/bin`, in place; false for what is Python's. */
static int plain_path(char *path) {
    char *out = path;
    const char *p = path;
    int parts = 0;
    if (!plain_text(path, strlen(path))) return 0;
    while (*p) {
        const char *end = strchr(p, '/');
        size_t size = end ? (size_t)(end - p) : strlen(p);
        if ((size == 2 && !memcmp(p, "..", 2)) || (size >= 4 && !memcmp(p, ".wh.", 4)) || size > 255) return 0;
        if (size && !(size == 1 && *p == '.')) {
            if (++parts > MOST_PARTS) return 0;
            if (out > path) *out++ = '/';
            memmove(out, p, size);
            out += size;
        }
        p += size + (end != NULL);
    }
    *out = 0;
    return 1;
}

/* The folder that the member at `path` lies in, as a descriptor of u's, made where it is missing; `name` is what it is called
   there. No link is followed: -1 where there is one, or no folder. */
static int parent_of(unpacking *u, const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    *name = slash ? slash + 1 : path;
    if (!size) return u->into;
    if (u->parent >= 0 && !strncmp(u->parent_path, path, size) && !u->parent_path[size]) return u->parent;
    if (u->parent >= 0) close(u->parent);
    u->parent = -1;
    memcpy(u->parent_path, path, size);
    u->parent_path[size] = 0;
    int here = u->into;
    for (char *p = u->parent_path; p;) {
        char *end = strchr(p, '/');
        if (end) *end = 0;
        int next = openat(here, p, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && errno == ENOENT && !mkdirat(here, p, 0755))
            next = openat(here, p, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (here != u->into) close(here);
        if (end) *end = '/';
        if (next < 0) return -1;
        here = next;
        p = end ? end + 1 : NULL;
    }
    return u->parent = here;
}

/* -- members ---------------------------------------------------------------------------------------------- */

static int file_ends(unpacking *u) {
    struct stat s;
    struct timespec times[2] = {{.tv_sec = (time_t)u->mtime}, {.tv_sec = (time_t)u->mtime}};
    if (u->count == u->room) {
        uint64_t room = u->room ? 2 * u->room : 1024;
        unpacked_file *files = realloc(u->files, room * sizeof *files);
        if (!files) return 0;
        u->files = files, u->room = room;
    }
    if (futimens(u->file, times) || fstat(u->file, &s)) return 0;
    /* Most were made with their mode; what this process's mask took away is given now. */
    if ((s.st_mode & 07777) != u->mode && (fchmod(u->file, u->mode) || fstat(u->file, &s))) return 0;
    unpacked_file *f = &u->files[u->count++];
    f->inode = s.st_ino, f->size = (uint64_t)s.st_size, f->mode = s.st_mode;
    f->mtime = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
    sha256_final(&u->own, f->hash);
    int closed = close(u->file);
    u->file = -1;
    return !closed;
}

static int file_begins(unpacking *u, uint64_t size) {
    const char *name;
    int folder = parent_of(u, u->path, &name);
    if (folder < 0) return 0;
    u->file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, u->mode);
    if (u->file < 0) return 0;
    sha256_init(&u->own);
    u->left = size, u->padded = -size % TAR_BLOCK;
    return size || file_ends(u);
}

static int folder(unpacking *u) {
    const char *name;
    struct stat s;
    int above = parent_of(u, u->path, &name);
    if (above < 0) return 0;
    if (mkdirat(above, name, 0700) && (errno != EEXIST || fstatat(above, name, &s, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(s.st_mode)))
        return 0;
    return !fchmodat(above, name, (u->mode & 01777) | 0700, 0);
}

static int link_to(unpacking *u, int hard) {
    const char *name, *other;
    struct stat s;
    if (!hard) {
        int above = parent_of(u, u->path, &name);
        return above >= 0 && *u->link && plain_text(u->link, strlen(u->link)) && !symlinkat(u->link, above, name);
    }
    if (!plain_path(u->link) || !*u->link) return 0;
    int there = parent_of(u, u->link, &other);
    if (there < 0) return 0;
    there = fcntl(there, F_DUPFD_CLOEXEC, 0); /* the next call closes it */
    int above = there < 0 ? -1 : parent_of(u, u->path, &name);
    int good = above >= 0 && !fstatat(there, other, &s, AT_SYMLINK_NOFOLLOW) && S_ISREG(s.st_mode) &&
               !linkat(there, other, above, name, 0);
    if (there >= 0) close(there);
    return good;
}

/* -- headers ---------------------------------------------------------------------------------------------- */

/* Octal digits and blanks up to a NUL or the field's end; base 256 and all else is Python's. */
static int number(const uint8_t *field, size_t size, uint64_t *value) {
    size_t i = 0;
    for (*value = 0; i < size && field[i] >= '0' && field[i] <= '7'; i++) *value = *value << 3 | (uint64_t)(field[i] - '0');
    while (i < size && field[i] == ' ') i++;
    return i == size || !field[i];
}

static void text(char *out, const uint8_t *field, size_t size) {
    size_t length = strnlen((const char *)field, size);
    memcpy(out, field, length);
    out[length] = 0;
}

/* The records of a pax header: names are taken, attributes and owners passed over, and all else is Python's. */
static int pax(unpacking *u) {
    const uint8_t *p = u->pax, *end = p + u->pax_size;
    while (p < end) {
        uint64_t length = 0;
        const uint8_t *at = p;
        for (; at < end && *at >= '0' && *at <= '9' && length < MOST_PAX; at++) length = 10 * length + (uint64_t)(*at - '0');
        if (at == p || *p == '0' || at == end || *at++ != ' ' || length > (uint64_t)(end - p)) return 0;
        const uint8_t *stop = p + length;
        if (stop <= at || stop[-1] != '\n') return 0;
        const uint8_t *value = memchr(at, '=', (size_t)(stop - at));
        if (!value) return 0;
        value++;
        size_t key = (size_t)(value - 1 - at), size = (size_t)(stop - 1 - value);
        int *has = key == 4 && !memcmp(at, "path", 4) ? &u->has_path : key == 8 && !memcmp(at, "linkpath", 8) ? &u->has_link : NULL;
        if (has) {
            if (*has || !size || size > MOST_PATH || memchr(value, 0, size)) return 0;
            *has = 1;
            text(has == &u->has_path ? u->path : u->link, value, size);
        } else if ((key != 3 || (memcmp(at, "uid", 3) && memcmp(at, "gid", 3))) && (key < 13 || memcmp(at, "SCHILY.xattr.", 13)))
            return 0;
        p = stop;
    }
    u->after_pax = 1;
    return 1;
}

static int header(unpacking *u) {
    static const struct {
        uint16_t at, size;
    } numbers[] = {{100, 8}, {108, 8}, {116, 8}, {124, 12}, {136, 12}, {148, 8}, {329, 8}, {337, 8}};
    uint64_t found[8];
    const uint8_t *b = u->block;
    uint32_t sum = 8 * ' ';
    size_t i;
    for (i = 0; i < TAR_BLOCK && !b[i]; i++) continue;
    if (i == TAR_BLOCK) return u->ended = 1, !u->after_pax;
    for (i = 0; i < TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? 0 : b[i];
    for (i = 0; i < 8; i++)
        if (!number(b + numbers[i].at, numbers[i].size, &found[i])) return 0;
    uint64_t size = found[3];
    if (found[5] != sum || memcmp(b + 257, "ustar", 5) || found[0] > 07777 || ++u->members > MOST_MEMBERS) return 0;
    if (b[262] && b[345]) return 0; /* GNU has no prefix, but dates there */
    int kind = b[156] ? b[156] : '0';
    if (kind == 'x') {
        free(u->pax);
        u->pax = NULL;
        if (u->after_pax || !size || size > MOST_PAX || !(u->pax = malloc(size))) return 0;
        u->file = -1, u->pax_size = 0, u->left = size, u->padded = -size % TAR_BLOCK;
        return 1;
    }
    if (!u->has_path) {
        text(u->path, b + 345, 155);
        if (b[345]) strcat(u->path, "/");
        text(u->path + strlen(u->path), b, 100);
    }
    if (!u->has_link) text(u->link, b + 157, 100);
    u->has_path = u->has_link = u->after_pax = 0;
    size_t length = strlen(u->path);
    if ((size && kind != '0') || !length || (kind != '5' && u->path[length - 1] == '/') || !plain_path(u->path)) return 0;
    u->mode = (mode_t)found[0], u->mtime = found[4] < LAST_TIME ? found[4] : LAST_TIME;
    if (!u->path[0]) return kind == '5';
    if (kind == '5') return folder(u);
    if (kind == '1' || kind == '2') return link_to(u, kind == '1');
    u->mode = (u->mode & 0777) | 0400;
    return kind == '0' && size <= u->limit && file_begins(u, size);
}

int unpack_bytes(unpacking *u, const uint8_t *data, size_t size) {
    u->size += size;
    if (u->size > u->limit) return 0;
    while (size) {
        size_t take = size;
        if (u->left) {
            if (take > u->left) take = (size_t)u->left;
            u->left -= take;
            if (u->file < 0) {
                sha256_update(&u->tar, data, take);
                memcpy(u->pax + u->pax_size, data, take);
                u->pax_size += take;
                if (!u->left && !pax(u)) return 0;
            } else {
                sha256_update_both(&u->tar, &u->own, data, take);
                for (size_t done = 0; done < take;) {
                    ssize_t wrote = write(u->file, data + done, take - done);
                    if (wrote < 0 && errno == EINTR) continue;
                    if (wrote <= 0) return 0;
                    done += (size_t)wrote;
                }
                if (!u->left && !file_ends(u)) return 0;
            }
        } else if (u->ended || u->padded) {
            if (!u->ended && take > u->padded) take = (size_t)u->padded;
            if (!u->ended) u->padded -= take;
            sha256_update(&u->tar, data, take);
        } else {
            if (take > TAR_BLOCK - u->have) take = TAR_BLOCK - u->have;
            memcpy(u->block + u->have, data, take);
            sha256_update(&u->tar, data, take);
            u->have += take;
            if (u->have == TAR_BLOCK) {
                u->have = 0;
                if (!header(u)) return 0;
            }
        }
        data += take, size -= take;
    }
    return 1;
}
