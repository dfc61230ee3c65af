/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/tile_share.h"

#include "core/checked.h"
#include "merge/journal.h"

static enum llavamed_status compute(const struct tile_share *share, const struct tile_room *room,
                                    struct llavamed_error *error)
{
    enum llavamed_status status =
        tile_compute(share->job, share->tile, room->scratch, share->out, share->tally, error);
    return status == LLAVAMED_OK ? tile_deliver(share->job, share->tile, share->file, share->out, room->scratch,
                                                share->tally, error)
                                 : status;
}

static enum llavamed_status make_one(struct tile_share *share, const struct tile_room *room,
                                     struct llavamed_error *error)
{
    share->reused = tile_reuse(share->job, share->tile, share->file, share->out, share->tally);
    if (share->reused) {
        return LLAVAMED_OK;
    }
    room->notes->base.n_notes = 0;
    room->notes->delta.n_notes = 0;
    enum llavamed_status status = compute(share, room, error);
    return status == LLAVAMED_OK ? tile_written(share->job, share->tile, share->tally, room->notes, error) : status;
}

static bool same_notes(const struct source_notes *a, const struct source_notes *b)
{
    bool same = a->n_notes == b->n_notes;
    for (size_t i = 0; same && i < a->n_notes; i++) {
        const struct source_note *x = &a->notes[i];
        const struct source_note *y = &b->notes[i];
        same = x->record == y->record && x->offset == y->offset && x->n_bytes == y->n_bytes && x->crc32 == y->crc32;
    }
    return same;
}

/* Whether all tiles are there, made from the same bytes of the base, which *base then tells. */
static bool all_kept(const struct tile_share *shares, size_t n_shares, struct source_notes *base)
{
    struct tile_notes notes;
    bool all = true;
    for (size_t i = 0; all && i < n_shares; i++) {
        all = shares[i].reused;
        if (all) {
            tile_kept_notes(shares[i].tile->kept, &notes);
            all = i == 0 || same_notes(&notes.base, base);
        }
        if (all && i == 0) {
            *base = notes.base;
        }
    }
    return all;
}

/* The base's elements of a tile's range, as far as it has them, in their own dtype. */
static enum llavamed_status read_base(const struct tile_share *share, void *elems, struct source_notes *notes,
                                      struct llavamed_error *error)
{
    const struct pipeline_job *job = share->job;
    size_t index = job->plan->tensors[share->tile->tensor].base_index;
    uint64_t n_base = source_tensors(job->base)->tensors[index].n_elems;
    notes->n_notes = 0;
    if (share->tile->first_elem >= n_base) {
        return LLAVAMED_OK;
    }
    const struct source_run run = {index, share->tile->first_elem,
                                   min_u64(share->tile->n_elems, n_base - share->tile->first_elem)};
    return source_read_noting(job->base, &run, elems, notes, error);
}

/* One of several, once it is known what the base is. */
static enum llavamed_status make_shared(struct tile_share *share, const struct tile_room *room,
                                        struct llavamed_error *error)
{
    struct tile_notes kept;
    if (share->reused) {
        tile_kept_notes(share->tile->kept, &kept);
        share->reused = same_notes(&kept.base, &room->notes->base);
    }
    if (share->reused) {
        *share->tally = share->tile->kept->tally;
        source_note(share->job->delta, &kept.delta);
        return LLAVAMED_OK;
    }
    room->notes->delta.n_notes = 0;
    share->tile->base_elems = room->base;
    enum llavamed_status status = compute(share, room, error);
    share->tile->base_elems = NULL;
    if (status != LLAVAMED_OK) {
        return status;
    }
    source_note(share->job->delta, &room->notes->delta);
    return tile_append(share->job, share->tile, share->tally, room->notes, error);
}

enum llavamed_status tile_make_all(struct tile_share *shares, size_t n_shares, const struct tile_room *room,
                                   struct llavamed_error *error)
{
    if (n_shares == 1) {
        return make_one(&shares[0], room, error);
    }
    for (size_t i = 0; i < n_shares; i++) {
        shares[i].reused = tile_is_kept(shares[i].job, shares[i].tile, shares[i].file, shares[i].out);
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (!all_kept(shares, n_shares, &room->notes->base)) {
        status = read_base(&shares[0], room->base, &room->notes->base, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < n_shares; i++) {
        status = make_shared(&shares[i], room, error);
    }
    if (status == LLAVAMED_OK) {
        source_note(shares[0].job->base, &room->notes->base);
    }
    return status;
}
