/* SHA-256 (FIPS 180-4), with the processor's own instructions where it has them: x86-64's, or ARM's. */

#include <errno.h>
#include <unistd.h>

#include "core.h"
#include "processor.h"

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* `blocks` of 64 bytes into `a`, and into `b` as well where it is not NULL. */
typedef void compressor(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks);

static inline uint32_t turned(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void rounds(uint32_t *h, const uint32_t w[64]) {
    uint32_t s[8];
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + w[i];
        uint32_t t2 = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + t1;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

static void portable(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks) {
    for (; blocks; blocks--, data += 64) {
        uint32_t w[64];
        for (int i = 0; i < 16; i++) {
            const uint8_t *p = data + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 64; i++) {
            uint32_t x = w[i - 15], y = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
        }
        for (int i = 0; i < 64; i++) w[i] += K[i];
        rounds(a, w);
        if (b) rounds(b, w);
    }
}

static compressor *compress = portable;

/* The same, and as many blocks of `other` into `c`; NULL where it would be no faster than one after the other. */
static void (*compress_beside)(uint32_t *a, uint32_t *b, const uint8_t *data, uint32_t *c, const uint8_t *other, size_t blocks);

#if defined(__x86_64__) && !defined(PORTABLE)
#include <immintrin.h>

#define SHA __attribute__((target("sha,sse4.1,ssse3")))

typedef struct {
    __m128i abef, cdgh;
} lane;

SHA static inline __attribute__((always_inline)) lane lane_of(const uint32_t *h) {
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1B);
    return (lane){_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xF0)};
}

SHA static inline __attribute__((always_inline)) void lane_out(lane l, uint32_t *h) {
    __m128i feba = _mm_shuffle_epi32(l.abef, 0x1B), dchg = _mm_shuffle_epi32(l.cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* The schedule's next four words, of which `m` has the last sixteen, in place i. */
SHA static inline __attribute__((always_inline)) __m128i words(__m128i m[4], int i, const uint8_t *data) {
    const __m128i big = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    if (i < 4) {
        m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), big);
    } else {
        __m128i t = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
        t = _mm_add_epi32(t, _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
        m[i & 3] = _mm_sha256msg2_epu32(t, m[(i + 3) & 3]);
    }
    return _mm_add_epi32(m[i & 3], _mm_loadu_si128((const __m128i *)(K + 4 * i)));
}

/* The message schedule is the same for both lanes, and two chains of rounds fill a pipeline that one leaves half empty. */
SHA static inline __attribute__((always_inline)) void both(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks) {
    lane x = lane_of(a), y = b ? lane_of(b) : x;
    for (; blocks; blocks--, data += 64) {
        lane x0 = x, y0 = y;
        __m128i m[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i w = words(m, i, data);
            __m128i next = _mm_shuffle_epi32(w, 0x0E);
            x.cdgh = _mm_sha256rnds2_epu32(x.cdgh, x.abef, w);
            if (b) y.cdgh = _mm_sha256rnds2_epu32(y.cdgh, y.abef, w);
            x.abef = _mm_sha256rnds2_epu32(x.abef, x.cdgh, next);
            if (b) y.abef = _mm_sha256rnds2_epu32(y.abef, y.cdgh, next);
        }
        x = (lane){_mm_add_epi32(x.abef, x0.abef), _mm_add_epi32(x.cdgh, x0.cdgh)};
        if (b) y = (lane){_mm_add_epi32(y.abef, y0.abef), _mm_add_epi32(y.cdgh, y0.cdgh)};
    }
    lane_out(x, a);
    if (b) lane_out(y, b);
}

SHA static void with_sha(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks) {
    if (b)
        both(a, b, data, blocks);
    else
        both(a, NULL, data, blocks);
}

SHA static inline __attribute__((always_inline)) void three(uint32_t *a, uint32_t *b, const uint8_t *data, uint32_t *c,
                                                            const uint8_t *other, size_t blocks) {
    lane x = lane_of(a), y = b ? lane_of(b) : x, z = lane_of(c);
    for (; blocks; blocks--, data += 64, other += 64) {
        lane x0 = x, y0 = y, z0 = z;
        __m128i m[4], n[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i w = words(m, i, data), v = words(n, i, other);
            x.cdgh = _mm_sha256rnds2_epu32(x.cdgh, x.abef, w);
            if (b) y.cdgh = _mm_sha256rnds2_epu32(y.cdgh, y.abef, w);
            z.cdgh = _mm_sha256rnds2_epu32(z.cdgh, z.abef, v);
            w = _mm_shuffle_epi32(w, 0x0E), v = _mm_shuffle_epi32(v, 0x0E);
            x.abef = _mm_sha256rnds2_epu32(x.abef, x.cdgh, w);
            if (b) y.abef = _mm_sha256rnds2_epu32(y.abef, y.cdgh, w);
            z.abef = _mm_sha256rnds2_epu32(z.abef, z.cdgh, v);
        }
        x = (lane){_mm_add_epi32(x.abef, x0.abef), _mm_add_epi32(x.cdgh, x0.cdgh)};
        if (b) y = (lane){_mm_add_epi32(y.abef, y0.abef), _mm_add_epi32(y.cdgh, y0.cdgh)};
        z = (lane){_mm_add_epi32(z.abef, z0.abef), _mm_add_epi32(z.cdgh, z0.cdgh)};
    }
    lane_out(x, a);
    if (b) lane_out(y, b);
    lane_out(z, c);
}

SHA static void three_with_sha(uint32_t *a, uint32_t *b, const uint8_t *data, uint32_t *c, const uint8_t *other,
                               size_t blocks) {
    if (b)
        three(a, b, data, c, other, blocks);
    else
        three(a, NULL, data, c, other, blocks);
}

/* The same with registers for all of it, so that nothing is put aside. */
__attribute__((target("sha,sse4.1,ssse3,avx512f,avx512vl"))) static void three_with_more(uint32_t *a, uint32_t *b, const uint8_t *data,
                                                                                          uint32_t *c, const uint8_t *other, size_t blocks) {
    if (b)
        three(a, b, data, c, other, blocks);
    else
        three(a, NULL, data, c, other, blocks);
}
#elif defined(__aarch64__) && !defined(PORTABLE)
#include <arm_neon.h>
#include <sys/auxv.h>

#define SHA __attribute__((target("sha2")))

typedef struct {
    uint32x4_t abcd, efgh;
} lane;

SHA static inline __attribute__((always_inline)) void four(lane *l, uint32x4_t w) {
    uint32x4_t abcd = l->abcd;
    l->abcd = vsha256hq_u32(abcd, l->efgh, w);
    l->efgh = vsha256h2q_u32(l->efgh, abcd, w);
}

/* As above: one message schedule for two chains of rounds. */
SHA static inline __attribute__((always_inline)) void both(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks) {
    lane x = {vld1q_u32(a), vld1q_u32(a + 4)}, y = b ? (lane){vld1q_u32(b), vld1q_u32(b + 4)} : x;
    for (; blocks; blocks--, data += 64) {
        lane x0 = x, y0 = y;
        uint32x4_t m[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (i < 4)
                m[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
            else
                m[i & 3] = vsha256su1q_u32(vsha256su0q_u32(m[i & 3], m[(i + 1) & 3]), m[(i + 2) & 3], m[(i + 3) & 3]);
            uint32x4_t w = vaddq_u32(m[i & 3], vld1q_u32(K + 4 * i));
            four(&x, w);
            if (b) four(&y, w);
        }
        x = (lane){vaddq_u32(x.abcd, x0.abcd), vaddq_u32(x.efgh, x0.efgh)};
        if (b) y = (lane){vaddq_u32(y.abcd, y0.abcd), vaddq_u32(y.efgh, y0.efgh)};
    }
    vst1q_u32(a, x.abcd), vst1q_u32(a + 4, x.efgh);
    if (b) vst1q_u32(b, y.abcd), vst1q_u32(b + 4, y.efgh);
}

SHA static void with_sha(uint32_t *a, uint32_t *b, const uint8_t *data, size_t blocks) {
    if (b)
        both(a, b, data, blocks);
    else
        both(a, NULL, data, blocks);
}
#endif

void sha256_setup(void) {
#if defined(__x86_64__) && !defined(PORTABLE)
    unsigned a, b, c, d, sse = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) sse = c;
    if ((sse & (1u << 19)) && (sse & (1u << 9)) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)))
        compress = with_sha, compress_beside = has_avx512() ? three_with_more : three_with_sha;
#elif defined(__aarch64__) && !defined(PORTABLE)
    if (getauxval(AT_HWCAP) & (1ul << 6)) compress = with_sha;
#endif
}

void sha256_init(sha256 *s) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, first, sizeof first);
    s->size = 0;
}

static void update(sha256 *a, sha256 *b, const uint8_t *data, size_t size, beside *other) {
    unsigned held = (unsigned)(a->size % 64);
    a->size += size;
    if (b) b->size += size;
    if (!size) return;
    if (held) {
        size_t take = size < 64 - held ? size : 64 - held;
        memcpy(a->part + held, data, take);
        if (b) memcpy(b->part + held, data, take);
        data += take, size -= take;
        if (held + take < 64) return;
        compress(a->h, NULL, a->part, 1);
        if (b) compress(b->h, NULL, b->part, 1);
    }
    for (; other && compress_beside; other = other->next) {
        size_t room = size & ~(size_t)63, held_there = other->s->size % 64, take = held_there ? 64 - held_there : 0;
        if (!room) break;
        if (other->size <= take) continue;
        update(other->s, NULL, other->data, take, NULL);
        other->data += take, other->size -= take;
        size_t there = other->size & ~(size_t)63, both_have = there < room ? there : room;
        if (both_have) compress_beside(a->h, b ? b->h : NULL, data, other->s->h, other->data, both_have / 64);
        other->data += both_have, other->size -= both_have, other->s->size += both_have;
        data += both_have, size -= both_have;
    }
    if (size >= 64) compress(a->h, b ? b->h : NULL, data, size / 64);
    memcpy(a->part, data + (size & ~(size_t)63), size % 64);
    if (b) memcpy(b->part, data + (size & ~(size_t)63), size % 64);
}

void sha256_update(sha256 *s, const uint8_t *data, size_t size) { update(s, NULL, data, size, NULL); }

void sha256_update_beside(sha256 *a, sha256 *b, const uint8_t *data, size_t size, beside *other) {
    if (!b || a->size % 64 == b->size % 64) {
        update(a, b, data, size, other);
    } else {
        update(a, NULL, data, size, other);
        update(b, NULL, data, size, other);
    }
}

void sha256_update_both(sha256 *a, sha256 *b, const uint8_t *data, size_t size) {
    sha256_update_beside(a, b, data, size, NULL);
}

void sha256_rest(beside *other) {
    sha256_update(other->s, other->data, other->size);
    other->data += other->size, other->size = 0;
}

void sha256_final(sha256 *s, uint8_t out[32]) {
    uint8_t tail[128] = {0x80};
    uint64_t bits = s->size * 8;
    size_t pad = 64 - (s->size + 8) % 64;
    for (int i = 0; i < 8; i++) tail[pad + i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_update(s, tail, pad + 8);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* The hash of the file, from where it is read to its end. 0, or the system's error number. */
API int core_hash(int file, uint8_t out[32]) {
    core_setup();
    sha256 s;
    uint8_t data[64 << 10];
    sha256_init(&s);
    for (;;) {
        ssize_t got = read(file, data, sizeof data);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (!got) break;
        sha256_update(&s, data, (size_t)got);
    }
    sha256_final(&s, out);
    return 0;
}
