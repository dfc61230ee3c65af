/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a delta whose tensors share memory, or elements of one tensor that do. The reference adds the base to
 * the tensors as torch loaded them, in place, so that what lies in two of them gets the base of both. Whether that is
 * meant depends on how such a delta was made, which nobody can see; here it is refused. Measured with the reference
 * itself (tests/interop/shared_storage.py), for a tensor that keeps its dtype:
 *
 *   the memory of two tensors that overlaps       both get both bases                refused
 *   a tensor that overlaps itself                 an element gets several            refused
 *   a stride of 0 (expanded)                      an error of torch                  each element gets its base; a
 * warning views that do not overlap                     each gets its base                 so here
 *
 * A tensor that is converted to another dtype is a copy, there and here, and shares nothing.
 */
#ifndef MERGE_SHARED_STORAGE_H
#define MERGE_SHARED_STORAGE_H

#include "core/warnings.h"
#include "merge/plan.h"
#include "source/source.h"

/*
 * INPUT_UNSUPPORTED for a delta that is refused, with the two tensors; `delta_spec` names it. Warnings: of strides of
 * 0; of views, when the plan is for torch files, since the reference saves views as they are, with what else is in
 * their storage, and files that are written here hold each tensor by itself. O(n log n), where views are as people make
 * them; INPUT_LIMIT where they are such that it would take long.
 */
enum llavamed_status shared_storage_check(const struct plan *plan, const struct source *delta, const char *delta_spec,
                                          struct warnings *warnings, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
