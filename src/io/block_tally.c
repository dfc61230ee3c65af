/* SPDX-License-Identifier: Apache-2.0 */
#include "io/block_tally.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/checked.h"

struct block_tally {
    uint64_t n_bytes;
    uint64_t block_bytes;
    atomic_uint_least32_t counts[];
};

struct block_tally *block_tally_create(uint64_t n_bytes, uint64_t block_bytes)
{
    uint64_t n_blocks = n_bytes / block_bytes + 1;
    if (n_blocks > (SIZE_MAX - sizeof(struct block_tally)) / sizeof(atomic_uint_least32_t)) {
        return NULL;
    }
    size_t counts_bytes = (size_t)n_blocks * sizeof(atomic_uint_least32_t);
    struct block_tally *tally = calloc(1, sizeof *tally + counts_bytes);
    if (tally != NULL) {
        tally->n_bytes = n_bytes;
        tally->block_bytes = block_bytes;
    }
    return tally;
}

void block_tally_free(struct block_tally *tally)
{
    free(tally);
}

bool block_tally_next(struct block_tally *tally, struct block_run *run, struct block_run *block)
{
    uint64_t index = run->offset / tally->block_bytes;
    uint64_t begin = index * tally->block_bytes;
    if (run->offset >= tally->n_bytes) {
        run->n_bytes = 0;
        return false;
    }
    uint64_t block_bytes = min_u64(tally->block_bytes, tally->n_bytes - begin);
    uint64_t part = min_u64(run->n_bytes, begin + block_bytes - run->offset);
    uint64_t before = atomic_fetch_add(&tally->counts[index], (uint32_t)part);
    run->offset += part;
    run->n_bytes -= part;
    *block = (struct block_run){begin, block_bytes};
    return before < block_bytes && before + part >= block_bytes;
}
