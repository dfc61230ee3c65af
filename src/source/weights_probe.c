/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/safetensors.h"
#include "format/torch_legacy.h"
#include "format/zip.h"
#include "source/recognise.h"
#include "source/weights.h"

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

static enum llavamed_status refuse(const char *path, const uint8_t *bytes, size_t n_bytes,
                                   struct llavamed_error *error)
{
    if (looks_like_torch_tar((const char *)bytes, n_bytes)) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: written by torch.save before version 0.1.10 (a tar archive), which is not supported",
                            path);
        llavamed_hint(error, "load it with an old PyTorch and save it again with torch.save");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    return recognise_bytes(path, bytes, n_bytes, error);
}

enum llavamed_status weights_probe(struct input_file *file, enum weights_format *format,
                                   uint8_t prefix[SAFETENSORS_PREFIX_BYTES], struct llavamed_error *error)
{
    const char *path = input_file_path(file);
    size_t n_bytes = (size_t)min_u64(RECOGNISE_BYTES, input_file_bytes(file));
    uint8_t bytes[RECOGNISE_BYTES];
    enum llavamed_status status = recognise_partial_name(path, error);
    if (status == LLAVAMED_OK && n_bytes > 0) {
        status = input_file_read(file, 0, bytes, n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        memset(prefix, 0, SAFETENSORS_PREFIX_BYTES);
        memcpy(prefix, bytes, n_bytes < SAFETENSORS_PREFIX_BYTES ? n_bytes : SAFETENSORS_PREFIX_BYTES);
        status = weights_probe_bytes(path, bytes, n_bytes, format, error);
    }
    return status;
}

enum llavamed_status weights_probe_bytes(const char *path, const uint8_t *bytes, size_t n_bytes,
                                         enum weights_format *format, struct llavamed_error *error)
{
    if (n_bytes > 0 && (zip_looks_like(bytes, n_bytes) || torch_legacy_looks_like(bytes, n_bytes))) {
        *format = WEIGHTS_TORCH;
        return LLAVAMED_OK;
    }
    if (n_bytes > 0 && looks_like_safetensors(path, bytes, n_bytes)) {
        *format = WEIGHTS_SAFETENSORS;
        return LLAVAMED_OK;
    }
    return refuse(path, bytes, n_bytes, error);
}
