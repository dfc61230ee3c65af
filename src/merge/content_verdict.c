/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/content_verdict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* This part of a group must be bad, or judged near, for the group to be named as a whole. */
#define GROUP_PART 0.9
#define HALF 0.5

enum content_kind content_kind_of(const char *name, unsigned rank)
{
    static const struct {
        const char *part;
        enum content_kind kind;
    } kinds[] = {
        {".q_proj.", CONTENT_Q},       {".k_proj.", CONTENT_K},          {".v_proj.", CONTENT_V},
        {".o_proj.", CONTENT_O},       {".gate_proj.", CONTENT_GATE},    {".up_proj.", CONTENT_UP},
        {".down_proj.", CONTENT_DOWN}, {"embed_tokens.", CONTENT_EMBED}, {"lm_head.", CONTENT_HEAD},
    };
    if (rank == 1 && strstr(name, "norm.weight") != NULL) {
        return CONTENT_NORM;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strstr(name, kinds[i].part) != NULL) {
            return kinds[i].kind;
        }
    }
    return CONTENT_OTHER;
}

uint64_t content_layer_of(const char *name)
{
    static const char prefix[] = "layers.";
    const char *at = strstr(name, prefix);
    if (at == NULL) {
        return CONTENT_NO_LAYER;
    }
    at += sizeof prefix - 1;
    uint64_t layer = 0;
    size_t n_digits = 0;
    for (; *at >= '0' && *at <= '9' && layer < CONTENT_LAYERS_MAX; at++, n_digits++) {
        layer = layer * 10 + (uint64_t)(*at - '0');
    }
    return n_digits > 0 && *at == '.' && layer < CONTENT_LAYERS_MAX ? layer : CONTENT_NO_LAYER;
}

void content_report_deinit(struct content_report *report)
{
    free(report->samples);
    memset(report, 0, sizeof *report);
}

static void add_figures(struct content_figures *total, const struct content_figures *figures)
{
    total->n_elems += figures->n_elems;
    total->n_nonzero += figures->n_nonzero;
    total->n_odd += figures->n_odd;
    total->n_delta_fine += figures->n_delta_fine;
    total->n_base_fine += figures->n_base_fine;
    total->n_eligible += figures->n_eligible;
    total->n_rounded += figures->n_rounded;
    total->n_control_eligible += figures->n_control_eligible;
    total->n_control_rounded += figures->n_control_rounded;
}

/* ---- Magnitudes ---- */

static double rms(double squares, uint64_t n_elems)
{
    return n_elems == 0 ? 0.0 : sqrt(squares / (double)n_elems);
}

/* A "delta" as large as a model, in norms and in matrices: nothing that training does to a model looks so. */
static void decide_magnitudes(const struct content_report *report, struct content_verdict *verdict)
{
    const struct content_squares *norms = &report->squares[CONTENT_NORM];
    struct content_squares matrices = {0};
    for (int kind = 0; kind < CONTENT_NORM; kind++) {
        matrices.n_elems += report->squares[kind].n_elems;
        matrices.base += report->squares[kind].base;
        matrices.delta += report->squares[kind].delta;
    }
    if (norms->n_elems < CONTENT_NORM_ELEMS_MIN || matrices.n_elems < CONTENT_MATRIX_ELEMS_MIN) {
        return;
    }
    double norm_base = rms(norms->base, norms->n_elems);
    double norm_delta = rms(norms->delta, norms->n_elems);
    double matrix_base = rms(matrices.base, matrices.n_elems);
    double matrix_delta = rms(matrices.delta, matrices.n_elems);
    if (norm_delta <= 0.0 || norm_delta < CONTENT_FULL_RATIO * norm_base ||
        matrix_delta < CONTENT_FULL_RATIO * matrix_base) {
        return;
    }
    bool exchanged =
        norm_delta > CONTENT_EXCHANGED_RATIO * norm_base && matrix_delta > CONTENT_EXCHANGED_RATIO * matrix_base;
    verdict->cause = exchanged ? CONTENT_CAUSE_EXCHANGED : CONTENT_CAUSE_FULL_DELTA;
    verdict->status = LLAVAMED_STATUS_PAIR_FULL_DELTA;
    (void)snprintf(
        verdict->text, sizeof verdict->text,
        "%s: the root mean square of its norm weights is %.3g (the base has %.3g), of its matrices %.3g (the "
        "base has %.3g)",
        exchanged ? "base and delta seem to be exchanged: the delta has the magnitudes of a model"
                  : "the delta has the magnitudes of a whole model",
        norm_delta, norm_base, matrix_delta, matrix_base);
    (void)snprintf(verdict->hint, sizeof verdict->hint, "%s",
                   exchanged
                       ? "--base takes the original weights, --delta the differences"
                       : "a model that was merged already needs no base; --allow-unknown-base goes on all the same");
}

/* ---- Fit ---- */

struct tally {
    size_t n_judged;
    size_t n_bad;
    size_t n_near;
    struct content_figures figures; /* of the bad, near or good ones, as asked */
};

static struct tally tally_of(const struct content_report *report, enum content_fit fit)
{
    struct tally tally = {0};
    for (size_t i = 0; i < report->n_samples; i++) {
        const struct content_sample *sample = &report->samples[i];
        tally.n_judged += sample->fit != CONTENT_FIT_UNKNOWN;
        tally.n_bad += sample->fit == CONTENT_FIT_BAD;
        tally.n_near += sample->fit == CONTENT_FIT_NEAR;
        if (sample->fit == fit) {
            add_figures(&tally.figures, &sample->figures);
        }
    }
    return tally;
}

static bool is_rotary(const struct content_sample *sample)
{
    return sample->kind == CONTENT_Q || sample->kind == CONTENT_K;
}

/* All that is bad is in q and k, and at least half of these is bad. */
static bool only_rotary_is_bad(const struct content_report *report)
{
    size_t n_rotary = 0;
    size_t n_bad = 0;
    for (size_t i = 0; i < report->n_samples; i++) {
        const struct content_sample *sample = &report->samples[i];
        bool bad = sample->fit == CONTENT_FIT_BAD;
        if (bad && !is_rotary(sample)) {
            return false;
        }
        n_rotary += is_rotary(sample) && sample->fit != CONTENT_FIT_UNKNOWN;
        n_bad += bad;
    }
    return (double)n_bad >= HALF * (double)n_rotary;
}

/*
 * All that is bad is in layers where (nearly) all is bad. Writes their numbers to `text`, a few of them, and returns
 * their count, or 0 when the bad ones have no such pattern.
 */
static size_t bad_layers(const struct content_report *report, char *text, size_t n_text)
{
    uint16_t n_judged[CONTENT_LAYERS_MAX] = {0};
    uint16_t n_bad[CONTENT_LAYERS_MAX] = {0};
    for (size_t i = 0; i < report->n_samples; i++) {
        const struct content_sample *sample = &report->samples[i];
        bool bad = sample->fit == CONTENT_FIT_BAD;
        if (sample->layer < CONTENT_LAYERS_MAX) {
            n_judged[sample->layer] = (uint16_t)(n_judged[sample->layer] + (sample->fit != CONTENT_FIT_UNKNOWN));
            n_bad[sample->layer] = (uint16_t)(n_bad[sample->layer] + bad);
        } else if (bad) {
            return 0;
        }
    }
    size_t n_layers = 0;
    size_t used = 0;
    for (size_t i = 0; i < CONTENT_LAYERS_MAX; i++) {
        if (n_bad[i] == 0) {
            continue;
        }
        if ((double)n_bad[i] < GROUP_PART * (double)n_judged[i]) {
            return 0;
        }
        if (n_layers < 8) {
            int n = snprintf(text + used, n_text - used, "%s%zu", n_layers == 0 ? "" : ", ", i);
            used += n > 0 ? (size_t)n : 0;
        } else if (n_layers == 8) {
            (void)snprintf(text + used, n_text - used, "...");
        }
        n_layers++;
    }
    return n_layers;
}

/* "of the sums that the right base keeps exact, 69.1 % are (chance gives 69.0 %)" */
static void append_rates(struct content_verdict *verdict)
{
    size_t used = strlen(verdict->text);
    (void)snprintf(verdict->text + used, sizeof verdict->text - used,
                   " (%.2f %% of the sums that must be exact are, want 100 %%, chance gives %.2f %%)",
                   100.0 * (1.0 - content_rate(&verdict->total)),
                   100.0 * (1.0 - content_control_rate(&verdict->total)));
}

static void decide_bad(const struct content_report *report, struct content_verdict *verdict)
{
    char layers[128] = "";
    size_t n_layers = 0;
    const char *hint;
    verdict->status = LLAVAMED_STATUS_PAIR_WRONG_BASE;
    if ((double)verdict->n_bad >= GROUP_PART * (double)verdict->n_judged) {
        verdict->cause = CONTENT_CAUSE_UNRELATED;
        (void)snprintf(
            verdict->text, sizeof verdict->text,
            "the delta was not made from this base: the two fit no better than chance in %zu of %zu matrices",
            verdict->n_bad, verdict->n_judged);
        hint =
            "the delta needs the very weights it was made from: the original LLaMA-1, not Llama-2, not a fine-tune of "
            "it";
    } else if (only_rotary_is_bad(report)) {
        verdict->cause = CONTENT_CAUSE_ROTARY;
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "the base fits the delta except in q_proj and k_proj (%zu matrices): their rows lack the rotary "
                       "permutation of the Hugging Face form, or have it twice",
                       verdict->n_bad);
        hint = "convert the base again with transformers, or give Meta's own files";
    } else if ((n_layers = bad_layers(report, layers, sizeof layers)) > 0) {
        verdict->cause = CONTENT_CAUSE_LAYERS;
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "the base fits the delta except in %zu layers (%s): these are exchanged, or of another model",
                       n_layers, layers);
        hint = "make or fetch the base again";
    } else {
        verdict->cause = CONTENT_CAUSE_SOME;
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "%zu of %zu matrices of the base are not those that the delta was made from", verdict->n_bad,
                       verdict->n_judged);
        hint = "make or fetch the base again";
    }
    append_rates(verdict);
    (void)snprintf(verdict->hint, sizeof verdict->hint, "%s; --allow-unknown-base goes on all the same", hint);
}

/* Refused only where no copy of the right base in a shorter dtype can be the cause. */
static void decide_near(const struct content_report *report, struct content_verdict *verdict)
{
    bool exact_types = !content_is_coarse(&verdict->total);
    for (size_t i = 0; i < report->n_samples; i++) {
        exact_types = exact_types && (report->samples[i].fit != CONTENT_FIT_NEAR || report->samples[i].is_f16);
    }
    if (exact_types && (double)verdict->n_near >= HALF * (double)verdict->n_judged &&
        content_rate(&verdict->total) >= CONTENT_FINE_TUNE_RATE) {
        verdict->cause = CONTENT_CAUSE_FINE_TUNE;
        verdict->status = LLAVAMED_STATUS_PAIR_WRONG_BASE;
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "the delta was not made from this base but from a relative: %zu of %zu matrices are near it and "
                       "differ",
                       verdict->n_near, verdict->n_judged);
        (void)snprintf(
            verdict->hint, sizeof verdict->hint,
            "the base may be a fine-tune (Vicuna, Alpaca...) of the one that is needed; --allow-unknown-base "
            "goes on all the same");
    } else {
        verdict->cause = CONTENT_CAUSE_INEXACT;
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "the base is close to the one that the delta was made from, but not equal to it in %zu of %zu "
                       "matrices: a copy in another dtype, or a fine-tune",
                       verdict->n_near, verdict->n_judged);
    }
    append_rates(verdict);
}

void content_decide(const struct content_report *report, struct content_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    struct tally bad = tally_of(report, CONTENT_FIT_BAD);
    verdict->n_judged = bad.n_judged;
    verdict->n_bad = bad.n_bad;
    verdict->n_near = bad.n_near;
    decide_magnitudes(report, verdict);
    if (verdict->cause != CONTENT_CAUSE_FITS) {
        return;
    }
    if (verdict->n_bad > 0) {
        verdict->total = bad.figures;
        decide_bad(report, verdict);
    } else if (verdict->n_near > 0) {
        verdict->total = tally_of(report, CONTENT_FIT_NEAR).figures;
        decide_near(report, verdict);
    } else if (verdict->n_judged > 0) {
        verdict->total = tally_of(report, CONTENT_FIT_GOOD).figures;
    } else {
        verdict->cause = CONTENT_CAUSE_UNDECIDED;
        (void)snprintf(
            verdict->text, sizeof verdict->text,
            "the contents do not tell whether these two belong together (too few elements, a delta of zeros, "
            "or dtypes that round everywhere or nowhere)");
    }
}
