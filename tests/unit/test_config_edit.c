/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/config_edit.h"

#include "integrity/sums.h"
#include "merge/notice_text.h"
#include "merge/small_files.h"
#include "source/config_check.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct llavamed_error error;

static void expect_edit(const char *text, const char *dtype, const char *want)
{
    struct json *json = NULL;
    struct buffer out;
    bool changed = false;
    buffer_init(&out, 1 << 20);
    if (EXPECT(json_parse("config.json", text, strlen(text), false, &json, &error) == LLAVAMED_OK)) {
        config_edit_dtype(text, strlen(text), json_root(json), dtype, &out, &changed);
        EXPECT(buffer_status(&out, "config.json", &error) == LLAVAMED_OK);
        EXPECT_TEXT(out.data, want);
        EXPECT(changed == (strcmp(text, want) != 0));
    }
    buffer_deinit(&out);
    json_free(json);
}

static void only_the_dtype_changes(void)
{
    expect_edit("{\"torch_dtype\": \"float16\"}", "float16", "{\"torch_dtype\": \"float16\"}");
    expect_edit("{\"torch_dtype\": \"float32\"}", "float16", "{\"torch_dtype\": \"float16\"}");
    expect_edit(" {\n \"a\" : 1e-06,\t\"torch_dtype\" :\n\"bfloat16\" , \"b\":[ ]}\r\n", "float16",
                " {\n \"a\" : 1e-06,\t\"torch_dtype\" :\n\"float16\" , \"b\":[ ]}\r\n");
    expect_edit("{\"dtype\": \"float32\", \"x\": \"float32\"}", "bfloat16",
                "{\"dtype\": \"bfloat16\", \"x\": \"float32\"}");
}

static void both_keys_in_either_order(void)
{
    expect_edit("{\"torch_dtype\":\"a\",\"dtype\":\"b\"}", "float32",
                "{\"torch_dtype\":\"float32\",\"dtype\":\"float32\"}");
    expect_edit("{\"dtype\":\"a\",\"x\":0,\"torch_dtype\":\"b\"}", "float32",
                "{\"dtype\":\"float32\",\"x\":0,\"torch_dtype\":\"float32\"}");
    expect_edit("{\"dtype\":\"float32\",\"torch_dtype\":\"b\"}", "float32",
                "{\"dtype\":\"float32\",\"torch_dtype\":\"float32\"}");
}

static void what_is_no_string_of_the_root_stays(void)
{
    static const char *const texts[] = {
        "{}",
        "{\"torch_dtype\": null}",
        "{\"torch_dtype\": 16, \"dtype\": [\"float32\"]}",
        "{\"text_config\": {\"torch_dtype\": \"float32\"}}",
        "{\"x\": \"\\\"torch_dtype\\\": \\\"float32\\\"\"}",
        "{\"Torch_Dtype\": \"float32\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect_edit(texts[i], "float16", texts[i]);
    }
}

static void spellings_with_escapes(void)
{
    expect_edit("{\"torch\\u005fdtype\": \"float32\"}", "float16", "{\"torch\\u005fdtype\": \"float16\"}");
    expect_edit("{\"torch_dtype\": \"float\\u0031\\u0036\"}", "float16", "{\"torch_dtype\": \"float\\u0031\\u0036\"}");
}

/* ---- which files are copied ---- */

static void allow_list(void)
{
    static const char *const copied[] = {
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "chat_template.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "processor_config.json",
        "LICENSE",
        "LICENSE.txt",
        "LICENCE.md",
        "license.md",
        "Research License.docx",
        "USE_POLICY.md",
        "NOTICE",
        "NOTICE.txt",
        "LICENSE-CC-BY-NC.md",
        "Lizenz License \xc3\xa4.txt",
    };
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        EXPECT_TEXT(small_file_target(copied[i]), copied[i]);
    }
    EXPECT_TEXT(small_file_target("README.md"), "README.delta.md");
    static const char *const refused[] = {
        "config.json",
        ".git",
        ".gitattributes",
        ".cache",
        ".LICENSE",
        "modeling_llava.py",
        "license.py",
        "LICENSE.bin",
        "license_check.sh",
        "optimizer.pt",
        "training_args.bin",
        "trainer_state.json",
        "SHA256SUMS",
        "checklist.chk",
        "tokenizer_checklist.chk",
        "model.sig",
        "llavamed-manifest.json",
        "NOTICE-research-only.md",
        "README.delta.md",
        "readme.md",
        "pytorch_model.bin.index.json",
        "../LICENSE",
        "LICENSE\n.txt",
        "LICENSE\x7f.txt",
        "LICENSE \xff.txt",
        "LICENSE\xe2\x80\xaetxt",
        ("LICENSE\xc2\x9b" "31m"),
        "tokenizer\xe2\x80\xa8.json",
        "",
        "tokenizer",
        "tokenizer.json.bak",
        "data_summary_card.md",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!EXPECT(small_file_target(refused[i]) == NULL)) {
            printf("    %s\n", refused[i]);
        }
    }
}

static void notice_is_the_file(void)
{
    EXPECT(temp_file_is("NOTICE-research-only.md", notice_text));
    EXPECT(strlen(notice_text) > 500);
}

/* ---- SHA256SUMS lines ---- */

static void sums_round_trip(void)
{
    static const char *const names[] = {"a", "with space", "\\", "new\nline", "cr\rback\\slash", " lead", "*star"};
    const char *hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < 7; i++) {
        sums_append(&text, hex, names[i]);
    }
    EXPECT(buffer_status(&text, "sums", &error) == LLAVAMED_OK);
    const char *cursor = text.data;
    size_t n_left = text.n_bytes;
    char got_hex[SHA256_HEX_BYTES];
    char name[4096];
    for (size_t i = 0; i < 7; i++) {
        EXPECT(sums_next(&cursor, &n_left, got_hex, name));
        EXPECT_TEXT(got_hex, hex);
        EXPECT_TEXT(name, names[i]);
    }
    EXPECT(!sums_next(&cursor, &n_left, got_hex, name));
    EXPECT_U64(n_left, 0);
    buffer_deinit(&text);
}

static void sums_lines_that_are_none(void)
{
#define HEX64 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    static const char *const lines[] = {
        "",
        "\n",
        HEX64,
        HEX64 "  ",
        HEX64 "  \n",
        HEX64 " name\n",
        "x" HEX64 "  name\n",
        HEX64 "\t\tname\n",
        "\\" HEX64 "  bad\\\n",
        "\\" HEX64 "  bad\\x\n",
        "short  name\n",
    };
    char hex[SHA256_HEX_BYTES];
    char name[256];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *cursor = lines[i];
        size_t n_left = strlen(lines[i]);
        EXPECT(!sums_next(&cursor, &n_left, hex, name));
        EXPECT(cursor == lines[i]);
    }
    const char *cursor = HEX64 " *binary";
    size_t n_left = strlen(cursor);
    EXPECT(sums_next(&cursor, &n_left, hex, name));
    EXPECT_TEXT(name, "binary");
#undef HEX64
}

/* ---- warnings about the configuration ---- */

static size_t count_warnings(const char *text, bool added_tokens, struct model_facts facts, const char *expected)
{
    struct json *json = NULL;
    struct warnings warnings = {0};
    size_t n = SIZE_MAX;
    if (EXPECT(json_parse("x", text, strlen(text), false, &json, &error) == LLAVAMED_OK)) {
        if (added_tokens) {
            added_tokens_check("added_tokens.json", json_root(json), &facts, &warnings);
        } else {
            config_check("config.json", json_root(json), &facts, &warnings);
        }
        EXPECT(warnings_status(&warnings, &error) == LLAVAMED_OK);
        n = warnings.n_texts;
        EXPECT(expected == NULL || (n > 0 && strcmp(warnings.texts[0], expected) == 0));
    }
    warnings_deinit(&warnings);
    json_free(json);
    return n;
}

static void config_against_the_tensors(void)
{
    struct model_facts facts = {.n_rows = 32004, .n_hidden = 4096, .n_layers = 32};
    EXPECT_U64(
        count_warnings("{\"vocab_size\": 32004, \"hidden_size\": 4096, \"num_hidden_layers\": 32}", false, facts, NULL),
        0);
    EXPECT_U64(count_warnings("{}", false, facts, NULL), 0);
    EXPECT_U64(count_warnings("{\"vocab_size\": \"many\"}", false, facts, NULL), 0);
    EXPECT_U64(count_warnings("{\"vocab_size\": 32000}", false, facts,
                              "config.json: vocab_size does not fit the tensors (got 32000, the rows of "
                              "model.embed_tokens.weight are 32004)"),
               1);
    EXPECT_U64(count_warnings("{\"vocab_size\": 1, \"hidden_size\": 2, \"num_hidden_layers\": 3}", false, facts, NULL),
               3);
    EXPECT_U64(count_warnings("{\"vocab_size\": 1}", false, (struct model_facts){0}, NULL), 0);
}

static void added_tokens_against_the_tensors(void)
{
    struct model_facts facts = {.n_rows = 32004};
    EXPECT_U64(count_warnings("{\"a\": 32003, \"b\": 32000}", true, facts, NULL), 0);
    EXPECT_U64(count_warnings("{}", true, facts, NULL), 0);
    EXPECT_U64(count_warnings("{\"a\": 32004}", true, facts, NULL), 1);
    EXPECT_U64(count_warnings("{\"a\": 32000}", true, facts, NULL), 1);
    EXPECT_U64(count_warnings("{\"a\": \"x\"}", true, facts, NULL), 1);
    EXPECT_U64(count_warnings("{\"a\": 9}", true, (struct model_facts){0}, NULL), 0);
}

int main(void)
{
    CASE(only_the_dtype_changes);
    CASE(both_keys_in_either_order);
    CASE(what_is_no_string_of_the_root_stays);
    CASE(spellings_with_escapes);
    CASE(allow_list);
    CASE(notice_is_the_file);
    CASE(sums_round_trip);
    CASE(sums_lines_that_are_none);
    CASE(config_against_the_tensors);
    CASE(added_tokens_against_the_tensors);
    return harness_end();
}
