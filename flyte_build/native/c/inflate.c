/* DEFLATE decoding (RFC 1951), which accepts what zlib accepts. */

#include "inflate.h"

void inflate_init(inflater *d) {
    d->bits = d->count = 0;
    d->inside = d->final = 0;
}

/* `size` bytes (at most 258) from `distance` before; writes up to 15 more. */
static inline uint8_t *copy(uint8_t *out, uint32_t distance, uint32_t size) {
    const uint8_t *from = out - distance;
    uint8_t *end = out + size;
    if (distance >= 16) {
        do {
            memcpy(out, from, 16);
            out += 16, from += 16;
        } while (out < end);
    } else if (distance >= 8) {
        do {
            memcpy(out, from, 8);
            out += 8, from += 8;
        } while (out < end);
    } else if (distance == 1) {
        memset(out, *from, size);
    } else {
        do *out++ = *from++;
        while (out < end);
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
                d->fixed = 1;
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
        const uint32_t *literals = d->fixed ? fixed_literals : d->literals;
        const uint32_t *distances = d->fixed ? fixed_distances : d->distances;
        const unsigned literals_bits = d->fixed ? fixed_literals_bits : d->literals_bits;
        const unsigned distances_bits = d->fixed ? fixed_distances_bits : d->distances_bits;
        const uint8_t *stop = exact ? end + 1 : end;
        REFILL();
        uint32_t e = literals[LOW(literals_bits)];
        while (in <= enough && out < stop) {
            if (e & LITERAL) {
                TAKE(e & 255);
                *out++ = (uint8_t)(e >> 16);
                e = literals[LOW(literals_bits)];
                if (e & LITERAL) {
                    TAKE(e & 255);
                    *out++ = (uint8_t)(e >> 16);
                    e = literals[LOW(literals_bits)];
                    if (e & LITERAL) {
                        TAKE(e & 255);
                        *out++ = (uint8_t)(e >> 16);
                        REFILL();
                        e = literals[LOW(literals_bits)];
                        continue;
                    }
                }
            }
            if (e & ODD) {
                if (e & TABLE) {
                    TAKE(e & 255);
                    e = literals[(e >> 16 & 0xFFF) + LOW(e >> 8 & 31)];
                    if (e & LITERAL) {
                        TAKE(e & 255);
                        *out++ = (uint8_t)(e >> 16);
                        REFILL();
                        e = literals[LOW(literals_bits)];
                        continue;
                    }
                }
                if (e & ODD) {
                    if (!(e & BLOCK)) return INFLATE_BAD;
                    TAKE(e & 255);
                    d->inside = 0;
                    break;
                }
            }
            uint32_t size = (e >> 16 & 0xFFF) + (LOW(e & 255) >> (e >> 8 & 31));
            TAKE(e & 255);
            if (count < 28) REFILL(); /* the longest distance */
            e = distances[LOW(distances_bits)];
            if (e & FAR_ODD) {
                if (!(e & FAR_TABLE)) return INFLATE_BAD;
                TAKE(e & 255);
                e = distances[(e >> 16 & 0x7FFF) + LOW(e >> 8 & 31)];
                if (e & FAR_ODD) return INFLATE_BAD;
            }
            uint32_t distance = (e >> 16) + (LOW(e & 255) >> (e >> 8 & 31));
            TAKE(e & 255);
            if (distance > (size_t)(out - base)) return INFLATE_BAD;
            /* The next one is looked up while this is copied. */
            REFILL();
            e = literals[LOW(literals_bits)];
            out = copy(out, distance, size);
        }
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
