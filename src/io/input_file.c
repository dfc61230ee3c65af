/* SPDX-License-Identifier: Apache-2.0 */
#include "io/input_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/phase.h"
#include "core/stop_signal.h"
#include "io/block_tally.h"

/* Linux moves at most 2 GiB less a page per call; some file systems dislike more than this. */
#define READ_BYTES_MAX ((size_t)1 << 30)

/* IOV_MAX of Linux. */
#define PIECES_MAX 1024

/*
 * What is read is given back in blocks of this size. Linux reads ahead beyond the end of a tensor (8 MiB are usual);
 * where another one lies there that was merged before, as in .bin files, its block is not complete yet, and cached.
 */
#define READ_BLOCK_BYTES (UINT64_C(32) << 20)

#define CACHE_SAMPLES 9
#define CACHE_SAMPLE_STEP_MIN (UINT64_C(1) << 20)

struct input_file {
    int fd;              /* -1 in memory */
    char *name;          /* owned: what messages say */
    char *path;          /* owned unless it is `name`: what was opened; NULL in memory */
    uint64_t base;       /* where in the opened file the bytes begin that are seen */
    uint64_t n_bytes;    /* how many are seen */
    uint64_t file_bytes; /* of the opened file */
    uint64_t device;
    uint64_t inode;
    struct timespec modified;
    struct block_tally *read_blocks; /* of the opened file. NULL unless that was not in the page cache when opened: then
                                        it need not be there afterwards either, and blocks are given back once read */
    struct input_run *runs;          /* owned; NULL unless in memory. None is empty */
    size_t n_runs;
    const volatile int *stop_signal; /* borrowed; may be NULL */
};

enum llavamed_status input_file_fail_open(struct llavamed_error *error, int errno_value, const char *path)
{
    enum llavamed_status status;
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
        status = LLAVAMED_STATUS_INPUT_MISSING;
        break;
    case EIO:
    case ESTALE:
    case EMFILE:
    case ENFILE:
        status = LLAVAMED_STATUS_IO;
        break;
    case ENOMEM:
        status = LLAVAMED_STATUS_NO_MEMORY;
        break;
    default:
        status = LLAVAMED_STATUS_INPUT_UNREADABLE;
        break;
    }
    return llavamed_fail_errno(error, status, errno_value, "%s: cannot open for reading", path);
}

bool input_file_is_failure(enum llavamed_status status)
{
    return status == LLAVAMED_STATUS_IO || status == LLAVAMED_STATUS_NO_MEMORY ||
           status == LLAVAMED_STATUS_INPUT_CHANGED;
}

static enum llavamed_status check_regular(const char *path, const struct stat *info, struct llavamed_error *error)
{
    if (S_ISREG(info->st_mode) && info->st_size >= 0) {
        return LLAVAMED_OK;
    }
    return llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNREADABLE, "%s: not a regular file%s", path,
                         S_ISDIR(info->st_mode) ? " (it is a directory)" : "");
}

/*
 * Whether most of a large range is missing in the page cache, from a few samples that never wait (RWF_NOWAIT), no more
 * than settle it. Small ones are not worth the question. A file system that cannot tell counts as "in the cache":
 * nothing is dropped then. Some kernels begin to read what such a look misses, so the places differ from one opening of
 * a file to the next.
 */
static bool is_cold(int fd, uint64_t base, uint64_t n_bytes)
{
    if (n_bytes < CACHE_SAMPLES * CACHE_SAMPLE_STEP_MIN) {
        return false;
    }
    int n_missing = 0;
    int n_there = 0;
    uint64_t step = n_bytes / CACHE_SAMPLES;
    uint64_t phase = clock_monotonic_ns() % step;
    while (n_missing <= CACHE_SAMPLES / 2 && n_there <= CACHE_SAMPLES / 2) {
        char byte;
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        uint64_t offset = step * (uint64_t)(n_missing + n_there) + phase;
        bool missing = preadv2(fd, &vector, 1, (off_t)(base + offset), RWF_NOWAIT) < 0;
        if (missing && errno != EAGAIN) {
            return false;
        }
        n_missing += missing;
        n_there += !missing;
    }
    return n_missing > n_there;
}

/* O_NONBLOCK so that a FIFO without a writer is refused below instead of waited for. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Messages call it `name`. */
static enum llavamed_status open_regular(const char *path, const char *name, bool follow, int *out, struct stat *info,
                                         struct llavamed_error *error)
{
    int fd = follow ? open(path, OPEN_FLAGS) : open(path, OPEN_FLAGS | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, info) != 0) {
        int open_errno = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return input_file_fail_open(error, open_errno, name);
    }
    enum llavamed_status status = check_regular(name, info, error);
    if (status != LLAVAMED_OK) {
        (void)close(fd);
        return status;
    }
    (void)fcntl(fd, F_SETFL, 0);
    *out = fd;
    return LLAVAMED_OK;
}

/* How a file is opened. */
struct opening {
    const char *path;
    const char *name;              /* what messages say; NULL: the path */
    bool is_plain;                 /* links are not followed */
    const struct block_run *range; /* NULL: all of the file */
};

static enum llavamed_status open_range(const struct opening *opening, struct input_file **out,
                                       struct llavamed_error *error)
{
    const char *path = opening->path;
    const char *name = opening->name;
    struct stat info;
    struct input_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return llavamed_fail_memory(error, sizeof *file, "an open file");
    }
    file->fd = -1;
    file->path = strdup(path);
    file->name = name == NULL ? file->path : strdup(name);
    enum llavamed_status status;
    if (file->path == NULL || file->name == NULL) {
        status = llavamed_fail_memory(error, strlen(path), "the name of an open file");
        goto out;
    }
    /* A failure to open a part is one of the file that it lies in. */
    const char *shown = opening->range == NULL ? file->name : path;
    status = open_regular(path, shown, !opening->is_plain, &file->fd, &info, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    file->file_bytes = (uint64_t)info.st_size;
    const struct block_run range =
        opening->range == NULL ? (struct block_run){0, file->file_bytes} : *opening->range;
    if (range.offset > file->file_bytes || range.n_bytes > file->file_bytes - range.offset) {
        status = llavamed_fail(
            error, LLAVAMED_STATUS_INPUT_TRUNCATED,
            "%s: the file that holds it ends too early (it has %llu bytes, want %llu at offset %llu)", name,
            (unsigned long long)file->file_bytes, (unsigned long long)range.n_bytes, (unsigned long long)range.offset);
        goto out;
    }
    file->base = range.offset;
    file->n_bytes = range.n_bytes;
    file->device = (uint64_t)info.st_dev;
    file->inode = (uint64_t)info.st_ino;
    file->modified = info.st_mtim;
    if (is_cold(file->fd, file->base, file->n_bytes)) {
        file->read_blocks = block_tally_create(file->file_bytes, READ_BLOCK_BYTES);
    }
    *out = file;
    file = NULL;
out:
    input_file_close(file);
    return status;
}

enum llavamed_status input_file_open(const char *path, struct input_file **out, struct llavamed_error *error)
{
    const struct opening opening = {.path = path};
    return open_range(&opening, out, error);
}

enum llavamed_status input_file_open_plain(const char *path, const char *name, struct input_file **out,
                                           struct llavamed_error *error)
{
    const struct opening opening = {.path = path, .name = name, .is_plain = true};
    return open_range(&opening, out, error);
}

enum llavamed_status input_file_open_part(const char *path, const char *name, uint64_t offset, uint64_t n_bytes,
                                          struct input_file **out, struct llavamed_error *error)
{
    const struct block_run range = {offset, n_bytes};
    const struct opening opening = {.path = path, .name = name, .range = &range};
    return open_range(&opening, out, error);
}

enum llavamed_status input_file_open_memory(const char *name, uint64_t file_bytes, const struct input_run *runs,
                                            size_t n_runs, struct input_file **out, struct llavamed_error *error)
{
    struct input_file *file = calloc(1, sizeof *file);
    char *name_copy = strdup(name);
    /* One more: calloc(0) may be NULL, which would not be "in memory". */
    struct input_run *copies = calloc(n_runs + 1, sizeof *copies);
    if (file == NULL || name_copy == NULL || copies == NULL) {
        free(copies);
        free(name_copy);
        free(file);
        return llavamed_fail_memory(error, n_runs * sizeof *copies, "a file in memory");
    }
    *file = (struct input_file){.fd = -1, .name = name_copy, .n_bytes = file_bytes, .runs = copies};
    uint64_t end = 0;
    for (size_t i = 0; i < n_runs; i++) {
        assert(runs[i].offset >= end && runs[i].offset <= file_bytes && runs[i].n_bytes <= file_bytes - runs[i].offset);
        end = runs[i].offset + runs[i].n_bytes;
        if (runs[i].n_bytes > 0) {
            file->runs[file->n_runs++] = runs[i];
        }
    }
    *out = file;
    return LLAVAMED_OK;
}

void input_file_close(struct input_file *file)
{
    if (file != NULL) {
        if (file->fd >= 0) {
            (void)close(file->fd);
        }
        block_tally_free(file->read_blocks);
        free(file->runs);
        if (file->path != file->name) {
            free(file->path);
        }
        free(file->name);
        free(file);
    }
}

void input_file_heed(struct input_file *file, const volatile int *stop_signal)
{
    file->stop_signal = stop_signal;
}

const char *input_file_path(const struct input_file *file)
{
    return file->name;
}

uint64_t input_file_bytes(const struct input_file *file)
{
    return file->n_bytes;
}

uint64_t input_file_device(const struct input_file *file)
{
    return file->device;
}

uint64_t input_file_inode(const struct input_file *file)
{
    return file->inode;
}

uint64_t input_file_modified_ns(const struct input_file *file)
{
    return (uint64_t)file->modified.tv_sec * 1000000000u + (uint64_t)file->modified.tv_nsec;
}

static void drop_behind(const struct input_file *file, uint64_t offset, uint64_t n_bytes)
{
    /* Blocks are those of the opened file: one that a part shares with its neighbours never fills up and stays. */
    struct block_run run = {file->base + offset, n_bytes};
    struct block_run block;
    while (file->read_blocks != NULL && run.n_bytes > 0) {
        if (block_tally_next(file->read_blocks, &run, &block)) {
            (void)posix_fadvise(file->fd, (off_t)block.offset, (off_t)block.n_bytes, POSIX_FADV_DONTNEED);
        }
    }
}

static enum llavamed_status check_range(const struct input_file *file, uint64_t offset, size_t n_bytes,
                                        struct llavamed_error *error)
{
    if (offset > file->n_bytes || n_bytes > file->n_bytes - offset) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                             "%s: the file ends too early (it has %llu bytes, want %llu at offset %llu)", file->name,
                             (unsigned long long)file->n_bytes, (unsigned long long)n_bytes,
                             (unsigned long long)offset);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status fail_read(const struct input_file *file, uint64_t offset, int errno_value,
                                      struct llavamed_error *error)
{
    return llavamed_fail_errno(error, LLAVAMED_STATUS_IO, errno_value, "%s: cannot read at offset %llu", file->name,
                               (unsigned long long)offset);
}

/* How many runs begin at or before `offset`. */
static size_t runs_up_to(const struct input_file *file, uint64_t offset)
{
    size_t low = 0;
    size_t high = file->n_runs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->runs[middle].offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The range is inside the file. */
static enum llavamed_status read_runs(const struct input_file *file, uint64_t offset, void *buffer, size_t n_bytes,
                                      struct llavamed_error *error)
{
    unsigned char *to = buffer;
    size_t next = runs_up_to(file, offset);
    next -= next > 0;
    for (; n_bytes > 0; next++) {
        const struct input_run *run = &file->runs[next];
        if (next == file->n_runs || offset < run->offset || offset - run->offset >= run->n_bytes) {
            return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                                 "%s: only parts of this file are in memory (want %llu bytes at offset %llu)",
                                 file->name, (unsigned long long)n_bytes, (unsigned long long)offset);
        }
        size_t skip = (size_t)(offset - run->offset);
        size_t part = (size_t)min_u64(n_bytes, run->n_bytes - skip);
        memcpy(to, (const unsigned char *)run->bytes + skip, part);
        to += part;
        offset += part;
        n_bytes -= part;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_runs_pieces(const struct input_file *file, uint64_t offset, const struct iovec *pieces,
                                             size_t n_pieces, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_pieces; i++) {
        status = read_runs(file, offset, pieces[i].iov_base, pieces[i].iov_len, error);
        offset += pieces[i].iov_len;
    }
    return status;
}

static enum llavamed_status read_plainly(const struct input_file *file, uint64_t offset, void *buffer,
                                         size_t n_bytes, struct llavamed_error *error)
{
    unsigned char *to = buffer;
    while (n_bytes > 0) {
        size_t want = n_bytes < READ_BYTES_MAX ? n_bytes : READ_BYTES_MAX;
        ssize_t got = pread(file->fd, to, want, (off_t)(file->base + offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_read(file, offset, errno, error);
        }
        if (got == 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED,
                                 "%s: the file became shorter while it was read (it had %llu bytes, ends at %llu)",
                                 file->name, (unsigned long long)file->n_bytes, (unsigned long long)offset);
        }
        phase_count(LLAVAMED_PHASE_READ, (uint64_t)got);
        to += got;
        offset += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
    return LLAVAMED_OK;
}

enum llavamed_status input_file_read_near(struct input_file *file, uint64_t offset, void *buffer, size_t n_bytes,
                                          struct llavamed_error *error)
{
    enum llavamed_status status = check_range(file, offset, n_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (file->runs != NULL) {
        return read_runs(file, offset, buffer, n_bytes, error);
    }
    status = stop_signal_check(file->stop_signal, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    status = read_plainly(file, offset, buffer, n_bytes, error);
    (void)phase_change(before);
    return status;
}

enum llavamed_status input_file_read(struct input_file *file, uint64_t offset, void *buffer, size_t n_bytes,
                                     struct llavamed_error *error)
{
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    enum llavamed_status status = input_file_read_near(file, offset, buffer, n_bytes, error);
    if (status == LLAVAMED_OK) {
        drop_behind(file, offset, n_bytes);
    }
    (void)phase_change(before);
    return status;
}

enum llavamed_status input_file_read_pieces(struct input_file *file, uint64_t offset, const struct iovec *pieces,
                                            size_t n_pieces, struct llavamed_error *error)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        assert(pieces[i].iov_len > 0);
        n_bytes += pieces[i].iov_len;
    }
    enum llavamed_status status = check_range(file, offset, n_bytes, error);
    if (status == LLAVAMED_OK && file->runs != NULL) {
        return read_runs_pieces(file, offset, pieces, n_pieces, error);
    }
    if (status == LLAVAMED_OK) {
        status = stop_signal_check(file->stop_signal, error);
    }
    size_t next = 0;
    while (status == LLAVAMED_OK && next < n_pieces) {
        size_t batch = n_pieces - next < PIECES_MAX ? n_pieces - next : PIECES_MAX;
        ssize_t got = preadv(file->fd, pieces + next, (int)batch, (off_t)(file->base + offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_read(file, offset, errno, error);
        }
        phase_count(LLAVAMED_PHASE_READ, (uint64_t)got);
        drop_behind(file, offset, (uint64_t)got);
        size_t left = (size_t)got;
        while (next < n_pieces && pieces[next].iov_len <= left) {
            left -= pieces[next].iov_len;
            offset += pieces[next].iov_len;
            next++;
        }
        /* A read that stopped inside a piece, or at once: the plain read completes that piece or says what is wrong. */
        if (next < n_pieces && (left > 0 || got == 0)) {
            status = input_file_read(file, offset + left, (char *)pieces[next].iov_base + left,
                                     pieces[next].iov_len - left, error);
            offset += pieces[next].iov_len;
            next++;
        }
    }
    return status;
}

void input_file_drop_cache(struct input_file *file)
{
    /* A length of 0 would mean "to the end". */
    if (file->n_bytes > 0 && file->runs == NULL) {
        (void)posix_fadvise(file->fd, (off_t)file->base, (off_t)file->n_bytes, POSIX_FADV_DONTNEED);
    }
}

void input_file_drop_sparse(const char *path)
{
    struct input_file *file = NULL;
    if (input_file_open(path, &file, NULL) != LLAVAMED_OK) {
        return;
    }
    if (file->read_blocks != NULL) {
        input_file_drop_cache(file);
    }
    input_file_close(file);
}

static bool same_content(const struct input_file *file, const struct stat *info)
{
    return (uint64_t)info->st_size == file->file_bytes && info->st_mtim.tv_sec == file->modified.tv_sec &&
           info->st_mtim.tv_nsec == file->modified.tv_nsec;
}

enum llavamed_status input_file_check_unchanged(struct input_file *file, struct llavamed_error *error)
{
    struct stat opened;
    struct stat named;
    if (file->runs != NULL) {
        return LLAVAMED_OK;
    }
    if (fstat(file->fd, &opened) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_IO, errno, "%s: cannot look at the open file", file->name);
    }
    if (!same_content(file, &opened)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED, "%s: the file changed while it was read",
                             file->name);
    }
    if (stat(file->path, &named) != 0 || (uint64_t)named.st_dev != file->device ||
        (uint64_t)named.st_ino != file->inode) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED,
                             "%s: the file was replaced or removed while it was read", file->name);
    }
    return LLAVAMED_OK;
}

enum llavamed_status input_file_read_all(struct input_file *file, size_t max_bytes, char **bytes, size_t *n_bytes,
                                         struct llavamed_error *error)
{
    if (file->n_bytes > max_bytes || file->n_bytes >= SIZE_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: the file is too large (got %llu bytes, want at most %zu)", file->name,
                             (unsigned long long)file->n_bytes, max_bytes);
    }
    size_t size = (size_t)file->n_bytes;
    char *text = malloc(size + 1);
    if (text == NULL) {
        return llavamed_fail_memory(error, file->n_bytes + 1, "a small file");
    }
    enum llavamed_status status = input_file_read(file, 0, text, size, error);
    if (status != LLAVAMED_OK) {
        free(text);
        return status;
    }
    text[size] = '\0';
    *bytes = text;
    *n_bytes = size;
    return LLAVAMED_OK;
}

enum llavamed_status input_file_read_whole(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes,
                                           struct llavamed_error *error)
{
    struct input_file *file = NULL;
    enum llavamed_status status = input_file_open(path, &file, error);
    if (status == LLAVAMED_OK) {
        status = input_file_read_all(file, max_bytes, bytes, n_bytes, error);
        input_file_close(file);
    }
    return status;
}
