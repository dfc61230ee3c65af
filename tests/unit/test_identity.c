/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What files are together, by the published hashes themselves: which files a release has is written here once more,
 * from the lists that published them.
 */
#include "verify/identity.h"

#include "unit/harness.h"

#define FILES_MAX 32

static struct identity_file files[FILES_MAX];
static size_t n_files;
static struct identity identity;

/* The row of this file in this release. */
static const struct known_file *row_of(const char *name, const char *release)
{
    const struct known_file *rows;
    size_t n_rows = known_release_rows(&rows);
    for (size_t i = 0; i < n_rows; i++) {
        if (strcmp(rows[i].name, name) == 0 && strcmp(rows[i].release, release) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void put(const char *name, const struct known_file *row)
{
    files[n_files++] = (struct identity_file){name, row};
}

static void put_known(const char *name, const char *release)
{
    const struct known_file *row = row_of(name, release);
    EXPECT(row != NULL);
    put(name, row);
}

static void put_hf_7b(void)
{
    n_files = 0;
    put_known("pytorch_model-00001-of-00002.bin", "LLaMA-1 7B");
    put_known("pytorch_model-00002-of-00002.bin", "LLaMA-1 7B");
}

static void judge(bool is_single)
{
    warnings_deinit(&identity.remarks);
    identity_judge(files, n_files, is_single, &identity);
    EXPECT(!identity.remarks.failed);
}

static void want(enum llavamed_identity verdict, const char *release, size_t n_found, size_t n_wanted)
{
    judge(false);
    EXPECT_U64(identity.verdict, verdict);
    EXPECT((release == NULL) == (identity.release == NULL));
    if (release != NULL && identity.release != NULL) {
        EXPECT_TEXT(identity.release, release);
    }
    EXPECT_U64(identity.n_found, n_found);
    EXPECT_U64(identity.n_wanted, n_wanted);
    EXPECT((identity.remarks.n_texts > 0) ==
           (verdict == LLAVAMED_IDENTITY_MIXED || verdict == LLAVAMED_IDENTITY_INCOMPLETE));
}

static void want_remark(size_t i, const char *text)
{
    if (EXPECT(i < identity.remarks.n_texts)) {
        EXPECT_TEXT(identity.remarks.texts[i], text);
    }
}

static void complete(void)
{
    put_hf_7b();
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 7B", 2, 2);
    put("README.md", NULL);
    put_known("config.json", "LLaMA-1 7B");
    put_known("generation_config.json", "LLaMA-1");
    put_known("tokenizer.model", "LLaMA-1 and Vicuna v1.1");
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 7B", 2, 2);
    n_files = 0;
    put_known("consolidated.00.pth", "LLaMA-1 7B");
    put_known("params.json", "LLaMA-1 7B");
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 7B", 1, 1);
    n_files = 0;
    put_known("pytorch_model-00001-of-00002.bin", "LLaVA-Med v1 7B delta");
    put_known("pytorch_model-00002-of-00002.bin", "LLaVA-Med v1 7B delta");
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaVA-Med v1 7B delta", 2, 2);
    n_files = 0;
    for (int i = 1; i <= 14; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "pytorch_model-%05d-of-00014.bin", i);
        put_known(row_of(name, "LLaMA-1 65B")->name, "LLaMA-1 65B");
    }
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 65B", 14, 14);
    n_files = 0;
    put_known("pytorch_model-00001-of-00003.bin", "Vicuna 13B v1.1");
    put_known("pytorch_model-00002-of-00003.bin", "Vicuna 13B v1.1");
    put_known("pytorch_model-00003-of-00003.bin", "Vicuna 13B v1.1");
    put_known("generation_config.json", "Vicuna v1.1");
    want(LLAVAMED_IDENTITY_COMPLETE, "Vicuna 13B v1.1", 3, 3);
}

/* Meta's shards beside those made of them: either set is enough, and neither is foreign to the other. */
static void two_forms(void)
{
    put_hf_7b();
    put_known("consolidated.00.pth", "LLaMA-1 7B");
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 7B", 2, 2);
    files[0] = files[2];
    n_files = 2;
    want(LLAVAMED_IDENTITY_COMPLETE, "LLaMA-1 7B", 1, 1);
}

static void incomplete(void)
{
    put_hf_7b();
    n_files = 1;
    want(LLAVAMED_IDENTITY_INCOMPLETE, "LLaMA-1 7B", 1, 2);
    want_remark(0, "pytorch_model-00002-of-00002.bin: is missing: a file of LLaMA-1 7B");
    put("pytorch_model-00002-of-00002.bin", NULL);
    want(LLAVAMED_IDENTITY_INCOMPLETE, "LLaMA-1 7B", 1, 2);
    want_remark(0, "pytorch_model-00002-of-00002.bin: is not the file of LLaMA-1 7B");
    EXPECT_U64(identity.remarks.n_texts, 1);
}

static void mixed(void)
{
    put_hf_7b();
    files[1].row = row_of("pytorch_model-00002-of-00002.bin", "Vicuna 7B v1.1");
    want(LLAVAMED_IDENTITY_MIXED, NULL, 1, 2);
    want_remark(0, "pytorch_model-00002-of-00002.bin: is of Vicuna 7B v1.1, not of LLaMA-1 7B");
    put_hf_7b();
    put_known("config.json", "LLaMA-1 13B");
    want(LLAVAMED_IDENTITY_MIXED, NULL, 2, 2);
    want_remark(0, "config.json: is of LLaMA-1 13B, not of LLaMA-1 7B");
    put_hf_7b();
    put_known("generation_config.json", "Vicuna v1.1");
    want(LLAVAMED_IDENTITY_MIXED, NULL, 2, 2);
    put_hf_7b();
    put("model.safetensors", NULL);
    want(LLAVAMED_IDENTITY_MIXED, NULL, 2, 2);
    want_remark(0, "model.safetensors: is not known, beside the weights of LLaMA-1 7B");
    put_hf_7b();
    put_known("consolidated.00.pth", "LLaMA-1 13B");
    want(LLAVAMED_IDENTITY_MIXED, NULL, 2, 2);
}

static void unknown(void)
{
    n_files = 0;
    want(LLAVAMED_IDENTITY_UNKNOWN, NULL, 0, 0);
    put("model.safetensors", NULL);
    put_known("config.json", "LLaMA-1 7B");
    put_known("tokenizer.model", "LLaMA-1 and Vicuna v1.1");
    want(LLAVAMED_IDENTITY_UNKNOWN, NULL, 0, 0);
}

static void single_files(void)
{
    n_files = 0;
    put_known("pytorch_model-00002-of-00002.bin", "LLaMA-1 7B");
    judge(true);
    EXPECT_U64(identity.verdict, LLAVAMED_IDENTITY_FILE);
    EXPECT_TEXT(identity.release, "LLaMA-1 7B");
    EXPECT_U64(identity.n_found, 1);
    EXPECT_U64(identity.n_wanted, 2);
    n_files = 0;
    put_known("consolidated.00.pth", "LLaMA-1 7B");
    judge(true);
    EXPECT_U64(identity.verdict, LLAVAMED_IDENTITY_COMPLETE);
    n_files = 0;
    put_known("tokenizer.model", "LLaMA-1 and Vicuna v1.1");
    judge(true);
    EXPECT_U64(identity.verdict, LLAVAMED_IDENTITY_FILE);
    n_files = 0;
    put("tokenizer.model", NULL);
    judge(true);
    EXPECT_U64(identity.verdict, LLAVAMED_IDENTITY_UNKNOWN);
}

int main(void)
{
    CASE(complete);
    CASE(two_forms);
    CASE(incomplete);
    CASE(mixed);
    CASE(unknown);
    CASE(single_files);
    warnings_deinit(&identity.remarks);
    return harness_end();
}
