/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the plan of a merge in parts: from a directory that anybody may have written to. */
#include <stdlib.h>
#include <string.h>

#include "integrity/digest.h"
#include "merge/manifest.h"
#include "merge/part_plan.h"
#include "merge/part_plan_parts.h"
#include "merge/part_text.h"
#include "merge/plan_parts.h"

/* Stands for the archive of a member, of which nobody looks at more than that there is one. */
static const char an_archive;

static enum llavamed_status fail(const char *path, const char *what, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: not the plan of a merge in parts (%s)", path, what);
    llavamed_hint(error, "remove the directory that it lies in, and run all parts again");
    return LLAVAMED_STATUS_PARTS_DIFFER;
}

/* The place of a word in a list; false when it is not in it. */
static bool find_word(const char *word, const char *const *words, int n_words, int *place)
{
    for (int i = 0; word != NULL && i < n_words; i++) {
        if (strcmp(word, words[i]) == 0) {
            *place = i;
            return true;
        }
    }
    return false;
}

/* "" or `word`. */
static bool read_flag(const struct json_value *value, const char *word, bool *flag)
{
    const char *text = json_string(value);
    *flag = text != NULL && text[0] != '\0';
    return text != NULL && (!*flag || strcmp(text, word) == 0);
}

static bool read_dtype(const char *name, enum dtype *dtype)
{
    return name != NULL && dtype_from_name(name, strlen(name), dtype);
}

/* ---- Head ---- */

static bool read_options(const struct json_value *root, struct part_plan_facts *facts)
{
    const struct json_value *row[7];
    const char *dtypes[LLAVAMED_RESULT_DTYPE_FLOAT32 + 1];
    const char *const inv_freqs[] = {manifest_inv_freq_option(LLAVAMED_INV_FREQ_KEEP),
                                     manifest_inv_freq_option(LLAVAMED_INV_FREQ_DROP)};
    int format;
    int dtype;
    int inv_freq;
    int verify;
    for (int i = 0; i <= LLAVAMED_RESULT_DTYPE_FLOAT32; i++) {
        dtypes[i] = manifest_dtype_option(PLAN_MERGE, (enum llavamed_result_dtype)i);
    }
    if (!part_read_row(json_member(root, "options"), row, 7) ||
        !find_word(json_string(row[0]), part_plan_formats, PART_PLAN_N_FORMATS, &format) ||
        !find_word(json_string(row[1]), dtypes, LLAVAMED_RESULT_DTYPE_FLOAT32 + 1, &dtype) ||
        !find_word(json_string(row[2]), inv_freqs, 2, &inv_freq) ||
        !part_read_number(row[3], &facts->options.max_shard_bytes) ||
        !find_word(json_string(row[4]), part_plan_verifies, PART_PLAN_N_VERIFIES, &verify) ||
        !read_flag(row[5], "digests", &facts->digests) || !read_flag(row[6], "any", &facts->allow_unknown_base)) {
        return false;
    }
    facts->options.operation = PLAN_MERGE;
    facts->options.format = (enum shard_format)format;
    facts->options.dtype = (enum llavamed_result_dtype)dtype;
    facts->options.inv_freq = (enum llavamed_inv_freq)inv_freq;
    facts->verify = (enum llavamed_verify)verify;
    return facts->options.max_shard_bytes > 0;
}

static bool read_key(const struct json_value *root, struct part_plan_facts *facts)
{
    const struct json_value *row[JOURNAL_PARTS];
    bool good = part_read_row(json_member(root, "key"), row, JOURNAL_PARTS);
    for (int i = 0; good && i < JOURNAL_PARTS; i++) {
        good = part_read_hex(row[i], SHA256_HEX_BYTES - 1, false, facts->key.sha256[i]);
    }
    return good && part_read_hex(json_member(root, "recorded"), SHA256_HEX_BYTES - 1, false, facts->recorded_sha256);
}

static bool read_head(const struct json_value *root, struct part_plan *plan)
{
    const struct json_value *parts = json_member(root, "parts");
    const struct json_value *dropped = json_member(root, "dropped");
    const struct json_value *training = json_member(root, "training");
    uint64_t n_parts;
    uint64_t n_dropped;
    if (parts == NULL || !json_integer(parts, &n_parts) || n_parts < 1 || n_parts > LLAVAMED_PARTS_MAX ||
        dropped == NULL || !json_integer(dropped, &n_dropped) || n_dropped > TENSOR_COUNT_MAX || training == NULL ||
        !read_flag(training, "ckpt2", &plan->facts.is_ckpt2) ||
        !read_dtype(part_member_string(root, "model_dtype"), &plan->plan.model_dtype)) {
        return false;
    }
    plan->facts.n_parts = (unsigned)n_parts;
    plan->plan.n_dropped = (size_t)n_dropped;
    return read_options(root, &plan->facts) && read_key(root, &plan->facts);
}

/* ---- Lists ---- */

/* *good is false for what is no file. */
static enum llavamed_status read_file(const struct json_value *value, struct source_file *file, bool *good,
                                      struct llavamed_error *error)
{
    const struct json_value *row[5];
    bool is_member = false;
    *good = part_read_row(value, row, 5) && part_read_number(row[1], &file->n_bytes) &&
            read_flag(row[2], "member", &is_member) &&
            part_read_hex(row[3], SHA256_HEX_BYTES - 1, true, file->recorded.sha256[RECORDED_GIVEN]) &&
            part_read_hex(row[4], MD5_HEX_BYTES - 1, true, file->recorded.md5);
    if (!*good) {
        return LLAVAMED_OK;
    }
    file->archive = is_member ? (const void *)&an_archive : NULL;
    enum llavamed_status status = part_take_text(row[0], &file->name, error);
    *good = file->name != NULL;
    return status;
}

static enum llavamed_status read_input(const struct json_value *value, struct part_plan_input *input, bool *good,
                                       struct llavamed_error *error)
{
    static const char *const formats[] = {"safetensors", "torch", "meta"};
    const struct json_value *file = NULL;
    const struct json_value *tensors = json_kind_of(value) == JSON_OBJECT ? json_member(value, "tensors") : NULL;
    size_t n_files = 0;
    uint64_t n_tensors = 0;
    int format;
    *good = tensors != NULL && json_integer(tensors, &n_tensors) && n_tensors <= TENSOR_COUNT_MAX &&
            part_member_array(value, "files", &file, &n_files) && n_files > 0 &&
            n_files <= PART_PLAN_FILES_MAX &&
            find_word(part_member_string(value, "format"), formats, 3, &format);
    if (!*good) {
        return LLAVAMED_OK;
    }
    input->n_tensors = (size_t)n_tensors;
    input->format = strdup(formats[format]);
    input->files = calloc(n_files, sizeof *input->files);
    if (input->format == NULL || input->files == NULL) {
        return llavamed_fail_memory(error, n_files * sizeof *input->files, "the files of a plan");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (; status == LLAVAMED_OK && *good && file != NULL; file = json_next(file)) {
        status = read_file(file, &input->files[input->n_files++], good, error);
    }
    /* The first of several may be the archive of all others; nothing is in an archive that is not there. */
    *good = *good && input->files[0].archive == NULL;
    return status;
}

static enum llavamed_status read_inputs(const struct json_value *root, struct part_plan *plan, bool *good,
                                        struct llavamed_error *error)
{
    const struct json_value *row[INPUT_ROLES];
    enum llavamed_status status = LLAVAMED_OK;
    *good = part_read_row(json_member(root, "inputs"), row, INPUT_ROLES);
    for (int i = 0; status == LLAVAMED_OK && *good && i < INPUT_ROLES; i++) {
        status = read_input(row[i], &plan->inputs[i], good, error);
    }
    return status;
}

static enum llavamed_status read_warnings(const struct json_value *root, struct part_plan *plan, bool *good,
                                          struct llavamed_error *error)
{
    const struct json_value *value = NULL;
    size_t n_warnings = 0;
    enum llavamed_status status = LLAVAMED_OK;
    *good = part_member_array(root, "warnings", &value, &n_warnings);
    if (*good) {
        plan->warnings = calloc(n_warnings + 1, sizeof *plan->warnings);
        status = plan->warnings != NULL
                     ? LLAVAMED_OK
                     : llavamed_fail_memory(error, n_warnings * sizeof *plan->warnings, "the warnings of a plan");
    }
    for (; status == LLAVAMED_OK && *good && value != NULL; value = json_next(value)) {
        char *text = NULL;
        status = part_take_text(value, &text, error);
        *good = text != NULL;
        if (text != NULL) {
            plan->warnings[plan->n_warnings++] = text;
        }
    }
    return status;
}

static bool read_shape(const struct json_value *value, uint64_t shape[TENSOR_RANK_MAX], unsigned *rank)
{
    const char *at = json_string(value);
    *rank = 0;
    if (at == NULL) {
        return false;
    }
    while (*at != '\0') {
        bool is_last = strchr(at, 'x') == NULL;
        if (*rank == TENSOR_RANK_MAX || !part_take_number(&at, is_last ? '\0' : 'x', &shape[*rank]) ||
            (!is_last && *at == '\0')) {
            return false;
        }
        ++*rank;
    }
    return true;
}

static enum llavamed_status read_tensor(const char *path, const struct json_value *value, struct plan_tensor *tensor,
                                        bool *good, struct llavamed_error *error)
{
    const struct json_value *row[5];
    const char *actions[PLAN_ACTION_COUNT];
    uint64_t shape[TENSOR_RANK_MAX];
    unsigned rank = 0;
    int action = 0;
    enum dtype dtype = DTYPE_F32;
    for (int i = 0; i < PLAN_ACTION_COUNT; i++) {
        actions[i] = plan_action_name(PLAN_MERGE, (enum plan_action)i);
    }
    char *name = NULL;
    *good = part_read_row(value, row, 5) && find_word(json_string(row[1]), actions, PLAN_ACTION_COUNT, &action) &&
            read_dtype(json_string(row[2]), &dtype) && dtype_bytes(dtype) > 0 && read_shape(row[3], shape, &rank) &&
            read_flag(row[4], "bits", &tensor->by_bits);
    enum llavamed_status status = *good ? part_take_text(row[0], &name, error) : LLAVAMED_OK;
    *good = name != NULL;
    if (name != NULL) {
        status = tensor_init(&tensor->out, path, name, strlen(name), dtype, shape, rank, error);
        tensor->action = (enum plan_action)action;
        tensor->base_index = TENSOR_NOT_FOUND;
        tensor->delta_index = TENSOR_NOT_FOUND;
    }
    free(name);
    if (status == LLAVAMED_STATUS_TENSOR_NAME || status == LLAVAMED_STATUS_SHAPE_INVALID) {
        *good = false;
        return LLAVAMED_OK;
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *name_a = a;
    const char *const *name_b = b;
    return strcmp(*name_a, *name_b);
}

/* No two files of a result, and no two tensors, have one name. */
static enum llavamed_status check_names(const struct plan *plan, bool *good, struct llavamed_error *error)
{
    const char **names = calloc(plan->n_tensors + 1, sizeof *names);
    if (names == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *names, "the names of tensors");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        names[i] = plan->tensors[i].out.name;
    }
    qsort(names, plan->n_tensors, sizeof *names, compare_names);
    for (size_t i = 1; i < plan->n_tensors; i++) {
        *good = *good && strcmp(names[i - 1], names[i]) != 0;
    }
    free(names);
    return LLAVAMED_OK;
}

static enum llavamed_status read_tensors(const char *path, const struct json_value *root, struct plan *plan, bool *good,
                                         struct llavamed_error *error)
{
    const struct json_value *value = NULL;
    size_t n_tensors = 0;
    *good = part_member_array(root, "tensors", &value, &n_tensors) && n_tensors > 0 && n_tensors <= TENSOR_COUNT_MAX;
    if (!*good) {
        return LLAVAMED_OK;
    }
    plan->tensors = calloc(n_tensors, sizeof *plan->tensors);
    if (plan->tensors == NULL) {
        return llavamed_fail_memory(error, n_tensors * sizeof *plan->tensors, "the tensors of a plan");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (; status == LLAVAMED_OK && *good && value != NULL; value = json_next(value)) {
        status = read_tensor(path, value, &plan->tensors[plan->n_tensors++], good, error);
    }
    return status == LLAVAMED_OK && *good ? check_names(plan, good, error) : status;
}

/* ---- All of it ---- */

static enum llavamed_status read_root(const char *path, const struct json_value *root, struct part_plan *plan,
                                      struct llavamed_error *error)
{
    const char *format = part_member_string(root, "format");
    const char *tool = part_member_string(root, "tool");
    uint64_t version = 0;
    if (format == NULL || strcmp(format, PART_PLAN_FORMAT) != 0) {
        return fail(path, "its format is another one", error);
    }
    const struct json_value *number = json_member(root, "version");
    if (tool == NULL || strcmp(tool, LLAVAMED_VERSION) != 0 || number == NULL || !json_integer(number, &version) ||
        version != PART_PLAN_VERSION) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER,
                            "%s: the parts were made by another version of this program (got %.40s, want %s)", path,
                            tool == NULL ? "none" : tool, LLAVAMED_VERSION);
        llavamed_hint(error, "finish with the version that made them, or remove the directory and run all parts again");
        return LLAVAMED_STATUS_PARTS_DIFFER;
    }
    bool good = read_head(root, plan);
    enum llavamed_status status = LLAVAMED_OK;
    if (good) {
        status = read_inputs(root, plan, &good, error);
    }
    if (status == LLAVAMED_OK && good) {
        status = read_warnings(root, plan, &good, error);
    }
    if (status == LLAVAMED_OK && good) {
        status = read_tensors(path, root, &plan->plan, &good, error);
    }
    return status == LLAVAMED_OK && !good ? fail(path, "something in it is missing or cannot be", error) : status;
}

enum llavamed_status part_plan_read(const char *path, const char *text, size_t n_bytes, struct part_plan *plan,
                                    struct llavamed_error *error)
{
    struct part_plan made = {.plan = {.operation = PLAN_MERGE}};
    struct json *json = NULL;
    enum llavamed_status status = json_parse(path, text, n_bytes, false, &json, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = fail(path, "not JSON", error);
    }
    if (status == LLAVAMED_OK) {
        status = read_root(path, json_root(json), &made, error);
    }
    json_free(json);
    if (status == LLAVAMED_OK) {
        status = plan_cut_shards(&made.facts.options, &made.plan, error);
        if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
            status = fail(path, "its tensors make no shards", error);
        }
    }
    if (status == LLAVAMED_OK) {
        status = sha256_of(text, n_bytes, made.sha256, error);
    }
    if (status != LLAVAMED_OK) {
        part_plan_deinit(&made);
        return status;
    }
    *plan = made;
    return LLAVAMED_OK;
}

void part_plan_deinit(struct part_plan *plan)
{
    plan_deinit(&plan->plan);
    for (int i = 0; i < INPUT_ROLES; i++) {
        for (size_t k = 0; k < plan->inputs[i].n_files; k++) {
            free(plan->inputs[i].files[k].name);
        }
        free(plan->inputs[i].files);
        free(plan->inputs[i].format);
    }
    for (size_t i = 0; i < plan->n_warnings; i++) {
        free(plan->warnings[i]);
    }
    free(plan->warnings);
    memset(plan, 0, sizeof *plan);
}
