/* SPDX-License-Identifier: Apache-2.0 */
#include "source/record_crc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "integrity/crc32.h"

#define RUNS_FIRST 4

void record_crc_deinit(struct record_crc *record)
{
    free(record->runs);
    memset(record, 0, sizeof *record);
}

static void give_up(struct record_crc *record)
{
    record_crc_deinit(record);
    record->unusable = true;
}

/* Index of the first run that begins at or after `offset`. */
static size_t find_run(const struct record_crc *record, uint64_t offset)
{
    size_t low = 0;
    size_t high = record->n_runs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record->runs[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool reserve(struct record_crc *record)
{
    if (record->n_runs == RECORD_CRC_RUNS_MAX) {
        return false;
    }
    if (record->n_runs < record->capacity) {
        return true;
    }
    size_t capacity = record->capacity == 0 ? RUNS_FIRST : record->capacity * 2;
    struct record_crc_run *runs = realloc(record->runs, capacity * sizeof *runs);
    if (runs == NULL) {
        return false;
    }
    record->runs = runs;
    record->capacity = capacity;
    return true;
}

static void join(struct record_crc_run *first, const struct record_crc_run *second)
{
    first->crc32 = crc32_join(first->crc32, second->crc32, second->n_bytes);
    first->n_bytes += second->n_bytes;
}

void record_crc_note(struct record_crc *record, uint64_t offset, uint64_t n_bytes, uint32_t crc32)
{
    if (record->unusable || n_bytes == 0) {
        return;
    }
    const struct record_crc_run made = {.offset = offset, .n_bytes = n_bytes, .crc32 = crc32};
    size_t at = find_run(record, offset);
    struct record_crc_run *before = at > 0 ? &record->runs[at - 1] : NULL;
    struct record_crc_run *after = at < record->n_runs ? &record->runs[at] : NULL;
    if ((before != NULL && offset - before->offset < before->n_bytes) ||
        (after != NULL && after->offset - offset < n_bytes)) {
        give_up(record);
        return;
    }
    bool joins_before = before != NULL && before->offset + before->n_bytes == offset;
    bool joins_after = after != NULL && offset + n_bytes == after->offset;
    if (joins_before) {
        join(before, &made);
        if (joins_after) {
            join(before, after);
            memmove(after, after + 1, (record->n_runs - at - 1) * sizeof *after);
            record->n_runs--;
        }
    } else if (joins_after) {
        struct record_crc_run joined = made;
        join(&joined, after);
        *after = joined;
    } else if (reserve(record)) {
        assert(record->runs != NULL);
        memmove(&record->runs[at + 1], &record->runs[at], (record->n_runs - at) * sizeof made);
        record->runs[at] = made;
        record->n_runs++;
    } else {
        give_up(record);
    }
}

bool record_crc_gap(const struct record_crc *record, uint64_t n_bytes, uint64_t *offset, uint64_t *gap_bytes)
{
    const struct record_crc_run *runs = record->runs;
    size_t next = 0;
    uint64_t begin = 0;
    if (record->n_runs > 0 && runs[0].offset == 0) {
        begin = runs[0].n_bytes;
        next = 1;
    }
    uint64_t end = next < record->n_runs ? runs[next].offset : n_bytes;
    if (begin >= end) {
        return false;
    }
    *offset = begin;
    *gap_bytes = end - begin;
    return true;
}
