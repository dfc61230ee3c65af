/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of a report: one HTML5 document that needs no script and loads nothing, light and dark, for a screen of any
 * width and for paper. All texts are escaped here. Write errors are left on the stream.
 */
#ifndef CLI_HTML_PAGE_H
#define CLI_HTML_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Rows of a table of tensors, of findings, of files and texts; what is more is told as a number. */
#define HTML_TENSOR_ROWS_MAX 2000
#define HTML_FINDING_ROWS_MAX 1000
#define HTML_FILE_ROWS_MAX 1000
#define HTML_TEXTS_MAX 200

/* How the first lines of a page begin: a file that does not begin so is no page of ours (page_file.h). */
#define HTML_PAGE_MARK "<!DOCTYPE html>\n<!-- llavamed report -->\n"

/* From the first line to the heading. */
void html_page_begin(FILE *stream, const char *title);

/* What the run says, in words, and how it is meant. */
void html_page_verdict(FILE *stream, bool is_good, const char *words, const char *detail);

/* The notice, the program and its version, the end. */
void html_page_end(FILE *stream);

void html_section_begin(FILE *stream, const char *heading);
void html_section_end(FILE *stream);
void html_paragraph(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A list of texts under a heading of its own; nothing when there are none. */
void html_texts(FILE *stream, const char *heading, char *const *texts, size_t n_texts);

/* Columns by name, up to NULL; one that begins with '#' (not shown) holds numbers. The table scrolls by itself. */
void html_table_begin(FILE *stream, const char *caption, const char *const *columns);
void html_table_end(FILE *stream, uint64_t n_left_out, const char *what);

/* How many of `n` rows a table of `n_most` has no room for. */
static inline uint64_t html_left_out(uint64_t n, uint64_t n_most)
{
    return n > n_most ? n - n_most : 0;
}

/* A row: its first cell is its header. */
void html_row_begin(FILE *stream, const char *header);
void html_row_text(FILE *stream, const char *text);
void html_row_code(FILE *stream, const char *text); /* digests; may be broken anywhere. Empty and NULL: a dash */
void html_row_number(FILE *stream, uint64_t number);
void html_row_figure(FILE *stream, bool is_known, double figure);
void html_row_end(FILE *stream);

/* "32000 × 4096"; "scalar". */
void html_row_shape(FILE *stream, unsigned rank, const uint64_t *shape);

#endif
