/* SPDX-License-Identifier: Apache-2.0 */
/* A whole small file of tests/data in memory. */
#ifndef UNIT_READ_FILE_H
#define UNIT_READ_FILE_H

#include <stdio.h>
#include <stdlib.h>

#define READ_FILE_BYTES_MAX 1000000

/*
 * The bytes of the file, exactly as large as the file so that a sanitizer sees a read behind them; free() them. Exits
 * when the file cannot be read: the tests do not run in the repository's root.
 */
static inline char *read_file(const char *path, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    char *all = malloc(READ_FILE_BYTES_MAX);
    if (file == NULL || all == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    *n_bytes = fread(all, 1, READ_FILE_BYTES_MAX, file);
    (void)fclose(file);
    char *fitted = realloc(all, *n_bytes == 0 ? 1 : *n_bytes);
    return fitted == NULL ? all : fitted;
}

#endif
