/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_table.h"

#include <math.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

#define COLUMNS 100
#define LABEL_COLUMNS 12
#define TEXT_BYTES 2048
#define FITTED_BYTES (4 * COLUMNS + 1)
#define SHAPE_BYTES 512
#define SHAPE_COLUMNS_MAX 32

/*
 * "FIRST TEXT", wrapped at blanks, with the next lines under the text; a word that is longer than a line is shortened.
 */
static void print_paragraph(FILE *stream, const char *first, size_t indent, const char *text)
{
    size_t column = indent;
    (void)fprintf(stream, "%-*s", (int)indent, first);
    while (*text != '\0') {
        char word[TEXT_BYTES];
        char fitted[FITTED_BYTES];
        size_t n = strcspn(text, " ");
        cli_format(word, sizeof word, "%.*s", (int)n, text);
        cli_fit(fitted, sizeof fitted, COLUMNS - indent, word);
        size_t n_columns = strlen(fitted);
        if (column > indent && column + 1 + n_columns > COLUMNS) {
            (void)fprintf(stream, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', stream);
            column++;
        }
        (void)fputs(fitted, stream);
        column += n_columns;
        text += n + (text[n] == ' ');
    }
    (void)fputc('\n', stream);
}

/* ---- Lines of the head ---- */

static void print_text(FILE *stream, const char *label, const char *text)
{
    char fitted[FITTED_BYTES];
    cli_fit(fitted, sizeof fitted, COLUMNS - LABEL_COLUMNS - 1, text);
    (void)fprintf(stream, "%-*s %s\n", LABEL_COLUMNS, label, fitted);
}

static void print_number(FILE *stream, const char *label, uint64_t number, const char *figure)
{
    (void)fprintf(stream, "%-*s %16" PRIu64, LABEL_COLUMNS, label, number);
    (void)fprintf(stream, figure[0] == '\0' ? "\n" : "  (%s)\n", figure);
}

static void print_layout(FILE *stream, const struct llavamed_inspect_result *result)
{
    static const struct {
        const char *layout;
        const char *text;
    } texts[] = {
        {"directory", "a directory"}, {"meta", "Meta's release"}, {"file", "one file"}, {"archive", "a zip archive"}};
    const char *what = result->layout;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        what = strcmp(texts[i].layout, result->layout) == 0 ? texts[i].text : what;
    }
    char text[TEXT_BYTES];
    bool is_meta = strcmp(result->layout, "meta") == 0;
    cli_format(text, sizeof text, "%s%s%s%s, %zu shard%s%s%s", what,
               result->in_hub_cache ? " in the Hugging Face cache" : "", is_meta ? "" : ", ",
               is_meta ? "" : result->format, result->n_shards, result->n_shards == 1 ? "" : "s",
               result->index_name == NULL ? "" : ", ", result->index_name == NULL ? "" : result->index_name);
    print_text(stream, "layout", text);
}

static void print_release(FILE *stream, const struct llavamed_inspect_result *result)
{
    size_t n_recorded = 0;
    for (size_t i = 0; i < result->n_shards; i++) {
        n_recorded += result->shards[i].recorded_in == NULL ? 0 : 1;
    }
    char text[TEXT_BYTES];
    if (result->release != NULL) {
        cli_format(text, sizeof text, "%s, by recorded hashes (not checked here)", result->release);
    } else if (n_recorded == 0) {
        cli_format(text, sizeof text, "unknown: no hash is recorded");
    } else {
        cli_format(text, sizeof text, "unknown: hashes are recorded of %zu of %zu shards, of no published release",
                   n_recorded, result->n_shards);
    }
    print_text(stream, "release", text);
}

struct line {
    char text[TEXT_BYTES];
};

static void add_item(struct line *line, const char *item)
{
    size_t used = strlen(line->text);
    cli_format(line->text + used, sizeof line->text - used, "%s%s", used == 0 ? "" : ", ", item);
}

static void add_count(struct line *line, const char *name, uint64_t count, const char *behind)
{
    if (count > 0) {
        char item[128];
        cli_format(item, sizeof item, "%s%s%" PRIu64 "%s%s", name, name[0] == '\0' ? "" : " ", count,
                   behind[0] == '\0' ? "" : " ", behind);
        add_item(line, item);
    }
}

static void print_config(FILE *stream, const struct llavamed_inspect_config *config)
{
    if (config->file_name == NULL) {
        print_text(stream, "config", "none");
        return;
    }
    struct line line = {""};
    const char *const texts[] = {config->architecture, config->model_type, config->dtype};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i] != NULL) {
            add_item(&line, texts[i]);
        }
    }
    add_count(&line, "", config->n_layers, "layers");
    add_count(&line, "width", config->hidden_size, "");
    add_count(&line, "", config->n_heads, "heads");
    if (config->n_key_value_heads != config->n_heads) {
        add_count(&line, "", config->n_key_value_heads, "for keys and values");
    }
    add_count(&line, "context", config->context, "");
    add_count(&line, "vocabulary", config->n_rows, "");
    print_paragraph(stream, "config", LABEL_COLUMNS + 1, line.text[0] == '\0' ? config->file_name : line.text);
}

static void print_head(FILE *stream, const char *source, const struct llavamed_inspect_result *result)
{
    char figure[CLI_FIGURE_BYTES];
    print_text(stream, "source", source);
    if (strcmp(source, result->path) != 0) {
        print_text(stream, "found", result->path);
    }
    print_layout(stream, result);
    print_release(stream, result);
    print_config(stream, &result->config);
    if (result->archive_bytes > 0) {
        cli_format_bytes(figure, result->archive_bytes);
        print_number(stream, "archive", result->archive_bytes, figure);
    }
    cli_format_bytes(figure, result->n_bytes);
    print_number(stream, "bytes", result->n_bytes, figure);
    cli_format_count(figure, result->n_parameters);
    print_number(stream, "parameters", result->n_parameters, result->n_parameters < 1000 ? "" : figure);
    if (result->n_rows > 0) {
        print_number(stream, "vocabulary", result->n_rows, "");
        print_number(stream, "width", result->hidden_size, "");
    }
    if (result->n_layers > 0) {
        print_number(stream, "layers", result->n_layers, "");
    }
}

/* ---- Tables ---- */

static void print_shards(FILE *stream, const struct llavamed_inspect_result *result)
{
    (void)fprintf(stream, "\n%-60s %8s  %16s\n", "shards", "tensors", "bytes");
    for (size_t i = 0; i < result->n_shards; i++) {
        const struct llavamed_inspect_shard *shard = &result->shards[i];
        char name[FITTED_BYTES];
        char figure[CLI_FIGURE_BYTES];
        cli_fit(name, sizeof name, 52, shard->name);
        cli_format_bytes(figure, shard->file_bytes);
        (void)fprintf(stream, "%4zu  %s", i + 1, name);
        size_t n_columns = 0;
        for (const char *p = name; *p != '\0'; n_columns++) {
            size_t n = cli_utf8_bytes(p);
            p += n == 0 ? 1 : n;
        }
        (void)fprintf(stream, "%*s %8zu  %16" PRIu64 "  (%s)\n", (int)(54 - n_columns), "", shard->n_tensors,
                      shard->file_bytes, figure);
    }
}

static void print_dtypes(FILE *stream, const struct llavamed_inspect_result *result)
{
    (void)fprintf(stream, "\n%-40s %19s %8s  %16s\n", "dtypes", "elements", "tensors", "bytes");
    for (size_t i = 0; i < result->n_dtypes; i++) {
        const struct llavamed_inspect_dtype *dtype = &result->dtypes[i];
        char figure[CLI_FIGURE_BYTES];
        cli_format_bytes(figure, dtype->n_bytes);
        (void)fprintf(stream, "      %-34s %19" PRIu64 " %8zu  %16" PRIu64 "  (%s)\n", dtype->dtype, dtype->n_elems,
                      dtype->n_tensors, dtype->n_bytes, figure);
    }
}

static void format_shape(char text[SHAPE_BYTES], const struct llavamed_inspect_tensor *tensor)
{
    size_t used = 0;
    for (unsigned i = 0; i < tensor->rank; i++) {
        cli_format(text + used, SHAPE_BYTES - used, "%s%" PRIu64, i == 0 ? "[" : ", ", tensor->shape[i]);
        used = strlen(text);
    }
    cli_format(text + used, SHAPE_BYTES - used, tensor->rank == 0 ? "[]" : "]");
}

static size_t digits_of(uint64_t number)
{
    size_t n = 1;
    for (; number >= 10; number /= 10) {
        n++;
    }
    return n;
}

/* Widths of the columns before the name, without the blanks between them. */
struct widths {
    size_t dtype;
    size_t shape;
    size_t bytes;
    size_t shard;
    size_t name;
};

static void widen(size_t *width, size_t n)
{
    *width = n > *width ? n : *width;
}

static struct widths measure(const struct llavamed_inspect_result *result)
{
    struct widths widths = {.dtype = strlen("dtype"), .shape = strlen("shape"), .bytes = strlen("bytes"), .shard = 5};
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_inspect_tensor *tensor = &result->tensors[i];
        char shape[SHAPE_BYTES];
        format_shape(shape, tensor);
        widen(&widths.dtype, strlen(tensor->dtype));
        widen(&widths.shape, strlen(shape));
        widen(&widths.bytes, digits_of(tensor->n_bytes));
    }
    widths.shape = widths.shape < SHAPE_COLUMNS_MAX ? widths.shape : SHAPE_COLUMNS_MAX;
    widths.name = COLUMNS - 10 - widths.dtype - widths.shape - widths.bytes - widths.shard;
    return widths;
}

static void print_tensors(FILE *stream, const struct llavamed_inspect_result *result)
{
    struct widths widths = measure(result);
    (void)fprintf(stream, "\n  %-*s  %-*s  %*s  %*s  %s\n", (int)widths.dtype, "dtype", (int)widths.shape, "shape",
                  (int)widths.bytes, "bytes", (int)widths.shard, "shard", "tensor");
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_inspect_tensor *tensor = &result->tensors[i];
        char shape[SHAPE_BYTES];
        char fitted_shape[FITTED_BYTES];
        char name[FITTED_BYTES];
        char shard[CLI_FIGURE_BYTES] = "all";
        format_shape(shape, tensor);
        cli_fit(fitted_shape, sizeof fitted_shape, widths.shape < 8 ? 8 : widths.shape, shape);
        cli_fit(name, sizeof name, widths.name, tensor->name);
        if (tensor->shard != LLAVAMED_SHARDS_ALL) {
            cli_format(shard, sizeof shard, "%zu", tensor->shard + 1);
        }
        (void)fprintf(stream, "  %-*s  %-*s  %*" PRIu64 "  %*s  %s\n", (int)widths.dtype, tensor->dtype,
                      (int)widths.shape, fitted_shape, (int)widths.bytes, tensor->n_bytes, (int)widths.shard, shard,
                      name);
    }
}

void inspect_table_print(FILE *stream, const char *source, const struct llavamed_inspect_result *result, bool tensors)
{
    print_head(stream, source, result);
    print_shards(stream, result);
    print_dtypes(stream, result);
    if (tensors) {
        print_tensors(stream, result);
    }
    if (result->n_notes > 0) {
        (void)fputs("\nnotes\n", stream);
    }
    for (size_t i = 0; i < result->n_notes; i++) {
        print_paragraph(stream, "  -", 4, result->notes[i]);
    }
}

/* ---- Digests ---- */

static int compare_names(const void *a, const void *b)
{
    const struct llavamed_inspect_tensor *const *x = a;
    const struct llavamed_inspect_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

bool inspect_digests_print(FILE *stream, const struct llavamed_inspect_result *result)
{
    const struct llavamed_inspect_tensor **sorted = calloc(result->n_tensors + 1, sizeof *sorted);
    if (sorted == NULL) {
        return false;
    }
    for (size_t i = 0; i < result->n_tensors; i++) {
        sorted[i] = &result->tensors[i];
    }
    qsort(sorted, result->n_tensors, sizeof *sorted, compare_names);
    for (size_t i = 0; i < result->n_tensors; i++) {
        char name[TEXT_BYTES];
        cli_format(name, sizeof name, "%s", sorted[i]->name);
        (void)fprintf(stream, "sha256  %s  %s\n", sorted[i]->sha256, name);
    }
    (void)fprintf(stream, "sha256  %s  (model)\n", result->model_sha256);
    free(sorted);
    return true;
}

/* ---- Statistics ---- */

#define STATS_COLUMNS 60 /* before the name */
#define SHORT_BYTES 8

/* In four columns: "9999", "10K", "1.2M", "12M". */
static void format_short(char text[SHORT_BYTES], uint64_t count)
{
    static const char units[] = " KMGTPE";
    size_t k = 0;
    uint64_t unit = 1;
    while (count >= 10000 && (count / unit >= 1000 || (count + unit / 2) / unit >= 1000)) {
        unit *= 1000;
        k++;
    }
    uint64_t tenths = count / unit * 10 + (count % unit * 10 + unit / 2) / unit;
    if (k == 0) {
        cli_format(text, SHORT_BYTES, "%" PRIu64, count);
    } else if (tenths < 100) {
        cli_format(text, SHORT_BYTES, "%u.%u%c", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[k]);
    } else {
        cli_format(text, SHORT_BYTES, "%" PRIu64 "%c", (count + unit / 2) / unit, units[k]);
    }
}

static void print_stats_of(FILE *stream, const struct llavamed_inspect_stats *stats)
{
    const double values[] = {stats->min, stats->max, stats->mean, stats->rms};
    const uint64_t counts[] = {stats->n_zero, stats->n_subnormal, stats->n_nan, stats->n_infinite};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[CLI_FIGURE_BYTES] = "-";
        if (stats->n_finite > 0 && isfinite(values[i])) {
            cli_format(text, sizeof text, "%.3g", values[i]);
        }
        if (strlen(text) > 9) { /* -1.23e-308 */
            cli_format(text, sizeof text, "%.2g", values[i]);
        }
        (void)fprintf(stream, "%9s ", text);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char text[SHORT_BYTES] = "-";
        if (stats->is_known) {
            format_short(text, counts[i]);
        }
        (void)fprintf(stream, "%4s ", text);
    }
}

void inspect_stats_print(FILE *stream, const struct llavamed_inspect_result *result)
{
    (void)fprintf(stream, "%9s %9s %9s %9s %4s %4s %4s %4s %s\n", "min", "max", "mean", "rms", "zero", "subn", "nan",
                  "inf", "tensor");
    for (size_t i = 0; i < result->n_tensors; i++) {
        char name[FITTED_BYTES];
        cli_fit(name, sizeof name, COLUMNS - STATS_COLUMNS, result->tensors[i].name);
        print_stats_of(stream, &result->tensors[i].stats);
        (void)fprintf(stream, "%s\n", name);
    }
}
