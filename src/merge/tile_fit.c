/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry has one CRC-32 and one set of counts. Its pieces get a CRC-32 each, as they are read here; the counts and
 * what it tells of the inputs go with the first piece. So the pieces are kept all or none: see journal_entry.is_piece.
 */
#include "merge/tile_fit.h"

#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/stop_signal.h"
#include "integrity/crc32.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/journal.h"
#include "merge/tile.h"

#define TICK_NS 200000000

struct fitting {
    const struct pipeline_job *job;
    void *buffer;
    uint64_t *offsets;             /* owned; of each tensor in its shard */
    struct journal_entry *entries; /* owned until they are given away: those that fit */
    size_t n_entries;
    size_t n_room;
    struct input_file *file; /* the shard of the tensor before, or NULL */
    size_t shard;            /* its index */
    uint64_t started_ns;
    uint64_t next_tick_ns;
};

/* Shows that the run lives, and hears a signal. */
static enum llavamed_status breathe(struct fitting *fitting, struct llavamed_error *error)
{
    const struct llavamed_observer *observer = fitting->job->observer;
    uint64_t now_ns = clock_monotonic_ns();
    enum llavamed_status status = stop_signal_check(fitting->job->stop_signal, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (now_ns >= fitting->next_tick_ns && observer != NULL && observer->progress != NULL) {
        const struct llavamed_progress progress = {.total_bytes = fitting->job->plan->file_bytes,
                                                   .elapsed_ns = now_ns - fitting->started_ns};
        observer->progress(observer->context, &progress);
        fitting->next_tick_ns = now_ns + TICK_NS;
    }
    return LLAVAMED_OK;
}

static void find_offsets(struct fitting *fitting)
{
    const struct plan *plan = fitting->job->plan;
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        for (size_t k = 0; k < shard->n_tensors; k++) {
            fitting->offsets[shard->tensors[shard->layout.order[k]]] = shard->layout.file_offsets[k];
        }
    }
}

static enum llavamed_status add_entry(struct fitting *fitting, const struct journal_entry *entry,
                                      struct llavamed_error *error)
{
    if (fitting->n_entries == fitting->n_room) {
        size_t n_room = 2 * fitting->n_room + 64;
        struct journal_entry *grown = reallocarray(fitting->entries, n_room, sizeof *grown);
        if (grown == NULL) {
            return llavamed_fail_memory(error, n_room * sizeof *grown, "a journal");
        }
        fitting->entries = grown;
        fitting->n_room = n_room;
    }
    fitting->entries[fitting->n_entries++] = *entry;
    return LLAVAMED_OK;
}

/* The shard that holds a tensor; NULL when it cannot be read: then nothing of it is kept. */
static struct input_file *shard_of(struct fitting *fitting, size_t shard)
{
    if (fitting->file == NULL || fitting->shard != shard) {
        input_file_close(fitting->file);
        fitting->file = NULL;
        fitting->shard = shard;
        char *path = path_join(fitting->job->directory, fitting->job->plan->shards[shard].name);
        if (path != NULL && input_file_open(path, &fitting->file, NULL) != LLAVAMED_OK) {
            fitting->file = NULL;
        }
        free(path);
    }
    return fitting->file;
}

/* Adds the pieces of an entry, or nothing when it is not what it was. */
static enum llavamed_status cut_entry(struct fitting *fitting, const struct journal_entry *entry, uint64_t most,
                                      struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &fitting->job->plan->tensors[entry->tensor];
    const size_t element_bytes = dtype_bytes(tensor->out.dtype);
    const size_t n_before = fitting->n_entries;
    struct input_file *file = shard_of(fitting, tensor->shard);
    /* Of a piece of a difference of bits nobody knows the target's CRC-32. */
    bool is_right = file != NULL && !plan_makes_bits(fitting->job->plan, entry->tensor);
    uint32_t crc32 = 0;
    for (uint64_t done = 0; is_right && done < entry->n_elems;) {
        struct journal_entry piece = {
            .tensor = entry->tensor, .first_elem = entry->first_elem + done, .is_piece = true};
        piece.n_elems = min_u64(most, entry->n_elems - done);
        size_t n_bytes = (size_t)piece.n_elems * element_bytes;
        if (done == 0) {
            piece.tally = entry->tally;
            piece.n_notes = entry->n_notes;
            piece.notes = entry->notes;
        }
        uint64_t offset = fitting->offsets[entry->tensor] + piece.first_elem * element_bytes;
        is_right = input_file_read_near(file, offset, fitting->buffer, n_bytes, NULL) == LLAVAMED_OK;
        if (is_right) {
            crc32 = crc32_update(crc32, fitting->buffer, n_bytes);
            piece.tally.crc32 = crc32_update(0, fitting->buffer, n_bytes);
        }
        enum llavamed_status status = add_entry(fitting, &piece, error);
        if (status == LLAVAMED_OK) {
            status = breathe(fitting, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
        done += piece.n_elems;
    }
    if (!is_right || crc32 != entry->tally.crc32) {
        fitting->n_entries = n_before;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status fit_entries(struct fitting *fitting, struct llavamed_error *error)
{
    const struct pipeline_job *job = fitting->job;
    const struct journal_entry *entries;
    const size_t n_entries = journal_entries(job->journal, &entries);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_entries; i++) {
        uint64_t most = tile_elems_max(job, &job->plan->tensors[entries[i].tensor]);
        status = entries[i].n_elems <= most ? add_entry(fitting, &entries[i], error)
                                            : cut_entry(fitting, &entries[i], most, error);
    }
    return status;
}

static bool all_fit(const struct pipeline_job *job)
{
    const struct journal_entry *entries;
    const size_t n_entries = journal_entries(job->journal, &entries);
    for (size_t i = 0; i < n_entries; i++) {
        if (entries[i].n_elems > tile_elems_max(job, &job->plan->tensors[entries[i].tensor])) {
            return false;
        }
    }
    return true;
}

enum llavamed_status tile_fit_kept(const struct pipeline_job *job, void *buffer, struct llavamed_error *error)
{
    if (job->journal == NULL || all_fit(job)) {
        return LLAVAMED_OK;
    }
    struct fitting fitting = {.job = job, .buffer = buffer, .started_ns = clock_monotonic_ns()};
    enum llavamed_status status;
    fitting.offsets = calloc(job->plan->n_tensors + 1, sizeof *fitting.offsets);
    if (fitting.offsets == NULL) {
        status = llavamed_fail_memory(error, job->plan->n_tensors * sizeof *fitting.offsets, "a journal");
    } else {
        find_offsets(&fitting);
        status = fit_entries(&fitting, error);
    }
    if (status == LLAVAMED_OK) {
        journal_set_entries(job->journal, fitting.entries, fitting.n_entries);
        fitting.entries = NULL;
    }
    input_file_close(fitting.file);
    free(fitting.offsets);
    free(fitting.entries);
    return status;
}
