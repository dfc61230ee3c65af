/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/tile_keep.h"

#include "core/checked.h"
#include "integrity/crc32.h"
#include "merge/journal.h"

enum { ROLE_BASE, ROLE_DELTA };

const struct journal_entry *tile_find_kept(const struct pipeline_job *job, size_t tensor, uint64_t first_elem,
                                           uint64_t max_elems, uint64_t *n_elems)
{
    if (job->journal == NULL) {
        return NULL;
    }
    uint64_t next_elem;
    const struct journal_entry *entry = journal_find(job->journal, tensor, first_elem, &next_elem);
    if (entry != NULL && entry->n_elems <= max_elems) {
        *n_elems = entry->n_elems;
        return entry;
    }
    *n_elems = min_u64(*n_elems, next_elem - first_elem);
    return NULL;
}

void tile_kept_notes(const struct journal_entry *entry, struct tile_notes *notes)
{
    notes->base.n_notes = 0;
    notes->delta.n_notes = 0;
    for (uint32_t i = 0; i < entry->n_notes; i++) {
        const struct journal_note *note = &entry->notes[i];
        struct source_notes *of = note->role == ROLE_DELTA ? &notes->delta : &notes->base;
        if (of->n_notes < SOURCE_NOTES_MAX) {
            of->notes[of->n_notes++] =
                (struct source_note){note->record, note->offset, note->n_bytes, note->crc32};
        }
    }
}

bool tile_is_kept(const struct pipeline_job *job, const struct tile *tile, struct output_file *file, void *out)
{
    const struct journal_entry *entry = tile->kept;
    if (entry == NULL) {
        return false;
    }
    bool is_it = output_file_read(file, tile->file_offset, out, tile->n_bytes) &&
                 crc32_update(0, out, tile->n_bytes) == entry->tally.crc32;
    if (!is_it && entry->is_piece) {
        journal_spoil(job->journal);
    }
    return is_it;
}

bool tile_reuse(const struct pipeline_job *job, const struct tile *tile, struct output_file *file, void *out,
                struct pipeline_tensor *tally)
{
    struct tile_notes notes;
    if (!tile_is_kept(job, tile, file, out)) {
        return false;
    }
    *tally = tile->kept->tally;
    tile_kept_notes(tile->kept, &notes);
    source_note(job->base, &notes.base);
    source_note(job->delta, &notes.delta);
    return true;
}

enum llavamed_status tile_deliver(const struct pipeline_job *job, const struct tile *tile, struct output_file *file,
                                  const void *out, const struct tile_scratch *scratch, struct pipeline_tensor *tally,
                                  struct llavamed_error *error)
{
    if (job->sink != NULL) {
        const struct pipeline_piece piece = {
            .tensor = tile->tensor,
            .first_elem = tile->first_elem,
            .n_elems = tile->n_elems,
            .bytes = out,
            .n_bytes = tile->n_bytes,
            .room = scratch->source,
        };
        return job->sink->take(job->sink->state, &piece, error);
    }
    tally->crc32 = crc32_update(0, out, tile->n_bytes);
    enum llavamed_status status = run_guard_check(job->guard, error);
    return status == LLAVAMED_OK ? output_file_write(file, tile->file_offset, out, tile->n_bytes, error) : status;
}

static void append_notes(struct journal_note *to, uint32_t *n_notes, uint32_t role, const struct source_notes *from)
{
    for (size_t i = 0; i < from->n_notes && *n_notes < JOURNAL_NOTES_MAX; i++) {
        const struct source_note *note = &from->notes[i];
        to[(*n_notes)++] = (struct journal_note){.role = role,
                                                 .crc32 = note->crc32,
                                                 .record = note->record,
                                                 .offset = note->offset,
                                                 .n_bytes = note->n_bytes};
    }
}

enum llavamed_status tile_append(const struct pipeline_job *job, const struct tile *tile,
                                 const struct pipeline_tensor *tally, const struct tile_notes *notes,
                                 struct llavamed_error *error)
{
    if (job->journal == NULL) {
        return LLAVAMED_OK;
    }
    struct journal_note rows[JOURNAL_NOTES_MAX];
    struct journal_entry entry = {
        .tensor = tile->tensor, .first_elem = tile->first_elem, .n_elems = tile->n_elems, .tally = *tally};
    append_notes(rows, &entry.n_notes, ROLE_BASE, &notes->base);
    append_notes(rows, &entry.n_notes, ROLE_DELTA, &notes->delta);
    entry.notes = rows;
    return journal_append(job->journal, &entry, error);
}

enum llavamed_status tile_written(const struct pipeline_job *job, const struct tile *tile,
                                  const struct pipeline_tensor *tally, const struct tile_notes *notes,
                                  struct llavamed_error *error)
{
    source_note(job->base, &notes->base);
    source_note(job->delta, &notes->delta);
    return tile_append(job, tile, tally, notes, error);
}
