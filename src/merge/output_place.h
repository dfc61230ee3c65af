/* SPDX-License-Identifier: Apache-2.0 */
/* Where OUT lies and what is there: the checks of output_dir_open(), which only look. */
#ifndef MERGE_OUTPUT_PLACE_H
#define MERGE_OUTPUT_PLACE_H

#include "merge/output_dir.h"

struct output_place {
    char *parent;  /* owned; the directory that holds OUT, or the nearest that exists above it; no links, no ".." */
    char *path;    /* owned; OUT itself, no links; NULL when the parent is missing */
    char *partial; /* owned; path + ".partial"; NULL when the parent is missing */
};

void output_place_deinit(struct output_place *place);

/* Resolves `out`. OUT_EXISTS for a link to nothing, OUT_UNWRITABLE for what cannot be resolved, NO_MEMORY. */
enum llavamed_status output_place_resolve(const char *out, struct output_place *place,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/* OUT_OVERLAPS_INPUT; INPUT_MISSING or INPUT_UNREADABLE for an input that cannot be looked at. */
enum llavamed_status output_place_check_overlap(const char *out, const struct output_place *place,
                                                const struct output_dir_input *inputs, size_t n_inputs,
                                                struct llavamed_error *error) LLAVAMED_CHECK;

/* OUT_UNWRITABLE unless the parent exists, can be written and OUT is no mount point. */
enum llavamed_status output_place_check_parent(const char *out, const struct output_place *place,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

enum output_content {
    OUTPUT_MISSING,
    OUTPUT_EMPTY, /* an empty directory */
    OUTPUT_OURS,  /* written by this program, nothing added (merge/own_output.h) */
};

/* What OUT is now. OUT_EXISTS when it is anything else; one of ours is refused too unless `force`. OUT_UNWRITABLE. */
enum llavamed_status output_place_look(const char *out, const struct output_place *place, bool force,
                                       enum output_content *content, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
