/* The parts of the core one by one: for tests, and for the known answers that are asked for when it is loaded. */

#include <stdlib.h>

#include "core.h"

/* The raw stream `in` as `size` bytes at `out`, in steps of `step` bytes of content where that is not 0. Both buffers
   have their slack. 1 where it is one that ends with `in` and is as long as it should be. */
API int core_inflate(const uint8_t *in, size_t in_size, uint8_t *out, size_t size, size_t step) {
    core_setup();
    inflater d;
    inflate_init(&d);
    const uint8_t *end = in + in_size;
    uint8_t *to = out;
    for (;;) {
        size_t left = size - (size_t)(to - out);
        int last = !step || left <= step;
        int outcome = inflate_run(&d, &in, end, 1, out, &to, last ? out + size : to + step, last);
        if (outcome == INFLATE_ROOM && (size_t)(to - out) <= size) continue;
        return outcome == INFLATE_END && in == end && to == out + size;
    }
}

API void core_sha256(const uint8_t *data, size_t size, size_t first, uint8_t out[64]) {
    core_setup();
    sha256 a, b;
    sha256_init(&a);
    sha256_init(&b);
    sha256_update_both(&a, &b, data, first);
    sha256_update(&a, data + first, size - first);
    sha256_final(&a, out);
    sha256_final(&b, out + 32);
}

API uint32_t core_crc32(uint32_t crc, const uint8_t *data, size_t size) {
    core_setup();
    return crc32_of(crc, data, size);
}

/* `data` as a member, of one piece, at `out`, which has room for an eighth more than it and 64 bytes; its size, 0: no memory. */
API size_t core_encode(const uint8_t *data, size_t size, uint8_t *out) {
    core_setup();
    fresh f = {.encoder = encoder_new()};
    if (!f.encoder) return 0;
    fresh_piece(&f, out, data, size);
    uint8_t *end = fresh_flush(&f, out, data + size);
    free(f.encoder);
    return (size_t)(end - out);
}
