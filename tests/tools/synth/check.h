/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares a merged directory of safetensors with what base + delta must be, made again from the seed: every element's
 * bits, and how many of them are the target's own. Reads with pread alone; only the header's parser is the library's.
 */
#ifndef SYNTH_CHECK_H
#define SYNTH_CHECK_H

#include <dirent.h>
#include <stdatomic.h>

#include "format/safetensors.h"
#include "tools/synth/checkpoint.h"
#include "tools/synth/run.h"

struct synth_found {
    int fd;
    uint64_t offset;
};

struct synth_check {
    const struct synth_model *model;
    struct synth_found *found; /* one per tensor of the model; fd -1 when missing */
    size_t n_problems;
    _Atomic uint64_t n_elems;
    _Atomic uint64_t n_wrong;
    _Atomic uint64_t n_as_target;
};

static inline void synth_read_all(int fd, uint64_t offset, void *bytes, size_t n_bytes, const char *what)
{
    char *to = bytes;
    while (n_bytes > 0) {
        ssize_t n = pread(fd, to, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            synth_die(n == 0 ? "the file ends too early" : strerror(errno), what);
        }
        to += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
}

static inline void synth_check_problem(struct synth_check *check, const char *name, const char *what)
{
    if (check->n_problems++ < 20) {
        fprintf(stderr, "synth: %s: %s\n", name, what);
    }
}

static inline size_t synth_model_find(const struct synth_model *model, const char *name)
{
    size_t i = 0;
    while (i < model->n_tensors && strcmp(model->tensors[i].target.name, name) != 0) {
        i++;
    }
    return i;
}

static inline void synth_check_header(struct synth_check *check, const struct safetensors_header *header, int fd)
{
    for (size_t i = 0; i < header->set.n_tensors; i++) {
        const struct tensor *got = &header->set.tensors[i];
        size_t index = synth_model_find(check->model, got->name);
        if (index == check->model->n_tensors) {
            synth_check_problem(check, got->name, "a tensor that the model does not have");
            continue;
        }
        const struct tensor *want = &check->model->tensors[index].target;
        if (check->found[index].fd >= 0) {
            synth_check_problem(check, got->name, "twice");
        } else if (got->dtype != want->dtype || !tensor_same_shape(got, want)) {
            synth_check_problem(check, got->name, "another dtype or shape");
        }
        check->found[index] = (struct synth_found){.fd = fd, .offset = header->data_start + header->data_offsets[i]};
    }
}

/* The file stays open until the program ends. */
static inline void synth_check_open(struct synth_check *check, const char *path)
{
    struct llavamed_error error = {0};
    struct safetensors_header header = {0};
    uint8_t prefix[SAFETENSORS_PREFIX_BYTES];
    uint64_t n_bytes;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        synth_die(strerror(errno), path);
    }
    synth_read_all(fd, 0, prefix, sizeof prefix, path);
    synth_require(safetensors_header_bytes(path, prefix, (uint64_t)info.st_size, &n_bytes, &error), &error);
    char *json = synth_alloc((size_t)n_bytes + 1, 1);
    synth_read_all(fd, sizeof prefix, json, (size_t)n_bytes, path);
    synth_require(safetensors_parse(path, json, (size_t)n_bytes, (uint64_t)info.st_size, &header, &error), &error);
    synth_check_header(check, &header, fd);
    safetensors_header_deinit(&header);
    free(json);
}

static inline void synth_check_tile(void *context, void *state, const struct synth_tile *tile)
{
    struct synth_check *check = context;
    const struct synth_found *found = &check->found[tile->tensor];
    (void)state;
    if (found->fd < 0) {
        return;
    }
    size_t elem_bytes = dtype_bytes(check->model->tensors[tile->tensor].target.dtype);
    size_t n_bytes = (size_t)tile->n_elems * elem_bytes;
    uint64_t offset = found->offset + tile->first * elem_bytes;
    /* The base's bytes are not needed here: their room takes what is on disk. */
    uint8_t *got = tile->bytes[SYNTH_BASE];
    synth_read_all(found->fd, offset, got, n_bytes, check->model->tensors[tile->tensor].target.name);
    (void)posix_fadvise(found->fd, (off_t)offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
    uint64_t n_wrong = 0;
    uint64_t n_as_target = 0;
    for (size_t i = 0; i < n_bytes; i += elem_bytes) {
        n_wrong += memcmp(got + i, tile->bytes[SYNTH_MERGED] + i, elem_bytes) != 0;
        n_as_target += memcmp(got + i, tile->bytes[SYNTH_TARGET] + i, elem_bytes) == 0;
    }
    atomic_fetch_add(&check->n_elems, tile->n_elems);
    atomic_fetch_add(&check->n_wrong, n_wrong);
    atomic_fetch_add(&check->n_as_target, n_as_target);
}

static inline void synth_check_missing(struct synth_check *check)
{
    for (size_t i = 0; i < check->model->n_tensors; i++) {
        if (check->found[i].fd < 0) {
            synth_check_problem(check, check->model->tensors[i].target.name, "missing");
        }
    }
}

/* Opens every *.safetensors of the directory. */
static inline void synth_check_directory(struct synth_check *check, const char *directory)
{
    DIR *entries = opendir(directory);
    if (entries == NULL) {
        synth_die(strerror(errno), directory);
    }
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        size_t n = strlen(entry->d_name);
        size_t suffix = strlen(".safetensors");
        if (n > suffix && strcmp(entry->d_name + n - suffix, ".safetensors") == 0) {
            char path[SYNTH_PATH_BYTES + 256];
            (void)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            synth_check_open(check, path);
        }
    }
    (void)closedir(entries);
}

/* Prints the counts; 0 when every tensor is there and every bit is right, else 1. */
static inline int synth_check_all(const struct synth_model *model, const struct synth_values *values,
                                  const char *directory, unsigned n_threads)
{
    struct synth_check check = {.model = model};
    check.found = synth_alloc(model->n_tensors, sizeof *check.found);
    for (size_t i = 0; i < model->n_tensors; i++) {
        check.found[i].fd = -1;
    }
    synth_check_directory(&check, directory);
    synth_check_missing(&check);
    if (check.n_problems == 0) {
        struct synth_run run = {
            .model = model, .values = values, .function = synth_check_tile, .context = &check, .state_bytes = 1};
        synth_run_all(&run, n_threads);
    }
    uint64_t n_elems = atomic_load(&check.n_elems);
    uint64_t n_wrong = atomic_load(&check.n_wrong);
    uint64_t n_as_target = atomic_load(&check.n_as_target);
    printf("%s: %zu tensors, %llu elements: %llu differ from base + delta\n", directory, model->n_tensors,
           (unsigned long long)n_elems, (unsigned long long)n_wrong);
    if (n_elems > 0 && n_wrong == 0) {
        printf("%s: %.3f %% have the target's own bits; %llu cannot, the delta being rounded\n", directory,
               100.0 * (double)n_as_target / (double)n_elems, (unsigned long long)(n_elems - n_as_target));
    }
    free(check.found);
    return check.n_problems == 0 && n_wrong == 0 && n_elems > 0 ? 0 : 1;
}

#endif
