/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SOURCE: whatever holds a checkpoint, seen as a set of logical tensors (name, dtype, shape) and one call that brings
 * their elements. Which files, which format and which layout stay behind this header; a new layout is a new file in
 * this folder and nothing above it changes.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "source/recorded.h"
#include "tensor/tensor.h"

struct source; /* opaque */

struct source_options {
    const char *role; /* "base" or "delta", for messages; static */
    bool check_crc; /* CRC-32 of every record that has one, MD5 of every file that a checklist.chk names */
    const volatile int *stop_signal; /* NULL, or polled while source_finish() reads whole files: INTERRUPTED */
    const struct llavamed_observer *observer; /* NULL, or told how far source_finish() is with whole files */
};

/* One weights file of the source. */
struct source_file {
    char *name;      /* owned: file name without directory */
    uint64_t n_bytes;
    struct recorded_hashes recorded;
};

/* A small file that lies beside the weights (config, tokenizer...). */
struct source_small_file {
    char *name; /* owned, without directory */
    char *path; /* owned */
    uint64_t n_bytes;
    struct recorded_hashes recorded;
};

/*
 * Opens `spec` (a directory in Hugging Face form or in Meta's, see meta.h; one weights file; or ORG/NAME[@REVISION] of
 * the local hub cache, see hub_cache.h; an existing path wins) and reads all headers; no weights. A directory that
 * holds several sets of weights gives safetensors before .bin (unless only the latter is more than Git LFS pointers),
 * the index before stray files, and these before Meta's; the choice is told by source_remarks(). *out is owned by the
 * caller.
 */
enum llavamed_status source_open(const char *spec, const struct source_options *options, struct source **out,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

void source_close(struct source *source); /* NULL is fine */

/* Borrowed, sealed, in the checkpoint's own order (shard files by name; inside a shard pickle or offset order). */
const struct tensor_set *source_tensors(const struct source *source);

const char *source_spec(const struct source *source);   /* as given to open, or the snapshot found for it */
const char *source_format(const struct source *source); /* static: "safetensors", "torch" or "meta" */
size_t source_files(const struct source *source, const struct source_file **files);
size_t source_small_files(const struct source *source, const struct source_small_file **files);

/* The path of weights file i, for identity checks (device and inode). Borrowed. */
const char *source_file_path(const struct source *source, size_t i);

/* Remarks made while opening: notes (choices) and warnings (a CRC that is absent...). Borrowed. */
struct source_remark {
    bool is_warning;
    char *text; /* owned by the source */
};
size_t source_remarks(const struct source *source, const struct source_remark **remarks);

/*
 * Reads elements [first, first + n_elems) of tensor `index` (into source_tensors()->tensors), row-major, little-endian,
 * in the tensor's own dtype. Thread-safe. Each element is meant to be read once: the CRC-32 of its bytes is noted on
 * the way, for source_finish(). The range must lie inside the tensor, and its dtype be of whole bytes.
 */
enum llavamed_status source_read(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * As source_read(), for a look before the work: nothing is noted, so that the same elements can be read once more
 * without making source_finish() read their records again, and what a look brings is not covered by the CRC-32s.
 */
enum llavamed_status source_peek(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * After the last source_read(): joins the CRC-32s of the pieces read (in whatever order) and compares each record's;
 * bytes of a record that were never read, or read more than once, are read again here through `scratch`. Also that no
 * file changed meanwhile, and that files have the MD5 recorded in a checklist.chk (HASH_MISMATCH; that reads them once
 * more, several at a time). CRC_MISMATCH names file, record and a tensor in it. Not thread-safe.
 */
enum llavamed_status source_finish(struct source *source, void *scratch, size_t scratch_bytes,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes read from storage through source_read(), source_peek() and source_finish(). */
uint64_t source_bytes_read(const struct source *source);

#endif
