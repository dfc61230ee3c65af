/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: 8 bytes, the size of the data, little-endian; then the header. (A real file would leave a fuzzer to keep three
 * lengths in step.) An accepted header is laid out as a shard, which must parse to the same tensors at the places that
 * the layout tells, and lay out again to the same bytes. Memory is linear in the header's size.
 */
#include <string.h>

#include "core/bytes.h"
#include "format/safetensors.h"
#include "fuzz_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tensor **borrow_reversed(const struct tensor_set *set)
{
    const struct tensor **tensors = calloc(set->n_tensors + 1, sizeof *tensors);
    REQUIRE(tensors != NULL);
    for (size_t i = 0; i < set->n_tensors; i++) {
        tensors[set->n_tensors - 1 - i] = &set->tensors[i];
    }
    return tensors;
}

static void require_same_tensor(const struct tensor *a, const struct tensor *b)
{
    REQUIRE(strcmp(a->name, b->name) == 0);
    REQUIRE(a->dtype == b->dtype && a->n_elems == b->n_elems && a->n_bytes == b->n_bytes);
    REQUIRE(tensor_same_shape(a, b));
}

static void require_sound(const struct safetensors_header *header, uint64_t file_bytes)
{
    uint64_t end = header->data_start;
    for (size_t i = 0; i < header->set.n_tensors; i++) {
        REQUIRE(header->data_offsets[i] + header->data_start == end);
        end += header->set.tensors[i].n_bytes;
    }
    REQUIRE(end == file_bytes);
}

/* `layout` is of header's tensors, reversed. */
static void require_round_trip(struct safetensors_header *header, const struct tensor *const *tensors,
                               const struct safetensors_layout *layout)
{
    struct llavamed_error error;
    struct safetensors_header again = {0};
    struct safetensors_layout layout_again = {0};
    uint64_t header_bytes = 0;
    REQUIRE(safetensors_header_bytes("y", (const uint8_t *)layout->head, layout->file_bytes, &header_bytes, &error) ==
            LLAVAMED_OK);
    REQUIRE(header_bytes + SAFETENSORS_PREFIX_BYTES == layout->head_bytes && header_bytes % 8 == 0);
    REQUIRE(safetensors_parse("y", layout->head + SAFETENSORS_PREFIX_BYTES, (size_t)header_bytes, layout->file_bytes,
                              &again, &error) == LLAVAMED_OK);
    require_sound(&again, layout->file_bytes);
    REQUIRE(strcmp(again.metadata_format, "pt") == 0);
    REQUIRE(again.set.n_tensors == header->set.n_tensors && layout->n_tensors == again.set.n_tensors);
    REQUIRE(tensor_set_seal(&again.set, "y", &error) == LLAVAMED_OK);
    for (size_t i = 0; i < layout->n_tensors; i++) {
        const struct tensor *tensor = tensors[layout->order[i]];
        size_t found = tensor_set_find(&again.set, tensor->name);
        REQUIRE(found != TENSOR_NOT_FOUND);
        require_same_tensor(tensor, &again.set.tensors[found]);
        REQUIRE(again.data_offsets[found] + again.data_start == layout->file_offsets[i]);
    }
    const struct tensor **tensors_again = borrow_reversed(&again.set);
    REQUIRE(safetensors_layout_build(tensors_again, again.set.n_tensors, &layout_again, &error) == LLAVAMED_OK);
    REQUIRE(layout_again.head_bytes == layout->head_bytes &&
            memcmp(layout_again.head, layout->head, layout->head_bytes) == 0);
    free(tensors_again);
    safetensors_layout_deinit(&layout_again);
    safetensors_header_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llavamed_error error = {0};
    struct safetensors_header header = {0};
    if (size < SAFETENSORS_PREFIX_BYTES) {
        return 0;
    }
    uint64_t n_read = 0;
    if (safetensors_header_bytes("x", data, size, &n_read, &error) == LLAVAMED_OK) {
        REQUIRE(n_read <= size - SAFETENSORS_PREFIX_BYTES);
    }
    /* Beyond what a file can be there is nothing to learn. */
    uint64_t file_bytes = size + (load_le64(data) & INT64_MAX >> 1);
    fuzz_memory_reset();
    enum llavamed_status status = safetensors_parse("x", (const char *)data + SAFETENSORS_PREFIX_BYTES,
                                                    size - SAFETENSORS_PREFIX_BYTES, file_bytes, &header, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 8192 + 64 * size);
    if (status != LLAVAMED_OK) {
        REQUIRE(header.data_offsets == NULL && header.set.tensors == NULL);
        REQUIRE(error.status == status && strncmp(error.message, "x: ", 3) == 0);
        REQUIRE(status != LLAVAMED_STATUS_NO_MEMORY && status != LLAVAMED_STATUS_TENSOR_DUPLICATE);
        return 0;
    }
    require_sound(&header, file_bytes);
    const struct tensor **tensors = borrow_reversed(&header.set);
    struct safetensors_layout layout = {0};
    REQUIRE(safetensors_layout_build(tensors, header.set.n_tensors, &layout, &error) == LLAVAMED_OK);
    require_round_trip(&header, tensors, &layout);
    safetensors_layout_deinit(&layout);
    free(tensors);
    safetensors_header_deinit(&header);
    return 0;
}
