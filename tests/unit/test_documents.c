/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/documents.h"

#include "core/json.h"
#include "merge/notice_text.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DELTA "tests/data/documents/delta/"

static struct temp_dir dir;
static struct llavamed_error error;

/* ---- a plan of five tensors in two shards, as a tiny LLaVA would have ---- */

static char name_embed[] = "model.embed_tokens.weight";
static char name_layer[] = "model.layers.1.mlp.up_proj.weight";
static char name_freq[] = "model.layers.1.self_attn.rotary_emb.inv_freq";
static char name_projector[] = "model.mm_projector.weight";
static char name_odd[] = "odd \"n\xc3\xa4me\"\\ \xf0\x9f\xa6\x99\n";
static char shard_names[2][40] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
static char index_name[] = "model.safetensors.index.json";
static size_t shard_tensors[2][3] = {{0, 1}, {2, 3, 4}};

static struct plan_tensor plan_tensors[5] = {
    {.out = {.name = name_embed, .dtype = DTYPE_F16, .rank = 2, .shape = {7, 4}}, .action = PLAN_ADD_TOP_LEFT},
    {.out = {.name = name_layer, .dtype = DTYPE_F16, .rank = 2, .shape = {8, 4}}, .action = PLAN_ADD},
    {.out = {.name = name_freq, .dtype = DTYPE_F32, .rank = 1, .shape = {1}}, .action = PLAN_INV_FREQ, .shard = 1},
    {.out = {.name = name_projector, .dtype = DTYPE_F16, .rank = 2, .shape = {4, 3}},
     .action = PLAN_COPY_DELTA,
     .shard = 1},
    {.out = {.name = name_odd, .dtype = DTYPE_I64, .rank = 0}, .action = PLAN_COPY_DELTA, .shard = 1},
};

static struct plan_shard plan_shards[2] = {
    {.name = shard_names[0], .tensors = shard_tensors[0], .n_tensors = 2, .layout = {.file_bytes = 5}},
    {.name = shard_names[1], .tensors = shard_tensors[1], .n_tensors = 3, .layout = {.file_bytes = 6}},
};

static const struct plan plan = {
    .tensors = plan_tensors,
    .n_tensors = 5,
    .shards = plan_shards,
    .n_shards = 2,
    .index_name = index_name,
    .model_dtype = DTYPE_F16,
    .data_bytes = 160,
    .file_bytes = 11,
};

static struct pipeline_tensor found[5] = {
    {.crc32 = 0x0000000f, .counts = {.n_rounded = 3}},
    {.crc32 = 0xdeadbeef, .counts = {.n_nan = 1, .n_infinite = 2, .n_rounded = 4, .n_delta_zero = 5}, .n_overflow = 6},
    {.crc32 = 1},
    {.crc32 = 2},
    {.crc32 = 3},
};
static char shard_sha256[2][SHA256_HEX_BYTES];
static struct pipeline_outcome outcome = {.tensors = found, .shard_sha256 = shard_sha256};

static char file_name_base[] = "base|`x`.bin";
static char file_name_delta[] = "pytorch_model.bin";
static const struct source_file base_file = {.name = file_name_base, .n_bytes = 123};
static const struct source_file delta_file = {.name = file_name_delta, .n_bytes = 456};

/* ---- running it ---- */

struct small_list {
    struct source_small_file files[16];
    char names[16][64];
    char paths[16][512];
    size_t n_files;
};

static void list_add(struct small_list *list, const char *name, const char *path)
{
    size_t i = list->n_files++;
    (void)snprintf(list->names[i], sizeof list->names[i], "%s", name);
    (void)snprintf(list->paths[i], sizeof list->paths[i], "%s", path);
    list->files[i] = (struct source_small_file){.name = list->names[i], .path = list->paths[i]};
}

static void list_real_delta(struct small_list *list)
{
    list->n_files = 0;
    list_add(list, "added_tokens.json", DELTA "added_tokens.json");
    list_add(list, "config.json", DELTA "config.json");
    list_add(list, "generation_config.json", DELTA "generation_config.json");
    list_add(list, "special_tokens_map.json", DELTA "special_tokens_map.json");
}

static enum llavamed_status prepare(const struct small_list *list, const struct plan *from,
                                    struct documents **documents)
{
    return documents_prepare(list->files, list->n_files, from, NULL, documents, &error);
}

/* Of base and delta: the published release, the SHA-256 of the file. */
static const char *identities[2];
static struct documents_digest digests[2];

/* The documents in dir/NAME, beside two files that stand for the shards. false when anything failed. */
static bool write_all(const struct documents *documents, const char *name, struct documents_result *result)
{
    char directory[300];
    (void)snprintf(directory, sizeof directory, "%s/%s", dir.path, name);
    temp_mkdir(directory);
    for (size_t i = 0; i < 2; i++) {
        const char *content = i == 0 ? "first" : "second";
        temp_write_text(temp_path(&dir, "%s/%s", name, shard_names[i]), content);
        if (sha256_of(content, strlen(content), shard_sha256[i], &error) != LLAVAMED_OK) {
            return false;
        }
    }
    char warning[] = "a *warning*";
    char *const warnings[] = {warning};
    struct documents_job job = {
        .directory = directory,
        .outcome = &outcome,
        .base = {.format = "torch",
                 .files = &base_file,
                 .n_files = 1,
                 .n_tensors = 4,
                 .crc_checked = true,
                 .identity = identities[0],
                 .digests = &digests[0]},
        .delta = {.format = "safetensors",
                  .files = &delta_file,
                  .n_files = 1,
                  .n_tensors = 5,
                  .crc_checked = true,
                  .identity = identities[1],
                  .digests = &digests[1]},
        .options = {.dtype = LLAVAMED_RESULT_DTYPE_DELTA, .max_shard_bytes = 5000000000},
        .warnings = warnings,
        .n_warnings = 1,
    };
    return documents_write(documents, &job, result, &error) == LLAVAMED_OK;
}

static bool sha256sum_accepts(const char *name)
{
    char command[512];
    (void)snprintf(command, sizeof command, "cd %s/%s && sha256sum --check --strict --quiet SHA256SUMS", dir.path,
                   name);
    return system(command) == 0;
}

static bool same_file(const char *path_a, const char *path_b)
{
    size_t n_a = 0;
    size_t n_b = 0;
    char *a = temp_read(path_a, &n_a);
    char *b = temp_read(path_b, &n_b);
    bool same = a != NULL && b != NULL && n_a == n_b && memcmp(a, b, n_a) == 0;
    free(a);
    free(b);
    return same;
}

static void everything_is_written_and_summed(void)
{
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    const char *const names[] = {"NOTICE-research-only.md",
                                 "README.md",
                                 "SHA256SUMS",
                                 "added_tokens.json",
                                 "config.json",
                                 "generation_config.json",
                                 "llavamed-manifest.json",
                                 "model.safetensors.index.json",
                                 "special_tokens_map.json"};
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    char *const *warnings = NULL;
    EXPECT_U64(documents_warnings(documents, &warnings), 0);
    EXPECT(write_all(documents, "out", &result));
    uint64_t written = 0;
    for (size_t i = 0; i < 9; i++) {
        struct stat info = {0};
        EXPECT(stat(temp_path(&dir, "out/%s", names[i]), &info) == 0);
        written += (uint64_t)info.st_size;
    }
    EXPECT_U64(result.written_bytes, written);
    EXPECT(documents_planned_bytes(documents) >= written);
    EXPECT(sha256sum_accepts("out"));
    EXPECT(same_file(temp_path(&dir, "out/config.json"), DELTA "config.json"));
    EXPECT(same_file(temp_path(&dir, "out/added_tokens.json"), DELTA "added_tokens.json"));
    EXPECT(same_file(temp_path(&dir, "out/NOTICE-research-only.md"), "NOTICE-research-only.md"));

    char *sums = temp_read(temp_path(&dir, "out/SHA256SUMS"), NULL);
    char want[128];
    (void)snprintf(want, sizeof want, "%s  llavamed-manifest.json\n", result.manifest_sha256);
    EXPECT(sums != NULL && strstr(sums, want) != NULL && strstr(sums, "SHA256SUMS") == NULL);
    size_t n_lines = 0;
    for (const char *p = sums, *last = NULL; p != NULL && *p != '\0'; p = strchr(p, '\n') + 1) {
        EXPECT(last == NULL || strncmp(last + 66, p + 66, 20) <= 0); /* sorted by name */
        last = p;
        n_lines++;
    }
    EXPECT_U64(n_lines, 10); /* two shards and all documents but itself */
    free(sums);

    EXPECT(write_all(documents, "again", &result));
    for (size_t i = 0; i < 9; i++) {
        EXPECT(same_file(temp_path(&dir, "out/%s", names[i]), temp_path(&dir, "again/%s", names[i])));
    }
    documents_free(documents);
    documents_free(NULL);
    temp_dir_remove(&dir);
}

static void expect_contains(const char *text, const char *part)
{
    if (!EXPECT(text != NULL && strstr(text, part) != NULL)) {
        printf("    missing: %s\n", part);
    }
}

static void manifest_says_what_was_done(void)
{
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    EXPECT(write_all(documents, "out", &result));
    size_t n_bytes = 0;
    char *text = temp_read(temp_path(&dir, "out/llavamed-manifest.json"), &n_bytes);
    expect_contains(text, "{\n  \"format\": \"llavamed-manifest\",\n  \"version\": 1,\n");
    expect_contains(text,
                    "\n    {\"name\": \"model.embed_tokens.weight\", \"action\": \"add-top-left\", \"dtype\": \"F16\", "
                    "\"shape\": [7, 4], \"shard\": \"model-00001-of-00002.safetensors\", \"crc32\": \"0000000f\", "
                    "\"rounded\": 3},\n");
    expect_contains(text, "\"crc32\": \"deadbeef\", \"nan\": 1, \"infinite\": 2, \"rounded\": 4, \"delta_zero\": 5, "
                          "\"overflowed\": 6},\n");
    expect_contains(text,
                    "\n    {\"name\": \"odd \\\"n\\u00e4me\\\"\\\\ \\ud83e\\udd99\\n\", \"action\": \"copy-delta\", "
                    "\"dtype\": \"I64\", \"shape\": [], \"shard\": \"model-00002-of-00002.safetensors\", "
                    "\"crc32\": \"00000003\"}\n  ],\n");
    expect_contains(text, "\"nan\": 1, \"infinite\": 2, \"rounded\": 7, \"overflowed\": 6}");
    expect_contains(text, "\"warnings\": [\n    \"a *warning*\"\n  ]\n}\n");
    expect_contains(text, "\"record_crc32\": \"checked\"");
    expect_contains(text, "\"record_crc32\": \"none\"");
    EXPECT(text != NULL && strstr(text, dir.path) == NULL);
    struct json *json = NULL;
    EXPECT(text != NULL && json_parse("manifest", text, n_bytes, true, &json, &error) == LLAVAMED_OK);
    if (json != NULL) {
        size_t n_tensors = 0;
        const struct json_value *tensors = json_member(json_root(json), "tensors");
        for (const struct json_value *row = json_first(tensors); row != NULL; row = json_next(row)) {
            EXPECT_TEXT(json_string(json_member(row, "name")), plan_tensors[n_tensors].out.name);
            n_tensors++;
        }
        EXPECT_U64(n_tensors, 5);
    }
    json_free(json);
    free(text);
    documents_free(documents);
    temp_dir_remove(&dir);
}

/* Takes the line that a document has in a manifest out of it. */
static void forget_document(char *text, const char *name)
{
    char part[64];
    (void)snprintf(part, sizeof part, "    {\"name\": \"%s\"", name);
    char *line = text == NULL ? NULL : strstr(text, part);
    if (EXPECT(line != NULL)) {
        const char *next = strchr(line, '\n') + 1;
        memmove(line, next, strlen(next) + 1);
    }
}

/* With them the manifest is the same but for the digests, in it and in the card; they are all that is more. */
static void manifest_with_digests(void)
{
    static char tensor_sha256[5][SHA256_HEX_BYTES];
    struct pipeline_outcome without = outcome;
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    EXPECT(write_all(documents, "without", &result));
    outcome.tensor_sha256 = tensor_sha256;
    for (size_t i = 0; i < 5; i++) {
        memset(tensor_sha256[i], "abcde"[i], SHA256_HEX_BYTES - 1);
    }
    memset(outcome.model_sha256, '7', SHA256_HEX_BYTES - 1);
    EXPECT(write_all(documents, "with", &result));
    outcome = without;
    char *text = temp_read(temp_path(&dir, "with/llavamed-manifest.json"), NULL);
    char *before = temp_read(temp_path(&dir, "without/llavamed-manifest.json"), NULL);
    for (size_t i = 0; i < 6; i++) {
        char part[SHA256_HEX_BYTES + 32];
        (void)snprintf(part, sizeof part, i == 5 ? ", \"model_sha256\": \"" : ", \"sha256\": \"");
        size_t used = strlen(part);
        memset(part + used, "abcde7"[i], SHA256_HEX_BYTES - 1);
        memcpy(part + used + SHA256_HEX_BYTES - 1, "\"", 2);
        char *at = text == NULL ? NULL : strstr(text, part);
        expect_contains(text, part);
        if (at != NULL) {
            memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
        }
    }
    forget_document(text, "README.md");
    forget_document(before, "README.md");
    EXPECT_TEXT(text, before);
    free(text);
    free(before);
    text = temp_read(temp_path(&dir, "with/README.md"), NULL);
    before = temp_read(temp_path(&dir, "without/README.md"), NULL);
    expect_contains(text, "  model_sha256: \"77777777777777777777777777777777"
                          "77777777777777777777777777777777\"\n---\n");
    expect_contains(text, "\nThe digest of the model,");
    EXPECT(before != NULL && strstr(before, "model_sha256") == NULL && strstr(before, "The digest") == NULL);
    free(text);
    free(before);
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void card_and_index(void)
{
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    EXPECT(write_all(documents, "out", &result));
    char *card = temp_read(temp_path(&dir, "out/README.md"), NULL);
    EXPECT(card != NULL && strncmp(card, "---\nlanguage:\n- en\nlicense: other\n", 34) == 0);
    expect_contains(card, "\npipeline_tag: image-text-to-text\n");
    expect_contains(card, "\n---\n\n# ");
    expect_contains(card, "Never for clinical care");
    expect_contains(card, "| base | base\\|\\`x\\`.bin | torch | 123 | not computed |\n");
    expect_contains(card, "\n  base: unknown\n  delta: unknown\n---\n");
    EXPECT(card != NULL && strstr(card, "base_model") == NULL);
    expect_contains(card, "| model-00002-of-00002.safetensors | 6 | "
                          "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4 |\n");
    expect_contains(card, "- a \\*warning\\*\n");
    expect_contains(card, "NaN: 1; infinite: 2");
    free(card);
    /* What json.dump(..., indent=2) writes. */
    EXPECT(temp_file_is(
        temp_path(&dir, "out/model.safetensors.index.json"),
        "{\n  \"metadata\": {\n    \"total_size\": 160\n  },\n  \"weight_map\": {\n"
        "    \"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\",\n"
        "    \"model.layers.1.mlp.up_proj.weight\": \"model-00001-of-00002.safetensors\",\n"
        "    \"model.layers.1.self_attn.rotary_emb.inv_freq\": \"model-00002-of-00002.safetensors\",\n"
        "    \"model.mm_projector.weight\": \"model-00002-of-00002.safetensors\",\n"
        "    \"odd \\\"n\\u00e4me\\\"\\\\ \\ud83e\\udd99\\n\": \"model-00002-of-00002.safetensors\"\n  }\n}"));
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void card_names_what_hashes_know(void)
{
    static const char hex[] = "67a11fd7ff965c176e53e306db9f4fe60411b5e924085c224989e563d050faed";
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    identities[0] = "LLaMA-1 7B";
    digests[0] = (struct documents_digest){hex, true};
    digests[1] = (struct documents_digest){hex, false};
    EXPECT(write_all(documents, "base", &result));
    identities[1] = "LLaVA-Med v1 7B delta";
    EXPECT(write_all(documents, "both", &result));
    identities[0] = "Vicuna 7B v1.1"; /* of which the Hub's name is not known here */
    EXPECT(write_all(documents, "other", &result));
    memset(identities, 0, sizeof identities);
    memset(digests, 0, sizeof digests);
    char *card = temp_read(temp_path(&dir, "base/README.md"), NULL);
    expect_contains(card, "\nbase_model: huggyllama/llama-7b\nllavamed:\n");
    expect_contains(card, "\n  base: LLaMA-1 7B\n  delta: unknown\n---\n");
    expect_contains(card, " | 123 | 67a11fd7ff965c176e53e306db9f4fe60411b5e924085c224989e563d050faed |\n");
    expect_contains(card, " | 456 | 67a11fd7ff965c176e53e306db9f4fe60411b5e924085c224989e563d050faed (recorded) |\n");
    free(card);
    card = temp_read(temp_path(&dir, "both/README.md"), NULL);
    expect_contains(card, "\nbase_model:\n- huggyllama/llama-7b\n- microsoft/llava-med-7b-delta\n"
                          "base_model_relation: merge\nllavamed:\n");
    free(card);
    card = temp_read(temp_path(&dir, "other/README.md"), NULL);
    EXPECT(card != NULL && strstr(card, "base_model") == NULL);
    expect_contains(card, "\n  base: Vicuna 7B v1.1\n  delta: LLaVA-Med v1 7B delta\n---\n");
    free(card);
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void config_is_edited_only_for_another_dtype(void)
{
    struct small_list list;
    struct documents *documents = NULL;
    struct documents_result result = {0};
    struct plan wider = plan;
    wider.model_dtype = DTYPE_F32;
    wider.index_name = NULL;
    temp_dir_make(&dir);
    list_real_delta(&list);
    EXPECT(prepare(&list, &wider, &documents) == LLAVAMED_OK);
    EXPECT(write_all(documents, "out", &result));
    char *before = temp_read(DELTA "config.json", NULL);
    char *after = temp_read(temp_path(&dir, "out/config.json"), NULL);
    char *at = before == NULL ? NULL : strstr(before, "\"float16\"");
    EXPECT(at != NULL && after != NULL);
    if (at != NULL && after != NULL) {
        memcpy(at, "\"float32\"", 9); /* the same length, so that the rest can be compared as it is */
        EXPECT_TEXT(after, before);
    }
    char *manifest = temp_read(temp_path(&dir, "out/llavamed-manifest.json"), NULL);
    expect_contains(manifest, "\"from\": \"delta-edited\"}");
    EXPECT(!temp_exists(temp_path(&dir, "out/model.safetensors.index.json")));
    EXPECT(sha256sum_accepts("out"));
    free(manifest);
    free(after);
    free(before);
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void only_wanted_files_are_taken(void)
{
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    struct documents_result result = {0};
    static const char *const names[] = {"LICENSE",
                                        "README.md",
                                        "SHA256SUMS",
                                        "evil.py",
                                        "NOTICE-research-only.md",
                                        "llavamed-manifest.json",
                                        "tokenizer.model",
                                        "back\\slash license.txt"};
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "delta"));
    for (size_t i = 0; i < 8; i++) {
        char *path = temp_path(&dir, "delta/%s", names[i]);
        temp_write_text(path, names[i]);
        list_add(&list, names[i], path);
    }
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    char *const *warnings = NULL;
    EXPECT_U64(documents_warnings(documents, &warnings), 1);
    EXPECT(warnings != NULL && strstr(warnings[0], "no config.json") != NULL);
    EXPECT(write_all(documents, "out", &result));
    EXPECT(temp_file_is(temp_path(&dir, "out/LICENSE"), "LICENSE"));
    EXPECT(temp_file_is(temp_path(&dir, "out/README.delta.md"), "README.md"));
    EXPECT(temp_file_is(temp_path(&dir, "out/tokenizer.model"), "tokenizer.model"));
    EXPECT(temp_exists(temp_path(&dir, "out/back\\slash license.txt")));
    EXPECT(temp_file_is(temp_path(&dir, "out/NOTICE-research-only.md"), notice_text));
    EXPECT(!temp_exists(temp_path(&dir, "out/evil.py")));
    EXPECT(!temp_exists(temp_path(&dir, "out/config.json")));
    EXPECT(sha256sum_accepts("out"));
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void expect_config(const char *text, enum llavamed_status want, size_t n_warnings)
{
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "config.json"), text);
    list_add(&list, "config.json", temp_path(&dir, "config.json"));
    EXPECT(prepare(&list, &plan, &documents) == want);
    if (documents != NULL) {
        char *const *warnings = NULL;
        EXPECT_U64(documents_warnings(documents, &warnings), n_warnings);
    }
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void bad_configs(void)
{
    expect_config("{}", LLAVAMED_OK, 0);
    expect_config("{\"vocab_size\": 6, \"hidden_size\": 4, \"num_hidden_layers\": 2}", LLAVAMED_OK, 1);
    expect_config("", LLAVAMED_STATUS_JSON_INVALID, 0);
    expect_config("[]", LLAVAMED_STATUS_JSON_INVALID, 0);
    expect_config("{\"a\": NaN}", LLAVAMED_STATUS_JSON_INVALID, 0);
    expect_config("{\"a\": 1, \"a\": 2}", LLAVAMED_STATUS_JSON_DUPLICATE_KEY, 0);
}

static void files_that_cannot_be_taken(void)
{
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    struct documents_result result = {0};
    temp_dir_make(&dir);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/tokenizer.model", dir.path);
    list_add(&list, "tokenizer.model", path);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_write_text(path, "x");
    EXPECT(truncate(path, (off_t)DOCUMENTS_FILE_BYTES_MAX + 1) == 0);
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(truncate(path, 1000000) == 0); /* several pieces */
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    EXPECT(write_all(documents, "out", &result));
    EXPECT(same_file(path, temp_path(&dir, "out/tokenizer.model")));
    EXPECT(truncate(path, 999999) == 0);
    EXPECT(!write_all(documents, "changed", &result));
    EXPECT_U64(error.status, LLAVAMED_STATUS_INPUT_CHANGED);
    documents_free(documents);
    temp_dir_remove(&dir);
}

static void a_strange_added_tokens_file_is_a_warning(void)
{
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    temp_dir_make(&dir);
    list_add(&list, "config.json", DELTA "config.json");
    temp_write_text(temp_path(&dir, "added_tokens.json"), "not json");
    list_add(&list, "added_tokens.json", temp_path(&dir, "added_tokens.json"));
    EXPECT(prepare(&list, &plan, &documents) == LLAVAMED_OK);
    char *const *warnings = NULL;
    EXPECT_U64(documents_warnings(documents, &warnings), 1);
    documents_free(documents);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(everything_is_written_and_summed);
    CASE(manifest_says_what_was_done);
    CASE(manifest_with_digests);
    CASE(card_and_index);
    CASE(card_names_what_hashes_know);
    CASE(config_is_edited_only_for_another_dtype);
    CASE(only_wanted_files_are_taken);
    CASE(bad_configs);
    CASE(files_that_cannot_be_taken);
    CASE(a_strange_added_tokens_file_is_a_warning);
    return harness_end();
}
