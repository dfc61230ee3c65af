/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/part_set.h"

#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/own_output.h"
#include "merge/part_files.h"
#include "merge/part_share.h"
#include "merge/shard_digests.h"

#define SUMS_BYTES_MAX (16 << 20)

void part_set_deinit(struct part_set *set)
{
    pipeline_outcome_deinit(&set->outcome);
    document_list_deinit(&set->documents);
    input_hashes_free(set->hashes);
    part_plan_deinit(&set->plan);
    free(set->missing);
    free(set->shard_modified_ns);
    free(set->text);
    memset(set, 0, sizeof *set);
}

/* ---- The lines ---- */

static enum llavamed_status read_named(const char *directory, const char *name, size_t max_bytes, char **text,
                                       size_t *n_bytes, struct llavamed_error *error)
{
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = part_file_read(path, max_bytes, text, n_bytes, error);
    free(path);
    return status;
}

/* Adds the parts first to last to "2, 5-7". */
static void append_range(struct buffer *out, unsigned first, unsigned last)
{
    buffer_printf(out, last > first ? "%s%u-%u" : "%s%u", out->n_bytes == 0 ? "" : ", ", first + 1, last + 1);
}

static enum llavamed_status fail_missing(const char *directory, struct part_set *set, struct buffer *missing,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = buffer_status(missing, "a list of parts", error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    set->missing = buffer_take(missing);
    (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_MISSING, "%s: %u of %u parts are missing: %.400s", directory,
                        set->n_missing, set->plan.facts.n_parts, set->missing);
    llavamed_hint(error, "run them (--part K/%u), then --finish; whichever ends last does that itself",
                  set->plan.facts.n_parts);
    return LLAVAMED_STATUS_PARTS_MISSING;
}

/* Appends the records that are there behind the plan's line. */
static enum llavamed_status gather_records(const char *directory, const volatile int *stop_signal,
                                           struct part_set *set, struct buffer *lines, struct buffer *missing,
                                           struct llavamed_error *error)
{
    unsigned n_parts = set->plan.facts.n_parts;
    enum llavamed_status status = LLAVAMED_OK;
    unsigned first_missing = n_parts;
    for (unsigned part = 0; status == LLAVAMED_OK && part <= n_parts; part++) {
        char name[PART_NAME_BYTES];
        char *text = NULL;
        size_t n_bytes = 0;
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK && part < n_parts) {
            part_record_name(part, n_parts, name);
            status = read_named(directory, name, PART_RECORD_BYTES_MAX, &text, &n_bytes, error);
        }
        if (status == LLAVAMED_OK && text == NULL && part < n_parts) {
            set->n_missing++;
            first_missing = first_missing == n_parts ? part : first_missing;
        } else if (status == LLAVAMED_OK && first_missing < n_parts) {
            append_range(missing, first_missing, part - 1);
            first_missing = n_parts;
        }
        if (text != NULL) {
            buffer_append(lines, text, n_bytes);
        }
        free(text);
    }
    return status;
}

static enum llavamed_status gather(const char *directory, const volatile int *stop_signal, struct part_set *set,
                                   struct llavamed_error *error)
{
    struct buffer lines;
    struct buffer missing;
    char *plan = NULL;
    size_t n_bytes = 0;
    buffer_init(&lines, PART_ALL_BYTES_MAX);
    buffer_init(&missing, (size_t)LLAVAMED_PARTS_MAX * 16);
    enum llavamed_status status = read_named(directory, PART_PLAN_NAME, PART_PLAN_BYTES_MAX, &plan, &n_bytes, error);
    if (status == LLAVAMED_OK && plan == NULL) {
        status = llavamed_fail(error, LLAVAMED_STATUS_PARTS_MISSING, "%s: there are no parts to finish", directory);
        llavamed_hint(error, "run all parts (--part 1/N to N/N) with this --out first");
    }
    if (status == LLAVAMED_OK) {
        status = part_plan_read(directory, plan, n_bytes, &set->plan, error);
    }
    if (status == LLAVAMED_OK) {
        buffer_append(&lines, plan, n_bytes);
        status = gather_records(directory, stop_signal, set, &lines, &missing, error);
    }
    if (status == LLAVAMED_OK && set->n_missing > 0) {
        status = fail_missing(directory, set, &missing, error);
    }
    if (status == LLAVAMED_OK) {
        status = buffer_status(&lines, "the records of the parts", error);
    }
    if (status == LLAVAMED_OK) {
        set->n_bytes = lines.n_bytes;
        set->text = buffer_take(&lines);
        part_plan_deinit(&set->plan); /* read_lines() reads all */
    }
    free(plan);
    buffer_deinit(&lines);
    buffer_deinit(&missing);
    return status;
}

/* The next line with its end; 0 bytes when there is none. */
static size_t line_bytes(const char *text, size_t n_bytes)
{
    const char *end = n_bytes == 0 ? NULL : memchr(text, '\n', n_bytes);
    return end == NULL ? n_bytes : (size_t)(end - text) + 1;
}

/* ---- Putting together ---- */

static enum llavamed_status make_outcome(struct part_set *set, struct llavamed_error *error)
{
    const struct plan *plan = &set->plan.plan;
    struct pipeline_outcome *outcome = &set->outcome;
    bool digests = set->plan.facts.digests;
    outcome->tensors = calloc(plan->n_tensors + 1, sizeof *outcome->tensors);
    outcome->shard_sha256 = calloc(plan->n_shards + 1, sizeof *outcome->shard_sha256);
    set->shard_modified_ns = calloc(plan->n_shards + 1, sizeof *set->shard_modified_ns);
    outcome->tensor_sha256 = digests ? calloc(plan->n_tensors + 1, sizeof *outcome->tensor_sha256) : NULL;
    return outcome->tensors != NULL && outcome->shard_sha256 != NULL && set->shard_modified_ns != NULL &&
                   (!digests || outcome->tensor_sha256 != NULL)
               ? LLAVAMED_OK
               : llavamed_fail_memory(error, plan->n_tensors * sizeof *outcome->tensors, "what became of tensors");
}

static enum llavamed_status take_inputs(struct part_set *set, const char *path, const struct part_record *record,
                                        struct llavamed_error *error)
{
    for (size_t i = 0; i < record->n_inputs; i++) {
        const struct part_input_hash *input = &record->inputs[i];
        if (!input_hashes_note(set->hashes, (enum input_role)input->role, input->file, input->sha256)) {
            return llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: part %u has hashed a file that is no input",
                                 path, record->part + 1);
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status take_record(struct part_set *set, const char *path, const struct part_share *share,
                                        struct part_record *record, const size_t *tensor_of,
                                        struct llavamed_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < set->plan.plan.n_shards; i++) {
        if (share->owners[i] == record->part) {
            set->shard_modified_ns[i] = record->shards[n].modified_ns;
            (void)memcpy(set->outcome.shard_sha256[i], record->shards[n++].sha256, SHA256_HEX_BYTES);
        }
    }
    for (size_t i = 0; i < record->n_tensors; i++) {
        set->outcome.tensors[tensor_of[i]] = record->tensors[i];
        if (record->tensor_sha256 != NULL) {
            (void)memcpy(set->outcome.tensor_sha256[tensor_of[i]], record->tensor_sha256[i], SHA256_HEX_BYTES);
        }
    }
    if (record->part == 0) {
        set->documents = record->documents;
        record->documents = (struct document_list){0};
    } else if (record->documents.n_entries > 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: part %u has copied files, which the first does",
                             path, record->part + 1);
    }
    return take_inputs(set, path, record, error);
}

static enum llavamed_status read_record(struct part_set *set, const char *path, const struct part_share *share,
                                        unsigned part, const char *text, size_t n_bytes, struct llavamed_error *error)
{
    struct plan plan = {0};
    size_t *tensor_of = NULL;
    struct part_record record = {0};
    enum llavamed_status status = part_share_plan(share, &set->plan.plan, part, &plan, &tensor_of, error);
    if (status == LLAVAMED_OK) {
        const struct part_record_frame frame = {set->plan.sha256, &plan, part, set->plan.facts.digests};
        status = part_record_read(path, text, n_bytes, &frame, &record, error);
    }
    if (status == LLAVAMED_OK) {
        status = take_record(set, path, share, &record, tensor_of, error);
    }
    part_record_deinit(&record);
    free(tensor_of);
    plan_deinit(&plan);
    return status;
}

/* Whether all was hashed that was to be. */
static enum llavamed_status check_hashes(const struct part_set *set, const char *path, struct llavamed_error *error)
{
    for (int role = 0; role < INPUT_ROLES; role++) {
        for (size_t i = 0; i < set->plan.inputs[role].n_files; i++) {
            bool computed = false;
            const char *hex = input_hashes_weights(set->hashes, (enum input_role)role, i, &computed);
            bool wanted = set->plan.facts.verify == LLAVAMED_VERIFY_FULL ||
                          (set->plan.facts.verify == LLAVAMED_VERIFY_AUTO && hex != NULL);
            if (wanted && !computed) {
                return llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: no part has hashed %.200s", path,
                                     set->plan.inputs[role].files[i].name);
            }
        }
    }
    return LLAVAMED_OK;
}

/* As read_record(); `all` is the file of all lines, NULL when each record is in one of its own. */
static enum llavamed_status read_line(struct part_set *set, const char *directory, const char *all,
                                      const struct part_share *share, unsigned part, const char *text, size_t n_bytes,
                                      struct llavamed_error *error)
{
    char name[PART_NAME_BYTES];
    part_record_name(part, set->plan.facts.n_parts, name);
    char *own = all != NULL ? strdup(all) : path_join(directory, name);
    if (own == NULL) {
        return llavamed_fail_memory(error, sizeof name, "a path");
    }
    enum llavamed_status status = read_record(set, own, share, part, text, n_bytes, error);
    if (status == LLAVAMED_STATUS_PARTS_DIFFER && all != NULL) {
        llavamed_hint(error, "it has the records of all parts: remove it, then run all of them again");
    }
    free(own);
    return status;
}

static enum llavamed_status read_lines(struct part_set *set, const char *directory, const char *all,
                                       const volatile int *stop_signal, struct llavamed_error *error)
{
    const char *path = all != NULL ? all : directory;
    struct part_share share = {0};
    const char *at = set->text;
    size_t n_left = set->n_bytes;
    size_t n = line_bytes(at, n_left);
    enum llavamed_status status = part_plan_read(path, at, n, &set->plan, error);
    if (status == LLAVAMED_OK) {
        status = part_share_init(&share, &set->plan.plan, set->plan.facts.n_parts, error);
    }
    if (status == LLAVAMED_OK) {
        status = make_outcome(set, error);
    }
    for (int role = 0; status == LLAVAMED_OK && role < INPUT_ROLES; role++) {
        const struct part_plan_input *input = &set->plan.inputs[role];
        status = input_hashes_restore(&set->hashes, (enum input_role)role, input->files, input->n_files,
                                      set->plan.facts.is_ckpt2, error);
    }
    for (unsigned part = 0; status == LLAVAMED_OK && part < share.n_parts; part++) {
        at += n;
        n_left -= n;
        n = line_bytes(at, n_left);
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = read_line(set, directory, all, &share, part, at, n, error);
        }
    }
    part_share_deinit(&share);
    if (status == LLAVAMED_OK && n_left != n) {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: holds more than the records of its parts", path);
    }
    if (status == LLAVAMED_OK && set->plan.facts.digests) {
        status = shard_digests_of_model(&set->plan.plan, set->outcome.tensor_sha256, set->outcome.model_sha256, error);
    }
    return status == LLAVAMED_OK ? check_hashes(set, path, error) : status;
}

enum llavamed_status part_set_read(const char *directory, const char *beside, const volatile int *stop_signal,
                                   struct part_set *set, struct llavamed_error *error)
{
    char *inside = path_join(directory, PART_ALL_NAME);
    const char *all = inside;
    memset(set, 0, sizeof *set);
    enum llavamed_status status = inside == NULL
                                      ? llavamed_fail_memory(error, sizeof PART_ALL_NAME, "a path")
                                      : part_file_read(all, PART_ALL_BYTES_MAX, &set->text, &set->n_bytes, error);
    if (status == LLAVAMED_OK && set->text == NULL) {
        all = beside;
        status = part_file_read(all, PART_ALL_BYTES_MAX, &set->text, &set->n_bytes, error);
    }
    if (status == LLAVAMED_OK && set->text == NULL) {
        all = NULL;
        status = gather(directory, stop_signal, set, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_lines(set, directory, all, stop_signal, error);
    }
    free(inside);
    return status;
}

/* ---- Its files ---- */

static int compare_shard(const void *name, const void *shard)
{
    return strcmp(name, ((const struct plan_shard *)shard)->name);
}

bool part_set_has_file(const struct part_set *set, const char *name)
{
    const struct plan *plan = &set->plan.plan; /* its shards are sorted by name */
    bool has_file = bsearch(name, plan->shards, plan->n_shards, sizeof *plan->shards, compare_shard) != NULL;
    for (size_t i = 0; !has_file && i < set->documents.n_entries; i++) {
        has_file = strcmp(name, set->documents.entries[i].name) == 0;
    }
    return has_file;
}

/* ---- What is published ---- */

/* Both are sorted by name. */
static bool has_shards(const struct part_set *set, const char *sums, size_t n_bytes)
{
    char *name = malloc(n_bytes + 1);
    char hex[SHA256_HEX_BYTES];
    const char *at = sums;
    size_t n_left = n_bytes;
    size_t n_found = 0;
    while (name != NULL && n_found < set->plan.plan.n_shards && n_left > 0 && sums_next(&at, &n_left, hex, name)) {
        bool is_it = strcmp(name, set->plan.plan.shards[n_found].name) == 0;
        n_found += is_it && strcmp(hex, set->outcome.shard_sha256[n_found]) == 0;
    }
    bool has_all = name != NULL && n_found == set->plan.plan.n_shards;
    free(name);
    return has_all;
}

bool part_set_is_published(const struct part_set *set, const char *out)
{
    char *text = NULL;
    size_t n_bytes = 0;
    char *path = path_join(out, SUMS_FILE_NAME);
    bool is_published = path != NULL && own_output_check(out, out, true, NULL) == LLAVAMED_OK &&
                        input_file_read_whole(path, SUMS_BYTES_MAX, &text, &n_bytes, NULL) == LLAVAMED_OK &&
                        has_shards(set, text, n_bytes);
    free(text);
    free(path);
    return is_published;
}
