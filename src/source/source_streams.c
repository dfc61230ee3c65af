/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that are read from front to back: their streams, and what is kept of them for a look. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/phase.h"
#include "core/stop_signal.h"
#include "source/archive.h"
#include "source/source_parts.h"

/* Room for what is read ahead. */
#define LOOK_BYTES 1048576

static int compare_kept(const void *a, const void *b)
{
    const struct source_kept *x = a;
    const struct source_kept *y = b;
    if (x->run.tensor != y->run.tensor) {
        return x->run.tensor < y->run.tensor ? -1 : 1;
    }
    return (x->run.first_elem > y->run.first_elem) - (x->run.first_elem < y->run.first_elem);
}

size_t source_streams(const struct source *source)
{
    return source->layout->streams == NULL ? 0 : source->layout->streams(source->state);
}

enum llavamed_status source_stream_next(struct source *source, size_t stream, struct source_run *run,
                                        struct llavamed_error *error)
{
    return source->layout->stream_next(source->state, stream, run, error);
}

/* The first that is kept of this tensor, or of what comes after it. */
static size_t find_kept(const struct source *source, size_t tensor)
{
    size_t low = 0;
    size_t high = source->n_kept;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source->kept[middle].run.tensor < tensor) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Copies what a run of elements brought of a kept one. Runs of a tensor come in order, so its last element ends it. */
static void keep_from(struct source_kept *kept, const struct source_run *run, const uint8_t *elems,
                      size_t element_bytes)
{
    uint64_t first = max_u64(kept->run.first_elem, run->first_elem);
    uint64_t end = min_u64(kept->run.first_elem + kept->run.n_elems, run->first_elem + run->n_elems);
    if (first < end) {
        memcpy(kept->bytes + (first - kept->run.first_elem) * element_bytes,
               elems + (first - run->first_elem) * element_bytes, (size_t)(end - first) * element_bytes);
        kept->complete = kept->complete || end == kept->run.first_elem + kept->run.n_elems;
    }
}

enum llavamed_status source_stream_read(struct source *source, size_t stream, uint64_t n_elems, void *buffer,
                                        struct llavamed_error *error)
{
    struct source_run run;
    enum llavamed_status status = source->layout->stream_next(source->state, stream, &run, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    assert(n_elems > 0 && n_elems <= run.n_elems);
    run.n_elems = n_elems;
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    status = source->layout->stream_read(source->state, stream, n_elems, buffer, error);
    (void)phase_change(before);
    size_t element_bytes = dtype_bytes(source->set.tensors[run.tensor].dtype);
    for (size_t i = find_kept(source, run.tensor);
         status == LLAVAMED_OK && i < source->n_kept && source->kept[i].run.tensor == run.tensor; i++) {
        keep_from(&source->kept[i], &run, buffer, element_bytes);
    }
    return status;
}

enum llavamed_status source_keep(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 struct llavamed_error *error)
{
    if (source_streams(source) == 0 || n_elems == 0) {
        return LLAVAMED_OK;
    }
    size_t n_bytes = (size_t)n_elems * dtype_bytes(source->set.tensors[index].dtype);
    struct source_kept *kept = reallocarray(source->kept, source->n_kept + 1, sizeof *kept);
    if (kept == NULL) {
        return llavamed_fail_memory(error, (source->n_kept + 1) * sizeof *kept, "what is kept of a source");
    }
    source->kept = kept;
    uint8_t *bytes = malloc(n_bytes);
    if (bytes == NULL) {
        return llavamed_fail_memory(error, n_bytes, "what is kept of a source");
    }
    size_t at = source->n_kept++;
    const struct source_kept made = {.run = {index, first_elem, n_elems}, .bytes = bytes};
    for (; at > 0 && compare_kept(&made, &kept[at - 1]) < 0; at--) {
        kept[at] = kept[at - 1];
    }
    kept[at] = made;
    return LLAVAMED_OK;
}

/* The same range, complete; NULL when there is none. */
static const struct source_kept *kept_range(const struct source *source, const struct source_run *wanted)
{
    for (size_t i = find_kept(source, wanted->tensor);
         i < source->n_kept && source->kept[i].run.tensor == wanted->tensor; i++) {
        const struct source_kept *kept = &source->kept[i];
        if (kept->complete && kept->run.first_elem == wanted->first_elem && kept->run.n_elems == wanted->n_elems) {
            return kept;
        }
    }
    return NULL;
}

bool source_has(const struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems)
{
    const struct source_run wanted = {index, first_elem, n_elems};
    return source_streams(source) == 0 || kept_range(source, &wanted) != NULL;
}

void source_peek_kept(const struct source *source, const struct source_run *run, void *buffer)
{
    const struct source_kept *kept = kept_range(source, run);
    assert(kept != NULL);
    memcpy(buffer, kept->bytes, (size_t)run->n_elems * dtype_bytes(source->set.tensors[run->tensor].dtype));
}

static enum llavamed_status look_into_stream(struct source *source, size_t stream, uint64_t least_bytes, void *buffer,
                                             struct llavamed_error *error)
{
    uint64_t left = max_u64(source->layout->stream_bytes(source->state, stream) / SOURCE_LOOK_PART, least_bytes);
    struct source_run run;
    enum llavamed_status status = source_stream_next(source, stream, &run, error);
    while (status == LLAVAMED_OK && left > 0 && run.n_elems > 0) {
        status = stop_signal_check(source->stop_signal, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        size_t element_bytes = dtype_bytes(source->set.tensors[run.tensor].dtype);
        uint64_t n_elems = min_u64(run.n_elems, LOOK_BYTES / element_bytes);
        status = source_stream_read(source, stream, n_elems, buffer, error);
        left -= min_u64(left, n_elems * element_bytes);
        if (status == LLAVAMED_OK && left > 0) {
            status = source_stream_next(source, stream, &run, error);
        }
    }
    return status == LLAVAMED_OK ? source->layout->stream_rewind(source->state, stream, error) : status;
}

enum llavamed_status source_look_ahead(struct source *source, uint64_t least_bytes, struct llavamed_error *error)
{
    size_t n_streams = source_streams(source);
    if (n_streams == 0 || source->n_kept == 0) {
        return LLAVAMED_OK;
    }
    void *buffer = malloc(LOOK_BYTES);
    if (buffer == NULL) {
        return llavamed_fail_memory(error, LOOK_BYTES, "a look into a source");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_streams; i++) {
        status = look_into_stream(source, i, least_bytes, buffer, error);
    }
    free(buffer);
    return status == LLAVAMED_OK && source->archive != NULL
               ? input_file_check_unchanged(archive_file(source->archive), error)
               : status;
}

void source_kept_deinit(struct source *source)
{
    for (size_t i = 0; i < source->n_kept; i++) {
        free(source->kept[i].bytes);
    }
    free(source->kept);
}
