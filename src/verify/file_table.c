/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/file_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/sort.h"
#include "core/stop_signal.h"
#include "io/directory.h"

void file_table_deinit(struct file_table *table)
{
    for (size_t i = 0; i < table->n_files; i++) {
        struct table_file *file = &table->files[i];
        free(file->name);
        free(file->failure_words);
        free(file->header_words);
        if (file->view != NULL) {
            shard_view_deinit(file->view);
            free(file->view);
        }
    }
    free(table->files);
    *table = (struct file_table){0};
}

/* There is something of this name, and it cannot be told what. */
static enum llavamed_status note_hidden(struct table_file *file, int errno_value, struct llavamed_error *error)
{
    struct llavamed_error words;
    bool is_failure = errno_value == EIO || errno_value == ESTALE;
    file->kind = FILE_KIND_PLAIN;
    file->failure = llavamed_fail_errno(&words, is_failure ? LLAVAMED_STATUS_IO : LLAVAMED_STATUS_INPUT_UNREADABLE,
                                        errno_value, "cannot look at it");
    file->failure_words = strdup(words.message);
    return file->failure_words != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, LLAVAMED_MESSAGE_BYTES, "a message");
}

static enum llavamed_status look_at(const char *dir, struct table_file *file, struct llavamed_error *error)
{
    struct stat info;
    char *path = path_join(dir, file->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(dir) + strlen(file->name), "a path");
    }
    if (lstat(path, &info) == 0) {
        file->kind = S_ISREG(info.st_mode)   ? FILE_KIND_PLAIN
                     : S_ISLNK(info.st_mode) ? FILE_KIND_LINK
                     : S_ISDIR(info.st_mode) ? FILE_KIND_DIRECTORY
                                             : FILE_KIND_OTHER;
        file->n_bytes = (uint64_t)info.st_size;
        file->device = (uint64_t)info.st_dev;
        file->inode = (uint64_t)info.st_ino;
        free(path);
        return LLAVAMED_OK;
    }
    int look_errno = errno;
    free(path);
    if (look_errno == ENOMEM) {
        return llavamed_fail_memory(error, sizeof info, "a look at a file");
    }
    return look_errno == ENOENT ? LLAVAMED_OK : note_hidden(file, look_errno, error);
}

enum llavamed_status file_table_list(const char *dir, const volatile int *stop_signal, struct file_table *table,
                                     struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    struct file_table made = {0};
    enum llavamed_status status = directory_list(dir, &listing, error);
    if (status == LLAVAMED_OK) {
        made.files = calloc(listing.n_names + 1, sizeof *made.files);
        if (made.files == NULL) {
            status = llavamed_fail_memory(error, listing.n_names * sizeof *made.files, "the list of files");
        }
    }
    while (status == LLAVAMED_OK && made.n_files < listing.n_names) {
        struct table_file *file = &made.files[made.n_files++];
        file->name = listing.names[made.n_files - 1];
        listing.names[made.n_files - 1] = NULL;
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = look_at(dir, file, error);
        }
    }
    directory_listing_deinit(&listing);
    if (status == LLAVAMED_OK) {
        *table = made;
    } else {
        file_table_deinit(&made);
    }
    return status;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct table_file *)a)->name, ((const struct table_file *)b)->name);
}

enum llavamed_status file_table_add(struct file_table *table, const char *const *names, size_t n_names,
                                    struct llavamed_error *error)
{
    const char **absent = calloc(n_names + 1, sizeof *absent);
    if (absent == NULL) {
        return llavamed_fail_memory(error, n_names * sizeof *absent, "the list of files");
    }
    size_t n_absent = 0;
    for (size_t i = 0; i < n_names; i++) {
        if (file_table_find(table, names[i]) == NULL) {
            absent[n_absent++] = names[i];
        }
    }
    sort_array(absent, n_absent, sizeof *absent, compare_texts);
    enum llavamed_status status = LLAVAMED_OK;
    struct table_file *files = reallocarray(table->files, table->n_files + n_absent + 1, sizeof *files);
    if (files == NULL) {
        status = llavamed_fail_memory(error, (table->n_files + n_absent) * sizeof *files, "the list of files");
        goto out;
    }
    table->files = files;
    for (size_t i = 0; i < n_absent; i++) {
        if (i > 0 && strcmp(absent[i - 1], absent[i]) == 0) {
            continue;
        }
        struct table_file made = {.name = strdup(absent[i])};
        if (made.name == NULL) {
            status = llavamed_fail_memory(error, strlen(absent[i]), "the list of files");
            break;
        }
        table->files[table->n_files++] = made;
    }
    sort_array(table->files, table->n_files, sizeof *table->files, compare_files);
out:
    free(absent);
    return status;
}

struct table_file *file_table_find(const struct file_table *table, const char *name)
{
    size_t low = 0;
    size_t high = table->n_files;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(table->files[middle].name, name);
        if (order == 0) {
            return &table->files[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

bool table_file_is_as_claimed(const struct table_file *file)
{
    bool has_claim = false;
    for (int i = 0; i < CLAIMANTS; i++) {
        const char *claim = file->claims[i].sha256;
        has_claim = has_claim || claim != NULL;
        if (claim != NULL && (!file->is_read || strcmp(claim, file->sha256) != 0)) {
            return false;
        }
    }
    return has_claim;
}
