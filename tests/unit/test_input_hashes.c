/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes of the inputs: records, lists given, names of releases, the comparison. The files are those of tests/data/cli;
 * their hashes here are those that sha256sum printed, the published ones those of tests/data/known/published.tsv.
 */
#include "merge/input_hashes.h"

#include <signal.h>

#include "unit/harness.h"
#include "unit/make_zip.h"
#include "unit/temp_dir.h"

#define BASE_HASH "4613c8d3526a80900b80f160686b6b03f726be77746c4297fefb1d28c932217c"
#define SHARD_1_HASH "2126c3439a2df6fb5a23c1f2d2403adda80248acea862101514672191457f856"
#define SHARD_2_HASH "921a3c81bc88cd5efc095ed0e7f532db802c01396bf0e26dd6e9c366c9032093"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define LLAMA_7B_SHARD_1 "0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0"
#define LLAMA_7B_SHARD_2 "461bc5e50200db7813ff99cc0b9316c48ccbd6aaaa31bf8cf7bee0b64bc3eda3"
#define LLAMA_13B_SHARD_1 "dd20cdee2637408c6ab88c13f5c27d153bacd0e99f2d55f6a66fbd0269944436"
#define LLAMA_7B_PTH "700df0d3013b703a806d2ae7f1bfb8e59814e3d06ae78be0c66368a50059f33d"
#define VICUNA_7B_SHARD_1 "5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1"
#define DELTA_SHARD_1 "09431ba834a30e9c5d86ef2bf0765cd64f852f4a351bcc0976ba9f3df320de2b"
#define DELTA_SHARD_2 "41d5c871c253afbee3eb6dcb389f9248c5b2e53162a45c068337f7824aac81cd"

static struct temp_dir dir;
static struct source *base;
static struct source *delta;
static struct input_hashes *hashes;
static struct warnings warnings;
static struct llavamed_error error;

/* NAME/FILE in the temporary directory as a link to the fixture, so that nothing but the fixture is read. */
static void link_fixture(const char *from, const char *to)
{
    char *real = realpath(from, NULL);
    temp_dir_require(real != NULL && symlink(real, to) == 0, from);
    free(real);
}

/* Both sides with their config.json; the delta is two shards. */
static void make_pair(void)
{
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "base"));
    temp_mkdir(temp_path(&dir, "delta"));
    static const char *const files[][2] = {
        {"base", "config.json"},
        {"base", "model.safetensors"},
        {"delta", "pytorch_model.bin.index.json"},
        {"delta", "pytorch_model-00001-of-00002.bin"},
        {"delta", "pytorch_model-00002-of-00002.bin"},
        {"delta", "tokenizer.model"},
        {"delta", "train.py"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char from[200];
        (void)snprintf(from, sizeof from, "tests/data/cli/%s/%s", files[i][0], files[i][1]);
        link_fixture(from, temp_path(&dir, "%s/%s", files[i][0], files[i][1]));
    }
}

static const char *delta_name = "delta";

static void open_pair(void)
{
    const struct source_options base_options = {.role = "base"};
    const struct source_options delta_options = {.role = "delta"};
    memset(&error, 0, sizeof error);
    bool opened = source_open(temp_path(&dir, "base"), &base_options, &base, &error) == LLAVAMED_OK &&
                  source_open(temp_path(&dir, "%s", delta_name), &delta_options, &delta, &error) == LLAVAMED_OK &&
                  input_hashes_create(base, delta, &hashes, &error) == LLAVAMED_OK;
    temp_dir_require(opened, error.message);
}

static void close_pair(void)
{
    input_hashes_free(hashes);
    source_close(base);
    source_close(delta);
    warnings_deinit(&warnings);
    memset(&warnings, 0, sizeof warnings);
}

static void begin(void)
{
    make_pair();
    open_pair();
}

static void end(void)
{
    close_pair();
    temp_dir_remove(&dir);
}

static enum llavamed_status verify(bool all, const volatile int *stop_signal)
{
    const struct input_hashes_job job = {.all = all, .options = {.n_threads = 2, .stop_signal = stop_signal}};
    memset(&error, 0, sizeof error);
    return input_hashes_verify(hashes, &job, &error);
}

static enum llavamed_status add_sums(const char *text)
{
    const char *path = temp_path(&dir, "sums");
    temp_write_text(path, text);
    memset(&error, 0, sizeof error);
    return input_hashes_add_sums(hashes, path, NULL, &warnings, &error);
}

static const char *hash_of(enum input_role role, size_t i, bool want_computed)
{
    bool computed = !want_computed;
    const char *hex = input_hashes_weights(hashes, role, i, &computed);
    EXPECT(hex == NULL || computed == want_computed);
    return hex;
}

static void nothing_recorded(void)
{
    begin();
    uint64_t n_bytes = 1;
    const struct input_hashes_job recorded = {.all = false};
    const struct input_hashes_job all = {.all = true};
    EXPECT_U64(input_hashes_wanted(hashes, &recorded, &n_bytes), 0);
    EXPECT_U64(n_bytes, 0);
    EXPECT(verify(false, NULL) == LLAVAMED_OK);
    EXPECT(hash_of(INPUT_BASE, 0, false) == NULL && hash_of(INPUT_DELTA, 1, false) == NULL);
    /* config.json and weights of the base; two shards, their index (no weights, not used) aside, the tokenizer. */
    EXPECT_U64(input_hashes_wanted(hashes, &all, &n_bytes), 5);
    EXPECT_U64(n_bytes, 226 + 6152 + 7353 + 7499 + 256);
    EXPECT(verify(true, NULL) == LLAVAMED_OK);
    EXPECT_TEXT(hash_of(INPUT_BASE, 0, true), BASE_HASH);
    EXPECT_TEXT(hash_of(INPUT_DELTA, 0, true), SHARD_1_HASH);
    EXPECT_TEXT(hash_of(INPUT_DELTA, 1, true), SHARD_2_HASH);
    EXPECT(hash_of(INPUT_BASE, 1, true) == NULL && hash_of(INPUT_DELTA, 2, true) == NULL);
    EXPECT_U64(input_hashes_wanted(hashes, &all, &n_bytes), 0); /* what is hashed is not hashed again */
    const char *identities[INPUT_ROLES] = {"x", "x"};
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_OK);
    EXPECT(identities[INPUT_BASE] == NULL && identities[INPUT_DELTA] == NULL);
    end();
}

/* Names are paths from the list, "./" or not, or the last parts of a path; each file that fits gets the hash. */
static void given_sums(void)
{
    static const char *const lists[] = {
        BASE_HASH "  base/model.safetensors\n",
        "# sums\n\n" BASE_HASH " *./base/model.safetensors\r\n",
        BASE_HASH "  model.safetensors\n" ZEROS "  unrelated.bin\n",
        BASE_HASH "  elsewhere.bin\n" BASE_HASH "  base/model.safetensors",
        /* The last line counts, be it one of a path or one of a name. */
        ZEROS "  base/model.safetensors\n" BASE_HASH "  model.safetensors\n",
        ZEROS "  model.safetensors\n" BASE_HASH "  base/model.safetensors\n",
        ZEROS "  base/model.safetensors\n" ZEROS "  model.safetensors\n" BASE_HASH "  base/../base/model.safetensors\n",
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        begin();
        EXPECT(add_sums(lists[i]) == LLAVAMED_OK);
        EXPECT_TEXT(hash_of(INPUT_BASE, 0, false), BASE_HASH);
        EXPECT_U64(warnings.n_texts, 2); /* the shards of the delta */
        EXPECT_TEXT(warnings.texts[0],
                    "delta: pytorch_model-00001-of-00002.bin is not named in the file given by --sums");
        EXPECT(verify(false, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(hash_of(INPUT_BASE, 0, true), BASE_HASH);
        EXPECT(hash_of(INPUT_DELTA, 0, false) == NULL);
        end();
    }
}

/* A line is of all names that a file has, also where it is not one of these. */
static void sums_of_one_file(void)
{
    const struct input_hashes_job recorded = {.all = false};
    const volatile int stop_signal = SIGTERM;
    uint64_t n_bytes = 0;
    make_pair();
    link_fixture("tests/data/cli/delta/tokenizer.model", temp_path(&dir, "delta/tokenizer_a.json"));
    link_fixture("tests/data/cli/delta/tokenizer.model", temp_path(&dir, "other"));
    open_pair();
    EXPECT(add_sums(BASE_HASH "  other\n") == LLAVAMED_OK);
    EXPECT_U64(input_hashes_wanted(hashes, &recorded, &n_bytes), 2);
    EXPECT_U64(n_bytes, 512);
    EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(input_hashes_add_sums(hashes, temp_path(&dir, "sums"), &stop_signal, &warnings, &error) ==
           LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(error.signal_number == SIGTERM);
    end();
}

static void wrong_sums(void)
{
    static const struct {
        const char *text;
        enum llavamed_status status;
        const char *words;
    } cases[] = {
        {"", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "no name in it fits an input file"},
        {ZEROS "  other.bin\n", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "no name in it fits an input file"},
        {ZEROS "  odel.safetensors\n", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "no name in it fits an input file"},
        {BASE_HASH "  model.safetensors\nnonsense\n", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         "line 2 is not one of sha256sum"},
        {"0123  model.safetensors\n", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "line 1 is not one of sha256sum"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        EXPECT(add_sums(cases[i].text) == cases[i].status);
        EXPECT(error.status == cases[i].status && strstr(error.message, cases[i].words) != NULL);
        end();
    }
    begin();
    EXPECT(input_hashes_add_sums(hashes, temp_path(&dir, "absent"), NULL, &warnings, &error) ==
           LLAVAMED_STATUS_INPUT_MISSING);
    end();
    /* A name that fits both sides says nothing. */
    make_pair();
    link_fixture("tests/data/cli/base/config.json", temp_path(&dir, "delta/config.json"));
    open_pair();
    EXPECT(add_sums(ZEROS "  config.json\n") == LLAVAMED_STATUS_USAGE);
    EXPECT(strstr(error.message, "config.json fits a file of the base and one of the delta") != NULL);
    end();
}

static void mismatches(void)
{
    begin();
    EXPECT(add_sums(ZEROS "  base/model.safetensors\n") == LLAVAMED_OK);
    EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message,
                  "base/model.safetensors: the SHA-256 differs from the file given by --sums (got " BASE_HASH
                  ", want " ZEROS ")") != NULL);
    EXPECT(error.hint[0] != '\0');
    end();
    /* A small file that is used; one that is not (train.py) is not looked at. */
    make_pair();
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), ZEROS "  train.py\n");
    open_pair();
    EXPECT(verify(true, NULL) == LLAVAMED_OK);
    close_pair();
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), ZEROS "  train.py\n" ZEROS "  tokenizer.model\n");
    open_pair();
    EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message, "tokenizer.model: the SHA-256 differs from the SHA256SUMS beside it") != NULL);
    close_pair();
    /* Two records that contradict each other: one of them must fail. */
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), SHARD_1_HASH "  pytorch_model-00001-of-00002.bin\n");
    open_pair();
    EXPECT(verify(false, NULL) == LLAVAMED_OK);
    close_pair();
    open_pair();
    EXPECT(add_sums(SHARD_2_HASH "  delta/pytorch_model-00001-of-00002.bin\n") == LLAVAMED_OK);
    EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message, "the file given by --sums") != NULL);
    end();
    volatile int stop_signal = SIGTERM;
    begin();
    EXPECT(verify(true, &stop_signal) == LLAVAMED_STATUS_INTERRUPTED && error.signal_number == SIGTERM);
    EXPECT(verify(false, &stop_signal) == LLAVAMED_OK); /* nothing to read */
    end();
}

/* Lists beside the files, then what the names of releases come to: NULL words, or those of a refusal. */
static void expect_identities(const char *base_sums, const char *delta_sums, const char *want_base,
                              const char *want_delta)
{
    const char *identities[INPUT_ROLES] = {"x", "x"};
    temp_write_text(temp_path(&dir, "base/SHA256SUMS"), base_sums);
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), delta_sums);
    open_pair();
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_OK);
    EXPECT((identities[INPUT_BASE] == NULL) == (want_base == NULL));
    EXPECT((identities[INPUT_DELTA] == NULL) == (want_delta == NULL));
    EXPECT(want_base == NULL || strcmp(identities[INPUT_BASE], want_base) == 0);
    EXPECT(want_delta == NULL || strcmp(identities[INPUT_DELTA], want_delta) == 0);
    close_pair();
}

static void expect_refused(const char *base_sums, const char *delta_sums, const char *words, const char *hint)
{
    const char *identities[INPUT_ROLES] = {NULL, NULL};
    temp_write_text(temp_path(&dir, "base/SHA256SUMS"), base_sums);
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), delta_sums);
    open_pair();
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_STATUS_PAIR_KNOWN_WRONG);
    if (!EXPECT(strstr(error.message, words) != NULL && strstr(error.hint, hint) != NULL)) {
        printf("    %s\n    %s\n", error.message, error.hint);
    }
    close_pair();
}

#define SHARDS(first, second) first "  pytorch_model-00001-of-00002.bin\n" second "  pytorch_model-00002-of-00002.bin\n"

static void releases(void)
{
    make_pair();
    expect_identities(LLAMA_7B_SHARD_1 "  model.safetensors\n", SHARDS(DELTA_SHARD_1, DELTA_SHARD_2), "LLaMA-1 7B",
                      "LLaVA-Med v1 7B delta (in_text_60k)");
    /* Half of a release is none. */
    expect_identities("", SHARDS(DELTA_SHARD_1, ZEROS), NULL, NULL);
    expect_identities("", DELTA_SHARD_2 "  pytorch_model-00002-of-00002.bin\n", NULL, NULL);
    /* The hash of a file whose published size is another one. */
    expect_identities(LLAMA_7B_PTH "  model.safetensors\n", "", NULL, NULL);
    expect_refused(VICUNA_7B_SHARD_1 "  model.safetensors\n", "", "the base is Vicuna 7B v1.1, not the original LLaMA",
                   "give the original LLaMA of the delta's size");
    expect_refused(DELTA_SHARD_1 "  model.safetensors\n", "", "the base is LLaVA-Med v1 7B delta",
                   "give it as --delta");
    expect_refused("", SHARDS(LLAMA_7B_SHARD_1, LLAMA_7B_SHARD_2), "the delta is LLaMA-1 7B, not a delta",
                   "--delta takes the delta weights");
    temp_write_text(temp_path(&dir, "delta/config.json"), "{\"_name_or_path\": \"llava_med_ckpt2\"}");
    expect_identities("", SHARDS(DELTA_SHARD_1, DELTA_SHARD_2), NULL, "LLaVA-Med v1 7B delta (ckpt2)");
    /* What was computed counts more than what is recorded. */
    temp_write_text(temp_path(&dir, "base/SHA256SUMS"), LLAMA_13B_SHARD_1 "  model.safetensors\n");
    temp_write_text(temp_path(&dir, "delta/SHA256SUMS"), "");
    open_pair();
    const char *identities[INPUT_ROLES] = {NULL, NULL};
    EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_OK && identities[INPUT_BASE] == NULL);
    end();
}

/* ---- In archives ---- */

#define SHARD_1 "pytorch_model-00001-of-00002.bin"
#define SHARD_2 "pytorch_model-00002-of-00002.bin"

/* delta.zip: what a merge needs of the fixture in a folder "in", the second shard stored unless level is above 5. */
static void pack_delta(const char *sums, int level)
{
    static const char *const names[] = {"pytorch_model.bin.index.json", SHARD_1, SHARD_2, "tokenizer.model"};
    struct make_zip zip = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[200];
        char name[100];
        size_t n_bytes = 0;
        (void)snprintf(path, sizeof path, "tests/data/cli/delta/%s", names[i]);
        (void)snprintf(name, sizeof name, "in/%s", names[i]);
        char *bytes = temp_read(path, &n_bytes);
        temp_dir_require(bytes != NULL, path);
        make_zip_add(&zip, name, bytes, n_bytes, i == 2 && level <= 5 ? 0 : level);
        free(bytes);
    }
    if (sums != NULL) {
        make_zip_add(&zip, "in/SHA256SUMS", sums, strlen(sums), level);
    }
    make_zip_end(&zip);
    temp_write(temp_path(&dir, "delta.zip"), zip.bytes, zip.n_bytes);
    free(zip.bytes);
}

static void members(void)
{
    delta_name = "delta.zip";
    for (int level = 0; level <= 9; level += 3) {
        make_pair();
        pack_delta(NULL, level);
        open_pair();
        uint64_t n_bytes = 0;
        const struct input_hashes_job all = {.all = true};
        /* Base and its config.json; archive, two shards and tokenizer. */
        EXPECT_U64(input_hashes_wanted(hashes, &all, &n_bytes), 6);
        EXPECT(level > 0 || n_bytes > 2 * (7353 + 7499 + 256));
        EXPECT(verify(true, NULL) == LLAVAMED_OK);
        EXPECT(hash_of(INPUT_DELTA, 0, true) != NULL);
        EXPECT_TEXT(hash_of(INPUT_DELTA, 1, true), SHARD_1_HASH);
        EXPECT_TEXT(hash_of(INPUT_DELTA, 2, true), SHARD_2_HASH);
        close_pair();
        /* A right list inside the folder, then a wrong one of a small file, then of a shard. */
        pack_delta(SHARDS(SHARD_1_HASH, SHARD_2_HASH), level);
        open_pair();
        EXPECT(hash_of(INPUT_DELTA, 0, false) == NULL);
        EXPECT_TEXT(hash_of(INPUT_DELTA, 2, false), SHARD_2_HASH);
        EXPECT(verify(false, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(hash_of(INPUT_DELTA, 2, true), SHARD_2_HASH);
        close_pair();
        pack_delta(ZEROS "  tokenizer.model\n", level);
        open_pair();
        EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
        EXPECT(strstr(error.message, "/delta.zip/in/tokenizer.model: the SHA-256 differs") != NULL);
        close_pair();
        pack_delta(SHARDS(SHARD_1_HASH, ZEROS), level);
        open_pair();
        EXPECT(verify(false, NULL) == LLAVAMED_STATUS_HASH_MISMATCH);
        EXPECT(strstr(error.message, "/delta.zip/in/" SHARD_2 ": the SHA-256 differs") != NULL);
        end();
    }
}

static void members_in_given_sums(void)
{
    static const struct {
        const char *text;
        size_t n_warnings; /* of the delta: the base is always one more */
        bool first;        /* whether shard 1 gets the sum */
    } cases[] = {
        {SHARD_1_HASH "  " SHARD_1 "\n", 1, true},
        {SHARD_1_HASH "  in/" SHARD_1 "\n" SHARD_2_HASH " *./" SHARD_2 "\n", 0, true},
        {SHARD_1_HASH "  delta.zip/in/" SHARD_1 "\n", 1, true},
        {ZEROS "  delta.zip\n", 0, false},
        {ZEROS "  delta.zip\n" SHARD_1_HASH "  " SHARD_1 "\n", 0, true},
        {ZEROS "  tokenizer.model\n", 1, false},
        /* Something else lies where that name leads: the archive is still meant. */
        {SHARD_1_HASH "  delta/" SHARD_1 "\n" ZEROS "  delta.zip\n", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_pair();
        pack_delta(NULL, 6);
        open_pair();
        EXPECT(add_sums(cases[i].text) == LLAVAMED_OK);
        EXPECT_U64(warnings.n_texts, cases[i].n_warnings + 1);
        const char *first = hash_of(INPUT_DELTA, 1, false);
        EXPECT(cases[i].first ? first != NULL && strcmp(first, SHARD_1_HASH) == 0 : first == NULL);
        end();
    }
    make_pair();
    pack_delta(NULL, 6);
    open_pair();
    EXPECT(add_sums(ZEROS "  ytorch_model-00001-of-00002.bin\n") == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    end();
}

static void releases_in_archives(void)
{
    const char *identities[INPUT_ROLES] = {"x", "x"};
    make_pair();
    pack_delta(SHARDS(DELTA_SHARD_1, DELTA_SHARD_2), 6);
    open_pair();
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_OK);
    EXPECT(identities[INPUT_DELTA] != NULL && strstr(identities[INPUT_DELTA], "LLaVA-Med v1 7B delta") != NULL);
    close_pair();
    pack_delta(SHARDS(DELTA_SHARD_1, ZEROS), 6);
    open_pair();
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_OK && identities[INPUT_DELTA] == NULL);
    close_pair();
    pack_delta(SHARDS(SHARD_1_HASH, VICUNA_7B_SHARD_1), 6);
    open_pair();
    EXPECT(input_hashes_identify(hashes, identities, &error) == LLAVAMED_STATUS_PAIR_KNOWN_WRONG);
    EXPECT(strstr(error.message, "/delta.zip/in/" SHARD_2 ": the delta is Vicuna 7B v1.1, not a delta") != NULL);
    end();
}

/* A signal, and an archive that is damaged after it was opened. */
static void members_that_fail(void)
{
    volatile int stop_signal = SIGTERM;
    make_pair();
    pack_delta(SHARDS(SHARD_1_HASH, SHARD_2_HASH), 6);
    open_pair();
    EXPECT(verify(false, &stop_signal) == LLAVAMED_STATUS_INTERRUPTED);
    close_pair();
    open_pair();
    size_t n_bytes = 0;
    char *bytes = temp_read(temp_path(&dir, "delta.zip"), &n_bytes);
    FILE *file = fopen(temp_path(&dir, "delta.zip"), "r+b");
    temp_dir_require(bytes != NULL && file != NULL, "delta.zip");
    for (size_t i = n_bytes / 2; i < n_bytes / 2 + 64; i++) {
        bytes[i] = (char)~bytes[i];
    }
    temp_dir_require(fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0, "delta.zip");
    free(bytes);
    enum llavamed_status status = verify(false, NULL);
    EXPECT(status == LLAVAMED_STATUS_ZIP_INVALID || status == LLAVAMED_STATUS_CRC_MISMATCH ||
           status == LLAVAMED_STATUS_INPUT_CHANGED);
    end();
}

int main(void)
{
    CASE(nothing_recorded);
    CASE(given_sums);
    CASE(sums_of_one_file);
    CASE(wrong_sums);
    CASE(mismatches);
    CASE(releases);
    CASE(members);
    CASE(members_in_given_sums);
    CASE(releases_in_archives);
    CASE(members_that_fail);
    return harness_end();
}
