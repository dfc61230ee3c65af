/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "integrity/tensor_digest.h"
#include "merge/manifest.h"
#include "verify/judge.h"

/* The digest of the model from those that are recorded for its tensors, or from those of their bytes. */
static enum llavamed_status digest_model(const struct recorded_output *manifest, bool of_bytes,
                                         char sha256[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    struct tensor_digest *rows = calloc(manifest->n_tensors + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, manifest->n_tensors * sizeof *rows, "the list of digests");
    }
    for (size_t i = 0; i < manifest->n_tensors; i++) {
        const struct recorded_tensor *tensor = manifest->by_name[i];
        rows[i] = (struct tensor_digest){tensor->tensor.name, of_bytes ? tensor->got_sha256 : tensor->sha256};
    }
    enum llavamed_status status = model_digest_of(rows, manifest->n_tensors, sha256, error);
    free(rows);
    return status;
}

static bool is_known_of_all(const struct recorded_output *manifest)
{
    bool all = true;
    for (size_t i = 0; i < manifest->n_tensors; i++) {
        all = all && manifest->tensors[i].got_sha256 != NULL;
    }
    return all;
}

/* The first by name that has none. */
static const char *find_without(const struct recorded_output *manifest)
{
    for (size_t i = 0; i < manifest->n_tensors; i++) {
        if (manifest->by_name[i]->sha256 == NULL) {
            return manifest->by_name[i]->tensor.name;
        }
    }
    return NULL;
}

/* One that fits the recorded digests or the bytes is right: what of these is not so was told of the tensor. */
static enum llavamed_status judge_digest(struct judge *judge, const struct recorded_output *manifest,
                                         struct llavamed_error *error)
{
    const struct finding_place place = {.file = MANIFEST_FILE_NAME};
    char recorded[SHA256_HEX_BYTES] = "";
    char of_bytes[SHA256_HEX_BYTES] = "";
    enum llavamed_status status = stop_signal_check(judge->stop_signal, error);
    if (status == LLAVAMED_OK) {
        status = digest_model(manifest, false, recorded, error);
    }
    if (status == LLAVAMED_OK) {
        status = stop_signal_check(judge->stop_signal, error);
    }
    if (status == LLAVAMED_OK && is_known_of_all(manifest)) {
        status = digest_model(manifest, true, of_bytes, error);
    }
    if (status == LLAVAMED_OK && strcmp(recorded, manifest->model_sha256) != 0 &&
        strcmp(of_bytes, manifest->model_sha256) != 0) {
        findings_add(judge->findings, LLAVAMED_FINDING_RECORD_WRONG, &place,
                     "its digest of the model is not that of the digests of its tensors (got %s, want %s)",
                     manifest->model_sha256, recorded);
    }
    return status;
}

enum llavamed_status judge_model(struct judge *judge, struct llavamed_error *error)
{
    const struct recorded_output *manifest = &judge->records->manifest;
    bool has_model = manifest->model_sha256[0] != '\0';
    struct finding_place place = {.file = MANIFEST_FILE_NAME};
    if (manifest->n_digests == 0 && has_model) {
        findings_add(judge->findings, LLAVAMED_FINDING_RECORD_INCOMPLETE, &place,
                     "has a digest of the model, and none of its tensors");
    } else if (manifest->n_digests > 0 && !has_model) {
        findings_add(judge->findings, LLAVAMED_FINDING_RECORD_INCOMPLETE, &place,
                     "has digests of tensors, and none of the model");
    }
    if (manifest->n_digests > 0 && manifest->n_digests < manifest->n_tensors) {
        place.tensor = find_without(manifest);
        findings_add(judge->findings, LLAVAMED_FINDING_RECORD_INCOMPLETE, &place,
                     "has no digest there, as %zu of %zu tensors have", manifest->n_digests, manifest->n_tensors);
        return LLAVAMED_OK;
    }
    return manifest->n_digests > 0 && has_model ? judge_digest(judge, manifest, error) : LLAVAMED_OK;
}
