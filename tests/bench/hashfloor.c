/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hashfloor FILE... | hashfloor --memory BYTES...: what verifying costs at least. A thread for each argument hashes a
 * file from front to back, in pieces of 64 KiB that pread(2) gives, or as many bytes of memory that stay in the cache:
 * libcrypto's own rate of SHA-256. One line: "seconds=S cpu=S".
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define THREADS_MAX 64

static bool in_memory;

static double now(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* How many bytes of the piece are next. */
static size_t next_bytes(int fd, uint8_t *piece, uint64_t offset, uint64_t n_bytes)
{
    if (in_memory) {
        return n_bytes - offset < PIECE_BYTES ? (size_t)(n_bytes - offset) : PIECE_BYTES;
    }
    ssize_t n = pread(fd, piece, PIECE_BYTES, (off_t)offset);
    if (n < 0) {
        perror("pread");
        exit(1);
    }
    return (size_t)n;
}

static void *hash(void *argument)
{
    const char *text = argument;
    uint8_t *piece = calloc(1, PIECE_BYTES);
    uint64_t n_bytes = in_memory ? strtoull(text, NULL, 10) : 0;
    int fd = in_memory ? -1 : open(text, O_RDONLY | O_CLOEXEC);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (piece == NULL || context == NULL || (!in_memory && fd < 0) ||
        EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        perror(text);
        exit(1);
    }
    uint64_t offset = 0;
    for (size_t n; (n = next_bytes(fd, piece, offset, n_bytes)) > 0; offset += n) {
        (void)EVP_DigestUpdate(context, piece, n);
    }
    uint8_t digest[EVP_MAX_MD_SIZE];
    (void)EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    free(piece);
    if (fd >= 0) {
        (void)close(fd);
    }
    return NULL;
}

int main(int argc, char *argv[])
{
    pthread_t threads[THREADS_MAX];
    in_memory = argc > 1 && strcmp(argv[1], "--memory") == 0;
    int first = in_memory ? 2 : 1;
    if (argc <= first || argc - first > THREADS_MAX) {
        (void)fprintf(stderr, "usage: hashfloor FILE... | hashfloor --memory BYTES...\n");
        return 2;
    }
    double began = now(CLOCK_MONOTONIC);
    for (int i = first; i < argc; i++) {
        if (pthread_create(&threads[i - first], NULL, hash, argv[i]) != 0) {
            return 1;
        }
    }
    for (int i = first; i < argc; i++) {
        (void)pthread_join(threads[i - first], NULL);
    }
    printf("seconds=%.4f cpu=%.4f\n", now(CLOCK_MONOTONIC) - began, now(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
