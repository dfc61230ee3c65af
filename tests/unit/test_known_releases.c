/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in table against the published lists (tests/data/known/published.tsv: hash, file, model, layout, source),
 * both ways; and real files that have published hashes.
 */
#include "integrity/known_releases.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define ROWS_MAX 200

struct published {
    const char *sha256;
    const char *name;
    const char *model;
    const char *layout;
    const char *source;
};

static struct published published[ROWS_MAX];
static size_t n_published;

/* Splits the text in place: five fields a line, after a comment and a line of titles. */
static void load(char *text)
{
    size_t number = 0;
    for (char *line = text; *line != '\0'; number++) {
        char *end = line + strcspn(line, "\n");
        bool last = *end == '\0';
        *end = '\0';
        char *fields[5] = {line};
        for (size_t i = 1; i < 5; i++) {
            char *tab = fields[i - 1] == NULL ? NULL : strchr(fields[i - 1], '\t');
            fields[i] = tab == NULL ? NULL : tab + 1;
            if (tab != NULL) {
                *tab = '\0';
            }
        }
        if (number >= 2) {
            temp_dir_require(fields[4] != NULL && n_published < ROWS_MAX, "published.tsv");
            published[n_published++] = (struct published){fields[0], fields[1], fields[2], fields[3], fields[4]};
        }
        line = last ? end : end + 1;
    }
}

static const struct known_file *row_of(const char *sha256)
{
    const struct known_file *rows;
    size_t n = known_release_rows(&rows);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].sha256, sha256) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What the models that were published with this hash make of it. */
static enum known_kind kind_of(const char *sha256)
{
    bool is_llama = false;
    bool is_vicuna = false;
    for (size_t i = 0; i < n_published; i++) {
        bool same = strcmp(published[i].sha256, sha256) == 0;
        is_llama = is_llama || (same && begins(published[i].model, "LLaMA-1 "));
        is_vicuna = is_vicuna || (same && begins(published[i].model, "Vicuna "));
    }
    return is_llama && is_vicuna ? KNOWN_SHARED : is_llama ? KNOWN_LLAMA1 : is_vicuna ? KNOWN_OTHER : KNOWN_DELTA;
}

/* "Vicuna 7B v1.1" for "Vicuna 7B v1.1 merged": without what is in brackets or said of how it was made. */
static void short_model(const struct published *line, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "%s", line->model);
    char *cut = strstr(out, " (");
    cut = cut == NULL ? strstr(out, " merged") : cut;
    if (cut != NULL) {
        *cut = '\0';
    }
}

static bool is_of_one_model(const char *sha256, const char *model)
{
    for (size_t i = 0; i < n_published; i++) {
        if (strcmp(published[i].sha256, sha256) == 0 && strcmp(published[i].model, model) != 0) {
            return false;
        }
    }
    return true;
}

static void check_line(const struct published *line)
{
    const struct known_file *row = row_of(line->sha256);
    char model[80];
    char family[16];
    if (!EXPECT(row != NULL)) {
        printf("    %s of %s\n", line->name, line->model);
        return;
    }
    EXPECT_TEXT(row->name, line->name);
    EXPECT_U64(row->kind, kind_of(line->sha256));
    EXPECT(row->is_weights == (begins(line->name, "consolidated.") || begins(line->name, "pytorch_model-")));
    short_model(line, model, sizeof model);
    if (is_of_one_model(line->sha256, line->model)) {
        EXPECT_TEXT(row->release, model);
    } else {
        /* A file of several sizes or models: none of the sizes is named, each of the models is. */
        (void)snprintf(family, sizeof family, "%.*s", (int)strcspn(model, " "), model);
        EXPECT(strstr(row->release, family) != NULL && strstr(row->release, "B ") == NULL);
    }
    EXPECT(known_release_find(line->sha256, row->n_bytes) == row);
}

static void every_published_line(void)
{
    EXPECT(n_published >= 93);
    for (size_t i = 0; i < n_published; i++) {
        check_line(&published[i]);
    }
}

/* The part of a list's name that tells it from the others: up to the file. */
static bool is_source_of(const struct known_file *row, const struct published *line)
{
    static const char *const lists[] = {"llama/original/", "llama/hf/", "vicuna/hf/", "microsoft/llava-med-7b-delta"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strstr(line->source, lists[i]) != NULL) {
            return strstr(row->source, lists[i]) != NULL;
        }
    }
    return false;
}

static void every_row(void)
{
    const struct known_file *rows;
    size_t n = known_release_rows(&rows);
    for (size_t i = 0; i < n; i++) {
        EXPECT(strlen(rows[i].sha256) == 64 && strspn(rows[i].sha256, "0123456789abcdef") == 64);
        EXPECT(row_of(rows[i].sha256) == &rows[i]);
        bool found = false;
        for (size_t j = 0; j < n_published; j++) {
            found =
                found || (strcmp(rows[i].sha256, published[j].sha256) == 0 && is_source_of(&rows[i], &published[j]));
        }
        if (!EXPECT(found)) {
            printf("    %s of %s: %s\n", rows[i].name, rows[i].release, rows[i].source);
        }
    }
}

/* Sizes known from outside: a log of the download (7B, its params.json, the tokenizer) and the hub. */
static void sizes(void)
{
    static const struct {
        const char *release;
        const char *name;
        uint64_t n_bytes;
    } known[] = {
        {"LLaMA-1 7B", "consolidated.00.pth", UINT64_C(13476939516)},
        {"LLaMA-1 7B", "params.json", 101},
        {"LLaMA-1 13B", "params.json", 101},
        {"LLaMA-1 30B", "params.json", 101},
        {"LLaMA-1 65B", "params.json", 101},
        {"LLaMA-1 and Vicuna v1.1", "tokenizer.model", 499723},
        {"LLaMA-1", "tokenizer.json", 1842898},
    };
    const struct known_file *rows;
    size_t n = known_release_rows(&rows);
    size_t n_sized = 0;
    for (size_t i = 0; i < n; i++) {
        n_sized += rows[i].n_bytes != 0;
        for (size_t j = 0; j < sizeof known / sizeof known[0]; j++) {
            if (strcmp(rows[i].release, known[j].release) == 0 && strcmp(rows[i].name, known[j].name) == 0) {
                EXPECT_U64(rows[i].n_bytes, known[j].n_bytes);
                EXPECT(known_release_find(rows[i].sha256, known[j].n_bytes) == &rows[i]);
                EXPECT(known_release_find(rows[i].sha256, known[j].n_bytes - 1) == NULL);
                EXPECT(known_release_find(rows[i].sha256, 0) == NULL);
            }
        }
    }
    EXPECT_U64(n_sized, sizeof known / sizeof known[0]);
}

/* The four params.json, spelled as Meta spelled them (the corpus of a fuzzer holds them), have the published hashes. */
static void real_files(void)
{
    static const char *const models[] = {"7b", "13b", "30b", "65b"};
    static const char *const releases[] = {"LLaMA-1 7B", "LLaMA-1 13B", "LLaMA-1 30B", "LLaMA-1 65B"};
    for (size_t i = 0; i < 4; i++) {
        char path[80];
        char hex[SHA256_HEX_BYTES] = "";
        size_t n_bytes = 0;
        struct sha256_stream *stream = NULL;
        (void)snprintf(path, sizeof path, "tests/fuzz/corpus/meta_params/%s", models[i]);
        char *text = temp_read(path, &n_bytes);
        temp_dir_require(text != NULL, path);
        EXPECT(sha256_create(&stream, NULL) == LLAVAMED_OK &&
               sha256_update(stream, text, n_bytes, NULL) == LLAVAMED_OK &&
               sha256_finish(stream, hex, NULL) == LLAVAMED_OK);
        const struct known_file *row = known_release_find(hex, n_bytes);
        if (EXPECT(row != NULL)) {
            EXPECT_TEXT(row->release, releases[i]);
            EXPECT_TEXT(row->name, "params.json");
        }
        sha256_free(stream);
        free(text);
    }
    EXPECT(known_release_find("", 0) == NULL);
    EXPECT(known_release_find("700DF0D3013B703A806D2AE7F1BFB8E59814E3D06AE78BE0C66368A50059F33D",
                              UINT64_C(13476939516)) == NULL);
}

int main(void)
{
    char *text = temp_read("tests/data/known/published.tsv", NULL);
    temp_dir_require(text != NULL, "tests/data/known/published.tsv");
    load(text);
    CASE(every_published_line);
    CASE(every_row);
    CASE(sizes);
    CASE(real_files);
    free(text);
    return harness_end();
}
