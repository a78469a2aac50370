/* The encoder of items that are not little: literals and matches, block by block, in codes of their own. It is defined in
   assemble/matches.py and assemble/huffman.py, in docs/deflate.md for people, and here only faster.

   A candidate is a position with the same four bytes, the last one before, and the one before that. Python finds them with a
   dictionary; here they are found in chains of positions that have one hash, where others are passed over. */

#include <stdlib.h>

#include "core.h"

#define WINDOW 32768u
#define BLOCK 32768u
#define SHORTEST 4u
#define LONGEST 258u
#define NICE 16u
#define HASH_BITS 16
#define LITERALS 286
#define FIXED 288 /* two more than are used */
#define DISTANCES 30
#define LENGTHS 19
#define CODE_MOST 15
#define DEPTH_MOST 64

struct encoder {
    uint32_t head[1 << HASH_BITS]; /* by hash, the last position and one; 0: none */
    uint16_t back[WINDOW];         /* from a position to the one before it with its hash; 0: none that is near enough */
    uint32_t inserted;             /* positions before this are in the chains */
    uint32_t count, tokens[BLOCK + 2];
    uint32_t literals[LITERALS], distances[DISTANCES];
    uint8_t raw[JOINED + SLACK_IN];
};

typedef struct {
    uint8_t length[FIXED];
    uint16_t code[FIXED];
} codes;

static uint16_t length_symbol[LONGEST + 1], length_first[LITERALS];
static uint8_t length_extra[LITERALS], distance_extra[DISTANCES], near_symbol[512];
static uint16_t distance_first[DISTANCES];
static codes fixed_codes, fixed_far;

encoder *encoder_new(void) { return malloc(sizeof(encoder)); }
uint8_t *encoder_raw(encoder *e) { return e->raw; }

/* -- codes ------------------------------------------------------------------------------------------------ */

/* Canonical codes (RFC 1951, 3.2.2), reversed: they go into the stream from their first bit on. */
static void assign(codes *c, int symbols) {
    unsigned number[CODE_MOST + 1] = {0}, next[CODE_MOST + 1], code = 0;
    for (int s = 0; s < symbols; s++) number[c->length[s]]++;
    number[0] = 0;
    for (int l = 1; l <= CODE_MOST; l++) next[l] = code = (code + number[l - 1]) << 1;
    for (int s = 0; s < symbols; s++) {
        unsigned l = c->length[s], bits = l ? next[l]++ : 0, out = 0;
        for (unsigned i = 0; i < l; i++) out = out << 1 | (bits & 1), bits >>= 1;
        c->code[s] = (uint16_t)out;
    }
}

/* Lengths of at most `most` bits, from a Huffman tree in which of two equally heavy nodes a leaf comes first. */
static void code_lengths(const uint32_t *counts, int symbols, int most, codes *c) {
    uint64_t used[LITERALS];
    uint32_t weights[2 * LITERALS];
    uint16_t parents[2 * LITERALS];
    uint8_t depths[2 * LITERALS];
    int n = 0;
    memset(c->length, 0, sizeof c->length);
    for (int s = 0; s < symbols; s++)
        if (counts[s]) used[n++] = (uint64_t)counts[s] << 16 | (unsigned)s;
    for (int s = 0; n < 2; s++)
        if (!counts[s]) used[n++] = 1u << 16 | (unsigned)s;
    for (int gap = n / 2; gap; gap /= 2)
        for (int i = gap; i < n; i++) {
            uint64_t held = used[i];
            int j = i;
            for (; j >= gap && used[j - gap] > held; j -= gap) used[j] = used[j - gap];
            used[j] = held;
        }
    for (int i = 0; i < n; i++) weights[i] = (uint32_t)(used[i] >> 16);
    int leaf = 0, node = n, last = 2 * n - 2;
    for (int made = n; made <= last; made++) {
        weights[made] = 0;
        for (int i = 0; i < 2; i++) {
            int child = leaf < n && (node == made || weights[leaf] <= weights[node]) ? leaf++ : node++;
            weights[made] += weights[child];
            parents[child] = (uint16_t)made;
        }
    }
    unsigned number[DEPTH_MOST] = {0};
    depths[last] = 0;
    for (int i = last - 1; i >= 0; i--) {
        depths[i] = (uint8_t)(depths[parents[i]] + 1);
        if (i < n) number[depths[i]]++;
    }
    /* ITU-T T.81, figure K.3 */
    for (int l = DEPTH_MOST - 1; l > most; l--)
        while (number[l]) {
            int shorter = l - 2;
            while (!number[shorter]) shorter--;
            number[l] -= 2, number[l - 1]++, number[shorter + 1] += 2, number[shorter]--;
        }
    for (int l = most, i = 0; l; l--)
        for (unsigned k = 0; k < number[l]; k++) c->length[used[i++] & 0xFFFF] = (uint8_t)l;
    assign(c, symbols);
}

void encode_setup(void) {
    for (unsigned s = 257, length = 3; s < 286; s++) {
        length_extra[s] = (uint8_t)(s < 265 || s == 285 ? 0 : (s - 261) / 4);
        if (s == 285) length = LONGEST;
        length_first[s] = (uint16_t)length;
        for (unsigned i = 0; i < 1u << length_extra[s] && length <= LONGEST; i++) length_symbol[length++] = (uint16_t)s;
    }
    for (unsigned s = 0, distance = 0; s < DISTANCES; s++) {
        distance_extra[s] = (uint8_t)(s < 4 ? 0 : s / 2 - 1);
        distance_first[s] = (uint16_t)(distance + 1);
        for (unsigned i = 0; i < 1u << distance_extra[s]; i++, distance++)
            if (distance < 256)
                near_symbol[distance] = (uint8_t)s;
            else if (!(distance & 127))
                near_symbol[256 + (distance >> 7)] = (uint8_t)s;
    }
    for (int s = 0; s < FIXED; s++) fixed_codes.length[s] = s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8;
    assign(&fixed_codes, FIXED);
    memset(fixed_far.length, 5, DISTANCES);
    assign(&fixed_far, DISTANCES);
}

static inline unsigned far_symbol(uint32_t distance) {
    return distance <= 256 ? near_symbol[distance - 1] : near_symbol[256 + ((distance - 1) >> 7)];
}

/* -- blocks ------------------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t symbol[LITERALS + DISTANCES], extra[LITERALS + DISTANCES];
    int rows, hlit, hdist, hclen;
    codes own;
    uint64_t bits;
} description;

static const uint8_t order[LENGTHS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
static const uint8_t follow[LENGTHS] = {[16] = 2, [17] = 3, [18] = 7};

static void describe(description *d, const codes *near, const codes *far) {
    uint8_t lengths[LITERALS + DISTANCES];
    uint32_t counts[LENGTHS] = {0};
    for (d->hlit = LITERALS; d->hlit > 257 && !near->length[d->hlit - 1];) d->hlit--;
    for (d->hdist = DISTANCES; d->hdist > 1 && !far->length[d->hdist - 1];) d->hdist--;
    memcpy(lengths, near->length, (size_t)d->hlit);
    memcpy(lengths + d->hlit, far->length, (size_t)d->hdist);
    d->rows = 0;
    for (int at = 0, end = d->hlit + d->hdist; at < end;) {
        int length = lengths[at], left = 1;
        while (at + left < end && lengths[at + left] == length) left++;
        at += left;
        if (length) d->symbol[d->rows] = (uint8_t)length, d->extra[d->rows++] = 0, left--;
        while (left >= 3) {
            int most = length ? 6 : 138, take = left < most ? left : most;
            int symbol = length ? 16 : take > 10 ? 18 : 17;
            d->symbol[d->rows] = (uint8_t)symbol, d->extra[d->rows++] = (uint8_t)(take - (symbol == 18 ? 11 : 3));
            left -= take;
        }
        while (left--) d->symbol[d->rows] = (uint8_t)length, d->extra[d->rows++] = 0;
    }
    for (int i = 0; i < d->rows; i++) counts[d->symbol[i]]++;
    code_lengths(counts, LENGTHS, 7, &d->own);
    for (d->hclen = LENGTHS; d->hclen > 4 && !d->own.length[order[d->hclen - 1]];) d->hclen--;
    d->bits = 14 + 3 * (uint64_t)d->hclen;
    for (int s = 0; s < LENGTHS; s++) d->bits += counts[s] * (uint64_t)(d->own.length[s] + follow[s]);
}

static void put_description(bits_out *o, const description *d) {
    put_bits(o, (uint32_t)(d->hlit - 257) | (uint32_t)(d->hdist - 1) << 5 | (uint32_t)(d->hclen - 4) << 10, 14);
    for (int i = 0; i < d->hclen; i++) put_bits(o, d->own.length[order[i]], 3);
    for (int i = 0; i < d->rows; i++) {
        unsigned s = d->symbol[i], l = d->own.length[s];
        put_bits(o, d->own.code[s] | (uint32_t)d->extra[i] << l, l + follow[s]);
    }
}

static void put_tokens(bits_out *o, const encoder *e, const codes *near, const codes *far) {
    for (uint32_t i = 0; i < e->count; i++) {
        uint32_t t = e->tokens[i], length = t & 511, distance = t >> 9;
        if (!distance) {
            put_bits(o, near->code[length], near->length[length]);
            continue;
        }
        unsigned s = length_symbol[length], l = near->length[s];
        put_bits(o, near->code[s] | (length - length_first[s]) << l, l + length_extra[s]);
        s = far_symbol(distance), l = far->length[s];
        put_bits(o, far->code[s] | (distance - distance_first[s]) << l, l + distance_extra[s]);
    }
    put_bits(o, near->code[256], near->length[256]);
}

static void put_block(bits_out *o, encoder *e, const uint8_t *data, uint32_t size) {
    codes near, far;
    description d;
    e->literals[256] = 1;
    code_lengths(e->literals, LITERALS, CODE_MOST, &near);
    code_lengths(e->distances, DISTANCES, CODE_MOST, &far);
    describe(&d, &near, &far);
    uint64_t extra = 0, own = 3 + d.bits, fixed = 3;
    for (int s = 0; s < LITERALS; s++) {
        extra += (uint64_t)e->literals[s] * length_extra[s];
        own += (uint64_t)e->literals[s] * near.length[s], fixed += (uint64_t)e->literals[s] * fixed_codes.length[s];
    }
    for (int s = 0; s < DISTANCES; s++) {
        extra += (uint64_t)e->distances[s] * distance_extra[s];
        own += (uint64_t)e->distances[s] * far.length[s], fixed += (uint64_t)e->distances[s] * 5;
    }
    own += extra, fixed += extra;
    uint64_t least = own < fixed ? own : fixed, stored = 3 + (-(o->count + 3) & 7) + 32 + 8 * (uint64_t)size;
    if (stored <= least) {
        put_bits(o, 0, 3);
        put_stored(o, data, size);
    } else if (fixed <= own) {
        put_bits(o, 2, 3);
        put_tokens(o, e, &fixed_codes, &fixed_far);
    } else {
        put_bits(o, 4, 3);
        put_description(o, &d);
        put_tokens(o, e, &near, &far);
    }
}

/* -- matches ----------------------------------------------------------------------------------------------- */

static inline uint32_t hash(const uint8_t *p) { return get32(p) * 2654435761u >> (32 - HASH_BITS); }

/* Put the positions before `at` into the chains. */
static inline void insert(encoder *e, const uint8_t *data, uint32_t at) {
    for (uint32_t i = e->inserted; i < at; i++) {
        uint32_t *head = &e->head[hash(data + i)], before = i + 1 - *head;
        e->back[i % WINDOW] = (uint16_t)(*head && before <= WINDOW ? before : 0);
        *head = i + 1;
    }
    if (at > e->inserted) e->inserted = at;
}

/* Equal bytes, of `most` at the most; the first four are. */
static inline uint32_t common(const uint8_t *a, const uint8_t *b, uint32_t most) {
    uint32_t n = SHORTEST;
    for (; n + 8 <= most; n += 8) {
        uint64_t differ = load64(a + n) ^ load64(b + n);
        if (differ) return n + ((uint32_t)__builtin_ctzll(differ) >> 3);
    }
    while (n < most && a[n] == b[n]) n++;
    return n;
}

/* The longer match of the two candidates, the nearer one where they are as long; 0 where there is none. */
static inline uint32_t longest(encoder *e, const uint8_t *data, uint32_t size, uint32_t at, uint32_t *distance) {
    insert(e, data, at);
    uint32_t there = e->head[hash(data + at)], key = get32(data + at), best = 0, step;
    uint32_t most = size - at < LONGEST ? size - at : LONGEST;
    if (!there) return 0;
    int first = 1;
    for (there--; at - there <= WINDOW; there -= step) {
        if (get32(data + there) == key) {
            if (first || data[there + best] == data[at + best]) {
                uint32_t n = common(data + at, data + there, most);
                if (n > best) best = n, *distance = at - there;
            }
            if (!first) break;
            first = 0;
            if (best == most) break;
        }
        step = e->back[there % WINDOW];
        if (!step || step > there) break;
    }
    return best;
}

static inline void literal(encoder *e, uint8_t byte) {
    e->tokens[e->count++] = byte;
    e->literals[byte]++;
}

void encode(bits_out *o, encoder *e, const uint8_t *data, uint32_t size) {
    /* Where four bytes no longer begin, no match does. */
    uint32_t end = size - SHORTEST + 1, at = 0;
    memset(e->head, 0, sizeof e->head);
    e->inserted = 0;
    while (at < size) {
        uint32_t start = at, stop = size - at < BLOCK ? size : at + BLOCK;
        e->count = 0;
        memset(e->literals, 0, sizeof e->literals);
        memset(e->distances, 0, sizeof e->distances);
        while (at < stop) {
            uint32_t distance = 0, further = 0, length = at < end ? longest(e, data, size, at, &distance) : 0;
            if (!length) {
                literal(e, data[at++]);
                continue;
            }
            if (length < NICE && at + 1 < end) {
                uint32_t longer = longest(e, data, size, at + 1, &further);
                if (longer > length) literal(e, data[at++]), length = longer, distance = further;
            }
            e->tokens[e->count++] = distance << 9 | length;
            e->literals[length_symbol[length]]++, e->distances[far_symbol(distance)]++;
            at += length;
            insert(e, data, at < end ? at : end);
        }
        put_block(o, e, data + start, at - start);
    }
}
