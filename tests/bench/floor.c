/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain program that a merge is measured against: reads all bytes of two lists of files and writes as many bytes as
 * it is told, with nothing in between. It knows the tricks that make this fast, so that it is a floor and not a straw
 * man: several threads, large blocks, write-back started early, used pages of the cache let go. With --hash every
 * thread also takes the SHA-256 of what it writes: as much hashing as the merge does, on all cores, in whatever order
 * suits.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "integrity/digest.h"

#define FILES_MAX 256
#define THREADS_MAX 64
#define BLOCK_ALIGNMENT 4096
#define WRITE_BEHIND 4 /* blocks between a write and the wait for it */

static const char usage[] =
    "usage: floor [-a FILE]... [-b FILE]... --out DIR --out-bytes N [options]\n"
    "  --threads N          (2)\n"
    "  --block BYTES        (4194304)\n"
    "  --file-bytes N       largest output file (5000000000)\n"
    "  --cache drop|keep    let go of the cached pages behind reads and writes (drop)\n"
    "  --hash               also SHA-256 what is written, a stream for each thread\n"
    "  --output new|over    make new files, or write over the blocks of those that are there (new)\n";

/* A list of files seen as one run of bytes. */
struct stream {
    const char *paths[FILES_MAX];
    int fds[FILES_MAX];
    uint64_t ends[FILES_MAX]; /* running sums of the sizes */
    size_t n_files;
};

struct floor {
    struct stream inputs[2];
    struct stream output;
    uint64_t out_bytes;
    uint64_t file_bytes;
    uint64_t block_bytes;
    unsigned n_threads;
    bool drop;
    bool over;
    bool hash;
    const char *out;
    _Atomic uint64_t next;
};

_Noreturn static void die(const char *what, const char *detail)
{
    fprintf(stderr, "floor: error: %s: %s\n", what, detail);
    exit(1);
}

static uint64_t stream_bytes(const struct stream *stream)
{
    return stream->n_files == 0 ? 0 : stream->ends[stream->n_files - 1];
}

/* One positioned read or write of at most n_bytes; returns what was done. */
static size_t transfer(int fd, bool write, uint8_t *bytes, size_t n_bytes, uint64_t offset, const char *path)
{
    ssize_t n;
    do {
        n = write ? pwrite(fd, bytes, n_bytes, (off_t)offset) : pread(fd, bytes, n_bytes, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        die(path, n == 0 ? "ends too early" : strerror(errno));
    }
    return (size_t)n;
}

/* The part of stream bytes [offset, offset + n_bytes) that lies in one file, from its start on. */
struct range {
    size_t file;
    uint64_t offset; /* in the file */
    size_t n_bytes;
};

static struct range range_of(const struct stream *stream, uint64_t offset, size_t n_bytes)
{
    size_t file = 0;
    while (offset >= stream->ends[file]) {
        file++;
    }
    uint64_t left = stream->ends[file] - offset;
    uint64_t begin = file == 0 ? 0 : stream->ends[file - 1];
    return (struct range){.file = file, .offset = offset - begin, .n_bytes = left < n_bytes ? (size_t)left : n_bytes};
}

static void read_block(const struct floor *floor, const struct stream *stream, uint64_t offset, uint8_t *bytes)
{
    uint64_t total = stream_bytes(stream);
    for (size_t done = 0; done < floor->block_bytes && offset + done < total;) {
        struct range range = range_of(stream, offset + done, floor->block_bytes - done);
        int fd = stream->fds[range.file];
        size_t n = transfer(fd, false, bytes + done, range.n_bytes, range.offset, stream->paths[range.file]);
        if (floor->drop) {
            (void)posix_fadvise(fd, (off_t)range.offset, (off_t)n, POSIX_FADV_DONTNEED);
        }
        done += n;
    }
}

/* Waits for and lets go of a block that was written a while ago. */
static void forget_block(const struct floor *floor, uint64_t offset)
{
    uint64_t total = stream_bytes(&floor->output);
    for (uint64_t done = 0; done < floor->block_bytes && offset + done < total;) {
        struct range range = range_of(&floor->output, offset + done, (size_t)(floor->block_bytes - done));
        int fd = floor->output.fds[range.file];
        (void)sync_file_range(fd, (off_t)range.offset, (off_t)range.n_bytes,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        (void)posix_fadvise(fd, (off_t)range.offset, (off_t)range.n_bytes, POSIX_FADV_DONTNEED);
        done += range.n_bytes;
    }
}

static void write_block(const struct floor *floor, uint64_t offset, uint8_t *bytes)
{
    const struct stream *output = &floor->output;
    uint64_t total = stream_bytes(output);
    for (size_t done = 0; done < floor->block_bytes && offset + done < total;) {
        struct range range = range_of(output, offset + done, floor->block_bytes - done);
        int fd = output->fds[range.file];
        size_t n = transfer(fd, true, bytes + done, range.n_bytes, range.offset, output->paths[range.file]);
        if (floor->drop) {
            (void)sync_file_range(fd, (off_t)range.offset, (off_t)n, SYNC_FILE_RANGE_WRITE);
        }
        done += n;
    }
}

static void *work(void *argument)
{
    struct floor *floor = argument;
    uint64_t a_bytes = stream_bytes(&floor->inputs[0]);
    uint64_t b_bytes = stream_bytes(&floor->inputs[1]);
    uint64_t end = a_bytes > b_bytes ? a_bytes : b_bytes;
    end = end > floor->out_bytes ? end : floor->out_bytes;
    uint64_t written[WRITE_BEHIND];
    size_t n_written = 0;
    struct sha256_stream *sha256 = NULL;
    struct llavamed_error error;
    if (floor->hash && sha256_create(&sha256, &error) != LLAVAMED_OK) {
        die("SHA-256", error.message);
    }
    uint8_t *bytes[2];
    for (int i = 0; i < 2; i++) {
        bytes[i] = aligned_alloc(BLOCK_ALIGNMENT, floor->block_bytes);
        if (bytes[i] == NULL) {
            die("memory", "not enough for two blocks");
        }
        memset(bytes[i], 0x5a, floor->block_bytes);
    }
    uint64_t offset;
    while ((offset = atomic_fetch_add(&floor->next, floor->block_bytes)) < end) {
        read_block(floor, &floor->inputs[0], offset, bytes[0]);
        read_block(floor, &floor->inputs[1], offset, bytes[1]);
        if (offset < floor->out_bytes) {
            write_block(floor, offset, bytes[0]);
            uint64_t left = floor->out_bytes - offset;
            size_t n_hashed = left < floor->block_bytes ? (size_t)left : (size_t)floor->block_bytes;
            if (floor->hash && sha256_update(sha256, bytes[0], n_hashed, &error) != LLAVAMED_OK) {
                die("SHA-256", error.message);
            }
            uint64_t *slot = &written[n_written++ % WRITE_BEHIND];
            if (floor->drop && n_written > WRITE_BEHIND) {
                forget_block(floor, *slot);
            }
            *slot = offset;
        }
    }
    free(bytes[0]);
    free(bytes[1]);
    sha256_free(sha256);
    return NULL;
}

static void stream_open(struct stream *stream)
{
    for (size_t i = 0; i < stream->n_files; i++) {
        struct stat info;
        stream->fds[i] = open(stream->paths[i], O_RDONLY | O_CLOEXEC);
        if (stream->fds[i] < 0 || fstat(stream->fds[i], &info) != 0) {
            die(stream->paths[i], strerror(errno));
        }
        stream->ends[i] = (uint64_t)info.st_size + (i == 0 ? 0 : stream->ends[i - 1]);
    }
}

static void output_open(struct floor *floor)
{
    static char paths[FILES_MAX][4096];
    struct stream *output = &floor->output;
    for (uint64_t begin = 0; begin < floor->out_bytes; begin += floor->file_bytes) {
        size_t i = output->n_files++;
        if (output->n_files > FILES_MAX) {
            die(floor->out, "too many output files");
        }
        uint64_t left = floor->out_bytes - begin;
        (void)snprintf(paths[i], sizeof paths[i], "%s/floor-%zu", floor->out, i);
        output->paths[i] = paths[i];
        output->ends[i] = begin + (left < floor->file_bytes ? left : floor->file_bytes);
        output->fds[i] = open(paths[i], O_WRONLY | O_CLOEXEC | (floor->over ? 0 : O_CREAT | O_EXCL), 0666);
        if (output->fds[i] < 0) {
            die(paths[i], strerror(errno));
        }
    }
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void run(struct floor *floor)
{
    pthread_t threads[THREADS_MAX];
    double began = now();
    stream_open(&floor->inputs[0]);
    stream_open(&floor->inputs[1]);
    output_open(floor);
    for (unsigned i = 0; i < floor->n_threads; i++) {
        if (pthread_create(&threads[i], NULL, work, floor) != 0) {
            die("pthread_create", "failed");
        }
    }
    for (unsigned i = 0; i < floor->n_threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < floor->output.n_files; i++) {
        if (fdatasync(floor->output.fds[i]) != 0) {
            die(floor->output.paths[i], strerror(errno));
        }
    }
    double seconds = now() - began;
    double read_bytes = (double)(stream_bytes(&floor->inputs[0]) + stream_bytes(&floor->inputs[1]));
    printf("floor: %.3f s, read %.0f bytes (%.0f MB/s), wrote %.0f bytes (%.0f MB/s)\n", seconds, read_bytes,
           read_bytes / 1e6 / seconds, (double)floor->out_bytes, (double)floor->out_bytes / 1e6 / seconds);
}

static uint64_t count_of(const char *text, uint64_t least)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < least || value > INT64_MAX) {
        die(text, "not a count that makes sense here");
    }
    return value;
}

static void add_file(struct stream *stream, const char *path)
{
    if (stream->n_files == FILES_MAX) {
        die(path, "too many input files");
    }
    stream->paths[stream->n_files++] = path;
}

int main(int argc, char **argv)
{
    static struct floor floor = {.n_threads = 2, .block_bytes = 4194304, .file_bytes = 5000000000, .drop = true};
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'},
        {"out-bytes", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'},
        {"block", required_argument, NULL, 'k'},
        {"cache", required_argument, NULL, 'c'},
        {"output", required_argument, NULL, 'w'},
        {"file-bytes", required_argument, NULL, 'f'},
        {"hash", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int id;
    while ((id = getopt_long(argc, argv, "a:b:", options, NULL)) != -1) {
        switch (id) {
        case 'a':
        case 'b':
            add_file(&floor.inputs[id - 'a'], optarg);
            break;
        case 'o':
            floor.out = optarg;
            break;
        case 'n':
            floor.out_bytes = count_of(optarg, 0);
            break;
        case 't':
            floor.n_threads = (unsigned)count_of(optarg, 1);
            break;
        case 'k':
            floor.block_bytes = count_of(optarg, BLOCK_ALIGNMENT);
            break;
        case 'f':
            floor.file_bytes = count_of(optarg, BLOCK_ALIGNMENT);
            break;
        case 'c':
            floor.drop = strcmp(optarg, "keep") != 0;
            break;
        case 'h':
            floor.hash = true;
            break;
        case 'w':
            floor.over = strcmp(optarg, "over") == 0;
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != argc || floor.out == NULL || floor.n_threads > THREADS_MAX ||
        floor.block_bytes % BLOCK_ALIGNMENT != 0) {
        fputs(usage, stderr);
        return 2;
    }
    run(&floor);
    return 0;
}
