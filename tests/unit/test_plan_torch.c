/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Torch shards as the reference's save_pretrained cuts them, and the published index files: the SHA-256 of
 * pytorch_model.bin.index.json beside LLaMA in Hugging Face form (transformers 4.29, float16, float32 rotary buffers)
 * as susumuota/local-llm-setup lists them, and the sizes of the 7B shards. tests/data/plan/torch_splits.txt is made by
 * transformers' own shard_checkpoint() (tests/tools/make_torch_plan_data.py).
 */
#include "format/shard_index.h"
#include "integrity/digest.h"
#include "merge/plan.h"

#include "unit/harness.h"
#include "unit/make_set.h"

#define TENSORS_MAX 32

static void build_plan(const struct tensor_set *base, const struct tensor_set *delta, uint64_t max_shard_bytes,
                       struct plan *plan)
{
    const struct plan_options options = {.format = SHARD_TORCH_1_13, .max_shard_bytes = max_shard_bytes};
    memset(plan, 0, sizeof *plan);
    struct llavamed_error error = {0};
    if (!EXPECT(plan_build(base, "base", delta, "delta", &options, plan, &error) == LLAVAMED_OK)) {
        printf("%s\n", error.message);
    }
}

/* What must hold of any plan: names, numbers and sums agree with each other. Only the first shard may be empty. */
static void expect_consistent(const struct plan *plan)
{
    uint64_t file_bytes = 0;
    uint64_t data_bytes = 0;
    size_t n_tensors = 0;
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        char name[64];
        (void)snprintf(name, sizeof name, "pytorch_model-%05zu-of-%05zu.bin", i + 1, plan->n_shards);
        EXPECT_TEXT(shard->name, plan->n_shards == 1 ? "pytorch_model.bin" : name);
        EXPECT_U64(shard->layout.n_data, shard->n_tensors);
        EXPECT(shard->n_tensors > 0 || i == 0);
        EXPECT(shard->layout.file_bytes > 0);
        for (size_t k = 0; k < shard->n_tensors; k++) {
            EXPECT_U64(plan->tensors[shard->tensors[k]].shard, i);
            EXPECT_U64(shard->tensors[k], n_tensors + k);
            data_bytes += plan->tensors[shard->tensors[k]].out.n_bytes;
        }
        n_tensors += shard->n_tensors;
        file_bytes += shard->layout.file_bytes;
    }
    EXPECT_U64(plan->n_tensors, n_tensors);
    EXPECT_U64(plan->data_bytes, data_bytes);
    EXPECT_U64(plan->file_bytes, file_bytes);
    EXPECT(plan->n_shards > 1 ? plan->index_name != NULL : plan->index_name == NULL);
    if (plan->index_name != NULL) {
        EXPECT_TEXT(plan->index_name, "pytorch_model.bin.index.json");
    }
}

static void expect_total(const struct plan *plan, const char *want)
{
    struct buffer text;
    buffer_init(&text, 100);
    reference_size_write(&text, &plan->reference_total);
    EXPECT_TEXT(text.data, want);
    buffer_deinit(&text);
}

/* One line of torch_splits.txt: LIMIT TOTAL SIZE:SHARD..., "b" before the SIZE of a bool. */
static void check_split(char *line)
{
    struct tensor_set set;
    tensor_set_init(&set);
    char *at = line;
    uint64_t limit = strtoull(at, &at, 10);
    char total[40] = "";
    int total_bytes = 0;
    EXPECT(sscanf(at, "%39s%n", total, &total_bytes) == 1);
    at += total_bytes;
    uint64_t shards[TENSORS_MAX];
    size_t n = 0;
    while (*at == ' ' && n < TENSORS_MAX) {
        bool is_bool = at[1] == 'b';
        uint64_t size = strtoull(at + 1 + is_bool, &at, 10);
        EXPECT(*at == ':');
        shards[n] = strtoull(at + 1, &at, 10);
        char name[8];
        (void)snprintf(name, sizeof name, "t%02zu", n);
        set_put(&set, name, is_bool ? DTYPE_BOOL : DTYPE_U8, 1, size, 0);
        n++;
    }
    EXPECT(*at == '\n' && n > 0);
    set_seal(&set);
    struct plan plan;
    build_plan(&set, &set, limit, &plan);
    EXPECT_U64(plan.n_tensors, n);
    for (size_t i = 0; i < plan.n_tensors; i++) {
        EXPECT_U64(plan.tensors[i].shard, shards[i]);
    }
    EXPECT_U64(plan.n_shards, shards[n - 1] + 1);
    if (strcmp(total, "-") == 0) {
        EXPECT(plan.index_name == NULL);
    } else {
        expect_total(&plan, total);
    }
    expect_consistent(&plan);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

static void lists_as_shard_checkpoint(void)
{
    FILE *file = fopen("tests/data/plan/torch_splits.txt", "r");
    if (!EXPECT(file != NULL)) {
        return;
    }
    char line[4096];
    size_t n_lines = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        check_split(line);
        n_lines++;
    }
    (void)fclose(file);
    EXPECT_U64(n_lines, 500);
}

/* torch.save({}): what the reference writes when the very first tensor is above the limit. */
static void empty_first_shard(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    set_put(&set, "a", DTYPE_F16, 1, 100, 0);
    set_seal(&set);
    struct plan plan;
    build_plan(&set, &set, 199, &plan);
    if (EXPECT(plan.n_shards == 2)) {
        EXPECT_TEXT(plan.shards[0].name, "pytorch_model-00001-of-00002.bin");
        EXPECT_U64(plan.shards[0].n_tensors, 0);
        EXPECT_U64(plan.shards[1].n_tensors, 1);
        EXPECT(plan.shards[0].layout.file_bytes < 1000);
    }
    expect_consistent(&plan);
    plan_deinit(&plan);
    build_plan(&set, &set, 200, &plan);
    EXPECT_U64(plan.n_shards, 1);
    expect_consistent(&plan);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

/* ---- The published index files ------------------------------------------------------------------------------- */

static const struct published {
    struct llama_shape shape;
    size_t n_shards;
    uint64_t total_bytes;
    const char *index_sha256;
} published[] = {
    {{32, 4096, 11008, 32000, false, true},
     2,
     13476839424,
     "aca3c1facc89d12311a667c32e85ac86e625990992ea8a189e3b036ba371b931"},
    {{40, 5120, 13824, 32000, false, true},
     3,
     26031738880,
     "92c31ad5e853e9a6660e248871f9bd0cd273518de7ec12ca893e1b1078c10898"},
    {{60, 6656, 17920, 32000, false, true},
     7,
     65057902592,
     "132d90ebefb682313eb66bf40238fbe1eb0a18225f75b569cfadcb533ff4e0b6"},
    {{80, 8192, 22016, 32000, false, true},
     14,
     130571341824,
     "27f5af68d3629d0306d8a164c187286ad7d802020a3c33244f9ee7b0d79b749f"},
};

static int compare_tensors(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

/* The same tensors as safetensors files list them: sorted by name. */
static void copy_sorted(const struct tensor_set *from, struct tensor_set *to)
{
    const struct tensor **sorted = calloc(from->n_tensors, sizeof *sorted);
    make_set_require(sorted != NULL);
    for (size_t i = 0; i < from->n_tensors; i++) {
        sorted[i] = &from->tensors[i];
    }
    qsort(sorted, from->n_tensors, sizeof *sorted, compare_tensors);
    tensor_set_init(to);
    for (size_t i = 0; i < from->n_tensors; i++) {
        set_put(to, sorted[i]->name, sorted[i]->dtype, sorted[i]->rank, sorted[i]->shape[0],
                sorted[i]->rank == 2 ? sorted[i]->shape[1] : 0);
    }
    set_seal(to);
    free(sorted);
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct shard_index_row *)a)->tensor, ((const struct shard_index_row *)b)->tensor);
}

static void index_sha256(const struct plan *plan, char hex[SHA256_HEX_BYTES])
{
    struct shard_index_row *rows = calloc(plan->n_tensors + 1, sizeof *rows);
    make_set_require(rows != NULL);
    for (size_t i = 0; i < plan->n_tensors; i++) {
        rows[i] = (struct shard_index_row){plan->tensors[i].out.name, plan->shards[plan->tensors[i].shard].name};
    }
    qsort(rows, plan->n_tensors, sizeof *rows, compare_rows);
    struct buffer text;
    buffer_init(&text, SHARD_INDEX_BYTES_MAX);
    shard_index_write_reference(&text, &plan->reference_total, rows, plan->n_tensors);
    EXPECT(buffer_status(&text, "the index", NULL) == LLAVAMED_OK);
    EXPECT(sha256_of(text.data, text.n_bytes, hex, NULL) == LLAVAMED_OK);
    buffer_deinit(&text);
    free(rows);
}

static void expect_published(const struct published *want, const struct tensor_set *base,
                             const struct tensor_set *delta)
{
    struct plan plan;
    char hex[SHA256_HEX_BYTES] = "";
    build_plan(base, delta, PLAN_SHARD_BYTES_TORCH, &plan);
    EXPECT_U64(plan.n_shards, want->n_shards);
    EXPECT_U64(plan.data_bytes, want->total_bytes);
    index_sha256(&plan, hex);
    EXPECT_TEXT(hex, want->index_sha256);
    expect_consistent(&plan);
    if (want == &published[0] && EXPECT(plan.n_shards == 2)) {
        EXPECT_U64(plan.shards[0].layout.file_bytes, 9976634558);
        EXPECT_U64(plan.shards[1].layout.file_bytes, 3500315539);
    }
    plan_deinit(&plan);
}

/* From torch files, whose order is that of the modules, and from safetensors on either side. */
static void index_as_published(void)
{
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        struct tensor_set in_order;
        struct tensor_set sorted;
        tensor_set_init(&in_order);
        set_put_llama(&in_order, &published[i].shape);
        set_seal(&in_order);
        copy_sorted(&in_order, &sorted);
        EXPECT(strcmp(sorted.tensors[0].name, "lm_head.weight") == 0);
        expect_published(&published[i], &in_order, &in_order);
        expect_published(&published[i], &in_order, &sorted);
        expect_published(&published[i], &sorted, &in_order);
        expect_published(&published[i], &sorted, &sorted);
        tensor_set_deinit(&in_order);
        tensor_set_deinit(&sorted);
    }
}

int main(void)
{
    CASE(lists_as_shard_checkpoint);
    CASE(empty_first_shard);
    CASE(index_as_published);
    return harness_end();
}
