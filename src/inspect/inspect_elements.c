/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "inspect/inspect_parts.h"
#include "inspect/tensor_pass.h"
#include "inspect/tensor_stats.h"
#include "integrity/tensor_digest.h"

/* What a worker has of its tensor. */
struct hands_on {
    struct sha256_stream *digest; /* owned; NULL between tensors, and when no digests are asked for */
    struct tensor_stats stats;
    bool has_stats;
    size_t element_bytes;
};

struct elements {
    const struct llavamed_inspect_settings *settings;
    const struct tensor_set *set;
    struct llavamed_inspect_result *result;
    const struct kernel_set *kernels;
    struct hands_on *workers; /* owned */
};

static enum llavamed_status begin_tensor(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct elements *elements = state;
    struct hands_on *own = &elements->workers[worker];
    const struct tensor *row = &elements->set->tensors[tensor];
    own->element_bytes = dtype_bytes(row->dtype);
    own->has_stats = elements->settings->stats && tensor_stats_fits(row->dtype);
    if (own->has_stats) {
        tensor_stats_begin(&own->stats, elements->kernels, row->dtype);
    }
    return elements->settings->digests
               ? tensor_digest_begin(dtype_name(row->dtype), row->shape, row->rank, &own->digest, error)
               : LLAVAMED_OK;
}

static enum llavamed_status feed_tensor(void *state, unsigned worker, const void *elems, size_t n_bytes,
                                        struct llavamed_error *error)
{
    struct elements *elements = state;
    struct hands_on *own = &elements->workers[worker];
    if (own->has_stats) {
        tensor_stats_feed(&own->stats, elems, n_bytes / own->element_bytes);
    }
    return own->digest == NULL ? LLAVAMED_OK : sha256_update(own->digest, elems, n_bytes, error);
}

static enum llavamed_status end_tensor(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct elements *elements = state;
    struct hands_on *own = &elements->workers[worker];
    struct llavamed_inspect_tensor *row = &elements->result->tensors[tensor];
    if (own->has_stats) {
        row->stats = tensor_stats_end(&own->stats);
    }
    enum llavamed_status status = own->digest == NULL ? LLAVAMED_OK : sha256_finish(own->digest, row->sha256, error);
    sha256_free(own->digest);
    own->digest = NULL;
    return status;
}

static enum llavamed_status digest_model(const struct elements *elements, struct llavamed_error *error)
{
    size_t n = elements->set->n_tensors;
    struct tensor_digest *rows = calloc(n + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *rows, "the list of digests");
    }
    for (size_t i = 0; i < n; i++) {
        const struct llavamed_inspect_tensor *tensor = &elements->result->tensors[elements->set->by_name[i]];
        rows[i] = (struct tensor_digest){tensor->name, tensor->sha256};
    }
    enum llavamed_status status = model_digest_of(rows, n, elements->result->model_sha256, error);
    free(rows);
    return status;
}

/* What a failed pass leaves is of nothing. */
static void forget(struct llavamed_inspect_result *result)
{
    for (size_t i = 0; i < result->n_tensors; i++) {
        result->tensors[i].sha256[0] = '\0';
        result->tensors[i].stats = (struct llavamed_inspect_stats){0};
    }
}

static const char *check_name(const struct llavamed_inspect_settings *settings)
{
    return !settings->stats     ? "digests of the tensors"
           : !settings->digests ? "statistics of the tensors"
                                : "digests and statistics of the tensors";
}

enum llavamed_status inspect_elements(struct source *source, const struct llavamed_inspect_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_inspect_result *result,
                                      struct llavamed_error *error)
{
    struct elements elements = {
        .settings = settings,
        .set = source_tensors(source),
        .result = result,
        .kernels = kernel_best(),
    };
    const struct tensor_pass pass = {
        .source = source,
        .n_threads = settings->n_threads,
        .max_memory_bytes = settings->max_memory_bytes,
        .stop_signal = settings->stop_signal,
        .observer = observer,
        .check = check_name(settings),
        .state = &elements,
        .begin = begin_tensor,
        .feed = feed_tensor,
        .end = end_tensor,
    };
    unsigned n_workers = 0;
    enum llavamed_status status = tensor_pass_workers(&pass, &n_workers, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    result->n_threads = n_workers;
    elements.workers = calloc(n_workers, sizeof *elements.workers);
    if (elements.workers == NULL) {
        return llavamed_fail_memory(error, n_workers * sizeof *elements.workers, "workers");
    }
    status = tensor_pass_run(&pass, n_workers, error);
    if (status == LLAVAMED_OK && settings->digests) {
        status = digest_model(&elements, error);
    }
    if (status != LLAVAMED_OK) {
        forget(result);
    }
    for (unsigned i = 0; i < n_workers; i++) {
        sha256_free(elements.workers[i].digest);
    }
    free(elements.workers);
    return status;
}
