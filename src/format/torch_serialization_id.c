/* SPDX-License-Identifier: Apache-2.0 */
/*
 * std::unordered_set keeps all its nodes in one list. A bucket knows the node before its first one. A node whose bucket
 * is empty goes to the front of the list, another one to the front of its bucket; so each bucket is a run of the list,
 * and the order depends on the number of buckets at each insertion. A set that grows puts all nodes, in the order of
 * the list, into the new buckets in the same manner.
 */
#include "format/torch_serialization_id.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

#define HASH_SEED 0xc70f6907u
#define HASH_MULTIPLIER UINT64_C(0xc6a4a7935bd1e995)

uint64_t torch_serialization_combine(uint64_t combined, uint64_t value)
{
    return combined ^ (value + 0x9e3779b9 + (combined << 6) + (combined >> 2));
}

static uint64_t mix(uint64_t value)
{
    return value ^ (value >> 47);
}

/* MurmurHash64A, as std::_Hash_bytes. */
uint64_t torch_serialization_hash(const char *name, size_t n_bytes)
{
    uint64_t hash = HASH_SEED ^ (n_bytes * HASH_MULTIPLIER);
    uint8_t word[8];
    for (; n_bytes >= sizeof word; n_bytes -= sizeof word, name += sizeof word) {
        memcpy(word, name, sizeof word);
        hash = (hash ^ (mix(load_le64(word) * HASH_MULTIPLIER) * HASH_MULTIPLIER)) * HASH_MULTIPLIER;
    }
    if (n_bytes > 0) {
        memset(word, 0, sizeof word);
        memcpy(word, name, n_bytes);
        hash = (hash ^ load_le64(word)) * HASH_MULTIPLIER;
    }
    return mix(mix(hash) * HASH_MULTIPLIER);
}

/* Each the next of libstdc++'s primes that is at least twice the one before; the first for 11 nodes or fewer. */
static const uint32_t bucket_counts[] = {13,
                                         29,
                                         59,
                                         127,
                                         257,
                                         541,
                                         1109,
                                         2357,
                                         5087,
                                         10273,
                                         20753,
                                         42043,
                                         85229,
                                         172933,
                                         351061,
                                         712697,
                                         TORCH_SERIALIZATION_NAMES_MAX};

/* Nodes are numbered from 1 in the order of insertion; 0 is what stands before the first of the list, or none. */
struct name_set {
    const uint64_t *hashes; /* borrowed: of node i at i - 1 */
    uint32_t *next;         /* of each node, and of 0 */
    uint32_t *before;       /* of each bucket: 1 + the node before its first one, or 0 when it is empty */
    uint32_t n_buckets;
};

static uint32_t *bucket_of(const struct name_set *set, uint32_t node)
{
    return &set->before[set->hashes[node - 1] % set->n_buckets];
}

static void insert(struct name_set *set, uint32_t node)
{
    uint32_t *bucket = bucket_of(set, node);
    uint32_t before = *bucket == 0 ? 0 : *bucket - 1;
    set->next[node] = set->next[before];
    set->next[before] = node;
    if (*bucket == 0) {
        *bucket = 1;
        if (set->next[node] != 0) {
            *bucket_of(set, set->next[node]) = node + 1;
        }
    }
}

static void grow(struct name_set *set, uint32_t n_buckets)
{
    uint32_t node = set->next[0];
    set->next[0] = 0;
    set->n_buckets = n_buckets;
    memset(set->before, 0, n_buckets * sizeof *set->before);
    while (node != 0) {
        uint32_t next = set->next[node];
        insert(set, node);
        node = next;
    }
}

enum llavamed_status torch_serialization_names(const uint64_t *hashes, size_t n, uint64_t *out,
                                               struct llavamed_error *error)
{
    /* The last of the counts used is below 2.4 n + 13. */
    size_t n_room = 3 * n + 13;
    struct name_set set = {.hashes = hashes};
    set.next = calloc(n + 1, sizeof *set.next);
    set.before = calloc(n_room, sizeof *set.before);
    if (set.next == NULL || set.before == NULL) {
        free(set.next);
        free(set.before);
        return llavamed_fail_memory(error, n_room * sizeof *set.before, "the names of a shard's records");
    }
    const uint32_t *count = bucket_counts;
    for (uint32_t node = 1; node <= n; node++) {
        if (node > set.n_buckets) {
            grow(&set, *count++);
        }
        insert(&set, node);
    }
    uint64_t combined = 0;
    for (uint32_t node = set.next[0]; node != 0; node = set.next[node]) {
        combined = torch_serialization_combine(combined, hashes[node - 1]);
    }
    free(set.next);
    free(set.before);
    *out = combined;
    return LLAVAMED_OK;
}

static void write_number(uint64_t number, char *out)
{
    for (int i = TORCH_SERIALIZATION_ID_BYTES / 2; i-- > 0; number /= 10) {
        out[i] = (char)('0' + number % 10);
    }
}

void torch_serialization_write(uint64_t names, uint64_t crc32s, char out[TORCH_SERIALIZATION_ID_BYTES])
{
    write_number(names, out);
    write_number(crc32s, out + TORCH_SERIALIZATION_ID_BYTES / 2);
}
