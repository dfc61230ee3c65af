/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/target_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "merge/manifest.h"
#include "source/model_config.h"

#define HEX_DIGITS 8

void target_sums_deinit(struct target_sums *sums)
{
    free(sums->crc32);
    free(sums->is_known);
    *sums = (struct target_sums){0};
}

static bool adds_bits(const struct plan *plan, size_t tensor)
{
    return plan->operation == PLAN_MERGE && plan->tensors[tensor].by_bits;
}

/* Exactly eight lower-case hexadecimal digits, as the manifest has them. */
static bool crc32_of_text(const char *text, uint32_t *crc32)
{
    if (text == NULL || strlen(text) != HEX_DIGITS || strspn(text, "0123456789abcdef") != HEX_DIGITS) {
        return false;
    }
    *crc32 = (uint32_t)strtoul(text, NULL, 16);
    return true;
}

static const char *text_member(const struct json_value *object, const char *key)
{
    const struct json_value *value = json_kind_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;
    return value == NULL ? NULL : json_string(value);
}

/* Takes what the manifest says of tensors of the delta whose bits are added. */
static void take(const struct json_value *root, const struct tensor_set *set, const bool *is_wanted,
                 struct target_sums *sums)
{
    const struct json_value *list = json_kind_of(root) == JSON_OBJECT ? json_member(root, "tensors") : NULL;
    for (const struct json_value *item = list == NULL ? NULL : json_first(list); item != NULL; item = json_next(item)) {
        const char *name = text_member(item, "name");
        size_t index = name == NULL ? TENSOR_NOT_FOUND : tensor_set_find(set, name);
        uint32_t crc32;
        if (index != TENSOR_NOT_FOUND && is_wanted[index] && crc32_of_text(text_member(item, "target_crc32"), &crc32)) {
            sums->n_known += sums->is_known[index] ? 0 : 1;
            sums->is_known[index] = true;
            sums->crc32[index] = crc32;
        }
    }
}

static enum llavamed_status read_manifest(const struct source_small_file *file, const struct tensor_set *set,
                                          const bool *is_wanted, struct target_sums *sums, struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes;
    struct json *json = NULL;
    enum llavamed_status status = source_small_file_read(file, TARGET_SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = json_parse(file->path, text, n_bytes, false, &json, error);
    }
    if (status == LLAVAMED_OK) {
        take(json_root(json), set, is_wanted, sums);
    }
    json_free(json);
    free(text);
    return status;
}

/* Of which tensors of the delta bits are added; owned by the caller. */
static bool *wanted_of(const struct tensor_set *set, const struct plan *plan)
{
    bool *is_wanted = calloc(set->n_tensors + 1, sizeof *is_wanted);
    for (size_t i = 0; is_wanted != NULL && i < plan->n_tensors; i++) {
        if (adds_bits(plan, i)) {
            is_wanted[plan->tensors[i].delta_index] = true;
        }
    }
    return is_wanted;
}

/* Whether a failure to read is this machine's, and not what the file is. */
static bool is_of_run(enum llavamed_status status)
{
    return status == LLAVAMED_STATUS_NO_MEMORY || status == LLAVAMED_STATUS_IO;
}

enum llavamed_status target_sums_read(const struct source *delta, const struct plan *plan, struct target_sums *sums,
                                      char *why, struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(delta);
    const struct source_small_file *files;
    size_t n_files = source_small_files(delta, &files);
    const struct source_small_file *file = model_config_find(files, n_files, MANIFEST_FILE_NAME);
    *sums = (struct target_sums){0};
    why[0] = '\0';
    for (size_t i = 0; i < plan->n_tensors; i++) {
        sums->n_wanted += adds_bits(plan, i);
    }
    if (sums->n_wanted == 0 || file == NULL) {
        (void)snprintf(why, LLAVAMED_MESSAGE_BYTES, "%s",
                       sums->n_wanted == 0 ? "" : "there is no " MANIFEST_FILE_NAME " beside it");
        return LLAVAMED_OK;
    }
    bool *is_wanted = wanted_of(set, plan);
    sums->crc32 = calloc(set->n_tensors, sizeof *sums->crc32);
    sums->is_known = calloc(set->n_tensors, sizeof *sums->is_known);
    struct llavamed_error failure = {0};
    enum llavamed_status status;
    if (is_wanted == NULL || sums->crc32 == NULL || sums->is_known == NULL) {
        status = llavamed_fail_memory(&failure, set->n_tensors * sizeof *sums->crc32, "the target's checksums");
    } else {
        status = read_manifest(file, set, is_wanted, sums, &failure);
    }
    free(is_wanted);
    if (status != LLAVAMED_OK && !is_of_run(status)) {
        (void)snprintf(why, LLAVAMED_MESSAGE_BYTES, "%s", failure.message);
        status = LLAVAMED_OK;
    } else if (status != LLAVAMED_OK && error != NULL) {
        *error = failure;
    }
    if (status == LLAVAMED_OK && why[0] == '\0' && sums->n_known < sums->n_wanted) {
        (void)snprintf(why, LLAVAMED_MESSAGE_BYTES, "%s has the target's checksum of %zu of %zu tensors", file->path,
                       sums->n_known, sums->n_wanted);
    }
    return status;
}

/* Whether a tensor of a result is another than it was; *want becomes the CRC-32 that it had. */
static bool differs(const struct target_sums *sums, const struct plan_tensor *tensor,
                    const struct pipeline_tensor *became, uint32_t *want)
{
    if (sums->n_known == 0 || tensor->delta_index == TENSOR_NOT_FOUND || !sums->is_known[tensor->delta_index]) {
        return false;
    }
    *want = sums->crc32[tensor->delta_index];
    return became->crc32 != *want;
}

enum llavamed_status target_sums_check(const struct target_sums *sums, const struct plan *plan,
                                       const struct pipeline_outcome *outcome, const char *base, const char *delta,
                                       struct llavamed_error *error)
{
    size_t n_wrong = 0;
    uint32_t want = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        n_wrong += differs(sums, &plan->tensors[i], &outcome->tensors[i], &want);
    }
    if (n_wrong == 0) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_PAIR_WRONG_BASE,
                        "%s: with this base the exact delta %s does not give the model it was made of: %zu of %zu "
                        "tensors are not what its " MANIFEST_FILE_NAME " says of them",
                        base, delta, n_wrong, sums->n_known);
    llavamed_hint(error, "take the base that the delta was made from: inputs.base in the delta's " MANIFEST_FILE_NAME
                         " has its SHA-256s; or is the delta damaged? llavamed-verify tells");
    for (size_t i = 0; i < plan->n_tensors; i++) {
        if (differs(sums, &plan->tensors[i], &outcome->tensors[i], &want)) {
            llavamed_problem(error, "%s: CRC-32 %08x, want %08x", plan->tensors[i].out.name,
                             (unsigned)outcome->tensors[i].crc32, (unsigned)want);
        }
    }
    return LLAVAMED_STATUS_PAIR_WRONG_BASE;
}
