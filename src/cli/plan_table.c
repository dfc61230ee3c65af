/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan_table.h"

#include <inttypes.h>
#include <string.h>

#include "cli/text.h"

#define PATH_BYTES 1024

static void print_head(FILE *stream, int width, const char *name)
{
    (void)fprintf(stream, "\n%-*s  %8s  %16s\n", width, name, "tensors", "bytes");
}

static void print_row(FILE *stream, int width, const char *name, size_t n_tensors, uint64_t bytes)
{
    char printable[PATH_BYTES];
    cli_format(printable, sizeof printable, "%s", name);
    (void)fprintf(stream, "  %-*s  %8zu  %16" PRIu64 "\n", width - 2, printable, n_tensors, bytes);
}

static void print_path(FILE *stream, const char *name, const char *path)
{
    char printable[PATH_BYTES];
    cli_format(printable, sizeof printable, "%s", path);
    (void)fprintf(stream, "%-9s %s\n", name, printable);
}

static void print_amount(FILE *stream, const char *name, uint64_t bytes)
{
    char figure[CLI_FIGURE_BYTES];
    cli_format_bytes(figure, bytes);
    (void)fprintf(stream, "%-9s %16" PRIu64 "  (%s)\n", name, bytes, figure);
}

void plan_table_print(FILE *stream, const struct llavamed_settings *settings, const struct llavamed_result *result)
{
    bool makes_delta = settings->target != NULL;
    const char *other = makes_delta ? settings->target : settings->delta;
    if (settings->base != NULL && other != NULL) { /* finishing has neither */
        print_path(stream, "base", settings->base);
        print_path(stream, makes_delta ? "target" : "delta", other);
    }
    print_path(stream, "out", settings->out);
    if (settings->n_parts > 0) {
        (void)fprintf(stream, "%-9s %u of %u\n", "part", settings->part, settings->n_parts);
    }

    int width = 14;
    for (size_t i = 0; i < result->n_shards; i++) {
        size_t n = strlen(result->shards[i].name) + 2;
        width = n > (size_t)width && n < PATH_BYTES ? (int)n : width;
    }
    print_head(stream, width, "shards");
    for (size_t i = 0; i < result->n_shards; i++) {
        const struct llavamed_shard_report *shard = &result->shards[i];
        print_row(stream, width, shard->name, shard->n_tensors, shard->file_bytes);
    }
    print_head(stream, width, "operations");
    for (size_t i = 0; i < result->n_actions; i++) {
        const struct llavamed_action_report *action = &result->actions[i];
        print_row(stream, width, action->action, action->n_tensors, action->out_bytes);
    }
    (void)fputc('\n', stream);
    print_amount(stream, "to read", result->planned_read_bytes);
    print_amount(stream, "to write", result->planned_write_bytes);
    print_amount(stream, "free", result->free_bytes);
    char memory[CLI_FIGURE_BYTES];
    cli_format_memory(memory, result->pool_bytes);
    (void)fprintf(stream, "%-9s %16" PRIu64 "  (%s of buffers)\n", "memory", result->pool_bytes, memory);
    (void)fprintf(stream, "%-9s %16u\n", "threads", result->n_threads);
    (void)fprintf(stream, "%-9s %16s\n", "cpu", result->cpu == NULL ? "-" : result->cpu);
}

void plan_table_print_all(FILE *stream, const struct llavamed_settings *settings,
                          const struct llavamed_output *outputs, size_t n_outputs)
{
    uint64_t read_bytes = 0;
    uint64_t write_bytes = 0;
    for (size_t i = 0; i < n_outputs; i++) {
        struct llavamed_settings own = *settings;
        own.delta = outputs[i].delta;
        own.out = outputs[i].out;
        plan_table_print(stream, &own, &outputs[i].result);
        read_bytes += outputs[i].result.planned_read_bytes;
        write_bytes += outputs[i].result.planned_write_bytes;
        (void)fputc('\n', stream);
    }
    (void)fprintf(stream, "all %zu outputs\n", n_outputs);
    print_amount(stream, "to read", read_bytes);
    print_amount(stream, "to write", write_bytes);
}
