/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <string.h>

#include "cli/text.h"

#define HELP_COLUMNS 79
#define HELP_INDENT 25

/* The text from column `column` on, wrapped at blanks and indented to HELP_INDENT, at least two blanks on. */
static void print_wrapped(FILE *stream, size_t column, const char *text)
{
    if (column + 2 > HELP_INDENT) {
        (void)fputc('\n', stream);
        column = 0;
    }
    (void)fprintf(stream, "%*s", (int)(HELP_INDENT - column), "");
    column = HELP_INDENT;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (column > HELP_INDENT && column + 1 + n > HELP_COLUMNS) {
            (void)fprintf(stream, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        } else if (column > HELP_INDENT) {
            (void)fputc(' ', stream);
            column++;
        }
        (void)fprintf(stream, "%.*s", (int)n, text);
        column += n;
        text += n + (text[n] == ' ');
    }
    (void)fputc('\n', stream);
}

static void print_row(const struct option_row *row, FILE *stream)
{
    char left[80];
    char short_name[5] = "";
    if (row->short_name != '\0') {
        cli_format(short_name, sizeof short_name, "-%c, ", row->short_name);
    }
    cli_format(left, sizeof left, "  %s--%s%s%s", short_name, row->name, row->value == NULL ? "" : " ",
               row->value == NULL ? "" : row->value);
    (void)fputs(left, stream);
    print_wrapped(stream, strlen(left), row->help);
}

static void print_help(const struct option_table *table, bool all, FILE *stream)
{
    (void)fprintf(stream, "%s\n%s\n", table->usage, table->before);
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct option_row *row = &table->rows[i];
        if (row->help != NULL && (all || row->is_common)) {
            print_row(row, stream);
        }
    }
    (void)fprintf(stream, "\n%s%s", table->after, all ? table->more : "");
}

void options_print_help(const struct option_table *table, FILE *stream)
{
    print_help(table, false, stream);
}

void options_print_help_all(const struct option_table *table, FILE *stream)
{
    print_help(table, true, stream);
}
