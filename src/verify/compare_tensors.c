/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/compare_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "source/source.h"

void tensor_comparison_deinit(struct tensor_comparison *comparison)
{
    free(comparison->rows);
    free(comparison->is_wanted);
    if (comparison->has_mutex) {
        (void)pthread_mutex_destroy(&comparison->mutex);
    }
    *comparison = (struct tensor_comparison){0};
}

enum llavamed_status tensor_comparison_init(struct tensor_comparison *comparison, const struct plan *plan,
                                            struct source *held, struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(held);
    *comparison = (struct tensor_comparison){.plan = plan, .held = held};
    comparison->rows = calloc(plan->n_tensors + 1, sizeof *comparison->rows);
    comparison->is_wanted = calloc(set->n_tensors + 1, sizeof *comparison->is_wanted);
    comparison->has_mutex = pthread_mutex_init(&comparison->mutex, NULL) == 0;
    if (comparison->rows == NULL || comparison->is_wanted == NULL || !comparison->has_mutex) {
        tensor_comparison_deinit(comparison);
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *comparison->rows, "a comparison");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct tensor *want = &plan->tensors[i].out;
        struct compared_tensor *row = &comparison->rows[i];
        row->held = tensor_set_find(set, want->name);
        if (row->held != TENSOR_NOT_FOUND) {
            const struct tensor *got = &set->tensors[row->held];
            comparison->is_wanted[row->held] = true;
            row->is_compared = got->dtype == want->dtype && tensor_same_shape(got, want);
        }
    }
    return LLAVAMED_OK;
}

/* What differs in a piece, as a row of its own. */
static struct compared_tensor find_differences(const struct pipeline_piece *piece)
{
    const size_t n_bytes = piece->n_bytes / (size_t)piece->n_elems;
    const uint8_t *got = piece->room;
    const uint8_t *want = piece->bytes;
    struct compared_tensor found = {0};
    for (uint64_t i = 0; i < piece->n_elems; i++, got += n_bytes, want += n_bytes) {
        if (memcmp(got, want, n_bytes) == 0) {
            continue;
        }
        if (found.n_different == 0) {
            found.first = piece->first_elem + i;
            memcpy(found.got, got, n_bytes);
            memcpy(found.want, want, n_bytes);
        }
        found.n_different++;
    }
    return found;
}

static enum llavamed_status take(void *state, const struct pipeline_piece *piece, struct llavamed_error *error)
{
    struct tensor_comparison *comparison = state;
    struct compared_tensor *row = &comparison->rows[piece->tensor];
    if (!row->is_compared) {
        return LLAVAMED_OK;
    }
    const struct source_run run = {row->held, piece->first_elem, piece->n_elems};
    enum llavamed_status status = source_read_noting(comparison->held, &run, piece->room, NULL, error);
    if (status != LLAVAMED_OK || memcmp(piece->room, piece->bytes, piece->n_bytes) == 0) {
        return status;
    }
    const struct compared_tensor found = find_differences(piece);
    pthread_mutex_lock(&comparison->mutex);
    if (row->n_different == 0 || found.first < row->first) {
        row->first = found.first;
        memcpy(row->got, found.got, sizeof row->got);
        memcpy(row->want, found.want, sizeof row->want);
    }
    row->n_different += found.n_different;
    pthread_mutex_unlock(&comparison->mutex);
    return LLAVAMED_OK;
}

struct pipeline_sink tensor_comparison_sink(struct tensor_comparison *comparison)
{
    return (struct pipeline_sink){.state = comparison, .take = take};
}
