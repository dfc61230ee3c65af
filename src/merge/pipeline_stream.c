/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that finds a stream at which nobody works reads the next elements of it into a buffer of its own and leaves
 * the stream to others; its next task is then to compute and write what it has read:
 *
 *     stream -> stream_elems;  other source -> scratch;  out = base + delta -> shard, at the tensor's place
 *
 * Without a free stream it makes tiles of what no stream brings, or reads back shards that are complete. One worker
 * reads back before all else, so that shards are done early; more of them only when no stream waits for a reader.
 */
#include "merge/pipeline_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/checked.h"
#include "core/crew.h"
#include "merge/pipeline_parts.h"
#include "merge/read_back.h"
#include "merge/shard_segments.h"
#include "merge/tile_keep.h"
#include "source/record_crc.h"

/* Files that are open beside the shards and the inputs: the program's own, and its caller's. */
#define OTHER_FILES_MAX 32

enum task_kind { TASK_READ, TASK_COMPUTE, TASK_CLOSE, TASK_READ_BACK };

struct worker {
    enum task_kind kind;
    size_t stream;         /* of TASK_READ */
    struct source_run run; /* what it brought */
    const struct journal_entry *kept; /* of the tile that these elements make, or NULL */
    bool holds;            /* elements that wait for their computation */
    size_t shard;          /* of TASK_CLOSE and TASK_READ_BACK */
    bool ended;            /* the shard was read to its end */
    struct tile tile;
    struct pipeline_tensor tally;
    uint8_t *elems; /* a tile of the pool each */
    uint8_t *out;
    struct tile_scratch scratch;
    struct tile_notes notes;
};

struct stream {
    bool busy;
    bool ended;
};

/* A tensor of the plan. */
struct placed {
    uint64_t file_offset;
    uint64_t n_streamed;   /* elements that the streams bring: the first ones */
    struct record_crc crc; /* of the bytes written */
    struct record_crc target_crc; /* of the target's, where a difference of bits is made */
};

enum shard_state { SHARD_FILLING, SHARD_READING, SHARD_DONE };

struct shard {
    enum shard_state state;
    bool busy;
    uint64_t left_bytes; /* to be written */
    struct output_file *file;
    struct shard_segments segments;
    struct read_back *back;
};

struct run {
    struct pipeline_frame *frame;
    struct source *source; /* the one with streams */
    bool is_base;
    struct worker *workers; /* owned, as are the other lists */
    struct stream *streams;
    size_t n_streams;
    size_t n_ended;
    struct placed *placed;
    struct shard *shards;
    size_t n_done;
    unsigned n_reading_back;
    size_t *planned;    /* by tensor of the source: index into the plan, or TENSOR_NOT_FOUND */
    size_t left_tensor; /* what no stream brings: the next of it */
    uint64_t left_elem;
};

/* ---- What can be run ----------------------------------------------------------------------------------------- */

static enum llavamed_status fail_order(const char *what, const struct source *source, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: %s", source_spec(source), what);
    llavamed_hint(error, "unpack it and give the directory");
    return status;
}

/* All shards are open at a time. */
static enum llavamed_status check_n_shards(const struct plan *plan, size_t n_inputs, struct llavamed_error *error)
{
    long n_files = sysconf(_SC_OPEN_MAX);
    size_t n_wanted = plan->n_shards + n_inputs + OTHER_FILES_MAX;
    if (plan->n_shards <= 1 || n_files < 0 || n_wanted <= (size_t)n_files) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = llavamed_fail(
        error, LLAVAMED_STATUS_USAGE,
        "too many shards to be written at a time, as reading a compressed archive wants (got %zu, %ld files may be "
        "open)",
        plan->n_shards, n_files);
    llavamed_hint(error, "allow larger shards with --max-shard-size, or more open files with ulimit -n");
    return status;
}

/* Files that the source keeps open: a compressed archive is one, whatever it holds. */
static size_t open_files_of(const struct source *source)
{
    const struct source_file *files;
    return source_streams(source) > 0 ? 1 : source_files(source, &files);
}

enum llavamed_status pipeline_stream_check(const struct plan *plan, const struct source *base,
                                           const struct source *delta, struct llavamed_error *error)
{
    size_t n_base = source_streams(base);
    size_t n_delta = source_streams(delta);
    if (n_base + n_delta == 0) {
        return LLAVAMED_OK;
    }
    if (n_base > 0 && n_delta > 0) {
        return fail_order(plan->operation == PLAN_MAKE_DELTA
                              ? "base and target are both compressed archives: only one can be read so"
                              : "base and delta are both compressed archives: only one can be read so",
                          base, error);
    }
    for (size_t i = 0; n_base > 0 && i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        if (tensor->action == PLAN_ADD_TOP_LEFT &&
            source_tensors(base)->tensors[tensor->base_index].shape[1] != tensor->out.shape[1]) {
            return fail_order("a base whose embeddings grow in width cannot be read from a compressed archive", base,
                              error);
        }
    }
    return check_n_shards(plan, open_files_of(base) + open_files_of(delta), error);
}

/* ---- Choosing a task ----------------------------------------------------------------------------------------- */

static bool take_stream_locked(struct run *run, struct worker *worker)
{
    for (size_t i = 0; i < run->n_streams; i++) {
        struct stream *stream = &run->streams[i];
        if (!stream->busy && !stream->ended) {
            stream->busy = true;
            worker->kind = TASK_READ;
            worker->stream = i;
            return true;
        }
    }
    return false;
}

static struct tile make_tile(const struct run *run, size_t tensor, uint64_t first_elem, uint64_t n_elems)
{
    size_t element_bytes = dtype_bytes(run->frame->job->plan->tensors[tensor].out.dtype);
    return (struct tile){
        .tensor = tensor,
        .first_elem = first_elem,
        .n_elems = n_elems,
        .file_offset = run->placed[tensor].file_offset + first_elem * element_bytes,
        .n_bytes = (size_t)(n_elems * element_bytes),
    };
}

/* The next tile of what no stream brings. */
static bool take_left_tile_locked(struct run *run, struct worker *worker)
{
    const struct pipeline_job *job = run->frame->job;
    while (run->left_tensor < job->plan->n_tensors) {
        const struct plan_tensor *tensor = &job->plan->tensors[run->left_tensor];
        uint64_t first = max_u64(run->left_elem, run->placed[run->left_tensor].n_streamed);
        if (first < tensor->out.n_elems) {
            uint64_t most = tile_elems_max(job, tensor);
            uint64_t n_elems = min_u64(most, tensor->out.n_elems - first);
            const struct journal_entry *kept = tile_find_kept(job, run->left_tensor, first, most, &n_elems);
            worker->kind = TASK_COMPUTE;
            worker->tile = make_tile(run, run->left_tensor, first, n_elems);
            worker->tile.kept = kept;
            run->left_elem = first + n_elems;
            return true;
        }
        run->left_tensor++;
        run->left_elem = 0;
    }
    return false;
}

static bool take_shard_locked(struct run *run, struct worker *worker)
{
    for (size_t i = 0; i < run->frame->job->plan->n_shards; i++) {
        struct shard *shard = &run->shards[i];
        bool complete = shard->state == SHARD_FILLING && shard->left_bytes == 0;
        if (!shard->busy && (complete || shard->state == SHARD_READING)) {
            shard->busy = true;
            run->n_reading_back++;
            worker->kind = complete ? TASK_CLOSE : TASK_READ_BACK;
            worker->shard = i;
            return true;
        }
    }
    return false;
}

static enum crew_turn take_locked(void *state, unsigned number)
{
    struct run *run = state;
    struct worker *worker = &run->workers[number];
    if (worker->holds) {
        worker->holds = false;
        worker->kind = TASK_COMPUTE;
        return CREW_TASK;
    }
    if (run->n_reading_back == 0 && take_shard_locked(run, worker)) {
        return CREW_TASK;
    }
    if (take_stream_locked(run, worker) || take_left_tile_locked(run, worker) || take_shard_locked(run, worker)) {
        return CREW_TASK;
    }
    bool all_read = run->n_ended == run->n_streams;
    if (all_read && run->n_done == run->frame->job->plan->n_shards) {
        return CREW_OVER;
    }
    (void)phase_change(all_read ? LLAVAMED_PHASE_WAIT_TASK : LLAVAMED_PHASE_WAIT_ORDER);
    return CREW_WAIT;
}

/* ---- Doing it ------------------------------------------------------------------------------------------------ */

/* The most elements of a stream's tensor that are read at a time. */
static uint64_t read_elems_max(const struct run *run, size_t source_tensor)
{
    const struct pipeline_job *job = run->frame->job;
    size_t tensor = run->planned[source_tensor];
    if (tensor != TENSOR_NOT_FOUND) {
        return tile_elems_max(job, &job->plan->tensors[tensor]);
    }
    return job->geometry.tile_bytes /
           max_u64(dtype_bytes(source_tensors(run->source)->tensors[source_tensor].dtype), 1);
}

static enum llavamed_status read_stream(struct run *run, struct worker *worker, struct llavamed_error *error)
{
    struct source_run *brought = &worker->run;
    enum llavamed_status status = source_stream_next(run->source, worker->stream, brought, error);
    if (status != LLAVAMED_OK || brought->n_elems == 0) {
        return status;
    }
    uint64_t most = read_elems_max(run, brought->tensor);
    size_t tensor = run->planned[brought->tensor];
    brought->n_elems = min_u64(brought->n_elems, most);
    worker->kept = tensor == TENSOR_NOT_FOUND
                       ? NULL
                       : tile_find_kept(run->frame->job, tensor, brought->first_elem, most, &brought->n_elems);
    return source_stream_read(run->source, worker->stream, brought->n_elems, worker->elems, error);
}

static enum llavamed_status compute(struct run *run, struct worker *worker, struct llavamed_error *error)
{
    struct pipeline_frame *frame = run->frame;
    const struct tile *tile = &worker->tile;
    struct output_file *file = run->shards[frame->job->plan->tensors[tile->tensor].shard].file;
    worker->tally = (struct pipeline_tensor){0};
    if (tile_reuse(frame->job, tile, file, worker->out, &worker->tally)) {
        atomic_fetch_add(&frame->reused_bytes, tile->n_bytes);
        return LLAVAMED_OK;
    }
    worker->notes.base.n_notes = 0;
    worker->notes.delta.n_notes = 0;
    enum llavamed_status status = tile_compute(frame->job, tile, &worker->scratch, worker->out, &worker->tally, error);
    if (status == LLAVAMED_OK) {
        status = tile_deliver(frame->job, tile, file, worker->out, &worker->scratch, &worker->tally, error);
    }
    if (status == LLAVAMED_OK) {
        atomic_fetch_add(&frame->written_bytes, tile->n_bytes);
        atomic_fetch_add(&frame->hashed_bytes, frame->job->sink != NULL ? tile->n_bytes : 0);
        status = tile_written(frame->job, tile, &worker->tally, &worker->notes, error);
    }
    return status;
}

/* What is known of all bytes of a tensor; 0 of none. */
static enum llavamed_status join_crc(struct record_crc *crc, uint32_t *crc32, struct llavamed_error *error)
{
    if (crc->unusable) {
        return llavamed_fail_memory(error, sizeof *crc->runs, "the CRC-32 of a tensor");
    }
    assert(crc->n_runs <= 1); /* no byte is missing */
    *crc32 = crc->n_runs == 0 ? 0 : crc->runs[0].crc32;
    record_crc_deinit(crc);
    return LLAVAMED_OK;
}

/* The CRC-32 of each tensor of a complete shard, from those of its tiles. */
static enum llavamed_status join_crcs(struct run *run, const struct plan_shard *shard, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < shard->n_tensors; i++) {
        struct placed *placed = &run->placed[shard->tensors[i]];
        struct pipeline_tensor *became = &run->frame->outcome->tensors[shard->tensors[i]];
        status = join_crc(&placed->crc, &became->crc32, error);
        if (status == LLAVAMED_OK) {
            status = join_crc(&placed->target_crc, &became->target_crc32, error);
        }
    }
    return status;
}

/* What stands before data `until` of a shard and is not written yet. */
static enum llavamed_status write_segments(struct run *run, struct shard *shard, size_t until,
                                           struct llavamed_error *error)
{
    uint64_t n_bytes = 0;
    enum llavamed_status status =
        shard_segments_write(&shard->segments, until, shard->file, NULL, &n_bytes, error);
    atomic_fetch_add(&run->frame->written_bytes, n_bytes);
    return status;
}

static enum llavamed_status close_shard(struct run *run, size_t index, struct llavamed_error *error)
{
    const struct pipeline_job *job = run->frame->job;
    const struct plan_shard *planned = &job->plan->shards[index];
    struct shard *shard = &run->shards[index];
    enum llavamed_status status = join_crcs(run, planned, error);
    if (status == LLAVAMED_OK) {
        status = write_segments(run, shard, planned->layout.n_data, error);
    }
    shard_segments_deinit(&shard->segments);
    if (status == LLAVAMED_OK) {
        status = pipeline_finish_shard(run->frame, shard->file, error);
        shard->file = NULL;
    }
    return status == LLAVAMED_OK
               ? read_back_open(job->directory, job->plan, index, run->frame->outcome, &shard->back, error)
               : status;
}

static enum llavamed_status read_back(struct run *run, struct worker *worker, struct llavamed_error *error)
{
    struct pipeline_frame *frame = run->frame;
    struct shard *shard = &run->shards[worker->shard];
    size_t n_read = 0;
    enum llavamed_status status =
        read_back_next(shard->back, worker->elems, frame->job->geometry.tile_bytes, &n_read, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    atomic_fetch_add(&frame->hashed_bytes, n_read);
    worker->ended = n_read == 0;
    if (worker->ended) {
        status = read_back_sha256(shard->back, frame->outcome->shard_sha256[worker->shard], error);
        read_back_close(shard->back);
        shard->back = NULL;
    }
    return status;
}

static enum llavamed_status work(void *state, unsigned number, struct llavamed_error *error)
{
    struct run *run = state;
    struct worker *worker = &run->workers[number];
    switch (worker->kind) {
    case TASK_READ:
        return read_stream(run, worker, error);
    case TASK_COMPUTE:
        return compute(run, worker, error);
    case TASK_CLOSE:
        return run->frame->job->sink != NULL ? LLAVAMED_OK : close_shard(run, worker->shard, error);
    case TASK_READ_BACK:
        break;
    }
    return read_back(run, worker, error);
}

/* ---- What that changed --------------------------------------------------------------------------------------- */

static void read_done_locked(struct run *run, struct worker *worker)
{
    const struct source_run *brought = &worker->run;
    struct stream *stream = &run->streams[worker->stream];
    stream->busy = false;
    if (brought->n_elems == 0) {
        stream->ended = true;
        run->n_ended++;
        return;
    }
    size_t tensor = run->planned[brought->tensor];
    if (tensor != TENSOR_NOT_FOUND) {
        worker->holds = true;
        worker->tile = make_tile(run, tensor, brought->first_elem, brought->n_elems);
        worker->tile.kept = worker->kept;
        *(run->is_base ? &worker->tile.base_elems : &worker->tile.delta_elems) = worker->elems;
    }
}

static void compute_done_locked(struct run *run, const struct worker *worker)
{
    const struct tile *tile = &worker->tile;
    struct placed *placed = &run->placed[tile->tensor];
    uint64_t offset = tile->file_offset - placed->file_offset;
    record_crc_note(&placed->crc, offset, tile->n_bytes, worker->tally.crc32);
    if (plan_makes_bits(run->frame->job->plan, tile->tensor)) {
        record_crc_note(&placed->target_crc, offset, tile->n_bytes, worker->tally.target_crc32);
    }
    pipeline_add_tile(&run->frame->outcome->tensors[tile->tensor], tile, worker->out, &worker->tally);
    run->shards[run->frame->job->plan->tensors[tile->tensor].shard].left_bytes -= tile->n_bytes;
}

static void done_locked(void *state, unsigned number, struct crew *crew)
{
    struct run *run = state;
    struct worker *worker = &run->workers[number];
    if (worker->kind == TASK_READ) {
        read_done_locked(run, worker);
        return;
    }
    if (worker->kind == TASK_COMPUTE) {
        compute_done_locked(run, worker);
        return;
    }
    struct shard *shard = &run->shards[worker->shard];
    shard->busy = false;
    run->n_reading_back--;
    if (worker->kind == TASK_CLOSE && run->frame->job->sink == NULL) {
        shard->state = SHARD_READING;
    } else if (worker->kind == TASK_CLOSE || worker->ended) {
        shard->state = SHARD_DONE;
        run->n_done++;
        crew_announce_locked(crew, worker->shard);
    }
}

/* Every byte is written and read back: half of it is done when it is written. */
static void tick(void *state)
{
    const struct run *run = state;
    uint64_t hashed = atomic_load(&run->frame->hashed_bytes); /* first: so that it is no more than what is written */
    uint64_t written = atomic_load(&run->frame->written_bytes);
    pipeline_tell_progress(run->frame, 1, hashed + (written - hashed) / 2);
}

static void tell(void *state, size_t item, size_t n_told)
{
    const struct run *run = state;
    pipeline_tell_shard(run->frame, item, n_told, run->frame->job->plan->n_shards);
}

/* ---- Before and after ---------------------------------------------------------------------------------------- */

/* How many of a result's elements the streams bring: the first ones. */
static uint64_t count_streamed(const struct run *run, const struct plan_tensor *tensor)
{
    if (!run->is_base) {
        return tensor->out.n_elems;
    }
    bool uses_base = tensor->action != PLAN_COPY_DELTA && tensor->base_index != TENSOR_NOT_FOUND;
    return uses_base ? source_tensors(run->source)->tensors[tensor->base_index].n_elems : 0;
}

static void place_tensors(struct run *run)
{
    const struct plan *plan = run->frame->job->plan;
    for (size_t i = 0; i < source_tensors(run->source)->n_tensors; i++) {
        run->planned[i] = TENSOR_NOT_FOUND;
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        run->placed[i].n_streamed = count_streamed(run, tensor);
        if (run->placed[i].n_streamed > 0) {
            run->planned[run->is_base ? tensor->base_index : tensor->delta_index] = i;
        }
        run->shards[tensor->shard].left_bytes += tensor->out.n_bytes;
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        for (size_t k = 0; k < shard->n_tensors; k++) {
            run->placed[shard->tensors[shard->layout.order[k]]].file_offset = shard->layout.file_offsets[k];
        }
    }
}

static enum llavamed_status run_init(struct run *run, struct llavamed_error *error)
{
    const struct pipeline_job *job = run->frame->job;
    const struct pipeline_geometry *geometry = &job->geometry;
    size_t n_tensors = source_tensors(run->source)->n_tensors;
    run->n_streams = source_streams(run->source);
    run->workers = calloc(geometry->n_workers, sizeof *run->workers);
    run->streams = calloc(run->n_streams, sizeof *run->streams);
    run->placed = calloc(job->plan->n_tensors + 1, sizeof *run->placed);
    run->shards = calloc(job->plan->n_shards + 1, sizeof *run->shards);
    run->planned = calloc(n_tensors + 1, sizeof *run->planned);
    if (run->workers == NULL || run->streams == NULL || run->placed == NULL || run->shards == NULL ||
        run->planned == NULL) {
        return llavamed_fail_memory(error, (job->plan->n_tensors + 1) * sizeof *run->placed, "the pipeline");
    }
    uint8_t *at = run->frame->pool;
    for (unsigned i = 0; i < geometry->n_workers; i++, at += TILES_PER_WORKER * geometry->tile_bytes) {
        struct worker *worker = &run->workers[i];
        worker->elems = at;
        worker->out = at + geometry->tile_bytes;
        worker->scratch.source = at + 2 * geometry->tile_bytes;
        worker->scratch.converted = at + 3 * geometry->tile_bytes;
        worker->scratch.notes = &worker->notes;
    }
    place_tensors(run);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && job->sink == NULL && i < job->plan->n_shards; i++) {
        struct shard *shard = &run->shards[i];
        status = pipeline_create_shard(run->frame, i, &shard->file, error);
        if (status == LLAVAMED_OK) {
            status = shard_segments_init(&shard->segments, &job->plan->shards[i], run->frame->outcome->tensors, error);
        }
        if (status == LLAVAMED_OK) {
            status = write_segments(run, shard, 0, error);
        }
    }
    return status;
}

static void run_deinit(struct run *run)
{
    const struct plan *plan = run->frame->job->plan;
    for (size_t i = 0; run->shards != NULL && i < plan->n_shards; i++) {
        output_file_close(run->shards[i].file);
        shard_segments_deinit(&run->shards[i].segments);
        read_back_close(run->shards[i].back);
    }
    for (size_t i = 0; run->placed != NULL && i < plan->n_tensors; i++) {
        record_crc_deinit(&run->placed[i].crc);
        record_crc_deinit(&run->placed[i].target_crc);
    }
    free(run->workers);
    free(run->streams);
    free(run->placed);
    free(run->shards);
    free(run->planned);
}

enum llavamed_status pipeline_run_streams(struct pipeline_frame *frame, struct llavamed_error *error)
{
    const struct pipeline_job *job = frame->job;
    bool is_base = source_streams(job->base) > 0;
    struct run run = {.frame = frame, .source = is_base ? job->base : job->delta, .is_base = is_base};
    enum llavamed_status status = run_init(&run, error);
    if (status == LLAVAMED_OK) {
        const struct crew_job crew_job = {
            .state = &run,
            .n_workers = job->geometry.n_workers,
            .n_items = job->plan->n_shards,
            .stop_signal = job->stop_signal,
            .clocks = frame->clocks,
            .take_locked = take_locked,
            .work = work,
            .done_locked = done_locked,
            .tick = tick,
            .tell = tell,
        };
        status = crew_run(&crew_job, error);
    }
    run_deinit(&run);
    return status;
}
