/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page_apply.h"

#include <inttypes.h>
#include <math.h>

#include "cli/html_grid.h"
#include "cli/html_page.h"
#include "cli/html_scale.h"
#include "cli/html_text.h"
#include "cli/messages.h"
#include "cli/page_file.h"
#include "cli/text.h"
#include "llavamed_reports.h"

/* RMS delta / RMS base, where both are known and the base is not all zeros. */
static bool ratio_of(const struct llavamed_tensor_report *tensor, double *ratio)
{
    *ratio = tensor->base_rms > 0 ? tensor->delta_rms / tensor->base_rms : 0;
    return tensor->has_base && tensor->base_rms > 0 && isfinite(*ratio);
}

/* ---- The map ------------------------------------------------------------------------------------------------- */

static const char *name_of(const void *context, size_t index)
{
    const struct llavamed_result *result = context;
    return result->tensors[index].name;
}

static void mark_of(const void *context, size_t index, struct html_mark *mark)
{
    const struct llavamed_result *result = context;
    const struct llavamed_tensor_report *tensor = &result->tensors[index];
    double ratio;
    char of_ratio[HTML_FIGURE_BYTES];
    char of_delta[HTML_FIGURE_BYTES];
    char of_base[HTML_FIGURE_BYTES];
    char of_alone[HTML_FIGURE_BYTES];
    html_figure(of_delta, tensor->delta_rms, 3);
    html_figure(of_base, tensor->base_rms, 3);
    html_figure(of_alone, tensor->alone_rms, 3);
    bool is_known = ratio_of(tensor, &ratio);
    if (is_known) {
        mark->kind = html_scale_mark(ratio);
        html_figure(of_ratio, ratio, 3);
        html_short_figure(mark->text, ratio);
        (void)snprintf(mark->detail, sizeof mark->detail, "RMS delta / RMS base = %s (%s / %s)%s%s", of_ratio,
                       of_delta, of_base, tensor->has_alone ? "; elements of the delta alone: RMS " : "",
                       tensor->has_alone ? of_alone : "");
    } else if (tensor->has_alone) {
        (void)snprintf(mark->text, sizeof mark->text, "new");
        (void)snprintf(mark->detail, sizeof mark->detail, "of the delta alone, RMS %s", of_alone);
    } else {
        (void)snprintf(mark->text, sizeof mark->text, "-");
        (void)snprintf(mark->detail, sizeof mark->detail, "no ratio (%s)",
                       tensor->has_base ? "the base is all zeros, or too large" : "no sums of floating-point values");
    }
}

static bool print_map(FILE *stream, const struct llavamed_result *result)
{
    const struct html_grid grid = {result, result->n_tensors, "ratio", name_of, mark_of};
    html_section_begin(stream, "Size of the delta, layer by module");
    html_paragraph(stream,
                   "RMS of the delta divided by RMS of the base, of the elements that were added. 0.01: the delta is a "
                   "hundredth of the base. \"new\": the delta alone has this tensor.");
    html_scale_legend(stream);
    bool has_memory = html_grid_print(stream, &grid, "RMS delta / RMS base");
    html_section_end(stream);
    return has_memory;
}

/* ---- Tables -------------------------------------------------------------------------------------------------- */

static void print_inputs(FILE *stream, const struct llavamed_settings *settings, const struct llavamed_output *output)
{
    static const char *const columns[] = {"file", "input", "#bytes", "SHA-256", "known by", NULL};
    const struct llavamed_result *result = &output->result;
    html_section_begin(stream, "Inputs");
    html_paragraph(stream, "Base: %s", settings->base);
    html_paragraph(stream, "Delta: %s", output->delta);
    for (size_t i = 0; i < result->n_inputs; i++) {
        bool is_first = i == 0 || result->inputs[i].role != result->inputs[i - 1].role;
        if (is_first && result->inputs[i].release != NULL) {
            html_paragraph(stream, "The %s is %s, by its SHA-256.", result->inputs[i].role, result->inputs[i].release);
        }
    }
    html_table_begin(stream, "Weights files that were read", columns);
    for (size_t i = 0; i < result->n_inputs && i < HTML_FILE_ROWS_MAX; i++) {
        const struct llavamed_input_report *input = &result->inputs[i];
        bool is_known = input->sha256[0] != '\0';
        html_row_begin(stream, input->name);
        html_row_text(stream, input->role);
        html_row_number(stream, input->n_bytes);
        html_row_code(stream, input->sha256);
        html_row_text(stream, !is_known ? "not hashed" : input->is_computed ? "computed" : "recorded beside it");
        html_row_end(stream);
    }
    html_table_end(stream, html_left_out(result->n_inputs, HTML_FILE_ROWS_MAX), "files");
    html_section_end(stream);
}

static void print_output(FILE *stream, const struct llavamed_output *output)
{
    static const char *const columns[] = {"shard", "#tensors", "#bytes", "SHA-256", NULL};
    static const char *const actions[] = {"what was done", "#tensors", "#bytes", NULL};
    const struct llavamed_result *result = &output->result;
    html_section_begin(stream, "Output");
    html_paragraph(stream, "%s", output->out);
    html_table_begin(stream, "Shards", columns);
    for (size_t i = 0; i < result->n_shards && i < HTML_FILE_ROWS_MAX; i++) {
        const struct llavamed_shard_report *shard = &result->shards[i];
        html_row_begin(stream, shard->name);
        html_row_number(stream, shard->n_tensors);
        html_row_number(stream, shard->file_bytes);
        html_row_code(stream, shard->sha256);
        html_row_end(stream);
    }
    html_table_end(stream, html_left_out(result->n_shards, HTML_FILE_ROWS_MAX), "shards");
    html_table_begin(stream, "What was done to the tensors", actions);
    for (size_t i = 0; i < result->n_actions; i++) {
        html_row_begin(stream, result->actions[i].action);
        html_row_number(stream, result->actions[i].n_tensors);
        html_row_number(stream, result->actions[i].out_bytes);
        html_row_end(stream);
    }
    html_table_end(stream, 0, "");
    if (result->manifest_sha256 != NULL) {
        html_paragraph(stream, "SHA-256 of llavamed-manifest.json: %s", result->manifest_sha256);
    }
    html_section_end(stream);
}

static void print_tensors(FILE *stream, const struct llavamed_result *result)
{
    static const char *const columns[] = {
        "tensor",     "dtype",             "#shape",   "what was done", "#RMS delta / base", "#RMS base",
        "#RMS delta", "#RMS, delta alone", "#rounded", "#NaN",          "#infinite",         "CRC-32",
        "shard",      NULL,
    };
    html_section_begin(stream, "Tensors");
    html_table_begin(stream, "In the order of the model", columns);
    for (size_t i = 0; i < result->n_tensors && i < HTML_TENSOR_ROWS_MAX; i++) {
        const struct llavamed_tensor_report *tensor = &result->tensors[i];
        char crc32[16];
        double ratio;
        bool has_ratio = ratio_of(tensor, &ratio);
        (void)snprintf(crc32, sizeof crc32, "%08" PRIx32, tensor->crc32);
        html_row_begin(stream, tensor->name);
        html_row_text(stream, tensor->dtype);
        html_row_shape(stream, tensor->rank, tensor->shape);
        html_row_text(stream, tensor->action);
        html_row_figure(stream, has_ratio, ratio);
        html_row_figure(stream, tensor->has_base, tensor->base_rms);
        html_row_figure(stream, tensor->has_base, tensor->delta_rms);
        html_row_figure(stream, tensor->has_alone, tensor->alone_rms);
        html_row_number(stream, tensor->n_rounded);
        html_row_number(stream, tensor->n_nan);
        html_row_number(stream, tensor->n_infinite);
        html_row_code(stream, crc32);
        html_row_text(stream, tensor->shard < result->n_shards ? result->shards[tensor->shard].name : "-");
        html_row_end(stream);
    }
    html_table_end(stream, html_left_out(result->n_tensors, HTML_TENSOR_ROWS_MAX), "tensors");
    html_section_end(stream);
}

/* ---- The page ------------------------------------------------------------------------------------------------ */

static void print_verdict(FILE *stream, const struct llavamed_output *output)
{
    const struct llavamed_result *result = &output->result;
    char detail[512];
    char size[CLI_FIGURE_BYTES];
    char nan[HTML_FIGURE_BYTES];
    char infinite[HTML_FIGURE_BYTES];
    char rounded[HTML_FIGURE_BYTES];
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < result->n_shards; i++) {
        n_bytes += result->shards[i].file_bytes;
    }
    cli_format_bytes(size, n_bytes);
    html_number(nan, result->n_nan);
    html_number(infinite, result->n_infinite);
    html_number(rounded, result->n_rounded);
    (void)snprintf(detail, sizeof detail,
                   "%zu %s in %zu %s, %s. Elements of the result: %s NaN, %s infinite, %s sums rounded. %zu %s.",
                   result->n_tensors, result->n_tensors == 1 ? "tensor" : "tensors", result->n_shards,
                   result->n_shards == 1 ? "shard" : "shards", size, nan, infinite, rounded, result->n_warnings,
                   result->n_warnings == 1 ? "warning" : "warnings");
    bool is_odd = result->n_nan + result->n_infinite > 0;
    html_page_verdict(stream, !is_odd,
                      is_odd ? "Complete: the output is base + delta, and holds values that are not finite"
                             : "Complete: the output is base + delta",
                      detail);
}

static bool print_output_page(FILE *stream, const struct llavamed_settings *settings,
                              const struct llavamed_output *output)
{
    const struct llavamed_result *result = &output->result;
    print_verdict(stream, output);
    html_texts(stream, "Warnings", result->warnings, result->n_warnings);
    bool has_memory = result->tensors == NULL || print_map(stream, result);
    print_inputs(stream, settings, output);
    print_output(stream, output);
    if (result->tensors != NULL) {
        print_tensors(stream, result);
    }
    return has_memory;
}

enum llavamed_status page_apply_write(const char *path, const struct llavamed_settings *settings,
                                      const struct llavamed_output *outputs, size_t n_outputs,
                                      struct llavamed_error *error)
{
    struct page_file page;
    enum llavamed_status status = page_file_begin(path, &page, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool has_memory = true;
    html_page_begin(page.stream, "Merge report");
    for (size_t i = 0; i < n_outputs; i++) {
        has_memory = print_output_page(page.stream, settings, &outputs[i]) && has_memory;
    }
    html_page_end(page.stream);
    if (!has_memory) {
        page_file_abandon(&page);
        return cli_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory for the map of the report");
    }
    return page_file_finish(&page, error);
}
