/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations, class "alloc": of the program, of its libraries, and of libc for them. Those that the program, cJSON and
 * zlib make are watched: what is left at exit is a leak. (libc and libcrypto keep some for good.)
 */
#include "shim.h"

#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* dlsym() may allocate before the real functions are known: from here, and never given back. */
#define EARLY_BYTES 65536
#define WATCHED_MAX (1U << 17)
#define RANGES_MAX 64
#define REMOVED ((void *)1)

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    char *(*realpath)(const char *, char *);
    bool known;
    bool searching;
} next;

static _Alignas(64) unsigned char early[EARLY_BYTES];
static atomic_size_t early_used;

static struct {
    uintptr_t begin;
    uintptr_t end;
} ranges[RANGES_MAX];
static size_t n_ranges;

static atomic_flag watched_lock = ATOMIC_FLAG_INIT;
static void *watched[WATCHED_MAX];
static size_t n_watched;

static bool find_next(void)
{
    if (!next.known && !next.searching) {
        next.searching = true;
        next.malloc = NEXT(void *(*)(size_t), malloc);
        next.calloc = NEXT(void *(*)(size_t, size_t), calloc);
        next.realloc = NEXT(void *(*)(void *, size_t), realloc);
        next.free = NEXT(void (*)(void *), free);
        next.aligned_alloc = NEXT(void *(*)(size_t, size_t), aligned_alloc);
        next.posix_memalign = NEXT(int (*)(void **, size_t, size_t), posix_memalign);
        next.realpath = NEXT(char *(*)(const char *, char *), realpath);
        next.known = true;
    }
    return next.known;
}

static void *allocate_early(size_t n_bytes)
{
    size_t begin = atomic_fetch_add(&early_used, (n_bytes + 63) / 64 * 64);
    return begin + n_bytes <= EARLY_BYTES ? early + begin : NULL;
}

static bool is_early(const void *pointer)
{
    return (uintptr_t)pointer >= (uintptr_t)early && (uintptr_t)pointer < (uintptr_t)early + EARLY_BYTES;
}

/* ---- Watching ---- */

static int add_ranges(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    bool is_program = info->dlpi_name[0] == '\0';
    if (!is_program && strstr(info->dlpi_name, "libcjson") == NULL && strstr(info->dlpi_name, "libz.") == NULL) {
        return 0;
    }
    for (size_t i = 0; i < info->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) != 0) {
            ranges[n_ranges].begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[n_ranges].end = ranges[n_ranges].begin + info->dlpi_phdr[i].p_memsz;
            n_ranges++;
        }
    }
    return 0;
}

void watch_init(void)
{
    (void)dl_iterate_phdr(add_ranges, NULL);
}

static void lock(void)
{
    while (atomic_flag_test_and_set(&watched_lock)) {
    }
}

/* The slot of a pointer; of NULL and REMOVED, a free one for `pointer`. */
static size_t find_slot(const void *pointer, const void *wanted)
{
    size_t slot = ((uintptr_t)pointer >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (WATCHED_MAX - 1);
    while (watched[slot] != wanted && watched[slot] != NULL && (wanted != NULL || watched[slot] != REMOVED)) {
        slot = (slot + 1) & (WATCHED_MAX - 1);
    }
    return slot;
}

void watch_allocation(void *pointer, const void *caller)
{
    bool is_watched = false;
    for (size_t i = 0; i < n_ranges && !is_watched; i++) {
        is_watched = (uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end;
    }
    if (pointer == NULL || !is_watched) {
        return;
    }
    lock();
    if (n_watched < WATCHED_MAX / 2) {
        watched[find_slot(pointer, NULL)] = pointer;
        n_watched++;
    }
    atomic_flag_clear(&watched_lock);
}

static bool forget_allocation(void *pointer)
{
    lock();
    size_t slot = find_slot(pointer, pointer);
    bool found = watched[slot] == pointer;
    if (found) {
        watched[slot] = REMOVED;
        n_watched--;
    }
    atomic_flag_clear(&watched_lock);
    return found;
}

size_t watched_left(void)
{
    return n_watched;
}

/* ---- The functions ---- */

static bool refuse(const char *function)
{
    return fault_fails("alloc", function, NULL, -1);
}

static void *malloc_for(size_t n_bytes, const char *function, const void *caller)
{
    if (!find_next()) {
        return allocate_early(n_bytes);
    }
    if (refuse(function)) {
        return NULL;
    }
    void *pointer = next.malloc(n_bytes);
    watch_allocation(pointer, caller);
    return pointer;
}

static void *shim_malloc(size_t n_bytes)
{
    return malloc_for(n_bytes, "malloc", __builtin_return_address(0));
}
EXPORT(malloc, shim_malloc);

static void *shim_calloc(size_t n, size_t each)
{
    if (!find_next()) {
        return allocate_early(n * each);
    }
    if (refuse("calloc")) {
        return NULL;
    }
    void *pointer = next.calloc(n, each);
    watch_allocation(pointer, __builtin_return_address(0));
    return pointer;
}
EXPORT(calloc, shim_calloc);

static void *realloc_for(void *old, size_t n_bytes, const char *function, const void *caller)
{
    if (!find_next() || is_early(old) || refuse(function)) {
        return NULL;
    }
    bool was_watched = old != NULL && forget_allocation(old);
    void *pointer = next.realloc(old, n_bytes);
    void *kept = pointer == NULL && n_bytes > 0 ? old : pointer;
    watch_allocation(kept, was_watched ? (const void *)ranges[0].begin : caller);
    return pointer;
}

static void *shim_realloc(void *old, size_t n_bytes)
{
    return realloc_for(old, n_bytes, "realloc", __builtin_return_address(0));
}
EXPORT(realloc, shim_realloc);

static void *shim_reallocarray(void *old, size_t n, size_t each)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(n, each, &n_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc_for(old, n_bytes, "reallocarray", __builtin_return_address(0));
}
EXPORT(reallocarray, shim_reallocarray);

static void shim_free(void *pointer)
{
    if (pointer == NULL || is_early(pointer) || !find_next()) {
        return;
    }
    (void)forget_allocation(pointer);
    next.free(pointer);
}
EXPORT(free, shim_free);

static void *shim_aligned_alloc(size_t alignment, size_t n_bytes)
{
    if (!find_next() || refuse("aligned_alloc")) {
        return NULL;
    }
    void *pointer = next.aligned_alloc(alignment, n_bytes);
    watch_allocation(pointer, __builtin_return_address(0));
    return pointer;
}
EXPORT(aligned_alloc, shim_aligned_alloc);

static int shim_posix_memalign(void **out, size_t alignment, size_t n_bytes)
{
    if (!find_next() || refuse("posix_memalign")) {
        return ENOMEM;
    }
    int result = next.posix_memalign(out, alignment, n_bytes);
    if (result == 0) {
        watch_allocation(*out, __builtin_return_address(0));
    }
    return result;
}
EXPORT(posix_memalign, shim_posix_memalign);

/* These allocate inside libc, so they are made here to know for whom. */
static char *copy_text(const char *text, size_t n_bytes, const char *function, const void *caller)
{
    char *copy = malloc_for(n_bytes + 1, function, caller);
    if (copy != NULL) {
        memcpy(copy, text, n_bytes);
        copy[n_bytes] = '\0';
    }
    return copy;
}

static char *shim_strdup(const char *text)
{
    return copy_text(text, strlen(text), "strdup", __builtin_return_address(0));
}
EXPORT(strdup, shim_strdup);

static char *shim_strndup(const char *text, size_t n_bytes)
{
    return copy_text(text, strnlen(text, n_bytes), "strndup", __builtin_return_address(0));
}
EXPORT(strndup, shim_strndup);

static char *shim_realpath(const char *path, char *resolved)
{
    if (!find_next() || fault_fails("stat", "realpath", path, -1)) {
        return NULL;
    }
    char *real = next.realpath(path, resolved);
    if (resolved == NULL) {
        watch_allocation(real, __builtin_return_address(0));
    }
    return real;
}
EXPORT(realpath, shim_realpath);
