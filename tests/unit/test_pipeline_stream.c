/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans run from a source that is read from front to back must end as they do from one that is read in any order, with
 * one worker, in either format. The sources are in memory: the sequential one deals its tensors, in scrambled order, to
 * several streams.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "integrity/crc32.h"
#include "merge/pipeline.h"
#include "merge/pipeline_stream.h"
#include "unit/fake_source.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

/* What goes wrong in stream 0 of a source, and when: a tensor of it, one-based; 0: never. */
struct faults {
    size_t fail_at;
    size_t signal_at; /* the main thread is signalled */
    size_t damage_at; /* damage is done to a file */
    const char *damaged_path;
    uint64_t damaged_offset;
};

static struct faults faults;
static pthread_t main_thread;
static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

static void damage(const char *path, uint64_t offset)
{
    uint8_t byte = 0;
    int file = open(path, O_RDWR | O_CLOEXEC);
    temp_dir_require(file >= 0 && pread(file, &byte, 1, (off_t)offset) == 1, path);
    byte ^= 0x40;
    temp_dir_require(pwrite(file, &byte, 1, (off_t)offset) == 1 && close(file) == 0, path);
}

static enum llavamed_status do_faults(struct fake_source *fake, size_t stream, struct llavamed_error *error)
{
    size_t at = fake->streams[stream].at + 1;
    if (stream != 0) {
        return LLAVAMED_OK;
    }
    if (at == faults.fail_at) {
        return llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH, "delta.zip: a bad checksum");
    }
    if (at == faults.signal_at) {
        const struct timespec pause = {.tv_nsec = 250000000}; /* longer than it takes to be noticed */
        (void)pthread_kill(main_thread, SIGUSR1);
        (void)nanosleep(&pause, NULL);
    }
    if (at == faults.damage_at) {
        damage(faults.damaged_path, faults.damaged_offset);
        faults.damage_at = 0;
    }
    return LLAVAMED_OK;
}

/* Elements of moderate size, so that sums are rounded now and then; some zeros, infinities and NaN. */
static void fill(uint8_t *bytes, const struct tensor *tensor, uint64_t *random)
{
    for (uint64_t i = 0; i < tensor->n_elems; i++) {
        uint64_t bits = fake_random(random);
        double value = ((double)(bits & 0xffff) - 32768.0) / (double)(1 << (bits >> 20 & 15));
        value = bits % 97 == 0 ? 0.0 : value;
        float narrow = (float)value;
        uint32_t float_bits;
        memcpy(&float_bits, &narrow, sizeof float_bits);
        uint16_t half = (uint16_t)(0x2c00 + (bits & 0x93ff)); /* any sign, 2^-4 and more */
        half = bits % 89 == 0 ? 0x7c00 : half;
        uint16_t brain = (uint16_t)(float_bits >> 16);
        int64_t integer = (int64_t)bits;
        const void *element = tensor->dtype == DTYPE_F64    ? (const void *)&value
                              : tensor->dtype == DTYPE_F32  ? (const void *)&narrow
                              : tensor->dtype == DTYPE_F16  ? (const void *)&half
                              : tensor->dtype == DTYPE_BF16 ? (const void *)&brain
                                                            : (const void *)&integer;
        size_t element_bytes = dtype_bytes(tensor->dtype);
        memcpy(bytes + i * element_bytes, element, element_bytes);
    }
}

static void seal_and_fill(struct fake_source *fake, const char *name, size_t n_streams, uint64_t seed)
{
    uint64_t random = seed;
    fake_source_seal(fake, name, n_streams, seed);
    fake->fault = do_faults;
    for (size_t i = 0; i < fake->source.set.n_tensors; i++) {
        fill(fake->bytes[i], &fake->source.set.tensors[i], &random);
    }
}

/* ---- A pair, and running it ---- */

#define NO_LAYER UINT_MAX

struct pair_shape {
    size_t base_streams;
    size_t delta_streams;
    uint64_t delta_width; /* of the embeddings; the base has 48 */
    enum shard_format format;
    unsigned n_layers;        /* 0: 3 */
    uint64_t max_shard_bytes; /* 0: 30000 */
};

struct pair {
    struct temp_dir dir;
    struct fake_source base;
    struct fake_source delta;
    struct plan plan;
};

/* Outside of the layers when `layer` is NO_LAYER. */
static void put(struct tensor_set *set, unsigned layer, const char *name, enum dtype dtype, uint64_t rows,
                uint64_t columns)
{
    char full_name[128];
    (void)(layer == NO_LAYER ? snprintf(full_name, sizeof full_name, "%s", name)
                             : snprintf(full_name, sizeof full_name, "model.layers.%u.%s", layer, name));
    set_put(set, full_name, dtype, columns == 0 ? 1 : 2, rows, columns);
}

/* Every kind of pair: dtypes alike and mixed, grown rows, rotary buffers in both, in one alone, integers, no elements.
 */
static void put_tensors(struct pair *pair, const struct pair_shape *shape)
{
    struct tensor_set *base = &pair->base.source.set;
    struct tensor_set *delta = &pair->delta.source.set;
    put(base, NO_LAYER, "model.embed_tokens.weight", DTYPE_F16, 150, 48);
    put(delta, NO_LAYER, "model.embed_tokens.weight", DTYPE_F16, 153, shape->delta_width);
    put(base, NO_LAYER, "lm_head.weight", DTYPE_F32, 150, 48);
    put(delta, NO_LAYER, "lm_head.weight", DTYPE_F16, 170, 48);
    put(delta, NO_LAYER, "model.mm_projector.weight", DTYPE_F16, 60, 60);
    put(delta, NO_LAYER, "model.mm_projector.bias", DTYPE_F32, 60, 0);
    for (unsigned i = 0; i < (shape->n_layers == 0 ? 3 : shape->n_layers); i++) {
        put(base, i, "self_attn.q_proj.weight", DTYPE_F16, 97, 61);
        put(delta, i, "self_attn.q_proj.weight", DTYPE_F16, 97, 61);
        put(base, i, "self_attn.k_proj.weight", DTYPE_F16, 64, 64);
        put(delta, i, "self_attn.k_proj.weight", DTYPE_BF16, 64, 64);
        put(base, i, "mlp.up_proj.weight", i == 0 ? DTYPE_F64 : DTYPE_BF16, 40, 50);
        put(delta, i, "mlp.up_proj.weight", i == 1 ? DTYPE_F64 : DTYPE_F32, 40, 50);
        put(base, i, "input_layernorm.weight", DTYPE_F32, 48, 0);
        put(delta, i, "input_layernorm.weight", DTYPE_F32, 48, 0);
        put(base, i, "self_attn.empty.weight", DTYPE_F16, 0, 3);
        put(delta, i, "self_attn.empty.weight", DTYPE_F16, 0, 3);
        if (i != 1) {
            put(base, i, "self_attn.rotary_emb.inv_freq", i == 0 ? DTYPE_F32 : DTYPE_F64, 64, 0);
        }
        if (i != 2) {
            put(delta, i, "self_attn.rotary_emb.inv_freq", i == 0 ? DTYPE_F32 : DTYPE_F16, 64, 0);
        }
    }
    put(base, NO_LAYER, "model.counts", DTYPE_I64, 700, 0);
    put(delta, NO_LAYER, "model.counts", DTYPE_I64, 700, 0);
}

static void pair_make(struct pair *pair, const struct pair_shape *shape)
{
    const struct plan_options options = {
        .format = shape->format, .max_shard_bytes = shape->max_shard_bytes == 0 ? 30000 : shape->max_shard_bytes};
    memset(pair, 0, sizeof *pair);
    temp_dir_make(&pair->dir);
    tensor_set_init(&pair->base.source.set);
    tensor_set_init(&pair->delta.source.set);
    put_tensors(pair, shape);
    seal_and_fill(&pair->base, "base", shape->base_streams, 1);
    seal_and_fill(&pair->delta, "delta", shape->delta_streams, 2);
    struct llavamed_error error = {0};
    if (!EXPECT(plan_build(&pair->base.source.set, "base", &pair->delta.source.set, "delta", &options, &pair->plan,
                           &error) == LLAVAMED_OK)) {
        printf("    %s\n    %s\n", error.message, error.problems[0]);
        abort();
    }
    EXPECT(pair->plan.n_shards > 2);
}

static void pair_free(struct pair *pair)
{
    plan_deinit(&pair->plan);
    fake_source_free(&pair->base);
    fake_source_free(&pair->delta);
    temp_dir_remove(&pair->dir);
}

/* What the observer was told. */
struct told {
    uint64_t done_bytes;
    size_t n_shards;
    bool went_back;
};

static void on_progress(void *context, const struct llavamed_progress *progress)
{
    struct told *told = context;
    told->went_back = told->went_back || progress->done_bytes < told->done_bytes;
    told->done_bytes = progress->done_bytes;
}

static void on_shard(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    struct told *told = context;
    (void)n_shards;
    told->n_shards += n_done == told->n_shards + 1 && strlen(shard->sha256) == 64;
}

static enum llavamed_status run_pair(struct pair *pair, const char *directory, unsigned n_workers, size_t tile_bytes,
                                     struct told *told, struct pipeline_outcome *outcome, struct llavamed_error *error)
{
    const struct llavamed_observer observer = {.context = told, .progress = on_progress, .shard_done = on_shard};
    memset(told, 0, sizeof *told);
    memset(error, 0, sizeof *error);
    const struct pipeline_job job = {
        .plan = &pair->plan,
        .base = &pair->base.source,
        .delta = &pair->delta.source,
        .directory = directory,
        .kernels = kernel_best(),
        .geometry = {.n_workers = n_workers,
                     .n_buffers = 2 * n_workers,
                     .tile_bytes = tile_bytes,
                     .pool_bytes = (uint64_t)4 * n_workers * tile_bytes},
        .stop_signal = &signalled,
        .observer = &observer,
    };
    temp_mkdir(directory);
    return pipeline_run(&job, outcome, error);
}

/* ---- The same outcome ---- */

static void compare_outcomes(const struct pair *pair, const struct pipeline_outcome *got,
                             const struct pipeline_outcome *want)
{
    for (size_t i = 0; i < pair->plan.n_tensors; i++) {
        const struct pipeline_tensor *a = &got->tensors[i];
        const struct pipeline_tensor *b = &want->tensors[i];
        bool same = a->crc32 == b->crc32 && a->front == b->front && a->n_added == b->n_added &&
                    a->n_overflow == b->n_overflow && a->counts.n_nan == b->counts.n_nan &&
                    a->counts.n_infinite == b->counts.n_infinite && a->counts.n_rounded == b->counts.n_rounded &&
                    a->counts.n_delta_zero == b->counts.n_delta_zero;
        if (!EXPECT(same)) {
            printf("    %s\n", pair->plan.tensors[i].out.name);
        }
    }
    EXPECT_U64(got->written_bytes, want->written_bytes);
}

/* What is told of the data's front is what the file holds. */
static void compare_fronts(const struct pair *pair, size_t shard_index, const struct pipeline_outcome *got,
                           const char *file)
{
    const struct plan_shard *shard = &pair->plan.shards[shard_index];
    for (size_t i = 0; i < shard->layout.n_data; i++) {
        size_t tensor = shard->tensors[shard->layout.order[i]];
        uint64_t front = 0;
        for (size_t k = 0; k < 8 && k < pair->plan.tensors[tensor].out.n_bytes; k++) {
            front |= (uint64_t)(uint8_t)file[shard->layout.file_offsets[i] + k] << (8 * k);
        }
        EXPECT_U64(got->tensors[tensor].front, front);
    }
}

static void compare_shards(const struct pair *pair, const struct pipeline_outcome *got, const char *directory,
                           const char *want_directory)
{
    for (size_t i = 0; i < pair->plan.n_shards; i++) {
        char path[2][4096];
        size_t n_bytes[2] = {0, 0};
        char hex[SHA256_HEX_BYTES] = "";
        (void)snprintf(path[0], sizeof path[0], "%s/%s", directory, pair->plan.shards[i].name);
        (void)snprintf(path[1], sizeof path[1], "%s/%s", want_directory, pair->plan.shards[i].name);
        char *bytes = temp_read(path[0], &n_bytes[0]);
        char *want = temp_read(path[1], &n_bytes[1]);
        EXPECT(bytes != NULL && want != NULL && n_bytes[0] == n_bytes[1] && memcmp(bytes, want, n_bytes[0]) == 0);
        EXPECT(bytes != NULL && sha256_of(bytes, n_bytes[0], hex, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(got->shard_sha256[i], hex);
        if (bytes != NULL && n_bytes[0] == pair->plan.shards[i].layout.file_bytes) {
            compare_fronts(pair, i, got, bytes);
        }
        free(bytes);
        free(want);
    }
}

/* Base and delta of one content, read in any order, give what is wanted; both must be the same pair otherwise. */
static void expect_same_outcome(const struct pair_shape *shape, unsigned n_workers, size_t tile_bytes)
{
    struct pair *pair = malloc(sizeof *pair);
    struct pair *plain = malloc(sizeof *plain);
    make_set_require(pair != NULL && plain != NULL);
    struct pair_shape plain_shape = *shape;
    plain_shape.base_streams = 0;
    plain_shape.delta_streams = 0;
    pair_make(pair, shape);
    pair_make(plain, &plain_shape);
    const char *want_directory = temp_path(&plain->dir, "want");
    const char *directory = temp_path(&pair->dir, "got");
    struct pipeline_outcome want = {0};
    struct pipeline_outcome got = {0};
    struct told told;
    struct llavamed_error error;
    EXPECT(run_pair(plain, want_directory, 1, 65536, &told, &want, &error) == LLAVAMED_OK);
    EXPECT_U64(told.done_bytes, plain->plan.file_bytes);
    if (EXPECT(run_pair(pair, directory, n_workers, tile_bytes, &told, &got, &error) == LLAVAMED_OK)) {
        EXPECT_U64(told.done_bytes, pair->plan.file_bytes);
        EXPECT_U64(told.n_shards, pair->plan.n_shards);
        EXPECT(!told.went_back);
        compare_outcomes(plain, &got, &want);
        compare_shards(plain, &got, directory, want_directory);
    } else {
        printf("    %s\n", error.message);
    }
    pipeline_outcome_deinit(&want);
    pipeline_outcome_deinit(&got);
    pair_free(pair);
    pair_free(plain);
    free(pair);
    free(plain);
}

static void test_delta_in_streams(void)
{
    for (unsigned n_workers = 1; n_workers <= 16; n_workers += 1 + n_workers / 2) {
        for (size_t n_streams = 1; n_streams <= FAKE_STREAMS_MAX; n_streams += 2) {
            expect_same_outcome(&(struct pair_shape){0, n_streams, 48, SHARD_SAFETENSORS, 0, 0}, n_workers, 4096);
            expect_same_outcome(&(struct pair_shape){0, n_streams, 48, SHARD_TORCH_1_13, 0, 0}, n_workers, 4096);
        }
        expect_same_outcome(&(struct pair_shape){0, 2, 48, SHARD_SAFETENSORS, 0, 0}, n_workers, 65536);
    }
}

static void test_delta_in_streams_of_a_wider_embedding(void)
{
    expect_same_outcome(&(struct pair_shape){0, 2, 57, SHARD_SAFETENSORS, 0, 0}, 3, 4096);
    expect_same_outcome(&(struct pair_shape){0, 2, 57, SHARD_TORCH_1_13, 0, 0}, 3, 4096);
}

static void test_base_in_streams(void)
{
    for (unsigned n_workers = 1; n_workers <= 16; n_workers += 1 + n_workers / 2) {
        for (size_t n_streams = 1; n_streams <= FAKE_STREAMS_MAX; n_streams += 2) {
            expect_same_outcome(&(struct pair_shape){n_streams, 0, 48, SHARD_SAFETENSORS, 0, 0}, n_workers, 4096);
            expect_same_outcome(&(struct pair_shape){n_streams, 0, 48, SHARD_TORCH_1_13, 0, 0}, n_workers, 4096);
        }
        expect_same_outcome(&(struct pair_shape){2, 0, 48, SHARD_SAFETENSORS, 0, 0}, n_workers, 65536);
    }
}

/* Both ways to run a plan; many tensors to a shard, and a first shard without any. */
static void test_torch_shards(void)
{
    for (unsigned n_workers = 1; n_workers <= 16; n_workers++) {
        for (size_t n_streams = 0; n_streams <= 2; n_streams++) {
            expect_same_outcome(&(struct pair_shape){0, n_streams, 48, SHARD_TORCH_1_13, 14, 130000}, n_workers, 1024);
            expect_same_outcome(&(struct pair_shape){0, n_streams, 48, SHARD_TORCH_2_13, 0, 9000}, n_workers, 65536);
            expect_same_outcome(&(struct pair_shape){0, n_streams, 48, SHARD_SAFETENSORS, 0, 0}, n_workers, 4096);
        }
    }
}

/* The sums themselves, of a tensor in float32 on both sides: C's own addition. */
static void test_sums(void)
{
    struct pair *pair = malloc(sizeof *pair);
    make_set_require(pair != NULL);
    pair_make(pair, &(struct pair_shape){0, 3, 48, SHARD_SAFETENSORS, 0, 0});
    struct pipeline_outcome outcome = {0};
    struct told told;
    struct llavamed_error error;
    EXPECT(run_pair(pair, temp_path(&pair->dir, "out"), 4, 4096, &told, &outcome, &error) == LLAVAMED_OK);
    size_t n_found = 0;
    for (size_t i = 0; i < pair->plan.n_tensors; i++) {
        const struct plan_tensor *tensor = &pair->plan.tensors[i];
        float base[48];
        float delta[48];
        if (strstr(tensor->out.name, "input_layernorm") != NULL) {
            memcpy(base, pair->base.bytes[tensor->base_index], sizeof base);
            memcpy(delta, pair->delta.bytes[tensor->delta_index], sizeof delta);
            for (size_t k = 0; k < 48; k++) {
                base[k] += delta[k];
            }
            EXPECT_U64(outcome.tensors[i].crc32, crc32_update(0, base, sizeof base));
            n_found++;
        }
    }
    EXPECT_U64(n_found, 3);
    pipeline_outcome_deinit(&outcome);
    pair_free(pair);
    free(pair);
}

/* ---- What goes wrong ---- */

static void expect_failure(struct pair *pair, unsigned n_workers, enum llavamed_status want, const char *text)
{
    struct pipeline_outcome outcome = {0};
    struct told told;
    struct llavamed_error error;
    EXPECT(run_pair(pair, temp_path(&pair->dir, "out%u", n_workers), n_workers, 4096, &told, &outcome, &error) == want);
    EXPECT(error.status == want && strstr(error.message, text) != NULL);
    EXPECT(told.done_bytes < pair->plan.file_bytes);
    EXPECT(outcome.tensors == NULL && outcome.shard_sha256 == NULL);
    faults = (struct faults){0};
}

/* A tensor of several tiles in stream 0, one-based; not its first one. */
static size_t find_long_tensor(const struct fake_source *fake)
{
    const struct fake_stream *stream = &fake->streams[0];
    for (size_t i = 1; i < stream->n_tensors; i++) {
        if (fake->source.set.tensors[stream->order[i]].n_elems > 4000) {
            return i + 1;
        }
    }
    return 0; /* no fault then, so the test fails */
}

static void test_error_in_a_stream(void)
{
    for (unsigned n_workers = 1; n_workers <= 8; n_workers *= 2) {
        struct pair *pair = malloc(sizeof *pair);
        make_set_require(pair != NULL);
        pair_make(pair, &(struct pair_shape){0, 2, 48, SHARD_SAFETENSORS, 0, 0});
        faults.fail_at = find_long_tensor(&pair->delta);
        expect_failure(pair, n_workers, LLAVAMED_STATUS_CRC_MISMATCH, "a bad checksum");
        pair_free(pair);
        free(pair);
    }
}

static void test_stop_signal(void)
{
    for (unsigned n_workers = 1; n_workers <= 4; n_workers *= 2) {
        struct pair *pair = malloc(sizeof *pair);
        make_set_require(pair != NULL);
        pair_make(pair, &(struct pair_shape){3, 0, 48, SHARD_SAFETENSORS, 0, 0});
        faults.signal_at = find_long_tensor(&pair->base);
        expect_failure(pair, n_workers, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal");
        signalled = 0;
        pair_free(pair);
        free(pair);
    }
}

/* One worker: what the first tensor of the stream became is on its way to storage when the last one is read. */
static void expect_damage_found(enum shard_format format, bool in_header)
{
    struct pair *pair = malloc(sizeof *pair);
    make_set_require(pair != NULL);
    pair_make(pair, &(struct pair_shape){0, 1, 48, format, 0, 0});
    struct fake_stream *stream = &pair->delta.streams[0];
    const char *want = "its headers differ";
    char path[4096] = "";
    /* Two tensors of one shard: the damage is done to the first when the second is read. */
    size_t n_seen = 0;
    size_t shard = 0;
    for (size_t i = 0; i < stream->n_tensors && n_seen < 2; i++) {
        for (size_t k = 0; k < pair->plan.n_tensors; k++) {
            const struct plan_tensor *tensor = &pair->plan.tensors[k];
            if (tensor->delta_index != stream->order[i] || tensor->out.n_elems == 0 ||
                (n_seen == 1 && tensor->shard != shard)) {
                continue;
            }
            if (n_seen++ == 1) {
                faults.damage_at = i + 1;
                break;
            }
            shard = tensor->shard;
            const struct plan_shard *planned = &pair->plan.shards[shard];
            (void)snprintf(path, sizeof path, "%s/out1/%s", pair->dir.path, planned->name);
            for (size_t p = 0; p < planned->n_tensors && !in_header; p++) {
                if (planned->tensors[planned->layout.order[p]] == k) {
                    faults.damaged_offset = planned->layout.file_offsets[p] + tensor->out.n_bytes / 2;
                    want = tensor->out.name;
                }
            }
        }
    }
    EXPECT_U64(n_seen, 2);
    faults.damaged_offset = in_header ? 20 : faults.damaged_offset;
    faults.damaged_path = path;
    expect_failure(pair, 1, LLAVAMED_STATUS_HASH_MISMATCH, want);
    pair_free(pair);
    free(pair);
}

static void test_read_back_finds_damage(void)
{
    expect_damage_found(SHARD_SAFETENSORS, false);
    expect_damage_found(SHARD_SAFETENSORS, true);
    expect_damage_found(SHARD_TORCH_1_13, false);
    expect_damage_found(SHARD_TORCH_1_13, true);
}

static void test_what_cannot_be_run(void)
{
    static const struct {
        struct pair_shape shape;
        enum llavamed_status status;
        const char *text;
    } cases[] = {
        {{0, 0, 48, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_OK, ""},
        {{0, 2, 48, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_OK, ""},
        {{2, 0, 48, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_OK, ""},
        {{0, 2, 49, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_OK, ""},
        {{2, 0, 49, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "grow in width"},
        {{1, 2, 48, SHARD_SAFETENSORS, 0, 0}, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "both compressed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair *pair = malloc(sizeof *pair);
        make_set_require(pair != NULL);
        pair_make(pair, &cases[i].shape);
        struct llavamed_error error = {0};
        EXPECT(pipeline_stream_check(&pair->plan, &pair->base.source, &pair->delta.source, &error) == cases[i].status);
        EXPECT(strstr(error.message, cases[i].text) != NULL);
        EXPECT((cases[i].status == LLAVAMED_OK) == (error.hint[0] == '\0'));
        pair_free(pair);
        free(pair);
    }
}

static void test_more_shards_than_files(void)
{
    struct rlimit limit;
    struct pair *pair = malloc(sizeof *pair);
    make_set_require(pair != NULL && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    pair_make(pair, &(struct pair_shape){0, 2, 48, SHARD_SAFETENSORS, 0, 0});
    const struct rlimit low = {.rlim_cur = 32 + pair->plan.n_shards - 1, .rlim_max = limit.rlim_max};
    struct llavamed_error error = {0};
    EXPECT(setrlimit(RLIMIT_NOFILE, &low) == 0);
    EXPECT(pipeline_stream_check(&pair->plan, &pair->base.source, &pair->delta.source, &error) ==
           LLAVAMED_STATUS_USAGE);
    EXPECT(strstr(error.hint, "--max-shard-size") != NULL);
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EXPECT(pipeline_stream_check(&pair->plan, &pair->base.source, &pair->delta.source, &error) == LLAVAMED_OK);
    pair_free(pair);
    free(pair);
}

int main(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    main_thread = pthread_self();
    if (sigaction(SIGUSR1, &action, NULL) != 0) {
        return 1;
    }
    CASE(test_delta_in_streams);
    CASE(test_delta_in_streams_of_a_wider_embedding);
    CASE(test_base_in_streams);
    CASE(test_torch_shards);
    CASE(test_sums);
    CASE(test_error_in_a_stream);
    CASE(test_stop_signal);
    CASE(test_read_back_finds_damage);
    CASE(test_what_cannot_be_run);
    CASE(test_more_shards_than_files);
    return harness_end();
}
