/* The files of a wheel, where nothing about it is unusual: what assemble/archive.py, record.py and wheel.py make of it.

   Those are the law. A wheel with anything else in it (a .data folder, zip64, a name that is not printable ASCII, a RECORD that is
   not what it holds) is refused without a word, and is Python's, in whose hands it may be as good as any. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "listed.h"

#define END_SIZE 22u
#define LOCATOR_SIZE 20u
#define CENTRAL_SIZE 46u
#define LOCAL_SIZE 30u
/* Of an extra field, what is read with a local header: behind it lies the content. */
#define AHEAD 64u
#define MOST_DIRECTORY (64u << 20)
#define MOST_RECORD (8u << 20)
#define MOST_INFLATED ((uint64_t)4 << 30)
#define REFUSED_FLAGS (1u << 0 | 1u << 5 | 1u << 6 | 1u << 13)
#define DESCRIPTOR (1u << 3)

typedef struct {
    const uint8_t *name;
    unsigned name_size, flags, method, mode;
    uint32_t crc, csize, size, header;
    uint64_t offset;
    int folder, recorded;
    const uint8_t *hash; /* RECORD's; NULL: it is not to be checked */
} member;

typedef struct {
    int file;
    uint64_t length, start; /* of the file; where its directory begins */
    const uint8_t *directory;
    size_t size, count;
    member *members, **sorted; /* `sorted` by name, made when it is first needed */
    uint8_t *hashes;
    const uint8_t *info; /* the name of the .dist-info folder */
    size_t info_size;
    const member *record, *wheel, *points;
} wheel;

static int ends(const uint8_t *name, size_t size, const char *with) {
    size_t n = strlen(with);
    return size >= n && !memcmp(name + size - n, with, n);
}

/* -- the zip ------------------------------------------------------------------------------------------------ */

static int find_directory(wheel *w) {
    uint8_t tail[LOCATOR_SIZE + END_SIZE], *end = tail + LOCATOR_SIZE;
    struct stat s;
    if (fstat(w->file, &s) || !S_ISREG(s.st_mode) || s.st_size < (off_t)sizeof tail) return 0;
    w->length = (uint64_t)s.st_size;
    if (!read_all(w->file, tail, sizeof tail, w->length - sizeof tail)) return 0;
    if (memcmp(end, "PK\5\6", 4) || !memcmp(tail, "PK\6\7", 4)) return 0;
    /* Python takes the last that is there. */
    for (unsigned at = 1; at + 4 <= END_SIZE; at++)
        if (!memcmp(end + at, "PK\5\6", 4)) return 0;
    if (get16(end + 4) || get16(end + 6) || get16(end + 8) != get16(end + 10) || get16(end + 20)) return 0;
    w->count = get16(end + 10), w->size = get32(end + 12), w->start = get32(end + 16);
    return w->count && w->size <= MOST_DIRECTORY && w->start + w->size == w->length - END_SIZE;
}

/* Whether a stream is one of nothing. */
static int is_empty(const uint8_t *stream, size_t size) {
    uint8_t raw[AHEAD + SLACK_IN] = {0}, nothing[SLACK_OUT], *out = nothing;
    const uint8_t *in = raw;
    inflater d;
    if (size == 2 && stream[0] == 3 && !stream[1]) return 1;
    memcpy(raw, stream, size);
    inflate_init(&d);
    return inflate_run(&d, &in, raw + size, 1, nothing, &out, nothing, 1) == INFLATE_END && in == raw + size && out == nothing;
}

/* Finds the content; the local header must say what the directory does, but for sizes that follow the content. */
static int local_header(const wheel *w, member *m) {
    uint8_t found[LOCAL_SIZE + LONGEST_PATH + AHEAD];
    uint64_t take = LOCAL_SIZE + m->name_size + AHEAD;
    if (m->header >= w->start) return 0;
    if (take > w->start - m->header) take = w->start - m->header;
    if (take < LOCAL_SIZE + m->name_size || !read_all(w->file, found, take, m->header)) return 0;
    if (memcmp(found, "PK\3\4", 4) || get16(found + 6) != m->flags || get16(found + 8) != m->method) return 0;
    uint32_t crc = get32(found + 14), csize = get32(found + 18), size = get32(found + 22);
    if ((crc != m->crc || csize != m->csize || size != m->size) && !(m->flags & DESCRIPTOR && !crc && !csize && !size)) return 0;
    if (get16(found + 26) != m->name_size || memcmp(found + LOCAL_SIZE, m->name, m->name_size)) return 0;
    m->offset = (uint64_t)m->header + LOCAL_SIZE + m->name_size + get16(found + 28);
    if (m->size) return 1;
    /* An empty file: its content is looked at here, as none will be read. */
    uint64_t at = m->offset - m->header;
    if (m->crc || !m->method != !m->csize || m->csize > AHEAD / 2) return 0;
    return !m->method || (at + m->csize <= take && is_empty(found + at, m->csize));
}

static int known(wheel *w, const member *m) {
    static const char *const refused[] = {"RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"};
    const uint8_t *slash = memchr(m->name, '/', m->name_size);
    size_t top = slash ? (size_t)(slash - m->name) : m->name_size;
    if (slash && ends(m->name, top, ".data")) return 0;
    if (!ends(m->name, top, ".dist-info")) return 1;
    if (!w->info) w->info = m->name, w->info_size = top;
    if (w->info_size != top || memcmp(w->info, m->name, top) || !slash) return 0;
    const uint8_t *name = slash + 1;
    size_t size = m->name_size - top - 1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (size == strlen(refused[i]) && !memcmp(name, refused[i], size)) return 0;
    if (size == 6 && !memcmp(name, "RECORD", 6)) w->record = m;
    if (size == 5 && !memcmp(name, "WHEEL", 5)) w->wheel = m;
    if (size == 16 && !memcmp(name, "entry_points.txt", 16)) w->points = m;
    return 1;
}

static int by_name(const void *a, const void *b) {
    const member *x = *(member *const *)a, *y = *(member *const *)b;
    unsigned least = x->name_size < y->name_size ? x->name_size : y->name_size;
    int order = memcmp(x->name, y->name, least);
    return order ? order : x->name_size < y->name_size ? -1 : x->name_size > y->name_size;
}

/* The member called so: the one at `guess`, in the common case that both lists have one order. */
static member *find(wheel *w, const uint8_t *name, unsigned size, size_t guess) {
    member wanted = {.name = name, .name_size = size}, *key = &wanted;
    if (guess < w->count && w->members[guess].name_size == size && !memcmp(w->members[guess].name, name, size))
        return &w->members[guess];
    if (!w->sorted) {
        w->sorted = malloc(w->count * sizeof *w->sorted);
        if (!w->sorted) return NULL;
        for (size_t i = 0; i < w->count; i++) w->sorted[i] = &w->members[i];
        qsort(w->sorted, w->count, sizeof *w->sorted, by_name);
    }
    member **found = bsearch(&key, w->sorted, w->count, sizeof *w->sorted, by_name);
    return found ? *found : NULL;
}

/* That no file has a folder's name. Where files lie below the folder, it is seen when they are arranged. */
static int folders_apart(wheel *w) {
    int above = 0;
    for (size_t i = w->count; i--;) {
        const member *m = &w->members[i], *next = m + 1;
        if (!m->folder) {
            above = 1;
            continue;
        }
        above = above && next->name_size > m->name_size && !memcmp(next->name, m->name, m->name_size);
        if (!above && (find(w, m->name, m->name_size - 1, w->count) || !w->sorted)) return 0;
    }
    return 1;
}

static int read_directory(wheel *w) {
    const uint8_t *at = w->directory, *end = at + w->size;
    uint64_t last = 0, said = 0;
    for (size_t i = 0; i < w->count; i++) {
        member *m = &w->members[i];
        if (end - at < CENTRAL_SIZE || memcmp(at, "PK\1\2", 4)) return 0;
        m->flags = get16(at + 8), m->method = get16(at + 10), m->crc = get32(at + 16), m->csize = get32(at + 20);
        m->size = get32(at + 24), m->name_size = get16(at + 28), m->mode = get16(at + 40), m->header = get32(at + 42);
        size_t more = (size_t)m->name_size + get16(at + 30) + get16(at + 32);
        m->name = at + CENTRAL_SIZE;
        if (get16(at + 34) || m->flags & REFUSED_FLAGS || (m->method && m->method != 8)) return 0;
        if (m->csize == UINT32_MAX || m->size == UINT32_MAX || m->header == UINT32_MAX) return 0;
        at += CENTRAL_SIZE;
        if ((size_t)(end - at) < more || !m->name_size) return 0;
        at += more;
        m->folder = m->name[m->name_size - 1] == '/';
        if (!plain_path(m->name, m->name_size - (unsigned)m->folder) || (m->folder && m->size)) return 0;
        if (m->mode & S_IFMT && !S_ISREG(m->mode) && !(m->folder && S_ISDIR(m->mode))) return 0;
        if (!m->method && m->csize != m->size) return 0;
        /* One after the other, as archives are written: so none lies in another. */
        if (m->header < last || !local_header(w, m) || (!m->folder && !known(w, m))) return 0;
        last = m->offset + m->csize, said += m->size;
        if (last > w->start) return 0;
    }
    return at == end && w->record && w->wheel && folders_apart(w) && (said <= MOST_INFLATED || said <= 64 * w->length);
}

/* -- RECORD ------------------------------------------------------------------------------------------------- */

/* `sha256=` and 43 characters of base64 for URLs. */
static int read_hash(const uint8_t *text, size_t size, uint8_t out[32]) {
    uint32_t bits = 0, count = 0;
    if (size != 50 || memcmp(text, "sha256=", 7)) return 0;
    for (size_t i = 7; i < size; i++) {
        uint8_t c = text[i];
        uint32_t value = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26u : c >= '0' && c <= '9' ? c - '0' + 52u : c == '-' ? 62u : c == '_' ? 63u : 64u;
        if (value == 64) return 0;
        bits = bits << 6 | value, count += 6;
        if (count >= 8) count -= 8, *out++ = (uint8_t)(bits >> count);
    }
    return 1;
}

static int states(const uint8_t *text, size_t size, uint32_t number) {
    char digits[16];
    return !size || (size == (size_t)snprintf(digits, sizeof digits, "%u", number) && !memcmp(text, digits, size));
}

/* One line of RECORD, without its end. */
static int row(wheel *w, const uint8_t *at, const uint8_t *end, size_t *guess, int verify, wheel_facts *facts) {
    static const uint8_t nothing[32] = {
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
        0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    };
    if (at == end) return 1;
    const uint8_t *hash = memchr(at, ',', (size_t)(end - at));
    const uint8_t *size = hash ? memchr(hash + 1, ',', (size_t)(end - hash - 1)) : NULL;
    if (!size || memchr(at, '"', (size_t)(end - at))) return 0;
    while (*guess < w->count && w->members[*guess].folder) ++*guess;
    member *m = find(w, at, (unsigned)(hash - at), *guess);
    if (!m || m->folder || m->recorded) return 0;
    m->recorded = 1, *guess = (size_t)(m - w->members) + 1;
    if (m == w->record) return facts->listed = 1, size + 1 == end && hash + 1 == size;
    uint8_t *own = w->hashes + 32 * (m - w->members);
    if (!read_hash(hash + 1, (size_t)(size - hash - 1), own) || !states(size + 1, (size_t)(end - size - 1), m->size)) return 0;
    if (!m->size && memcmp(own, nothing, 32)) return 0;
    if (verify) m->hash = own;
    return 1;
}

static int read_record(wheel *w, uint8_t *raw, uint8_t *text, int verify, wheel_facts *facts) {
    const member *r = w->record;
    inflater d;
    const uint8_t *in = raw, *at = text, *end = text + r->size;
    uint8_t *out = text;
    size_t guess = 0;
    if (!read_all(w->file, r->method ? raw : text, r->csize, r->offset)) return 0;
    if (r->method) {
        memset(raw + r->csize, 0, SLACK_IN);
        inflate_init(&d);
        if (inflate_run(&d, &in, raw + r->csize, 1, text, &out, text + r->size, 1) != INFLATE_END) return 0;
        if (in != raw + r->csize || out != end) return 0;
    }
    if (crc32_of(0, text, r->size) != r->crc) return 0;
    facts->ended = end[-1] == '\n';
    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at)), *line = stop ? stop : end;
        if (line > at && line[-1] == '\r') line--;
        if (!row(w, at, line, &guess, verify, facts)) return 0;
        at = stop ? stop + 1 : end;
    }
    for (size_t i = 0; i < w->count; i++)
        if (!w->members[i].recorded && !w->members[i].folder && &w->members[i] != r) return 0;
    return 1;
}

/* -- both --------------------------------------------------------------------------------------------------- */

static wheel_member told_of(const member *m) {
    if (!m) return (wheel_member){.method = -1};
    return (wheel_member){m->offset, m->csize, m->size, m->crc, (int32_t)m->method};
}

static int add_files(layout *l, const wheel *w, const uint8_t *site, size_t site_size) {
    size_t room = 0;
    for (size_t i = 0; i < w->count; i++) room += site_size + 1 + w->members[i].name_size;
    uint8_t *path = layout_memory(l, room);
    if (!path) return 0;
    for (size_t i = 0; i < w->count; i++) {
        const member *m = &w->members[i];
        if (m == w->record || m->folder) continue;
        listed *f = layout_file(l);
        if (!f || site_size + 1 + m->name_size > LONGEST_PATH) return 0;
        memcpy(path, site, site_size);
        path[site_size] = '/';
        memcpy(path + site_size + 1, m->name, m->name_size);
        f->path = path, f->path_size = (uint32_t)(site_size + 1 + m->name_size), path += f->path_size;
        f->mode = S_ISREG(m->mode) && m->mode & 0111 ? 0755 : 0644;
        if (!m->size) continue;
        operation *o = &f->stream;
        o->op = m->method ? OP_DEFLATED : OP_PLAIN;
        o->flags = (uint8_t)((m->hash ? HAS_HASH : 0) | (m->method ? 0 : HAS_CRC));
        o->file = w->file, o->offset = m->offset, o->csize = m->csize, o->size = m->size, o->crc = m->crc, o->hash = m->hash;
    }
    return 1;
}

/* The files of the wheel in `file`, below `site`, less its RECORD, are the layout's; `verify`: by the hashes of RECORD. 0, or -1
   where it is none of these: then nothing was added. */
API int layout_wheel(layout *l, int file, const uint8_t *site, size_t site_size, int verify, wheel_facts *facts) {
    wheel w = {.file = file};
    size_t before = l->files_count;
    uint8_t *directory = NULL, *raw = NULL, *text = NULL;
    int good = 0;
    memset(facts, 0, sizeof *facts);
    core_setup();
    if (!plain_path(site, site_size) || !find_directory(&w) || !(directory = malloc(w.size)) || !(w.members = calloc(w.count, sizeof *w.members))) goto end;
    w.directory = directory;
    if (!read_all(file, directory, w.size, w.start) || !read_directory(&w)) goto end;
    if (!w.record->size || w.record->size > MOST_RECORD || w.record->csize > MOST_RECORD || w.info_size > 255) goto end;
    if (!(w.hashes = layout_memory(l, 32 * w.count))) goto end;
    raw = malloc(w.record->csize + SLACK_IN), text = malloc(w.record->size + SLACK_OUT);
    good = raw && text && read_record(&w, raw, text, verify, facts) && add_files(l, &w, site, site_size);
    if (good) {
        facts->record = told_of(w.record), facts->wheel = told_of(w.wheel), facts->points = told_of(w.points);
        memcpy(facts->info, w.info, w.info_size);
    }
end:
    if (!good) l->files_count = before;
    free(w.sorted);
    free(w.members);
    free(directory);
    free(raw);
    free(text);
    return good ? 0 : -1;
}
