/* SPDX-License-Identifier: Apache-2.0 */
/* What meta*.c share: the open release. */
#ifndef SOURCE_META_PARTS_H
#define SOURCE_META_PARTS_H

#include "integrity/digest.h"
#include "source/meta_params.h"
#include "source/source_parts.h"

#define META_SHARDS_MAX 100 /* their numbers have two digits */

/* One tensor as the plan sees it. */
struct meta_tensor {
    struct meta_shape shape;
    size_t parts[META_SHARDS_MAX]; /* in shard order: indices into pieces.tensors */
};

struct meta {
    struct meta_params params;
    struct input_file *params_file; /* owned: where they are from; open until the end, for a look whether it changed */
    char *directory; /* owned: where params.json and the shards are */
    size_t n_shards;
    struct tensor_set pieces;    /* what the shards hold, under Meta's names: each name once per shard, never sealed */
    struct weights weights;      /* over `pieces`; file i is shard i */
    bool weights_ready;          /* weights_init() succeeded */
    struct meta_tensor *tensors; /* owned, as the tensors of the source's set */
    char (*md5)[MD5_HEX_BYTES];  /* owned, one per shard: as recorded, "" when it is not */
    const volatile int *stop_signal; /* may be NULL */
    const struct llavamed_observer *observer; /* may be NULL */
};

/* As the entries of struct source_layout; `state` is a struct meta. */
enum llavamed_status meta_read(void *state, const struct source_run *run, void *buffer, struct source_notes *notes,
                               struct llavamed_error *error) LLAVAMED_CHECK;
void meta_note(void *state, const struct source_notes *notes);
uint64_t meta_grain(const void *state, size_t index);

/* A line of md5sum. Names that do not fit and names elsewhere are of no file that is looked for: given as "". */
struct checklist_line {
    char hex[MD5_HEX_BYTES]; /* of either case */
    char name[64];
};

/* What is left of a checklist. The text is borrowed and ends in a NUL that n_left does not count. */
struct checklist_text {
    const char *path; /* for messages */
    const char *text;
    size_t n_left;
    size_t n_lines; /* behind */
};

/*
 * Reads the next line and goes past it; at the end of the text line->hex is "". CR LF and empty lines are passed over.
 * META_INVALID, with the number of the line, for what md5sum would not write.
 */
enum llavamed_status checklist_next(struct checklist_text *list, struct checklist_line *line,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads directory/checklist.chk where there is one: keeps the sums of shards, checks at once those of params.json and
 * tokenizer.model. META_INVALID for lines that md5sum would not write, INPUT_MISSING for a shard that it lists and that
 * is not there, HASH_MISMATCH.
 */
enum llavamed_status meta_read_checklist(struct meta *meta, struct llavamed_error *error) LLAVAMED_CHECK;

/* tokenizer.model of `directory` against tokenizer_checklist.chk, where there are both. As meta_read_checklist(). */
enum llavamed_status meta_check_tokenizer(const char *directory, struct llavamed_error *error) LLAVAMED_CHECK;

/* Reads every shard with a recorded MD5 once. HASH_MISMATCH for one that differs, and what read_through() gives. */
enum llavamed_status meta_check_shards(struct meta *meta, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
