/* SPDX-License-Identifier: Apache-2.0 */
#include "io/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/checked.h"
#include "core/phase.h"
#include "io/block_tally.h"

#define WRITE_BYTES_MAX ((size_t)1 << 30)
#define WRITTEN_BLOCK_BYTES (UINT64_C(4) << 20)
/* Blocks on their way to storage before the oldest is waited for: far enough behind that the wait is short. */
#define BLOCKS_IN_FLIGHT 8

struct output_file {
    int fd;
    char *path;
    uint64_t n_bytes; /* announced at creation */
    _Atomic uint64_t written_bytes;
    atomic_bool start_writing;          /* false once sync_file_range has failed: the file system does not know it */
    atomic_int writing_errno;           /* the error of write-back that sync_file_range told, else 0 */
    struct block_tally *written_blocks; /* NULL: write-back is left to the system */
    pthread_mutex_t mutex;              /* over the two below */
    struct block_run in_flight[BLOCKS_IN_FLIGHT];
    size_t n_started; /* blocks started so far; the next one takes the place n_started % BLOCKS_IN_FLIGHT */
};

static bool is_out_of_space(int errno_value)
{
    return errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG;
}

static uint64_t free_bytes_of(int fd)
{
    struct statvfs info;
    uint64_t bytes = 0;
    if (fstatvfs(fd, &info) != 0 || !checked_mul_u64(info.f_bavail, info.f_frsize, &bytes)) {
        return 0;
    }
    return bytes;
}

static enum llavamed_status fail_create(struct llavamed_error *error, int errno_value, const char *path)
{
    enum llavamed_status status = errno_value == EEXIST          ? LLAVAMED_STATUS_OUT_EXISTS
                                  : is_out_of_space(errno_value) ? LLAVAMED_STATUS_OUT_SPACE
                                                                 : LLAVAMED_STATUS_OUT_UNWRITABLE;
    return llavamed_fail_errno(error, status, errno_value, "%s: cannot create the file", path);
}

/*
 * Reserves the blocks. Only a definite "no room" counts: a file system without fallocate, a sandbox that forbids it or
 * any other complaint leaves the writes to find out. fallocate and not posix_fallocate, which would write zeros.
 */
static enum llavamed_status reserve(int fd, const char *path, uint64_t n_bytes, struct llavamed_error *error)
{
    if (n_bytes == 0) {
        return LLAVAMED_OK;
    }
    if (n_bytes > INT64_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_SPACE, "%s: no file can be as large (want %llu bytes)", path,
                             (unsigned long long)n_bytes);
    }
    uint64_t free_bytes = free_bytes_of(fd);
    int result;
    do {
        result = fallocate(fd, 0, 0, (off_t)n_bytes);
    } while (result != 0 && errno == EINTR);
    if (result == 0 || !is_out_of_space(errno)) {
        return LLAVAMED_OK;
    }
    uint64_t missing = n_bytes > free_bytes ? n_bytes - free_bytes : 0;
    return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_SPACE, errno,
                               "%s: no room for the file (want %llu bytes, %llu free on its volume, %llu missing)",
                               path, (unsigned long long)n_bytes, (unsigned long long)free_bytes,
                               (unsigned long long)missing);
}

/* An old file that can be kept; -1 when there is none, or it is no plain file of that size or less. */
static int open_kept(const char *path, uint64_t n_bytes)
{
    struct stat info;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1 ||
                    (uint64_t)info.st_size > n_bytes)) {
        (void)close(fd);
        fd = -1;
    }
    if (fd < 0) {
        (void)unlink(path);
    }
    return fd;
}

enum llavamed_status output_file_create(const char *path, uint64_t n_bytes, bool keep, struct output_file **out,
                                        struct llavamed_error *error)
{
    enum llavamed_status status;
    struct output_file *file = calloc(1, sizeof *file);
    char *path_copy = strdup(path);
    int fd = -1;
    if (file == NULL || path_copy == NULL) {
        status = llavamed_fail_memory(error, sizeof *file + strlen(path), "an open file");
        goto out;
    }
    fd = keep ? open_kept(path, n_bytes) : -1;
    bool is_new = fd < 0;
    if (is_new) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    }
    if (fd < 0) {
        status = fail_create(error, errno, path);
        goto out;
    }
    status = reserve(fd, path, n_bytes, error);
    if (status != LLAVAMED_OK) {
        if (is_new) {
            (void)unlink(path);
        }
        goto out;
    }
    file->fd = fd;
    file->path = path_copy;
    file->n_bytes = n_bytes;
    atomic_init(&file->written_bytes, 0);
    atomic_init(&file->start_writing, true);
    atomic_init(&file->writing_errno, 0);
    file->written_blocks = n_bytes >= WRITTEN_BLOCK_BYTES ? block_tally_create(n_bytes, WRITTEN_BLOCK_BYTES) : NULL;
    (void)pthread_mutex_init(&file->mutex, NULL); /* cannot fail with default attributes on Linux */
    *out = file;
    file = NULL;
    path_copy = NULL;
    fd = -1;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path_copy);
    free(file);
    return status;
}

static void release(struct output_file *file)
{
    (void)pthread_mutex_destroy(&file->mutex);
    block_tally_free(file->written_blocks);
    free(file->path);
    free(file);
}

void output_file_close(struct output_file *file)
{
    if (file != NULL) {
        (void)close(file->fd);
        release(file);
    }
}

static enum llavamed_status fail_write(struct output_file *file, int errno_value, uint64_t left_bytes,
                                       struct llavamed_error *error)
{
    if (!is_out_of_space(errno_value)) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value, "%s: cannot write", file->path);
    }
    uint64_t written = atomic_load(&file->written_bytes);
    uint64_t to_come = max_u64(file->n_bytes > written ? file->n_bytes - written : 0, left_bytes);
    return llavamed_fail_errno(
        error, LLAVAMED_STATUS_OUT_SPACE, errno_value,
        "%s: no room to write on (%llu bytes of the file still to come, %llu free on its volume)", file->path,
        (unsigned long long)to_come, (unsigned long long)free_bytes_of(file->fd));
}

/* Puts a block into the ring; returns the one whose place it takes (of 0 bytes at first). */
static struct block_run exchange_in_flight(struct output_file *file, struct block_run block)
{
    (void)pthread_mutex_lock(&file->mutex);
    struct block_run *place = &file->in_flight[file->n_started++ % BLOCKS_IN_FLIGHT];
    struct block_run oldest = *place;
    *place = block;
    (void)pthread_mutex_unlock(&file->mutex);
    return oldest;
}

/* Linux tells an error of write-back once for each open file: what is told here, fsync does not tell again. */
static bool sync_range(struct output_file *file, struct block_run block, unsigned flags)
{
    if (sync_file_range(file->fd, (off_t)block.offset, (off_t)block.n_bytes, flags) == 0) {
        return true;
    }
    if (errno == EIO || is_out_of_space(errno)) {
        atomic_store(&file->writing_errno, errno);
    }
    atomic_store_explicit(&file->start_writing, false, memory_order_relaxed);
    return false;
}

/*
 * Starts write-back of a finished block, and gives back the pages of one written a while ago. So dirty pages never pile
 * up, the fsync at the end finds little left, and the page cache of the machine's other users stays theirs.
 */
static void start_block(struct output_file *file, struct block_run block)
{
    if (!sync_range(file, block, SYNC_FILE_RANGE_WRITE)) {
        return;
    }
    struct block_run oldest = exchange_in_flight(file, block);
    if (oldest.n_bytes > 0 &&
        sync_range(file, oldest, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)) {
        (void)posix_fadvise(file->fd, (off_t)oldest.offset, (off_t)oldest.n_bytes, POSIX_FADV_DONTNEED);
    }
}

static void write_behind(struct output_file *file, uint64_t offset, size_t n_bytes)
{
    struct block_run run = {offset, n_bytes};
    struct block_run block;
    while (file->written_blocks != NULL && run.n_bytes > 0) {
        if (block_tally_next(file->written_blocks, &run, &block) &&
            atomic_load_explicit(&file->start_writing, memory_order_relaxed)) {
            enum llavamed_phase before = phase_change(LLAVAMED_PHASE_SYNC);
            start_block(file, block);
            (void)phase_change(before);
        }
    }
}

static enum llavamed_status write_all(struct output_file *file, uint64_t offset, const void *bytes, size_t n_bytes,
                                      struct llavamed_error *error)
{
    const unsigned char *from = bytes;
    size_t done = 0;
    while (done < n_bytes) {
        size_t want = n_bytes - done < WRITE_BYTES_MAX ? n_bytes - done : WRITE_BYTES_MAX;
        ssize_t put = pwrite(file->fd, from + done, want, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return fail_write(file, put == 0 ? ENOSPC : errno, n_bytes - done, error);
        }
        phase_count(LLAVAMED_PHASE_WRITE, (uint64_t)put);
        done += (size_t)put;
        atomic_fetch_add(&file->written_bytes, (uint64_t)put);
    }
    return LLAVAMED_OK;
}

enum llavamed_status output_file_write(struct output_file *file, uint64_t offset, const void *bytes, size_t n_bytes,
                                       struct llavamed_error *error)
{
    uint64_t end;
    if (!checked_add_u64(offset, n_bytes, &end) || end > INT64_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_SPACE, "%s: no file can be as large (want %zu bytes at %llu)",
                             file->path, n_bytes, (unsigned long long)offset);
    }
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_WRITE);
    enum llavamed_status status = write_all(file, offset, bytes, n_bytes, error);
    if (status == LLAVAMED_OK) {
        write_behind(file, offset, n_bytes);
        int writing_errno = atomic_load(&file->writing_errno);
        status = writing_errno == 0 ? LLAVAMED_OK : fail_write(file, writing_errno, 0, error);
    }
    (void)phase_change(before);
    return status;
}

static bool read_all(const struct output_file *file, uint64_t offset, void *buffer, size_t n_bytes)
{
    uint8_t *to = buffer;
    while (n_bytes > 0) {
        ssize_t got = pread(file->fd, to, n_bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        phase_count(LLAVAMED_PHASE_READ, (uint64_t)got);
        to += got;
        offset += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
    return true;
}

bool output_file_read(struct output_file *file, uint64_t offset, void *buffer, size_t n_bytes)
{
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    bool is_read = read_all(file, offset, buffer, n_bytes);
    (void)phase_change(before);
    return is_read;
}

enum llavamed_status output_file_finish(struct output_file *file, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    int result;
    do {
        result = fsync(file->fd);
    } while (result != 0 && errno == EINTR);
    int errno_value = result != 0 ? errno : atomic_load(&file->writing_errno);
    if (errno_value != 0) {
        status = fail_write(file, errno_value, 0, error);
    }
    /* A network file system may tell only now that the quota is reached. EINTR has closed it all the same. */
    if (close(file->fd) != 0 && errno != EINTR && status == LLAVAMED_OK) {
        enum llavamed_status kind = is_out_of_space(errno) ? LLAVAMED_STATUS_OUT_SPACE : LLAVAMED_STATUS_OUT_UNWRITABLE;
        status = llavamed_fail_errno(error, kind, errno, "%s: cannot close the file", file->path);
    }
    release(file);
    return status;
}

enum llavamed_status output_file_write_whole(const char *path, const void *bytes, size_t n_bytes,
                                             struct llavamed_error *error)
{
    struct output_file *file = NULL;
    enum llavamed_status status = output_file_create(path, n_bytes, false, &file, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = output_file_write(file, 0, bytes, n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = output_file_finish(file, error);
    } else {
        output_file_close(file);
    }
    if (status != LLAVAMED_OK) {
        (void)unlink(path);
    }
    return status;
}
