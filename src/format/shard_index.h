/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index beside a sharded checkpoint ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
 * {"metadata": {...}, "weight_map": {"TENSOR": "SHARD FILE", ...}}. Metadata is an object or absent, and not trusted;
 * other keys are passed over.
 */
#ifndef FORMAT_SHARD_INDEX_H
#define FORMAT_SHARD_INDEX_H

#include "format/reference_size.h"

#define SHARD_INDEX_BYTES_MAX 100000000
#define SHARD_COUNT_MAX 10000

struct shard_index_entry {
    char *tensor; /* owned */
    size_t file;  /* index into files */
};

struct shard_index {
    char **files; /* owned, each once, sorted by bytes; plain names: 1 to 255 bytes, no '/', '\\' or leading '.' */
    size_t n_files;
    struct shard_index_entry *entries; /* owned, sorted by tensor name, no name twice */
    size_t n_entries;
    bool has_total;       /* metadata has a total_size, a whole number up to JSON_INTEGER_MAX */
    uint64_t total_bytes; /* what it says: the bytes of all tensors, if it is true */
};

void shard_index_deinit(struct shard_index *index);

/*
 * JSON_INVALID, JSON_DUPLICATE_KEY, INDEX_INVALID (no weight_map or an empty one, a file name that is not plain),
 * TENSOR_NAME, INPUT_LIMIT, NO_MEMORY. `index` is filled only on success. O(n log n).
 */
enum llavamed_status shard_index_parse(const char *path, const char *json, size_t json_bytes, struct shard_index *index,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

struct shard_index_row {
    const char *tensor; /* borrowed */
    const char *file;   /* borrowed */
};

/*
 * Appends the index as huggingface_hub's save_torch_state_dict writes it: json.dump(indent=2) in the order of `rows`,
 * {"metadata": {"total_size": N}, "weight_map": {...}}, ASCII with \uXXXX escapes, no trailing newline.
 */
void shard_index_write_hub(struct buffer *out, uint64_t total_bytes, const struct shard_index_row *rows, size_t n_rows);

/*
 * Appends the index as transformers 4.28's save_pretrained writes it: json.dumps(indent=2, sort_keys=True) and a
 * newline. `rows` are sorted by the bytes of the tensor's name.
 */
void shard_index_write_reference(struct buffer *out, const struct reference_size *total,
                                 const struct shard_index_row *rows, size_t n_rows);

#endif
