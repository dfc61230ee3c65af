/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SOURCE: whatever holds a checkpoint, seen as a set of logical tensors (name, dtype, shape) and one call that brings
 * their elements. Which files, which format and which layout stay behind this header; a new layout is a new file in
 * this folder and nothing above it changes.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "io/input_identity.h"
#include "source/recorded.h"
#include "tensor/tensor.h"

struct source;  /* opaque */
struct archive; /* source/archive.h */

struct source_options {
    const char *role; /* "base" or "delta", for messages; static */
    bool check_crc; /* CRC-32 of every record that has one, MD5 of every file that a checklist.chk names; and a record
                       of hashes beside the files that cannot be read is an error, else a warning */
    bool crc_alone; /* of all this the CRC-32 alone: for an MD5 files are read once more */
    const volatile int *stop_signal; /* NULL, or polled by source_open(), source_sample(), source_finish() and while
                                        streams are read: INTERRUPTED */
    const struct llavamed_observer *observer; /* NULL, or told how far source_finish() is with whole files */
};

/*
 * One weights file of the source. A source inside an archive has the archive first, and behind it its weights files:
 * members, whose bytes are a part of the archive's.
 */
struct source_file {
    char *name; /* owned: file name without directory */
    uint64_t n_bytes;
    uint64_t modified_ns; /* at opening: since 1970, modulo 2^64 */
    const struct archive *archive; /* of a member: borrowed from the source; else NULL */
    struct recorded_hashes recorded;
};

/*
 * A small file that lies beside the weights (config, tokenizer...). It may be none: a FIFO, a device or a link to
 * nothing is here, too, and an error of who opens it.
 */
struct source_small_file {
    char *name; /* owned, without directory */
    char *path; /* owned; inside an archive: the archive's path, a slash and the name there */
    uint64_t n_bytes;
    const struct archive *archive; /* borrowed from the source; NULL for a file of a directory */
    struct input_identity seen;    /* when the source was opened; not known of one in an archive */
    struct recorded_hashes recorded;
};

/*
 * The whole of a small file: *bytes is owned by the caller and NUL-terminated (the NUL not counted). INPUT_LIMIT above
 * max_bytes, INPUT_CHANGED unless it is the file that was seen when the source was opened, and what reading gives.
 * Thread-safe.
 */
enum llavamed_status source_small_file_read(const struct source_small_file *file, size_t max_bytes, char **bytes,
                                            size_t *n_bytes, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Opens `spec` (a directory in Hugging Face form or in Meta's, see meta.h; a zip archive of one in Hugging Face form,
 * see archive.h; one weights file; or ORG/NAME[@REVISION] of the local hub cache, see hub_cache.h; an existing path
 * wins) and reads all headers; no weights. A directory that holds several sets of weights gives safetensors before .bin
 * (unless only the latter is more than Git LFS pointers), the index before stray files, and these before Meta's; the
 * choice is told by source_remarks(). *out is owned by the caller.
 */
enum llavamed_status source_open(const char *spec, const struct source_options *options, struct source **out,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

void source_close(struct source *source); /* NULL is fine */

/* Of an error that a file of the source is missing: how to get it, as the hint. */
void source_hint_missing(const struct source *source, struct llavamed_error *error);

/* Borrowed, sealed, in the checkpoint's own order (shard files by name; inside a shard pickle or offset order). */
const struct tensor_set *source_tensors(const struct source *source);

const char *source_spec(const struct source *source);   /* as given to open, or the snapshot found for it */
const char *source_format(const struct source *source); /* static: "safetensors", "torch" or "meta" */
size_t source_files(const struct source *source, const struct source_file **files);
size_t source_small_files(const struct source *source, const struct source_small_file **files);

/*
 * The path of weights file i, for messages and for identity checks (device and inode): "ARCHIVE/FOLDER/NAME" of a
 * member, which is nothing on disk. Borrowed.
 */
const char *source_file_path(const struct source *source, size_t i);

/*
 * The SHA-256 of what tells weights file i from another of the same size at little cost: sixteen blocks of 4 KiB of its
 * raw bytes, evenly spaced from the first to the last, or all of a smaller file, as it was opened; and the CRC-32s that
 * its directory has of its records. Of a file in a compressed archive only the CRC-32 that the archive has of it: the
 * blocks are the archive's. INTERRUPTED, INPUT_*, IO, NO_MEMORY.
 */
enum llavamed_status source_sample(const struct source *source, size_t i, char hex[SHA256_HEX_BYTES],
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* The shape in which a source came. */
enum source_kind {
    SOURCE_DIRECTORY, /* in Hugging Face form */
    SOURCE_META,      /* a directory in Meta's form */
    SOURCE_FILE,      /* one weights file */
    SOURCE_ARCHIVE,   /* a zip archive of a directory in Hugging Face form */
};
enum source_kind source_kind_of(const struct source *source);

/* Whether it lies in a Hugging Face cache. */
bool source_in_hub_cache(const struct source *source);

/* The shard index that was used; NULL: there is none. Borrowed. */
struct source_index {
    char *name; /* file name without directory */
    bool has_total;
    uint64_t total_bytes; /* what it says that all tensors take */
};
const struct source_index *source_index_of(const struct source *source);

/*
 * The number of heads by which the rows of rotary matrices are ordered anew, as in Meta's layout: as params.json told
 * it when the source was opened. No shape shows it. 0: rows come as they lie in the files.
 */
uint64_t source_heads(const struct source *source);

/*
 * The weights file, an index into source_files(), that a tensor lies in; SOURCE_FILES_ALL when each of them holds a
 * part of it, as in Meta's layout.
 */
#define SOURCE_FILES_ALL SIZE_MAX
size_t source_file_of(const struct source *source, size_t index);

/* Remarks made while opening: notes (choices) and warnings (a CRC that is absent...). Borrowed. */
struct source_remark {
    bool is_warning;
    char *text; /* owned by the source */
};
size_t source_remarks(const struct source *source, const struct source_remark **remarks);

/* A run of elements of one tensor. */
struct source_run {
    size_t tensor; /* index into source_tensors()->tensors */
    uint64_t first_elem;
    uint64_t n_elems;
};

/* The CRC-32 of a piece of a record that has one (a storage of a torch file), as it was read. */
struct source_note {
    uint64_t record; /* the source's own number of it, the same at every opening */
    uint64_t offset; /* in the record */
    uint64_t n_bytes;
    uint32_t crc32;
};

#define SOURCE_NOTES_MAX 64

/* What one read tells. Notes that find no room are left out: their pieces count as not read. */
struct source_notes {
    size_t n_notes;
    struct source_note notes[SOURCE_NOTES_MAX];
};

/*
 * Reads a run of elements, row-major, little-endian, in the tensor's own dtype. Thread-safe. The run must lie inside
 * the tensor, and its dtype be of whole bytes. *notes, which may be NULL, gets the CRC-32s of what was read appended;
 * they count when they are given to source_note().
 */
enum llavamed_status source_read_noting(struct source *source, const struct source_run *run, void *buffer,
                                        struct source_notes *notes, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Takes notes for source_finish(): these pieces of records have been read, now or by an earlier run from the same
 * files. Each piece is meant to be noted once. Thread-safe. Notes that fit no record are passed over.
 */
void source_note(struct source *source, const struct source_notes *notes);

/* Reads elements [first, first + n_elems) of tensor `index` and takes the notes at once. */
enum llavamed_status source_read(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * As source_read(), for a look before the work: nothing is noted, so that the same elements can be read once more
 * without making source_finish() read their records again, and what a look brings is not covered by the CRC-32s.
 */
enum llavamed_status source_peek(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The grain of a tensor: a read of whole multiples of this many elements, from such a multiple on, costs least. 1 when
 * any range is as good as another; at most what the tensor holds.
 */
uint64_t source_grain(const struct source *source, size_t index);

/*
 * Before source_finish(), of a source that is read in any order: others check the rest. Only those records are checked
 * then in which a tensor lies that is this share's; and whole files (against a checklist.chk, or what an archive
 * records of one without checksums of its own) that are. One for each of source_tensors() and source_files().
 */
void source_take_share(struct source *source, const bool *tensors, const bool *files);

/* The bytes that source_finish() reads of weights file i to check it as a whole. */
uint64_t source_whole_bytes(const struct source *source, size_t i);

/*
 * After the last source_note(): joins the CRC-32s of the pieces read (in whatever order) and compares each record's;
 * bytes of a record that were never read, or read more than once, are read again here through `scratch`. Also that no
 * file changed meanwhile, and that files have the MD5 recorded in a checklist.chk (HASH_MISMATCH; that reads them once
 * more, several at a time). CRC_MISMATCH names file, record and a tensor in it. Not thread-safe.
 */
enum llavamed_status source_finish(struct source *source, void *scratch, size_t scratch_bytes,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * ---- Sources that are read from front to back ----
 *
 * A compressed archive gives its elements in the order in which they lie in it, each once. Such a source has one stream
 * for each of its weights files; the streams are independent of each other, and together they bring every element of
 * every tensor. source_read() is not for such a source.
 */

/* How many streams there are; 0: this source is read in any order, with source_read(). */
size_t source_streams(const struct source *source);

/*
 * What comes next in a stream: the rest of a tensor, all of it at first. n_elems is 0 at the end of the stream, whose
 * checksums and structure have been checked by then (CRC_MISMATCH, ZIP_*, TORCH_*, INPUT_*). Tensors without elements
 * do not come, nor those whose dtype is not of whole bytes. One thread at a time may work on a stream; several may work
 * on several. After an error of this call or the next a stream is of no more use.
 */
enum llavamed_status source_stream_next(struct source *source, size_t stream, struct source_run *run,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/* The first n_elems (at least one) of what source_stream_next() gave; the rest of it comes next. */
enum llavamed_status source_stream_read(struct source *source, size_t stream, uint64_t n_elems, void *buffer,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Has these elements kept in memory when they come by, so that source_peek() can bring them afterwards: exactly this
 * range. To be told before any stream is read. A source that is read in any order has nothing to keep.
 */
enum llavamed_status source_keep(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether source_peek() can bring this range: always in a source that is read in any order, else once it was kept. */
bool source_has(const struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems);

/*
 * Reads the first 1/SOURCE_LOOK_PART of each stream ahead, and no less than least_bytes of what it has, for what is to
 * be kept, and turns back to the start. Nothing to do in a source that is read in any order. What source_stream_read()
 * gives; INTERRUPTED.
 */
#define SOURCE_LOOK_PART 16
enum llavamed_status source_look_ahead(struct source *source, uint64_t least_bytes,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes read from storage, by whatever call. */
uint64_t source_bytes_read(const struct source *source);

#endif
