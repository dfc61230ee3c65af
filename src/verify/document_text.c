/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/document_text.h"

#include <stdlib.h>

#include "io/input_file.h"

void document_text_deinit(struct document_text *text)
{
    free(text->bytes);
    *text = (struct document_text){0};
}

enum llavamed_status document_text_read(const char *path, const char *name, bool follow, size_t max_bytes,
                                        struct document_text *text, struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct document_text made = {0};
    enum llavamed_status status =
        follow ? input_file_open(path, &file, error) : input_file_open_plain(path, name, &file, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t n_bytes = input_file_bytes(file);
    if (n_bytes > max_bytes) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too large (got %llu bytes, want at most %zu)",
                               name, (unsigned long long)n_bytes, max_bytes);
        goto out;
    }
    made.n_bytes = (size_t)n_bytes;
    made.bytes = malloc(made.n_bytes + 1);
    if (made.bytes == NULL) {
        status = llavamed_fail_memory(error, n_bytes + 1, name);
        goto out;
    }
    made.bytes[made.n_bytes] = '\0';
    status = input_file_read(file, 0, made.bytes, made.n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = input_file_check_unchanged(file, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_of(made.bytes, made.n_bytes, made.sha256, error);
    }
    if (status == LLAVAMED_OK) {
        *text = made;
        made.bytes = NULL;
    }
out:
    free(made.bytes);
    input_file_close(file);
    return status;
}
