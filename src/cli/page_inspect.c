/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page_inspect.h"

#include "cli/html_grid.h"
#include "cli/html_page.h"
#include "cli/html_scale.h"
#include "cli/html_text.h"
#include "cli/messages.h"
#include "cli/page_file.h"
#include "cli/text.h"

static const char *name_of(const void *context, size_t index)
{
    const struct llavamed_inspect_result *result = context;
    return result->tensors[index].name;
}

static void mark_of(const void *context, size_t index, struct html_mark *mark)
{
    const struct llavamed_inspect_result *result = context;
    const struct llavamed_inspect_stats *stats = &result->tensors[index].stats;
    if (!stats->is_known || stats->n_finite == 0) {
        (void)snprintf(mark->text, sizeof mark->text, "-");
        (void)snprintf(mark->detail, sizeof mark->detail, "%s, no finite floating-point values",
                       result->tensors[index].dtype);
        return;
    }
    char rms[HTML_FIGURE_BYTES];
    char least[HTML_FIGURE_BYTES];
    char most[HTML_FIGURE_BYTES];
    html_short_figure(mark->text, stats->rms);
    html_figure(rms, stats->rms, 3);
    html_figure(least, stats->min, 3);
    html_figure(most, stats->max, 3);
    mark->kind = html_scale_mark(stats->rms);
    (void)snprintf(mark->detail, sizeof mark->detail, "RMS %s, from %s to %s", rms, least, most);
}

static void print_verdict(FILE *stream, const struct llavamed_inspect_settings *settings,
                          const struct llavamed_inspect_result *result)
{
    char detail[512];
    char parameters[CLI_FIGURE_BYTES];
    char size[CLI_FIGURE_BYTES];
    char nan[HTML_FIGURE_BYTES];
    char infinite[HTML_FIGURE_BYTES];
    uint64_t n_nan = 0;
    uint64_t n_infinite = 0;
    for (size_t i = 0; i < result->n_tensors; i++) {
        n_nan += result->tensors[i].stats.n_nan;
        n_infinite += result->tensors[i].stats.n_infinite;
    }
    cli_format_count(parameters, result->n_parameters);
    cli_format_bytes(size, result->n_bytes);
    html_number(nan, n_nan);
    html_number(infinite, n_infinite);
    (void)snprintf(detail, sizeof detail, "%zu %s in %zu %s, %s parameters, %s. Elements: %s NaN, %s infinite.",
                   result->n_tensors, result->n_tensors == 1 ? "tensor" : "tensors", result->n_shards,
                   result->n_shards == 1 ? "file" : "files", parameters, size, nan, infinite);
    bool is_finite = n_nan + n_infinite == 0;
    html_page_verdict(stream, is_finite,
                      is_finite ? "All values are finite" : "Some values are NaN or infinite", detail);
    html_paragraph(stream, "Source: %s", settings->source);
    html_paragraph(stream, "Form: %s, %s", result->layout, result->format);
    if (result->release != NULL) {
        html_paragraph(stream, "By the recorded SHA-256 of its files it is %s.", result->release);
    }
    if (result->model_sha256[0] != '\0') {
        html_paragraph(stream, "Digest of the model: %s", result->model_sha256);
    }
}

static bool print_map(FILE *stream, const struct llavamed_inspect_result *result)
{
    const struct html_grid grid = {result, result->n_tensors, "RMS", name_of, mark_of};
    html_section_begin(stream, "RMS, layer by module");
    html_paragraph(stream, "Root of the mean square of each tensor's finite elements.");
    html_scale_legend(stream);
    bool has_memory = html_grid_print(stream, &grid, "RMS");
    html_section_end(stream);
    return has_memory;
}

static void print_files(FILE *stream, const struct llavamed_inspect_result *result)
{
    static const char *const columns[] = {"file", "#tensors", "#bytes", "recorded SHA-256", "recorded in", NULL};
    html_section_begin(stream, "Files");
    html_table_begin(stream, "Weights files", columns);
    for (size_t i = 0; i < result->n_shards && i < HTML_FILE_ROWS_MAX; i++) {
        const struct llavamed_inspect_shard *shard = &result->shards[i];
        html_row_begin(stream, shard->name);
        html_row_number(stream, shard->n_tensors);
        html_row_number(stream, shard->file_bytes);
        html_row_code(stream, shard->sha256);
        html_row_text(stream, shard->recorded_in == NULL ? "-" : shard->recorded_in);
        html_row_end(stream);
    }
    html_table_end(stream, html_left_out(result->n_shards, HTML_FILE_ROWS_MAX), "files");
    html_section_end(stream);
}

static void print_row(FILE *stream, const struct llavamed_inspect_result *result, size_t index, bool digests)
{
    const struct llavamed_inspect_tensor *tensor = &result->tensors[index];
    const struct llavamed_inspect_stats *stats = &tensor->stats;
    bool is_known = stats->is_known && stats->n_finite > 0;
    html_row_begin(stream, tensor->name);
    html_row_text(stream, tensor->dtype);
    html_row_shape(stream, tensor->rank, tensor->shape);
    html_row_figure(stream, is_known, stats->rms);
    html_row_figure(stream, is_known, stats->mean);
    html_row_figure(stream, is_known, stats->min);
    html_row_figure(stream, is_known, stats->max);
    html_row_number(stream, stats->n_zero);
    html_row_number(stream, stats->n_subnormal);
    html_row_number(stream, stats->n_nan);
    html_row_number(stream, stats->n_infinite);
    if (digests) {
        html_row_code(stream, tensor->sha256);
    }
    html_row_end(stream);
}

static void print_tensors(FILE *stream, const struct llavamed_inspect_result *result, bool digests)
{
    const char *columns[] = {"tensor", "dtype",  "#shape",     "#RMS", "#mean",     "#min", "#max",
                             "#zeros", "#subnormal", "#NaN", "#infinite", "SHA-256", NULL};
    if (!digests) {
        columns[sizeof columns / sizeof columns[0] - 2] = NULL;
    }
    html_section_begin(stream, "Tensors");
    html_table_begin(stream, "In the checkpoint's own order", columns);
    for (size_t i = 0; i < result->n_tensors && i < HTML_TENSOR_ROWS_MAX; i++) {
        print_row(stream, result, i, digests);
    }
    html_table_end(stream, html_left_out(result->n_tensors, HTML_TENSOR_ROWS_MAX), "tensors");
    html_section_end(stream);
}

enum llavamed_status page_inspect_write(const char *path, const struct llavamed_inspect_settings *settings,
                                        const struct llavamed_inspect_result *result, struct llavamed_error *error)
{
    struct page_file page;
    enum llavamed_status status = page_file_begin(path, &page, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    html_page_begin(page.stream, "Checkpoint report");
    print_verdict(page.stream, settings, result);
    html_texts(page.stream, "What is odd", result->notes, result->n_notes);
    bool has_memory = print_map(page.stream, result);
    print_files(page.stream, result);
    print_tensors(page.stream, result, settings->digests);
    html_page_end(page.stream);
    if (!has_memory) {
        page_file_abandon(&page);
        return cli_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory for the map of the report");
    }
    return page_file_finish(&page, error);
}
