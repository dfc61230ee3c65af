/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights files: safetensors files, torch files in zip and in legacy form. Their tensors are contiguous runs of bytes
 * or, in torch files, views with strides. Everything a source of
 * such files needs: headers to descriptors, elements to buffers, and the CRC-32 of torch's records.
 */
#ifndef SOURCE_WEIGHTS_H
#define SOURCE_WEIGHTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/safetensors.h"
#include "io/input_file.h"
#include "source/place.h"
#include "source/record_crc.h"
#include "source/source.h"
#include "source/strided.h"
#include "tensor/tensor.h"

enum weights_format { WEIGHTS_SAFETENSORS, WEIGHTS_TORCH };

const char *weights_format_name(enum weights_format format); /* "safetensors", "torch" */

struct weights_file {
    struct input_file *file; /* owned */
    enum weights_format format;
    size_t n_records;     /* 0 for safetensors */
    size_t n_without_crc; /* records that cannot be checked */
    uint64_t device;      /* as input_file.h has them */
    uint64_t inode;
};

/* Where the bytes of a tensor are. */
struct weights_span {
    size_t file;
    size_t record;   /* index into records, or WEIGHTS_NO_RECORD */
    size_t view;     /* index into views, or WEIGHTS_NO_VIEW for a contiguous run of bytes */
    uint64_t offset; /* of the first element, in the file */
    bool row_major;  /* as source_place has it */
};

#define WEIGHTS_NO_RECORD SIZE_MAX
#define WEIGHTS_NO_VIEW SIZE_MAX

/* One record of a torch file: a storage. Or all of a safetensors file that lies in an archive. */
struct weights_record {
    size_t file;
    char *key; /* owned: the storage's name in the archive; NULL for a whole file */
    uint64_t offset;
    uint64_t n_bytes;
    uint32_t crc32;
    bool has_crc;
    size_t tensor; /* one that lies in it, or TENSOR_NOT_FOUND */
    bool is_others; /* weights_finish() leaves it to somebody else */
    struct record_crc seen;
};

struct weights {
    struct weights_file *files; /* owned, in the order in which they were added */
    size_t n_files;
    size_t files_capacity;
    struct weights_span *spans; /* owned, as the tensors of `set` */
    size_t spans_capacity;
    struct strided_view *views; /* owned */
    size_t n_views;
    size_t views_capacity;
    struct weights_record *records; /* owned */
    size_t n_records;
    size_t records_capacity;
    struct tensor_set *set; /* borrowed: where the descriptors go */
    bool check_crc;
    const volatile int *stop_signal; /* may be NULL; polled while a file is added, for samples, by weights_finish() */
    pthread_mutex_t mutex; /* over the `seen` of all records */
    atomic_uint_fast64_t bytes_read;
};

enum llavamed_status weights_init(struct weights *weights, struct tensor_set *set, bool check_crc,
                                  struct llavamed_error *error) LLAVAMED_CHECK;
void weights_deinit(struct weights *weights);

/*
 * Opens `path`, tells its format by its first bytes, reads its headers and appends its tensors to the set (not sealed
 * here). After a failure the whole is only good for weights_deinit(). What opening, safetensors_parse() and
 * torch_file_read() give; INTERRUPTED; INPUT_UNSUPPORTED from weights_probe(); INPUT_LIMIT when views make a tensor, or
 * all of them a file, larger than strided_size_is_sane() allows; INPUT_UNSAFE for a file that was added before, by
 * whatever name.
 */
enum llavamed_status weights_add_file(struct weights *weights, const char *path,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same with a file that is open: it is taken over, on failure too. `member_crc32`, when not NULL, is the CRC-32 of
 * the whole file as an archive records it; it is used where the format has no checksums of its own (safetensors).
 */
enum llavamed_status weights_add_open(struct weights *weights, struct input_file *file, const uint32_t *member_crc32,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* The file (index into files) of a tensor of the set; `weights` is a struct weights. */
size_t weights_file_of(const void *weights, size_t tensor);

/*
 * As source_read_noting(), source_note() and source_finish(). Reads of views with strides tell nothing of a record's
 * CRC-32: weights_finish() reads such a record again. Records without a tensor are not checked: nothing of them was
 * used.
 */
enum llavamed_status weights_read(struct weights *weights, const struct source_run *run, void *buffer,
                                  struct source_notes *notes, struct llavamed_error *error) LLAVAMED_CHECK;
void weights_note(struct weights *weights, const struct source_notes *notes);

/* As source_grain(), but may be 0 or more than the tensor has. */
uint64_t weights_grain(const struct weights *weights, size_t index);

/* As source_place(). */
bool weights_place(const struct weights *weights, size_t index, struct source_place *place);

/* Elements that lie together in a tensor and apart in memory. */
struct weights_pieces {
    size_t tensor;
    uint64_t first_elem;        /* from there on they fill the pieces one after the other */
    const struct iovec *pieces; /* of whole elements, none empty; all together inside the tensor */
    size_t n_pieces;
};

/* weights_read() of scattered elements. */
enum llavamed_status weights_read_pieces(struct weights *weights, const struct weights_pieces *wanted,
                                         struct source_notes *notes, struct llavamed_error *error) LLAVAMED_CHECK;

/* INPUT_CHANGED when a file is not as it was when it was opened, or its name is another's now. */
enum llavamed_status weights_check_unchanged(const struct weights *weights,
                                             struct llavamed_error *error) LLAVAMED_CHECK;

enum llavamed_status weights_finish(struct weights *weights, void *scratch, size_t scratch_bytes,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * For source_take_share(): takes the records of these files and leaves those of the others; then, of a record that is
 * no whole file, takes or leaves that of a tensor of the set.
 */
void weights_take_files(struct weights *weights, const bool *files);
void weights_take_record(struct weights *weights, size_t tensor, bool takes);

/*
 * What kind of weights file this is, whatever its name, and its first bytes (zeros behind the end of a shorter file).
 * INPUT_UNSUPPORTED for what is recognised as something else and for what is not recognised, INPUT_TRUNCATED for a
 * download that has not ended (both recognise.h).
 */
enum llavamed_status weights_probe(struct input_file *file, enum weights_format *format,
                                   uint8_t prefix[SAFETENSORS_PREFIX_BYTES],
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* The same of a file that begins with these bytes: RECOGNISE_BYTES of them (recognise.h), or all that it has. */
enum llavamed_status weights_probe_bytes(const char *path, const uint8_t *bytes, size_t n_bytes,
                                         enum weights_format *format, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
