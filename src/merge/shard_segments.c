/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/shard_segments.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum llavamed_status shard_segments_init(struct shard_segments *segments, const struct plan_shard *shard,
                                         const struct pipeline_tensor *written, struct llavamed_error *error)
{
    const struct shard_layout *layout = &shard->layout;
    *segments = (struct shard_segments){.shard = shard, .written = written};
    segments->sums = calloc(layout->n_data + 1, sizeof *segments->sums);
    segments->bytes = malloc(layout->segment_bytes_max + 1);
    if (segments->sums == NULL || segments->bytes == NULL) {
        shard_segments_deinit(segments);
        return llavamed_fail_memory(error, layout->segment_bytes_max, "the headers of a shard");
    }
    return LLAVAMED_OK;
}

void shard_segments_deinit(struct shard_segments *segments)
{
    free(segments->sums);
    free(segments->bytes);
    memset(segments, 0, sizeof *segments);
}

size_t shard_segments_render(struct shard_segments *segments)
{
    const struct shard_layout *layout = &segments->shard->layout;
    size_t i = segments->next++;
    assert(i <= layout->n_data);
    if (i > 0) {
        const struct pipeline_tensor *written = &segments->written[segments->shard->tensors[layout->order[i - 1]]];
        segments->sums[i - 1] = (struct torch_layout_sum){written->crc32, written->front};
    }
    shard_layout_render(layout, i, segments->sums, segments->bytes);
    return shard_layout_segment_bytes(layout, i);
}

enum llavamed_status shard_segments_write(struct shard_segments *segments, size_t until, struct output_file *file,
                                          struct sha256_stream *sha256, uint64_t *n_bytes, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && segments->next <= until) {
        uint64_t offset = shard_layout_segment_offset(&segments->shard->layout, segments->next);
        size_t n = shard_segments_render(segments);
        if (n == 0) {
            continue;
        }
        status = output_file_write(file, offset, segments->bytes, n, error);
        if (status == LLAVAMED_OK && sha256 != NULL) {
            status = sha256_update(sha256, segments->bytes, n, error);
        }
        *n_bytes += n;
    }
    return status;
}
