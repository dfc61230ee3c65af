/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The magics are those of the programs that write the files: ggml.h and llama.cpp ("lmgg", "fmgg", "tjgg", "algg": the
 * numbers 'ggml', 'ggmf', 'ggjt', 'ggla' as a little-endian machine writes them; "GGUF" is a text), HDF5's format
 * specification, gzip's RFC 1952, git-lfs' docs/spec.md.
 */
#include "source/recognise.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "source/lfs_pointer.h"

#define SHOWN_TEXT_BYTES 60

static bool has_prefix(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes > suffix_bytes && strcasecmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

/* Without directory. */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool recognise_is_adapter_name(const char *name)
{
    return has_prefix(name, "adapter_model.");
}

/* ---- Names of files ---- */

static bool is_partial_name(const char *name)
{
    static const char *const endings[] = {".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (has_suffix(name, endings[i])) {
            return true;
        }
    }
    return false;
}

enum llavamed_status recognise_partial_name(const char *path, struct llavamed_error *error)
{
    if (!is_partial_name(base_of(path))) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED, "%s: a download that has not ended", path);
    llavamed_hint(error, "run the same download again: it continues, and gives the file its name at the end");
    return status;
}

/* ---- First bytes ---- */

struct magic {
    const char *bytes;
    size_t offset;
    size_t n_bytes;
    const char *what;
    const char *hint;
};

#define MAGIC(text, offset, what, hint) {text, offset, sizeof(text) - 1, what, hint}

static const char hint_hugging_face[] =
    "take the checkpoint in safetensors or .bin form (PyTorch) that it was made from";
static const char hint_unpack[] = "unpack it and give the directory";

static const struct magic magics[] = {
    MAGIC("GGUF", 0, "a GGUF file (llama.cpp)", hint_hugging_face),
    MAGIC("lmgg", 0, "a GGML file (llama.cpp of 2023)", hint_hugging_face),
    MAGIC("fmgg", 0, "a GGML file (ggmf, llama.cpp of 2023)", hint_hugging_face),
    MAGIC("tjgg", 0, "a GGML file (ggjt, llama.cpp of 2023)", hint_hugging_face),
    MAGIC("algg", 0, "a GGML adapter (ggla, llama.cpp of 2023)", hint_hugging_face),
    MAGIC("\x89HDF\r\n\x1a\n", 0, "an HDF5 file, the form of TensorFlow and Keras weights", hint_hugging_face),
    MAGIC("\x93NUMPY", 0, "a NumPy array", hint_hugging_face),
    MAGIC("\x1f\x8b", 0, "a gzip archive", hint_unpack),
    MAGIC("BZh", 0, "a bzip2 archive", hint_unpack),
    MAGIC("\xfd"
          "7zXZ\x00",
          0, "an xz archive", hint_unpack),
    MAGIC("\x28\xb5\x2f\xfd", 0, "a zstd archive", hint_unpack),
    MAGIC("7z\xbc\xaf\x27\x1c", 0, "a 7z archive", hint_unpack),
    MAGIC("Rar!\x1a\x07", 0, "a rar archive", hint_unpack),
    MAGIC("PK\x07\x08", 0, "a volume of a split zip archive",
          "join them with 'zip -s 0 NAME.zip --out joined.zip', or unpack them and give the directory"),
    MAGIC("ustar", 257, "a tar archive", hint_unpack),
};

static const struct magic *find_magic(const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const struct magic *magic = &magics[i];
        if (n_bytes >= magic->offset + magic->n_bytes &&
            memcmp(bytes + magic->offset, magic->bytes, magic->n_bytes) == 0) {
            return magic;
        }
    }
    return NULL;
}

static bool begins_with(const char *text, size_t n_bytes, const char *prefix)
{
    size_t prefix_bytes = strlen(prefix);
    return n_bytes >= prefix_bytes && strncasecmp(text, prefix, prefix_bytes) == 0;
}

static bool all_bytes_are(const char *bytes, size_t n_bytes, char value)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static bool is_text(const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if ((c < 0x20 && strchr("\t\r\n\f", c) == NULL) || c == 0 || c == 0x7f) {
            return false;
        }
    }
    /* A character cut at the end of what was read is no reason to call it binary. */
    for (size_t cut = 0; cut < 4 && cut <= n_bytes; cut++) {
        if (text_is_utf8(bytes, n_bytes - cut)) {
            return true;
        }
    }
    return false;
}

/* A map of msgpack whose first key is a name: how Flax writes parameters. */
static bool is_msgpack_map(const char *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t at = n_bytes > 0 && (p[0] & 0xf0) == 0x80 ? 1 : n_bytes > 0 && p[0] == 0xde ? 3 : 5;
    if (n_bytes < at + 3 || ((p[0] & 0xf0) != 0x80 && p[0] != 0xde && p[0] != 0xdf)) {
        return false;
    }
    size_t key_bytes = p[at] == 0xd9 ? p[at + 1] : p[at] > 0xa0 && p[at] <= 0xbf ? p[at] & 0x1fU : 0;
    size_t key_at = p[at] == 0xd9 ? at + 2 : at + 1;
    return key_bytes > 0 && key_bytes <= n_bytes - key_at && is_text(bytes + key_at, key_bytes);
}

/* ModelProto of ONNX: field 1 (ir_version, a small number), then field 2 (producer_name) or 7 or 8 (graph, opset). */
static bool is_onnx(const char *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    return n_bytes > 4 && p[0] == 0x08 && p[1] > 0 && p[1] < 0x40 && (p[2] == 0x12 || p[2] == 0x3a || p[2] == 0x42);
}

/* A SentencePiece model: its first piece is "<unk>" in every LLaMA tokenizer. */
static bool is_sentencepiece(const char *bytes, size_t n_bytes)
{
    return n_bytes > 9 && bytes[0] == 0x0a && bytes[2] == 0x0a && memcmp(bytes + 3, "\x05<unk>", 6) == 0;
}

static enum llavamed_status refuse(const char *path, const char *what, const char *hint, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: %s, not weights that can be merged", path, what);
    llavamed_hint(error, "%s", hint);
    return status;
}

static enum llavamed_status refuse_text(const char *path, const char *text, size_t n_bytes,
                                        struct llavamed_error *error)
{
    bool is_json = text[0] == '{' || text[0] == '[';
    bool is_xml = begins_with(text, n_bytes, "<?xml") || begins_with(text, n_bytes, "<error");
    bool named_so = has_suffix(path, ".json") || has_suffix(path, ".txt") || has_suffix(path, ".md");
    int shown = 0;
    while ((size_t)shown < n_bytes && shown < SHOWN_TEXT_BYTES && text[shown] != '\n' && text[shown] != '\r') {
        shown++;
    }
    const char *what = is_json ? "a JSON text" : is_xml ? "an XML text" : "a text";
    enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                                "%s: %s, not weights (it begins '%.*s')", path, what, shown, text);
    if (named_so) {
        llavamed_hint(error, "give the directory that holds it");
    } else {
        llavamed_hint(error, "a server's answer was saved instead of the file: download it again (a gated repository "
                             "wants 'hf auth login' first)");
    }
    return status;
}

enum llavamed_status recognise_bytes(const char *path, const void *bytes, size_t n_bytes, struct llavamed_error *error)
{
    const char *text = bytes;
    const char *name = base_of(path);
    if (n_bytes == 0) {
        enum llavamed_status status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: an empty file", path);
        llavamed_hint(error, "download or copy the file again");
        return status;
    }
    if (lfs_pointer_begins(text, n_bytes)) {
        enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                                    "%s: a Git LFS pointer, not the weights themselves", path);
        llavamed_hint(error, "run 'git lfs pull' in the clone that it comes from, or download the file again");
        return status;
    }
    size_t blank = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (blank < n_bytes && text[blank] != '\0' && strchr(" \t\r\n", text[blank]) != NULL) {
        blank++;
    }
    if (begins_with(text + blank, n_bytes - blank, "<!doctype html") ||
        begins_with(text + blank, n_bytes - blank, "<html")) {
        enum llavamed_status status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: an HTML page, not weights", path);
        llavamed_hint(error, "the download saved a web page: download the file again");
        return status;
    }
    const struct magic *magic = find_magic(text, n_bytes);
    if (magic != NULL) {
        return refuse(path, magic->what, magic->hint, error);
    }
    if (blank < n_bytes && is_text(text + blank, n_bytes - blank)) {
        return refuse_text(path, text + blank, n_bytes - blank, error);
    }
    if (is_sentencepiece(text, n_bytes)) {
        return refuse(path, "a tokenizer (SentencePiece)", "give the directory that holds the weights", error);
    }
    if (has_suffix(name, ".msgpack") || is_msgpack_map(text, n_bytes)) {
        return refuse(path, "a Flax file (msgpack)", hint_hugging_face, error);
    }
    if (has_suffix(name, ".onnx") || is_onnx(text, n_bytes)) {
        return refuse(path, "an ONNX model", hint_hugging_face, error);
    }
    if (has_suffix(name, ".ckpt") || strstr(name, ".ckpt.") != NULL || has_suffix(name, ".pb")) {
        return refuse(path, "a TensorFlow checkpoint", hint_hugging_face, error);
    }
    enum llavamed_status status;
    if (n_bytes >= 8 && all_bytes_are(text, n_bytes, '\0')) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: begins with %zu zero bytes: space was reserved for it and never filled", path,
                               n_bytes);
        llavamed_hint(error, "the download or copy was interrupted: repeat it");
    } else {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: neither a safetensors file nor one written by torch.save", path);
        llavamed_hint(error, "compare its size and SHA-256 with where it came from, or download it again");
    }
    return status;
}

/* ---- Directories ---- */

struct listing_kind {
    const char *prefix; /* of a name; NULL: any */
    const char *suffix; /* NULL: any */
    const char *what;
    const char *hint;
};

static const char hint_adapter[] =
    "merge the adapter into its own base model first (peft's merge_and_unload), or give the full model";

/* In the order of what explains most. */
static const struct listing_kind listing_kinds[] = {
    {"adapter_", NULL, "a LoRA adapter", hint_adapter},
    {NULL, ".gguf", "GGUF files (llama.cpp)", hint_hugging_face},
    {"ggml-", NULL, "GGML files (llama.cpp of 2023)", hint_hugging_face},
    {NULL, ".h5", "TensorFlow weights (HDF5)", hint_hugging_face},
    {NULL, ".ckpt.index", "a TensorFlow checkpoint", hint_hugging_face},
    {"saved_model.pb", NULL, "a TensorFlow model", hint_hugging_face},
    {NULL, ".ckpt", "a .ckpt checkpoint", hint_hugging_face},
    {NULL, ".msgpack", "Flax weights (msgpack)", hint_hugging_face},
    {NULL, ".onnx", "an ONNX model", hint_hugging_face},
};

static bool kind_fits(const struct listing_kind *kind, const char *name)
{
    return (kind->prefix == NULL || has_prefix(name, kind->prefix)) &&
           (kind->suffix == NULL || has_suffix(name, kind->suffix));
}

/* An archive in a directory can be given itself; one in an archive must come out first. */
static enum llavamed_status refuse_archive(const char *path, const char *role, const char *place, const char *name,
                                           struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                        "%s: no weights for the %s in this %s, but an archive (%.80s)", path, role, place, name);
    if (strcmp(place, "archive") == 0) {
        llavamed_hint(error, "unpack the outer archive and give %.80s", name);
    } else {
        llavamed_hint(error, "give the archive itself: %s/%.80s", path, name);
    }
    return LLAVAMED_STATUS_INPUT_MISSING;
}

enum llavamed_status recognise_listing(const char *path, const char *role, bool is_archive,
                                       const struct directory_listing *listing, struct llavamed_error *error)
{
    const char *place = is_archive ? "archive" : "directory";
    enum llavamed_status status;
    for (size_t i = 0; i < sizeof listing_kinds / sizeof listing_kinds[0]; i++) {
        const struct listing_kind *kind = &listing_kinds[i];
        for (size_t j = 0; j < listing->n_names; j++) {
            if (kind_fits(kind, listing->names[j])) {
                status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                       "%s: no weights for the %s in this %s, but %s (%.80s)", path, role, place,
                                       kind->what, listing->names[j]);
                llavamed_hint(error, "%s", kind->hint);
                return status;
            }
        }
    }
    const char *tokenizer = NULL;
    for (size_t j = 0; j < listing->n_names; j++) {
        const char *name = listing->names[j];
        if (is_partial_name(name)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                                   "%s: no weights for the %s in this %s yet: a download has not ended (%.80s)", path,
                                   role, place, name);
            llavamed_hint(error, "run the same download again: it continues");
            return status;
        }
        if (has_suffix(name, ".zip")) {
            return refuse_archive(path, role, place, name, error);
        }
        if (has_prefix(name, "tokenizer")) {
            tokenizer = name;
        }
    }
    if (tokenizer == NULL) {
        return LLAVAMED_OK;
    }
    status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                           "%s: a tokenizer without weights for the %s (got %.80s and no weights file)", path, role,
                           tokenizer);
    llavamed_hint(error, "%s: the weights are in model*.safetensors or pytorch_model*.bin",
                  is_archive ? "get the archive of the whole checkpoint" : "complete the download");
    return status;
}
