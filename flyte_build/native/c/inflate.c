/* DEFLATE decoding (RFC 1951), which accepts what zlib accepts. */

#include "inflate.h"

void inflate_init(inflater *d) {
    d->bits = d->count = 0;
    d->inside = d->final = d->fixed = 0;
}

static inline void copy8(uint8_t *to, const uint8_t *from) { memcpy(to, from, 8); }

/* `size` bytes (3 to 258) from `distance` before; writes up to 37 more. Most matches are no longer than what is written at
   once, so that there is little to foresee. */
static inline __attribute__((always_inline)) uint8_t *copy(uint8_t *out, uint32_t distance, uint32_t size) {
    const uint8_t *from = out - distance;
    uint8_t *end = out + size;
    if (distance >= 8) {
        copy8(out, from), copy8(out + 8, from + 8), copy8(out + 16, from + 16);
        copy8(out + 24, from + 24), copy8(out + 32, from + 32);
        for (out += 40, from += 40; out < end; out += 8, from += 8) copy8(out, from);
    } else if (distance == 1) {
        uint64_t same = 0x0101010101010101u * *from;
        for (int i = 0; i < 4; i++) memcpy(out + 8 * i, &same, 8);
        for (out += 32; out < end; out += 8) memcpy(out, &same, 8);
    } else {
        /* What was just written is what comes next: as many of eight as `distance` are right, each time. */
        do {
            copy8(out, from);
            out += distance, from += distance;
        } while (out < end);
    }
    return end;
}

static inline __attribute__((always_inline)) int run(inflater *d, const uint8_t **from, const uint8_t *in_end, int all_in,
                                                     const uint8_t *base, uint8_t **to, uint8_t *end, int exact) {
    const uint8_t *in = *from, *enough = all_in ? in_end + 8 : in_end - 1024;
    uint8_t *out = *to;
    uint64_t bits = d->bits;
    unsigned count = d->count;
    int outcome = INFLATE_BAD;
    for (;;) {
        if (out > end && exact) return INFLATE_BAD;
        if (!d->inside) {
            if (d->final) {
                outcome = INFLATE_END;
                break;
            }
            if (in > enough) {
                outcome = all_in ? INFLATE_BAD : INFLATE_INPUT;
                break;
            }
            REFILL();
            d->final = (int)LOW(1);
            TAKE(1);
            uint32_t kind = LOW(2);
            TAKE(2);
            if (kind == 3) return INFLATE_BAD;
            if (kind == 0) {
                TAKE(count & 7);
                in -= count >> 3;
                bits = count = 0;
                if (in + 4 > in_end) return INFLATE_BAD;
                d->stored = get16(in);
                if ((d->stored ^ get16(in + 2)) != 0xFFFF) return INFLATE_BAD;
                in += 4;
                d->inside = 1;
            } else if (kind == 1) {
                fixed_tables(d);
                d->inside = 2;
            } else {
                d->bits = bits, d->count = count;
                if (!dynamic_tables(d, &in, in_end)) return INFLATE_BAD;
                bits = d->bits, count = d->count;
                d->inside = 2;
            }
        }
        if (d->inside == 1) {
            size_t take = d->stored, there = (size_t)(in_end - in), room = out < end ? (size_t)(end - out) : 0;
            if (take > there) take = there;
            if (take > room) take = room;
            memcpy(out, in, take);
            in += take, out += take, d->stored -= (uint32_t)take;
            if (!d->stored) {
                d->inside = 0;
                continue;
            }
            if (in == in_end && !all_in)
                outcome = INFLATE_INPUT;
            else if (out >= end && !exact)
                outcome = INFLATE_ROOM;
            break;
        }
        const uint8_t *stop = exact ? end + 1 : end;
        REFILL();
        uint32_t e = d->literals[LOW(LITERALS_BITS)];
        while (in <= enough && out < stop) {
            /* What comes next is looked up both ways before it is known which it is: few of these branches can be foreseen. */
            uint64_t before = bits;
            TAKE_ENTRY(e);
            uint32_t next = d->literals[LOW(LITERALS_BITS)], far = d->distances[LOW(DISTANCES_BITS)];
            if (e & LITERAL) {
                *out++ = (uint8_t)(e >> 16);
                e = next, before = bits;
                TAKE_ENTRY(e);
                next = d->literals[LOW(LITERALS_BITS)], far = d->distances[LOW(DISTANCES_BITS)];
                if (e & LITERAL) {
                    *out++ = (uint8_t)(e >> 16);
                    e = next, before = bits;
                    TAKE_ENTRY(e);
                    next = d->literals[LOW(LITERALS_BITS)], far = d->distances[LOW(DISTANCES_BITS)];
                    if (e & LITERAL) {
                        *out++ = (uint8_t)(e >> 16);
                        e = next;
                        REFILL();
                        continue;
                    }
                }
            }
            if (__builtin_expect(!!(e & ODD), 0)) {
                if (e & TABLE) {
                    e = d->literals[(e >> 16 & 0xFFF) + LOW(e >> 8 & 31)], before = bits;
                    TAKE_ENTRY(e);
                    if (e & LITERAL) {
                        *out++ = (uint8_t)(e >> 16);
                        REFILL();
                        e = d->literals[LOW(LITERALS_BITS)];
                        continue;
                    }
                    far = d->distances[LOW(DISTANCES_BITS)];
                }
                if (e & ODD) {
                    if (!(e & BLOCK)) return INFLATE_BAD;
                    d->inside = 0;
                    break;
                }
            }
            uint32_t size = (e >> 16 & 0xFFF) + (((uint32_t)before & ((1u << (e & 255)) - 1)) >> (e >> 8 & 31));
            if ((count & 255) < 8 + 13) REFILL(); /* the longest distance of the first table */
            if (__builtin_expect(!!(far & FAR_ODD), 0)) {
                if (!(far & FAR_TABLE)) return INFLATE_BAD;
                REFILL();
                TAKE_ENTRY(far);
                far = d->distances[(far >> 16 & 0x7FFF) + LOW(far >> 8 & 31)];
                if (far & FAR_ODD) return INFLATE_BAD;
            }
            uint32_t distance = (far >> 16) + (LOW(far & 255) >> (far >> 8 & 31));
            TAKE_ENTRY(far);
            if (__builtin_expect(distance > (size_t)(out - base), 0)) return INFLATE_BAD;
            /* The next one is looked up while this is copied. */
            REFILL();
            e = d->literals[LOW(LITERALS_BITS)];
            out = copy(out, distance, size);
        }
        count &= 255;
        if (!d->inside) continue;
        if (out >= stop)
            outcome = exact ? INFLATE_BAD : INFLATE_ROOM;
        else if (!all_in)
            outcome = INFLATE_INPUT;
        break;
    }
    in -= count >> 3;
    count &= 7;
    bits &= (1u << count) - 1;
    if (in > in_end) return INFLATE_BAD;
    *from = in, *to = out, d->bits = bits, d->count = count;
    return outcome;
}

typedef int runner(inflater *, const uint8_t **, const uint8_t *, int, const uint8_t *, uint8_t **, uint8_t *, int);

static int run_anywhere(inflater *d, const uint8_t **in, const uint8_t *in_end, int all_in, const uint8_t *base,
                        uint8_t **out, uint8_t *end, int exact) {
    return run(d, in, in_end, all_in, base, out, end, exact);
}

static runner *running = run_anywhere;

#if defined(__x86_64__) && !defined(PORTABLE)
#include <cpuid.h>

/* The same, compiled for shifts that leave the flags alone. */
__attribute__((target("bmi2"))) static int run_bmi2(inflater *d, const uint8_t **in, const uint8_t *in_end, int all_in,
                                                    const uint8_t *base, uint8_t **out, uint8_t *end, int exact) {
    return run(d, in, in_end, all_in, base, out, end, exact);
}

static void choose(void) {
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 8))) running = run_bmi2;
}
#else
static void choose(void) {}
#endif

void inflate_setup(void) {
    tables_setup();
    choose();
}

int inflate_run(inflater *d, const uint8_t **in, const uint8_t *in_end, int all_in, const uint8_t *base, uint8_t **out,
                uint8_t *end, int exact) {
    return running(d, in, in_end, all_in, base, out, end, exact);
}
