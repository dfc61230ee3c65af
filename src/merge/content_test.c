/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test is made in the delta's dtype, whatever the result's: that is where the subtraction took place. A BF16 delta
 * is tried in F16 too, as many are copies of an F16 one, and the kinder of the two counts.
 */
#include "merge/content_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/stop_signal.h"

#define PIECES_OF_MATRIX 2
#define PIECES_OF_VOCABULARY 4 /* embeddings and head */
#define WORK_BYTES ((size_t)CONTENT_PIECE_ELEMS * sizeof(uint32_t))
#define RAW_BYTES ((size_t)CONTENT_PIECE_ELEMS * sizeof(uint64_t))

struct sampler {
    const struct content_job *job;
    bool announces;  /* pieces are told to the sources, and not read */
    uint8_t *memory; /* owned: all that follows */
    void *raw_base;  /* as read */
    void *raw_delta;
    void *base; /* converted */
    void *delta;
    void *scratch;
};

/* A run of elements that base and delta share. */
struct piece {
    uint64_t base_first;
    uint64_t delta_first;
    size_t n_elems;
};

static enum llavamed_status sampler_init(struct sampler *sampler, const struct content_job *job,
                                         struct llavamed_error *error)
{
    size_t n_bytes = 2 * RAW_BYTES + 2 * WORK_BYTES + CONTENT_SCRATCH_BYTES;
    uint8_t *memory = malloc(n_bytes);
    if (memory == NULL) {
        return llavamed_fail_memory(error, n_bytes, "the content test");
    }
    *sampler = (struct sampler){
        .job = job,
        .memory = memory,
        .raw_base = memory,
        .raw_delta = memory + RAW_BYTES,
        .base = memory + 2 * RAW_BYTES,
        .delta = memory + 2 * RAW_BYTES + WORK_BYTES,
        .scratch = memory + 2 * RAW_BYTES + 2 * WORK_BYTES,
    };
    return LLAVAMED_OK;
}

/* ---- What is sampled ---- */

static const struct tensor *base_of(const struct sampler *sampler, const struct plan_tensor *tensor)
{
    return &source_tensors(sampler->job->base)->tensors[tensor->base_index];
}

static const struct tensor *delta_of(const struct sampler *sampler, const struct plan_tensor *tensor)
{
    return &source_tensors(sampler->job->delta)->tensors[tensor->delta_index];
}

enum group { GROUP_MATRICES, GROUP_NORMS, GROUP_NONE };

/* Of what a tensor is a sample. Matrices, nearly all there is, are told without a look at their names. */
static enum group group_of(const struct sampler *sampler, const struct plan_tensor *tensor)
{
    if (tensor->action != PLAN_ADD && tensor->action != PLAN_ADD_TOP_LEFT) {
        return GROUP_NONE;
    }
    const struct tensor *base = base_of(sampler, tensor);
    enum kernel_type type;
    if (base->n_elems == 0 || !kernel_type_of(base->dtype, &type) ||
        !kernel_type_of(delta_of(sampler, tensor)->dtype, &type) || type == KERNEL_F64) {
        return GROUP_NONE;
    }
    unsigned rank = tensor->out.rank;
    bool is_norm = rank == 1 && tensor->action == PLAN_ADD && content_kind_of(tensor->out.name, rank) == CONTENT_NORM;
    return is_norm ? GROUP_NORMS : rank == 2 ? GROUP_MATRICES : GROUP_NONE;
}

/* The finaliser of splitmix64: where pieces lie must look random and be the same on every run. */
static uint64_t mix(uint64_t x)
{
    x = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Piece k of n: one somewhere in each n-th part of the base's elements. */
static struct piece choose_piece(const struct tensor *base, const struct tensor *delta, uint64_t k, uint64_t n,
                                 uint64_t seed)
{
    uint64_t part = base->n_elems / n;
    uint64_t n_elems = min_u64(part, CONTENT_PIECE_ELEMS);
    uint64_t first = k * part + mix(seed * PIECES_OF_VOCABULARY + k) % (part - n_elems + 1);
    struct piece piece = {.base_first = first, .delta_first = first, .n_elems = (size_t)n_elems};
    if (base->rank == 2 && base->shape[1] != delta->shape[1]) {
        uint64_t row = first / base->shape[1];
        piece.base_first = row * base->shape[1];
        piece.delta_first = row * delta->shape[1];
        piece.n_elems = (size_t)min_u64(base->shape[1], CONTENT_PIECE_ELEMS);
    }
    return piece;
}

/* ---- Reading and counting ---- */

/* Both sources are to keep a piece. */
static enum llavamed_status keep_piece(const struct content_job *job, const struct plan_tensor *tensor,
                                       const struct piece *piece, struct llavamed_error *error)
{
    enum llavamed_status status =
        source_keep(job->delta, tensor->delta_index, piece->delta_first, piece->n_elems, error);
    return status == LLAVAMED_OK ? source_keep(job->base, tensor->base_index, piece->base_first, piece->n_elems, error)
                                 : status;
}

/* *is_there: the piece was read; false when a source does not have it yet, and while announcing. */
static enum llavamed_status read_piece(const struct sampler *sampler, const struct plan_tensor *tensor,
                                       const struct piece *piece, bool *is_there, struct llavamed_error *error)
{
    const struct content_job *job = sampler->job;
    *is_there = false;
    if (sampler->announces) {
        return keep_piece(job, tensor, piece, error);
    }
    if (!source_has(job->delta, tensor->delta_index, piece->delta_first, piece->n_elems) ||
        !source_has(job->base, tensor->base_index, piece->base_first, piece->n_elems)) {
        return LLAVAMED_OK;
    }
    *is_there = true;
    /* Some thousand reads in as many places: a cold disk takes ten seconds. */
    enum llavamed_status status = stop_signal_check(job->stop_signal, error);
    if (status == LLAVAMED_OK) {
        status =
            source_peek(job->delta, tensor->delta_index, piece->delta_first, piece->n_elems, sampler->raw_delta, error);
    }
    if (status == LLAVAMED_OK) {
        status =
            source_peek(job->base, tensor->base_index, piece->base_first, piece->n_elems, sampler->raw_base, error);
    }
    return status;
}

/* The raw elements themselves when they have the wanted type, else converted ones in `room`. */
static const void *as_type(const struct sampler *sampler, enum dtype dtype, enum kernel_type wanted, const void *raw,
                           size_t n_elems, void *room)
{
    enum kernel_type from = wanted;
    uint64_t n_overflow = 0;
    (void)kernel_type_of(dtype, &from); /* group_of() let only addable ones come this far */
    if (from == wanted) {
        return raw;
    }
    sampler->job->kernels->convert[from][wanted](room, raw, n_elems, &n_overflow);
    return room;
}

/* Values that are not finite are left out. */
static double sum_of_squares(const float *values, size_t n_elems)
{
    /* Four sums, as one would wait for each addition. No square of a float overflows a double. */
    double sums[4] = {0.0};
    size_t i = 0;
    for (; i + 4 <= n_elems; i += 4) {
        for (size_t k = 0; k < 4; k++) {
            double value = (double)values[i + k];
            sums[k] += value * value;
        }
    }
    double sum = sums[0] + sums[1] + sums[2] + sums[3];
    if (!isfinite(sum)) {
        sum = 0.0;
        i = 0;
    }
    for (; i < n_elems; i++) {
        double value = (double)values[i];
        sum += isfinite(value) ? value * value : 0.0;
    }
    return sum;
}

static void add_squares(const struct sampler *sampler, const struct plan_tensor *tensor, size_t n_elems,
                        struct content_squares *squares)
{
    const void *base =
        as_type(sampler, base_of(sampler, tensor)->dtype, KERNEL_F32, sampler->raw_base, n_elems, sampler->base);
    const void *delta =
        as_type(sampler, delta_of(sampler, tensor)->dtype, KERNEL_F32, sampler->raw_delta, n_elems, sampler->delta);
    squares->n_elems += n_elems;
    squares->base += sum_of_squares(base, n_elems);
    squares->delta += sum_of_squares(delta, n_elems);
}

static void add_figures(const struct sampler *sampler, const struct plan_tensor *tensor, enum kernel_type type,
                        size_t n_elems, struct content_figures *figures)
{
    const void *base =
        as_type(sampler, base_of(sampler, tensor)->dtype, type, sampler->raw_base, n_elems, sampler->base);
    const void *delta =
        as_type(sampler, delta_of(sampler, tensor)->dtype, type, sampler->raw_delta, n_elems, sampler->delta);
    content_figures_add(figures, sampler->job->kernels, type, base, delta, n_elems, sampler->scratch);
}

static enum llavamed_status sample_norm(const struct sampler *sampler, const struct plan_tensor *tensor,
                                        struct content_report *report, struct llavamed_error *error)
{
    struct piece piece = {.n_elems = (size_t)min_u64(tensor->out.n_elems, CONTENT_PIECE_ELEMS)};
    bool is_there;
    enum llavamed_status status = read_piece(sampler, tensor, &piece, &is_there, error);
    if (status == LLAVAMED_OK && is_there) {
        add_squares(sampler, tensor, piece.n_elems, &report->squares[CONTENT_NORM]);
    }
    report->is_part = report->is_part || !is_there;
    return status;
}

/* From the kindest to the hardest: a doubt between two ways to count is for the base. */
static int severity(enum content_fit fit)
{
    static const int severities[CONTENT_FIT_COUNT] = {
        [CONTENT_FIT_GOOD] = 0, [CONTENT_FIT_UNKNOWN] = 1, [CONTENT_FIT_NEAR] = 2, [CONTENT_FIT_BAD] = 3};
    return severities[fit];
}

static enum llavamed_status sample_matrix(const struct sampler *sampler, const struct plan_tensor *tensor,
                                          uint64_t seed, struct content_report *report, struct llavamed_error *error)
{
    const struct tensor *base = base_of(sampler, tensor);
    const struct tensor *delta = delta_of(sampler, tensor);
    struct content_sample *sample = &report->samples[report->n_samples];
    struct content_figures in_f16 = {0};
    enum kernel_type type = KERNEL_F16;
    (void)kernel_type_of(delta->dtype, &type);
    bool is_whole = true;
    uint64_t n_pieces =
        sample->kind == CONTENT_EMBED || sample->kind == CONTENT_HEAD ? PIECES_OF_VOCABULARY : PIECES_OF_MATRIX;
    for (uint64_t k = 0; base->n_elems >= n_pieces && k < n_pieces; k++) {
        struct piece piece = choose_piece(base, delta, k, n_pieces, seed);
        bool is_there;
        enum llavamed_status status = read_piece(sampler, tensor, &piece, &is_there, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (!is_there) {
            is_whole = false;
            continue;
        }
        add_squares(sampler, tensor, piece.n_elems, &report->squares[sample->kind]);
        add_figures(sampler, tensor, type, piece.n_elems, &sample->figures);
        if (type == KERNEL_BF16) {
            add_figures(sampler, tensor, KERNEL_F16, piece.n_elems, &in_f16);
        }
    }
    sample->is_f16 = type == KERNEL_F16;
    sample->fit = content_figures_judge(&sample->figures);
    if (type == KERNEL_BF16) {
        enum content_fit fit = content_figures_judge(&in_f16);
        if (severity(fit) < severity(sample->fit)) {
            sample->fit = fit;
            sample->figures = in_f16;
        }
        /* A delta that was rounded to BF16 while its base was not can look like a stranger's. */
        if (base->dtype != DTYPE_BF16 && severity(sample->fit) > severity(CONTENT_FIT_UNKNOWN)) {
            sample->fit = CONTENT_FIT_UNKNOWN;
        }
    }
    report->n_samples += is_whole;
    report->is_part = report->is_part || !is_whole;
    return LLAVAMED_OK;
}

/* How many to go on after one that is taken: not a multiple of seven, the matrices of a layer, lest a kind be left out.
 */
static uint64_t stride_for(uint64_t n)
{
    uint64_t stride = n / CONTENT_MATRICES_MAX + (n % CONTENT_MATRICES_MAX != 0);
    return stride > 1 && stride % 7 == 0 ? stride + 1 : max_u64(stride, 1);
}

static enum llavamed_status sample_all(const struct sampler *sampler, struct content_report *report,
                                       struct llavamed_error *error)
{
    const struct plan *plan = sampler->job->plan;
    uint64_t n[] = {[GROUP_MATRICES] = 0, [GROUP_NORMS] = 0, [GROUP_NONE] = 0};
    for (size_t i = 0; i < plan->n_tensors; i++) {
        n[group_of(sampler, &plan->tensors[i])]++;
    }
    const uint64_t strides[] = {[GROUP_MATRICES] = stride_for(n[GROUP_MATRICES]),
                                [GROUP_NORMS] = stride_for(n[GROUP_NORMS])};
    report->samples = calloc(min_u64(n[GROUP_MATRICES], CONTENT_MATRICES_MAX) + 1, sizeof *report->samples);
    if (report->samples == NULL) {
        return llavamed_fail_memory(error, CONTENT_MATRICES_MAX * sizeof *report->samples, "the content test");
    }
    enum llavamed_status status = LLAVAMED_OK;
    uint64_t seen[] = {[GROUP_MATRICES] = 0, [GROUP_NORMS] = 0};
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        enum group group = group_of(sampler, tensor);
        if (group == GROUP_NONE) {
            continue;
        }
        uint64_t ordinal = seen[group]++;
        if (ordinal % strides[group] != 0) {
            continue;
        }
        if (group == GROUP_NORMS) {
            status = sample_norm(sampler, tensor, report, error);
            continue;
        }
        report->samples[report->n_samples] = (struct content_sample){
            .name = tensor->out.name,
            .kind = content_kind_of(tensor->out.name, tensor->out.rank),
            .layer = content_layer_of(tensor->out.name)};
        status = sample_matrix(sampler, tensor, ordinal, report, error);
    }
    return status;
}

/* ---- The verdict ---- */

static enum llavamed_status refuse(const struct content_job *job, const struct content_report *report,
                                   const struct content_verdict *verdict, struct llavamed_error *error)
{
    bool is_full_delta = verdict->status == LLAVAMED_STATUS_PAIR_FULL_DELTA;
    (void)llavamed_fail(error, verdict->status, "%s: %s", source_spec(is_full_delta ? job->delta : job->base),
                        verdict->text);
    llavamed_hint(error, "%s", verdict->hint);
    enum content_fit wanted = verdict->cause == CONTENT_CAUSE_FINE_TUNE ? CONTENT_FIT_NEAR : CONTENT_FIT_BAD;
    for (size_t i = 0; !is_full_delta && i < report->n_samples; i++) {
        const struct content_sample *sample = &report->samples[i];
        if (sample->fit == wanted) {
            llavamed_problem(error, "%s: %.2f %% exact (chance gives %.2f %%)", sample->name,
                             100.0 * (1.0 - content_rate(&sample->figures)),
                             100.0 * (1.0 - content_control_rate(&sample->figures)));
        }
    }
    return verdict->status;
}

/* What more of the contents may change is no reason to refuse yet. */
static void judge_early(const struct content_report *report, struct content_verdict *verdict)
{
    verdict->is_part = report->is_part;
    if (!report->is_part) {
        return;
    }
    /* Magnitudes are those of all samples, also where it cannot be judged whether they fit. */
    size_t n = verdict->status == LLAVAMED_STATUS_PAIR_FULL_DELTA ? report->n_samples : verdict->n_judged;
    if (n < CONTENT_EARLY_MATRICES_MIN || verdict->cause == CONTENT_CAUSE_FINE_TUNE) {
        verdict->status = LLAVAMED_OK;
    }
    if (verdict->cause == CONTENT_CAUSE_UNDECIDED) {
        verdict->text[0] = '\0';
    }
}

static enum llavamed_status take_samples(const struct content_job *job, bool announces, struct content_report *report,
                                         struct llavamed_error *error)
{
    struct sampler sampler = {0};
    enum llavamed_status status = sampler_init(&sampler, job, error);
    if (status == LLAVAMED_OK) {
        sampler.announces = announces;
        status = sample_all(&sampler, report, error);
    }
    free(sampler.memory);
    return status;
}

enum llavamed_status content_announce(const struct content_job *job, struct llavamed_error *error)
{
    struct content_report report = {0};
    if (source_streams(job->base) + source_streams(job->delta) == 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = take_samples(job, true, &report, error);
    content_report_deinit(&report);
    return status;
}

enum llavamed_status content_test(const struct content_job *job, struct content_verdict *verdict,
                                  struct llavamed_error *error)
{
    struct content_report report = {0};
    enum llavamed_status status = take_samples(job, false, &report, error);
    if (status == LLAVAMED_OK) {
        struct content_verdict found;
        content_decide(&report, &found);
        if (job->early) {
            judge_early(&report, &found);
        }
        if (found.status == LLAVAMED_OK || job->allow_unknown_base) {
            *verdict = found;
        } else {
            status = refuse(job, &report, &found, error);
        }
    }
    content_report_deinit(&report);
    return status;
}
