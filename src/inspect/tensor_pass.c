/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task of the crew is one bufferful, so that a signal and the meter need not wait for a whole tensor. A source that
 * is read in any order gives its tensors in its own order, which is that of the files; one that is read from front to
 * back gives a worker a stream to its end.
 */
#include "inspect/tensor_pass.h"

#include <stdlib.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/crew.h"

#define CHUNK_BYTES_USUAL 1048576

/* What a worker is at. */
struct hand {
    uint8_t *buffer; /* owned */
    size_t buffer_bytes;
    bool has_stream;       /* in a source of streams: this one is not at its end */
    size_t stream;
    bool has_tensor;       /* begun and not ended */
    struct source_run run; /* what of it is to come */
    uint64_t done_bytes;   /* by the task */
    bool stream_ended;     /* by the task */
};

struct pass_run {
    const struct tensor_pass *pass;
    const struct tensor_set *set;
    uint64_t share_bytes; /* the largest buffer of a worker */
    size_t n_streams;
    size_t next; /* tensor or stream that nobody has taken */
    struct hand *hands;
    uint64_t done_bytes;
    uint64_t total_bytes;
    uint64_t started_ns;
};

/* ---- Tasks ---- */

static enum crew_turn take_locked(void *state, unsigned worker)
{
    struct pass_run *run = state;
    struct hand *hand = &run->hands[worker];
    if (hand->has_tensor || hand->has_stream) {
        return CREW_TASK;
    }
    if (run->n_streams > 0) {
        if (run->next == run->n_streams) {
            return CREW_OVER;
        }
        hand->stream = run->next++;
        hand->has_stream = true;
        return CREW_TASK;
    }
    while (run->next < run->set->n_tensors && run->set->tensors[run->next].n_elems == 0) {
        run->next++; /* these are done beforehand */
    }
    if (run->next == run->set->n_tensors) {
        return CREW_OVER;
    }
    hand->run = (struct source_run){run->next, 0, run->set->tensors[run->next].n_elems};
    run->next++;
    return CREW_TASK;
}

/* Elements of a tensor that are read at once: whole grains where the share of memory has room for one. */
static uint64_t chunk_of(const struct pass_run *run, size_t tensor)
{
    uint64_t element_bytes = dtype_bytes(run->set->tensors[tensor].dtype);
    const struct tensor_pass *pass = run->pass;
    uint64_t grain = pass->grain != NULL    ? pass->grain(pass->state, tensor)
                     : run->n_streams > 0 ? 1
                                          : source_grain(pass->source, tensor);
    uint64_t most = run->share_bytes / element_bytes;
    uint64_t usual = min_u64(CHUNK_BYTES_USUAL / element_bytes, most);
    if (grain > most) {
        return most;
    }
    return grain > usual ? grain : usual / grain * grain;
}

static enum llavamed_status make_room(struct hand *hand, uint64_t n_bytes, struct llavamed_error *error)
{
    if (hand->buffer_bytes >= n_bytes) {
        return LLAVAMED_OK;
    }
    free(hand->buffer);
    hand->buffer_bytes = 0;
    hand->buffer = malloc((size_t)n_bytes);
    if (hand->buffer == NULL) {
        return llavamed_fail_memory(error, n_bytes, "a buffer");
    }
    hand->buffer_bytes = (size_t)n_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status bring(const struct pass_run *run, struct hand *hand, uint64_t n_elems,
                                  struct llavamed_error *error)
{
    if (run->n_streams > 0) {
        return source_stream_read(run->pass->source, hand->stream, n_elems, hand->buffer, error);
    }
    return source_read(run->pass->source, hand->run.tensor, hand->run.first_elem, n_elems, hand->buffer, error);
}

/* One bufferful of the tensor that hand->run is of, which begins or ends with it perhaps. */
static enum llavamed_status feed_some(struct pass_run *run, unsigned worker, struct llavamed_error *error)
{
    const struct tensor_pass *pass = run->pass;
    struct hand *hand = &run->hands[worker];
    const size_t tensor = hand->run.tensor;
    const uint64_t element_bytes = dtype_bytes(run->set->tensors[tensor].dtype);
    const uint64_t n_elems = min_u64(chunk_of(run, tensor), hand->run.n_elems);
    enum llavamed_status status = make_room(hand, n_elems * element_bytes, error);
    if (status == LLAVAMED_OK && !hand->has_tensor) {
        hand->has_tensor = true;
        status = pass->begin(pass->state, worker, tensor, error);
    }
    if (status == LLAVAMED_OK) {
        status = bring(run, hand, n_elems, error);
    }
    if (status == LLAVAMED_OK) {
        status = pass->feed(pass->state, worker, hand->buffer, (size_t)(n_elems * element_bytes), error);
    }
    hand->run.first_elem += n_elems;
    hand->run.n_elems -= n_elems;
    hand->done_bytes = n_elems * element_bytes;
    if (status == LLAVAMED_OK && hand->run.n_elems == 0) {
        hand->has_tensor = false;
        status = pass->end(pass->state, worker, tensor, error);
    }
    return status;
}

static enum llavamed_status work(void *state, unsigned worker, struct llavamed_error *error)
{
    struct pass_run *run = state;
    struct hand *hand = &run->hands[worker];
    hand->done_bytes = 0;
    hand->stream_ended = false;
    if (run->n_streams > 0 && !hand->has_tensor) {
        enum llavamed_status status = source_stream_next(run->pass->source, hand->stream, &hand->run, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        hand->stream_ended = hand->run.n_elems == 0;
    }
    return hand->stream_ended ? LLAVAMED_OK : feed_some(run, worker, error);
}

static void done_locked(void *state, unsigned worker, struct crew *crew)
{
    struct pass_run *run = state;
    struct hand *hand = &run->hands[worker];
    (void)crew;
    if (hand->stream_ended) {
        hand->has_stream = false;
    }
    __atomic_fetch_add(&run->done_bytes, hand->done_bytes, __ATOMIC_RELAXED); /* tick() reads it without the mutex */
}

static void tick(void *state)
{
    struct pass_run *run = state;
    const struct llavamed_observer *observer = run->pass->observer;
    if (observer != NULL && observer->progress != NULL) {
        const struct llavamed_progress progress = {
            .done_bytes = __atomic_load_n(&run->done_bytes, __ATOMIC_RELAXED),
            .total_bytes = run->total_bytes,
            .elapsed_ns = clock_monotonic_ns() - run->started_ns,
            .check = run->pass->check,
        };
        observer->progress(observer->context, &progress);
    }
}

/* ---- The pass ---- */

enum llavamed_status tensor_pass_workers(const struct tensor_pass *pass, unsigned *n_workers,
                                         struct llavamed_error *error)
{
    if (pass->max_memory_bytes < TENSOR_PASS_BYTES_MIN) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                            "the memory allowed is too small (got %llu bytes, want at least %d)",
                            (unsigned long long)pass->max_memory_bytes, TENSOR_PASS_BYTES_MIN);
        llavamed_hint(error, "--max-memory takes sizes like 64MiB");
        return LLAVAMED_STATUS_MEMORY_TOO_SMALL;
    }
    size_t n_streams = source_streams(pass->source);
    uint64_t n = min_u64(pass->n_threads, pass->max_memory_bytes / TENSOR_PASS_BYTES_MIN);
    n = min_u64(n, n_streams > 0 ? n_streams : source_tensors(pass->source)->n_tensors);
    *n_workers = (unsigned)max_u64(n, 1);
    return LLAVAMED_OK;
}

/* Tensors without elements, which no stream brings. And none that cannot be read. */
static enum llavamed_status pass_empty_tensors(struct pass_run *run, struct llavamed_error *error)
{
    const struct tensor_pass *pass = run->pass;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < run->set->n_tensors; i++) {
        const struct tensor *tensor = &run->set->tensors[i];
        run->total_bytes += tensor->n_bytes;
        if (tensor->n_elems == 0) {
            status = pass->begin(pass->state, 0, i, error);
            if (status == LLAVAMED_OK) {
                status = pass->end(pass->state, 0, i, error);
            }
        } else if (dtype_bytes(tensor->dtype) == 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                   "%s: the elements of %.200s take less than a byte (%s) and cannot be read",
                                   source_spec(pass->source), tensor->name, dtype_name(tensor->dtype));
        }
    }
    return status;
}

static enum llavamed_status run_crew(struct pass_run *run, unsigned n_workers, struct llavamed_error *error)
{
    const struct crew_job job = {
        .state = run,
        .n_workers = n_workers,
        .stop_signal = run->pass->stop_signal,
        .take_locked = take_locked,
        .work = work,
        .done_locked = done_locked,
        .tick = tick,
    };
    return crew_run(&job, error);
}

enum llavamed_status tensor_pass_run(const struct tensor_pass *pass, unsigned n_workers, struct llavamed_error *error)
{
    struct pass_run run = {
        .pass = pass,
        .set = source_tensors(pass->source),
        .share_bytes = pass->max_memory_bytes / n_workers,
        .n_streams = source_streams(pass->source),
        .started_ns = clock_monotonic_ns(),
    };
    run.hands = calloc(n_workers, sizeof *run.hands);
    if (run.hands == NULL) {
        return llavamed_fail_memory(error, n_workers * sizeof *run.hands, "workers");
    }
    enum llavamed_status status = pass_empty_tensors(&run, error);
    if (status == LLAVAMED_OK) {
        status = run_crew(&run, n_workers, error);
    }
    if (status == LLAVAMED_OK) {
        status = make_room(&run.hands[0], TENSOR_PASS_BYTES_MIN, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_finish(pass->source, run.hands[0].buffer, run.hands[0].buffer_bytes, error);
    }
    for (unsigned i = 0; i < n_workers; i++) {
        free(run.hands[i].buffer);
    }
    free(run.hands);
    return status;
}
