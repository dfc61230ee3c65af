/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the source that leads: the one that is read from front to back, else the first. The elements of the
 * other, which is read in any order, are brought as they are wanted.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "core/reserved.h"
#include "inspect/tensor_diff.h"
#include "inspect/tensor_pass.h"

#define MEMORY_BYTES_DEFAULT 268435456u
#define SHOWN_NAME_BYTES 200

/* Half of the memory is for either source. */
#define DIFF_BYTES_MIN (UINT64_C(2) * TENSOR_PASS_BYTES_MIN)

struct diff_worker {
    struct tensor_diff diff;
    uint8_t *buffer; /* owned: elements of the source that follows */
    size_t buffer_bytes;
    size_t row;
    bool compares;
    uint64_t next_elem;
    size_t lead_bytes; /* of an element */
    size_t follow_bytes;
};

struct diff_run {
    struct source *source;
    struct source *other;
    bool other_leads;
    struct llavamed_diff_result *result;
    size_t *row_of;    /* owned: of each tensor of the source that leads */
    size_t *follow_of; /* owned: of each row, its tensor in the source that follows, or TENSOR_NOT_FOUND */
    uint64_t share_bytes;
    const struct kernel_set *kernels;
    struct diff_worker *workers; /* owned */
};

/* ---- Settings and results ---- */

void llavamed_diff_settings_init(struct llavamed_diff_settings *settings)
{
    *settings = (struct llavamed_diff_settings){.max_memory_bytes = MEMORY_BYTES_DEFAULT};
}

void llavamed_diff_result_free(struct llavamed_diff_result *result)
{
    for (size_t i = 0; i < result->n_tensors; i++) {
        free(result->tensors[i].name);
    }
    free(result->tensors);
    memset(result, 0, sizeof *result);
}

const char *llavamed_diff_kind_name(enum llavamed_diff_kind kind)
{
    static const char *const names[] = {
#define DIFF_NAME(kind, name) [LLAVAMED_DIFF_##kind] = (name),
        LLAVAMED_DIFF_LIST(DIFF_NAME)
#undef DIFF_NAME
    };
    return kind < LLAVAMED_DIFF_KINDS ? names[kind] : "";
}

/* ---- Which tensors there are ---- */

static struct source *lead_of(const struct diff_run *run)
{
    return run->other_leads ? run->other : run->source;
}

static struct source *follow_of(const struct diff_run *run)
{
    return run->other_leads ? run->source : run->other;
}

static enum llavamed_diff_kind kind_of(const struct tensor *a, const struct tensor *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? LLAVAMED_DIFF_ONLY_OTHER : LLAVAMED_DIFF_ONLY_SOURCE;
    }
    return !tensor_same_shape(a, b) ? LLAVAMED_DIFF_SHAPE
           : a->dtype != b->dtype   ? LLAVAMED_DIFF_DTYPE
                                    : LLAVAMED_DIFF_EQUAL;
}

/* A row of the result for tensor `a` of the source and `b` of the other, TENSOR_NOT_FOUND where one has it not. */
static enum llavamed_status add_row(struct diff_run *run, size_t a, size_t b, struct llavamed_error *error)
{
    struct llavamed_diff_result *result = run->result;
    const struct tensor *in_source = a == TENSOR_NOT_FOUND ? NULL : &source_tensors(run->source)->tensors[a];
    const struct tensor *in_other = b == TENSOR_NOT_FOUND ? NULL : &source_tensors(run->other)->tensors[b];
    const struct tensor *one = in_source != NULL ? in_source : in_other;
    assert(one != NULL);
    struct llavamed_diff_tensor *row = &result->tensors[result->n_tensors];
    row->name = strdup(one->name);
    if (row->name == NULL) {
        return llavamed_fail_memory(error, strlen(one->name) + 1, "a name");
    }
    row->kind = kind_of(in_source, in_other);
    row->source_dtype = in_source == NULL ? NULL : dtype_name(in_source->dtype);
    row->other_dtype = in_other == NULL ? NULL : dtype_name(in_other->dtype);
    row->n_elems = one->n_elems;
    size_t lead = run->other_leads ? b : a;
    if (lead != TENSOR_NOT_FOUND) {
        run->row_of[lead] = result->n_tensors;
    }
    run->follow_of[result->n_tensors] = run->other_leads ? a : b;
    result->n_tensors++;
    return LLAVAMED_OK;
}

/* Both lists by name, merged. */
static enum llavamed_status add_rows(struct diff_run *run, struct llavamed_error *error)
{
    const struct tensor_set *a = source_tensors(run->source);
    const struct tensor_set *b = source_tensors(run->other);
    size_t n = a->n_tensors + b->n_tensors;
    run->result->tensors = calloc(n + 1, sizeof *run->result->tensors);
    run->row_of = calloc(n + 1, sizeof *run->row_of);
    run->follow_of = calloc(n + 1, sizeof *run->follow_of);
    if (run->result->tensors == NULL || run->row_of == NULL || run->follow_of == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *run->result->tensors, "the list of tensors");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0, k = 0; status == LLAVAMED_OK && (i < a->n_tensors || k < b->n_tensors);) {
        size_t at_a = i < a->n_tensors ? a->by_name[i] : TENSOR_NOT_FOUND;
        size_t at_b = k < b->n_tensors ? b->by_name[k] : TENSOR_NOT_FOUND;
        int order = at_a == TENSOR_NOT_FOUND   ? 1
                    : at_b == TENSOR_NOT_FOUND ? -1
                                               : strcmp(a->tensors[at_a].name, b->tensors[at_b].name);
        status = add_row(run, order <= 0 ? at_a : TENSOR_NOT_FOUND, order >= 0 ? at_b : TENSOR_NOT_FOUND, error);
        i += order <= 0 ? 1 : 0;
        k += order >= 0 ? 1 : 0;
    }
    return status;
}

/* ---- The pass ---- */

static enum llavamed_status begin_tensor(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct diff_run *run = state;
    struct diff_worker *own = &run->workers[worker];
    (void)error;
    own->row = run->row_of[tensor];
    const struct llavamed_diff_tensor *row = &run->result->tensors[own->row];
    size_t follow = run->follow_of[own->row];
    own->compares = false;
    if (follow == TENSOR_NOT_FOUND || row->kind == LLAVAMED_DIFF_SHAPE) {
        return LLAVAMED_OK;
    }
    enum dtype lead_dtype = source_tensors(lead_of(run))->tensors[tensor].dtype;
    enum dtype follow_dtype = source_tensors(follow_of(run))->tensors[follow].dtype;
    own->compares = tensor_diff_fits(lead_dtype, follow_dtype);
    own->next_elem = 0;
    own->lead_bytes = dtype_bytes(lead_dtype);
    own->follow_bytes = dtype_bytes(follow_dtype);
    if (own->compares) {
        tensor_diff_begin(&own->diff, run->kernels, run->other_leads ? follow_dtype : lead_dtype,
                          run->other_leads ? lead_dtype : follow_dtype);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status make_room(struct diff_worker *own, size_t n_bytes, struct llavamed_error *error)
{
    if (own->buffer_bytes >= n_bytes) {
        return LLAVAMED_OK;
    }
    free(own->buffer);
    own->buffer_bytes = 0;
    own->buffer = malloc(n_bytes);
    if (own->buffer == NULL) {
        return llavamed_fail_memory(error, n_bytes, "a buffer");
    }
    own->buffer_bytes = n_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status feed_tensor(void *state, unsigned worker, const void *elems, size_t n_bytes,
                                        struct llavamed_error *error)
{
    struct diff_run *run = state;
    struct diff_worker *own = &run->workers[worker];
    const uint8_t *lead = elems;
    enum llavamed_status status = LLAVAMED_OK;
    if (!own->compares) {
        return LLAVAMED_OK;
    }
    for (size_t n_left = n_bytes / own->lead_bytes; status == LLAVAMED_OK && n_left > 0;) {
        size_t n = (size_t)min_u64(n_left, run->share_bytes / own->follow_bytes);
        status = make_room(own, n * own->follow_bytes, error);
        if (status == LLAVAMED_OK) {
            status = source_read(follow_of(run), run->follow_of[own->row], own->next_elem, n, own->buffer, error);
        }
        if (status == LLAVAMED_OK) {
            tensor_diff_feed(&own->diff, run->other_leads ? own->buffer : lead, run->other_leads ? lead : own->buffer,
                             n);
        }
        lead += n * own->lead_bytes;
        own->next_elem += n;
        n_left -= n;
    }
    return status;
}

static enum llavamed_status end_tensor(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct diff_run *run = state;
    struct diff_worker *own = &run->workers[worker];
    struct llavamed_diff_tensor *row = &run->result->tensors[own->row];
    (void)tensor;
    (void)error;
    if (own->compares) {
        row->figures = tensor_diff_end(&own->diff);
        bool is_other = row->kind == LLAVAMED_DIFF_EQUAL && row->figures.n_different > 0;
        row->kind = is_other ? LLAVAMED_DIFF_BITS : row->kind;
    }
    return LLAVAMED_OK;
}

static uint64_t grain_of(void *state, size_t tensor)
{
    const struct diff_run *run = state;
    size_t follow = run->follow_of[run->row_of[tensor]];
    uint64_t own = source_streams(lead_of(run)) > 0 ? 1 : source_grain(lead_of(run), tensor);
    return follow == TENSOR_NOT_FOUND ? own : max_u64(own, source_grain(follow_of(run), follow));
}

/* Of the source that follows: its checksums, through a worker's buffer. */
static enum llavamed_status finish_follower(struct diff_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = make_room(&run->workers[0], TENSOR_PASS_BYTES_MIN, error);
    return status == LLAVAMED_OK
               ? source_finish(follow_of(run), run->workers[0].buffer, run->workers[0].buffer_bytes, error)
               : status;
}

static enum llavamed_status run_pass(struct diff_run *run, const struct llavamed_diff_settings *settings,
                                     const struct llavamed_observer *observer, struct llavamed_error *error)
{
    const struct tensor_pass pass = {
        .source = lead_of(run),
        .n_threads = settings->n_threads != 0 ? settings->n_threads : cpus_usable(),
        .max_memory_bytes = settings->max_memory_bytes / 2,
        .stop_signal = settings->stop_signal,
        .observer = observer,
        .check = "comparing tensors",
        .state = run,
        .grain = grain_of,
        .begin = begin_tensor,
        .feed = feed_tensor,
        .end = end_tensor,
    };
    unsigned n_workers = 0;
    enum llavamed_status status = tensor_pass_workers(&pass, &n_workers, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    run->workers = calloc(n_workers, sizeof *run->workers);
    if (run->workers == NULL) {
        return llavamed_fail_memory(error, n_workers * sizeof *run->workers, "workers");
    }
    run->share_bytes = pass.max_memory_bytes / n_workers;
    run->result->n_threads = n_workers;
    status = tensor_pass_run(&pass, n_workers, error);
    if (status == LLAVAMED_OK) {
        status = finish_follower(run, error);
    }
    for (unsigned i = 0; i < n_workers; i++) {
        free(run->workers[i].buffer);
    }
    free(run->workers);
    return status;
}

/* ---- All of it ---- */

static enum llavamed_status open_one(const char *spec, const struct llavamed_diff_settings *settings,
                                     const struct llavamed_observer *observer, struct source **out,
                                     struct llavamed_error *error)
{
    const struct source_options options = {
        .role = "checkpoint",
        .check_crc = true,
        .crc_alone = true,
        .stop_signal = settings->stop_signal,
        .observer = observer,
    };
    if (spec == NULL || spec[0] == '\0') {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "two sources are wanted");
    }
    return source_open(spec, &options, out, error);
}

static enum llavamed_status check_run(const struct diff_run *run, const struct llavamed_diff_settings *settings,
                                      struct llavamed_error *error)
{
    if (settings->max_memory_bytes < DIFF_BYTES_MIN) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                            "the memory allowed is too small (got %llu bytes, want at least %llu)",
                            (unsigned long long)settings->max_memory_bytes, (unsigned long long)DIFF_BYTES_MIN);
        llavamed_hint(error, "--max-memory takes sizes like 64MiB");
        return LLAVAMED_STATUS_MEMORY_TOO_SMALL;
    }
    if (source_streams(run->source) > 0 && source_streams(run->other) > 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: both checkpoints are compressed archives, which are read from front to back",
                            settings->other);
        llavamed_hint(error, "unpack one of the archives and give the directory");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    return LLAVAMED_OK;
}

/* Counts the kinds, and says what is not equal. */
static enum llavamed_status judge(const struct llavamed_diff_settings *settings, struct llavamed_diff_result *result,
                                  struct llavamed_error *error)
{
    static const char *const texts[] = {
        [LLAVAMED_DIFF_EQUAL] = "",
        [LLAVAMED_DIFF_BITS] = "other elements",
        [LLAVAMED_DIFF_DTYPE] = "another dtype",
        [LLAVAMED_DIFF_SHAPE] = "another shape",
        [LLAVAMED_DIFF_ONLY_SOURCE] = "not there",
        [LLAVAMED_DIFF_ONLY_OTHER] = "there alone",
    };
    const struct llavamed_diff_tensor *first = NULL;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_diff_tensor *row = &result->tensors[i];
        result->n_of_kind[row->kind]++;
        first = first == NULL && row->kind != LLAVAMED_DIFF_EQUAL ? row : first;
    }
    if (first == NULL) {
        return LLAVAMED_OK;
    }
    return llavamed_fail(error, LLAVAMED_STATUS_TENSORS_DIFFER,
                         "%s: %zu of %zu tensors are not as in %s (first %.*s: %s)", settings->other,
                         result->n_tensors - result->n_of_kind[LLAVAMED_DIFF_EQUAL], result->n_tensors,
                         settings->source, SHOWN_NAME_BYTES, first->name, texts[first->kind]);
}

enum llavamed_status llavamed_diff(const struct llavamed_diff_settings *settings,
                                   const struct llavamed_observer *observer, struct llavamed_diff_result *result,
                                   struct llavamed_error *error)
{
    const uint64_t started_ns = clock_monotonic_ns();
    struct diff_run run = {.result = result, .kernels = kernel_best()};
    memset(result, 0, sizeof *result);
    enum llavamed_status status = reserved_check(settings->reserved, error);
    if (status == LLAVAMED_OK) {
        status = open_one(settings->source, settings, observer, &run.source, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_one(settings->other, settings, observer, &run.other, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_run(&run, settings, error);
    }
    if (status == LLAVAMED_OK) {
        run.other_leads = source_streams(run.other) > 0;
        status = add_rows(&run, error);
    }
    if (status == LLAVAMED_OK) {
        status = run_pass(&run, settings, observer, error);
    }
    if (status != LLAVAMED_OK) {
        llavamed_diff_result_free(result); /* what a failed pass leaves is of nothing */
    } else {
        result->read_bytes = source_bytes_read(run.source) + source_bytes_read(run.other);
        status = judge(settings, result, error);
    }
    source_close(run.source);
    source_close(run.other);
    free(run.row_of);
    free(run.follow_of);
    result->total_ns = clock_monotonic_ns() - started_ns;
    return status;
}
