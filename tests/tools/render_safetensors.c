/* SPDX-License-Identifier: Apache-2.0 */
/*
 * render_safetensors shards < DESCRIPTIONS: what format/safetensors.h lays out for each described file, with data:
 * prints "BYTES SHA256" of the whole of it, or "refused CODE MESSAGE".
 *
 * render_safetensors cuts < DESCRIPTIONS: how merge/plan.h cuts the described tensors into shards and what the index
 * is: prints "FILES BYTES SHA256", the number of weights files and the index's bytes and hash, "-" without one.
 *
 * Descriptions are those of tests/unit/torch_case.h; the name of the file in "file NAME BYTES SHA256" is ignored, and
 * its BYTES are the limit of a shard for `cuts`. For tests/interop/safetensors_writer.py.
 */
#include "format/shard_index.h"
#include "integrity/digest.h"
#include "merge/plan.h"

#include "unit/torch_case.h"

static void require(enum llavamed_status status, const struct llavamed_error *error)
{
    if (status != LLAVAMED_OK) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
}

static void print_refused(enum llavamed_status status, const struct llavamed_error *error)
{
    printf("refused %s %s\n", llavamed_status_name(status), error->message);
}

static void print_digest(const void *bytes, size_t n_bytes)
{
    char hex[SHA256_HEX_BYTES];
    struct llavamed_error error;
    require(sha256_of(bytes, n_bytes, hex, &error), &error);
    printf("%zu %s\n", n_bytes, hex);
}

static void render_shard(const struct torch_case *all)
{
    struct safetensors_layout layout;
    struct llavamed_error error;
    enum llavamed_status status = safetensors_layout_build(all->pointers, all->n_tensors, &layout, &error);
    if (status != LLAVAMED_OK) {
        print_refused(status, &error);
        return;
    }
    uint8_t *bytes = torch_case_memory(NULL, (size_t)layout.file_bytes);
    memset(bytes, 0xff, (size_t)layout.file_bytes);
    memcpy(bytes, layout.head, layout.head_bytes);
    for (size_t i = 0; i < layout.n_tensors; i++) {
        torch_case_data(all, layout.order[i], bytes + layout.file_offsets[i]);
    }
    print_digest(bytes, (size_t)layout.file_bytes);
    free(bytes);
    safetensors_layout_deinit(&layout);
}

static void print_index(const struct plan *plan)
{
    struct shard_index_row *rows = torch_case_memory(NULL, (plan->n_tensors + 1) * sizeof *rows);
    size_t n_rows = 0;
    for (size_t i = 0; i < plan->n_shards; i++) {
        for (size_t k = 0; k < plan->shards[i].n_tensors; k++) {
            const struct plan_tensor *tensor = &plan->tensors[plan->shards[i].tensors[k]];
            rows[n_rows++] = (struct shard_index_row){tensor->out.name, plan->shards[i].name};
        }
    }
    struct buffer text;
    buffer_init(&text, SHARD_INDEX_BYTES_MAX);
    shard_index_write_hub(&text, plan->data_bytes, rows, n_rows);
    print_digest(text.data, text.n_bytes);
    buffer_deinit(&text);
    free(rows);
}

static void cut(const struct torch_case *all)
{
    struct tensor_set set;
    struct plan plan;
    struct llavamed_error error;
    const struct plan_options options = {.format = SHARD_SAFETENSORS, .max_shard_bytes = all->file_bytes};
    tensor_set_init(&set);
    for (size_t i = 0; i < all->n_tensors; i++) {
        const struct tensor *from = all->pointers[i];
        struct tensor tensor;
        require(
            tensor_init(&tensor, "cut", from->name, strlen(from->name), from->dtype, from->shape, from->rank, &error),
            &error);
        require(tensor_set_add(&set, &tensor, &error), &error);
    }
    require(tensor_set_seal(&set, "cut", &error), &error);
    enum llavamed_status status = plan_build(&set, "base", &set, "delta", &options, &plan, &error);
    if (status != LLAVAMED_OK) {
        print_refused(status, &error);
    } else {
        printf("%zu ", plan.n_shards);
        if (plan.index_name == NULL) {
            printf("-\n");
        } else {
            print_index(&plan);
        }
        plan_deinit(&plan);
    }
    tensor_set_deinit(&set);
}

int main(int argc, char **argv)
{
    bool cuts = argc == 2 && strcmp(argv[1], "cuts") == 0;
    if (!cuts && (argc != 2 || strcmp(argv[1], "shards") != 0)) {
        fprintf(stderr, "usage: render_safetensors shards|cuts < DESCRIPTIONS\n");
        return 2;
    }
    struct torch_case all;
    while (torch_case_read(stdin, &all)) {
        for (size_t i = 0; i < all.n_tensors; i++) {
            /* Also of dtypes below a byte, which torch files do not have. */
            all.tensors[i].n_bytes = all.tensors[i].n_elems * dtype_bits(all.tensors[i].dtype) / 8;
        }
        if (cuts) {
            cut(&all);
        } else {
            render_shard(&all);
        }
        torch_case_deinit(&all);
    }
    torch_case_deinit(&all);
    return 0;
}
