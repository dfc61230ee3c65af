/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's file. Entries are written at an offset kept under a mutex and not with O_APPEND: after a write that
 * failed half-way the next one takes its place.
 */
#include "merge/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/journal_parts.h"

struct journal {
    int fd;
    char *path; /* owned */
    uint32_t header_crc32;
    struct journal_list loaded;
    pthread_mutex_t mutex; /* over n_bytes and the order of writes */
    uint64_t n_bytes;      /* where the next entry goes */
    atomic_bool spoiled;
};

/* ---- The file ---- */

static enum llavamed_status fail_write(int errno_value, const char *path, const char *what,
                                       struct llavamed_error *error)
{
    bool space = errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG;
    enum llavamed_status status = space                   ? LLAVAMED_STATUS_OUT_SPACE
                                  : errno_value == EEXIST ? LLAVAMED_STATUS_OUT_EXISTS
                                                          : LLAVAMED_STATUS_OUT_UNWRITABLE;
    (void)llavamed_fail_errno(error, status, errno_value, "%s: cannot %s the journal", path, what);
    if (space) {
        llavamed_hint(error, "make room on its volume and run the same command again");
    }
    return status;
}

static enum llavamed_status write_at(int fd, const char *path, uint64_t offset, const uint8_t *bytes, size_t n_bytes,
                                     struct llavamed_error *error)
{
    size_t done = 0;
    while (done < n_bytes) {
        ssize_t put = pwrite(fd, bytes + done, n_bytes - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return fail_write(put == 0 ? ENOSPC : errno, path, "write", error);
        }
        done += (size_t)put;
    }
    return LLAVAMED_OK;
}

/* *n_got is less than wanted where the file ends earlier. */
static enum llavamed_status read_start(int fd, const char *path, uint8_t *bytes, size_t n_bytes, size_t *n_got,
                                       struct llavamed_error *error)
{
    size_t done = 0;
    while (done < n_bytes) {
        ssize_t got = pread(fd, bytes + done, n_bytes - done, (off_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return llavamed_fail_errno(error, LLAVAMED_STATUS_IO, errno, "%s: cannot read the journal", path);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *n_got = done;
    return LLAVAMED_OK;
}

static enum llavamed_status cut_file(int fd, const char *path, uint64_t n_bytes, struct llavamed_error *error)
{
    int result;
    do {
        result = ftruncate(fd, (off_t)n_bytes);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? LLAVAMED_OK : fail_write(errno, path, "shorten", error);
}

/* ---- Opening ---- */

/* Without a file. */
static enum llavamed_status allocate(const char *path, struct journal **out, struct llavamed_error *error)
{
    struct journal *journal = calloc(1, sizeof *journal);
    char *path_copy = strdup(path);
    if (journal == NULL || path_copy == NULL) {
        free(journal);
        free(path_copy);
        return llavamed_fail_memory(error, sizeof *journal + strlen(path), "a journal");
    }
    journal->fd = -1;
    journal->path = path_copy;
    atomic_init(&journal->spoiled, false);
    (void)pthread_mutex_init(&journal->mutex, NULL); /* cannot fail with default attributes on Linux */
    *out = journal;
    return LLAVAMED_OK;
}

void journal_close(struct journal *journal)
{
    if (journal != NULL) {
        if (journal->fd >= 0) {
            (void)close(journal->fd);
        }
        (void)pthread_mutex_destroy(&journal->mutex);
        journal_list_deinit(&journal->loaded);
        free(journal->path);
        free(journal);
    }
}

enum llavamed_status journal_create(const char *path, const struct journal_key *key, struct journal **out,
                                    struct llavamed_error *error)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    struct journal *journal = NULL;
    enum llavamed_status status = allocate(path, &journal, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    journal->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    if (journal->fd < 0) {
        status = fail_write(errno, path, "create", error);
        goto out;
    }
    journal->header_crc32 = journal_encode_header(key, header);
    journal->n_bytes = sizeof header;
    status = write_at(journal->fd, path, 0, header, sizeof header, error);
    if (status != LLAVAMED_OK) {
        (void)unlink(path);
        goto out;
    }
    *out = journal;
    journal = NULL;
out:
    journal_close(journal);
    return status;
}

bool journal_is_at(const char *path)
{
    struct stat info;
    uint8_t magic[sizeof JOURNAL_MAGIC - 1];
    size_t n_got = 0;
    struct llavamed_error unused;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return false;
    }
    bool is_journal = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                      read_start(fd, path, magic, sizeof magic, &n_got, &unused) == LLAVAMED_OK &&
                      n_got == sizeof magic && memcmp(magic, JOURNAL_MAGIC, sizeof magic) == 0;
    (void)close(fd);
    return is_journal;
}

/* The file, or a state that says why there is none. Links are not followed: the file may be written to. */
static enum llavamed_status open_old(const char *path, int *fd, size_t *n_bytes, enum journal_state *state,
                                     struct llavamed_error *error)
{
    struct stat info;
    *state = JOURNAL_DAMAGED;
    *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 && errno == ENOENT) {
        *state = JOURNAL_MISSING;
        return LLAVAMED_OK;
    }
    if (*fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO)) {
        return LLAVAMED_OK;
    }
    if (*fd < 0 || fstat(*fd, &info) != 0) {
        return fail_write(errno, path, "open", error);
    }
    if (S_ISREG(info.st_mode) && info.st_size >= JOURNAL_HEADER_BYTES && info.st_size <= JOURNAL_BYTES_MAX) {
        *n_bytes = (size_t)info.st_size;
        *state = JOURNAL_SAME;
    }
    return LLAVAMED_OK;
}

/* Reads the header. */
static enum llavamed_status judge_old(struct journal *journal, const struct journal_key *key,
                                      struct journal_found *found, struct llavamed_error *error)
{
    uint8_t header[JOURNAL_HEADER_BYTES];
    size_t n_got = 0;
    enum llavamed_status status = read_start(journal->fd, journal->path, header, sizeof header, &n_got, error);
    if (status == LLAVAMED_OK) {
        found->state = n_got < sizeof header ? JOURNAL_DAMAGED : journal_judge_header(header, key, &found->part);
        journal->header_crc32 = journal_encode_header(key, header);
    }
    return status;
}

/* Reads the entries of a file of n_bytes and cuts off what is not whole. */
static enum llavamed_status load_old(struct journal *journal, size_t n_bytes, const struct journal_bounds *bounds,
                                     uint64_t *cut_bytes, struct llavamed_error *error)
{
    size_t n_got = 0;
    size_t whole_bytes = 0;
    uint8_t *bytes = malloc(n_bytes);
    if (bytes == NULL) {
        return llavamed_fail_memory(error, n_bytes, "a journal");
    }
    enum llavamed_status status = read_start(journal->fd, journal->path, bytes, n_bytes, &n_got, error);
    if (status == LLAVAMED_OK && n_got < JOURNAL_HEADER_BYTES) {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_IO, "%s: the journal became shorter while it was read", journal->path);
    }
    if (status == LLAVAMED_OK) {
        const struct journal_text text = {bytes + JOURNAL_HEADER_BYTES, n_got - JOURNAL_HEADER_BYTES,
                                          journal->header_crc32};
        status = journal_list_load(&text, bounds, &journal->loaded, &whole_bytes, error);
    }
    free(bytes);
    if (status == LLAVAMED_OK) {
        journal->n_bytes = JOURNAL_HEADER_BYTES + whole_bytes;
        *cut_bytes = n_bytes - journal->n_bytes;
        status = *cut_bytes > 0 ? cut_file(journal->fd, journal->path, journal->n_bytes, error) : LLAVAMED_OK;
    }
    return status;
}

enum llavamed_status journal_continue(const char *path, const struct journal_key *key,
                                      const struct journal_bounds *bounds, struct journal_found *found,
                                      struct llavamed_error *error)
{
    struct journal_found made = {0};
    struct journal *journal = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = allocate(path, &journal, error);
    if (status == LLAVAMED_OK) {
        status = open_old(path, &journal->fd, &n_bytes, &made.state, error);
    }
    if (status == LLAVAMED_OK && made.state == JOURNAL_SAME) {
        status = judge_old(journal, key, &made, error);
    }
    if (status == LLAVAMED_OK && made.state == JOURNAL_SAME) {
        status = load_old(journal, n_bytes, bounds, &made.cut_bytes, error);
    }
    if (status == LLAVAMED_OK && made.state == JOURNAL_SAME) {
        made.journal = journal;
        journal = NULL;
    }
    journal_close(journal);
    if (status == LLAVAMED_OK) {
        *found = made;
    }
    return status;
}

/* ---- Use ---- */

size_t journal_entries(const struct journal *journal, const struct journal_entry **entries)
{
    *entries = journal->loaded.entries;
    return journal->loaded.n_entries;
}

void journal_set_entries(struct journal *journal, struct journal_entry *entries, size_t n_entries)
{
    free(journal->loaded.entries);
    journal->loaded.entries = entries;
    journal->loaded.n_entries = n_entries;
}

void journal_spoil(struct journal *journal)
{
    atomic_store(&journal->spoiled, true);
}

bool journal_is_spoiled(const struct journal *journal)
{
    return atomic_load(&journal->spoiled);
}

const struct journal_entry *journal_find(const struct journal *journal, uint64_t tensor, uint64_t first_elem,
                                         uint64_t *next_elem)
{
    const struct journal_list *list = &journal->loaded;
    size_t low = 0;
    size_t high = list->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct journal_entry *entry = &list->entries[middle];
        if (entry->tensor < tensor || (entry->tensor == tensor && entry->first_elem < first_elem)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct journal_entry *found = NULL;
    if (low < list->n_entries && list->entries[low].tensor == tensor && list->entries[low].first_elem == first_elem) {
        found = &list->entries[low++];
    }
    bool more = low < list->n_entries && list->entries[low].tensor == tensor;
    *next_elem = more ? list->entries[low].first_elem : UINT64_MAX;
    return found;
}

enum llavamed_status journal_append(struct journal *journal, const struct journal_entry *entry,
                                    struct llavamed_error *error)
{
    uint8_t bytes[JOURNAL_ENTRY_BYTES_MAX];
    enum llavamed_status status = LLAVAMED_OK;
    size_t n_bytes = journal_encode_entry(entry, journal->header_crc32, bytes);
    (void)pthread_mutex_lock(&journal->mutex);
    if (n_bytes <= JOURNAL_BYTES_MAX - journal->n_bytes) {
        status = write_at(journal->fd, journal->path, journal->n_bytes, bytes, n_bytes, error);
        journal->n_bytes += status == LLAVAMED_OK ? n_bytes : 0;
    }
    (void)pthread_mutex_unlock(&journal->mutex);
    return status;
}

enum llavamed_status journal_sync(struct journal *journal, struct llavamed_error *error)
{
    int result;
    do {
        result = fsync(journal->fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? LLAVAMED_OK : fail_write(errno, journal->path, "sync", error);
}
