/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sort.h"
#include "core/stop_signal.h"
#include "integrity/oms_statement.h"
#include "merge/manifest.h"
#include "verify/judge.h"

#define HEX_CHARS (SHA256_HEX_BYTES - 1)
/* Digests of different files differ in some 60 of their 64 digits; of one that differs in so few, the record is bad. */
#define DIGITS_DAMAGED_MAX 16

/* Whose SHA-256 something is: a claim about a file that does not have it. */
struct lost_hash {
    const char *sha256;
    const struct table_file *file;
};

struct file_judge {
    struct judge *judge;
    enum claimant authority;
    struct lost_hash *lost; /* owned; by SHA-256, then by name */
    size_t n_lost;
};

static const char *claimant_name(const struct file_judge *self, enum claimant claimant)
{
    return self->judge->records->names[claimant];
}

static void add(const struct file_judge *self, enum llavamed_finding_code code, const char *file, const char *words)
{
    const struct finding_place place = {.file = file};
    findings_add(self->judge->findings, code, &place, "%s", words);
}

/* "SHA256SUMS (line 3) and llavamed-manifest.json": who claims something of the file, all or those that are `right`. */
static const char *name_claimants(const struct file_judge *self, const struct table_file *file, const bool *among,
                                  char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < CLAIMANTS; i++) {
        const struct file_claim *claim = &file->claims[i];
        if (claim->sha256 == NULL || (among != NULL && !among[i]) || used >= capacity) {
            continue;
        }
        int n = snprintf(text + used, capacity - used, "%s%.200s", used == 0 ? "" : " and ",
                         claimant_name(self, (enum claimant)i));
        used += n > 0 ? (size_t)n : 0;
        if (claim->line > 0 && used < capacity) {
            n = snprintf(text + used, capacity - used, " (line %zu)", claim->line);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    for (int i = 0; i < INDEX_KINDS && among == NULL; i++) {
        if (file->is_indexed[i] && used < capacity) {
            int n = snprintf(text + used, capacity - used, "%s%s", used == 0 ? "" : " and ", records_index_names[i]);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return text;
}

static bool has_claim(const struct table_file *file)
{
    bool found = false;
    for (int i = 0; i < CLAIMANTS; i++) {
        found = found || file->claims[i].sha256 != NULL;
    }
    return found;
}

/* ---- Files that have another's bytes ---- */

static int compare_lost(const void *a, const void *b)
{
    const struct lost_hash *lost_a = a;
    const struct lost_hash *lost_b = b;
    int order = strcmp(lost_a->sha256, lost_b->sha256);
    return order != 0 ? order : strcmp(lost_a->file->name, lost_b->file->name);
}

static enum llavamed_status collect_lost(struct file_judge *self, struct llavamed_error *error)
{
    const struct file_table *table = self->judge->table;
    self->lost = calloc(table->n_files * CLAIMANTS + 1, sizeof *self->lost);
    if (self->lost == NULL) {
        return llavamed_fail_memory(error, table->n_files * CLAIMANTS * sizeof *self->lost, "the list of hashes");
    }
    for (size_t i = 0; i < table->n_files; i++) {
        const struct table_file *file = &table->files[i];
        for (int k = 0; k < CLAIMANTS; k++) {
            const char *claim = file->claims[k].sha256;
            if (claim != NULL && !(file->is_read && strcmp(claim, file->sha256) == 0)) {
                self->lost[self->n_lost++] = (struct lost_hash){claim, file};
            }
        }
    }
    sort_array(self->lost, self->n_lost, sizeof *self->lost, compare_lost);
    return LLAVAMED_OK;
}

/* The name of another file that should have these bytes and does not, or NULL. */
static const char *find_lost(const struct file_judge *self, const struct table_file *file)
{
    size_t low = 0;
    size_t high = file->is_read ? self->n_lost : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_before = strcmp(self->lost[middle].sha256, file->sha256) < 0;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    bool is_it = file->is_read && low < self->n_lost && strcmp(self->lost[low].sha256, file->sha256) == 0;
    return is_it && self->lost[low].file != file ? self->lost[low].file->name : NULL;
}

/* ---- What belongs in the directory ---- */

bool judge_is_extra(const struct records *records, const struct table_file *file)
{
    enum claimant authority = records_authority(records);
    if (authority == CLAIMANTS || file->claims[authority].sha256 != NULL) {
        return false;
    }
    if (strcmp(file->name, SUMS_FILE_NAME) == 0 || file->is_given_list) {
        return false; /* a list does not name itself */
    }
    if (strcmp(file->name, OMS_FILE_NAME) == 0) {
        return false; /* what signs the lists is in none of them */
    }
    return authority != CLAIMANT_MANIFEST || strcmp(file->name, MANIFEST_FILE_NAME) != 0;
}

static void judge_missing(const struct file_judge *self, const struct table_file *file)
{
    char text[1024];
    char words[LLAVAMED_MESSAGE_BYTES];
    const bool *are_there = self->judge->records->is_there;
    const char *other = NULL;
    if (are_there[CLAIMANT_SUMS] && are_there[CLAIMANT_MANIFEST]) {
        other = file->claims[CLAIMANT_SUMS].sha256 == NULL ? SUMS_FILE_NAME
                : file->claims[CLAIMANT_MANIFEST].sha256 == NULL && strcmp(file->name, MANIFEST_FILE_NAME) != 0
                    ? MANIFEST_FILE_NAME
                    : NULL;
    }
    (void)snprintf(words, sizeof words, "is missing, named by %s%s%s%s",
                   name_claimants(self, file, NULL, text, sizeof text), other == NULL ? "" : " (but not by ",
                   other == NULL ? "" : other, other == NULL ? "" : ")");
    add(self, LLAVAMED_FINDING_FILE_MISSING, file->name, words);
}

static void judge_extra(const struct file_judge *self, const struct table_file *file)
{
    char text[1024];
    char words[LLAVAMED_MESSAGE_BYTES];
    const char *authority = claimant_name(self, self->authority);
    bool is_known = has_claim(file);
    bool is_manifest = strcmp(file->name, MANIFEST_FILE_NAME) == 0;
    if (self->authority == CLAIMANT_SUMS && (is_known || is_manifest) && file->kind == FILE_KIND_PLAIN) {
        (void)snprintf(words, sizeof words, "does not name %.255s%s%s", file->name,
                       is_known ? ", which is named by " : "",
                       is_known ? name_claimants(self, file, NULL, text, sizeof text) : "");
        add(self, LLAVAMED_FINDING_RECORD_INCOMPLETE, authority, words);
        return;
    }
    const char *lost = find_lost(self, file);
    if (self->judge->ignore_extra) {
        warnings_add(self->judge->ignored, "%.255s: extra, not named by %s", file->name, authority);
        return;
    }
    (void)snprintf(words, sizeof words, "is extra: not named by %.400s%s%s%s", authority, is_known ? " (but by " : "",
                   is_known ? name_claimants(self, file, NULL, text, sizeof text) : "", is_known ? ")" : "");
    if (lost != NULL) {
        size_t used = strlen(words);
        (void)snprintf(words + used, sizeof words - used, "; it has the bytes of %.255s, renamed", lost);
    }
    add(self, LLAVAMED_FINDING_FILE_EXTRA, file->name, words);
}

/* The manifest names every file but itself and the sums. */
static void judge_unrecorded(const struct file_judge *self, const struct table_file *file)
{
    if (self->judge->records->is_there[CLAIMANT_MANIFEST] && self->authority != CLAIMANT_MANIFEST &&
        file->recorded == NULL && strcmp(file->name, MANIFEST_FILE_NAME) != 0 &&
        strcmp(file->name, SUMS_FILE_NAME) != 0 && strcmp(file->name, OMS_FILE_NAME) != 0) {
        char words[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(words, sizeof words, "does not name %.255s, which is named by %.255s", file->name,
                       claimant_name(self, self->authority));
        add(self, LLAVAMED_FINDING_RECORD_INCOMPLETE, MANIFEST_FILE_NAME, words);
    }
}

/* ---- What a file holds ---- */

static void judge_failure(const struct file_judge *self, const struct table_file *file)
{
    enum llavamed_finding_code code = LLAVAMED_FINDING_FILE_UNREADABLE;
    if (file->failure == LLAVAMED_STATUS_IO) {
        code = LLAVAMED_FINDING_FILE_IO;
    } else if (file->failure == LLAVAMED_STATUS_INPUT_CHANGED || file->failure == LLAVAMED_STATUS_INPUT_MISSING) {
        code = LLAVAMED_FINDING_FILE_CHANGED;
    }
    add(self, code, file->name, file->failure_words);
}

static void judge_size(const struct file_judge *self, const struct table_file *file)
{
    if (file->recorded == NULL || file->recorded->n_bytes == file->n_bytes) {
        return;
    }
    bool is_right = file->is_read && strcmp(file->recorded->sha256, file->sha256) == 0;
    unsigned long long got = file->n_bytes;
    unsigned long long want = file->recorded->n_bytes;
    const struct finding_place place = {.file = is_right ? MANIFEST_FILE_NAME : file->name};
    if (is_right) {
        findings_add(self->judge->findings, LLAVAMED_FINDING_RECORD_WRONG, &place,
                     "records another length for %.255s, whose SHA-256 is right (got %llu bytes, the file has %llu)",
                     file->name, want, got);
    } else {
        findings_add(self->judge->findings, LLAVAMED_FINDING_FILE_SIZE, &place,
                     "is %s than " MANIFEST_FILE_NAME " records (got %llu bytes, want %llu)",
                     got < want ? "shorter" : "longer", got, want);
    }
}

static size_t count_other_digits(const char *hex_a, const char *hex_b)
{
    size_t n = 0;
    for (size_t i = 0; i < HEX_CHARS; i++) {
        n += hex_a[i] != hex_b[i];
    }
    return n;
}

/* A claim that is not true of the file. `right`: the claims that are; NULL: it is only known to be damaged. */
static void blame_record(const struct file_judge *self, const struct table_file *file, enum claimant claimant,
                         const bool *right)
{
    char text[1024];
    char words[LLAVAMED_MESSAGE_BYTES];
    const struct file_claim *claim = &file->claims[claimant];
    char line[32] = "";
    if (claim->line > 0) {
        (void)snprintf(line, sizeof line, "line %zu: ", claim->line);
    }
    if (right != NULL) {
        (void)snprintf(words, sizeof words,
                       "%srecords another SHA-256 for %.255s than %s, which the file agrees with (got %s, want %s)",
                       line, file->name, name_claimants(self, file, right, text, sizeof text), claim->sha256,
                       file->sha256);
    } else {
        (void)snprintf(words, sizeof words,
                       "%sis damaged: the SHA-256 that it records for %.255s differs in %zu of %d digits from the "
                       "file's (got %s, want %s)",
                       line, file->name, count_other_digits(claim->sha256, file->sha256), HEX_CHARS, claim->sha256,
                       file->sha256);
    }
    add(self, LLAVAMED_FINDING_RECORD_WRONG, claimant_name(self, claimant), words);
}

/* None of the claims is true, and none is nearly so. */
static void blame_file(const struct file_judge *self, const struct table_file *file)
{
    char text[1024];
    char words[LLAVAMED_MESSAGE_BYTES];
    size_t used = 0;
    for (int i = 0; i < CLAIMANTS; i++) {
        const char *claim = file->claims[i].sha256;
        bool is_told = false;
        for (int k = 0; k < i; k++) {
            is_told = is_told || (claim != NULL && file->claims[k].sha256 != NULL &&
                                  strcmp(file->claims[k].sha256, claim) == 0);
        }
        if (claim == NULL || is_told) {
            continue;
        }
        bool among[CLAIMANTS] = {false};
        for (int k = i; k < CLAIMANTS; k++) {
            among[k] = file->claims[k].sha256 != NULL && strcmp(file->claims[k].sha256, claim) == 0;
        }
        int n = snprintf(words + used, sizeof words - used, "%s%s of %s", used == 0 ? "" : ", or ", claim,
                         name_claimants(self, file, among, text, sizeof text));
        used = n < 0 || used + (size_t)n >= sizeof words ? sizeof words - 1 : used + (size_t)n;
    }
    const struct finding_place place = {.file = file->name};
    const char *lost = find_lost(self, file);
    findings_add(self->judge->findings, LLAVAMED_FINDING_FILE_HASH, &place,
                 "its SHA-256 is not the recorded one (got %s, want %s)%s%.255s", file->sha256, words,
                 lost == NULL ? "" : "; it has the bytes of ", lost == NULL ? "" : lost);
}

static void judge_hash(const struct file_judge *self, const struct table_file *file)
{
    bool right[CLAIMANTS] = {false};
    bool nearly[CLAIMANTS] = {false};
    bool any_right = false;
    bool any_nearly = false;
    bool any_wrong = false;
    for (int i = 0; i < CLAIMANTS; i++) {
        const char *claim = file->claims[i].sha256;
        if (claim != NULL) {
            right[i] = strcmp(claim, file->sha256) == 0;
            nearly[i] = !right[i] && count_other_digits(claim, file->sha256) <= DIGITS_DAMAGED_MAX;
            any_right = any_right || right[i];
            any_nearly = any_nearly || nearly[i];
            any_wrong = any_wrong || !right[i];
        }
    }
    if (any_wrong && !any_right && !any_nearly) {
        blame_file(self, file);
        return;
    }
    for (int i = 0; i < CLAIMANTS; i++) {
        if (file->claims[i].sha256 != NULL && !right[i]) {
            blame_record(self, file, (enum claimant)i, any_right ? right : NULL);
        }
    }
}

static void judge_header(const struct file_judge *self, const struct table_file *file)
{
    bool is_foreign = file->recorded == NULL && !file->is_indexed[0] && !file->is_indexed[1];
    if (file->header_failure == LLAVAMED_STATUS_INPUT_UNSUPPORTED && is_foreign && table_file_is_as_claimed(file)) {
        warnings_add(self->judge->notes, "%.255s: its header is not checked: %s", file->name, file->header_words);
    } else if (file->header_failure != LLAVAMED_OK) {
        add(self, LLAVAMED_FINDING_HEADER_INVALID, file->name, file->header_words);
    }
    if (file->view == NULL || !file->is_summed) {
        return;
    }
    for (size_t i = 0; i < file->view->n_records; i++) {
        const struct shard_record *record = &file->view->records[i];
        if (record->is_read && record->got != record->want) {
            const struct finding_place place = {.file = file->name, .offset = record->offset};
            findings_add(self->judge->findings, LLAVAMED_FINDING_RECORD_CRC, &place,
                         "the record data/%s in it is damaged: its CRC-32 differs (got %08x, want %08x)", record->key,
                         (unsigned)record->got, (unsigned)record->want);
        }
    }
}

static const char *kind_text(enum file_kind kind)
{
    switch (kind) {
    case FILE_KIND_LINK:
        return "a symbolic link";
    case FILE_KIND_DIRECTORY:
        return "a directory";
    case FILE_KIND_OTHER:
        return "a device, a FIFO or a socket";
    case FILE_KIND_ABSENT:
    case FILE_KIND_PLAIN:
        break;
    }
    return "a file";
}

static void judge_file(const struct file_judge *self, const struct table_file *file)
{
    bool is_extra = judge_is_extra(self->judge->records, file);
    if (file->kind == FILE_KIND_ABSENT) {
        if (has_claim(file) || file->is_indexed[0] || file->is_indexed[1]) { /* else it went away meanwhile */
            judge_missing(self, file);
        }
        return;
    }
    if (file->kind != FILE_KIND_PLAIN) {
        if (is_extra && self->judge->ignore_extra && !has_claim(file)) {
            judge_extra(self, file);
            return;
        }
        char words[128];
        (void)snprintf(words, sizeof words, "is %s (want a plain file)", kind_text(file->kind));
        add(self, LLAVAMED_FINDING_FILE_KIND, file->name, words);
        return;
    }
    if (is_extra) {
        judge_extra(self, file);
    } else if (file->claims[CLAIMANT_GIVEN].sha256 != NULL || file->claims[CLAIMANT_SUMS].sha256 != NULL) {
        judge_unrecorded(self, file);
    }
    if (file->failure != LLAVAMED_OK) {
        judge_failure(self, file);
        return;
    }
    if (file->is_read) {
        judge_size(self, file);
        judge_hash(self, file);
        judge_header(self, file);
    }
}

/* ---- The records themselves ---- */

static void judge_records(const struct file_judge *self)
{
    const struct records *records = self->judge->records;
    const struct table_file *sums = file_table_find(self->judge->table, SUMS_FILE_NAME);
    bool has_sums = sums != NULL && sums->kind != FILE_KIND_ABSENT;
    char words[256];
    if (self->authority == CLAIMANTS && self->judge->is_compared) {
        warnings_add(self->judge->notes, "neither " SUMS_FILE_NAME " nor " MANIFEST_FILE_NAME
                                         " records what the directory should hold: its tensors alone were compared");
    } else if (self->authority == CLAIMANTS && !records->is_signed) {
        add(self, LLAVAMED_FINDING_NO_RECORDS, SUMS_FILE_NAME,
            "nothing that can be read records what the directory should hold: neither " SUMS_FILE_NAME
            " nor " MANIFEST_FILE_NAME);
    } else if (self->authority != CLAIMANTS && !has_sums && !records->is_there[CLAIMANT_GIVEN]) {
        add(self, LLAVAMED_FINDING_FILE_MISSING, SUMS_FILE_NAME,
            "is missing: what llavamed-apply writes has one, of all other files");
    }
    if (records->is_there[CLAIMANT_SUMS] && records->is_there[CLAIMANT_MANIFEST] && records->sums.odd_line > 0) {
        (void)snprintf(words, sizeof words, "line %zu: not as llavamed-apply writes it", records->sums.odd_line);
        add(self, LLAVAMED_FINDING_RECORD_INVALID, SUMS_FILE_NAME, words);
    }
}

static void note_unchecked(struct judge *judge)
{
    const struct records *records = judge->records;
    if (!records->is_there[CLAIMANT_MANIFEST]) {
        warnings_add(judge->notes, "no valid " MANIFEST_FILE_NAME ": nothing records the CRC-32 of tensors, they are "
                                   "checked by the SHA-256 of their files");
    }
    if (!records->is_there[CLAIMANT_SUMS] && records->is_there[CLAIMANT_GIVEN]) {
        warnings_add(judge->notes, "no " SUMS_FILE_NAME " in the directory: the given list says what belongs in it");
    }
}

enum llavamed_status judge_files(struct judge *judge, struct llavamed_error *error)
{
    struct file_judge self = {.judge = judge, .authority = records_authority(judge->records)};
    enum llavamed_status status = collect_lost(&self, error);
    if (status == LLAVAMED_OK) {
        judge_records(&self);
        for (size_t i = 0; status == LLAVAMED_OK && i < judge->table->n_files; i++) {
            judge_file(&self, &judge->table->files[i]);
            status = stop_signal_check(judge->stop_signal, error);
        }
        note_unchecked(judge);
    }
    free(self.lost);
    return status;
}
