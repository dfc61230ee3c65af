/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One synthetic checkpoint on disk: its tensors cut in shards (in module order, a new shard when the next tensor would
 * exceed the limit), laid out by the library's safetensors writer.
 */
#ifndef SYNTH_CHECKPOINT_H
#define SYNTH_CHECKPOINT_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/safetensors.h"
#include "format/shard_index.h"
#include "tools/synth/values.h"

#define SYNTH_PATH_BYTES 4096

struct synth_place {
    int fd; /* -1: this checkpoint does not hold the tensor */
    uint64_t offset;
    uint64_t n_elems;
};

struct synth_shard {
    char name[64];
    int fd;
    size_t first; /* the checkpoint's tensors [first, first + n_tensors), in module order */
    size_t n_tensors;
};

struct synth_checkpoint {
    enum synth_role role;
    char directory[SYNTH_PATH_BYTES];
    struct tensor *tensors; /* descriptors with this checkpoint's shapes; names borrowed from the model */
    size_t *of_model;       /* tensors[i] is model->tensors[of_model[i]] */
    size_t n_tensors;
    struct synth_shard *shards;
    size_t n_shards;
    struct synth_place *places; /* one per tensor of the model */
    uint64_t data_bytes;
};

static inline void synth_write_all(int fd, uint64_t offset, const void *bytes, size_t n_bytes, const char *path)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        ssize_t n = pwrite(fd, from, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            synth_die(n == 0 ? "nothing written" : strerror(errno), path);
        }
        from += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
}

/* Never over an existing file: a checkpoint is made once. */
static inline int synth_create(const char *directory, const char *name)
{
    char path[SYNTH_PATH_BYTES + 256];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        synth_die(strerror(errno), path);
    }
    return fd;
}

static inline void synth_create_directory(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        synth_die(strerror(errno), path);
    }
}

static inline void synth_write_file(const char *directory, const char *name, const void *bytes, size_t n_bytes)
{
    int fd = synth_create(directory, name);
    synth_write_all(fd, 0, bytes, n_bytes, name);
    (void)close(fd);
}

static inline void synth_checkpoint_tensors(struct synth_checkpoint *checkpoint, const struct synth_model *model)
{
    checkpoint->tensors = synth_alloc(model->n_tensors, sizeof *checkpoint->tensors);
    checkpoint->of_model = synth_alloc(model->n_tensors, sizeof *checkpoint->of_model);
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct synth_tensor *source = &model->tensors[i];
        struct tensor tensor = source->target;
        if (checkpoint->role == SYNTH_BASE) {
            if (source->base_elems == 0) {
                continue;
            }
            tensor.shape[0] = source->base_rows;
            tensor.n_elems = source->base_elems;
            tensor.n_bytes = tensor.n_elems * dtype_bytes(tensor.dtype);
        }
        checkpoint->of_model[checkpoint->n_tensors] = i;
        checkpoint->tensors[checkpoint->n_tensors++] = tensor;
        checkpoint->data_bytes += tensor.n_bytes;
    }
}

static inline void synth_checkpoint_split(struct synth_checkpoint *checkpoint, uint64_t max_shard_bytes)
{
    checkpoint->shards = synth_alloc(checkpoint->n_tensors, sizeof *checkpoint->shards);
    uint64_t shard_bytes = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        uint64_t n_bytes = checkpoint->tensors[i].n_bytes;
        if (i == 0 || shard_bytes + n_bytes > max_shard_bytes) {
            checkpoint->shards[checkpoint->n_shards++].first = i;
            shard_bytes = 0;
        }
        shard_bytes += n_bytes;
        checkpoint->shards[checkpoint->n_shards - 1].n_tensors++;
    }
    for (size_t i = 0; i < checkpoint->n_shards; i++) {
        char *name = checkpoint->shards[i].name;
        if (checkpoint->n_shards == 1) {
            (void)snprintf(name, sizeof checkpoint->shards[i].name, "model.safetensors");
        } else {
            (void)snprintf(name, sizeof checkpoint->shards[i].name, "model-%05zu-of-%05zu.safetensors", i + 1,
                           checkpoint->n_shards);
        }
    }
}

/* Creates the shard with its header and full size, and notes where each of its tensors goes. */
static inline void synth_shard_begin(struct synth_checkpoint *checkpoint, struct synth_shard *shard)
{
    struct llavamed_error error = {0};
    struct safetensors_layout layout = {0};
    const struct tensor **tensors = synth_alloc(shard->n_tensors, sizeof *tensors);
    for (size_t i = 0; i < shard->n_tensors; i++) {
        tensors[i] = &checkpoint->tensors[shard->first + i];
    }
    synth_require(safetensors_layout_build(tensors, shard->n_tensors, &layout, &error), &error);
    shard->fd = synth_create(checkpoint->directory, shard->name);
    if (ftruncate(shard->fd, (off_t)layout.file_bytes) != 0) {
        synth_die(strerror(errno), shard->name);
    }
    synth_write_all(shard->fd, 0, layout.head, layout.head_bytes, shard->name);
    for (size_t i = 0; i < layout.n_tensors; i++) {
        size_t index = shard->first + layout.order[i];
        checkpoint->places[checkpoint->of_model[index]] = (struct synth_place){
            .fd = shard->fd,
            .offset = layout.file_offsets[i],
            .n_elems = checkpoint->tensors[index].n_elems,
        };
    }
    safetensors_layout_deinit(&layout);
    free(tensors);
}

static inline void synth_checkpoint_index(const struct synth_checkpoint *checkpoint)
{
    struct llavamed_error error = {0};
    struct shard_index_row *rows = synth_alloc(checkpoint->n_tensors, sizeof *rows);
    for (size_t i = 0; i < checkpoint->n_shards; i++) {
        const struct synth_shard *shard = &checkpoint->shards[i];
        for (size_t j = shard->first; j < shard->first + shard->n_tensors; j++) {
            rows[j] = (struct shard_index_row){.tensor = checkpoint->tensors[j].name, .file = shard->name};
        }
    }
    struct buffer text;
    buffer_init(&text, SHARD_INDEX_BYTES_MAX);
    shard_index_write_hub(&text, checkpoint->data_bytes, rows, checkpoint->n_tensors);
    synth_require(buffer_status(&text, "the index", &error), &error);
    synth_write_file(checkpoint->directory, "model.safetensors.index.json", text.data, text.n_bytes);
    buffer_deinit(&text);
    free(rows);
}

/* Makes the directory, the shards with their headers and the index; the tensors' bytes are still to be written. */
static inline void synth_checkpoint_begin(struct synth_checkpoint *checkpoint, const struct synth_model *model,
                                          enum synth_role role, const char *directory, uint64_t max_shard_bytes)
{
    memset(checkpoint, 0, sizeof *checkpoint);
    checkpoint->role = role;
    (void)snprintf(checkpoint->directory, sizeof checkpoint->directory, "%s", directory);
    synth_create_directory(directory);
    synth_checkpoint_tensors(checkpoint, model);
    synth_checkpoint_split(checkpoint, max_shard_bytes);
    checkpoint->places = synth_alloc(model->n_tensors, sizeof *checkpoint->places);
    for (size_t i = 0; i < model->n_tensors; i++) {
        checkpoint->places[i].fd = -1;
    }
    for (size_t i = 0; i < checkpoint->n_shards; i++) {
        synth_shard_begin(checkpoint, &checkpoint->shards[i]);
    }
    if (checkpoint->n_shards > 1) {
        synth_checkpoint_index(checkpoint);
    }
}

static inline void synth_checkpoint_end(struct synth_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_shards; i++) {
        if (fdatasync(checkpoint->shards[i].fd) != 0 || close(checkpoint->shards[i].fd) != 0) {
            synth_die(strerror(errno), checkpoint->shards[i].name);
        }
    }
    free(checkpoint->tensors);
    free(checkpoint->of_model);
    free(checkpoint->shards);
    free(checkpoint->places);
}

#endif
