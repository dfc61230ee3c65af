/* SPDX-License-Identifier: Apache-2.0 */
/* Shards as huggingface_hub cuts them; the tables of tests/data/plan are its own answers. */
#include "format/shard_index.h"
#include "merge/plan.h"

#include "unit/harness.h"
#include "unit/make_set.h"

#define TENSORS_MAX 16

static void build_plan(const struct tensor_set *base, const struct tensor_set *delta, uint64_t max_shard_bytes,
                       struct plan *plan)
{
    const struct plan_options options = {.max_shard_bytes = max_shard_bytes};
    memset(plan, 0, sizeof *plan);
    struct llavamed_error error = {0};
    if (!EXPECT(plan_build(base, "base", delta, "delta", &options, plan, &error) == LLAVAMED_OK)) {
        printf("%s\n", error.message);
    }
}

/* What must hold of any plan: names, numbers and sums agree with each other. */
static void expect_consistent(const struct plan *plan)
{
    uint64_t file_bytes = 0;
    uint64_t data_bytes = 0;
    size_t n_tensors = 0;
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        char name[64];
        (void)snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, plan->n_shards);
        EXPECT_TEXT(shard->name, plan->n_shards == 1 ? "model.safetensors" : name);
        EXPECT_U64(shard->layout.n_data, shard->n_tensors);
        EXPECT(shard->n_tensors > 0);
        uint64_t shard_bytes = 0;
        for (size_t k = 0; k < shard->n_tensors; k++) {
            EXPECT_U64(plan->tensors[shard->tensors[k]].shard, i);
            EXPECT(shard->layout.order[k] < shard->n_tensors);
            shard_bytes += plan->tensors[shard->tensors[k]].out.n_bytes;
        }
        EXPECT_U64(shard->layout.file_bytes, shard_bytes + shard->layout.as.safetensors.head_bytes);
        n_tensors += shard->n_tensors;
        data_bytes += shard_bytes;
        file_bytes += shard->layout.file_bytes;
    }
    EXPECT_U64(plan->n_tensors, n_tensors);
    EXPECT_U64(plan->data_bytes, data_bytes);
    EXPECT_U64(plan->file_bytes, file_bytes);
    EXPECT(plan->n_shards > 1 ? plan->index_name != NULL : plan->index_name == NULL);
    if (plan->index_name != NULL) {
        EXPECT_TEXT(plan->index_name, "model.safetensors.index.json");
    }
}

/* Where the index has a tensor: the shards' tensors one after the other. */
static size_t row_of(const struct plan *plan, size_t tensor)
{
    size_t row = 0;
    for (size_t i = 0; i < plan->n_shards; i++) {
        for (size_t k = 0; k < plan->shards[i].n_tensors; k++, row++) {
            if (plan->shards[i].tensors[k] == tensor) {
                return row;
            }
        }
    }
    return SIZE_MAX;
}

/* One line of splits.txt: LIMIT SIZE:SHARD:ROW... */
static void check_split(char *line)
{
    struct tensor_set set;
    tensor_set_init(&set);
    char *at = line;
    uint64_t limit = strtoull(at, &at, 10);
    uint64_t shards[TENSORS_MAX];
    uint64_t rows[TENSORS_MAX];
    size_t n = 0;
    while (*at == ' ' && n < TENSORS_MAX) {
        uint64_t size = strtoull(at, &at, 10);
        EXPECT(*at == ':');
        shards[n] = strtoull(at + 1, &at, 10);
        EXPECT(*at == ':');
        rows[n] = strtoull(at + 1, &at, 10);
        char name[8];
        (void)snprintf(name, sizeof name, "t%02zu", n);
        set_put(&set, name, DTYPE_U8, 1, size, 0);
        n++;
    }
    EXPECT(*at == '\n' && n > 0);
    set_seal(&set);
    struct plan plan;
    build_plan(&set, &set, limit, &plan);
    EXPECT_U64(plan.n_tensors, n);
    for (size_t i = 0; i < plan.n_tensors; i++) {
        EXPECT_U64(plan.tensors[i].shard, shards[i]);
        EXPECT_U64(row_of(&plan, i), rows[i]);
    }
    expect_consistent(&plan);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

static void random_lists_as_huggingface_hub(void)
{
    FILE *file = fopen("tests/data/plan/splits.txt", "r");
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
    EXPECT_U64(n_lines, 160);
}

/* One line of llama_splits.txt: LAYERS HIDDEN FEED_FORWARD ROWS PROJECTOR LIMIT BYTES:FIRST_NAME... */
static void check_llama(char *line)
{
    char *at = line;
    struct llama_shape shape = {.inv_freq = true};
    shape.layers = (unsigned)strtoul(at, &at, 10);
    shape.hidden = strtoull(at, &at, 10);
    shape.feed_forward = strtoull(at, &at, 10);
    shape.rows = strtoull(at, &at, 10);
    shape.projector = strtoul(at, &at, 10) != 0;
    uint64_t limit = strtoull(at, &at, 10);
    struct tensor_set base;
    struct tensor_set delta;
    tensor_set_init(&base);
    tensor_set_init(&delta);
    set_put_llama(&delta, &shape);
    set_seal(&delta);
    shape.rows = 32000;
    shape.projector = false;
    set_put_llama(&base, &shape);
    set_seal(&base);
    struct plan plan;
    build_plan(&base, &delta, limit, &plan);
    size_t n = 0;
    while (*at == ' ') {
        uint64_t n_bytes = strtoull(at, &at, 10);
        char name[128];
        int used = 0;
        if (!EXPECT(sscanf(at, ":%127[^ \n]%n", name, &used) == 1 && n < plan.n_shards)) {
            break;
        }
        at += used;
        const struct plan_shard *shard = &plan.shards[n++];
        EXPECT_U64(shard->layout.file_bytes - shard->layout.as.safetensors.head_bytes, n_bytes);
        EXPECT_TEXT(plan.tensors[shard->tensors[0]].out.name, name);
    }
    EXPECT_U64(plan.n_shards, n);
    expect_consistent(&plan);
    plan_deinit(&plan);
    tensor_set_deinit(&base);
    tensor_set_deinit(&delta);
}

static void llama_as_huggingface_hub(void)
{
    FILE *file = fopen("tests/data/plan/llama_splits.txt", "r");
    if (!EXPECT(file != NULL)) {
        return;
    }
    char line[8192];
    size_t n_lines = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        check_llama(line);
        n_lines++;
    }
    (void)fclose(file);
    EXPECT_U64(n_lines, 18);
}

/* The sizes published for LLaMA-7B with float32 inv_freq, and where its 5 GB shards begin. */
static void llama_7b_as_published(void)
{
    const struct llama_shape shape = {
        .layers = 32, .hidden = 4096, .feed_forward = 11008, .rows = 32000, .inv_freq = true};
    struct tensor_set set;
    tensor_set_init(&set);
    set_put_llama(&set, &shape);
    set_seal(&set);
    struct plan plan;
    build_plan(&set, &set, 5000000000, &plan);
    EXPECT_U64(plan.data_bytes, 13476839424);
    EXPECT_U64(plan.n_tensors, 323);
    if (EXPECT(plan.n_shards == 3)) {
        EXPECT_TEXT(plan.shards[0].name, "model-00001-of-00003.safetensors");
        EXPECT_TEXT(plan.tensors[plan.shards[0].tensors[0]].out.name, "model.embed_tokens.weight");
        EXPECT_TEXT(plan.tensors[plan.shards[1].tensors[0]].out.name, "model.layers.11.mlp.down_proj.weight");
        EXPECT_TEXT(plan.tensors[plan.shards[2].tensors[0]].out.name, "model.layers.23.mlp.up_proj.weight");
    }
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

/* Sizes of the result count, not those of the delta. */
static void sizes_are_those_of_the_result(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    set_put(&set, "a", DTYPE_F16, 1, 10, 0);
    set_put(&set, "b", DTYPE_F16, 1, 10, 0);
    set_seal(&set);
    struct plan_options options = {.max_shard_bytes = 40};
    struct plan plan;
    EXPECT(plan_build(&set, "b", &set, "d", &options, &plan, NULL) == LLAVAMED_OK);
    EXPECT_U64(plan.n_shards, 1);
    plan_deinit(&plan);
    options.dtype = LLAVAMED_RESULT_DTYPE_FLOAT32;
    EXPECT(plan_build(&set, "b", &set, "d", &options, &plan, NULL) == LLAVAMED_OK);
    EXPECT_U64(plan.n_shards, 2);
    EXPECT_U64(plan.data_bytes, 80);
    EXPECT_U64(plan.delta_read_bytes, 40);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

static void too_many_shards(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    for (unsigned i = 0; i <= SHARD_COUNT_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%u", i);
        set_put(&set, name, DTYPE_U8, 1, 2, 0);
    }
    set_seal(&set);
    const struct plan_options options = {.max_shard_bytes = 1};
    struct plan plan;
    struct llavamed_error error = {0};
    EXPECT(plan_build(&set, "b", &set, "d", &options, &plan, &error) == LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "shards of at most 1 bytes would be too many (got 10001, want at most 10000)");
    EXPECT_TEXT(error.hint, "allow larger shards with --max-shard-size");
    tensor_set_deinit(&set);
}

static void no_limit(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    set_put(&set, "a", DTYPE_U8, 1, (uint64_t)1 << 60, 0);
    set_put(&set, "b", DTYPE_U8, 1, (uint64_t)1 << 59, 0);
    set_seal(&set);
    struct plan plan;
    build_plan(&set, &set, UINT64_MAX, &plan);
    EXPECT_U64(plan.n_shards, 1);
    expect_consistent(&plan);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

int main(void)
{
    CASE(random_lists_as_huggingface_hub);
    CASE(llama_as_huggingface_hub);
    CASE(llama_7b_as_published);
    CASE(sizes_are_those_of_the_result);
    CASE(too_many_shards);
    CASE(no_limit);
    return harness_end();
}
