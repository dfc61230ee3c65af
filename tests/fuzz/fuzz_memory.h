/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzz targets: how much memory a call had at most, and an input file made of the fuzzer's bytes. Without a
 * sanitizer's allocator the peak stays 0 and bounds on it hold trivially.
 */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/input_file.h"
#include "require.h"

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *)) __attribute__((weak));
size_t __sanitizer_get_allocated_size(const volatile void *memory) __attribute__((weak));

static size_t fuzz_memory_bytes;
static size_t fuzz_memory_peak_bytes;

static inline void fuzz_memory_on_malloc(const volatile void *memory, size_t n_bytes)
{
    (void)memory;
    fuzz_memory_bytes += n_bytes;
    if (fuzz_memory_bytes > fuzz_memory_peak_bytes) {
        fuzz_memory_peak_bytes = fuzz_memory_bytes;
    }
}

static inline void fuzz_memory_on_free(const volatile void *memory)
{
    size_t n_bytes = memory == NULL ? 0 : __sanitizer_get_allocated_size(memory);
    fuzz_memory_bytes -= n_bytes < fuzz_memory_bytes ? n_bytes : fuzz_memory_bytes;
}

/* Starts counting from 0. */
static inline void fuzz_memory_reset(void)
{
    static int installed;
    if (!installed && __sanitizer_install_malloc_and_free_hooks != NULL && __sanitizer_get_allocated_size != NULL) {
        (void)__sanitizer_install_malloc_and_free_hooks(fuzz_memory_on_malloc, fuzz_memory_on_free);
    }
    installed = 1;
    fuzz_memory_bytes = 0;
    fuzz_memory_peak_bytes = 0;
}

/* The bytes as a regular file without a name; close with input_file_close(). */
static inline struct input_file *fuzz_memory_file(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = NULL;
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && (n_bytes == 0 || write(fd, bytes, n_bytes) == (ssize_t)n_bytes));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    REQUIRE(input_file_open(path, &file, NULL) == LLAVAMED_OK);
    (void)close(fd);
    return file;
}

#endif
