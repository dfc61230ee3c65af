/* SPDX-License-Identifier: Apache-2.0 */
#include "source/record_crc.h"

#include "integrity/crc32.h"
#include "unit/harness.h"

static const char text[] = "The quick brown fox jumps over the lazy dog";

#define TEXT_BYTES (sizeof text - 1)
#define TEXT_CRC32 0x414fa339 /* published for this very text */

static void note_text(struct record_crc *record, size_t offset, size_t n_bytes)
{
    record_crc_note(record, offset, n_bytes, crc32_update(0, text + offset, n_bytes));
}

static void expect_whole(const struct record_crc *record)
{
    uint64_t offset;
    uint64_t gap_bytes;
    EXPECT(!record->unusable);
    EXPECT(!record_crc_gap(record, TEXT_BYTES, &offset, &gap_bytes));
    EXPECT_U64(record->n_runs, 1);
    EXPECT_U64(record->runs[0].offset, 0);
    EXPECT_U64(record->runs[0].n_bytes, TEXT_BYTES);
    EXPECT_U64(record->runs[0].crc32, TEXT_CRC32);
}

static void front_to_back(void)
{
    struct record_crc record = {0};
    for (size_t at = 0; at < TEXT_BYTES; at++) {
        note_text(&record, at, 1);
        EXPECT_U64(record.n_runs, 1);
    }
    expect_whole(&record);
    record_crc_deinit(&record);
}

static void back_to_front(void)
{
    struct record_crc record = {0};
    for (size_t at = TEXT_BYTES; at > 0; at--) {
        note_text(&record, at - 1, 1);
        EXPECT_U64(record.n_runs, 1);
    }
    expect_whole(&record);
    record_crc_deinit(&record);
}

/* Every order of six uneven pieces. */
static void any_order(void)
{
    static const size_t edges[] = {0, 1, 4, 10, 11, 30, TEXT_BYTES};
    size_t n_orders = 0;
    for (unsigned code = 0; code < 6 * 6 * 6 * 6 * 6 * 6; code++) {
        unsigned rest = code;
        unsigned used = 0;
        size_t order[6];
        for (size_t i = 0; i < 6; i++) {
            order[i] = rest % 6;
            used |= 1u << order[i];
            rest /= 6;
        }
        if (used != 0x3f) {
            continue;
        }
        struct record_crc record = {0};
        for (size_t i = 0; i < 6; i++) {
            note_text(&record, edges[order[i]], edges[order[i] + 1] - edges[order[i]]);
        }
        expect_whole(&record);
        record_crc_deinit(&record);
        n_orders++;
    }
    EXPECT_U64(n_orders, 720);
}

static void gaps_are_found_and_filled(void)
{
    struct record_crc record = {0};
    uint64_t offset = 0;
    uint64_t gap_bytes = 0;
    EXPECT(record_crc_gap(&record, TEXT_BYTES, &offset, &gap_bytes));
    EXPECT_U64(offset, 0);
    EXPECT_U64(gap_bytes, TEXT_BYTES);
    note_text(&record, 5, 10);
    note_text(&record, 20, 3);
    EXPECT(record_crc_gap(&record, TEXT_BYTES, &offset, &gap_bytes));
    EXPECT_U64(offset, 0);
    EXPECT_U64(gap_bytes, 5);
    note_text(&record, 0, 5);
    EXPECT(record_crc_gap(&record, TEXT_BYTES, &offset, &gap_bytes));
    EXPECT_U64(offset, 15);
    EXPECT_U64(gap_bytes, 5);
    note_text(&record, 15, 5);
    EXPECT(record_crc_gap(&record, TEXT_BYTES, &offset, &gap_bytes));
    EXPECT_U64(offset, 23);
    EXPECT_U64(gap_bytes, TEXT_BYTES - 23);
    note_text(&record, 23, TEXT_BYTES - 23);
    expect_whole(&record);
    record_crc_deinit(&record);
}

static void overlap_makes_it_unusable(void)
{
    static const size_t again[][2] = {{10, 5}, {9, 2}, {14, 1}, {14, 9}, {0, 43}, {11, 2}, {5, 6}};
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
        struct record_crc record = {0};
        note_text(&record, 10, 5);
        note_text(&record, again[i][0], again[i][1]);
        EXPECT(record.unusable);
        EXPECT(record.runs == NULL);
        note_text(&record, 0, 3);
        EXPECT(record.unusable && record.n_runs == 0);
        record_crc_deinit(&record);
        EXPECT(!record.unusable);
    }
}

/* Pieces apart from each other, from behind: as many as there may be, then one more. */
static void too_many_pieces_make_it_unusable(void)
{
    struct record_crc record = {0};
    uint64_t offset = UINT64_C(2) * RECORD_CRC_RUNS_MAX;
    for (size_t i = 0; i < RECORD_CRC_RUNS_MAX; i++, offset -= 2) {
        record_crc_note(&record, offset, 1, 0);
    }
    EXPECT(!record.unusable);
    EXPECT_U64(record.n_runs, RECORD_CRC_RUNS_MAX);
    record_crc_note(&record, offset + 1, 1, 0); /* joins one */
    EXPECT(!record.unusable);
    record_crc_note(&record, UINT64_C(2) * RECORD_CRC_RUNS_MAX + 2, 1, 0);
    EXPECT(record.unusable && record.runs == NULL);
    record_crc_deinit(&record);
}

static void neighbours_do_not_overlap(void)
{
    struct record_crc record = {0};
    note_text(&record, 10, 5);
    note_text(&record, 15, 1);
    note_text(&record, 9, 1);
    EXPECT(!record.unusable);
    EXPECT_U64(record.n_runs, 1);
    EXPECT_U64(record.runs[0].offset, 9);
    EXPECT_U64(record.runs[0].n_bytes, 7);
    record_crc_deinit(&record);
}

static void empty_notes_and_records(void)
{
    struct record_crc record = {0};
    uint64_t offset;
    uint64_t gap_bytes;
    EXPECT(!record_crc_gap(&record, 0, &offset, &gap_bytes));
    record_crc_note(&record, 3, 0, 0);
    record_crc_note(&record, 3, 0, 0);
    EXPECT(!record.unusable);
    EXPECT_U64(record.n_runs, 0);
    record_crc_deinit(&record);
}

/* Joining must hold for lengths beyond 32 bits: a 7B shard's largest record fits, its neighbours' sum may not. */
static void long_records(void)
{
    struct record_crc record = {0};
    uint64_t half = (uint64_t)3 << 32;
    record_crc_note(&record, half, half, 0x12345678);
    record_crc_note(&record, 0, half, 0x9abcdef0);
    EXPECT_U64(record.n_runs, 1);
    EXPECT_U64(record.runs[0].n_bytes, 2 * half);
    EXPECT_U64(record.runs[0].crc32, crc32_join(0x9abcdef0, 0x12345678, half));
    record_crc_deinit(&record);
}

int main(void)
{
    CASE(front_to_back);
    CASE(back_to_front);
    CASE(any_order);
    CASE(gaps_are_found_and_filled);
    CASE(overlap_makes_it_unusable);
    CASE(too_many_pieces_make_it_unusable);
    CASE(neighbours_do_not_overlap);
    CASE(empty_notes_and_records);
    CASE(long_records);
    return harness_end();
}
