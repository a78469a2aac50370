/* The core on a machine that is emulated: `OPERATIONS OUT THREADS`; prints the digests that it has found. The operations'
   files are inherited. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core.h"

typedef struct core core;
typedef struct {
    uint8_t blob[32], tar[32];
    uint64_t blob_size, tar_size;
} core_result;

core *core_open(int out, int threads, const int *files, size_t count);
void core_hashes(const core *c, uint8_t *out);
int core_feed(core *c, const uint8_t *ops, size_t size);
int core_wait(core *c);
int core_results(core *c, core_result *r, uint32_t *crcs, size_t count);
void core_sha256(const uint8_t *data, size_t size, size_t first, uint8_t out[64]);
uint32_t core_crc32(uint32_t crc, const uint8_t *data, size_t size);

static void print(const uint8_t hash[32]) {
    for (int i = 0; i < 32; i++) printf("%02x", hash[i]);
    printf("\n");
}

int main(int count, char **words) {
    if (count != 4) return 2;
    FILE *f = fopen(words[1], "rb");
    int out = open(words[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (!f || out < 0 || fseek(f, 0, SEEK_END)) return 2;
    size_t size = (size_t)ftell(f);
    uint8_t *ops = malloc(size + 1), hashes[64];
    rewind(f);
    if (!ops || fread(ops, 1, size, f) != size) return 2;
    /* Beside the layer, the operations are hashed as a file. */
    int file = fileno(f);
    core *c = core_open(out, atoi(words[3]), &file, 1);
    core_result r;
    if (!c || core_feed(c, ops, size) || core_wait(c) || core_results(c, &r, NULL, 0)) return 1;
    print(r.blob);
    print(r.tar);
    core_hashes(c, hashes);
    print(hashes);
    core_sha256(ops, size, size / 2, hashes);
    print(hashes);
    print(hashes + 32);
    printf("%08x\n", core_crc32(0, ops, size));
    return 0;
}
