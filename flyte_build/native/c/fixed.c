/* What is fresh in a layer: tar's headers (assemble/tar.py) and its members (assemble/deflate.py, assemble/blob.py).

   All is defined there; here it is only faster. Items up to LITTLE bytes are one block of fixed codes, in which runs of four
   or more equal bytes within a piece become matches at distance 1, or stored; encode.c has the others. */

#include "core.h"

#define LONGEST 258u
#define SHORTEST 3u

static uint16_t literal_code[256], match_code[LONGEST + 1];
static uint8_t literal_bits[256], match_bits[LONGEST + 1];

static uint32_t reversed(uint32_t code, unsigned bits) {
    uint32_t out = 0;
    while (bits--) out = out << 1 | (code & 1), code >>= 1;
    return out;
}

void fixed_setup(void) {
    for (uint32_t b = 0; b < 256; b++) {
        literal_bits[b] = b < 144 ? 8 : 9;
        literal_code[b] = (uint16_t)reversed(b < 144 ? 0x30 + b : 0x190 + b - 144, literal_bits[b]);
    }
    for (uint32_t symbol = 257, length = SHORTEST; symbol < 286; symbol++) {
        unsigned bits = symbol < 280 ? 7 : 8;
        uint32_t code = reversed(symbol < 280 ? symbol - 256 : 0xC0 + symbol - 280, bits);
        unsigned extra = symbol < 265 || symbol == 285 ? 0 : (symbol - 261) / 4;
        if (symbol == 285) length = LONGEST;
        for (uint32_t value = 0; value < 1u << extra; value++, length++) {
            match_code[length] = (uint16_t)(code | value << bits); /* the distance's code is five zeros */
            match_bits[length] = (uint8_t)(bits + extra + 5);
            if (length == LONGEST) break;
        }
    }
}

/* -- members ------------------------------------------------------------------------------------------ */

uint8_t *member_begin(uint8_t *out) {
    static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};
    memcpy(out, header, sizeof header);
    return out + sizeof header;
}

void fresh_piece(fresh *f, uint8_t *out, const uint8_t *data, size_t size) {
    if (!f->start) {
        if (!f->member) out = member_begin(out), f->member = data;
        f->start = out;
        f->data = data, f->size = 0;
        f->o = (bits_out){out, 2, 3}; /* fixed codes */
    }
    f->size += size;
    if (f->size > LITTLE) return;
    bits_out o = f->o;
    for (size_t at = 0; at < size;) {
        uint8_t byte = data[at];
        size_t run = 1;
        while (at + run < size && data[at + run] == byte) run++;
        at += run;
        if (run < 4) {
            while (run--) put_bits(&o, literal_code[byte], literal_bits[byte]);
            continue;
        }
        put_bits(&o, literal_code[byte], literal_bits[byte]);
        for (run--; run > LONGEST;) {
            size_t take = run - LONGEST >= SHORTEST ? LONGEST : run - SHORTEST;
            put_bits(&o, match_code[take], match_bits[take]);
            run -= take;
        }
        put_bits(&o, match_code[run], match_bits[run]);
    }
    f->o = o;
}

/* The item's blocks, the last of which may end anywhere. */
static void item(fresh *f) {
    if (f->size > LITTLE) {
        f->o = (bits_out){f->start, 0, 0};
        encode(&f->o, f->encoder, f->data, (uint32_t)f->size);
    } else {
        put_bits(&f->o, 0, 7); /* the block's end */
        if ((size_t)(f->o.out - f->start) * 8 + f->o.count >= 8 * (f->size + 5)) {
            f->o = (bits_out){f->start, 0, 3};
            put_stored(&f->o, f->data, f->size);
        }
    }
    f->start = NULL;
}

uint8_t *fresh_item(fresh *f, uint8_t *out) {
    if (!f->start) return out;
    item(f);
    put_bits(&f->o, 0, 3);
    put_stored(&f->o, NULL, 0);
    return f->o.out;
}

uint8_t *fresh_join(uint8_t *out, const uint8_t *raw, size_t size, int separator) {
    static const uint8_t empty[5] = {0, 0, 0, 0xFF, 0xFF};
    memcpy(out, raw, size);
    *out &= 0xFE;
    memcpy(out + size, empty + 5 - separator, (size_t)separator);
    return out + size + separator;
}

uint8_t *fresh_flush(fresh *f, uint8_t *out, const uint8_t *end) {
    if (!f->member) return out;
    if (f->start)
        item(f);
    else
        f->o = (bits_out){out, 0, 0};
    put_bits(&f->o, 3, 10); /* the last block, empty */
    put_rest(&f->o);
    size_t size = (size_t)(end - f->member);
    out = put32(put32(f->o.out, crc32_of(0, f->member, size)), (uint32_t)size);
    f->member = NULL;
    return out;
}

/* -- tar ---------------------------------------------------------------------------------------------- */

static void octal(uint8_t *to, unsigned digits, uint64_t value) {
    while (digits--) to[digits] = (uint8_t)('0' + (value & 7)), value >>= 3;
}

unsigned tar_split(const uint8_t *name, unsigned size) {
    for (unsigned at = size - 101 > 1 ? size - 101 : 1; at < size - 1 && at <= 155; at++)
        if (name[at] == '/') return at;
    return 0;
}

void tar_header(const tar_entry *e, uint8_t block[TAR_BLOCK], unsigned pieces[TAR_PIECES]) {
    unsigned at = e->name_size > 100 ? tar_split(e->name, e->name_size) : 0, name_size = e->name_size - (at ? at + 1 : 0);
    const uint8_t *name = e->name + (e->name_size - name_size);
    memset(block, 0, TAR_BLOCK);
    memcpy(block, name, name_size);
    memcpy(block + 345, e->name, at);
    octal(block + 100, 7, e->mode);
    octal(block + 108, 7, e->uid);
    octal(block + 116, 7, e->gid);
    octal(block + 124, 11, e->size);
    octal(block + 136, 11, 315532800); /* 1980-01-01 */
    block[156] = e->kind;
    memcpy(block + 157, e->link, e->link_size);
    memcpy(block + 257, "ustar\0" "00", 8);
    memcpy(block + 329, "0000000", 7);
    memcpy(block + 337, "0000000", 7);
    uint32_t sum = 256; /* its own field counts as eight blanks */
    for (unsigned i = 0; i < TAR_BLOCK; i++) sum += block[i];
    octal(block + 148, 6, sum);
    block[155] = ' ';
    /* The last slash but of a folder's own. */
    unsigned base = name_size ? name_size - 1 : 0;
    while (base && name[base - 1] != '/') base--;
    const unsigned sizes[TAR_PIECES] = {base, name_size - base, 100 - name_size, 24, 6, 3, 3, 12, 3, 5, 356};
    memcpy(pieces, sizes, sizeof sizes);
}
