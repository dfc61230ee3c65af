/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/safetensors.h"
#include "format/torch_legacy.h"
#include "format/zip.h"
#include "source/weights.h"

#define PROBE_BYTES 512

/* Where the magic of a tar archive stands. */
#define TAR_MAGIC_AT 257

/* Skips a byte order mark and white space. */
static size_t skip_blank(const char *text, size_t n_bytes)
{
    size_t at = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n_bytes && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0') {
        at++;
    }
    return at;
}

static bool begins_with(const char *text, size_t n_bytes, const char *prefix)
{
    size_t prefix_bytes = strlen(prefix);
    return n_bytes >= prefix_bytes && strncasecmp(text, prefix, prefix_bytes) == 0;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes >= suffix_bytes && strcmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

/*
 * A header length that fits its cap and then a brace. What is damaged there goes to the parser all the same when the
 * name says safetensors: it words the fault exactly.
 */
static bool looks_like_safetensors(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    bool named = ends_with(path, ".safetensors");
    if (n_bytes <= SAFETENSORS_PREFIX_BYTES) {
        return named;
    }
    const char *header = (const char *)bytes + SAFETENSORS_PREFIX_BYTES;
    size_t header_bytes = n_bytes - SAFETENSORS_PREFIX_BYTES;
    size_t blank = skip_blank(header, header_bytes);
    bool brace = blank < header_bytes && header[blank] == '{';
    return brace && (named || load_le64(bytes) <= SAFETENSORS_HEADER_BYTES_MAX);
}

/* The form of torch.save before the legacy one: a tar archive of sys_info, pickle, tensors and storages. */
static bool looks_like_torch_tar(const char *text, size_t n_bytes)
{
    static const char *const names[] = {"sys_info", "pickle", "tensors", "storages"};
    if (n_bytes < TAR_MAGIC_AT + 5 || memcmp(text + TAR_MAGIC_AT, "ustar", 5) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum llavamed_status refuse(const char *path, const char *text, size_t n_bytes, struct llavamed_error *error)
{
    enum llavamed_status status;
    size_t blank = skip_blank(text, n_bytes);
    if (begins_with(text, n_bytes, "version https://git-lfs") || begins_with(text, n_bytes, "version https://hawser")) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: a Git LFS pointer, not the weights themselves", path);
        llavamed_hint(error, "run 'git lfs pull' in that directory, or download the file again");
    } else if (begins_with(text + blank, n_bytes - blank, "<!doctype html") ||
               begins_with(text + blank, n_bytes - blank, "<html")) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: an HTML page, not weights", path);
        llavamed_hint(error, "the download saved a web page: download the file again");
    } else if (looks_like_torch_tar(text, n_bytes)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: written by torch.save before version 0.1.10 (a tar archive), which is not "
                               "supported",
                               path);
        llavamed_hint(error, "load it with an old PyTorch and save it again with torch.save");
    } else {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: neither a safetensors file nor one written by torch.save", path);
        if (ends_with(path, ".json")) {
            llavamed_hint(error, "give the directory that holds it");
        }
    }
    return status;
}

enum llavamed_status weights_probe(struct input_file *file, enum weights_format *format, struct llavamed_error *error)
{
    const char *path = input_file_path(file);
    size_t n_bytes = (size_t)min_u64(PROBE_BYTES, input_file_bytes(file));
    if (n_bytes == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: an empty file", path);
    }
    uint8_t bytes[PROBE_BYTES];
    enum llavamed_status status = input_file_read(file, 0, bytes, n_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const char *text = (const char *)bytes;
    if (zip_looks_like(bytes, n_bytes) || torch_legacy_looks_like(bytes, n_bytes)) {
        *format = WEIGHTS_TORCH;
        return LLAVAMED_OK;
    }
    if (looks_like_safetensors(path, bytes, n_bytes)) {
        *format = WEIGHTS_SAFETENSORS;
        return LLAVAMED_OK;
    }
    return refuse(path, text, n_bytes, error);
}
