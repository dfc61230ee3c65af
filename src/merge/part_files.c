/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/part_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/directory.h"
#include "io/input_file.h"
#include "io/output_file.h"
#include "merge/claim.h"
#include "merge/part_plan.h"

/* Somebody else puts or removes it between our looks. */
#define PUT_ATTEMPTS_MAX 16

void part_record_name(unsigned part, unsigned n_parts, char name[PART_NAME_BYTES])
{
    (void)snprintf(name, PART_NAME_BYTES, OUTPUT_DIR_PARTS_PREFIX "record-%u-of-%u.json", part + 1, n_parts);
}

void part_journal_name(unsigned part, unsigned n_parts, char name[PART_NAME_BYTES])
{
    (void)snprintf(name, PART_NAME_BYTES, OUTPUT_DIR_PARTS_PREFIX "journal-%u-of-%u", part + 1, n_parts);
}

void part_draft_name(char name[PART_NAME_BYTES])
{
    char nonce[CLAIM_NONCE_BYTES];
    claim_make_nonce(nonce);
    (void)snprintf(name, PART_NAME_BYTES, OUTPUT_DIR_PARTS_PREFIX "draft-%s", nonce);
}

/* ---- Reading ---- */

static enum llavamed_status read_open(struct input_file *file, size_t max_bytes, char **text, size_t *n_bytes,
                                      struct llavamed_error *error)
{
    uint64_t file_bytes = input_file_bytes(file);
    if (file_bytes > max_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: too large to be a part's (got %llu bytes)",
                             input_file_path(file), (unsigned long long)file_bytes);
    }
    char *bytes = malloc((size_t)file_bytes + 1);
    if (bytes == NULL) {
        return llavamed_fail_memory(error, file_bytes, "a file of a part");
    }
    enum llavamed_status status = input_file_read(file, 0, bytes, (size_t)file_bytes, error);
    if (status != LLAVAMED_OK) {
        free(bytes);
        return status;
    }
    bytes[file_bytes] = '\0';
    *text = bytes;
    *n_bytes = (size_t)file_bytes;
    return status;
}

enum llavamed_status part_file_read(const char *path, size_t max_bytes, char **text, size_t *n_bytes,
                                    struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct llavamed_error own = {0};
    *text = NULL;
    *n_bytes = 0;
    enum llavamed_status status = input_file_open_plain(path, path, &file, &own);
    if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        return LLAVAMED_OK;
    }
    if (status == LLAVAMED_OK) {
        status = read_open(file, max_bytes, text, n_bytes, &own);
    }
    input_file_close(file);
    if (status == LLAVAMED_STATUS_INPUT_CHANGED) {
        status = own.status = LLAVAMED_STATUS_IO;
    } else if (status != LLAVAMED_OK && !input_file_is_failure(status)) {
        status = own.status = LLAVAMED_STATUS_PARTS_DIFFER; /* not an input; the message holds */
    }
    if (status != LLAVAMED_OK && error != NULL) {
        *error = own;
    }
    return status;
}

bool part_all_is_at(const char *path)
{
    static const char begin[] = "{\"format\":\"" PART_PLAN_FORMAT "\"";
    char bytes[sizeof begin - 1];
    struct input_file *file = NULL;
    bool is_one = input_file_open_plain(path, path, &file, NULL) == LLAVAMED_OK &&
                  input_file_bytes(file) > sizeof bytes &&
                  input_file_read(file, 0, bytes, sizeof bytes, NULL) == LLAVAMED_OK &&
                  memcmp(bytes, begin, sizeof bytes) == 0;
    input_file_close(file);
    return is_one;
}

/* ---- Writing ---- */

/* The bytes on storage under a name of their own, which the caller frees. */
static enum llavamed_status write_draft(const char *directory, const char *text, size_t n_bytes, char **draft,
                                        struct llavamed_error *error)
{
    char name[PART_NAME_BYTES];
    part_draft_name(name);
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, sizeof name, "a path");
    }
    enum llavamed_status status = output_file_write_whole(path, text, n_bytes, error);
    if (status != LLAVAMED_OK) {
        free(path);
        return status;
    }
    *draft = path;
    return status;
}

enum llavamed_status part_file_write(const char *directory, const char *name, const struct run_guard *guard,
                                     const char *text, size_t n_bytes, struct llavamed_error *error)
{
    char *draft = NULL;
    char *path = path_join(directory, name);
    enum llavamed_status status = path == NULL ? llavamed_fail_memory(error, strlen(name), "a path") : LLAVAMED_OK;
    if (status == LLAVAMED_OK) {
        status = write_draft(directory, text, n_bytes, &draft, error);
    }
    if (status == LLAVAMED_OK) {
        status = run_guard_confirm(guard, error);
    }
    if (status == LLAVAMED_OK && rename(draft, path) != 0) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot be put there", path);
    }
    if (status != LLAVAMED_OK && draft != NULL) {
        (void)unlink(draft);
    }
    free(draft);
    free(path);
    return status == LLAVAMED_OK ? directory_sync(directory, error) : status;
}

/* ---- The plan ---- */

enum llavamed_status part_files_fail_plan(const char *directory, const char *text, size_t n_bytes, const char *found,
                                          size_t found_bytes, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: holds parts of another merge: %s differs", directory,
                        part_plan_difference(text, n_bytes, found, found_bytes));
    llavamed_hint(error,
                  "every part takes the same inputs and options, but for --part; to give those parts up: rm -r -- '%s'",
                  directory);
    return LLAVAMED_STATUS_PARTS_DIFFER;
}

/*
 * Gives the draft its name where that is free. Without hard links the file is made there; what a death leaves of it is
 * the beginning of a plan, in whose place the same plan may come.
 */
static enum llavamed_status name_plan(const char *draft, const char *path, const char *text, size_t n_bytes,
                                      struct llavamed_error *error)
{
    if (link(draft, path) == 0 || errno == EEXIST) {
        return LLAVAMED_OK;
    }
    if (errno == ENOENT) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot be put there", path);
    }
    enum llavamed_status status = output_file_write_whole(path, text, n_bytes, error);
    return status == LLAVAMED_STATUS_OUT_EXISTS || (status == LLAVAMED_STATUS_OUT_UNWRITABLE && access(path, F_OK) == 0)
               ? LLAVAMED_OK
               : status;
}

enum llavamed_status part_files_put_plan(const char *directory, const char *text, size_t n_bytes,
                                         struct llavamed_error *error)
{
    char *draft = NULL;
    char *path = path_join(directory, PART_PLAN_NAME);
    bool is_there = false;
    enum llavamed_status status = path == NULL ? llavamed_fail_memory(error, strlen(directory), "a path") : LLAVAMED_OK;
    for (int i = 0; status == LLAVAMED_OK && !is_there && i < PUT_ATTEMPTS_MAX; i++) {
        char *found = NULL;
        size_t found_bytes = 0;
        status = part_file_read(path, PART_PLAN_BYTES_MAX, &found, &found_bytes, error);
        is_there = found != NULL && found_bytes == n_bytes && memcmp(found, text, n_bytes) == 0;
        if (status == LLAVAMED_OK && !is_there && draft == NULL) {
            status = write_draft(directory, text, n_bytes, &draft, error);
        }
        if (status == LLAVAMED_OK && found == NULL) {
            status = name_plan(draft, path, text, n_bytes, error);
        } else if (status == LLAVAMED_OK && !is_there && found_bytes < n_bytes &&
                   memcmp(found, text, found_bytes) == 0) {
            (void)rename(draft, path); /* looked at again, whatever comes of it */
            free(draft);
            draft = NULL;
        } else if (status == LLAVAMED_OK && !is_there) {
            status = part_files_fail_plan(directory, text, n_bytes, found, found_bytes, error);
        }
        free(found);
    }
    if (status == LLAVAMED_OK && !is_there) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: others change it all the time", directory);
    }
    if (draft != NULL) {
        (void)unlink(draft);
    }
    free(draft);
    free(path);
    return status == LLAVAMED_OK ? directory_sync(directory, error) : status;
}
