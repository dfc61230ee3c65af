/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/span_crc.h"

#include <stdlib.h>

#include "core/checked.h"
#include "core/sort.h"
#include "integrity/crc32.h"
#include "integrity/tensor_digest.h"
#include "source/strided.h"

void span_crc_deinit(struct span_crc *crc)
{
    for (size_t i = 0; i < crc->n_spans; i++) {
        sha256_free(crc->spans[i].stream);
    }
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

void span_crc_want_digest(struct span_crc *crc, const struct tensor *tensor, char *sha256)
{
    crc->spans[crc->n_spans - 1].tensor = tensor;
    crc->spans[crc->n_spans - 1].sha256 = sha256;
}

static bool is_same_run(const struct crc_span *a, const struct crc_span *b)
{
    return a->begin == b->begin && a->n_bytes == b->n_bytes;
}

/* Of runs that are alike those come first that are fed anyway, so that the others take after them. */
static int compare_spans(const void *a, const void *b)
{
    const struct crc_span *span_a = a;
    const struct crc_span *span_b = b;
    if (span_a->begin != span_b->begin) {
        return span_a->begin < span_b->begin ? -1 : 1;
    }
    if (span_a->n_bytes != span_b->n_bytes) {
        return span_a->n_bytes < span_b->n_bytes ? -1 : 1;
    }
    return (span_a->tensor == NULL) - (span_b->tensor == NULL);
}

/* ---- Digests ---- */

static void begin_digest(struct span_crc *crc, struct crc_span *span)
{
    struct llavamed_error error;
    if (span->tensor != NULL && tensor_digest_begin(dtype_name(span->tensor->dtype), span->tensor->shape,
                                                    span->tensor->rank, &span->stream, &error) != LLAVAMED_OK) {
        crc->failed = true;
    }
}

static void feed_digest(struct span_crc *crc, struct crc_span *span, const uint8_t *bytes, size_t n_bytes)
{
    struct llavamed_error error;
    if (span->stream != NULL && sha256_update(span->stream, bytes, n_bytes, &error) != LLAVAMED_OK) {
        crc->failed = true;
    }
}

static void end_digest(struct span_crc *crc, struct crc_span *span)
{
    struct llavamed_error error;
    if (span->stream != NULL && sha256_finish(span->stream, span->sha256, &error) != LLAVAMED_OK) {
        crc->failed = true;
    }
    sha256_free(span->stream);
    span->stream = NULL;
}

/* ---- The reading ---- */

enum llavamed_status span_crc_start(struct span_crc *crc, uint64_t file_bytes, struct llavamed_error *error)
{
    sort_array(crc->spans, crc->n_spans, sizeof *crc->spans, compare_spans);
    uint64_t sum = 0;
    for (size_t i = 0; i < crc->n_spans; i++) {
        struct crc_span *span = &crc->spans[i];
        span->is_alike = i > 0 && span->tensor == NULL && is_same_run(span, &crc->spans[i - 1]);
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
    if (crc->active == NULL) {
        return llavamed_fail_memory(error, crc->n_spans * sizeof *crc->active, "the tensors of a file");
    }
    for (size_t i = 0; i < crc->n_spans; i++) {
        if (crc->spans[i].is_done) {
            begin_digest(crc, &crc->spans[i]);
            end_digest(crc, &crc->spans[i]);
        }
    }
    return LLAVAMED_OK;
}

/* The part of these bytes, which are those at crc->offset, that lies in the span. True when it ends in them. */
static bool feed_span(struct span_crc *crc, struct crc_span *span, const uint8_t *bytes, size_t n_bytes)
{
    uint64_t offset = crc->offset;
    uint64_t from = max_u64(span->begin, offset) - offset;
    uint64_t end = span->begin + span->n_bytes;
    uint64_t to = min_u64(end - offset, n_bytes);
    span->crc32 = crc32_update(span->crc32, bytes + from, (size_t)(to - from));
    feed_digest(crc, span, bytes + from, (size_t)(to - from));
    span->is_done = end - offset <= n_bytes;
    if (span->is_done) {
        end_digest(crc, span);
    }
    return span->is_done;
}

void span_crc_feed(struct span_crc *crc, const uint8_t *bytes, size_t n_bytes)
{
    /* A span costs a step for every piece that it has bytes in, so that all steps together are bounded as the bytes. */
    for (size_t i = 0; i < crc->n_active;) {
        if (feed_span(crc, &crc->spans[crc->active[i]], bytes, n_bytes)) {
            crc->active[i] = crc->active[--crc->n_active];
        } else {
            i++;
        }
    }
    for (; crc->next < crc->n_spans && crc->spans[crc->next].begin < crc->offset + n_bytes; crc->next++) {
        struct crc_span *span = &crc->spans[crc->next];
        if (!span->is_done && !span->is_alike) {
            begin_digest(crc, span);
            if (!feed_span(crc, span, bytes, n_bytes)) {
                crc->active[crc->n_active++] = crc->next;
            }
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

enum llavamed_status span_crc_status(const struct span_crc *crc, struct llavamed_error *error)
{
    return crc->failed ? llavamed_fail_memory(error, crc->n_spans * sizeof(void *), "the digests of tensors")
                       : LLAVAMED_OK;
}
