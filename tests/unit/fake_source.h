/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources in memory, for what stands on source/source.h: one that is read in any order, or one whose tensors come in
 * several streams. The test puts tensors into source.set and fills their bytes. A set-up that fails aborts.
 */
#ifndef UNIT_FAKE_SOURCE_H
#define UNIT_FAKE_SOURCE_H

#include "source/source_parts.h"
#include "unit/make_set.h"

#define FAKE_TENSORS_MAX 128
#define FAKE_STREAMS_MAX 5

struct fake_stream {
    size_t order[FAKE_TENSORS_MAX]; /* tensors, in the order in which they come */
    size_t n_tensors;
    size_t at;
    uint64_t next_elem;
};

struct fake_source {
    struct source source;
    uint8_t *bytes[FAKE_TENSORS_MAX]; /* of each tensor */
    struct fake_stream streams[FAKE_STREAMS_MAX];
    size_t n_streams; /* 0: read in any order */
    /* When not NULL: called before elements of a stream are brought; may fail. */
    enum llavamed_status (*fault)(struct fake_source *fake, size_t stream, struct llavamed_error *error);
};

static inline enum llavamed_status fake_read(void *state, const struct source_run *run, void *buffer,
                                             struct source_notes *notes, struct llavamed_error *error)
{
    const struct fake_source *fake = state;
    size_t element_bytes = dtype_bytes(fake->source.set.tensors[run->tensor].dtype);
    (void)notes;
    (void)error;
    memcpy(buffer, fake->bytes[run->tensor] + run->first_elem * element_bytes, run->n_elems * element_bytes);
    return LLAVAMED_OK;
}

static inline void fake_close(void *state)
{
    (void)state;
}

static inline size_t fake_streams(const void *state)
{
    return ((const struct fake_source *)state)->n_streams;
}

static inline enum llavamed_status fake_stream_next(void *state, size_t stream, struct source_run *run,
                                                    struct llavamed_error *error)
{
    struct fake_source *fake = state;
    struct fake_stream *at = &fake->streams[stream];
    (void)error;
    while (at->at < at->n_tensors && at->next_elem == fake->source.set.tensors[at->order[at->at]].n_elems) {
        at->at++;
        at->next_elem = 0;
    }
    *run = (struct source_run){0};
    if (at->at < at->n_tensors) {
        size_t tensor = at->order[at->at];
        *run = (struct source_run){tensor, at->next_elem, fake->source.set.tensors[tensor].n_elems - at->next_elem};
    }
    return LLAVAMED_OK;
}

static inline enum llavamed_status fake_stream_read(void *state, size_t stream, uint64_t n_elems, void *buffer,
                                                    struct llavamed_error *error)
{
    struct fake_source *fake = state;
    struct fake_stream *at = &fake->streams[stream];
    enum llavamed_status status = fake->fault == NULL ? LLAVAMED_OK : fake->fault(fake, stream, error);
    if (status == LLAVAMED_OK) {
        status = fake_read(fake, &(struct source_run){at->order[at->at], at->next_elem, n_elems}, buffer, NULL, error);
        at->next_elem += n_elems;
    }
    return status;
}

static inline uint64_t fake_stream_bytes(const void *state, size_t stream)
{
    const struct fake_source *fake = state;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < fake->streams[stream].n_tensors; i++) {
        n_bytes += fake->source.set.tensors[fake->streams[stream].order[i]].n_bytes;
    }
    return n_bytes;
}

static inline enum llavamed_status fake_stream_rewind(void *state, size_t stream, struct llavamed_error *error)
{
    struct fake_source *fake = state;
    (void)error;
    fake->streams[stream].at = 0;
    fake->streams[stream].next_elem = 0;
    return LLAVAMED_OK;
}

static inline uint64_t fake_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Seals the set, makes room for its bytes, and deals its tensors, in scrambled order, to n_streams streams. */
static inline void fake_source_seal(struct fake_source *fake, const char *name, size_t n_streams, uint64_t seed)
{
    static const struct source_layout any_order = {.read = fake_read, .close = fake_close};
    static const struct source_layout sequential = {.close = fake_close,
                                                    .streams = fake_streams,
                                                    .stream_next = fake_stream_next,
                                                    .stream_read = fake_stream_read,
                                                    .stream_bytes = fake_stream_bytes,
                                                    .stream_rewind = fake_stream_rewind};
    struct source *source = &fake->source;
    size_t order[FAKE_TENSORS_MAX];
    size_t n_tensors = source->set.n_tensors;
    set_seal(&source->set);
    source->layout = n_streams == 0 ? &any_order : &sequential;
    source->state = fake;
    source->spec = strdup(name);
    source->role = name;
    make_set_require(n_tensors <= FAKE_TENSORS_MAX && source->spec != NULL);
    for (size_t i = 0; i < n_tensors; i++) {
        fake->bytes[i] = malloc((size_t)source->set.tensors[i].n_bytes + 1);
        make_set_require(fake->bytes[i] != NULL);
        order[i] = i;
    }
    for (size_t i = n_tensors; i > 1; i--) {
        size_t k = fake_random(&seed) % i;
        size_t swapped = order[k];
        order[k] = order[i - 1];
        order[i - 1] = swapped;
    }
    fake->n_streams = n_streams;
    for (size_t i = 0; n_streams > 0 && i < n_tensors; i++) {
        struct fake_stream *stream = &fake->streams[i % n_streams];
        stream->order[stream->n_tensors++] = order[i];
    }
}

static inline void fake_source_free(struct fake_source *fake)
{
    for (size_t i = 0; i < fake->source.set.n_tensors; i++) {
        free(fake->bytes[i]);
    }
    free(fake->source.spec);
    source_kept_deinit(&fake->source);
    tensor_set_deinit(&fake->source.set);
}

#endif
