/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/journal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/bytes.h"
#include "integrity/crc32.h"
#include "merge/journal_parts.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define SMALL "tests/data/journal/small.journal" /* make_journal_data.py wrote it, without this code */
#define SMALL_ENTRIES 3
#define HUGE_TENSOR 3

static struct temp_dir dir;
static struct llavamed_error error;
static struct journal_key key;

static const uint64_t n_elems[] = {1024, 2000, UINT64_C(1) << 40, UINT64_MAX, 0};
static const struct journal_bounds bounds = {n_elems, sizeof n_elems / sizeof n_elems[0]};

static const struct journal_note two_notes[] = {{0, 0xdeadbeef, 7, 4096, 2000}, {1, 0xfeedface, 9, 0, 2000}};
static const struct journal_note last_note[] = {{1, 1, UINT64_MAX, UINT64_MAX - 1, 1}};

/* What make_journal_data.py wrote, in that order. */
static const struct journal_entry small[SMALL_ENTRIES] = {
    {1, 0, 1000, {0x01020304, 0x0a0b0c0d, {1, 2, 3, 4, 7}, 5, 6, 0}, 2, two_notes, false},
    {0, 512, 512, {0xffffffff, 0, {0, 0, 0, 0, 0}, 0, 0, 0}, 0, NULL, false},
    {1, 1000, 24, {0, 0, {24, 0, 24, 0, 24}, 24, 48, 0}, 1, last_note, false},
};

static void fill_key(void)
{
    static const char *const labels[] = {"tool", "options", "base", "delta", "plan"};
    for (int i = 0; i < JOURNAL_PARTS; i++) {
        EXPECT(sha256_of(labels[i], strlen(labels[i]), key.sha256[i], &error) == LLAVAMED_OK);
    }
}

static struct journal_entry plain_entry(uint64_t tensor, uint64_t first_elem, uint64_t count, uint32_t crc32)
{
    return (struct journal_entry){
        .tensor = tensor, .first_elem = first_elem, .n_elems = count, .tally = {.crc32 = crc32}};
}

static bool same_entry(const struct journal_entry *a, const struct journal_entry *b)
{
    bool same = a->tensor == b->tensor && a->first_elem == b->first_elem && a->n_elems == b->n_elems &&
                a->tally.crc32 == b->tally.crc32 && a->tally.target_crc32 == b->tally.target_crc32 &&
                a->tally.n_added == b->tally.n_added && a->tally.n_overflow == b->tally.n_overflow &&
                memcmp(&a->tally.counts, &b->tally.counts, sizeof a->tally.counts) == 0 && a->n_notes == b->n_notes;
    for (uint32_t i = 0; same && i < a->n_notes; i++) {
        same = memcmp(&a->notes[i], &b->notes[i], sizeof a->notes[i]) == 0;
    }
    return same;
}

static void append(struct journal *journal, const struct journal_entry *entry)
{
    EXPECT(journal_append(journal, entry, &error) == LLAVAMED_OK);
}

static struct journal *create(const char *path)
{
    struct journal *journal = NULL;
    if (!EXPECT(journal_create(path, &key, &journal, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
        abort();
    }
    return journal;
}

static struct journal_found open_old(const char *path)
{
    struct journal_found found = {.cut_bytes = 99};
    if (!EXPECT(journal_continue(path, &key, &bounds, &found, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    EXPECT((found.state == JOURNAL_SAME) == (found.journal != NULL));
    return found;
}

/* The first n of `small` and nothing else. */
static bool holds_small(const struct journal *journal, size_t n)
{
    const struct journal_entry *entries = NULL;
    uint64_t next;
    bool holds = journal_entries(journal, &entries) == n;
    for (size_t i = 0; holds && i < n; i++) {
        const struct journal_entry *found = journal_find(journal, small[i].tensor, small[i].first_elem, &next);
        holds = found != NULL && same_entry(found, &small[i]);
    }
    return holds;
}

static uint64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_size : UINT64_MAX;
}

/* ---- the form ---- */

static void bytes_are_those_of_the_fixture(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    size_t want_bytes = 0;
    size_t got_bytes = 0;
    struct journal *journal = create(path);
    for (size_t i = 0; i < SMALL_ENTRIES; i++) {
        append(journal, &small[i]);
    }
    EXPECT(journal_sync(journal, &error) == LLAVAMED_OK);
    journal_close(journal);
    char *want = temp_read(SMALL, &want_bytes);
    char *got = temp_read(path, &got_bytes);
    EXPECT_U64(got_bytes, want_bytes);
    EXPECT(want != NULL && got != NULL && got_bytes == want_bytes && memcmp(got, want, got_bytes) == 0);
    free(want);
    free(got);
    temp_dir_remove(&dir);
}

static void what_was_written_is_loaded(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    struct journal_note notes[JOURNAL_NOTES_MAX];
    struct journal_entry full = plain_entry(2, 5, 7, 8);
    for (uint32_t i = 0; i < JOURNAL_NOTES_MAX; i++) {
        notes[i] = (struct journal_note){i % 2, i, i * 3, i * UINT64_C(5000000000), i};
    }
    full.n_notes = JOURNAL_NOTES_MAX;
    full.notes = notes;
    struct journal *journal = create(path);
    for (size_t i = 0; i < SMALL_ENTRIES; i++) {
        append(journal, &small[i]);
    }
    uint64_t next = 0;
    EXPECT(journal_find(journal, 0, 512, &next) == NULL && next == UINT64_MAX); /* only what was loaded is found */
    journal_close(journal);
    struct journal_found found = open_old(path);
    EXPECT(found.state == JOURNAL_SAME && found.cut_bytes == 0 && holds_small(found.journal, SMALL_ENTRIES));
    append(found.journal, &full);
    journal_close(found.journal);
    found = open_old(path);
    EXPECT(journal_find(found.journal, 1, 0, &next) != NULL && next == 1000);
    EXPECT(journal_find(found.journal, 1, 1000, &next) != NULL && next == UINT64_MAX);
    EXPECT(journal_find(found.journal, 1, 1, &next) == NULL && next == 1000);
    EXPECT(journal_find(found.journal, 0, 0, &next) == NULL && next == 512);
    EXPECT(journal_find(found.journal, 9, 0, &next) == NULL && next == UINT64_MAX);
    const struct journal_entry *got = journal_find(found.journal, 2, 5, &next);
    EXPECT(got != NULL && same_entry(got, &full));
    journal_close(found.journal);
    temp_dir_remove(&dir);
}

static void what_differs_is_named(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    journal_close(create(path));
    const struct journal_key own = key;
    for (int i = JOURNAL_PARTS; i-- > 0;) {
        /* All parts from i on differ: the first is told. */
        key.sha256[i][63] ^= 1;
        struct journal_found found = open_old(path);
        EXPECT(found.state == JOURNAL_DIFFERENT && (int)found.part == i);
        EXPECT(journal_part_text((enum journal_part)i)[0] != '\0');
    }
    key = own;
    struct journal_found found = open_old(path);
    EXPECT(found.state == JOURNAL_SAME);
    journal_close(found.journal);
    temp_dir_remove(&dir);
}

static void what_is_no_journal_is_left_alone(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    const char *other = temp_path(&dir, "other");
    struct journal *journal = NULL;
    EXPECT(open_old(path).state == JOURNAL_MISSING);
    temp_mkdir(path);
    EXPECT(open_old(path).state == JOURNAL_DAMAGED);
    EXPECT(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    EXPECT(open_old(path).state == JOURNAL_DAMAGED);
    EXPECT(unlink(path) == 0);
    /* Nobody's file may be cut off through a link. */
    journal_close(create(other));
    EXPECT(symlink(other, path) == 0 && open_old(path).state == JOURNAL_DAMAGED);
    EXPECT(journal_create(path, &key, &journal, &error) == LLAVAMED_STATUS_OUT_EXISTS && journal == NULL);
    EXPECT(journal_create(other, &key, &journal, &error) == LLAVAMED_STATUS_OUT_EXISTS && journal == NULL);
    EXPECT_U64(size_of(other), JOURNAL_HEADER_BYTES);
    EXPECT(journal_create(temp_path(&dir, "no/journal"), &key, &journal, &error) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    /* Too large, mostly a hole. */
    EXPECT(truncate(other, (off_t)JOURNAL_BYTES_MAX + 1) == 0 && open_old(other).state == JOURNAL_DAMAGED);
    temp_dir_remove(&dir);
}

/* ---- damage ---- */

/* The entries of the fixture that end at or before `n_bytes`. */
static size_t whole_entries(size_t n_bytes)
{
    size_t end = JOURNAL_HEADER_BYTES;
    size_t n = 0;
    while (n < SMALL_ENTRIES) {
        end += JOURNAL_ENTRY_BYTES_MIN + small[n].n_notes * (size_t)JOURNAL_NOTE_BYTES;
        if (end > n_bytes) {
            break;
        }
        n++;
    }
    return n;
}

static void every_truncation(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    const struct journal_entry extra = plain_entry(HUGE_TENSOR, 1, 1, 1);
    size_t n_bytes = 0;
    char *bytes = temp_read(SMALL, &n_bytes);
    EXPECT(bytes != NULL && whole_entries(n_bytes) == SMALL_ENTRIES);
    for (size_t n = 0; bytes != NULL && n < n_bytes; n++) {
        uint64_t next;
        temp_write(path, bytes, n);
        struct journal_found found = open_old(path);
        if (n < JOURNAL_HEADER_BYTES) {
            EXPECT(found.state == JOURNAL_DAMAGED && size_of(path) == n);
            continue;
        }
        EXPECT(found.state == JOURNAL_SAME && holds_small(found.journal, whole_entries(n)));
        EXPECT_U64(size_of(path), n - found.cut_bytes);
        /* It goes on where the last whole entry ends. */
        append(found.journal, &extra);
        journal_close(found.journal);
        found = open_old(path);
        EXPECT(found.cut_bytes == 0 && journal_find(found.journal, 1, 1000, &next) == NULL);
        EXPECT(journal_find(found.journal, HUGE_TENSOR, 1, &next) != NULL);
        EXPECT((journal_find(found.journal, 1, 0, &next) != NULL) == (whole_entries(n) > 0));
        journal_close(found.journal);
    }
    free(bytes);
    temp_dir_remove(&dir);
}

static void every_flipped_bit(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    size_t n_bytes = 0;
    char *bytes = temp_read(SMALL, &n_bytes);
    EXPECT(bytes != NULL);
    for (size_t bit = 0; bytes != NULL && bit < 8 * n_bytes; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        temp_write(path, bytes, n_bytes);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        struct journal_found found = open_old(path);
        if (bit / 8 < JOURNAL_HEADER_BYTES) {
            EXPECT(found.state == JOURNAL_DAMAGED);
        } else {
            /* Whole are the entries that end before the byte. */
            EXPECT(found.state == JOURNAL_SAME && holds_small(found.journal, whole_entries(bit / 8)));
        }
        journal_close(found.journal);
    }
    free(bytes);
    temp_dir_remove(&dir);
}

/* Pages of an entry that never reached storage read as zeros; blocks of another journal may lie there instead. */
static void lost_and_foreign_pages(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    size_t n_bytes = 0;
    char *bytes = temp_read(SMALL, &n_bytes);
    EXPECT(bytes != NULL);
    temp_write(path, bytes, n_bytes);
    EXPECT(truncate(path, (off_t)n_bytes + 5000) == 0);
    struct journal_found found = open_old(path);
    EXPECT(found.cut_bytes == 5000 && holds_small(found.journal, SMALL_ENTRIES));
    journal_close(found.journal);

    key.sha256[JOURNAL_BASE][0] ^= 1;
    uint8_t header[JOURNAL_HEADER_BYTES];
    (void)journal_encode_header(&key, header);
    memcpy(bytes, header, sizeof header);
    temp_write(path, bytes, n_bytes);
    found = open_old(path);
    EXPECT(found.state == JOURNAL_SAME && holds_small(found.journal, 0));
    EXPECT_U64(found.cut_bytes, n_bytes - JOURNAL_HEADER_BYTES);
    journal_close(found.journal);
    key.sha256[JOURNAL_BASE][0] ^= 1;
    free(bytes);
    temp_dir_remove(&dir);
}

/* An entry that speaks of what is not there, with a right CRC-32, ends what is read. */
static void entries_stay_in_the_bounds(void)
{
    /* Ranges beyond 64 bits, which cannot be encoded here, are in the fuzzer's corpus. */
    const struct journal_entry outside[] = {
        plain_entry(5, 0, 1, 0),    plain_entry(UINT64_MAX, 0, 1, 0),     plain_entry(0, 0, 1025, 0),
        plain_entry(0, 1024, 1, 0), plain_entry(0, 1, UINT64_MAX - 1, 0), plain_entry(0, UINT64_MAX - 1, 1, 0),
        plain_entry(4, 0, 1, 0),
    };
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        uint8_t bytes[3 * JOURNAL_ENTRY_BYTES_MAX];
        const struct journal_entry good = plain_entry(0, 0, 1024, 3);
        struct journal_list list = {0};
        size_t whole_bytes = 0;
        size_t n = journal_encode_entry(&good, 5, bytes);
        n += journal_encode_entry(&outside[i], 5, bytes + n);
        n += journal_encode_entry(&good, 5, bytes + n);
        const struct journal_text text = {bytes, n, 5};
        EXPECT(journal_list_load(&text, &bounds, &list, &whole_bytes, &error) == LLAVAMED_OK);
        EXPECT_U64(list.n_entries, 1);
        EXPECT_U64(whole_bytes, JOURNAL_ENTRY_BYTES_MIN);
        journal_list_deinit(&list);
    }
}

/* Numbers that journal_append() would never write, with a right CRC-32. */
static void impossible_numbers_are_refused(void)
{
    static const struct {
        size_t offset; /* in the entry; of a number of 8 bytes */
        uint64_t possible;
        uint64_t impossible;
    } rows[] = {
        {8, 24, 25},
        {16, 1000, 0},
        {36, 1000, 1001},
        {44, 1000, 1001},
        {52, 1000, 1001},
        {60, 1000, 1001},
        {68, 1000, 1001},
        {76, 2000, 2001},
        {84, 1000, 1001},
        {92, 1, 2},
        {92, 0, 7},
        {108, UINT64_MAX - 2000, UINT64_MAX - 1999},
    };
    struct journal_entry entry = small[0];
    entry.first_elem = 24;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[JOURNAL_ENTRY_BYTES_MAX];
        struct journal_note notes[JOURNAL_NOTES_MAX];
        struct journal_entry decoded;
        const uint64_t bound[] = {0, 1024};
        const struct journal_bounds tight = {bound, 2};
        const size_t n = journal_encode_entry(&entry, 5, bytes);
        store_le64(bytes + rows[i / 2].offset, i % 2 == 0 ? rows[i / 2].possible : rows[i / 2].impossible);
        store_le32(bytes + n - 4, crc32_update(5, bytes, n - 4));
        const struct journal_text text = {bytes, n, 5};
        EXPECT_U64(journal_decode_entry(&text, 0, &tight, &decoded, notes), i % 2 == 0 ? n : 0);
    }
}

/* ---- several entries for the same elements ---- */

static bool overlap(const struct journal_entry *a, const struct journal_entry *b)
{
    return a->tensor == b->tensor && a->first_elem < b->first_elem + b->n_elems &&
           b->first_elem < a->first_elem + a->n_elems;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Many small journals, from all overlapping to hardly any, against looking at every pair. */
static void the_last_of_overlapping_entries_counts(void)
{
    uint64_t state = 7;
    size_t n_kept = 0;
    for (int round = 0; round < 2000; round++) {
        struct journal_entry entries[24];
        uint8_t bytes[24 * JOURNAL_ENTRY_BYTES_MIN + JOURNAL_ENTRY_BYTES_MAX];
        struct journal_list list = {0};
        size_t whole_bytes = 0;
        const size_t count = next_random(&state) % 25;
        const uint64_t width = 2 + next_random(&state) % 1000;
        for (size_t i = 0; i < count; i++) {
            entries[i] = plain_entry(next_random(&state) % 2, next_random(&state) % width,
                                     1 + next_random(&state) % (1024 - width), (uint32_t)i);
            if (round % 2 == 0) {
                entries[i].n_elems = 1 + next_random(&state) % 20;
            }
            (void)journal_encode_entry(&entries[i], 5, bytes + i * JOURNAL_ENTRY_BYTES_MIN);
        }
        const struct journal_text text = {bytes, count * JOURNAL_ENTRY_BYTES_MIN, 5};
        EXPECT(journal_list_load(&text, &bounds, &list, &whole_bytes, &error) == LLAVAMED_OK);
        EXPECT_U64(whole_bytes, text.n_bytes);
        size_t n_last = 0;
        for (size_t i = 0; i < count; i++) {
            bool last = true;
            bool found = false;
            for (size_t k = i + 1; k < count; k++) {
                last = last && !overlap(&entries[i], &entries[k]);
            }
            for (size_t k = 0; k < list.n_entries; k++) {
                found = found || same_entry(&list.entries[k], &entries[i]);
            }
            EXPECT(last == found);
            n_last += last;
        }
        EXPECT_U64(list.n_entries, n_last);
        n_kept += n_last;
        journal_list_deinit(&list);
    }
    EXPECT(n_kept > 2000);
}

/* ---- appending ---- */

#define THREADS 8
#define ENTRIES_PER_THREAD 500

struct writer {
    struct journal *journal;
    uint64_t number;
    bool failed;
};

static struct journal_entry entry_of(uint64_t writer, uint64_t i, struct journal_note *notes)
{
    struct journal_entry entry = plain_entry(2, (writer * ENTRIES_PER_THREAD + i) * 10, 10, (uint32_t)(writer ^ i));
    entry.n_notes = (uint32_t)((writer + i) % 5);
    entry.notes = notes;
    for (uint32_t k = 0; k < entry.n_notes; k++) {
        notes[k] = (struct journal_note){k % 2, (uint32_t)i, writer, i, k};
    }
    return entry;
}

static void *write_entries(void *argument)
{
    struct writer *writer = argument;
    for (uint64_t i = 0; i < ENTRIES_PER_THREAD && !writer->failed; i++) {
        struct journal_note notes[5];
        struct journal_entry entry = entry_of(writer->number, i, notes);
        writer->failed = journal_append(writer->journal, &entry, NULL) != LLAVAMED_OK ||
                         (i % 100 == 0 && journal_sync(writer->journal, NULL) != LLAVAMED_OK);
    }
    return NULL;
}

static void eight_threads_append(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    struct journal *journal = create(path);
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){journal, i, false};
        temp_dir_require(pthread_create(&threads[i], NULL, write_entries, &writers[i]) == 0, "pthread_create");
    }
    for (size_t i = 0; i < THREADS; i++) {
        EXPECT(pthread_join(threads[i], NULL) == 0 && !writers[i].failed);
    }
    journal_close(journal);
    struct journal_found found = open_old(path);
    const struct journal_entry *entries = NULL;
    EXPECT_U64(journal_entries(found.journal, &entries), THREADS * ENTRIES_PER_THREAD);
    EXPECT_U64(found.cut_bytes, 0);
    for (uint64_t i = 0; i < THREADS * ENTRIES_PER_THREAD; i++) {
        struct journal_note notes[5];
        struct journal_entry want = entry_of(i / ENTRIES_PER_THREAD, i % ENTRIES_PER_THREAD, notes);
        uint64_t next;
        const struct journal_entry *got = journal_find(found.journal, 2, i * 10, &next);
        EXPECT(got != NULL && same_entry(got, &want));
        EXPECT(next == (i + 1 < THREADS * ENTRIES_PER_THREAD ? (i + 1) * 10 : UINT64_MAX));
    }
    journal_close(found.journal);
    temp_dir_remove(&dir);
}

/* The status of an append, or of a creation when journal is NULL, while no file may be larger than this. */
static enum llavamed_status under_limit(rlim_t limit_bytes, const char *path, struct journal *journal,
                                        const struct journal_entry *entry)
{
    struct rlimit before;
    struct journal *made = NULL;
    temp_dir_require(getrlimit(RLIMIT_FSIZE, &before) == 0, "getrlimit");
    const struct rlimit small_limit = {limit_bytes, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    temp_dir_require(setrlimit(RLIMIT_FSIZE, &small_limit) == 0, "setrlimit");
    enum llavamed_status status =
        journal == NULL ? journal_create(path, &key, &made, &error) : journal_append(journal, entry, &error);
    temp_dir_require(setrlimit(RLIMIT_FSIZE, &before) == 0, "setrlimit");
    (void)signal(SIGXFSZ, handler);
    journal_close(made);
    return status;
}

static void no_room(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    for (rlim_t limit = 0; limit < JOURNAL_HEADER_BYTES; limit += 75) {
        EXPECT(under_limit(limit, path, NULL, NULL) == LLAVAMED_STATUS_OUT_SPACE && !temp_exists(path));
    }
    EXPECT(error.hint[0] != '\0');
    /* At every byte of an entry: what there was stays, and the next entry, which is shorter, takes its place. */
    for (rlim_t room = 0; room < JOURNAL_ENTRY_BYTES_MIN + 2 * JOURNAL_NOTE_BYTES; room++) {
        struct journal *journal = create(path);
        append(journal, &small[1]);
        EXPECT(under_limit((rlim_t)size_of(path) + room, path, journal, &small[0]) == LLAVAMED_STATUS_OUT_SPACE);
        append(journal, &small[2]);
        journal_close(journal);
        struct journal_found found = open_old(path);
        const struct journal_entry *entries = NULL;
        EXPECT_U64(journal_entries(found.journal, &entries), 2);
        EXPECT(same_entry(&entries[0], &small[1]) && same_entry(&entries[1], &small[2]));
        EXPECT_U64(size_of(path), JOURNAL_HEADER_BYTES + 2 * JOURNAL_ENTRY_BYTES_MIN + JOURNAL_NOTE_BYTES);
        journal_close(found.journal);
        EXPECT(unlink(path) == 0);
    }
    temp_dir_remove(&dir);
}

/* At the largest size that is read nothing more is written, so that a later run can still read it. */
static void a_full_journal_stays_readable(void)
{
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "journal");
    const struct journal_note notes[JOURNAL_NOTES_MAX] = {{0}};
    struct journal_entry large = plain_entry(2, 0, 1, 0);
    large.n_notes = JOURNAL_NOTES_MAX;
    large.notes = notes;
    const size_t n_fitting = (JOURNAL_BYTES_MAX - JOURNAL_HEADER_BYTES) / JOURNAL_ENTRY_BYTES_MAX;
    struct journal *journal = create(path);
    for (size_t i = 0; i < n_fitting + 2; i++) {
        large.tally.crc32 = (uint32_t)i;
        append(journal, &large);
    }
    journal_close(journal);
    EXPECT_U64(size_of(path), JOURNAL_HEADER_BYTES + n_fitting * JOURNAL_ENTRY_BYTES_MAX);
    struct journal_found found = open_old(path);
    const struct journal_entry *entries = NULL;
    EXPECT(found.state == JOURNAL_SAME && found.cut_bytes == 0 && journal_entries(found.journal, &entries) == 1);
    EXPECT(entries != NULL && entries[0].tally.crc32 == n_fitting - 1);
    journal_close(found.journal);
    temp_dir_remove(&dir);
}

int main(void)
{
    fill_key();
    CASE(bytes_are_those_of_the_fixture);
    CASE(what_was_written_is_loaded);
    CASE(what_differs_is_named);
    CASE(what_is_no_journal_is_left_alone);
    CASE(every_truncation);
    CASE(every_flipped_bit);
    CASE(lost_and_foreign_pages);
    CASE(entries_stay_in_the_bounds);
    CASE(impossible_numbers_are_refused);
    CASE(the_last_of_overlapping_entries_counts);
    CASE(eight_threads_append);
    CASE(no_room);
    CASE(a_full_journal_stays_readable);
    return harness_end();
}
