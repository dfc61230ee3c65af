/* SPDX-License-Identifier: Apache-2.0 */
#include "format/shard_layout.h"

#include <string.h>

bool shard_format_is_torch(enum shard_format format)
{
    return format != SHARD_SAFETENSORS;
}

static enum llavamed_status build_safetensors(const struct tensor *const *tensors, size_t n_tensors,
                                              struct shard_layout *layout, struct llavamed_error *error)
{
    struct safetensors_layout *made = &layout->as.safetensors;
    enum llavamed_status status = safetensors_layout_build(tensors, n_tensors, made, error);
    if (status == LLAVAMED_OK) {
        layout->order = made->order;
        layout->file_offsets = made->file_offsets;
        layout->n_data = made->n_tensors;
        layout->file_bytes = made->file_bytes;
        layout->segment_bytes_max = made->head_bytes;
    }
    return status;
}

static enum llavamed_status build_torch(const char *file_name, const struct tensor *const *tensors, size_t n_tensors,
                                        struct shard_layout *layout, struct llavamed_error *error)
{
    struct torch_layout *made = &layout->as.torch;
    const struct torch_dict dict = {.tensors = tensors, .n_tensors = n_tensors};
    enum torch_profile profile = layout->format == SHARD_TORCH_1_13 ? TORCH_1_13 : TORCH_2_13;
    enum llavamed_status status = torch_layout_build(profile, file_name, &dict, made, error);
    if (status == LLAVAMED_OK) {
        layout->order = made->order;
        layout->file_offsets = made->file_offsets;
        layout->n_data = made->n_stored;
        layout->file_bytes = made->file_bytes;
        layout->segment_bytes_max = made->segment_bytes_max;
    }
    return status;
}

enum llavamed_status shard_layout_build(enum shard_format format, const char *file_name,
                                        const struct tensor *const *tensors, size_t n_tensors,
                                        struct shard_layout *layout, struct llavamed_error *error)
{
    struct shard_layout made = {.format = format};
    enum llavamed_status status = shard_format_is_torch(format)
                                      ? build_torch(file_name, tensors, n_tensors, &made, error)
                                      : build_safetensors(tensors, n_tensors, &made, error);
    if (status == LLAVAMED_OK) {
        *layout = made;
    }
    return status;
}

void shard_layout_deinit(struct shard_layout *layout)
{
    if (shard_format_is_torch(layout->format)) {
        torch_layout_deinit(&layout->as.torch);
    } else {
        safetensors_layout_deinit(&layout->as.safetensors);
    }
    memset(layout, 0, sizeof *layout);
}

uint64_t shard_layout_segment_offset(const struct shard_layout *layout, size_t i)
{
    if (shard_format_is_torch(layout->format)) {
        return torch_layout_segment_offset(&layout->as.torch, i);
    }
    return i == 0 ? 0 : i < layout->n_data ? layout->file_offsets[i] : layout->file_bytes;
}

size_t shard_layout_segment_bytes(const struct shard_layout *layout, size_t i)
{
    if (shard_format_is_torch(layout->format)) {
        return torch_layout_segment_bytes(&layout->as.torch, i);
    }
    return i == 0 ? layout->as.safetensors.head_bytes : 0;
}

void shard_layout_render(const struct shard_layout *layout, size_t i, const struct torch_layout_sum *sums, uint8_t *out)
{
    if (shard_format_is_torch(layout->format)) {
        torch_layout_render(&layout->as.torch, i, sums, out);
    } else if (i == 0) {
        memcpy(out, layout->as.safetensors.head, layout->as.safetensors.head_bytes);
    }
}
