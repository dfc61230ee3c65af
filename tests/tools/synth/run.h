/* SPDX-License-Identifier: Apache-2.0 */
/* Threads over the pieces of all tensors: each claims the next tile, and hands it to a function. */
#ifndef SYNTH_RUN_H
#define SYNTH_RUN_H

#include <pthread.h>

#include "tools/synth/values.h"

#define SYNTH_TILE_ELEMS 1048576
#define SYNTH_THREADS_MAX 256

struct synth_tile {
    size_t tensor; /* of the model */
    uint64_t first;
    uint64_t n_elems;
    uint8_t *bytes[SYNTH_ROLE_COUNT]; /* the elements of every role, in stored form */
};

/* Called by several threads at once, each with a tile of its own. `state` is the thread's, zeroed at its start. */
typedef void synth_tile_fn(void *context, void *state, const struct synth_tile *tile);

struct synth_run {
    const struct synth_model *model;
    const struct synth_values *values;
    synth_tile_fn *function;
    void *context;
    size_t state_bytes;
    pthread_mutex_t mutex;
    size_t tensor; /* next tile */
    uint64_t first;
};

static inline bool synth_claim(struct synth_run *run, struct synth_tile *tile)
{
    (void)pthread_mutex_lock(&run->mutex);
    bool claimed = run->tensor < run->model->n_tensors;
    if (claimed) {
        uint64_t left = run->model->tensors[run->tensor].target.n_elems - run->first;
        tile->tensor = run->tensor;
        tile->first = run->first;
        tile->n_elems = left < SYNTH_TILE_ELEMS ? left : SYNTH_TILE_ELEMS;
        run->first += tile->n_elems;
        if (tile->n_elems == left) {
            run->tensor++;
            run->first = 0;
        }
    }
    (void)pthread_mutex_unlock(&run->mutex);
    return claimed;
}

static inline void *synth_worker(void *argument)
{
    struct synth_run *run = argument;
    struct synth_tile tile = {0};
    void *state = synth_alloc(1, run->state_bytes);
    for (int role = 0; role < SYNTH_ROLE_COUNT; role++) {
        tile.bytes[role] = synth_alloc(SYNTH_TILE_ELEMS, sizeof(float));
    }
    while (synth_claim(run, &tile)) {
        synth_fill(run->values, &run->model->tensors[tile.tensor], tile.first, tile.n_elems, tile.bytes);
        run->function(run->context, state, &tile);
    }
    for (int role = 0; role < SYNTH_ROLE_COUNT; role++) {
        free(tile.bytes[role]);
    }
    free(state);
    return NULL;
}

static inline void synth_run_all(struct synth_run *run, unsigned n_threads)
{
    pthread_t threads[SYNTH_THREADS_MAX];
    (void)pthread_mutex_init(&run->mutex, NULL);
    for (unsigned i = 0; i < n_threads; i++) {
        if (pthread_create(&threads[i], NULL, synth_worker, run) != 0) {
            synth_die("cannot start a thread", NULL);
        }
    }
    for (unsigned i = 0; i < n_threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&run->mutex);
}

#endif
