/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/read_back.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "integrity/crc32.h"
#include "io/directory.h"
#include "io/input_file.h"

struct read_back {
    const struct plan *plan;
    const struct plan_shard *shard;
    const struct pipeline_tensor *written;
    struct input_file *file;
    struct sha256_stream *sha256;
    uint64_t offset; /* of the next byte */
    size_t position; /* of the next byte's tensor, or of the next tensor, in file order */
    uint32_t crc32;  /* of that tensor's bytes so far */
};

static enum llavamed_status fail_different(const struct read_back *back, const char *what, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH, "%s: what was read back is not what was written (%s)",
                      input_file_path(back->file), what);
    llavamed_hint(error, "storage or memory of this machine is faulty: write to another disk");
    return status;
}

enum llavamed_status read_back_open(const char *directory, const struct plan *plan, size_t shard,
                                    const struct pipeline_tensor *written, struct read_back **out,
                                    struct llavamed_error *error)
{
    struct read_back *made = calloc(1, sizeof *made);
    char *path = path_join(directory, plan->shards[shard].name);
    enum llavamed_status status = LLAVAMED_OK;
    if (made == NULL || path == NULL) {
        status = llavamed_fail_memory(error, sizeof *made, "reading a shard back");
        goto out;
    }
    *made = (struct read_back){.plan = plan, .shard = &plan->shards[shard], .written = written};
    status = input_file_open(path, &made->file, error);
    if (status == LLAVAMED_STATUS_INPUT_UNREADABLE || status == LLAVAMED_STATUS_INPUT_MISSING) {
        /* It is no input: this run has written it a moment ago. */
        error->status = LLAVAMED_STATUS_IO;
        status = LLAVAMED_STATUS_IO;
    }
    if (status == LLAVAMED_OK) {
        status = sha256_create(&made->sha256, error);
    }
    if (status == LLAVAMED_OK && input_file_bytes(made->file) != made->shard->layout.file_bytes) {
        status = fail_different(made, "it has another size", error);
    }
    if (status == LLAVAMED_OK) {
        input_file_drop_cache(made->file);
        *out = made;
        made = NULL;
    }
out:
    read_back_close(made);
    free(path);
    return status;
}

void read_back_close(struct read_back *back)
{
    if (back != NULL) {
        input_file_close(back->file);
        sha256_free(back->sha256);
        free(back);
    }
}

static enum llavamed_status judge_head(const struct read_back *back, const uint8_t *bytes, size_t n_bytes,
                                       struct llavamed_error *error)
{
    const struct safetensors_layout *layout = &back->shard->layout;
    if (back->offset >= layout->head_bytes) {
        return LLAVAMED_OK;
    }
    size_t n = (size_t)min_u64(n_bytes, layout->head_bytes - back->offset);
    return memcmp(bytes, layout->head + back->offset, n) == 0 ? LLAVAMED_OK
                                                              : fail_different(back, "its header differs", error);
}

static enum llavamed_status judge_tensor(const struct read_back *back, size_t tensor, struct llavamed_error *error)
{
    uint32_t want = back->written[tensor].crc32;
    if (back->crc32 == want) {
        return LLAVAMED_OK;
    }
    char what[LLAVAMED_PROBLEM_BYTES];
    (void)snprintf(what, sizeof what, "%.200s: CRC-32: got %08x, want %08x", back->plan->tensors[tensor].out.name,
                   back->crc32, want);
    return fail_different(back, what, error);
}

/* Adds to the CRC-32s of the tensors that these bytes belong to, and compares those that end here. */
static enum llavamed_status judge_tensors(struct read_back *back, const uint8_t *bytes, size_t n_bytes,
                                          struct llavamed_error *error)
{
    const struct safetensors_layout *layout = &back->shard->layout;
    uint64_t at = back->offset;
    const uint64_t end = back->offset + n_bytes;
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && back->position < layout->n_tensors) {
        size_t tensor = back->shard->tensors[layout->order[back->position]];
        uint64_t first = layout->file_offsets[back->position];
        uint64_t past = first + back->plan->tensors[tensor].out.n_bytes;
        at = max_u64(at, first);
        if (at > end || (at == end && past > end)) {
            break;
        }
        size_t n = (size_t)(min_u64(end, past) - at);
        back->crc32 = crc32_update(back->crc32, bytes + (at - back->offset), n);
        at += n;
        if (at < past) {
            break;
        }
        status = judge_tensor(back, tensor, error);
        back->position++;
        back->crc32 = 0;
    }
    return status;
}

enum llavamed_status read_back_next(struct read_back *back, void *buffer, size_t buffer_bytes, size_t *n_read,
                                    struct llavamed_error *error)
{
    size_t n = (size_t)min_u64(buffer_bytes, back->shard->layout.file_bytes - back->offset);
    if (n == 0) {
        *n_read = 0;
        return LLAVAMED_OK;
    }
    enum llavamed_status status = input_file_read(back->file, back->offset, buffer, n, error);
    if (status == LLAVAMED_OK) {
        status = judge_head(back, buffer, n, error);
    }
    if (status == LLAVAMED_OK) {
        status = judge_tensors(back, buffer, n, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_update(back->sha256, buffer, n, error);
    }
    if (status == LLAVAMED_OK) {
        back->offset += n;
        *n_read = n;
    }
    return status;
}

enum llavamed_status read_back_sha256(struct read_back *back, char hex[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    return sha256_finish(back->sha256, hex, error);
}
