/* Which instructions this processor, and this system, has beyond the common ones of x86-64. */

#ifndef PROCESSOR_H
#define PROCESSOR_H

#if defined(__x86_64__) && !defined(PORTABLE)
#include <cpuid.h>

/* Whether there are the 32 registers of AVX-512, of any width, and the system keeps all of them. For tests NARROW leaves them out. */
static inline int has_avx512(void) {
#ifdef NARROW
    return 0;
#endif
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0xE6) != 0xE6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (b & (1u << 16)) && (b & (1u << 31));
}

/* And carry-less multiplication in them. */
static inline int has_wide_clmul(void) {
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 10));
}
#endif

#endif
