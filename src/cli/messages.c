/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/messages.h"

#include <stdarg.h>
#include <string.h>

#include "cli/text.h"

enum llavamed_status cli_fail(struct llavamed_error *error, enum llavamed_status status, const char *format, ...)
{
    memset(error, 0, sizeof *error);
    error->status = status;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    llavamed_make_printable(error->message);
    return status;
}

void cli_hint(struct llavamed_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->hint, sizeof error->hint, format, args);
    va_end(args);
    llavamed_make_printable(error->hint);
}

void messages_line(FILE *stream, const char *kind, const char *text)
{
    char line[LLAVAMED_MESSAGE_BYTES + 512];
    cli_format(line, sizeof line, "%s: %s%s%s", program_name, kind == NULL ? "" : kind, kind == NULL ? "" : ": ", text);
    (void)fprintf(stream, "%s\n", line);
}

void messages_error(FILE *stream, const struct llavamed_error *error)
{
    messages_line(stream, "error", error->message);
    size_t n_listed = error->n_problems < LLAVAMED_PROBLEMS_MAX ? error->n_problems : LLAVAMED_PROBLEMS_MAX;
    for (size_t i = 0; i < n_listed; i++) {
        messages_line(stream, "problem", error->problems[i]);
    }
    if (error->n_problems > n_listed) {
        char more[64];
        cli_format(more, sizeof more, "... and %zu more", error->n_problems - n_listed);
        messages_line(stream, "problem", more);
    }
    if (error->hint[0] != '\0') {
        messages_line(stream, "hint", error->hint);
    }
}

void messages_research_notice(FILE *stream)
{
    messages_line(stream, "notice",
                  "LLaVA-Med is for research only, not for clinical use: see NOTICE-research-only.md");
}
