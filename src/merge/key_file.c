/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/key_file.h"

#include <stdlib.h>

#include "io/input_file.h"

static enum llavamed_status read_key(const char *path, bool is_private, struct ec_key **key,
                                     struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_whole(path, EC_KEY_FILE_BYTES_MAX, &text, &n_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = is_private ? ec_key_read_private(path, text, n_bytes, key, error)
                        : ec_key_read_public(path, text, n_bytes, key, error);
    ec_key_wipe(text, n_bytes);
    free(text);
    return status;
}

enum llavamed_status key_file_read_private(const char *path, struct ec_key **key, struct llavamed_error *error)
{
    return read_key(path, true, key, error);
}

enum llavamed_status key_file_read_public(const char *path, struct ec_key **key, struct llavamed_error *error)
{
    return read_key(path, false, key, error);
}
