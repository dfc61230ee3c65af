/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/args.h"
#include "cli/option_table.h"
#include "cli/text.h"

#define HELP_COLUMNS 79
#define HELP_INDENT 25

/* The text from column `column` on, wrapped at blanks and indented to HELP_INDENT. */
static void print_wrapped(FILE *stream, size_t column, const char *text)
{
    if (column >= HELP_INDENT) {
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

void args_print_help(FILE *stream)
{
    (void)fputs("Usage: llavamed-apply --base SOURCE --delta SOURCE --out DIR [options]\n\n"
                "DIR = BASE + DELTA, bit for bit as PyTorch adds, in a small fixed memory.\n\n",
                stream);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->help == NULL) {
            continue;
        }
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
    (void)fputs("\nA SOURCE is a directory in Hugging Face form, a .zip of one, or a weights file.\n"
                "A SIZE is in bytes or has a unit: KB MB GB TB (decimal), KiB MiB GiB TiB.\n"
                "Old names: --base-model-path, --delta-path, --target, --target-model-path.\n"
                "Exit status: 0 done, 1 verification failed, 2 usage, 3 input, 4 base and delta\n"
                "do not belong together, 5 output, 6 stopped part-way, 70 bug, 128+N signal N.\n",
                stream);
}
