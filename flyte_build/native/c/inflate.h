/* What inflate.c (decoding) and tables.c (the tables of codes) share.

   An entry: bits 0-7 what it takes from the stream, extra bits included; 8-12 how many of those are the code itself, or
   of a second table, how many bits index it. Literals and lengths: 16-27 the value, 31 LITERAL, 30 ODD (the others are none
   of a length), 29 TABLE, 28 BLOCK's end. Distances: 16-30 the value, 31 FAR_ODD, 15 FAR_TABLE. */

#ifndef INFLATE_H
#define INFLATE_H

#include "core.h"

#define LITERAL 0x80000000u
#define ODD 0x40000000u
#define TABLE 0x20000000u
#define BLOCK 0x10000000u
#define FAR_ODD 0x80000000u
#define FAR_TABLE 0x8000u
#define LONGEST 15

/* At least 56 bits, of which those beyond the input are zero (they lie in its slack); `in` may pass its end by them. Of `count` the
   lowest eight bits count: an entry is taken off whole, for its lowest eight are what it takes. */
#define REFILL() (bits |= load64(in) << (count & 63), in += 7 - (count >> 3 & 7), count |= 56)
#define TAKE(n) (bits >>= (n), count -= (n))
#define TAKE_ENTRY(e) (bits >>= (e) & 63, count -= (e))
#define LOW(n) ((uint32_t)bits & ((1u << (n)) - 1))

void tables_setup(void);
/* Those of the fixed codes. */
void fixed_tables(inflater *d);
/* Read the header of a dynamic block, and make its tables. False where zlib refuses it. */
int dynamic_tables(inflater *d, const uint8_t **from, const uint8_t *in_end);

#endif
