/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/html_page.h"
#include "cli/messages.h"

/* ---- Names --------------------------------------------------------------------------------------------------- */

/* `path` without its last name; malloc'ed. "." for a name alone. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static char *joined(const char *before, const char *between, const char *after)
{
    size_t n = strlen(before) + strlen(between) + strlen(after) + 1;
    char *text = malloc(n);
    if (text != NULL) {
        (void)snprintf(text, n, "%s%s%s", before, between, after);
    }
    return text;
}

/* The path without links in its folders, whether there is something of that name or not; malloc'ed, or NULL. */
static char *resolved(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    char *plain = strndup(path, n);
    char *folder = plain == NULL ? NULL : folder_of(plain);
    char *real = folder == NULL ? NULL : realpath(folder, NULL);
    char *whole = real == NULL ? NULL : joined(real, strcmp(real, "/") == 0 ? "" : "/", name_of(plain));
    free(plain);
    free(folder);
    free(real);
    return whole;
}

static enum llavamed_status fail_memory(struct llavamed_error *error)
{
    (void)cli_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory for the report");
    return LLAVAMED_STATUS_NO_MEMORY;
}

static enum llavamed_status fail_errno(struct llavamed_error *error, const char *path)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;
    return cli_fail(error, is_full ? LLAVAMED_STATUS_OUT_SPACE : LLAVAMED_STATUS_OUT_UNWRITABLE,
                    "%.600s: the report cannot be written (%s)", path, strerror(errno));
}

/* ---- Checking ------------------------------------------------------------------------------------------------ */

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether a directory or file is `path` (absolute, no links in its folders) or holds it. `path` is the same again. */
static bool holds(const struct stat *directory, char *path)
{
    struct stat at;
    bool found = false;
    for (size_t n = strlen(path); !found && n > 0; n--) {
        if (n == 1 || path[n] == '\0' || path[n] == '/') {
            char kept = path[n];
            path[n] = '\0';
            found = stat(path, &at) == 0 && is_same(&at, directory);
            path[n] = kept;
        }
    }
    return found;
}

/* Sets *is_apart. */
static enum llavamed_status look_apart(char *file, const char *other, bool *is_apart, struct llavamed_error *error)
{
    struct stat at;
    char *real = resolved(other);
    *is_apart = true;
    if (real != NULL && strcmp(real, file) == 0) {
        *is_apart = false;
    } else if (stat(other, &at) == 0) {
        *is_apart = !holds(&at, file);
    } else if (errno == ENOMEM) {
        free(real);
        return fail_memory(error);
    }
    free(real);
    return LLAVAMED_OK;
}

static enum llavamed_status check_apart(const char *path, char *file, const char *other, struct llavamed_error *error)
{
    size_t n = strlen(other);
    while (n > 1 && other[n - 1] == '/') {
        n--;
    }
    char *plain = strndup(other, n);
    char *partial = plain == NULL ? NULL : joined(plain, "", ".partial");
    bool is_apart = true;
    bool is_apart_from_partial = true;
    enum llavamed_status status =
        plain == NULL || partial == NULL ? fail_memory(error) : look_apart(file, plain, &is_apart, error);
    if (status == LLAVAMED_OK) {
        status = look_apart(file, partial, &is_apart_from_partial, error);
    }
    free(plain);
    free(partial);
    if (status == LLAVAMED_OK && !(is_apart && is_apart_from_partial)) {
        (void)cli_fail(error, LLAVAMED_STATUS_OUT_OVERLAPS_INPUT,
                       "%.400s: the report would be inside or in place of %.400s", path, other);
        cli_hint(error, "give --report a FILE outside of what the command reads and writes");
        return LLAVAMED_STATUS_OUT_OVERLAPS_INPUT;
    }
    return status;
}

/* What has the name now may go. */
static enum llavamed_status check_free(const char *path, struct llavamed_error *error)
{
    struct stat at;
    if (lstat(path, &at) != 0) {
        return errno == ENOENT ? LLAVAMED_OK : fail_errno(error, path);
    }
    char start[sizeof HTML_PAGE_MARK - 1] = "";
    ssize_t n_read = -1;
    if (S_ISREG(at.st_mode) && at.st_size > 0) {
        int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        n_read = descriptor < 0 ? -1 : read(descriptor, start, sizeof start);
        if (descriptor >= 0) {
            (void)close(descriptor);
        }
    }
    bool is_page = n_read == (ssize_t)sizeof start && memcmp(start, HTML_PAGE_MARK, sizeof start) == 0;
    if (S_ISREG(at.st_mode) && (at.st_size == 0 || is_page)) {
        return LLAVAMED_OK;
    }
    (void)cli_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%.600s: exists, and is no report of these programs", path);
    cli_hint(error, "give --report another FILE, or remove this one");
    return LLAVAMED_STATUS_OUT_EXISTS;
}

/* A name beside the file; malloc'ed. */
static char *temporary_name(const char *path)
{
    char number[32];
    (void)snprintf(number, sizeof number, ".%ld.tmp", (long)getpid());
    char *folder = folder_of(path);
    char *hidden = folder == NULL ? NULL : joined(folder, "/.", name_of(path));
    char *temporary = hidden == NULL ? NULL : joined(hidden, "", number);
    free(folder);
    free(hidden);
    return temporary;
}

/* The file beside `path`; it is for the caller to close. */
static enum llavamed_status create_temporary(const char *path, const char *temporary, int *descriptor,
                                             struct llavamed_error *error)
{
    *descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    return *descriptor < 0 ? fail_errno(error, path) : LLAVAMED_OK;
}

static enum llavamed_status check_writable(const char *path, struct llavamed_error *error)
{
    char *temporary = temporary_name(path);
    int descriptor = -1;
    enum llavamed_status status =
        temporary == NULL ? fail_memory(error) : create_temporary(path, temporary, &descriptor, error);
    if (descriptor >= 0) {
        (void)close(descriptor);
        (void)unlink(temporary);
    }
    free(temporary);
    return status;
}

enum llavamed_status page_file_check(const char *path, const char *const *apart, size_t n_apart,
                                     struct llavamed_error *error)
{
    const char *name = name_of(path);
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return cli_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE, "%.600s: the report needs the name of a file", path);
    }
    errno = 0;
    char *file = resolved(path);
    if (file == NULL) {
        return errno == ENOMEM ? fail_memory(error) : fail_errno(error, path);
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_apart; i++) {
        status = apart[i] == NULL ? LLAVAMED_OK : check_apart(path, file, apart[i], error);
    }
    free(file);
    if (status == LLAVAMED_OK) {
        status = check_free(path, error);
    }
    return status == LLAVAMED_OK ? check_writable(path, error) : status;
}

/* ---- Writing ------------------------------------------------------------------------------------------------- */

enum llavamed_status page_file_begin(const char *path, struct page_file *page, struct llavamed_error *error)
{
    *page = (struct page_file){.path = path};
    page->stream = open_memstream(&page->bytes, &page->n_bytes);
    return page->stream == NULL ? fail_memory(error) : LLAVAMED_OK;
}

void page_file_abandon(struct page_file *page)
{
    if (page->stream != NULL) {
        (void)fclose(page->stream);
    }
    free(page->bytes);
    *page = (struct page_file){0};
}

static bool write_all(int descriptor, const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(descriptor, bytes, n_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

/* The name is on storage once its directory is; where a directory cannot be synced, nothing more can be done. */
static void sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int descriptor = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        (void)close(descriptor);
    }
    free(folder);
}

/* Under the name beside it, on storage, then renamed. */
static enum llavamed_status put(const struct page_file *page, const char *temporary, struct llavamed_error *error)
{
    int descriptor = -1;
    enum llavamed_status status = create_temporary(page->path, temporary, &descriptor, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool is_written = write_all(descriptor, page->bytes, page->n_bytes) && fsync(descriptor) == 0;
    if (!is_written) {
        status = fail_errno(error, page->path);
    }
    if (close(descriptor) != 0 && is_written) {
        status = fail_errno(error, page->path);
    }
    if (status == LLAVAMED_OK) {
        status = check_free(page->path, error);
    }
    if (status == LLAVAMED_OK && rename(temporary, page->path) != 0) {
        status = fail_errno(error, page->path);
    }
    if (status != LLAVAMED_OK) {
        (void)unlink(temporary);
    }
    return status;
}

enum llavamed_status page_file_finish(struct page_file *page, struct llavamed_error *error)
{
    bool is_whole = ferror(page->stream) == 0;
    is_whole = fclose(page->stream) == 0 && is_whole;
    page->stream = NULL;
    char *temporary = is_whole ? temporary_name(page->path) : NULL;
    enum llavamed_status status = temporary == NULL ? fail_memory(error) : put(page, temporary, error);
    if (status == LLAVAMED_OK) {
        sync_folder(page->path);
    }
    free(temporary);
    page_file_abandon(page);
    return status;
}
