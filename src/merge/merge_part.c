/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/merge_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/merge_finish.h"
#include "merge/output_tidy.h"
#include "merge/part_files.h"
#include "merge/part_plan.h"
#include "merge/run_key.h"

/* The name of a copied file. */
#define PART_DOCUMENT_BYTES 256

void merge_part_free(struct merge_part *part)
{
    if (part != NULL) {
        part_share_deinit(&part->share);
        plan_deinit(&part->plan);
        buffer_deinit(&part->text);
        document_list_deinit(&part->documents);
        free(part->tensor_of);
        free(part);
    }
}

/* ---- Settings ---- */

static enum llavamed_status refuse(const char *what, const char *hint, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "%s", what);
    llavamed_hint(error, "%s", hint);
    return LLAVAMED_STATUS_USAGE;
}

enum llavamed_status merge_part_check(const struct merge_run *run, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = run->settings;
    if (settings->part == 0 && settings->n_parts == 0) {
        return LLAVAMED_OK;
    }
    if (settings->part < 1 || settings->part > settings->n_parts || settings->n_parts > LLAVAMED_PARTS_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no such part (got %u of %u, want 1 to N of at most %d)",
                             settings->part, settings->n_parts, LLAVAMED_PARTS_MAX);
    }
    if (!merge_is_part(settings)) {
        return LLAVAMED_OK;
    }
    if (run->batch->n_runs > 1) {
        return refuse("several outputs cannot be made in parts", "give each --delta its own command with --part",
                      error);
    }
    if (run->batch->operation != PLAN_MERGE || run->batch->derives) {
        return refuse("only a merge can be made in parts", "leave out --part", error);
    }
    if (settings->tensor_reports) {
        return refuse("a part cannot tell of all tensors", "--report goes without --part", error);
    }
    if (settings->sign != NULL) {
        return refuse("a part does not sign: its output is not whole yet",
                      "--sign goes with --finish, and --no-finish with the parts, so that none publishes unsigned",
                      error);
    }
    return LLAVAMED_OK;
}

/* ---- Sharing out ---- */

static enum llavamed_status refuse_stream(const struct merge_run *run, struct llavamed_error *error)
{
    bool is_base = source_streams(run->base) > 0;
    (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE,
                        "%s: a compressed archive is read from front to back, which parts cannot share",
                        is_base ? run->settings->base : run->settings->delta);
    llavamed_hint(error, "unpack it, or leave out --part");
    return LLAVAMED_STATUS_USAGE;
}

/* The part that makes what each tensor of a source is needed for; the first part where it is needed for nothing. */
static void choose_tensors(const struct merge_run *run, enum input_role role, bool *mine, size_t n_tensors)
{
    const struct merge_part *part = run->part;
    for (size_t i = 0; i < n_tensors; i++) {
        mine[i] = part->part == 0;
    }
    for (int adds = 0; adds <= 1; adds++) {
        for (size_t i = 0; i < run->plan.n_tensors; i++) {
            const struct plan_tensor *tensor = &run->plan.tensors[i];
            size_t index = role == INPUT_BASE ? tensor->base_index : tensor->delta_index;
            bool is_mine = part->share.owners[tensor->shard] == part->part;
            if (index != TENSOR_NOT_FOUND && (adds == 0 || is_mine)) {
                mine[index] = adds != 0;
            }
        }
    }
}

static enum llavamed_status share_checks(struct merge_run *run, enum input_role role, struct llavamed_error *error)
{
    struct merge_part *part = run->part;
    struct source *source = role == INPUT_BASE ? run->base : run->delta;
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    size_t n_tensors = source_tensors(source)->n_tensors;
    uint64_t *sizes = calloc(n_files + 1, sizeof *sizes);
    unsigned *owners = calloc(n_files + 1, sizeof *owners);
    bool *mine = calloc(n_files + n_tensors + 1, sizeof *mine);
    enum llavamed_status status =
        sizes != NULL && owners != NULL && mine != NULL
            ? LLAVAMED_OK
            : llavamed_fail_memory(error, n_files * sizeof *sizes + n_tensors, "sharing out the checks");
    for (size_t i = 0; status == LLAVAMED_OK && i < n_files; i++) {
        sizes[i] = source_whole_bytes(source, i);
    }
    if (status == LLAVAMED_OK) {
        status = part_share_items(&part->share, sizes, n_files, owners, error);
    }
    if (status == LLAVAMED_OK) {
        for (size_t i = 0; i < n_files; i++) {
            mine[i] = owners[i] == part->part;
        }
        choose_tensors(run, role, mine + n_files, n_tensors);
        source_take_share(source, mine + n_files, mine);
    }
    free(sizes);
    free(owners);
    free(mine);
    return status;
}

/* Bytes of base and delta that go into what this part makes. */
static void count_reads(const struct merge_run *run, struct plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        plan->delta_read_bytes += source_tensors(run->delta)->tensors[tensor->delta_index].n_bytes;
        if (tensor->base_index != TENSOR_NOT_FOUND) {
            plan->base_read_bytes += source_tensors(run->base)->tensors[tensor->base_index].n_bytes;
        }
    }
}

enum llavamed_status merge_part_share(struct merge_run *run, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = run->settings;
    const struct input_hashes_job hashing = {.all = settings->verify == LLAVAMED_VERIFY_FULL};
    if (!merge_is_part(settings)) {
        return LLAVAMED_OK;
    }
    if (merge_is_streamed(run)) {
        return refuse_stream(run, error);
    }
    struct merge_part *part = calloc(1, sizeof *part);
    run->part = part;
    if (part == NULL) {
        return llavamed_fail_memory(error, sizeof *part, "a part");
    }
    part->part = settings->part - 1;
    part->n_parts = settings->n_parts;
    buffer_init(&part->text, PART_PLAN_BYTES_MAX);
    enum llavamed_status status = part_share_init(&part->share, &run->plan, part->n_parts, error);
    if (status == LLAVAMED_OK) {
        status = part_share_plan(&part->share, &run->plan, part->part, &part->plan, &part->tensor_of, error);
    }
    if (status == LLAVAMED_OK && settings->verify != LLAVAMED_VERIFY_NONE) {
        status = input_hashes_share(run->hashes, &hashing, &part->share, part->part, error);
    }
    for (int role = 0; status == LLAVAMED_OK && role < INPUT_ROLES; role++) {
        status = share_checks(run, (enum input_role)role, error);
    }
    if (status == LLAVAMED_OK) {
        count_reads(run, &part->plan);
        part->plan.n_dropped = part->part == 0 ? run->plan.n_dropped : 0;
        run->work = &part->plan;
        merge_note(run, "part %u of %u: %zu of %zu shards, %llu of %llu bytes to write", settings->part,
                   settings->n_parts, part->plan.n_shards, run->plan.n_shards,
                   (unsigned long long)part->plan.file_bytes, (unsigned long long)run->plan.file_bytes);
    }
    return status;
}

/* ---- The plan's line ---- */

/* `digests` has room for one of each file. */
static struct documents_input describe_input(const struct merge_run *run, enum input_role role,
                                             struct documents_digest *digests)
{
    const struct source *source = role == INPUT_BASE ? run->base : run->delta;
    struct documents_input input = {
        .format = source_format(source), .digests = digests, .n_tensors = source_tensors(source)->n_tensors};
    input.n_files = source_files(source, &input.files);
    for (size_t i = 0; i < input.n_files; i++) {
        digests[i].sha256 = input_hashes_weights(run->hashes, role, i, &digests[i].computed);
    }
    return input;
}

enum llavamed_status merge_part_describe(struct merge_run *run, struct llavamed_error *error)
{
    struct merge_part *part = run->part;
    const struct source_file *files;
    size_t n_base = source_files(run->base, &files);
    struct documents_digest *digests = calloc(n_base + source_files(run->delta, &files) + 1, sizeof *digests);
    if (digests == NULL) {
        return llavamed_fail_memory(error, n_base * sizeof *digests, "the plan of the parts");
    }
    struct part_plan_job job = {
        .plan = &run->plan,
        .facts = {.options = merge_plan_options(run),
                  .verify = run->settings->verify,
                  .digests = run->settings->digests,
                  .allow_unknown_base = run->settings->allow_unknown_base,
                  .n_parts = part->n_parts,
                  .is_ckpt2 = input_hashes_is_ckpt2(run->hashes)},
        .inputs = {describe_input(run, INPUT_BASE, digests), describe_input(run, INPUT_DELTA, digests + n_base)},
        .warnings = run->result->warnings,
        .n_warnings = run->result->n_warnings,
    };
    /* What is recorded of the inputs has its own place in the text, and is told by its own name when it differs. */
    const struct run_key_input key = {LLAVAMED_VERSION, &job.facts.options, run->base, run->delta, &run->plan, NULL};
    enum llavamed_status status = run_key_fill(&key, &job.facts.key, error);
    if (status == LLAVAMED_OK) {
        status = input_hashes_recorded(run->hashes, job.facts.recorded_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        part_plan_append(&job, &part->text);
        status = buffer_status(&part->text, "the plan of the parts", error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_of(part->text.data, part->text.n_bytes, part->sha256, error);
    }
    free(digests);
    return status;
}

/* ---- Whether it is done ---- */

static struct part_record_frame frame_of(const struct merge_run *run)
{
    const struct merge_part *part = run->part;
    return (struct part_record_frame){part->sha256, &part->plan, part->part, run->settings->digests};
}

/* NULL when out of memory, as everywhere with paths. */
static char *path_of(const struct merge_run *run, const char *name)
{
    return path_join(output_dir_partial(run->dir), name);
}

static uint64_t modified_of(const struct stat *info)
{
    return (uint64_t)info->st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)info->st_mtim.tv_nsec;
}

/* Only what was touched since is read. */
static enum llavamed_status check_shard(const struct merge_run *run, size_t index, const struct part_shard *recorded,
                                        bool *is_good, struct llavamed_error *error)
{
    const struct plan_shard *shard = &run->part->plan.shards[index];
    struct stat info;
    char hex[SHA256_HEX_BYTES];
    char *path = path_of(run, shard->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(shard->name), "a path");
    }
    enum llavamed_status status = LLAVAMED_OK;
    *is_good = lstat(path, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == shard->layout.file_bytes;
    if (*is_good && modified_of(&info) != recorded->modified_ns) {
        const struct hash_files_task task = {.path = path, .hex = hex};
        const struct hash_files_options options = {.n_threads = 1, .stop_signal = run->settings->stop_signal};
        status = hash_files(&task, 1, &options, error);
        *is_good = status == LLAVAMED_OK && strcmp(hex, recorded->sha256) == 0;
    }
    free(path);
    return status;
}

/* The first part copies these; that they are there is enough here, as they are made anew in no time. */
static bool has_documents(const struct merge_run *run, const struct part_record *record)
{
    bool has_all = true;
    for (size_t i = 0; has_all && i < record->documents.n_entries; i++) {
        struct stat info;
        char *path = path_of(run, record->documents.entries[i].name);
        has_all = path != NULL && lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
                  (uint64_t)info.st_size == record->documents.entries[i].n_bytes;
        free(path);
    }
    return has_all;
}

/*
 * Whether what the first part has copied is what it would copy now. config.json and its like change more easily than
 * weights, and no time of them is in the plan; they are small enough to be read.
 */
static enum llavamed_status compare_documents(const struct merge_run *run, const struct part_record *record,
                                              char name[PART_DOCUMENT_BYTES], struct llavamed_error *error)
{
    const struct hash_files_options options = {.n_threads = 1, .stop_signal = run->settings->stop_signal};
    const char *differs = NULL;
    name[0] = '\0';
    if (record->part != 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status =
        documents_compare_copies(run->documents, &record->documents, &options, &differs, error);
    if (status == LLAVAMED_OK && differs != NULL) {
        (void)snprintf(name, PART_DOCUMENT_BYTES, "%s", differs);
    }
    return status;
}

static enum llavamed_status check_documents(const struct merge_run *run, const struct part_record *record,
                                            bool *is_good, struct llavamed_error *error)
{
    char name[PART_DOCUMENT_BYTES];
    *is_good = has_documents(run, record);
    enum llavamed_status status = *is_good ? compare_documents(run, record, name, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK && *is_good && name[0] != '\0') {
        *is_good = false;
        merge_note(run, "%s is not what the part has copied any more; it is copied again", name);
    }
    return status;
}

static enum llavamed_status check_record(const struct merge_run *run, const char *path, const char *text,
                                         size_t n_bytes, bool *is_done, struct llavamed_error *error)
{
    const struct part_record_frame frame = frame_of(run);
    struct part_record record = {0};
    enum llavamed_status status = part_record_read(path, text, n_bytes, &frame, &record, error);
    if (status != LLAVAMED_OK) {
        bool is_useless = status == LLAVAMED_STATUS_PARTS_DIFFER;
        if (is_useless) {
            merge_note(run, "%s; the part is made again", error->message);
        }
        return is_useless ? LLAVAMED_OK : status;
    }
    status = check_documents(run, &record, is_done, error);
    for (size_t i = 0; status == LLAVAMED_OK && *is_done && i < record.n_shards; i++) {
        status = check_shard(run, i, &record.shards[i], is_done, error);
        if (!*is_done && status == LLAVAMED_OK) {
            merge_note(run, "%s is not as it was recorded; the part is made again", frame.plan->shards[i].name);
        }
    }
    part_record_deinit(&record);
    return status;
}

/* PARTS_DIFFER when the text is there and does not begin with the plan of this run. */
static enum llavamed_status check_plan(const struct merge_run *run, const char *text, size_t n_bytes,
                                       struct llavamed_error *error)
{
    const struct buffer *mine = &run->part->text;
    const char *end = text == NULL || n_bytes == 0 ? NULL : memchr(text, '\n', n_bytes);
    size_t found_bytes = end == NULL ? n_bytes : (size_t)(end - text) + 1;
    if (text == NULL || (found_bytes <= mine->n_bytes && memcmp(text, mine->data, found_bytes) == 0)) {
        return LLAVAMED_OK; /* the beginning of one: part_files_put_plan() sees to it */
    }
    return part_files_fail_plan(output_dir_partial(run->dir), mine->data, mine->n_bytes, text, found_bytes, error);
}

/*
 * Whoever finishes publishes what the first part has copied, and cannot be told of another file any more: the first
 * part says so, instead of that it was done. `text` is the lines of all parts, of which its own follows the plan's.
 */
static enum llavamed_status check_finishing(const struct merge_run *run, const char *path, const char *text,
                                            size_t n_bytes, struct llavamed_error *error)
{
    const struct part_record_frame frame = frame_of(run);
    struct part_record record = {0};
    char name[PART_DOCUMENT_BYTES];
    const char *own = memchr(text, '\n', n_bytes);
    size_t n_left = own == NULL ? 0 : n_bytes - (size_t)(++own - text);
    const char *end = n_left == 0 ? NULL : memchr(own, '\n', n_left);
    if (run->part->part != 0 || end == NULL) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = part_record_read(path, own, (size_t)(end - own) + 1, &frame, &record, error);
    if (status == LLAVAMED_STATUS_PARTS_DIFFER) {
        return LLAVAMED_OK; /* whoever finishes tells what is wrong with it */
    }
    if (status == LLAVAMED_OK) {
        status = compare_documents(run, &record, name, error);
    }
    if (status == LLAVAMED_OK && name[0] != '\0') {
        status = llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER,
                               "%s: %s changed since part 1 copied it, and all parts are being finished",
                               run->settings->delta, name);
        llavamed_hint(error, "llavamed-apply --finish --out DIR publishes what was copied; to have what is there now, "
                             "remove OUT.partial and run all parts again");
    }
    part_record_deinit(&record);
    return status;
}

/* The lines of all parts, when somebody has begun to finish. */
static enum llavamed_status look_for_all(const struct merge_run *run, bool *is_done, struct llavamed_error *error)
{
    char *paths[] = {path_of(run, PART_ALL_NAME),
                     output_beside(output_dir_partial(run->dir), OUTPUT_DIR_PARTS_SUFFIX)};
    enum llavamed_status status = paths[0] != NULL && paths[1] != NULL
                                      ? LLAVAMED_OK
                                      : llavamed_fail_memory(error, sizeof PART_ALL_NAME, "a path");
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        size_t n_bytes = 0;
        if (status == LLAVAMED_OK) {
            status = part_file_read(paths[i], PART_ALL_BYTES_MAX, &text, &n_bytes, error);
        }
        if (status == LLAVAMED_OK && text != NULL) {
            status = check_plan(run, text, n_bytes, error);
            if (status == LLAVAMED_OK) {
                status = check_finishing(run, paths[i], text, n_bytes, error);
            }
            *is_done = status == LLAVAMED_OK;
        }
        free(text);
        free(paths[i]);
    }
    return status;
}

static enum llavamed_status look_for_own(const struct merge_run *run, bool *is_done, struct llavamed_error *error)
{
    char name[PART_NAME_BYTES];
    part_record_name(run->part->part, run->part->n_parts, name);
    char *paths[] = {path_of(run, PART_PLAN_NAME), path_of(run, name)};
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = paths[0] != NULL && paths[1] != NULL
                                      ? LLAVAMED_OK
                                      : llavamed_fail_memory(error, sizeof name, "a path");
    if (status == LLAVAMED_OK) {
        status = part_file_read(paths[0], PART_PLAN_BYTES_MAX, &text, &n_bytes, error);
    }
    bool has_plan = text != NULL;
    if (status == LLAVAMED_OK) {
        status = check_plan(run, text, n_bytes, error);
    }
    free(text);
    text = NULL;
    if (status == LLAVAMED_OK && has_plan && !run->settings->no_resume) {
        status = part_file_read(paths[1], PART_RECORD_BYTES_MAX, &text, &n_bytes, error);
    }
    if (status == LLAVAMED_OK && text != NULL) {
        status = check_record(run, paths[1], text, n_bytes, is_done, error);
    }
    free(text);
    free(paths[0]);
    free(paths[1]);
    return status;
}

enum llavamed_status merge_part_look(struct merge_run *run, bool *is_done, struct llavamed_error *error)
{
    *is_done = false;
    enum llavamed_status status = look_for_all(run, is_done, error);
    return status == LLAVAMED_OK && !*is_done ? look_for_own(run, is_done, error) : status;
}
