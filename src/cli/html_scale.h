/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The colours of a heat map: eight steps of half a decade each, the same in every page, so that pages can be compared.
 * Colours grow darker on a light page and brighter on a dark one (ColorBrewer's YlGnBu, which people see who do not
 * see all colours); a cell has its number, too.
 */
#ifndef CLI_HTML_SCALE_H
#define CLI_HTML_SCALE_H

#include <stdio.h>

#define HTML_SCALE_STEPS 8

/* How a cell is marked. Steps of the scale are their numbers, 0 to HTML_SCALE_STEPS - 1. */
enum html_mark_kind {
    HTML_MARK_ZERO = HTML_SCALE_STEPS, /* exactly 0: below the scale */
    HTML_MARK_NONE,                    /* there is no figure */
    HTML_MARK_GOOD,
    HTML_MARK_BAD,
    HTML_MARK_UNKNOWN,
    HTML_MARK_KINDS
};

/* Where a step begins: 0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1. */
double html_scale_bound(int step);

/* The mark of a figure: of its magnitude; NONE for what is not finite. */
int html_scale_mark(double figure);

/* "h0" to "h7", "hz", "hn", "ok", "bad", "unk": the class of a mark. Static storage. */
const char *html_scale_class(int mark);

/* The rules of style for all classes; within <style>. */
void html_scale_style(FILE *stream);

/* What the colours mean, as a list. */
void html_scale_legend(FILE *stream);
void html_verdict_legend(FILE *stream);

#endif
