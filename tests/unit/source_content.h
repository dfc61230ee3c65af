/* SPDX-License-Identifier: Apache-2.0 */
/* All elements of a source in memory, read from front to back or in any order. */
#ifndef UNIT_SOURCE_CONTENT_H
#define UNIT_SOURCE_CONTENT_H

#include "core/checked.h"
#include "source/source.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

/* Of the last call that failed, here and in the test. */
static struct llavamed_error error;

struct content {
    size_t n_tensors;
    uint8_t **tensors; /* owned, each of exactly its size */
};

static inline void content_init(struct content *content, const struct source *source)
{
    const struct tensor_set *set = source_tensors(source);
    content->n_tensors = set->n_tensors;
    content->tensors = calloc(set->n_tensors + 1, sizeof *content->tensors);
    temp_dir_require(content->tensors != NULL, "calloc");
    for (size_t i = 0; i < set->n_tensors; i++) {
        content->tensors[i] = malloc(set->tensors[i].n_bytes + 1);
        temp_dir_require(content->tensors[i] != NULL, "malloc");
        memset(content->tensors[i], 0xa5, set->tensors[i].n_bytes + 1);
    }
}

static inline void content_deinit(struct content *content)
{
    for (size_t i = 0; i < content->n_tensors; i++) {
        free(content->tensors[i]);
    }
    free(content->tensors);
    *content = (struct content){0};
}

/* At most `max_reads` reads of at most `most` elements; *ended: that was the end. */
static inline enum llavamed_status read_stream(struct source *source, size_t stream, uint64_t most, size_t max_reads,
                                               struct content *content, bool *ended)
{
    *ended = false;
    for (size_t i = 0; i < max_reads; i++) {
        struct source_run run = {0};
        enum llavamed_status status = source_stream_next(source, stream, &run, &error);
        if (status != LLAVAMED_OK || run.n_elems == 0) {
            *ended = status == LLAVAMED_OK;
            return status;
        }
        const struct tensor *tensor = &source_tensors(source)->tensors[run.tensor];
        size_t element = dtype_bytes(tensor->dtype);
        uint64_t n = run.n_elems < most ? run.n_elems : most;
        EXPECT(run.first_elem + run.n_elems == tensor->n_elems);
        /* A buffer of its own, so that a sanitizer sees what is written behind it. */
        uint8_t *piece = malloc(n * element);
        temp_dir_require(piece != NULL, "malloc");
        status = source_stream_read(source, stream, n, piece, &error);
        if (status == LLAVAMED_OK) {
            memcpy(content->tensors[run.tensor] + run.first_elem * element, piece, n * element);
        }
        free(piece);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}

static inline enum llavamed_status read_content(struct source *source, uint64_t most, struct content *content)
{
    static uint8_t scratch[65536];
    const struct tensor_set *set = source_tensors(source);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < source_streams(source); i++) {
        bool ended;
        status = read_stream(source, i, most, SIZE_MAX, content, &ended);
    }
    for (size_t i = 0; status == LLAVAMED_OK && source_streams(source) == 0 && i < set->n_tensors; i++) {
        if (dtype_bytes(set->tensors[i].dtype) > 0) {
            status = source_read(source, i, 0, set->tensors[i].n_elems, content->tensors[i], &error);
        }
    }
    return status == LLAVAMED_OK ? source_finish(source, scratch, sizeof scratch, &error) : status;
}

static inline bool same_content(const struct source *a, const struct content *x, const struct source *b,
                                const struct content *y)
{
    const struct tensor_set *set = source_tensors(a);
    bool same = set->n_tensors == source_tensors(b)->n_tensors;
    for (size_t i = 0; same && i < set->n_tensors; i++) {
        size_t other = tensor_set_find(source_tensors(b), set->tensors[i].name);
        same = other != TENSOR_NOT_FOUND && tensor_same_shape(&set->tensors[i], &source_tensors(b)->tensors[other]) &&
               set->tensors[i].dtype == source_tensors(b)->tensors[other].dtype &&
               memcmp(x->tensors[i], y->tensors[other], set->tensors[i].n_bytes) == 0;
    }
    return same;
}

#endif
