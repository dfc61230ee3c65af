/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a tensor lies in memory once torch has loaded its file: a view of a storage of which other tensors may be views,
 * too. Nothing of this matters where elements are read (source.h); it does to who wants to know what a program would
 * have done that adds to such tensors in place.
 */
#ifndef SOURCE_PLACE_H
#define SOURCE_PLACE_H

#include "source/source.h"
#include "source/strided.h"

struct source_place {
    size_t storage; /* the same number for all tensors of the source that are views of this storage */
    uint64_t storage_bytes;
    bool row_major;           /* its strides and offset are exactly those of a new tensor, but for where it begins */
    struct strided_view view; /* offset: from the front of the storage */
};

/*
 * false: nothing of other tensors, as far as is known. So it is in safetensors files, which have no storages, in Meta's
 * layout, whose matrices are joined and permuted, and in a source that is read from front to back, where no two tensors
 * may share a storage.
 */
bool source_place(const struct source *source, size_t index, struct source_place *place);

/* One past the last byte of the view, from the front of the storage; its offset when it has no elements. */
uint64_t source_place_end(const struct source_place *place);

/* Whether a stride of 0 makes one element of the storage several of the tensor. */
bool source_place_repeats(const struct source_place *place);

/*
 * The search that answers the next two questions, which are hard in general and easy for the views that people make, in
 * steps of some nanoseconds. Beyond 100,000 of them, or *steps_left, the answer is yes; those taken are taken off that,
 * which so is a bound for any number of questions.
 */

/* Whether, but for that, two elements of the tensor are one in the storage. */
bool source_place_overlaps_itself(const struct source_place *place, uint64_t *steps_left);

/* Whether two tensors of one storage and dtype have an element of it in common. */
bool source_place_overlap(const struct source_place *a, const struct source_place *b, uint64_t *steps_left);

#endif
