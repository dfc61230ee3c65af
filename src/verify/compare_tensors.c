/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/compare_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "source/source.h"

#define READ_BYTES 131072

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

/* Elements of both sides. */
struct compared_run {
    uint64_t first_elem;
    uint64_t n_elems;
    size_t element_bytes;
    const uint8_t *got;
    const uint8_t *want;
};

/* Adds what differs in a run to the row of its tensor. */
static void note_differences(struct tensor_comparison *comparison, struct compared_tensor *row,
                             const struct compared_run *run)
{
    const size_t n_bytes = run->element_bytes;
    uint64_t n_different = 0;
    uint64_t first = run->n_elems;
    for (uint64_t i = run->n_elems; i > 0; i--) {
        if (memcmp(run->got + (i - 1) * n_bytes, run->want + (i - 1) * n_bytes, n_bytes) != 0) {
            n_different++;
            first = i - 1;
        }
    }
    pthread_mutex_lock(&comparison->mutex);
    if (row->n_different == 0 || run->first_elem + first < row->first) {
        row->first = run->first_elem + first;
        memcpy(row->got, run->got + first * n_bytes, n_bytes);
        memcpy(row->want, run->want + first * n_bytes, n_bytes);
    }
    row->n_different += n_different;
    pthread_mutex_unlock(&comparison->mutex);
}

/* How many elements are read at a time: so few that they are compared in the caches, if the source reads them well. */
static uint64_t elems_at_a_time(const struct tensor_comparison *comparison, size_t held, size_t element_bytes)
{
    return source_grain(comparison->held, held) > 1 ? UINT64_MAX : READ_BYTES / element_bytes;
}

static enum llavamed_status take(void *state, const struct pipeline_piece *piece, struct llavamed_error *error)
{
    struct tensor_comparison *comparison = state;
    struct compared_tensor *row = &comparison->rows[piece->tensor];
    enum llavamed_status status = LLAVAMED_OK;
    if (!row->is_compared) {
        return LLAVAMED_OK;
    }
    const size_t element_bytes = piece->n_bytes / (size_t)piece->n_elems;
    const uint64_t most = elems_at_a_time(comparison, row->held, element_bytes);
    for (uint64_t done = 0; status == LLAVAMED_OK && done < piece->n_elems;) {
        const uint64_t n = min_u64(most, piece->n_elems - done);
        const struct source_run elems = {row->held, piece->first_elem + done, n};
        const struct compared_run run = {
            .first_elem = elems.first_elem,
            .n_elems = n,
            .element_bytes = element_bytes,
            .got = piece->room,
            .want = (const uint8_t *)piece->bytes + done * element_bytes,
        };
        status = source_read_noting(comparison->held, &elems, piece->room, NULL, error);
        if (status == LLAVAMED_OK && memcmp(run.got, run.want, (size_t)n * element_bytes) != 0) {
            note_differences(comparison, row, &run);
        }
        done += n;
    }
    return status;
}

struct pipeline_sink tensor_comparison_sink(struct tensor_comparison *comparison)
{
    return (struct pipeline_sink){.state = comparison, .take = take};
}
