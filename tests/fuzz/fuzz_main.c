/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main() for the fuzz targets without a fuzzer: runs every file named, and each of them cut short at up to
 * CUTS_PER_FILE places, through LLVMFuzzerTestOneInput(). Inputs lie in blocks of exactly their size, so that a
 * sanitizer or valgrind sees a read past the end. A target that finds something aborts. Prints one line,
 * "N inputs from N files".
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUTS_PER_FILE 64
#define INPUT_BYTES_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static size_t n_inputs;

static int run(const uint8_t *bytes, size_t n_bytes)
{
    /* malloc(0) may be NULL: the empty input is a block of one byte of which none may be read. */
    uint8_t *copy = malloc(n_bytes == 0 ? 1 : n_bytes);
    if (copy == NULL) {
        perror("malloc");
        return 1;
    }
    if (n_bytes > 0) {
        memcpy(copy, bytes, n_bytes);
    }
    (void)LLVMFuzzerTestOneInput(copy, n_bytes);
    free(copy);
    n_inputs++;
    return 0;
}

/* *bytes is owned by the caller on success. */
static int read_all(const char *path, uint8_t **bytes, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *block = malloc(INPUT_BYTES_MAX);
    int result = 1;
    if (file == NULL || block == NULL) {
        perror(path);
        goto out;
    }
    size_t got = fread(block, 1, INPUT_BYTES_MAX, file);
    if (ferror(file) || got == INPUT_BYTES_MAX) {
        fprintf(stderr, "%s: cannot be read, or too large\n", path);
        goto out;
    }
    *bytes = block;
    *n_bytes = got;
    block = NULL;
    result = 0;
out:
    free(block);
    if (file != NULL) {
        fclose(file);
    }
    return result;
}

static int run_file(const char *path)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    /* Named before it runs, so that the last line of a crash names the file. */
    fprintf(stderr, "%s\n", path);
    if (read_all(path, &bytes, &n_bytes) != 0) {
        return 1;
    }
    int result = run(bytes, n_bytes);
    for (size_t i = 0; result == 0 && i < CUTS_PER_FILE && i < n_bytes; i++) {
        size_t cut = n_bytes <= CUTS_PER_FILE ? i : n_bytes / CUTS_PER_FILE * i;
        result = run(bytes, cut);
    }
    free(bytes);
    return result;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (run_file(argv[i]) != 0) {
            return 1;
        }
    }
    printf("%zu inputs from %d files\n", n_inputs, argc - 1);
    return n_inputs > 0 ? 0 : 1;
}
