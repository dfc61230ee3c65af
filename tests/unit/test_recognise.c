/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is no weights file, told by name, first bytes and tensors. Fixtures are in tests/data/refused (made by the real
 * writers where there are any, see tests/tools/make_refused_data.py); the bytes here are those of the formats' own
 * documents.
 */
#include "source/recognise.h"

#include "unit/harness.h"
#include "unit/make_set.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/refused/"

static void partial_names(void)
{
    static const char *const partial[] = {"model.safetensors.incomplete", "a/b.bin.part", "X.PARTIAL",
                                          "weights.bin.crdownload",       "w.download",   "w.bin.aria2"};
    static const char *const whole[] = {"model.safetensors", "part",           ".part",
                                        "a.part/model.bin",  "incomplete.bin", "model.part.bin"};
    struct llavamed_error error;
    for (size_t i = 0; i < sizeof partial / sizeof partial[0]; i++) {
        EXPECT(recognise_partial_name(partial[i], &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
        EXPECT(strncmp(error.message, partial[i], strlen(partial[i])) == 0 && error.hint[0] != '\0');
    }
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        if (!EXPECT(recognise_partial_name(whole[i], &error) == LLAVAMED_OK)) {
            printf("    %s\n", whole[i]);
        }
    }
}

static void expect_bytes(const char *path, const void *bytes, size_t n_bytes, const char *words)
{
    struct llavamed_error error = {0};
    /* A block of just this size, so that a sanitizer sees a look behind it. */
    size_t seen = n_bytes < RECOGNISE_BYTES ? n_bytes : RECOGNISE_BYTES;
    char *copy = malloc(seen == 0 ? 1 : seen);
    temp_dir_require(copy != NULL, "malloc");
    if (seen > 0) {
        memcpy(copy, bytes, seen);
    }
    enum llavamed_status status = recognise_bytes(path, copy, seen, &error);
    bool good = status == LLAVAMED_STATUS_INPUT_UNSUPPORTED && strncmp(error.message, path, strlen(path)) == 0 &&
                strstr(error.message + strlen(path), words) != NULL && error.hint[0] != '\0';
    if (!EXPECT(good)) {
        printf("    %s: got '%s', want '%s'\n", path, error.message, words);
    }
    for (size_t cut = 0; cut < seen; cut++) {
        EXPECT(recognise_bytes(path, copy + cut, seen - cut, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    }
    free(copy);
}

static void files(void)
{
    static const struct {
        const char *path;
        const char *words;
    } cases[] = {
        {DATA "downloads/empty.bin", ": an empty file"},
        {DATA "downloads/html.bin", "an HTML page"},
        {DATA "downloads/json.bin", "a JSON text"},
        {DATA "downloads/lfs.safetensors", "a Git LFS pointer"},
        {DATA "downloads/text.safetensors", "a text, not weights (it begins '"},
        {DATA "downloads/xml.safetensors", "an XML text"},
        {DATA "downloads/zeros.bin", "begins with 512 zero bytes"},
        {DATA "gguf/model.gguf", "a GGUF file"},
        {DATA "ggml/ggml-ggml.bin", "a GGML file"},
        {DATA "ggml/ggml-ggmf.bin", "ggmf"},
        {DATA "ggml/ggml-ggjt.bin", "ggjt"},
        {DATA "ggml/ggml-ggla.bin", "a GGML adapter"},
        {DATA "flax/flax_model.msgpack", "a Flax file"},
        {DATA "onnx/model.onnx", "an ONNX model"},
        {DATA "tensorflow/tf_model.h5", "an HDF5 file"},
        {DATA "tensorflow-ckpt/model.ckpt.index", "a TensorFlow checkpoint"},
        {DATA "tokenizer/tokenizer.model", "a tokenizer (SentencePiece)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n_bytes = 0;
        char *bytes = temp_read(cases[i].path, &n_bytes);
        temp_dir_require(bytes != NULL, cases[i].path);
        expect_bytes(cases[i].path, bytes, n_bytes, cases[i].words);
        free(bytes);
    }
}

#define BYTES(text) text, sizeof(text) - 1

static void first_bytes(void)
{
    char tar[512] = "model.bin";
    memcpy(tar + 257, "ustar", 5);
    expect_bytes("w.bin", tar, sizeof tar, "a tar archive");
    expect_bytes("w.bin", BYTES("\x1f\x8b\x08\x00\x00\x00\x00\x00"), "a gzip archive");
    expect_bytes("w.bin", BYTES("BZh91AY&SY\x00"), "a bzip2 archive");
    expect_bytes("w.bin",
                 BYTES("\xfd"
                       "7zXZ\x00\x00\x04"),
                 "an xz archive");
    expect_bytes("w.bin", BYTES("\x28\xb5\x2f\xfd\x04\x00"), "a zstd archive");
    expect_bytes("w.bin", BYTES("7z\xbc\xaf\x27\x1c\x00\x04"), "a 7z archive");
    expect_bytes("w.bin", BYTES("Rar!\x1a\x07\x01\x00"), "a rar archive");
    expect_bytes("w.bin", BYTES("\x93NUMPY\x01\x00v\x00"), "a NumPy array");
    expect_bytes("w.bin", BYTES(" \r\n\t<!DOCTYPE html><html>"), "an HTML page");
    expect_bytes("w.bin", BYTES("\xef\xbb\xbf<HTML lang='en'>"), "an HTML page");
    expect_bytes("w.bin", BYTES("<Error><Code>AccessDenied</Code></Error>"), "an XML text");
    expect_bytes("w.bin", BYTES("Repository not found"), "(it begins 'Repository not found')");
    expect_bytes("w.bin", BYTES("Zugriff verweigert f\xc3\xbcr \xc3"), "a text"); /* a character cut in two */
    expect_bytes("config.json", BYTES("{}"), "a JSON text");
    expect_bytes("w.bin", BYTES("\x00\x01\x02\x03\x04\x05\x06\x07"), "neither a safetensors file nor");
    expect_bytes("w.bin",
                 BYTES("\xff\xfe"
                       "a\x00"),
                 "neither a safetensors file nor");
    expect_bytes("w.ckpt", BYTES("\x00\x01\x02\x03"), "a TensorFlow checkpoint");
    expect_bytes("saved_model.pb", BYTES("\x00\x01\x02\x03"), "a TensorFlow checkpoint");
    expect_bytes("w.bin", BYTES("\x81\xa6params\x00"), "a Flax file");
    expect_bytes("w.bin",
                 BYTES("\xde\x00\x01\xd9\x03"
                       "abc\x00"),
                 "a Flax file");
}

/* The hint of a config.json given by itself is another than that of a saved error page. */
static void hints(void)
{
    struct llavamed_error error;
    EXPECT(recognise_bytes("a/config.json", "{}", 2, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT_TEXT(error.hint, "give the directory that holds it");
    EXPECT(recognise_bytes("a/w.bin", "{}", 2, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(strstr(error.hint, "download it again") != NULL);
}

static void expect_listing(const char *names, enum llavamed_status want, const char *words)
{
    char text[200];
    char *list[8];
    struct directory_listing listing = {.names = list};
    struct llavamed_error error = {0};
    (void)snprintf(text, sizeof text, "%s", names);
    for (char *name = text; *name != '\0';) {
        char *end = name + strcspn(name, " ");
        list[listing.n_names++] = name;
        name = *end == '\0' ? end : end + 1;
        *end = '\0';
    }
    enum llavamed_status status = recognise_listing("D", "delta", false, &listing, &error);
    if (!EXPECT(status == want && strstr(error.message, words) != NULL &&
                (words[0] == '\0') == (error.hint[0] == '\0'))) {
        printf("    %s: %s\n", names, error.message);
    }
    EXPECT(words[0] == '\0' || strstr(error.message, "for the delta") != NULL);
}

static void listings(void)
{
    expect_listing("", LLAVAMED_OK, "");
    expect_listing("README.md config.json", LLAVAMED_OK, "");
    expect_listing("adapter_config.json adapter_model.bin", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "a LoRA adapter");
    expect_listing("README.md model.Q4_0.gguf", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "GGUF files");
    expect_listing("ggml-model-q4_0.bin", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "GGML files");
    expect_listing("config.json tf_model.h5", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "TensorFlow weights");
    expect_listing("model.ckpt.index", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "a TensorFlow checkpoint");
    expect_listing("saved_model.pb", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "a TensorFlow model");
    expect_listing("flax_model.msgpack", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "Flax weights");
    expect_listing("model.onnx", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "an ONNX model");
    expect_listing("model.safetensors.incomplete tokenizer.json", LLAVAMED_STATUS_INPUT_MISSING,
                   "a download has not ended (model.safetensors.incomplete)");
    expect_listing("tokenizer.json tokenizer.model", LLAVAMED_STATUS_INPUT_MISSING, "a tokenizer without weights");
    expect_listing("a.gguf b.incomplete tokenizer.model", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "GGUF");
    EXPECT(recognise_is_adapter_name("adapter_model.safetensors") && recognise_is_adapter_name("adapter_model.bin"));
    EXPECT(!recognise_is_adapter_name("adapter_config.json") && !recognise_is_adapter_name("model.bin"));
}

/* ---- Tensors ---- */

struct one {
    const char *name;
    enum dtype dtype;
    unsigned rank;
};

static void expect_set(const struct one *tensors, size_t n, const char *config, const char *words, bool speaks)
{
    struct tensor_set set;
    struct llavamed_error error = {0};
    bool config_is_quantised = !speaks;
    tensor_set_init(&set);
    for (size_t i = 0; i < n; i++) {
        set_put(&set, tensors[i].name, tensors[i].dtype, tensors[i].rank, 4, 4);
    }
    set_seal(&set);
    enum llavamed_status status =
        recognise_tensors("D", &set, config, config == NULL ? 0 : strlen(config), &config_is_quantised, &error);
    if (words == NULL) {
        EXPECT(status == LLAVAMED_OK && config_is_quantised == speaks);
    } else if (!EXPECT(status == LLAVAMED_STATUS_INPUT_UNSUPPORTED && strstr(error.message, words) != NULL)) {
        printf("    got '%s', want '%s'\n", error.message, words);
    }
    EXPECT(recognise_tensors("D", &set, NULL, 0, NULL, NULL) == status);
    tensor_set_deinit(&set);
}

#define SET(...) ((const struct one[]){__VA_ARGS__}), sizeof((const struct one[]){__VA_ARGS__}) / sizeof(struct one)

/* Names as the libraries write them: auto-gptq, autoawq, bitsandbytes, peft, compressed-tensors, transformers. */
static void tensors(void)
{
    static const char awq[] = "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4}}";
    const struct one norm = {"model.norm.weight", DTYPE_F16, 1};
    expect_set(SET(norm, {"a.q_proj.weight", DTYPE_F16, 2}), NULL, NULL, false);
    expect_set(SET(norm, {"a.position_ids", DTYPE_I64, 2}, {"a.mask.bias", DTYPE_U8, 2}), "{}", NULL, false);
    expect_set(SET(norm), awq, NULL, true);
    expect_set(SET(norm), "{\"quantization_config\":null}", NULL, false);
    expect_set(SET(norm), "not JSON", NULL, false);
    expect_set(SET(norm, {"a.q.qweight", DTYPE_I32, 2}, {"a.q.qzeros", DTYPE_I32, 2}, {"a.q.scales", DTYPE_F16, 2}),
               awq, "an AWQ-quantised checkpoint (it holds a.q.qweight; its config.json says awq)", false);
    expect_set(SET({"a.q.qweight", DTYPE_I32, 2}, {"a.q.g_idx", DTYPE_I32, 1}), NULL, "a GPTQ-quantised checkpoint",
               false);
    expect_set(SET({"a.q.g_idx", DTYPE_I32, 1}, {"a.q.qweight", DTYPE_I32, 2}), NULL, "a GPTQ-quantised checkpoint",
               false);
    expect_set(SET({"a.q.weight", DTYPE_I8, 2}, {"a.q.SCB", DTYPE_F32, 1}), NULL, "8 bits by bitsandbytes", false);
    expect_set(SET({"a.q.weight", DTYPE_U8, 2}, {"a.q.weight.absmax", DTYPE_U8, 1}), NULL, "4 bits by bitsandbytes",
               false);
    expect_set(SET({"a.q.weight", DTYPE_U8, 2}, {"a.q.weight.quant_state.bitsandbytes__nf4", DTYPE_U8, 1}), NULL,
               "4 bits by bitsandbytes", false);
    expect_set(SET({"a.q.weight", DTYPE_F8_E4M3, 2}), NULL, "8-bit floats", false);
    expect_set(SET({"a.q.weight_packed", DTYPE_I32, 2}), NULL, "a quantised checkpoint", false);
    expect_set(SET({"a.q.weight", DTYPE_I8, 2}), NULL, "a quantised checkpoint", false);
    expect_set(SET({"base_model.model.a.q_proj.lora_A.weight", DTYPE_F16, 2}), NULL, "a LoRA adapter, not a model",
               false);
}

int main(void)
{
    CASE(partial_names);
    CASE(files);
    CASE(first_bytes);
    CASE(hints);
    CASE(listings);
    CASE(tensors);
    return harness_end();
}
