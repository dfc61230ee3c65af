/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/safetensors.h"
#include "format/zip.h"
#include "source/recognise.h"
#include "source/weights.h"

/* How torch.save began a file before 1.6: a pickle of protocol 2 that holds one long number, its magic. */
static const uint8_t legacy_torch_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                             0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

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

static enum llavamed_status refuse(const char *path, const uint8_t *bytes, size_t n_bytes,
                                   struct llavamed_error *error)
{
    if (n_bytes >= sizeof legacy_torch_magic && memcmp(bytes, legacy_torch_magic, sizeof legacy_torch_magic) == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_NOT_SUPPORTED_YET,
                             "%s: the form that torch.save wrote before version 1.6 is not supported yet", path);
    }
    return recognise_bytes(path, bytes, n_bytes, error);
}

enum llavamed_status weights_probe(struct input_file *file, enum weights_format *format, struct llavamed_error *error)
{
    const char *path = input_file_path(file);
    size_t n_bytes = (size_t)min_u64(RECOGNISE_BYTES, input_file_bytes(file));
    uint8_t bytes[RECOGNISE_BYTES];
    enum llavamed_status status = recognise_partial_name(path, error);
    if (status == LLAVAMED_OK && n_bytes > 0) {
        status = input_file_read(file, 0, bytes, n_bytes, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (n_bytes > 0 && zip_looks_like(bytes, n_bytes)) {
        *format = WEIGHTS_TORCH;
        return LLAVAMED_OK;
    }
    if (n_bytes > 0 && looks_like_safetensors(path, bytes, n_bytes)) {
        *format = WEIGHTS_SAFETENSORS;
        return LLAVAMED_OK;
    }
    return refuse(path, bytes, n_bytes, error);
}
