/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of the content test on synthetic samples, and the verdicts. Whole runs: tests/cli/cases/content.sh. */
#include <math.h>

#include "merge/content_verdict.h"
#include "unit/harness.h"

#define N CONTENT_PIECE_ELEMS

static uint64_t state;

static uint64_t next_random(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static float next_normal(float sigma)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += (float)(next_random() >> 40) / 16777216.0F;
    }
    return (sum - 6.0F) * sigma;
}

/* A sample of a matrix in one dtype: base, target and delta = target - base, rounded to it. */
struct pair {
    enum kernel_type type;
    uint32_t base[N];
    uint32_t target[N];
    uint32_t delta[N];
};

static void store(enum kernel_type type, const float *values, void *out)
{
    uint64_t n_overflow = 0;
    if (type == KERNEL_F32) {
        memcpy(out, values, N * sizeof *values);
    } else {
        kernel_get(KERNEL_ISA_REF)->convert[KERNEL_F32][type](out, values, N, &n_overflow);
    }
}

/* out = a - b: the kernels add, so the sign of b is turned first. */
static void subtract(enum kernel_type type, const void *a, const void *b, void *out)
{
    static uint32_t negative[N];
    struct kernel_counts counts = {0};
    memcpy(negative, b, sizeof negative);
    uint32_t signs = type == KERNEL_F32 ? UINT32_C(0x80000000) : UINT32_C(0x80008000);
    for (size_t i = 0; i < (type == KERNEL_F32 ? N : N / 2); i++) {
        negative[i] ^= signs;
    }
    kernel_get(KERNEL_ISA_REF)->add[type](out, a, negative, N, &counts);
}

static struct pair *make_pair(enum kernel_type type, uint64_t seed, float sigma)
{
    static struct pair pairs[2];
    static float values[N];
    static unsigned which;
    struct pair *pair = &pairs[which++ % 2];
    memset(pair, 0, sizeof *pair);
    pair->type = type;
    state = seed;
    for (size_t i = 0; i < N; i++) {
        values[i] = next_normal(0.02F);
    }
    store(type, values, pair->base);
    for (size_t i = 0; i < N; i++) {
        values[i] += next_normal(sigma);
    }
    store(type, values, pair->target);
    subtract(type, pair->target, pair->base, pair->delta);
    return pair;
}

static struct content_figures figures_of(enum kernel_type type, const void *base, const void *delta, size_t n)
{
    static uint32_t scratch[CONTENT_SCRATCH_BYTES / sizeof(uint32_t)];
    struct content_figures figures = {0};
    content_figures_add(&figures, kernel_get(KERNEL_ISA_REF), type, base, delta, n, scratch);
    struct content_figures best = {0};
    content_figures_add(&best, kernel_best(), type, base, delta, n, scratch);
    EXPECT(memcmp(&figures, &best, sizeof best) == 0);
    return figures;
}

/* ---- Figures ---- */

/* Any two finite numbers of the dtype, however unlike weights: no eligible sum is rounded when the base is right. */
static void test_right_base_never_rounds(void)
{
    static const enum kernel_type types[] = {KERNEL_F16, KERNEL_BF16, KERNEL_F32};
    static const uint32_t magnitudes[] = {0x7bff, 0x7f7f, 0x7f7fffff}; /* the largest finite ones */
    static uint32_t base[N];
    static uint32_t target[N];
    static uint32_t delta[N];
    for (size_t t = 0; t < 3; t++) {
        uint64_t n_eligible = 0;
        for (uint64_t seed = 0; seed < 60; seed++) {
            state = seed;
            for (size_t i = 0; i < N; i++) {
                uint32_t bits = (uint32_t)(next_random() % (magnitudes[t] + UINT64_C(1)));
                /* Half of the targets anywhere, half within some 2^k units of the base: where the sums are eligible. */
                uint32_t near = (uint32_t)(next_random() % (UINT64_C(2) << (next_random() % (t == 2 ? 25 : 12))));
                uint32_t other = i % 2 ? (uint32_t)(next_random() % magnitudes[t]) : bits < near ? bits : bits - near;
                if (t == 2) {
                    base[i] = bits;
                    target[i] = other;
                } else {
                    ((uint16_t *)(void *)base)[i] = (uint16_t)bits;
                    ((uint16_t *)(void *)target)[i] = (uint16_t)other;
                }
            }
            /* Both ways round, so that targets lie above and below their bases. */
            for (int turn = 0; turn < 2; turn++) {
                const void *from = turn ? target : base;
                subtract(types[t], turn ? base : target, from, delta);
                struct content_figures figures = figures_of(types[t], from, delta, N);
                EXPECT_U64(figures.n_rounded, 0);
                n_eligible += figures.n_eligible;
            }
        }
        EXPECT(n_eligible > 60 * N / 4);
    }
}

static void test_right_and_wrong_bases(void)
{
    static const enum kernel_type types[] = {KERNEL_F16, KERNEL_BF16, KERNEL_F32};
    static const float sigmas[] = {1e-5F, 1e-4F, 1e-3F, 1e-2F};
    for (size_t t = 0; t < 3; t++) {
        for (size_t s = 0; s < 4; s++) {
            const struct pair *pair = make_pair(types[t], 1, sigmas[s]);
            struct content_figures right = figures_of(pair->type, pair->base, pair->delta, N);
            EXPECT_U64(right.n_rounded, 0);
            const struct pair *other = make_pair(types[t], 2, sigmas[s]);
            struct content_figures wrong = figures_of(pair->type, other->base, pair->delta, N);
            if (right.n_control_rounded < CONTENT_CONTROL_MIN) {
                /* BF16 holds few of the smallest updates. */
                EXPECT(types[t] == KERNEL_BF16 && sigmas[s] < 1e-4F);
                continue;
            }
            EXPECT(content_figures_judge(&right) == CONTENT_FIT_GOOD);
            EXPECT(content_figures_judge(&wrong) == CONTENT_FIT_BAD);
            EXPECT(content_rate(&wrong) > 0.9 * content_control_rate(&wrong));
        }
    }
}

static void test_copy_in_bfloat16_is_near(void)
{
    const struct pair *pair = make_pair(KERNEL_F16, 3, 1e-3F);
    static uint32_t short_base[N];
    static uint32_t copy[N];
    uint64_t n_overflow = 0;
    const struct kernel_set *kernels = kernel_get(KERNEL_ISA_REF);
    kernels->convert[KERNEL_F16][KERNEL_BF16](short_base, pair->base, N, &n_overflow);
    kernels->convert[KERNEL_BF16][KERNEL_F16](copy, short_base, N, &n_overflow);
    struct content_figures figures = figures_of(KERNEL_F16, copy, pair->delta, N);
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_NEAR);
    EXPECT(content_is_coarse(&figures));
    figures = figures_of(KERNEL_F16, pair->target, pair->delta, N);
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_NEAR);
    EXPECT(!content_is_coarse(&figures));
}

static void test_nothing_to_judge_by(void)
{
    static const uint32_t zeros[N];
    const struct pair *pair = make_pair(KERNEL_F16, 4, 1e-3F);
    struct content_figures figures = figures_of(KERNEL_F16, pair->base, zeros, N);
    EXPECT_U64(figures.n_nonzero, 0);
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_UNKNOWN);
    figures = figures_of(KERNEL_F16, zeros, pair->delta, N);
    EXPECT_U64(figures.n_eligible, 0);
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_UNKNOWN);
    const struct pair *other = make_pair(KERNEL_F16, 5, 1e-3F);
    figures = figures_of(KERNEL_F16, other->base, pair->delta, 500);
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_UNKNOWN);
    EXPECT(content_figures_judge(&(struct content_figures){0}) == CONTENT_FIT_UNKNOWN);
    EXPECT_U64(figures_of(KERNEL_F16, pair->base, pair->delta, 0).n_elems, 0);
    EXPECT_U64(figures_of(KERNEL_F16, pair->base, pair->delta, 1).n_elems, 1);
}

/* A delta that was rounded after its subtraction rounds with its own base as with any: no reason to refuse. */
static void test_rounded_delta_decides_nothing(void)
{
    static float values[N];
    static uint32_t delta[N];
    const struct pair *pair = make_pair(KERNEL_F16, 6, 1e-3F);
    for (size_t i = 0; i < N; i++) {
        values[i] = next_normal(1e-3F);
    }
    store(KERNEL_F16, values, delta);
    struct content_figures figures = figures_of(KERNEL_F16, pair->base, delta, N);
    EXPECT(content_rate(&figures) > CONTENT_BAD_RATIO * content_control_rate(&figures));
    EXPECT(content_figures_judge(&figures) == CONTENT_FIT_UNKNOWN);
}

static void test_not_finite_is_left_out(void)
{
    static uint16_t base[64];
    static uint16_t delta[64];
    for (size_t i = 0; i < 64; i++) {
        base[i] = i % 2 ? 0x7c00 : 0xfe01; /* infinity, NaN */
        delta[i] = i % 3 ? 0x3c01 : 0x7e00;
    }
    struct content_figures figures = figures_of(KERNEL_F16, base, delta, 64);
    EXPECT_U64(figures.n_eligible, 0);
    EXPECT_U64(figures.n_nonzero, 42);
}

/* ---- Verdicts ---- */

#define LAYERS 4
static const char *const parts[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/* A model whose fits the caller changes. The figures are those of a stranger, as only their ratios are worded. */
static struct content_report *make_report(enum content_fit fit)
{
    static char names[LAYERS * 7][64];
    static struct content_sample samples[LAYERS * 7];
    static struct content_report report;
    report = (struct content_report){.samples = samples, .n_samples = LAYERS * 7};
    for (size_t i = 0; i < LAYERS * 7; i++) {
        (void)snprintf(names[i], sizeof names[i], "model.layers.%zu.%s.weight", i / 7, parts[i % 7]);
        samples[i] = (struct content_sample){
            .name = names[i],
            .kind = content_kind_of(names[i], 2),
            .layer = content_layer_of(names[i]),
            .fit = fit,
            .is_f16 = true,
            .figures = {.n_elems = 1000,
                        .n_nonzero = 1000,
                        .n_delta_fine = 900,
                        .n_base_fine = 900,
                        .n_eligible = 1000,
                        .n_rounded = 310,
                        .n_control_eligible = 1000,
                        .n_control_rounded = 310},
        };
    }
    return &report;
}

static void expect_verdict(const struct content_report *report, enum content_cause cause, const char *text)
{
    struct content_verdict verdict;
    content_decide(report, &verdict);
    EXPECT_U64(verdict.cause, cause);
    EXPECT(strstr(verdict.text, text) != NULL);
    EXPECT((verdict.status == LLAVAMED_OK) == (cause < CONTENT_CAUSE_FULL_DELTA));
    EXPECT((verdict.hint[0] != '\0') == (verdict.status != LLAVAMED_OK));
    EXPECT(strlen(verdict.text) < sizeof verdict.text - 1 && strlen(verdict.hint) < sizeof verdict.hint - 1);
}

static void test_names(void)
{
    EXPECT_U64(content_kind_of("model.layers.3.self_attn.k_proj.weight", 2), CONTENT_K);
    EXPECT_U64(content_kind_of("model.embed_tokens.weight", 2), CONTENT_EMBED);
    EXPECT_U64(content_kind_of("lm_head.weight", 2), CONTENT_HEAD);
    EXPECT_U64(content_kind_of("model.layers.3.input_layernorm.weight", 1), CONTENT_NORM);
    EXPECT_U64(content_kind_of("model.norm.weight", 1), CONTENT_NORM);
    EXPECT_U64(content_kind_of("model.norm.weight", 2), CONTENT_OTHER);
    EXPECT_U64(content_kind_of("something", 2), CONTENT_OTHER);
    EXPECT_U64(content_layer_of("model.layers.31.mlp.up_proj.weight"), 31);
    EXPECT(content_layer_of("model.layers.x.weight") == CONTENT_NO_LAYER);
    EXPECT(content_layer_of("model.layers..weight") == CONTENT_NO_LAYER);
    EXPECT(content_layer_of("model.layers.99999999999999999999999.w") == CONTENT_NO_LAYER);
    EXPECT(content_layer_of("lm_head.weight") == CONTENT_NO_LAYER);
}

static void test_verdicts_of_fit(void)
{
    expect_verdict(make_report(CONTENT_FIT_GOOD), CONTENT_CAUSE_FITS, "");
    expect_verdict(make_report(CONTENT_FIT_UNKNOWN), CONTENT_CAUSE_UNDECIDED, "do not tell");
    expect_verdict(make_report(CONTENT_FIT_BAD), CONTENT_CAUSE_UNRELATED,
                   "no better than chance in 28 of 28 matrices (69.00 % of the sums");
    expect_verdict(&(struct content_report){0}, CONTENT_CAUSE_UNDECIDED, "do not tell");

    struct content_report *report = make_report(CONTENT_FIT_GOOD);
    report->samples[0].fit = CONTENT_FIT_UNKNOWN;
    expect_verdict(report, CONTENT_CAUSE_FITS, "");

    for (size_t i = 0; i < report->n_samples; i++) {
        report->samples[i].fit = i % 7 < 2 ? CONTENT_FIT_BAD : CONTENT_FIT_GOOD;
    }
    expect_verdict(report, CONTENT_CAUSE_ROTARY, "except in q_proj and k_proj (8 matrices)");

    for (size_t i = 0; i < report->n_samples; i++) {
        report->samples[i].fit = i / 7 == 1 || i / 7 == 3 ? CONTENT_FIT_BAD : CONTENT_FIT_GOOD;
    }
    expect_verdict(report, CONTENT_CAUSE_LAYERS, "except in 2 layers (1, 3)");
    report->samples[8].fit = CONTENT_FIT_GOOD;
    expect_verdict(report, CONTENT_CAUSE_SOME, "13 of 28 matrices");
}

static void test_verdicts_of_near(void)
{
    struct content_report *report = make_report(CONTENT_FIT_NEAR);
    expect_verdict(report, CONTENT_CAUSE_FINE_TUNE, "but from a relative: 28 of 28");
    report->samples[5].is_f16 = false;
    expect_verdict(report, CONTENT_CAUSE_INEXACT, "close to");
    report = make_report(CONTENT_FIT_NEAR);
    for (size_t i = 0; i < report->n_samples; i++) {
        report->samples[i].figures.n_base_fine = 0;
    }
    expect_verdict(report, CONTENT_CAUSE_INEXACT, "a copy in another dtype");
    report = make_report(CONTENT_FIT_GOOD);
    report->samples[3].fit = CONTENT_FIT_NEAR;
    expect_verdict(report, CONTENT_CAUSE_INEXACT, "1 of 28");
}

static void test_verdicts_of_magnitudes(void)
{
    struct content_report *report = make_report(CONTENT_FIT_GOOD);
    struct content_squares *norms = &report->squares[CONTENT_NORM];
    struct content_squares *matrix = &report->squares[CONTENT_UP];
    *norms = (struct content_squares){.n_elems = 1000, .base = 490, .delta = 490};
    *matrix = (struct content_squares){.n_elems = 10000, .base = 4, .delta = 4};
    expect_verdict(report, CONTENT_CAUSE_FULL_DELTA, "norm weights is 0.7 (the base has 0.7), of its matrices 0.02 (");
    norms->base = 0.001;
    expect_verdict(report, CONTENT_CAUSE_FULL_DELTA, "whole model");
    matrix->base = 0.01;
    expect_verdict(report, CONTENT_CAUSE_EXCHANGED, "exchanged");
    norms->n_elems = CONTENT_NORM_ELEMS_MIN - 1;
    expect_verdict(report, CONTENT_CAUSE_FITS, "");
    /* A large update of the matrices alone, or of the norms alone, is a delta still. */
    *norms = (struct content_squares){.n_elems = 1000, .base = 490, .delta = 0.1};
    expect_verdict(report, CONTENT_CAUSE_FITS, "");
    *norms = (struct content_squares){.n_elems = 1000, .base = 490, .delta = 490};
    *matrix = (struct content_squares){.n_elems = 10000, .base = 4, .delta = 0.9};
    expect_verdict(report, CONTENT_CAUSE_FITS, "");
    *norms = (struct content_squares){.n_elems = 1000};
    *matrix = (struct content_squares){.n_elems = 10000};
    expect_verdict(report, CONTENT_CAUSE_FITS, "");
}

int main(void)
{
    CASE(test_right_base_never_rounds);
    CASE(test_right_and_wrong_bases);
    CASE(test_copy_in_bfloat16_is_near);
    CASE(test_nothing_to_judge_by);
    CASE(test_rounded_delta_decides_nothing);
    CASE(test_not_finite_is_left_out);
    CASE(test_names);
    CASE(test_verdicts_of_fit);
    CASE(test_verdicts_of_near);
    CASE(test_verdicts_of_magnitudes);
    return harness_end();
}
