/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of a model: a table with a row for each layer and a column for each part of one, a cell for each tensor in
 * the colour of its mark, and beside it the tensors that are in no layer.
 *
 * A tensor "STACK.layers.N.PART" is in layer N of STACK. Bounded whatever a model holds: the first HTML_GRID_STACKS
 * stacks, HTML_GRID_LAYERS layers of each and its first HTML_GRID_COLUMNS parts. What does not fit is beside them,
 * HTML_GRID_BESIDE tensors of it; the rest is told as a number.
 */
#ifndef CLI_HTML_GRID_H
#define CLI_HTML_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HTML_GRID_STACKS 4
#define HTML_GRID_LAYERS 256
#define HTML_GRID_COLUMNS 24
#define HTML_GRID_BESIDE 256

#define HTML_MARK_TEXT_BYTES 32 /* HTML_FIGURE_BYTES */
#define HTML_MARK_DETAIL_BYTES 256

/* How a tensor is shown. */
struct html_mark {
    int kind; /* html_scale.h */
    char text[HTML_MARK_TEXT_BYTES];     /* in the cell */
    char detail[HTML_MARK_DETAIL_BYTES]; /* behind its name, in the cell's title */
};

/* Tensors as a program has them. */
struct html_grid {
    const void *context;
    size_t n_tensors;
    const char *heading; /* what the cells hold: "RMS" */
    const char *(*name)(const void *context, size_t index);
    void (*mark)(const void *context, size_t index, struct html_mark *mark);
};

/* Where a name says that a tensor is; pointers into the name. */
struct html_place {
    const char *stack; /* "model"; not NUL-terminated */
    size_t stack_bytes;
    unsigned layer;
    const char *part; /* "self_attn.q_proj.weight" */
};

/* False when it is in no layer, or in one of HTML_GRID_LAYERS and up. */
bool html_grid_place(const char *name, struct html_place *place);

/* What a column is headed with: "q", "norm 1"; other parts as they are, without ".weight". */
void html_grid_label(char *label, size_t capacity, const char *part);

/* False without memory, and nothing is written then. */
bool html_grid_print(FILE *stream, const struct html_grid *grid, const char *caption);

#endif
