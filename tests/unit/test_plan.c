/* SPDX-License-Identifier: Apache-2.0 */
/* Pairing: what each tensor becomes, and every problem that a pair can have. Sharding: test_plan_shard.c. */
#include "merge/plan.h"

#include <time.h>

#include "unit/harness.h"
#include "unit/make_set.h"

#define EMBED "model.embed_tokens.weight"
#define HEAD "lm_head.weight"
#define NORM "model.norm.weight"
#define INV_FREQ "model.layers.0.self_attn.rotary_emb.inv_freq"
#define PROJECTOR "model.mm_projector.weight"

/* A pair under test; close_pair() frees all of it. */
struct pair {
    struct tensor_set base;
    struct tensor_set delta;
    struct plan_options options;
    struct plan plan;
    struct llavamed_error error;
    enum llavamed_status status;
    double seconds; /* that plan_build() took */
};

static void open_pair(struct pair *pair)
{
    memset(pair, 0, sizeof *pair);
    pair->options.max_shard_bytes = 5000000000;
}

static void put_both(struct pair *pair, const char *name, enum dtype dtype, uint64_t n)
{
    set_put(&pair->base, name, dtype, 1, n, 0);
    set_put(&pair->delta, name, dtype, 1, n, 0);
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum llavamed_status build(struct pair *pair)
{
    set_seal(&pair->base);
    set_seal(&pair->delta);
    double begin = seconds_now();
    pair->status = plan_build(&pair->base, "BASE", &pair->delta, "DELTA", &pair->options, &pair->plan, &pair->error);
    pair->seconds = seconds_now() - begin;
    return pair->status;
}

static void close_pair(struct pair *pair)
{
    tensor_set_deinit(&pair->base);
    tensor_set_deinit(&pair->delta);
    if (pair->status == LLAVAMED_OK) {
        plan_deinit(&pair->plan);
    }
}

static const struct plan_tensor *find(const struct pair *pair, const char *name)
{
    for (size_t i = 0; i < pair->plan.n_tensors; i++) {
        if (strcmp(pair->plan.tensors[i].out.name, name) == 0) {
            return &pair->plan.tensors[i];
        }
    }
    return NULL;
}

static void expect_action(const struct pair *pair, const char *name, enum plan_action action, enum dtype dtype)
{
    const struct plan_tensor *tensor = find(pair, name);
    if (EXPECT(tensor != NULL)) {
        EXPECT_TEXT(plan_action_name(PLAN_MERGE, tensor->action), plan_action_name(PLAN_MERGE, action));
        EXPECT_TEXT(dtype_name(tensor->out.dtype), dtype_name(dtype));
    }
}

/* Builds, expects PAIR_MISMATCH with exactly this one problem, and closes. */
static void expect_problem(struct pair *pair, const char *problem)
{
    EXPECT(build(pair) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT_TEXT(pair->error.message, "base BASE and delta DELTA do not belong together (1 problem)");
    EXPECT_U64(pair->error.n_problems, 1);
    EXPECT_TEXT(pair->error.problems[0], problem);
    EXPECT_U64(pair->plan.n_tensors, 0);
    close_pair(pair);
}

static const struct llama_shape tiny = {.layers = 2, .hidden = 8, .feed_forward = 12, .rows = 32, .inv_freq = true};

static void a_llava_delta(void)
{
    struct pair pair;
    open_pair(&pair);
    set_put_llama(&pair.base, &tiny);
    struct llama_shape shape = tiny;
    shape.rows = 36;
    shape.projector = true;
    set_put_llama(&pair.delta, &shape);
    if (!EXPECT(build(&pair) == LLAVAMED_OK)) {
        printf("%s\n", pair.error.message);
        return;
    }
    EXPECT_U64(pair.plan.n_tensors, pair.delta.n_tensors);
    EXPECT(pair.plan.model_dtype == DTYPE_F16);
    expect_action(&pair, EMBED, PLAN_ADD_TOP_LEFT, DTYPE_F16);
    expect_action(&pair, HEAD, PLAN_ADD_TOP_LEFT, DTYPE_F16);
    expect_action(&pair, NORM, PLAN_ADD, DTYPE_F16);
    expect_action(&pair, "model.layers.1.mlp.down_proj.weight", PLAN_ADD, DTYPE_F16);
    expect_action(&pair, PROJECTOR, PLAN_COPY_DELTA, DTYPE_F16);
    expect_action(&pair, "model.mm_projector.bias", PLAN_COPY_DELTA, DTYPE_F16);
    expect_action(&pair, INV_FREQ, PLAN_INV_FREQ, DTYPE_F32);
    for (size_t i = 0; i < pair.plan.n_tensors; i++) {
        const struct plan_tensor *tensor = &pair.plan.tensors[i];
        const struct tensor *delta = &pair.delta.tensors[tensor->delta_index];
        EXPECT_TEXT(delta->name, tensor->out.name);
        EXPECT(tensor_same_shape(delta, &tensor->out));
        EXPECT_U64(tensor->base_index, tensor_set_find(&pair.base, delta->name));
        EXPECT_U64(tensor->shard, 0);
    }
    EXPECT_U64(pair.plan.n_shards, 1);
    EXPECT_TEXT(pair.plan.shards[0].name, "model.safetensors");
    EXPECT(pair.plan.index_name == NULL);
    EXPECT_U64(pair.plan.n_warnings, 0);
    /* 36 rows twice, 2 layers of 4 * 64 + 3 * 96 + 2 * 8 elements, norm, projector; 2 * 64 float32. */
    uint64_t halves = 2 * 36 * 8 + 2 * (4 * 64 + 3 * 96 + 2 * 8) + 8 + 8 * 1024 + 8;
    EXPECT_U64(pair.plan.data_bytes, 2 * halves + 2 * 64 * 4);
    EXPECT_U64(pair.plan.delta_read_bytes, pair.plan.data_bytes);
    EXPECT_U64(pair.plan.base_read_bytes, 2 * (halves - 2 * 4 * 8 - 8 * 1024 - 8) + 2 * 64 * 4);
    EXPECT_U64(pair.plan.file_bytes, pair.plan.data_bytes + pair.plan.shards[0].layout.as.safetensors.head_bytes);
    close_pair(&pair);
}

static void order_is_the_models(void)
{
    struct pair pair;
    open_pair(&pair);
    set_put_llama(&pair.base, &tiny);
    for (size_t i = pair.base.n_tensors; i > 0; i--) {
        const struct tensor *tensor = &pair.base.tensors[i - 1];
        set_put(&pair.delta, tensor->name, tensor->dtype, tensor->rank, tensor->shape[0], tensor->shape[1]);
    }
    EXPECT(build(&pair) == LLAVAMED_OK);
    for (size_t i = 0; i < pair.plan.n_tensors; i++) {
        EXPECT_TEXT(pair.plan.tensors[i].out.name, pair.base.tensors[i].name);
        EXPECT_U64(pair.plan.tensors[i].base_index, i);
        EXPECT_U64(pair.plan.shards[0].tensors[i], i);
    }
    close_pair(&pair);
}

static void result_dtypes(void)
{
    static const struct {
        enum llavamed_result_dtype option;
        enum dtype of_half, of_bf16, of_double, model;
    } rows[] = {
        {LLAVAMED_RESULT_DTYPE_DELTA, DTYPE_F16, DTYPE_BF16, DTYPE_F64, DTYPE_F16},
        {LLAVAMED_RESULT_DTYPE_FLOAT16, DTYPE_F16, DTYPE_F16, DTYPE_F16, DTYPE_F16},
        {LLAVAMED_RESULT_DTYPE_BFLOAT16, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16},
        {LLAVAMED_RESULT_DTYPE_FLOAT32, DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair pair;
        open_pair(&pair);
        pair.options.dtype = rows[i].option;
        put_both(&pair, "half", DTYPE_F16, 100);
        put_both(&pair, "bf16", DTYPE_BF16, 10);
        put_both(&pair, "double", DTYPE_F64, 10);
        set_put(&pair.base, "mixed", DTYPE_F32, 1, 3, 0);
        set_put(&pair.delta, "mixed", DTYPE_F16, 1, 3, 0);
        put_both(&pair, "ids", DTYPE_I64, 200);
        put_both(&pair, "mask", DTYPE_BOOL, 200);
        set_put(&pair.delta, PROJECTOR, DTYPE_F16, 1, 4, 0);
        set_put(&pair.delta, INV_FREQ, DTYPE_F16, 1, 64, 0);
        EXPECT(build(&pair) == LLAVAMED_OK);
        expect_action(&pair, "half", PLAN_ADD, rows[i].of_half);
        expect_action(&pair, "mixed", PLAN_ADD, rows[i].of_half);
        expect_action(&pair, "bf16", PLAN_ADD, rows[i].of_bf16);
        expect_action(&pair, "double", PLAN_ADD, rows[i].of_double);
        expect_action(&pair, PROJECTOR, PLAN_COPY_DELTA, rows[i].of_half);
        expect_action(&pair, "ids", PLAN_COPY_DELTA, DTYPE_I64);
        expect_action(&pair, "mask", PLAN_COPY_DELTA, DTYPE_BOOL);
        expect_action(&pair, INV_FREQ, PLAN_INV_FREQ, DTYPE_F32);
        EXPECT(pair.plan.model_dtype == rows[i].model);
        close_pair(&pair);
    }
}

/* Elements count, not tensors, and rotary buffers (float32 in a float16 model) never. */
static void model_dtype_is_that_of_most_elements(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, "a", DTYPE_F32, 3);
    put_both(&pair, "b", DTYPE_F32, 3);
    put_both(&pair, "c", DTYPE_BF16, 7);
    put_both(&pair, "d", DTYPE_I64, 100);
    put_both(&pair, INV_FREQ, DTYPE_F32, 64);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT(pair.plan.model_dtype == DTYPE_BF16);
    close_pair(&pair);
}

static void inv_freq_kept(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.delta, INV_FREQ, DTYPE_F32, 1, 64, 0);
    put_both(&pair, "model.layers.1.self_attn.rotary_emb.inv_freq", DTYPE_F32, 64);
    set_put(&pair.base, "model.layers.2.self_attn.rotary_emb.inv_freq", DTYPE_F32, 1, 64, 0);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_tensors, 3);
    EXPECT_U64(pair.plan.n_dropped, 0);
    expect_action(&pair, INV_FREQ, PLAN_INV_FREQ, DTYPE_F32);
    EXPECT(find(&pair, INV_FREQ)->base_index == TENSOR_NOT_FOUND);
    EXPECT_U64(find(&pair, "model.layers.1.self_attn.rotary_emb.inv_freq")->base_index, 1);
    EXPECT_U64(pair.plan.base_read_bytes, 4 * 2 + 64 * 4);
    EXPECT_U64(pair.plan.delta_read_bytes, 4 * 2 + 2 * 64 * 4);
    close_pair(&pair);
}

static void inv_freq_dropped(void)
{
    struct pair pair;
    open_pair(&pair);
    pair.options.inv_freq = LLAVAMED_INV_FREQ_DROP;
    put_both(&pair, NORM, DTYPE_F16, 4);
    put_both(&pair, INV_FREQ, DTYPE_F32, 64);
    /* What is left out needs not fit. */
    set_put(&pair.delta, "model.layers.1.self_attn.rotary_emb.inv_freq", DTYPE_I64, 2, 64, 2);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_tensors, 1);
    EXPECT_U64(pair.plan.n_dropped, 2);
    EXPECT_U64(pair.plan.delta_read_bytes, 8);
    close_pair(&pair);
}

static void inv_freq_problems(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.base, INV_FREQ, DTYPE_F32, 1, 32, 0);
    set_put(&pair.delta, INV_FREQ, DTYPE_F32, 1, 64, 0);
    expect_problem(&pair, INV_FREQ ": shapes differ (base [32], delta [64])");

    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.delta, INV_FREQ, DTYPE_F32, 2, 64, 2);
    expect_problem(&pair, INV_FREQ ": no shape for rotary frequencies (got [64, 2], want [N], N up to 4096)");

    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    put_both(&pair, INV_FREQ, DTYPE_F32, 4097);
    expect_problem(&pair, INV_FREQ ": no shape for rotary frequencies (got [4097], want [N], N up to 4096)");

    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.base, INV_FREQ, DTYPE_F32, 1, 64, 0);
    set_put(&pair.delta, INV_FREQ, DTYPE_I64, 1, 64, 0);
    expect_problem(&pair, INV_FREQ ": rotary frequencies of a dtype that cannot be added (base F32, delta I64)");
}

static void projector_of_any_depth_is_copied(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.delta, "model.mm_projector.2.weight", DTYPE_F16, 2, 4, 4);
    set_put(&pair.delta, "model.mm_projector.0.weight", DTYPE_F32, 2, 4, 2);
    EXPECT(build(&pair) == LLAVAMED_OK);
    expect_action(&pair, "model.mm_projector.0.weight", PLAN_COPY_DELTA, DTYPE_F32);
    expect_action(&pair, "model.mm_projector.2.weight", PLAN_COPY_DELTA, DTYPE_F16);
    EXPECT_TEXT(pair.plan.tensors[1].out.name, "model.mm_projector.0.weight");
    close_pair(&pair);

    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.delta, PROJECTOR, DTYPE_F8_E4M3, 2, 4, 4);
    expect_problem(&pair, PROJECTOR ": a dtype that cannot be merged (base none, delta F8_E4M3)");
}

static void merged_base_is_refused(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    put_both(&pair, PROJECTOR, DTYPE_F16, 4);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_BASE_MERGED);
    EXPECT_TEXT(pair.error.message, "BASE: the base already is a LLaVA model (it holds model.mm_projector.weight)");
    EXPECT_TEXT(pair.error.hint, "give the language model that the delta was made from as the base");
    EXPECT_U64((uint64_t)llavamed_exit_status(&pair.error), 4);
    close_pair(&pair);

    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.base, PROJECTOR, DTYPE_F16, 1, 4, 0);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_BASE_MERGED);
    EXPECT_TEXT(pair.error.hint, "the delta holds no mm_projector: were base and delta exchanged?");
    close_pair(&pair);
}

static void names_in_one_alone(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.delta, "model.layers.0.mlp.up_proj.bias", DTYPE_F16, 1, 4, 0);
    expect_problem(&pair, "model.layers.0.mlp.up_proj.bias: in the delta, but not in the base");
    open_pair(&pair);
    put_both(&pair, NORM, DTYPE_F16, 4);
    set_put(&pair.base, HEAD, DTYPE_F16, 2, 4, 4);
    expect_problem(&pair, HEAD ": in the base, but not in the delta");
}

/* One tensor of both: base of rank, rows, columns against delta's. */
struct shape_case {
    const char *name;
    unsigned base_rank;
    uint64_t base_rows, base_columns;
    unsigned delta_rank;
    uint64_t delta_rows, delta_columns;
    const char *problem; /* NULL: none, and `action` */
    enum plan_action action;
};

static const struct shape_case shape_cases[] = {
    {EMBED, 2, 32, 8, 2, 32, 8, NULL, PLAN_ADD},
    {EMBED, 2, 32, 8, 2, 33, 8, NULL, PLAN_ADD_TOP_LEFT},
    {HEAD, 2, 32, 8, 2, 32, 9, NULL, PLAN_ADD_TOP_LEFT},
    {HEAD, 2, 0, 8, 2, 32, 9, NULL, PLAN_ADD_TOP_LEFT},
    {EMBED, 2, 33, 8, 2, 32, 8, EMBED ": the vocabulary is smaller in the delta (base [33, 8], delta [32, 8])", 0},
    {HEAD, 2, 33, 8, 2, 32, 9, HEAD ": the vocabulary is smaller in the delta (base [33, 8], delta [32, 9])", 0},
    {HEAD, 2, 32, 8, 2, 33, 7, HEAD ": shapes differ (base [32, 8], delta [33, 7])", 0},
    {EMBED, 1, 32, 0, 2, 33, 7, EMBED ": shapes differ (base [32], delta [33, 7])", 0},
    {EMBED, 1, 32, 0, 1, 33, 0, EMBED ": shapes differ (base [32], delta [33])", 0},
    {NORM, 1, 8, 0, 1, 9, 0, NORM ": shapes differ (base [8], delta [9])", 0},
    {NORM, 1, 8, 0, 2, 8, 1, NORM ": shapes differ (base [8], delta [8, 1])", 0},
    {NORM, 0, 0, 0, 1, 1, 0, NORM ": shapes differ (base [], delta [1])", 0},
    {NORM, 0, 0, 0, 0, 0, 0, NULL, PLAN_ADD},
};

static void shapes(void)
{
    for (size_t i = 0; i < sizeof shape_cases / sizeof shape_cases[0]; i++) {
        const struct shape_case *row = &shape_cases[i];
        struct pair pair;
        open_pair(&pair);
        set_put(&pair.base, row->name, DTYPE_F16, row->base_rank, row->base_rows, row->base_columns);
        set_put(&pair.delta, row->name, DTYPE_F16, row->delta_rank, row->delta_rows, row->delta_columns);
        if (row->problem != NULL) {
            expect_problem(&pair, row->problem);
        } else if (EXPECT(build(&pair) == LLAVAMED_OK)) {
            expect_action(&pair, row->name, row->action, DTYPE_F16);
            EXPECT(tensor_same_shape(&pair.plan.tensors[0].out, &pair.delta.tensors[0]));
            close_pair(&pair);
        }
    }
}

static void dtypes_that_do_not_fit(void)
{
    static const struct {
        enum dtype base, delta;
        const char *problem;
    } rows[] = {
        {DTYPE_F16, DTYPE_I64, "t: integers against floating point (base F16, delta I64)"},
        {DTYPE_BOOL, DTYPE_F32, "t: integers against floating point (base BOOL, delta F32)"},
        {DTYPE_I64, DTYPE_I32, "t: integer dtypes differ (base I64, delta I32)"},
        {DTYPE_F8_E4M3, DTYPE_F8_E4M3, "t: a dtype that cannot be added (base F8_E4M3, delta F8_E4M3)"},
        {DTYPE_F16, DTYPE_F4, "t: a dtype that cannot be added (base F16, delta F4)"},
        {DTYPE_C64, DTYPE_F32, "t: a dtype that cannot be added (base C64, delta F32)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair pair;
        open_pair(&pair);
        set_put(&pair.base, "t", rows[i].base, 1, 4, 0);
        set_put(&pair.delta, "t", rows[i].delta, 1, 4, 0);
        expect_problem(&pair, rows[i].problem);
    }
    struct pair pair;
    open_pair(&pair);
    set_put(&pair.base, "t", DTYPE_I64, 1, 4, 0);
    set_put(&pair.delta, "t", DTYPE_I64, 1, 5, 0);
    expect_problem(&pair, "t: shapes differ (base [4], delta [5])");
}

/* All are listed, names of both sides in the order of the model. */
static void every_problem_is_listed(void)
{
    struct pair pair;
    open_pair(&pair);
    put_both(&pair, "model.layers.0.mlp.up_proj.weight", DTYPE_F16, 4);
    set_put(&pair.delta, HEAD, DTYPE_F16, 2, 4, 4);
    set_put(&pair.delta, NORM, DTYPE_F16, 1, 4, 0);
    set_put(&pair.base, NORM, DTYPE_F16, 1, 5, 0);
    set_put(&pair.base, EMBED, DTYPE_F16, 2, 4, 4);
    set_put(&pair.base, "model.layers.0.mlp.down_proj.weight", DTYPE_F16, 2, 4, 4);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT_TEXT(pair.error.message, "base BASE and delta DELTA do not belong together (4 problems)");
    EXPECT_U64(pair.error.n_problems, 4);
    EXPECT_TEXT(pair.error.problems[0], EMBED ": in the base, but not in the delta");
    EXPECT_TEXT(pair.error.problems[1], "model.layers.0.mlp.down_proj.weight: in the base, but not in the delta");
    EXPECT_TEXT(pair.error.problems[2], NORM ": shapes differ (base [5], delta [4])");
    EXPECT_TEXT(pair.error.problems[3], HEAD ": in the delta, but not in the base");
    EXPECT_TEXT(pair.error.problems[4], "");
    EXPECT_U64((uint64_t)llavamed_exit_status(&pair.error), 4);
    close_pair(&pair);
}

static void long_names_do_not_hide_the_problem(void)
{
    struct pair pair;
    open_pair(&pair);
    char name[TENSOR_NAME_BYTES_MAX + 1];
    memset(name, 'n', TENSOR_NAME_BYTES_MAX);
    name[TENSOR_NAME_BYTES_MAX] = '\0';
    set_put(&pair.base, name, DTYPE_F16, 1, 4, 0);
    set_put(&pair.delta, name, DTYPE_F16, 1, 5, 0);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT(strstr(pair.error.problems[0], ": shapes differ (base [4], delta [5])") != NULL);
    close_pair(&pair);
}

static void expect_hint(const struct llama_shape *base, const struct llama_shape *delta, const char *hint)
{
    struct pair pair;
    open_pair(&pair);
    set_put_llama(&pair.base, base);
    set_put_llama(&pair.delta, delta);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT(pair.error.n_problems > 0);
    EXPECT_TEXT(pair.error.hint, hint);
    close_pair(&pair);
}

static void hints(void)
{
    struct llama_shape base = tiny;
    base.layers = 3;
    base.hidden = 10;
    expect_hint(&base, &tiny, "the base has 3 layers, the delta 2: take the base of the delta's size");
    base.layers = 2;
    expect_hint(&base, &tiny, "the base has hidden size 10, the delta 8: take the base of the delta's size");
    base.hidden = 8;
    base.rows = 33;
    expect_hint(&base, &tiny,
                "were base and delta exchanged? if not, this delta was made for another base, one with a smaller "
                "vocabulary");
    base.rows = 32;
    base.feed_forward = 13;
    expect_hint(&base, &tiny, "");

    struct pair pair;
    open_pair(&pair);
    set_put_llama(&pair.base, &tiny);
    set_put(&pair.delta, "encoder.weight", DTYPE_F16, 1, 4, 0);
    EXPECT(build(&pair) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT_TEXT(pair.error.hint, "no tensor name is in both: is the delta really one for this kind of model?");
    /* 20 of them by name, and how many there are: 2 + 1 + 2 * 9 of the base, 1 of the delta. */
    EXPECT_U64(pair.error.n_problems, 22);
    close_pair(&pair);
}

static void nothing_to_merge(void)
{
    struct pair pair;
    open_pair(&pair);
    expect_problem(&pair, "the delta holds nothing to merge");
    open_pair(&pair);
    pair.options.inv_freq = LLAVAMED_INV_FREQ_DROP;
    put_both(&pair, INV_FREQ, DTYPE_F32, 64);
    expect_problem(&pair, "the delta holds nothing to merge");
}

/* 2^60 bytes each: 16 of them do not fit, whether they are read or, wider, written. */
static void sizes_beyond_64_bits(void)
{
    static const struct {
        enum dtype dtype;
        enum llavamed_result_dtype result;
        uint64_t n_elems;
    } rows[] = {
        {DTYPE_F64, LLAVAMED_RESULT_DTYPE_FLOAT16, (uint64_t)1 << 57},
        {DTYPE_F16, LLAVAMED_RESULT_DTYPE_FLOAT32, (uint64_t)1 << 58},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned n = 15; n <= 16; n++) {
            struct pair pair;
            open_pair(&pair);
            pair.options.dtype = rows[i].result;
            for (unsigned k = 0; k < n; k++) {
                char name[8];
                (void)snprintf(name, sizeof name, "t%u", k);
                put_both(&pair, name, rows[i].dtype, rows[i].n_elems);
            }
            EXPECT(build(&pair) == (n == 15 ? LLAVAMED_OK : LLAVAMED_STATUS_INPUT_LIMIT));
            close_pair(&pair);
        }
    }
    struct pair pair;
    open_pair(&pair);
    pair.options.dtype = LLAVAMED_RESULT_DTYPE_FLOAT32;
    put_both(&pair, "t", DTYPE_F16, (uint64_t)1 << 59);
    EXPECT(build(&pair) == LLAVAMED_STATUS_SHAPE_INVALID);
    close_pair(&pair);
}

static void warnings(void)
{
    struct pair pair;
    open_pair(&pair);
    set_put(&pair.base, EMBED, DTYPE_F16, 2, 32, 8);
    set_put(&pair.delta, EMBED, DTYPE_F16, 2, 33, 8);
    set_put(&pair.base, HEAD, DTYPE_F16, 2, 32, 8);
    set_put(&pair.delta, HEAD, DTYPE_F16, 2, 32, 8);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_warnings, 1);
    EXPECT_TEXT(pair.plan.warnings[0], "the result's embeddings have 33 rows, its lm_head 32");
    close_pair(&pair);

    open_pair(&pair);
    pair.options.dtype = LLAVAMED_RESULT_DTYPE_FLOAT32;
    set_put(&pair.base, "t", DTYPE_BF16, 1, 4, 0);
    set_put(&pair.delta, "t", DTYPE_F16, 1, 4, 0);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_warnings, 2);
    EXPECT_TEXT(pair.plan.warnings[0], "the base is in bfloat16, a lossy copy of weights released in float16: "
                                       "the result will not be the released model");
    EXPECT_TEXT(pair.plan.warnings[1], "the result's float32 is wider than base (bfloat16) and delta (float16): larger "
                                       "files, and not the bits that the reference gives");
    close_pair(&pair);

    open_pair(&pair);
    pair.options.dtype = LLAVAMED_RESULT_DTYPE_FLOAT32;
    set_put(&pair.base, "t", DTYPE_F32, 1, 4, 0);
    set_put(&pair.delta, "t", DTYPE_F16, 1, 4, 0);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_warnings, 0);
    close_pair(&pair);

    open_pair(&pair);
    put_both(&pair, "t", DTYPE_BF16, 4);
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_warnings, 0);
    close_pair(&pair);
}

/* 100,000 tensors in unhelpful orders. The bound is wide: a quadratic step would take minutes. */
static void large_plans_are_fast(void)
{
    struct pair pair;
    open_pair(&pair);
    struct llama_shape shape = tiny;
    shape.layers = 10000;
    set_put_llama(&pair.base, &shape);
    for (size_t i = pair.base.n_tensors; i > 0; i--) {
        const struct tensor *tensor = &pair.base.tensors[i - 1];
        set_put(&pair.delta, tensor->name, tensor->dtype, tensor->rank, tensor->shape[0], tensor->shape[1]);
    }
    pair.options.max_shard_bytes = 10000;
    EXPECT(build(&pair) == LLAVAMED_OK);
    EXPECT_U64(pair.plan.n_tensors, 100003);
    EXPECT(pair.plan.n_shards > 1000);
    printf("100003 tensors, %zu shards: %.3f s\n", pair.plan.n_shards, pair.seconds);
    EXPECT(pair.seconds < 10);
    close_pair(&pair);
}

int main(void)
{
    CASE(a_llava_delta);
    CASE(order_is_the_models);
    CASE(result_dtypes);
    CASE(model_dtype_is_that_of_most_elements);
    CASE(inv_freq_kept);
    CASE(inv_freq_dropped);
    CASE(inv_freq_problems);
    CASE(projector_of_any_depth_is_copied);
    CASE(merged_base_is_refused);
    CASE(names_in_one_alone);
    CASE(shapes);
    CASE(dtypes_that_do_not_fit);
    CASE(every_problem_is_listed);
    CASE(long_names_do_not_hide_the_problem);
    CASE(hints);
    CASE(nothing_to_merge);
    CASE(sizes_beyond_64_bits);
    CASE(warnings);
    CASE(large_plans_are_fast);
    return harness_end();
}
