/* CRC-32 (ISO 3309, RFC 1952 section 8), by carry-less multiplication where the processor has it, or its own instruction. */

#include "core.h"
#include "processor.h"

static uint32_t table[8][256];
static size_t none(uint32_t *crc, const uint8_t *data, size_t size) { return (void)crc, (void)data, (void)size, 0; }
static size_t (*fold)(uint32_t *, const uint8_t *, size_t) = none;

#if defined(__x86_64__) && !defined(PORTABLE)
#include <immintrin.h>

#define CLMUL __attribute__((target("pclmul,sse4.1")))

CLMUL static inline __attribute__((always_inline)) __m128i step(__m128i x, __m128i k, __m128i more) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), more);
}

/* As in Intel's "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (2009): x^n modulo the
   polynomial, reflected, for the distances of 512 and 128 bits; then Barrett's reduction. Takes whole 16 bytes. */
CLMUL static size_t folded(uint32_t *crc, const uint8_t *data, size_t size) {
    const __m128i k512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), k128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i k64 = _mm_set_epi64x(0, 0x0163cd6124), poly = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low = _mm_setr_epi32(-1, 0, -1, 0);
    if (size < 64) return 0;
    size_t taken = size & ~(size_t)15;
    const __m128i *p = (const __m128i *)data, *end = (const __m128i *)(data + taken);
    __m128i a = _mm_xor_si128(_mm_loadu_si128(p), _mm_cvtsi32_si128((int)*crc));
    __m128i b = _mm_loadu_si128(p + 1), c = _mm_loadu_si128(p + 2), d = _mm_loadu_si128(p + 3);
    for (p += 4; end - p >= 4; p += 4) {
        a = step(a, k512, _mm_loadu_si128(p));
        b = step(b, k512, _mm_loadu_si128(p + 1));
        c = step(c, k512, _mm_loadu_si128(p + 2));
        d = step(d, k512, _mm_loadu_si128(p + 3));
    }
    a = step(step(step(a, k128, b), k128, c), k128, d);
    for (; p < end; p++) a = step(a, k128, _mm_loadu_si128(p));
    a = _mm_xor_si128(_mm_clmulepi64_si128(a, k128, 0x10), _mm_srli_si128(a, 8));
    a = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low), k64, 0x00), _mm_srli_si128(a, 4));
    __m128i t = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low), poly, 0x10), low);
    a = _mm_xor_si128(_mm_clmulepi64_si128(t, poly, 0x00), a);
    *crc = (uint32_t)_mm_extract_epi32(a, 1);
    return taken;
}

#define WIDE __attribute__((target("avx512f,vpclmulqdq")))

WIDE static inline __attribute__((always_inline)) __m512i wide_step(__m512i x, __m512i k, __m512i more) {
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, k, 0x00), _mm512_clmulepi64_epi128(x, k, 0x11), more, 0x96);
}

/* Four times as much at once, for the distances of 2048 and 512 bits; what comes out are 64 bytes that stand for all that was taken,
   and are folded as above, as is what is left. Takes whole 16 bytes. */
WIDE static size_t widely_folded(uint32_t *crc, const uint8_t *data, size_t size) {
    const __m512i k2048 = _mm512_set4_epi64(0x01322d1430, 0x011542778a, 0x01322d1430, 0x011542778a);
    const __m512i k512 = _mm512_set4_epi64(0x01c6e41596, 0x0154442bd4, 0x01c6e41596, 0x0154442bd4);
    if (size < 512) return folded(crc, data, size);
    const uint8_t *p = data, *end = data + (size & ~(size_t)255);
    __m512i a = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)*crc)));
    __m512i b = _mm512_loadu_si512(p + 64), c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    for (p += 256; p < end; p += 256) {
        a = wide_step(a, k2048, _mm512_loadu_si512(p));
        b = wide_step(b, k2048, _mm512_loadu_si512(p + 64));
        c = wide_step(c, k2048, _mm512_loadu_si512(p + 128));
        d = wide_step(d, k2048, _mm512_loadu_si512(p + 192));
    }
    uint8_t left[64];
    _mm512_storeu_si512(left, wide_step(wide_step(wide_step(a, k512, b), k512, c), k512, d));
    *crc = 0;
    folded(crc, left, sizeof left);
    return (size_t)(end - data) + folded(crc, end, size & 255);
}
#elif defined(__aarch64__) && !defined(PORTABLE)
#include <arm_acle.h>
#include <sys/auxv.h>

/* This CRC is an instruction there. Takes whole eight bytes. */
__attribute__((target("crc"))) static size_t folded(uint32_t *crc, const uint8_t *data, size_t size) {
    size_t taken = size & ~(size_t)7;
    uint32_t c = *crc;
    for (size_t at = 0; at < taken; at += 8) c = __crc32d(c, load64(data + at));
    *crc = c;
    return taken;
}
#endif

void crc32_setup(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
        table[0][i] = c;
    }
    for (int i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
#if defined(__x86_64__) && !defined(PORTABLE)
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & 2) && (c & (1u << 19))) fold = has_wide_clmul() ? widely_folded : folded;
#elif defined(__aarch64__) && !defined(PORTABLE)
    if (getauxval(AT_HWCAP) & (1ul << 7)) fold = folded;
#endif
}

uint32_t crc32_of(uint32_t crc, const uint8_t *data, size_t size) {
    crc = ~crc;
    size_t taken = fold(&crc, data, size);
    data += taken, size -= taken;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t v = load64(data) ^ crc;
        crc = table[7][v & 255] ^ table[6][v >> 8 & 255] ^ table[5][v >> 16 & 255] ^ table[4][v >> 24 & 255] ^
              table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^ table[1][v >> 48 & 255] ^ table[0][v >> 56];
    }
    for (; size; size--) crc = crc >> 8 ^ table[0][(crc ^ *data++) & 255];
    return ~crc;
}
