/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/diff_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/json_emit.h"
#include "cli/json_error.h"
#include "cli/text.h"

#define COLUMNS 100
#define LABEL_COLUMNS 12
#define FITTED_BYTES (4 * COLUMNS + 1)
#define FIGURES_COLUMNS 60 /* before the name */

/* The largest distance of a bucket; 0 for the last, which has no end. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket == LLAVAMED_ULP_BUCKETS - 1) {
        return 0;
    }
    return bucket < 2 ? bucket : UINT64_C(1) << (bucket - 1);
}

/* ---- For people ---- */

static void print_source(FILE *stream, const char *label, const char *text)
{
    char fitted[FITTED_BYTES];
    cli_fit(fitted, sizeof fitted, COLUMNS - LABEL_COLUMNS - 1, text);
    (void)fprintf(stream, "%-*s %s\n", LABEL_COLUMNS, label, fitted);
}

static void print_kinds(FILE *stream, const struct llavamed_diff_result *result)
{
    static const char *const texts[] = {
        [LLAVAMED_DIFF_EQUAL] = "equal",
        [LLAVAMED_DIFF_BITS] = "other bits",
        [LLAVAMED_DIFF_DTYPE] = "other dtype",
        [LLAVAMED_DIFF_SHAPE] = "other shape",
        [LLAVAMED_DIFF_ONLY_SOURCE] = "only source",
        [LLAVAMED_DIFF_ONLY_OTHER] = "only other",
    };
    (void)fprintf(stream, "%-*s %8zu\n", LABEL_COLUMNS, "tensors", result->n_tensors);
    for (size_t kind = 0; kind < LLAVAMED_DIFF_KINDS; kind++) {
        if (result->n_of_kind[kind] > 0) {
            (void)fprintf(stream, "%-*s %8zu\n", LABEL_COLUMNS, texts[kind], result->n_of_kind[kind]);
        }
    }
}

static const char *format_figure(char text[CLI_FIGURE_BYTES], bool is_known, double figure)
{
    cli_format(text, CLI_FIGURE_BYTES, is_known && isfinite(figure) ? "%.3g" : "-", figure);
    if (strlen(text) > 9) { /* 1.23e-308 */
        cli_format(text, CLI_FIGURE_BYTES, "%.2g", figure);
    }
    return text;
}

static const char *format_number(char text[CLI_FIGURE_BYTES], bool is_known, uint64_t number)
{
    if (is_known) {
        cli_format(text, CLI_FIGURE_BYTES, "%" PRIu64, number);
    } else {
        cli_format(text, CLI_FIGURE_BYTES, "-");
    }
    return text;
}

static void print_tensor(FILE *stream, const struct llavamed_diff_tensor *tensor)
{
    const struct llavamed_diff_figures *figures = &tensor->figures;
    char n_different[CLI_FIGURE_BYTES];
    char first[CLI_FIGURE_BYTES];
    char max[CLI_FIGURE_BYTES];
    char rms[CLI_FIGURE_BYTES];
    char name[FITTED_BYTES];
    cli_fit(name, sizeof name, COLUMNS - FIGURES_COLUMNS, tensor->name);
    (void)fprintf(stream, "%-11s %13s %13s %9s %9s %s\n", llavamed_diff_kind_name(tensor->kind),
                  format_number(n_different, figures->is_compared, figures->n_different),
                  format_number(first, figures->n_different > 0, figures->first),
                  format_figure(max, figures->has_values && figures->n_finite > 0, figures->max),
                  format_figure(rms, figures->has_values && figures->n_finite > 0, figures->rms), name);
}

static void print_ulps(FILE *stream, const struct llavamed_diff_result *result)
{
    uint64_t sums[LLAVAMED_ULP_BUCKETS] = {0};
    uint64_t n_nan = 0;
    bool has_ulps = false;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_diff_figures *figures = &result->tensors[i].figures;
        for (size_t k = 0; k < LLAVAMED_ULP_BUCKETS; k++) {
            sums[k] += figures->ulps[k];
            has_ulps = has_ulps || figures->ulps[k] > 0;
        }
        n_nan += figures->n_nan;
    }
    if (!has_ulps && n_nan == 0) {
        return;
    }
    (void)fprintf(stream, "\n%-24s %20s\n", "apart by (ulp)", "elements");
    for (size_t k = 0; k < LLAVAMED_ULP_BUCKETS; k++) {
        char range[CLI_FIGURE_BYTES];
        if (k < 3) {
            cli_format(range, sizeof range, "%zu%s", k, k == 0 ? " (+0 and -0)" : "");
        } else if (k < LLAVAMED_ULP_BUCKETS - 1) {
            cli_format(range, sizeof range, "%" PRIu64 " to %" PRIu64, bucket_end(k - 1) + 1, bucket_end(k));
        } else {
            cli_format(range, sizeof range, "more");
        }
        if (sums[k] > 0) {
            (void)fprintf(stream, "  %-22s %20" PRIu64 "\n", range, sums[k]);
        }
    }
    if (n_nan > 0) {
        (void)fprintf(stream, "  %-22s %20" PRIu64 "\n", "NaN", n_nan);
    }
}

void diff_report_table(FILE *stream, const struct diff_report *report, bool all_tensors)
{
    const struct llavamed_diff_result *result = report->result;
    bool is_headed = false;
    print_source(stream, "source", report->settings->source);
    print_source(stream, "other", report->settings->other);
    print_kinds(stream, result);
    for (size_t i = 0; i < result->n_tensors; i++) {
        if (!all_tensors && result->tensors[i].kind == LLAVAMED_DIFF_EQUAL) {
            continue;
        }
        if (!is_headed) {
            (void)fprintf(stream, "\n%-11s %13s %13s %9s %9s %s\n", "kind", "different", "first", "max", "rms",
                          "tensor");
            is_headed = true;
        }
        print_tensor(stream, &result->tensors[i]);
    }
    print_ulps(stream, result);
}

/* ---- The document ---- */

static void emit_figures(struct json_emit *emit, const struct llavamed_diff_figures *figures)
{
    if (!figures->is_compared) {
        json_emit_text(emit, "elements", NULL);
        return;
    }
    json_emit_begin(emit, "elements", '{');
    json_emit_number(emit, "different", figures->n_different);
    if (figures->n_different > 0) {
        json_emit_number(emit, "first", figures->first);
    } else {
        json_emit_text(emit, "first", NULL);
    }
    if (figures->has_values) {
        json_emit_number(emit, "nan", figures->n_nan);
        json_emit_number(emit, "infinite", figures->n_infinite);
        json_emit_number(emit, "finite", figures->n_finite);
        json_emit_double(emit, "max", figures->max);
        json_emit_double(emit, "rms", figures->rms);
    }
    if (figures->has_ulps) {
        json_emit_begin(emit, "ulps", '[');
        for (size_t k = 0; k < LLAVAMED_ULP_BUCKETS; k++) {
            if (figures->ulps[k] > 0) {
                json_emit_begin(emit, NULL, '{');
                if (bucket_end(k) == 0 && k > 0) {
                    json_emit_text(emit, "up_to", NULL);
                } else {
                    json_emit_number(emit, "up_to", bucket_end(k));
                }
                json_emit_number(emit, "elements", figures->ulps[k]);
                json_emit_end(emit, '}');
            }
        }
        json_emit_end(emit, ']');
    }
    json_emit_end(emit, '}');
}

static void emit_tensors(struct json_emit *emit, const struct llavamed_diff_result *result)
{
    json_emit_begin(emit, "tensors", '[');
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_diff_tensor *tensor = &result->tensors[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", tensor->name);
        json_emit_text(emit, "kind", llavamed_diff_kind_name(tensor->kind));
        json_emit_text(emit, "source_dtype", tensor->source_dtype);
        json_emit_text(emit, "other_dtype", tensor->other_dtype);
        emit_figures(emit, &tensor->figures);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
}

void diff_report_json(FILE *stream, const struct diff_report *report)
{
    const struct llavamed_diff_result *result = report->result;
    struct json_emit emit;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_error(&emit, report->error);
    json_emit_text(&emit, "source", report->settings->source);
    json_emit_text(&emit, "other", report->settings->other);
    json_emit_begin(&emit, "counts", '{');
    for (size_t kind = 0; kind < LLAVAMED_DIFF_KINDS; kind++) {
        json_emit_number(&emit, llavamed_diff_kind_name((enum llavamed_diff_kind)kind), result->n_of_kind[kind]);
    }
    json_emit_end(&emit, '}');
    emit_tensors(&emit, result);
    json_emit_number(&emit, "bytes_read", result->read_bytes);
    json_emit_number(&emit, "threads", result->n_threads);
    json_emit_seconds(&emit, "seconds", result->total_ns);
    json_emit_number(&emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(&emit, '}');
}
