/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/span_crc.h"

#include <stdlib.h>

#include "core/checked.h"
#include "core/sort.h"
#include "integrity/crc32.h"
#include "source/strided.h"

void span_crc_deinit(struct span_crc *crc)
{
    free(crc->spans);
    free(crc->active);
    *crc = (struct span_crc){0};
}

enum llavamed_status span_crc_add(struct span_crc *crc, uint64_t begin, uint64_t n_bytes, size_t owner,
                                  struct llavamed_error *error)
{
    if (n_bytes > UINT64_MAX - begin) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "a tensor does not fit 64 bits");
    }
    if (crc->n_spans == crc->capacity) {
        size_t capacity = crc->capacity == 0 ? 64 : crc->capacity * 2;
        struct crc_span *spans = reallocarray(crc->spans, capacity, sizeof *spans);
        if (spans == NULL) {
            return llavamed_fail_memory(error, capacity * sizeof *spans, "the places of tensors");
        }
        crc->spans = spans;
        crc->capacity = capacity;
    }
    crc->spans[crc->n_spans++] = (struct crc_span){.begin = begin, .n_bytes = n_bytes, .owner = owner};
    return LLAVAMED_OK;
}

static int compare_spans(const void *a, const void *b)
{
    const struct crc_span *span_a = a;
    const struct crc_span *span_b = b;
    if (span_a->begin != span_b->begin) {
        return span_a->begin < span_b->begin ? -1 : 1;
    }
    return span_a->n_bytes < span_b->n_bytes ? -1 : span_a->n_bytes > span_b->n_bytes;
}

enum llavamed_status span_crc_start(struct span_crc *crc, uint64_t file_bytes, struct llavamed_error *error)
{
    sort_array(crc->spans, crc->n_spans, sizeof *crc->spans, compare_spans);
    uint64_t sum = 0;
    for (size_t i = 0; i < crc->n_spans; i++) {
        struct crc_span *span = &crc->spans[i];
        span->is_alike = i > 0 && compare_spans(span, &crc->spans[i - 1]) == 0;
        span->is_done = span->n_bytes == 0;
        if (!span->is_alike && !checked_add_u64(sum, span->n_bytes, &sum)) {
            sum = UINT64_MAX;
            break;
        }
    }
    if (!strided_size_is_sane(sum, file_bytes)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "its tensors repeat its bytes too often to be checked (got %llu bytes of tensors in a "
                             "file of %llu, want at most %d times)",
                             (unsigned long long)sum, (unsigned long long)file_bytes, STRIDED_RATIO_MAX);
    }
    crc->active = calloc(crc->n_spans + 1, sizeof *crc->active);
    return crc->active != NULL
               ? LLAVAMED_OK
               : llavamed_fail_memory(error, crc->n_spans * sizeof *crc->active, "the tensors of a file");
}

/* The part of these bytes, which are those at crc->offset, that lies in the span. True when it ends in them. */
static bool feed_span(struct crc_span *span, uint64_t offset, const uint8_t *bytes, size_t n_bytes)
{
    uint64_t from = max_u64(span->begin, offset) - offset;
    uint64_t end = span->begin + span->n_bytes;
    uint64_t to = min_u64(end - offset, n_bytes);
    span->crc32 = crc32_update(span->crc32, bytes + from, (size_t)(to - from));
    span->is_done = end - offset <= n_bytes;
    return span->is_done;
}

void span_crc_feed(struct span_crc *crc, const uint8_t *bytes, size_t n_bytes)
{
    for (; crc->next < crc->n_spans && crc->spans[crc->next].begin < crc->offset + n_bytes; crc->next++) {
        const struct crc_span *span = &crc->spans[crc->next];
        if (!span->is_done && !span->is_alike) {
            crc->active[crc->n_active++] = crc->next;
        }
    }
    /* A span costs a step for every piece that it has bytes in, so that all steps together are bounded as the bytes. */
    for (size_t i = 0; i < crc->n_active;) {
        if (feed_span(&crc->spans[crc->active[i]], crc->offset, bytes, n_bytes)) {
            crc->active[i] = crc->active[--crc->n_active];
        } else {
            i++;
        }
    }
    crc->offset += n_bytes;
}

void span_crc_finish(struct span_crc *crc)
{
    for (size_t i = 1; i < crc->n_spans; i++) {
        if (crc->spans[i].is_alike) {
            crc->spans[i].crc32 = crc->spans[i - 1].crc32;
            crc->spans[i].is_done = crc->spans[i - 1].is_done;
        }
    }
}
