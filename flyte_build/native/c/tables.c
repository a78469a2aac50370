/* The tables that codes are looked up in (RFC 1951, 3.2): those of dynamic blocks, and the fixed ones. */

#include "inflate.h"

static uint32_t literal_values[288], distance_values[32];
static uint32_t fixed_literals[1 << LITERALS_BITS], fixed_distances[1 << DISTANCES_BITS];

/* The table of a code with these lengths; its index has `root` bits. False where zlib refuses it: more codes than fit, or
   fewer, but for a single one of one bit (`single` allows that) or none at all. */
static int make_table(uint32_t *out, size_t room, unsigned root, const uint8_t *lengths, unsigned symbols,
                      const uint32_t *values, uint32_t odd, uint32_t second, int single) {
    uint16_t count[LONGEST + 1] = {0}, start[LONGEST + 2], order[288];
    for (unsigned i = 0; i < symbols; i++) count[lengths[i]]++;
    unsigned most = LONGEST;
    while (most && !count[most]) most--;
    int left = 1;
    for (unsigned len = 1; len <= LONGEST; len++) {
        left = 2 * left - count[len];
        if (left < 0) return 0;
    }
    if (left > 0 && most && !(single && most == 1)) return 0;
    if (!most && !single) return 0;
    start[1] = 0;
    for (unsigned len = 1; len <= LONGEST; len++) start[len + 1] = (uint16_t)(start[len] + count[len]);
    for (unsigned i = 0; i < symbols; i++)
        if (lengths[i]) order[start[lengths[i]]++] = (uint16_t)i;
    size_t used = (size_t)1 << root;
    /* Codes in their order, first by length; `code` has the stream's first bit lowest. A bit more doubles what is there. */
    uint32_t code = 0, prefix = UINT32_MAX, table = 0, table_bits = 0;
    unsigned at = 0;
    out[0] = odd;
    for (unsigned len = 1; len <= most || len <= root; len++) {
        if (len <= root) memcpy(out + ((size_t)1 << (len - 1)), out, sizeof *out << (len - 1));
        for (unsigned n = count[len]; n; n--) {
            uint32_t entry = values[order[at++]];
            if (len <= root) {
                out[code] = entry + len * 0x101;
            } else {
                uint32_t low = code & ((1u << root) - 1);
                if (low != prefix) { /* the table of all codes that begin so: large enough for those that are left */
                    prefix = low;
                    table_bits = len - root;
                    int room_left = 1 << table_bits;
                    for (unsigned l = len, m = n; l < most; m = count[++l]) {
                        room_left -= (int)m;
                        if (room_left <= 0) break;
                        table_bits++, room_left *= 2;
                    }
                    table = (uint32_t)used;
                    used += (size_t)1 << table_bits;
                    if (used > room) return 0;
                    out[low] = second | table << 16 | table_bits << 8 | root;
                }
                entry += (len - root) * 0x101;
                for (size_t i = code >> root; i < (size_t)1 << table_bits; i += (size_t)1 << (len - root))
                    out[table + i] = entry;
            }
            uint32_t bit = 1u << (len - 1);
            while (code & bit) bit >>= 1;
            code = bit ? (code & (bit - 1)) | bit : 0;
        }
    }
    return 1;
}

void tables_setup(void) {
    for (uint32_t i = 0; i < 256; i++) literal_values[i] = LITERAL | i << 16;
    literal_values[256] = ODD | BLOCK;
    literal_values[285] = 258u << 16;
    for (uint32_t i = 257, base = 3; i < 285; i++) {
        uint32_t extra = i < 265 ? 0 : (i - 261) / 4;
        literal_values[i] = base << 16 | extra;
        base += 1u << extra;
    }
    literal_values[286] = literal_values[287] = ODD;
    for (uint32_t i = 0, base = 1; i < 30; i++) {
        uint32_t extra = i < 4 ? 0 : i / 2 - 1;
        distance_values[i] = base << 16 | extra;
        base += 1u << extra;
    }
    distance_values[30] = distance_values[31] = FAR_ODD;
    uint8_t lengths[288];
    for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_table(fixed_literals, 1 << LITERALS_BITS, LITERALS_BITS, lengths, 288, literal_values, ODD, ODD | TABLE, 1);
    memset(lengths, 5, 32);
    make_table(fixed_distances, 1 << DISTANCES_BITS, DISTANCES_BITS, lengths, 32, distance_values, FAR_ODD,
               FAR_ODD | FAR_TABLE, 1);
}

void fixed_tables(inflater *d) {
    if (d->fixed) return;
    memcpy(d->literals, fixed_literals, sizeof fixed_literals);
    memcpy(d->distances, fixed_distances, sizeof fixed_distances);
    d->fixed = 1;
}

int dynamic_tables(inflater *d, const uint8_t **from, const uint8_t *in_end) {
    static const uint8_t places[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    const uint8_t *in = *from;
    uint64_t bits = d->bits;
    unsigned count = d->count;
    uint32_t small[128], plain[19];
    uint8_t lengths[19] = {0}, all[288 + 32] = {0};
    REFILL();
    unsigned literals = LOW(5) + 257;
    TAKE(5);
    unsigned distances = LOW(5) + 1;
    TAKE(5);
    unsigned codes = LOW(4) + 4;
    TAKE(4);
    if (literals > 286 || distances > 30) return 0;
    for (unsigned i = 0; i < codes; i++) {
        if (count < 3) REFILL();
        lengths[places[i]] = (uint8_t)LOW(3);
        TAKE(3);
    }
    for (uint32_t i = 0; i < 19; i++) plain[i] = i << 16;
    if (!make_table(small, 128, 7, lengths, 19, plain, ODD, ODD, 0)) return 0;
    for (unsigned i = 0; i < literals + distances;) {
        if (in > in_end + 8) return 0;
        REFILL();
        uint32_t e = small[LOW(7)], symbol = e >> 16, repeat = 1;
        TAKE(e & 255);
        uint8_t value = (uint8_t)symbol;
        if (symbol >= 16) {
            unsigned extra = symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
            if (symbol == 16 && !i) return 0;
            value = symbol == 16 ? all[i - 1] : 0;
            repeat = LOW(extra) + (symbol == 18 ? 11 : 3);
            TAKE(extra);
        }
        if (i + repeat > literals + distances) return 0;
        while (repeat--) all[i++] = value;
    }
    if (!all[256]) return 0;
    d->fixed = 0;
    if (!make_table(d->literals, sizeof d->literals / 4, LITERALS_BITS, all, literals, literal_values, ODD, ODD | TABLE, 1) ||
        !make_table(d->distances, sizeof d->distances / 4, DISTANCES_BITS, all + literals, distances, distance_values,
                    FAR_ODD, FAR_ODD | FAR_TABLE, 1))
        return 0;
    *from = in, d->bits = bits, d->count = count;
    return 1;
}
