/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content test on a source that is read from front to back: the early look at its first part, and that the test of
 * the whole ends as it does when the same pair is read in any order.
 */
#include "core/checked.h"
#include "kernel/kernel.h"
#include "merge/content_test.h"
#include "unit/fake_source.h"
#include "unit/harness.h"

#define N_MATRICES 90
#define ROWS 96
#define BASE_ROWS 256 /* of the embeddings */
#define DELTA_ROWS 260
#define NORMS 1024

enum kind_of_delta {
    DELTA_RIGHT,
    DELTA_OF_ANOTHER, /* base */
    DELTA_OF_A_RELATIVE,
    DELTA_OF_ZEROS,
    DELTA_OF_ANOTHER_AT_THE_END, /* one matrix alone, which comes last */
    DELTA_OF_A_MODEL,
};

struct pair {
    struct fake_source base;
    struct fake_source delta;
    struct plan plan;
};

static float next_normal(uint64_t *random, float sigma)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += (float)(fake_random(random) & 0xffffff) / 16777216.0F;
    }
    return (sum - 6.0F) * sigma;
}

static uint16_t half_of(float value)
{
    uint16_t half;
    uint64_t n_overflow = 0;
    kernel_get(KERNEL_ISA_REF)->convert[KERNEL_F32][KERNEL_F16](&half, &value, 1, &n_overflow);
    return half;
}

static uint16_t add_halves(uint16_t a, uint16_t b)
{
    struct kernel_counts counts = {0};
    kernel_get(KERNEL_ISA_REF)->add[KERNEL_F16](&a, &a, &b, 1, &counts);
    return a;
}

static float float_of(uint16_t half)
{
    float value;
    uint64_t n_overflow = 0;
    kernel_get(KERNEL_ISA_REF)->convert[KERNEL_F16][KERNEL_F32](&value, &half, 1, &n_overflow);
    return value;
}

/* One element of base and delta. */
static void make_element(enum kind_of_delta kind, bool is_norm, bool is_last, uint64_t *random, uint16_t *base,
                         uint16_t *delta)
{
    bool another = kind == DELTA_OF_ANOTHER || (kind == DELTA_OF_ANOTHER_AT_THE_END && is_last);
    *base = half_of(is_norm ? 1.0F + next_normal(random, 0.1F) : next_normal(random, 0.02F));
    uint16_t from = another ? half_of(next_normal(random, 0.02F)) : *base;
    if (kind == DELTA_OF_A_RELATIVE && fake_random(random) % 3 == 0) {
        from = half_of(float_of(*base) + next_normal(random, 0.0003F));
    }
    uint16_t target = half_of(float_of(from) + next_normal(random, 0.001F));
    *delta = kind == DELTA_OF_ZEROS     ? 0
             : kind == DELTA_OF_A_MODEL ? target
                                        : add_halves(target, (uint16_t)(from ^ 0x8000));
}

static void fill(struct pair *pair, enum kind_of_delta kind)
{
    uint64_t random = 7;
    const struct tensor_set *base = &pair->base.source.set;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const struct tensor *tensor = &base->tensors[i];
        size_t index = tensor_set_find(&pair->delta.source.set, tensor->name);
        uint64_t n_delta = pair->delta.source.set.tensors[index].n_elems;
        bool is_last = strcmp(tensor->name, "model.layers.89.mlp.up_proj.weight") == 0;
        memset(pair->delta.bytes[index], 0, (size_t)n_delta * sizeof(uint16_t));
        for (uint64_t k = 0; k < tensor->n_elems; k++) {
            uint16_t elements[2];
            make_element(kind, tensor->rank == 1, is_last, &random, &elements[0], &elements[1]);
            memcpy(pair->base.bytes[i] + k * sizeof elements[0], &elements[0], sizeof elements[0]);
            memcpy(pair->delta.bytes[index] + k * sizeof elements[1], &elements[1], sizeof elements[1]);
        }
    }
}

/* The tensor of that name comes last in its stream. */
static void move_to_end(struct fake_source *fake, const char *name)
{
    size_t tensor = tensor_set_find(&fake->source.set, name);
    for (size_t i = 0; i < fake->n_streams; i++) {
        struct fake_stream *stream = &fake->streams[i];
        for (size_t k = 0; k + 1 < stream->n_tensors; k++) {
            if (stream->order[k] == tensor) {
                stream->order[k] = stream->order[k + 1];
                stream->order[k + 1] = tensor;
            }
        }
    }
}

static struct pair *pair_make(enum kind_of_delta kind, size_t base_streams, size_t delta_streams)
{
    struct pair *pair = calloc(1, sizeof *pair);
    const struct plan_options options = {.max_shard_bytes = 1000000000};
    make_set_require(pair != NULL);
    struct tensor_set *sets[2] = {&pair->base.source.set, &pair->delta.source.set};
    for (size_t i = 0; i < 2; i++) {
        char name[128];
        tensor_set_init(sets[i]);
        set_put(sets[i], "model.embed_tokens.weight", DTYPE_F16, 2, i == 0 ? BASE_ROWS : DELTA_ROWS, ROWS);
        for (unsigned k = 0; k < N_MATRICES; k++) {
            (void)snprintf(name, sizeof name, "model.layers.%u.mlp.up_proj.weight", k);
            set_put(sets[i], name, DTYPE_F16, 2, ROWS, ROWS);
        }
        for (unsigned k = 0; k < 20; k++) {
            (void)snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", k);
            set_put(sets[i], name, DTYPE_F16, 1, NORMS, 0);
        }
    }
    fake_source_seal(&pair->base, "base", base_streams, 1);
    fake_source_seal(&pair->delta, "delta", delta_streams, 1);
    move_to_end(&pair->base, "model.layers.89.mlp.up_proj.weight");
    move_to_end(&pair->delta, "model.layers.89.mlp.up_proj.weight");
    fill(pair, kind);
    make_set_require(plan_build(sets[0], "base", sets[1], "delta", &options, &pair->plan, NULL) == LLAVAMED_OK);
    return pair;
}

static void pair_free(struct pair *pair)
{
    plan_deinit(&pair->plan);
    fake_source_free(&pair->base);
    fake_source_free(&pair->delta);
    free(pair);
}

static struct content_job job_of(struct pair *pair)
{
    return (struct content_job){
        .plan = &pair->plan, .base = &pair->base.source, .delta = &pair->delta.source, .kernels = kernel_best()};
}

/* Reads every stream to its end, in pieces of a length that fits nothing. */
static void drain(struct source *source)
{
    static uint16_t buffer[1009];
    for (size_t i = 0; i < source_streams(source); i++) {
        struct source_run run;
        while (source_stream_next(source, i, &run, NULL) == LLAVAMED_OK && run.n_elems > 0) {
            EXPECT(source_stream_read(source, i, min_u64(run.n_elems, 1009), buffer, NULL) == LLAVAMED_OK);
        }
    }
}

/* What a test gave; all of it can be compared. */
struct judged {
    enum llavamed_status status;
    struct content_verdict verdict;
    struct llavamed_error error;
};

static void judge(const struct content_job *job, struct judged *judged)
{
    memset(judged, 0, sizeof *judged);
    judged->status = content_test(job, &judged->verdict, &judged->error);
}

static void judge_plain(enum kind_of_delta kind, struct judged *judged)
{
    struct pair *pair = pair_make(kind, 0, 0);
    const struct content_job job = job_of(pair);
    EXPECT(content_announce(&job, NULL) == LLAVAMED_OK);
    EXPECT(source_look_ahead(job.base, 0, NULL) == LLAVAMED_OK && source_look_ahead(job.delta, 0, NULL) == LLAVAMED_OK);
    judge(&job, judged);
    pair_free(pair);
}

static void judge_streamed(struct pair *pair, bool allow, struct judged *early, struct judged *whole)
{
    struct content_job job = job_of(pair);
    job.allow_unknown_base = allow;
    job.early = true;
    EXPECT(content_announce(&job, NULL) == LLAVAMED_OK);
    EXPECT(source_look_ahead(job.base, 0, NULL) == LLAVAMED_OK && source_look_ahead(job.delta, 0, NULL) == LLAVAMED_OK);
    judge(&job, early);
    job.early = false;
    drain(job.base);
    drain(job.delta);
    judge(&job, whole);
}

static void expect_verdicts(enum kind_of_delta kind, enum llavamed_status early_status, enum llavamed_status status)
{
    static struct judged plain;
    static struct judged early;
    static struct judged whole;
    judge_plain(kind, &plain);
    EXPECT(plain.status == status);
    for (size_t base_is_streamed = 0; base_is_streamed < 2; base_is_streamed++) {
        struct pair *pair = pair_make(kind, base_is_streamed ? 2 : 0, base_is_streamed ? 0 : 3);
        judge_streamed(pair, false, &early, &whole);
        EXPECT(early.status == early_status);
        EXPECT(early.status != LLAVAMED_OK || early.verdict.is_part);
        EXPECT((early.verdict.text[0] != '\0') == (kind == DELTA_OF_A_RELATIVE && early.status == LLAVAMED_OK));
        EXPECT(early.status != LLAVAMED_OK || kind == DELTA_OF_ZEROS ||
               (early.verdict.n_judged >= CONTENT_EARLY_MATRICES_MIN && early.verdict.n_judged < N_MATRICES / 4));
        EXPECT(whole.status == plain.status);
        EXPECT_TEXT(whole.verdict.text, plain.verdict.text);
        EXPECT_U64(whole.verdict.n_judged, plain.verdict.n_judged);
        EXPECT(memcmp(&whole.verdict.total, &plain.verdict.total, sizeof plain.verdict.total) == 0);
        EXPECT_TEXT(whole.error.message, plain.error.message);
        EXPECT_TEXT(whole.error.hint, plain.error.hint);
        EXPECT_U64(whole.error.n_problems, plain.error.n_problems);
        EXPECT(memcmp(whole.error.problems, plain.error.problems, sizeof plain.error.problems) == 0);
        pair_free(pair);
    }
}

static void test_right_base(void)
{
    expect_verdicts(DELTA_RIGHT, LLAVAMED_OK, LLAVAMED_OK);
}

static void test_another_base(void)
{
    expect_verdicts(DELTA_OF_ANOTHER, LLAVAMED_STATUS_PAIR_WRONG_BASE, LLAVAMED_STATUS_PAIR_WRONG_BASE);
}

static void test_relative_waits_for_the_whole(void)
{
    expect_verdicts(DELTA_OF_A_RELATIVE, LLAVAMED_OK, LLAVAMED_STATUS_PAIR_WRONG_BASE);
}

static void test_undecided_is_told_once(void)
{
    expect_verdicts(DELTA_OF_ZEROS, LLAVAMED_OK, LLAVAMED_OK);
}

static void test_late_matrix(void)
{
    expect_verdicts(DELTA_OF_ANOTHER_AT_THE_END, LLAVAMED_OK, LLAVAMED_STATUS_PAIR_WRONG_BASE);
}

static void test_whole_model(void)
{
    expect_verdicts(DELTA_OF_A_MODEL, LLAVAMED_STATUS_PAIR_FULL_DELTA, LLAVAMED_STATUS_PAIR_FULL_DELTA);
}

/* A look that saw all is the last word: a base that is near is refused like any other. */
static void test_a_whole_look_is_final(void)
{
    static struct judged early;
    struct pair *pair = pair_make(DELTA_OF_A_RELATIVE, 2, 0);
    struct content_job job = job_of(pair);
    job.early = true;
    EXPECT(content_announce(&job, NULL) == LLAVAMED_OK);
    EXPECT(source_look_ahead(job.base, UINT64_MAX, NULL) == LLAVAMED_OK);
    judge(&job, &early);
    EXPECT(early.status == LLAVAMED_STATUS_PAIR_WRONG_BASE);
    pair_free(pair);
}

static void test_nothing_seen_yet(void)
{
    static struct judged early;
    struct pair *pair = pair_make(DELTA_OF_ANOTHER, 0, 2);
    struct content_job job = job_of(pair);
    job.early = true;
    EXPECT(content_announce(&job, NULL) == LLAVAMED_OK);
    judge(&job, &early);
    EXPECT(early.status == LLAVAMED_OK && early.verdict.text[0] == '\0');
    EXPECT_U64(early.verdict.n_judged, 0);
    pair_free(pair);
}

static void test_allowed(void)
{
    static struct judged early;
    static struct judged whole;
    struct pair *pair = pair_make(DELTA_OF_ANOTHER, 2, 0);
    judge_streamed(pair, true, &early, &whole);
    EXPECT(early.status == LLAVAMED_OK && early.verdict.status == LLAVAMED_STATUS_PAIR_WRONG_BASE);
    EXPECT(early.verdict.text[0] != '\0');
    EXPECT(whole.status == LLAVAMED_OK && whole.verdict.text[0] != '\0');
    pair_free(pair);
}

/* Nothing is read any more, and nothing said of the contents. */
static void test_a_signal_ends_it(void)
{
    static struct judged judged;
    const volatile int stop_signal = 15;
    struct pair *pair = pair_make(DELTA_OF_ANOTHER, 0, 0);
    struct content_job job = job_of(pair);
    job.stop_signal = &stop_signal;
    judge(&job, &judged);
    EXPECT(judged.status == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_U64(judged.error.signal_number, 15);
    pair_free(pair);
}

int main(void)
{
    CASE(test_right_base);
    CASE(test_another_base);
    CASE(test_relative_waits_for_the_whole);
    CASE(test_undecided_is_told_once);
    CASE(test_late_matrix);
    CASE(test_whole_model);
    CASE(test_a_whole_look_is_final);
    CASE(test_nothing_seen_yet);
    CASE(test_allowed);
    CASE(test_a_signal_ends_it);
    return harness_end();
}
