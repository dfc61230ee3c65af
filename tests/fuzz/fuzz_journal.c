/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a journal's file holds, continuing it loads exactly those entries that are whole, lie in the bounds and are
 * not overlapped by a later one, sorted; what is behind is cut off; what was loaded, when written anew and loaded
 * again, is the same. Memory is linear in the file's size.
 *
 * The first byte of the input tells what the rest is: 1 (MEND) entries whose CRC-32s are put right, 2 (WHOLE) a whole
 * journal, both, or 0: entries as they are.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "fuzz_memory.h"
#include "integrity/crc32.h"
#include "merge/journal_parts.h"

#define MEND 1
#define WHOLE 2
#define ENTRIES_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const uint64_t n_elems[] = {1024, 2000, UINT64_C(1) << 40, UINT64_MAX, 0};
static const struct journal_bounds bounds = {n_elems, sizeof n_elems / sizeof n_elems[0]};

static struct journal_key key;
static char directory[64];
static char path[2][96]; /* the input, and what is written anew */

static void clean_up(void)
{
    (void)unlink(path[0]);
    (void)unlink(path[1]);
    (void)rmdir(directory);
}

/* The key that make_journal_data.py writes. */
static void set_up(void)
{
    static const char *const labels[] = {"tool", "options", "base", "delta", "plan"};
    if (directory[0] != '\0') {
        return;
    }
    (void)snprintf(directory, sizeof directory, "%s/llavamed-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path[i], sizeof path[i], "%s/%d", directory, i);
    }
    for (int i = 0; i < JOURNAL_PARTS; i++) {
        REQUIRE(sha256_of(labels[i], strlen(labels[i]), key.sha256[i], NULL) == LLAVAMED_OK);
    }
}

static uint32_t header_crc32(const uint8_t *file)
{
    return load_le32(file + JOURNAL_HEADER_BYTES - 4);
}

/* Puts the CRC-32s right of entries that are long enough. */
static void mend(uint8_t *file, size_t n_bytes)
{
    size_t at = JOURNAL_HEADER_BYTES;
    while (n_bytes - at >= JOURNAL_ENTRY_BYTES_MIN) {
        uint32_t n_notes = load_le32(file + at + 32);
        if (n_notes > JOURNAL_NOTES_MAX || n_bytes - at < JOURNAL_ENTRY_BYTES_MIN + n_notes * JOURNAL_NOTE_BYTES) {
            return;
        }
        size_t end = JOURNAL_ENTRY_BYTES_MIN - 4 + n_notes * JOURNAL_NOTE_BYTES;
        store_le32(file + at + end, crc32_update(header_crc32(file), file + at, end));
        at += end + 4;
    }
}

/* The bytes of the input's journal; to free(). */
static uint8_t *make_file(const uint8_t *bytes, size_t n_bytes, size_t *file_bytes)
{
    uint8_t mode = n_bytes == 0 ? 0 : bytes[0];
    size_t n_left = n_bytes == 0 ? 0 : n_bytes - 1;
    size_t head = mode & WHOLE ? 0 : JOURNAL_HEADER_BYTES;
    uint8_t *file = malloc(head + n_left + 1);
    REQUIRE(file != NULL);
    if (head > 0) {
        (void)journal_encode_header(&key, file);
    }
    if (n_left > 0) {
        memcpy(file + head, bytes + 1, n_left);
    }
    *file_bytes = head + n_left;
    if (mode & MEND && *file_bytes >= JOURNAL_HEADER_BYTES) {
        mend(file, *file_bytes);
    }
    return file;
}

static void write_file(const uint8_t *bytes, size_t n_bytes)
{
    FILE *file = fopen(path[0], "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
}

static uint64_t size_of(const char *name)
{
    struct stat info;
    REQUIRE(stat(name, &info) == 0);
    return (uint64_t)info.st_size;
}

static void require_same(const struct journal_entry *a, const struct journal_entry *b)
{
    const struct pipeline_tensor *x = &a->tally;
    const struct pipeline_tensor *y = &b->tally;
    REQUIRE(a->tensor == b->tensor && a->first_elem == b->first_elem && a->n_elems == b->n_elems);
    REQUIRE(x->crc32 == y->crc32 && x->target_crc32 == y->target_crc32);
    REQUIRE(x->n_added == y->n_added && x->n_overflow == y->n_overflow);
    REQUIRE(memcmp(&x->counts, &y->counts, sizeof x->counts) == 0);
    REQUIRE(a->n_notes == b->n_notes);
    for (uint32_t i = 0; i < a->n_notes; i++) {
        REQUIRE(memcmp(&a->notes[i], &b->notes[i], sizeof a->notes[i]) == 0);
    }
}

static void require_sane(const struct journal_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct journal_entry *entry = &entries[i];
        REQUIRE(entry->tensor < bounds.n_tensors && entry->n_elems > 0 && entry->n_notes <= JOURNAL_NOTES_MAX);
        REQUIRE(entry->first_elem < n_elems[entry->tensor]);
        REQUIRE(entry->n_elems <= n_elems[entry->tensor] - entry->first_elem);
        if (i > 0 && entry->tensor == entry[-1].tensor) {
            REQUIRE(entry[-1].first_elem + entry[-1].n_elems <= entry->first_elem);
        } else if (i > 0) {
            REQUIRE(entry[-1].tensor < entry->tensor);
        }
    }
}

static int overlap(const struct journal_entry *a, const struct journal_entry *b)
{
    return a->tensor == b->tensor && a->first_elem < b->first_elem + b->n_elems &&
           b->first_elem < a->first_elem + a->n_elems;
}

/* Every entry of the text is found if and only if no later one overlaps it: the plain way, by looking at all pairs. */
static void require_last_ones(const struct journal *journal, const struct journal_text *text)
{
    static struct journal_entry raw[ENTRIES_MAX];
    struct journal_note notes[JOURNAL_NOTES_MAX];
    const struct journal_entry *loaded;
    size_t n = 0;
    size_t n_left = journal_entries(journal, &loaded);
    for (size_t at = 0, step; (step = journal_decode_entry(text, at, &bounds, &raw[n], notes)) > 0; at += step) {
        if (++n == ENTRIES_MAX) {
            return;
        }
    }
    for (size_t i = 0; i < n; i++) {
        int last = 1;
        for (size_t k = i + 1; k < n; k++) {
            last = last && !overlap(&raw[i], &raw[k]);
        }
        uint64_t next;
        const struct journal_entry *found = journal_find(journal, raw[i].tensor, raw[i].first_elem, &next);
        REQUIRE(next > raw[i].first_elem);
        if (last) {
            REQUIRE(found != NULL && found->n_elems == raw[i].n_elems && found->tally.crc32 == raw[i].tally.crc32);
            n_left--;
        }
    }
    REQUIRE(n_left == 0);
}

/* Writes the loaded entries to another journal, and loads that. */
static void require_survives(const struct journal_entry *entries, size_t n)
{
    struct journal *anew = NULL;
    struct journal_found again = {0};
    const struct journal_entry *reloaded;
    (void)unlink(path[1]);
    REQUIRE(journal_create(path[1], &key, &anew, NULL) == LLAVAMED_OK);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(journal_append(anew, &entries[i], NULL) == LLAVAMED_OK);
    }
    journal_close(anew);
    REQUIRE(journal_continue(path[1], &key, &bounds, &again, NULL) == LLAVAMED_OK && again.state == JOURNAL_SAME);
    REQUIRE(again.cut_bytes == 0 && journal_entries(again.journal, &reloaded) == n);
    for (size_t i = 0; i < n; i++) {
        require_same(&entries[i], &reloaded[i]);
    }
    journal_close(again.journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    size_t file_bytes = 0;
    struct journal_found found = {0};
    struct llavamed_error error = {0};
    set_up();
    uint8_t *file = make_file(bytes, n_bytes, &file_bytes);
    write_file(file, file_bytes);
    fuzz_memory_reset();
    REQUIRE(journal_continue(path[0], &key, &bounds, &found, &error) == LLAVAMED_OK);
    REQUIRE(fuzz_memory_peak_bytes <= 16384 + 8 * file_bytes);
    REQUIRE((found.state == JOURNAL_SAME) == (found.journal != NULL));
    if (n_bytes == 0 || (bytes[0] & WHOLE) == 0) {
        REQUIRE(found.state == JOURNAL_SAME);
    }
    if (found.state == JOURNAL_SAME) {
        const struct journal_entry *entries;
        size_t n = journal_entries(found.journal, &entries);
        const struct journal_text text = {file + JOURNAL_HEADER_BYTES, file_bytes - JOURNAL_HEADER_BYTES,
                                          header_crc32(file)};
        require_sane(entries, n);
        REQUIRE(size_of(path[0]) == file_bytes - found.cut_bytes);
        require_last_ones(found.journal, &text);
        require_survives(entries, n);
        journal_close(found.journal);
    } else {
        REQUIRE(found.state != JOURNAL_MISSING && size_of(path[0]) == file_bytes);
    }
    free(file);
    return 0;
}
