/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of HTML written to a stream. Write errors are left on it. */
#ifndef CLI_HTML_TEXT_H
#define CLI_HTML_TEXT_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A text from anywhere, as text of an element or value of an attribute in double quotes: & < > " ' become references,
 * what llavamed_make_printable() replaces becomes '?'.
 */
void html_text(FILE *stream, const char *text);

/* The same of a text that is made here, cut off at 2 KB; `format` is no HTML either. */
void html_textf(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
void html_textv(FILE *stream, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#define HTML_FIGURE_BYTES 32

/* A figure in `digits` significant digits: "0.0123", "1.2e-05"; "-" for what is not finite. */
void html_figure(char text[HTML_FIGURE_BYTES], double figure, int digits);

/* The same in two digits, and short, for a cell: "0.012", "3.2e-4". */
void html_short_figure(char text[HTML_FIGURE_BYTES], double figure);

/* A number in groups of three: "6,738,415,616". */
void html_number(char text[HTML_FIGURE_BYTES], uint64_t number);

#endif
