/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/read_back.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "integrity/crc32.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/shard_digests.h"
#include "merge/shard_segments.h"

struct read_back {
    const struct plan *plan;
    const struct plan_shard *shard;
    const struct pipeline_tensor *written;
    struct input_file *file;
    struct sha256_stream *sha256;
    uint64_t offset; /* of the next byte */
    /* The shard is segment 0, data 0, segment 1 ...: which part the next byte belongs to, and what is left of it. */
    bool in_data;
    size_t position; /* of the data, in file order; of the data behind the segment */
    uint64_t left;
    struct shard_segments segments;
    struct shard_digests digests;
    size_t segment_bytes; /* of the segment at which it is */
    uint32_t crc32;       /* of the data's bytes so far */
};

static enum llavamed_status fail_different(const struct read_back *back, const char *what, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH, "%s: what was read back is not what was written (%s)",
                      input_file_path(back->file), what);
    llavamed_hint(error, "storage or memory of this machine is faulty: write to another disk");
    return status;
}

static void begin_segment(struct read_back *back)
{
    back->in_data = false;
    back->segment_bytes = shard_segments_render(&back->segments);
    back->left = back->segment_bytes;
}

enum llavamed_status read_back_open(const char *directory, const struct plan *plan, size_t shard,
                                    struct pipeline_outcome *outcome, struct read_back **out,
                                    struct llavamed_error *error)
{
    struct read_back *made = calloc(1, sizeof *made);
    char *path = path_join(directory, plan->shards[shard].name);
    enum llavamed_status status = LLAVAMED_OK;
    if (made == NULL || path == NULL) {
        status = llavamed_fail_memory(error, sizeof *made, "reading a shard back");
        goto out;
    }
    *made = (struct read_back){.plan = plan, .shard = &plan->shards[shard], .written = outcome->tensors};
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
        status = shard_segments_init(&made->segments, made->shard, made->written, error);
    }
    if (status == LLAVAMED_OK) {
        status = shard_digests_init(&made->digests, plan, shard, outcome->tensor_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        begin_segment(made);
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
        shard_segments_deinit(&back->segments);
        shard_digests_deinit(&back->digests);
        free(back);
    }
}

/* The tensor whose data it is at. */
static size_t tensor_of(const struct read_back *back)
{
    return back->shard->tensors[back->shard->layout.order[back->position]];
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

/* The part is read: goes on to the next one. There is none behind the last segment. */
static enum llavamed_status end_part(struct read_back *back, struct llavamed_error *error)
{
    size_t tensor = tensor_of(back);
    if (!back->in_data) {
        back->in_data = true;
        back->crc32 = 0;
        back->left = back->plan->tensors[tensor].out.n_bytes;
        return LLAVAMED_OK;
    }
    enum llavamed_status status = judge_tensor(back, tensor, error);
    back->position++;
    begin_segment(back);
    return status;
}

/* Compares segments, and adds to the CRC-32 and the digest of data. */
static enum llavamed_status judge(struct read_back *back, const uint8_t *bytes, size_t n_bytes,
                                  struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    size_t done = 0;
    for (;;) {
        size_t n = (size_t)min_u64(back->left, n_bytes - done);
        if (back->in_data) {
            back->crc32 = crc32_update(back->crc32, bytes + done, n);
            status = shard_digests_feed(&back->digests, tensor_of(back), bytes + done, n, error);
        } else if (memcmp(bytes + done, back->segments.bytes + (back->segment_bytes - back->left), n) != 0) {
            return fail_different(back, "its headers differ", error);
        }
        done += n;
        back->left -= n;
        bool at_end = !back->in_data && back->position == back->shard->layout.n_data;
        if (status != LLAVAMED_OK || back->left > 0 || at_end) {
            return status;
        }
        status = end_part(back, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
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
        status = judge(back, buffer, n, error);
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
