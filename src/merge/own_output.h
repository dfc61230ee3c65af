/* SPDX-License-Identifier: Apache-2.0 */
/* Telling a directory that this program wrote from every other one, by the manifest in it. */
#ifndef MERGE_OWN_OUTPUT_H
#define MERGE_OWN_OUTPUT_H

#include "core/error.h"
#include "io/directory.h"

/*
 * A directory is this program's when it holds a llavamed-manifest.json of our format and a version that we know, and
 * nothing but plain files that the manifest names, each with the size that it tells; the manifest itself, SHA256SUMS, a
 * signature of them all (model.sig, whoever made it) and what is left of claims aside. A list of sums alone says
 * nothing: anybody makes one. Nothing is hashed.
 *
 * OUT_EXISTS with what is wrong (`shown` names the directory, the hint a remedy) when it is not. With `complete` all
 * files that the manifest names have to be there, and SHA256SUMS, too. Failures of this run: IO, NO_MEMORY...
 */
enum llavamed_status own_output_check(const char *shown, const char *path, bool complete,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same of an OUT that was replaced, of which `listing` is a list of its names (files may be missing). OUT_EXISTS
 * alone for what this program did not write; OUT_UNWRITABLE when its manifest is there and cannot be understood now.
 */
enum llavamed_status own_output_check_replaced(const char *path, const struct directory_listing *listing,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same of a directory that may be in the middle of being published, or an OUT that was just replaced: what begins
 * as all files do that runs have only while they work (output_dir.h) counts as ours, and files may be missing. Without
 * a valid manifest nothing else may be there.
 */
enum llavamed_status own_output_check_work(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
