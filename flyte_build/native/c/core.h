/* The native core: what flyte_build/assemble/blob.py does, in C11 and POSIX threads. docs/core.md says why it exists.

   Python's assembler is the law: the same entries give the same bytes, and whatever the core finds wrong it reports as
   no more than "failed", whereupon Python's does the layer again from its start and finds the words. */

#ifndef CORE_H
#define CORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CORE_ABI 6

/* For tests: SMALL makes every limit small (pipeline.h), PORTABLE leaves out what only some processors have. */

#define API __attribute__((visibility("default")))

/* Makes all tables and chooses instructions, once; everything else here needs it. */
void core_setup(void);

/* Bytes that may be read past the end of what is inflated, and written past the end of what it becomes. */
#define SLACK_IN 64
#define SLACK_OUT 384

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16; }
static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32; }

static inline uint8_t *put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
    return p + 4;
}

/* -- sha256.c: FIPS 180-4 -------------------------------------------------------------------------- */

typedef struct {
    uint32_t h[8];
    uint64_t size;
    uint8_t part[64];
} sha256;

void sha256_setup(void);
void sha256_init(sha256 *s);
void sha256_update(sha256 *s, const uint8_t *data, size_t size);
/* The same bytes into two hashes, for little more than the price of one. */
void sha256_update_both(sha256 *a, sha256 *b, const uint8_t *data, size_t size);

/* Bytes of other messages, of which as many as there is room for are hashed beside what is: a third chain of rounds costs a
   third of what it does alone. Moved on by what was taken; sha256_rest takes the rest of the first. */
typedef struct beside {
    sha256 *s;
    const uint8_t *data;
    size_t size;
    struct beside *next; /* whose turn it is where fewer than 64 bytes are left, or NULL */
} beside;

/* As sha256_update_both; `b` may be NULL. */
void sha256_update_beside(sha256 *a, sha256 *b, const uint8_t *data, size_t size, beside *other);
void sha256_rest(beside *other);
void sha256_final(sha256 *s, uint8_t out[32]);

/* -- crc32.c: the CRC of gzip and zip -------------------------------------------------------------- */

void crc32_setup(void);
uint32_t crc32_of(uint32_t crc, const uint8_t *data, size_t size);

/* -- inflate.c: RFC 1951 --------------------------------------------------------------------------- */

#define LITERALS_BITS 11
#define DISTANCES_BITS 8

typedef struct {
    uint64_t bits;
    unsigned count; /* of bits, below 8 between calls */
    int inside;     /* of a block: 0 none, 1 stored, 2 compressed */
    int final;      /* that block is the last */
    int fixed;      /* the tables are those of the fixed codes */
    uint32_t stored;
    uint32_t literals[2400], distances[512];
} inflater;

enum { INFLATE_ROOM, INFLATE_INPUT, INFLATE_END, INFLATE_BAD };

void inflate_setup(void);
void inflate_init(inflater *d);
/* Inflate from *in to *out, both moved on; history begins at `base`. Where `all_in` is false, INFLATE_INPUT asks for more
   while up to 1 KiB is left. Where `exact`, `end` is where the content must end; else INFLATE_ROOM says that it was
   reached or passed, by less than SLACK_OUT. Both buffers have their slack. */
int inflate_run(inflater *d, const uint8_t **in, const uint8_t *in_end, int all_in, const uint8_t *base, uint8_t **out,
                uint8_t *end, int exact);

/* -- encode.c: items of more than LITTLE bytes, as in assemble/matches.py and assemble/huffman.py ---------------------- */

#define STORED_BLOCK 65535u
/* Content, either way, up to which a stream may share a member. */
#define JOINED 65536u

typedef struct {
    uint8_t *out;
    uint64_t bits;
    unsigned count; /* of bits that are not written, below 32 */
} bits_out;

static inline void put_bits(bits_out *o, uint32_t value, unsigned bits) {
    o->bits |= (uint64_t)value << o->count;
    o->count += bits;
    if (o->count >= 32) {
        o->out = put32(o->out, (uint32_t)o->bits);
        o->bits >>= 32, o->count -= 32;
    }
}

/* What is left of a byte is zeros. */
static inline void put_rest(bits_out *o) {
    for (; o->count; o->count = o->count > 8 ? o->count - 8 : 0) *o->out++ = (uint8_t)o->bits, o->bits >>= 8;
}

/* A stored block but for the three bits of its type. */
static inline void put_stored(bits_out *o, const uint8_t *data, size_t size) {
    put_rest(o);
    o->out = put32(o->out, (uint32_t)size | ((uint32_t)size ^ 0xFFFF) << 16);
    if (size) memcpy(o->out, data, size);
    o->out += size;
}

typedef struct encoder encoder;

void encode_setup(void);
/* NULL where there is no room for it; free() ends it. */
encoder *encoder_new(void);
/* Room for JOINED bytes of a stream, and their slack. */
uint8_t *encoder_raw(encoder *e);
/* At least four bytes as blocks of which none is the last. */
void encode(bits_out *o, encoder *e, const uint8_t *data, uint32_t size);

/* -- fixed.c: members of fresh bytes, as in assemble/deflate.py, and tar's headers, as in assemble/tar.py ------------- */

#define LITTLE 4096u
#define TAR_BLOCK 512u
/* Bytes that `size` fresh ones take at most. */
#define FRESH_MEMBER(size) ((size) + (size) / 8 + 64)

typedef struct {
    encoder *encoder;
    const uint8_t *member; /* where the content of the open member begins; NULL: none is open */
    uint8_t *start;        /* of the item that is being made; NULL: nothing is fresh */
    const uint8_t *data;   /* the fresh bytes themselves, one after the other */
    size_t size;
    bits_out o;
} fresh;

void fixed_setup(void);
/* One more piece, which follows all before in memory. `out` is where the blob ends but for an item that is being made. */
void fresh_piece(fresh *f, uint8_t *out, const uint8_t *data, size_t size);
/* Ends the item, on a byte, so that a stream can follow; where it ends. */
uint8_t *fresh_item(fresh *f, uint8_t *out);
/* A stream of the open member's: it begins on a byte, and its last block is made not to be the last. */
uint8_t *fresh_join(uint8_t *out, const uint8_t *raw, size_t size, int separator);
/* Ends the member, whose content ends at `end`; where it ends, or `out` where none is open. */
uint8_t *fresh_flush(fresh *f, uint8_t *out, const uint8_t *end);
uint8_t *member_begin(uint8_t *out);

typedef struct {
    uint8_t kind; /* of tar: '0', '1', '2', '5' */
    uint32_t mode, uid, gid;
    uint64_t size;
    const uint8_t *name, *link;
    unsigned name_size, link_size; /* at most 100; of a name, more where it can be split */
} tar_entry;

/* The slash at which a name of more than 100 bytes is divided into prefix and name; 0 where it cannot be. */
unsigned tar_split(const uint8_t *name, unsigned size);

/* The header block of an entry into `block`, and the sizes of its pieces. */
#define TAR_PIECES 11
void tar_header(const tar_entry *e, uint8_t block[TAR_BLOCK], unsigned pieces[TAR_PIECES]);

#endif
