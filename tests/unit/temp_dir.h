/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of its own for each test that needs real files: made under $TMPDIR or /tmp, removed with all it holds.
 * Plain system calls and stdio on purpose: the code under test is not used to judge itself. A set-up that fails aborts.
 */
#ifndef UNIT_TEMP_DIR_H
#define UNIT_TEMP_DIR_H

#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct temp_dir {
    char path[256];
    char joined[8][4096]; /* a ring, so that several paths can be used in one call */
    unsigned next;
};

static inline void temp_dir_require(bool holds, const char *what)
{
    if (!holds) {
        perror(what);
        abort();
    }
}

static inline void temp_dir_make(struct temp_dir *dir)
{
    const char *parent = getenv("TMPDIR");
    int n = snprintf(dir->path, sizeof dir->path, "%s/llavamed-unit-XXXXXX", parent == NULL ? "/tmp" : parent);
    temp_dir_require(n > 0 && (size_t)n < sizeof dir->path && mkdtemp(dir->path) != NULL, "mkdtemp");
    dir->next = 0;
}

/* DIR/ and the formatted rest; valid until eight more calls. */
static inline char *temp_path(struct temp_dir *dir, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline char *temp_path(struct temp_dir *dir, const char *format, ...)
{
    char *text = dir->joined[dir->next++ % 8];
    size_t used = strlen(dir->path);
    memcpy(text, dir->path, used);
    text[used++] = '/';
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + used, sizeof dir->joined[0] - used, format, args);
    va_end(args);
    temp_dir_require(n >= 0 && (size_t)n < sizeof dir->joined[0] - used, "temp_path");
    return text;
}

static inline void temp_write(const char *path, const void *bytes, size_t n_bytes)
{
    FILE *stream = fopen(path, "wb");
    temp_dir_require(stream != NULL, path);
    temp_dir_require(fwrite(bytes, 1, n_bytes, stream) == n_bytes && fclose(stream) == 0, path);
}

static inline void temp_write_text(const char *path, const char *text)
{
    temp_write(path, text, strlen(text));
}

static inline void temp_mkdir(const char *path)
{
    temp_dir_require(mkdir(path, 0777) == 0, path);
}

/* The whole file, NUL-terminated, to free(); NULL when it cannot be opened. */
static inline char *temp_read(const char *path, size_t *n_bytes)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        return NULL;
    }
    temp_dir_require(fseek(stream, 0, SEEK_END) == 0, path);
    long size = ftell(stream);
    temp_dir_require(size >= 0 && fseek(stream, 0, SEEK_SET) == 0, path);
    char *bytes = malloc((size_t)size + 1);
    temp_dir_require(bytes != NULL && fread(bytes, 1, (size_t)size, stream) == (size_t)size, path);
    bytes[size] = '\0';
    (void)fclose(stream);
    if (n_bytes != NULL) {
        *n_bytes = (size_t)size;
    }
    return bytes;
}

static inline bool temp_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

static inline bool temp_file_is(const char *path, const char *text)
{
    size_t n_bytes = 0;
    char *bytes = temp_read(path, &n_bytes);
    bool same = bytes != NULL && n_bytes == strlen(text) && memcmp(bytes, text, n_bytes) == 0;
    free(bytes);
    return same;
}

static inline int temp_remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void temp_dir_remove(struct temp_dir *dir)
{
    temp_dir_require(nftw(dir->path, temp_remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, dir->path);
}

#endif
