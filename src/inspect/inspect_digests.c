/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "inspect/inspect_parts.h"
#include "inspect/tensor_pass.h"
#include "integrity/tensor_digest.h"

struct digests {
    const struct tensor_set *set;
    struct llavamed_inspect_result *result;
    struct sha256_stream **streams; /* owned, one for each worker; NULL between tensors */
};

static enum llavamed_status begin_digest(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct digests *digests = state;
    const struct tensor *row = &digests->set->tensors[tensor];
    return tensor_digest_begin(dtype_name(row->dtype), row->shape, row->rank, &digests->streams[worker], error);
}

static enum llavamed_status feed_digest(void *state, unsigned worker, const void *elems, size_t n_bytes,
                                        struct llavamed_error *error)
{
    struct digests *digests = state;
    return sha256_update(digests->streams[worker], elems, n_bytes, error);
}

static enum llavamed_status end_digest(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct digests *digests = state;
    enum llavamed_status status =
        sha256_finish(digests->streams[worker], digests->result->tensors[tensor].sha256, error);
    sha256_free(digests->streams[worker]);
    digests->streams[worker] = NULL;
    return status;
}

static enum llavamed_status digest_model(const struct digests *digests, struct llavamed_error *error)
{
    size_t n = digests->set->n_tensors;
    struct tensor_digest *rows = calloc(n + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *rows, "the list of digests");
    }
    for (size_t i = 0; i < n; i++) {
        const struct llavamed_inspect_tensor *tensor = &digests->result->tensors[digests->set->by_name[i]];
        rows[i] = (struct tensor_digest){tensor->name, tensor->sha256};
    }
    enum llavamed_status status = model_digest_of(rows, n, digests->result->model_sha256, error);
    free(rows);
    return status;
}

/* What a failed pass leaves is no digest of anything. */
static void forget(struct llavamed_inspect_result *result)
{
    for (size_t i = 0; i < result->n_tensors; i++) {
        result->tensors[i].sha256[0] = '\0';
    }
}

enum llavamed_status inspect_digest(struct source *source, const struct llavamed_inspect_settings *settings,
                                    const struct llavamed_observer *observer, struct llavamed_inspect_result *result,
                                    struct llavamed_error *error)
{
    struct digests digests = {.set = source_tensors(source), .result = result};
    const struct tensor_pass pass = {
        .source = source,
        .n_threads = settings->n_threads,
        .max_memory_bytes = settings->max_memory_bytes,
        .stop_signal = settings->stop_signal,
        .observer = observer,
        .check = "digests of the tensors",
        .state = &digests,
        .begin = begin_digest,
        .feed = feed_digest,
        .end = end_digest,
    };
    unsigned n_workers = 0;
    enum llavamed_status status = tensor_pass_workers(&pass, &n_workers, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    result->n_threads = n_workers;
    digests.streams = calloc(n_workers, sizeof(struct sha256_stream *));
    if (digests.streams == NULL) {
        return llavamed_fail_memory(error, n_workers * sizeof(struct sha256_stream *), "workers");
    }
    status = tensor_pass_run(&pass, n_workers, error);
    if (status == LLAVAMED_OK) {
        status = digest_model(&digests, error);
    }
    if (status != LLAVAMED_OK) {
        forget(result);
    }
    for (unsigned i = 0; i < n_workers; i++) {
        sha256_free(digests.streams[i]);
    }
    free(digests.streams);
    return status;
}
