/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meta's original layout, held against the whole tensors that torch made of the same shards (tests/data/meta, see
 * tests/tools/make_meta_data.py): 1, 2, 4 and 8 shards, records of their own and views of one storage per layer.
 */
#include "source/source.h"

#include "integrity/digest.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/meta/"
#define TENSOR_BYTES_MAX 65536

static enum llavamed_status try_open(const char *path, bool check, struct source **source, struct llavamed_error *error)
{
    const struct source_options options = {.role = "base", .check_crc = check};
    *source = NULL;
    memset(error, 0, sizeof *error);
    return source_open(path, &options, source, error);
}

static struct source *open_good(const char *path)
{
    struct source *source = NULL;
    struct llavamed_error error;
    if (!EXPECT(try_open(path, true, &source, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    return source;
}

static enum llavamed_status finish(struct source *source, struct llavamed_error *error)
{
    static uint8_t scratch[4096];
    memset(error, 0, sizeof *error);
    return source_finish(source, scratch, sizeof scratch, error);
}

/* A whole tensor in pieces of `step` elements; the last ones first when `backwards`. */
static bool read_in_steps(struct source *source, size_t index, uint64_t step, bool backwards, uint8_t *bytes)
{
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    size_t element_bytes = (size_t)(tensor->n_bytes / tensor->n_elems);
    uint64_t n_steps = (tensor->n_elems + step - 1) / step;
    bool good = tensor->n_bytes <= TENSOR_BYTES_MAX;
    memset(bytes, 0x55, TENSOR_BYTES_MAX);
    for (uint64_t i = 0; good && i < n_steps; i++) {
        uint64_t first = (backwards ? n_steps - 1 - i : i) * step;
        uint64_t n = tensor->n_elems - first < step ? tensor->n_elems - first : step;
        good = source_read(source, index, first, n, bytes + first * element_bytes, NULL) == LLAVAMED_OK;
    }
    return good;
}

/* One line of expected.txt against the tensor in pieces of any size. */
static void check_tensor(struct source *source, const char *name, const char *shape, const char *sha256)
{
    static uint8_t bytes[TENSOR_BYTES_MAX];
    size_t index = tensor_set_find(source_tensors(source), name);
    if (!EXPECT(index != TENSOR_NOT_FOUND)) {
        printf("    %s\n", name);
        return;
    }
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    char text[64];
    (void)snprintf(text, sizeof text, tensor->rank == 1 ? "%llu" : "%llux%llu", (unsigned long long)tensor->shape[0],
                   (unsigned long long)tensor->shape[1]);
    EXPECT_TEXT(text, shape);
    static const uint64_t steps[] = {
        1, 2, 3, 7, 13, 16, 24, 31, 32, 64, 97, 128, 129, 255, 511, 1000, TENSOR_BYTES_MAX};
    for (size_t i = 0; i < 2 * sizeof steps / sizeof steps[0]; i++) {
        char hex[SHA256_HEX_BYTES];
        bool good = EXPECT(read_in_steps(source, index, steps[i / 2], i % 2 == 1, bytes)) &&
                    EXPECT(sha256_of(bytes, (size_t)tensor->n_bytes, hex, NULL) == LLAVAMED_OK) &&
                    EXPECT_TEXT(hex, sha256);
        if (!good) {
            printf("    %s in steps of %llu\n", name, (unsigned long long)steps[i / 2]);
            return;
        }
    }
}

/* Every tensor of one set of expected.txt, in its order. */
static void check_set(const char *set, const char *path, const char *dtype)
{
    struct source *source = open_good(path);
    FILE *stream = fopen(DATA "expected.txt", "r");
    temp_dir_require(stream != NULL, "expected.txt");
    char got_set[32];
    char name[128];
    char got_dtype[8];
    char shape[32];
    char sha256[80];
    size_t n = 0;
    while (source != NULL && fscanf(stream, "%31s %127s %7s %31s %79s", got_set, name, got_dtype, shape, sha256) == 5) {
        if (strcmp(got_set, set) != 0) {
            continue;
        }
        EXPECT_TEXT(source_tensors(source)->tensors[n].name, name);
        EXPECT_TEXT(dtype_name(source_tensors(source)->tensors[n].dtype), dtype);
        EXPECT_TEXT(got_dtype, dtype);
        check_tensor(source, name, shape, sha256);
        n++;
    }
    (void)fclose(stream);
    if (source != NULL) {
        EXPECT_U64(source_tensors(source)->n_tensors, n);
        EXPECT_TEXT(source_format(source), "meta");
        struct llavamed_error error;
        EXPECT(finish(source, &error) == LLAVAMED_OK);
    }
    source_close(source);
}

static void one_shard(void)
{
    check_set("one", DATA "one", "F16");
}

static void two_shards(void)
{
    check_set("two/13B", DATA "two/13B", "F16");
    check_set("two/13B", DATA "two", "F16");
    check_set("two/13B", DATA "two/", "F16");
}

static void four_shards(void)
{
    check_set("four", DATA "four", "F16");
}

static void eight_shards(void)
{
    check_set("eight", DATA "eight", "BF16");
}

/* A layout that weights.h does not read it must refuse; what it reads must be read right here too. */
static void transposed_tensors(void)
{
    struct source *source = NULL;
    struct llavamed_error error;
    if (try_open(DATA "transposed", true, &source, &error) == LLAVAMED_OK) {
        source_close(source);
        check_set("transposed", DATA "transposed", "F16");
    } else {
        EXPECT(error.status == LLAVAMED_STATUS_TORCH_VIEW);
    }
}

/* Any range equals that part of the whole. */
static void odd_ranges(void)
{
    static const char *const paths[] = {DATA "one", DATA "two", DATA "four", DATA "eight"};
    static uint8_t whole[TENSOR_BYTES_MAX];
    static uint8_t part[TENSOR_BYTES_MAX];
    uint64_t state = 12345;
    for (size_t p = 0; p < 4; p++) {
        struct source *source = open_good(paths[p]);
        for (size_t i = 0; source != NULL && i < source_tensors(source)->n_tensors; i++) {
            const struct tensor *tensor = &source_tensors(source)->tensors[i];
            EXPECT(source_read(source, i, 0, tensor->n_elems, whole, NULL) == LLAVAMED_OK);
            EXPECT(source_read(source, i, tensor->n_elems, 0, part, NULL) == LLAVAMED_OK);
            for (int round = 0; round < 60; round++) {
                state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
                uint64_t first = (state >> 33) % tensor->n_elems;
                state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
                uint64_t n = (state >> 33) % (tensor->n_elems - first + 1);
                memset(part, 0x55, sizeof part);
                EXPECT(source_read(source, i, first, n, part + 8, NULL) == LLAVAMED_OK);
                EXPECT(memcmp(part + 8, whole + first * 2, n * 2) == 0);
                EXPECT(part[7] == 0x55 && part[8 + n * 2] == 0x55);
            }
        }
        source_close(source);
    }
}

/* Ranges of whole grains and of every smaller size equal the whole. */
static void every_small_step(void)
{
    static const char *const paths[] = {DATA "one", DATA "two", DATA "four", DATA "eight"};
    static uint8_t whole[TENSOR_BYTES_MAX];
    static uint8_t steps[TENSOR_BYTES_MAX];
    for (size_t p = 0; p < 4; p++) {
        struct source *source = open_good(paths[p]);
        for (size_t i = 0; source != NULL && i < source_tensors(source)->n_tensors; i++) {
            const struct tensor *tensor = &source_tensors(source)->tensors[i];
            uint64_t grain = source_grain(source, i);
            EXPECT(read_in_steps(source, i, tensor->n_elems, false, whole));
            for (uint64_t step = 1; step <= 130; step++) {
                EXPECT(read_in_steps(source, i, step, step % 2 == 0, steps));
                EXPECT(memcmp(steps, whole, TENSOR_BYTES_MAX) == 0);
            }
            EXPECT(read_in_steps(source, i, grain, true, steps) && memcmp(steps, whole, TENSOR_BYTES_MAX) == 0);
        }
        source_close(source);
    }
}

/* Whole heads of q and k; so many rows of joined columns that each shard's share is 64 KiB, here all. */
static void grains(void)
{
    static const struct {
        const char *path;
        const char *name;
        uint64_t grain;
    } cases[] = {
        {DATA "one", "model.layers.1.self_attn.q_proj.weight", UINT64_C(8) * 16},
        {DATA "one", "model.layers.1.self_attn.o_proj.weight", 1},
        {DATA "two", "model.layers.0.self_attn.q_proj.weight", UINT64_C(4) * 16},
        {DATA "two", "model.layers.1.self_attn.k_proj.weight", UINT64_C(4) * 16},
        {DATA "two", "model.layers.1.self_attn.v_proj.weight", 1},
        {DATA "two", "model.layers.1.self_attn.o_proj.weight", UINT64_C(16) * 16},
        {DATA "two", "model.embed_tokens.weight", UINT64_C(16) * 16},
        {DATA "two", "model.norm.weight", 1},
        {DATA "four", "model.layers.1.self_attn.k_proj.weight", UINT64_C(6) * 24},
        {DATA "eight", "model.layers.1.self_attn.k_proj.weight", UINT64_C(4) * 32},
        {DATA "eight", "lm_head.weight", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct source *source = open_good(cases[i].path);
        if (source != NULL) {
            size_t index = tensor_set_find(source_tensors(source), cases[i].name);
            EXPECT(index != TENSOR_NOT_FOUND);
            EXPECT_U64(source_grain(source, index), cases[i].grain);
        }
        source_close(source);
    }
}

/* ---- Files ---- */

static void files_of_the_release(void)
{
    struct source *source = open_good(DATA "two");
    const struct source_file *files = NULL;
    if (EXPECT(source_files(source, &files) == 2)) {
        EXPECT_TEXT(files[0].name, "consolidated.00.pth");
        EXPECT_TEXT(files[1].name, "consolidated.01.pth");
        EXPECT_TEXT(source_file_path(source, 1), DATA "two/13B/consolidated.01.pth");
        EXPECT(files[0].n_bytes > 1000);
    }
    const struct source_small_file *small = NULL;
    if (EXPECT(source_small_files(source, &small) == 2)) {
        EXPECT_TEXT(small[0].name, "checklist.chk");
        EXPECT_TEXT(small[1].name, "params.json");
    }
    const struct source_remark *remarks = NULL;
    if (EXPECT(source_remarks(source, &remarks) == 1)) {
        EXPECT(!remarks[0].is_warning);
        EXPECT_TEXT(remarks[0].text, DATA "two/13B: Meta's original layout in 2 shards");
    }
    source_close(source);
}

/* What a copy of a set is changed into before it is opened. */
struct copy {
    struct temp_dir dir;
    struct source *source;
    struct llavamed_error error;
};

static void copy_one(struct copy *copy, const char *from, const char *to)
{
    size_t n_bytes = 0;
    char *bytes = temp_read(from, &n_bytes);
    temp_dir_require(bytes != NULL, from);
    temp_write(temp_path(&copy->dir, "%s", to), bytes, n_bytes);
    free(bytes);
}

/* A folder with n shards of a set, its params.json and, if wanted, its checklist. */
static void copy_set(struct copy *copy, const char *set, size_t n_shards, bool with_checklist)
{
    char from[256];
    char name[64];
    temp_dir_make(&copy->dir);
    for (size_t i = 0; i < n_shards; i++) {
        (void)snprintf(name, sizeof name, "consolidated.%02u.pth", (unsigned)i);
        (void)snprintf(from, sizeof from, DATA "%s/%s", set, name);
        copy_one(copy, from, name);
    }
    (void)snprintf(from, sizeof from, DATA "%s/params.json", set);
    copy_one(copy, from, "params.json");
    (void)snprintf(from, sizeof from, DATA "%s/checklist.chk", set);
    if (with_checklist) {
        copy_one(copy, from, "checklist.chk");
    }
}

static void write_params(struct copy *copy, const char *text)
{
    temp_write_text(temp_path(&copy->dir, "params.json"), text);
}

static void copy_remove(struct copy *copy)
{
    source_close(copy->source);
    temp_dir_remove(&copy->dir);
}

/* Opening the copy fails with this; then it is removed. */
static void want_refused(struct copy *copy, enum llavamed_status status, const char *message, const char *hint)
{
    EXPECT_TEXT(llavamed_status_name(try_open(copy->dir.path, true, &copy->source, &copy->error)),
                llavamed_status_name(status));
    if (!EXPECT(strstr(copy->error.message, message) != NULL && strstr(copy->error.hint, hint) != NULL)) {
        printf("    got  %s\n    hint %s\n", copy->error.message, copy->error.hint);
    }
    EXPECT(strncmp(copy->error.message, copy->dir.path, strlen(copy->dir.path)) == 0);
    copy_remove(copy);
}

static void shards_that_are_missing(void)
{
    struct copy copy;
    copy_set(&copy, "four", 4, false);
    temp_dir_require(remove(temp_path(&copy.dir, "consolidated.01.pth")) == 0, "remove");
    want_refused(&copy, LLAVAMED_STATUS_INPUT_MISSING, ": consolidated.01.pth is missing", "complete the download");
    copy_set(&copy, "four", 2, false);
    want_refused(&copy, LLAVAMED_STATUS_INPUT_MISSING, ": shards are missing (got 2, want 4)", "complete the download");
    copy_set(&copy, "four", 3, true);
    want_refused(&copy, LLAVAMED_STATUS_META_INVALID, ": 3 shards cannot share 4 heads", "");
    copy_set(&copy, "four", 2, true);
    want_refused(&copy, LLAVAMED_STATUS_INPUT_MISSING, ": consolidated.02.pth is missing, which checklist.chk lists",
                 "complete the download");
    copy_set(&copy, "two/13B", 2, false);
    temp_dir_require(remove(temp_path(&copy.dir, "params.json")) == 0, "remove");
    want_refused(&copy, LLAVAMED_STATUS_INPUT_MISSING, ": params.json is missing", "complete the download");
}

#define PARAMS(rest) "{\"dim\": 16, \"multiple_of\": 32, \"n_layers\": 2, \"norm_eps\": 1e-06, " rest "}"

static void params_that_are_refused(void)
{
    static const struct {
        const char *text;
        enum llavamed_status status;
        const char *message;
    } rows[] = {
        {PARAMS("\"n_heads\": 4, \"vocab_size\": -1, \"n_kv_heads\": 2"), LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         "not the original LLaMA but a later model (it has fewer key and value heads, n_kv_heads)"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": -1, \"ffn_dim_multiplier\": 1.3"), LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         "(it has ffn_dim_multiplier)"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": -1, \"rope_theta\": 500000.0"), LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         "(it has rope_theta)"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": -1, \"flavour\": 1"), LLAVAMED_STATUS_META_INVALID,
         "unknown parameter flavour"},
        {PARAMS("\"n_heads\": 4"), LLAVAMED_STATUS_META_INVALID, "parameter vocab_size is missing"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": -2"), LLAVAMED_STATUS_META_INVALID, "vocab_size is out of range"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": 0"), LLAVAMED_STATUS_META_INVALID, "vocab_size is out of range"},
        {PARAMS("\"n_heads\": 0, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "n_heads is out of range"},
        {PARAMS("\"n_heads\": -1, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "n_heads is out of range"},
        {PARAMS("\"n_heads\": \"4\", \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "n_heads is out of range"},
        {PARAMS("\"n_heads\": 99999999, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "n_heads is out of range"},
        {PARAMS("\"n_heads\": 3, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "not made of heads of even width"},
        {PARAMS("\"n_heads\": 16, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "heads of even width"},
        {PARAMS("\"n_heads\": 1, \"vocab_size\": -1"), LLAVAMED_STATUS_META_INVALID, "cannot share 1 heads"},
        {PARAMS("\"n_heads\": 4, \"vocab_size\": 17"), LLAVAMED_STATUS_META_INVALID, "wrong number of rows"},
        {"{\"dim\": 16, \"multiple_of\": 48, \"n_heads\": 4, \"n_layers\": 2, \"norm_eps\": 1, \"vocab_size\": -1}",
         LLAVAMED_STATUS_META_INVALID,
         "layers.0.feed_forward.w1.weight has not the shape that params.json tells (got [32, 16], want [24, 16])"},
        {"{\"dim\": 16, \"multiple_of\": 32, \"n_heads\": 4, \"n_layers\": 1, \"norm_eps\": 1, \"vocab_size\": -1}",
         LLAVAMED_STATUS_META_INVALID, "is not one of a LLaMA of 1 layers"},
        {"{\"dim\": 16, \"multiple_of\": 32, \"n_heads\": 4, \"n_layers\": 3, \"norm_eps\": 1, \"vocab_size\": -1}",
         LLAVAMED_STATUS_META_INVALID, "tensor layers.2.attention.wq.weight is missing"},
        {"{\"dim\": 16, \"multiple_of\": 32, \"n_heads\": 4, \"n_layers\": 1001, \"norm_eps\": 1, \"vocab_size\": -1}",
         LLAVAMED_STATUS_META_INVALID, "n_layers is out of range (got 1001, want 1 to 1000)"},
        {"{\"dim\": 16, \"multiple_of\": 32, \"n_heads\": 4, \"n_layers\": 2, \"norm_eps\": \"1\", \"vocab_size\": -1}",
         LLAVAMED_STATUS_META_INVALID, "norm_eps is out of range"},
        {"[]", LLAVAMED_STATUS_META_INVALID, "not a JSON object"},
        {"{", LLAVAMED_STATUS_JSON_INVALID, ""},
        {"{\"dim\": 16, \"dim\": 16}", LLAVAMED_STATUS_JSON_DUPLICATE_KEY, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct copy copy;
        copy_set(&copy, "two/13B", 2, false);
        write_params(&copy, rows[i].text);
        want_refused(&copy, rows[i].status, rows[i].message, "");
    }
}

static void params_that_are_fine(void)
{
    struct copy copy;
    copy_set(&copy, "two/13B", 2, false);
    write_params(&copy, PARAMS("\"n_heads\": 4, \"vocab_size\": 16, \"n_kv_heads\": 4, \"max_seq_len\": 2048"));
    EXPECT(try_open(copy.dir.path, true, &copy.source, &copy.error) == LLAVAMED_OK);
    copy_remove(&copy);
}

static void files_that_do_not_belong(void)
{
    struct copy copy;
    copy_set(&copy, "two/13B", 2, false);
    copy_one(&copy, DATA "eight/consolidated.03.pth", "consolidated.01.pth");
    want_refused(&copy, LLAVAMED_STATUS_META_INVALID,
                 "consolidated.01.pth: tok_embeddings.weight has not the shape that params.json tells", "");
    copy_set(&copy, "two/13B", 2, false);
    copy_one(&copy, "tests/data/cli/base-bin/pytorch_model.bin", "consolidated.01.pth");
    want_refused(&copy, LLAVAMED_STATUS_META_INVALID,
                 "consolidated.01.pth: tensor model.embed_tokens.weight is not one of a LLaMA of 2 layers", "");
    EXPECT(try_open(DATA "two/13B/consolidated.00.pth", true, &copy.source, &copy.error) ==
           LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(strstr(copy.error.hint, "give the directory that holds consolidated.00.pth") != NULL);
}

static void several_sizes(void)
{
    struct copy copy;
    temp_dir_make(&copy.dir);
    static const char *const sizes[] = {"7B", "65B"};
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        temp_mkdir(temp_path(&copy.dir, "%s", sizes[i]));
        for (unsigned shard = 0; shard < 2; shard++) {
            (void)snprintf(name, sizeof name, "%s/consolidated.%02u.pth", sizes[i], shard);
            copy_one(&copy, shard == 0 ? DATA "two/13B/consolidated.00.pth" : DATA "two/13B/consolidated.01.pth", name);
        }
        (void)snprintf(name, sizeof name, "%s/params.json", sizes[i]);
        copy_one(&copy, DATA "two/13B/params.json", name);
        if (i == 0) {
            temp_mkdir(temp_path(&copy.dir, "30B")); /* an empty one does not count */
            EXPECT(try_open(copy.dir.path, true, &copy.source, &copy.error) == LLAVAMED_OK);
            source_close(copy.source);
        }
    }
    want_refused(&copy, LLAVAMED_STATUS_INPUT_MISSING, ": holds several sizes of the model (got 7B, 65B, want one)",
                 "give the folder of the delta's size, such as ");
}

/* ---- Recorded hashes and checksums ---- */

static void small_files_that_differ_are_refused_at_once(void)
{
    struct copy copy;
    copy_set(&copy, "two/13B", 2, true);
    write_params(&copy, PARAMS("\"n_heads\": 4, \"vocab_size\": 16"));
    want_refused(&copy, LLAVAMED_STATUS_HASH_MISMATCH, "params.json: its MD5 is not the one", "download it again");
    copy_set(&copy, "two/13B", 2, true);
    copy_one(&copy, DATA "two/tokenizer_checklist.chk", "tokenizer_checklist.chk");
    temp_write_text(temp_path(&copy.dir, "tokenizer.model"), "another");
    want_refused(&copy, LLAVAMED_STATUS_HASH_MISMATCH, "tokenizer.model: its MD5 is not the one", "download it again");
    copy_set(&copy, "two/13B", 2, false);
    temp_write_text(temp_path(&copy.dir, "checklist.chk"), "what is this\n");
    want_refused(&copy, LLAVAMED_STATUS_META_INVALID, "checklist.chk: line 1 is not one of md5sum", "--verify none");
}

/* Who reads the elements alone, and not whole files, does not ask for MD5. */
static void crc_alone_leaves_the_checklist(void)
{
    struct copy copy;
    copy_set(&copy, "two/13B", 2, false);
    temp_write_text(temp_path(&copy.dir, "checklist.chk"), "what is this\n");
    const struct source_options options = {.role = "checkpoint", .check_crc = true, .crc_alone = true};
    uint8_t scratch[64];
    if (EXPECT(source_open(copy.dir.path, &options, &copy.source, &copy.error) == LLAVAMED_OK)) {
        EXPECT(source_finish(copy.source, scratch, sizeof scratch, &copy.error) == LLAVAMED_OK);
    }
    copy_remove(&copy);
}

/* Only when all was read can a shard be known to be another; --verify none does not ask. */
static void shards_that_differ_are_refused_in_the_end(void)
{
    struct copy copy;
    copy_set(&copy, "two/13B", 2, false);
    temp_write_text(temp_path(&copy.dir, "checklist.chk"), "00000000000000000000000000000000  other.file\n"
                                                           "00000000000000000000000000000000 *consolidated.01.pth");
    EXPECT(try_open(copy.dir.path, true, &copy.source, &copy.error) == LLAVAMED_OK);
    EXPECT(finish(copy.source, &copy.error) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(copy.error.message, "/consolidated.01.pth: its MD5 is not the one") != NULL);
    EXPECT(strstr(copy.error.message, "want 00000000000000000000000000000000)") != NULL);
    source_close(copy.source);
    EXPECT(try_open(copy.dir.path, false, &copy.source, &copy.error) == LLAVAMED_OK);
    EXPECT(finish(copy.source, &copy.error) == LLAVAMED_OK);
    copy_remove(&copy);
}

/* What an observer was told last, and how often. */
struct told {
    size_t n;
    struct llavamed_progress first;
    struct llavamed_progress last;
};

static void note_progress(void *context, const struct llavamed_progress *progress)
{
    struct told *told = context;
    told->first = told->n == 0 ? *progress : told->first;
    told->last = *progress;
    told->n++;
}

static void the_hashing_is_observed(void)
{
    struct told told = {0};
    const struct llavamed_observer observer = {.context = &told, .progress = note_progress};
    const struct source_options options = {.role = "base", .check_crc = true, .observer = &observer};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    EXPECT(source_open(DATA "two", &options, &source, &error) == LLAVAMED_OK);
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    EXPECT(told.n == 0 && n_files == 2);
    EXPECT(files[0].recorded.md5[0] != '\0' && files[1].recorded.md5[0] != '\0');
    EXPECT(finish(source, &error) == LLAVAMED_OK);
    EXPECT(told.n >= 2);
    EXPECT_TEXT(told.first.check, "MD5 sums of checklist.chk");
    EXPECT(told.first.done_bytes == 0);
    EXPECT(told.last.total_bytes == files[0].n_bytes + files[1].n_bytes);
    EXPECT(told.last.done_bytes == told.last.total_bytes);
    source_close(source);
}

static void a_signal_ends_the_hashing(void)
{
    static volatile int stop = 0;
    const struct source_options options = {.role = "base", .check_crc = true, .stop_signal = &stop};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    EXPECT(source_open(DATA "two", &options, &source, &error) == LLAVAMED_OK);
    stop = 15;
    EXPECT(finish(source, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(error.signal_number == 15);
    source_close(source);
}

/* How much is read: what was not asked for (rope.freqs, norms of other shards) once, nothing else without need. */
static void crc_needs_no_second_read(void)
{
    static const char *const sets[] = {"one", "two/13B", "four", "eight"};
    static uint8_t bytes[TENSOR_BYTES_MAX];
    for (size_t i = 0; i < 4; i++) {
        struct copy copy;
        copy_set(&copy, sets[i], i == 0 ? 1 : (size_t)1 << i, false);
        EXPECT(try_open(copy.dir.path, true, &copy.source, &copy.error) == LLAVAMED_OK);
        uint64_t model_bytes = 0;
        for (size_t t = 0; t < source_tensors(copy.source)->n_tensors; t++) {
            EXPECT(read_in_steps(copy.source, t, 7 + 20 * t, t % 2 == 0, bytes));
            model_bytes += source_tensors(copy.source)->tensors[t].n_bytes;
        }
        EXPECT_U64(source_bytes_read(copy.source), model_bytes);
        EXPECT(finish(copy.source, &copy.error) == LLAVAMED_OK);
        /* 5 vectors per shard and one of half a head, twice or once; n is their elements. */
        static const uint64_t n_unread[] = {4, 5 * 16 + 2 * 2 * 2, 3 * 5 * 24 + 4 * 2 * 3, 7 * 5 * 32};
        uint64_t unread = source_bytes_read(copy.source) - model_bytes;
        EXPECT_U64(unread, 2 * n_unread[i] + (i == 3 ? 8 * 2 * 2 * 2 : 0));
        copy_remove(&copy);
    }
}

static void damage_is_found_by_crc(void)
{
    static uint8_t bytes[TENSOR_BYTES_MAX];
    struct copy copy;
    copy_set(&copy, "two/13B", 2, false);
    size_t n_bytes = 0;
    const char *path = temp_path(&copy.dir, "consolidated.01.pth");
    char *file = temp_read(path, &n_bytes);
    file[n_bytes / 2] ^= 1;
    temp_write(path, file, n_bytes);
    free(file);
    EXPECT(try_open(copy.dir.path, true, &copy.source, &copy.error) == LLAVAMED_OK);
    for (size_t t = 0; t < source_tensors(copy.source)->n_tensors; t++) {
        EXPECT(read_in_steps(copy.source, t, 50, false, bytes));
    }
    EXPECT(finish(copy.source, &copy.error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(strstr(copy.error.message, "consolidated.01.pth: record data/") != NULL);
    EXPECT(strstr(copy.error.message, "; tensor layers.") != NULL);
    copy_remove(&copy);
}

int main(void)
{
    CASE(one_shard);
    CASE(two_shards);
    CASE(four_shards);
    CASE(eight_shards);
    CASE(transposed_tensors);
    CASE(odd_ranges);
    CASE(every_small_step);
    CASE(grains);
    CASE(files_of_the_release);
    CASE(shards_that_are_missing);
    CASE(params_that_are_refused);
    CASE(params_that_are_fine);
    CASE(files_that_do_not_belong);
    CASE(several_sizes);
    CASE(small_files_that_differ_are_refused_at_once);
    CASE(crc_alone_leaves_the_checklist);
    CASE(shards_that_differ_are_refused_in_the_end);
    CASE(the_hashing_is_observed);
    CASE(a_signal_ends_the_hashing);
    CASE(crc_needs_no_second_read);
    CASE(damage_is_found_by_crc);
    return harness_end();
}
