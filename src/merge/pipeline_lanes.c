/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The usual way: all sources are read in any order. (pipeline_stream.c is the other.) Scheduling state is guarded by
 * the crew's mutex; everything that takes time (reading, computing, writing, hashing, fsync) is done outside it. Per
 * lane (a shard in flight):
 *
 *     claimed tiles, in file order:   [hashed ...][done, waiting][in work][done][in work]  -> next claim
 *                                                  ^ lane->first
 *
 * A convoy is a group of the schedule in flight: the lanes of one plan's shard, or those that several plans fill from
 * the same base tensors. Tiles are claimed for all results of a step at once, each with its buffer, by one worker,
 * which reads the base once for them.
 *
 * A worker takes the hash of lane->first when it is done and nobody hashes that lane, else claims tiles, else waits.
 * What a lane waits for has its buffer and is in work or done, so the pool cannot deadlock.
 */
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/crew.h"
#include "integrity/crc32.h"
#include "merge/pipeline_shard.h"
#include "merge/pipeline_stream.h"
#include "merge/schedule.h"
#include "merge/tile_keep.h"
#include "merge/tile_share.h"

/* A result buffer and the tile in it. */
struct slot {
    uint8_t *bytes;
    struct lane *lane;
    struct tile tile;
    struct pipeline_tensor tally;
    struct slot *next; /* in its lane's queue, or in the free list */
    bool done;         /* computed and written; set under the mutex */
};

enum lane_state { LANE_IDLE, LANE_STARTING, LANE_RUNNING, LANE_FINISHED };

struct lane {
    enum lane_state state;
    const struct schedule_shard *planned;
    size_t n_left; /* steps of which not every tile is claimed */
    struct pipeline_shard out;
    bool busy; /* a worker hashes, starts or finishes it */
    struct slot *first;
    struct slot *last;
};

struct convoy {
    const struct schedule_group *group; /* NULL: none */
    size_t step;                        /* of the group: the next tile's */
    uint64_t next_elem;
    size_t n_finished; /* lanes */
};

enum work_kind { WORK_START, WORK_FINISH, WORK_HASH, WORK_TILES };

/* A worker and what it is at. */
struct worker {
    struct tile_scratch scratch;
    struct tile_notes notes;
    void *base; /* room for elements that several results share; NULL when there is one job */
    enum work_kind kind;
    struct convoy *convoy;
    struct lane *lane;
    struct slot **slots; /* of each result; all of one tile or the one to be hashed */
    struct tile_share *shares; /* of each result */
    size_t n_slots;
};

struct pipeline {
    struct pipeline_frame *frames;
    size_t n_frames;
    struct schedule schedule;
    struct worker *workers; /* owned, as are the other lists */
    struct lane *lanes;     /* as the schedule's shards */
    size_t *lane_of;        /* of each plan's shards, one plan after the other */
    size_t *first_shard;    /* of each plan, in lane_of */
    struct convoy *convoys;
    unsigned n_convoys;
    unsigned next_convoy; /* claims go round */
    struct slot *slots;
    struct slot *free_slots;
    size_t n_free;
    size_t next_group;
    size_t n_finished;         /* lanes */
    struct tile_place *places; /* room for a claim */
    struct tile *tiles;
};

static struct lane *lane_of(const struct pipeline *pipeline, const struct schedule_part *part)
{
    size_t shard = pipeline->frames[part->plan].job->plan->tensors[part->tensor].shard;
    return &pipeline->lanes[pipeline->lane_of[pipeline->first_shard[part->plan] + shard]];
}

/* ---- Convoys ------------------------------------------------------------------------------------------------- */

static const struct schedule_step *step_of(const struct pipeline *pipeline, const struct convoy *convoy)
{
    return &pipeline->schedule.steps[convoy->group->first_step + convoy->step];
}

static const struct plan_tensor *tensor_of(const struct pipeline *pipeline, const struct schedule_part *part)
{
    return &pipeline->frames[part->plan].job->plan->tensors[part->tensor];
}

/* Goes on to the next step whenever there is nothing more to claim of one, which tells its lanes. */
static void pass_steps_locked(struct pipeline *pipeline, struct convoy *convoy)
{
    while (convoy->step < convoy->group->n_steps) {
        const struct schedule_step *step = step_of(pipeline, convoy);
        const struct schedule_part *parts = &pipeline->schedule.parts[step->first_part];
        for (size_t i = 0; i < step->n_parts; i++) {
            if (convoy->next_elem < tensor_of(pipeline, &parts[i])->out.n_elems) {
                return;
            }
        }
        for (size_t i = 0; i < step->n_parts; i++) {
            lane_of(pipeline, &parts[i])->n_left--;
        }
        convoy->step++;
        convoy->next_elem = 0;
    }
}

/* Gives an idle convoy the next group; false when there is none. */
static bool begin_group_locked(struct pipeline *pipeline, struct convoy *convoy)
{
    if (convoy->group != NULL || pipeline->next_group == pipeline->schedule.n_groups) {
        return convoy->group != NULL;
    }
    *convoy = (struct convoy){.group = &pipeline->schedule.groups[pipeline->next_group++]};
    pass_steps_locked(pipeline, convoy);
    return true;
}

/* ---- Work items --------------------------------------------------------------------------------------------- */

/* The places of the next tiles of a convoy; 0 when there are none, or a lane is not there yet, or no buffers are. */
static size_t find_places_locked(struct pipeline *pipeline, const struct convoy *convoy, struct worker *worker)
{
    if (convoy->step == convoy->group->n_steps) {
        return 0;
    }
    const struct schedule_step *step = step_of(pipeline, convoy);
    size_t n = 0;
    for (size_t i = 0; i < step->n_parts; i++) {
        const struct schedule_part *part = &pipeline->schedule.parts[step->first_part + i];
        struct lane *lane = lane_of(pipeline, part);
        if (convoy->next_elem >= tensor_of(pipeline, part)->out.n_elems) {
            continue;
        }
        if (lane->state != LANE_RUNNING) {
            return 0;
        }
        pipeline->places[n] = (struct tile_place){lane->out.frame->job, part->tensor, part->position};
        worker->shares[n].job = lane->out.frame->job;
        worker->shares[n].file = lane->out.file;
        pipeline->tiles[n].tensor = (size_t)(lane - pipeline->lanes); /* until the tile is cut */
        n++;
    }
    return n <= pipeline->n_free ? n : 0;
}

static void append_slot_locked(struct lane *lane, struct slot *slot)
{
    slot->lane = lane;
    slot->next = NULL;
    slot->done = false;
    if (lane->last == NULL) {
        lane->first = slot;
    } else {
        lane->last->next = slot;
    }
    lane->last = slot;
}

/* The next tiles of the convoy with free buffers, all taken; false when there are none. */
static bool claim_tiles_locked(struct pipeline *pipeline, struct convoy *convoy, struct worker *worker)
{
    size_t n = find_places_locked(pipeline, convoy, worker);
    if (n == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct slot *slot = pipeline->free_slots;
        pipeline->free_slots = slot->next;
        append_slot_locked(&pipeline->lanes[pipeline->tiles[i].tensor], slot);
        worker->slots[i] = slot;
    }
    tile_cut(pipeline->places, n, convoy->next_elem, pipeline->tiles);
    for (size_t i = 0; i < n; i++) {
        struct slot *slot = worker->slots[i];
        slot->tile = pipeline->tiles[i];
        memset(&slot->tally, 0, sizeof slot->tally);
        worker->shares[i].tile = &slot->tile;
        worker->shares[i].out = slot->bytes;
        worker->shares[i].tally = &slot->tally;
    }
    pipeline->n_free -= n;
    convoy->next_elem += pipeline->tiles[0].n_elems;
    pass_steps_locked(pipeline, convoy);
    worker->kind = WORK_TILES;
    worker->convoy = convoy;
    worker->n_slots = n;
    return true;
}

/* What a lane itself needs, before any new tile: hashing frees buffers. false: nothing. */
static bool lane_need_locked(const struct convoy *convoy, const struct lane *lane, enum work_kind *need)
{
    if (lane->busy || lane->state == LANE_FINISHED) {
        return false;
    }
    if (lane->state == LANE_IDLE) {
        *need = WORK_START;
        return convoy->step >= lane->planned->first_step;
    }
    if (lane->first != NULL) {
        *need = WORK_HASH;
        return lane->first->done;
    }
    *need = WORK_FINISH;
    return lane->n_left == 0;
}

static bool take_need_locked(struct pipeline *pipeline, struct convoy *convoy, struct worker *worker)
{
    for (size_t i = 0; i < convoy->group->n_shards; i++) {
        struct lane *lane = &pipeline->lanes[convoy->group->first_shard + i];
        if (lane_need_locked(convoy, lane, &worker->kind)) {
            worker->convoy = convoy;
            worker->lane = lane;
            worker->slots[0] = lane->first;
            lane->busy = true;
            lane->state = lane->state == LANE_IDLE ? LANE_STARTING : lane->state;
            return true;
        }
    }
    return false;
}

/* What a worker waits for that has found nothing to do. */
static enum llavamed_phase awaited_locked(const struct pipeline *pipeline)
{
    enum llavamed_phase awaited = LLAVAMED_PHASE_WAIT_TASK;
    bool hash_is_due = false;
    for (unsigned i = 0; i < pipeline->n_convoys; i++) {
        const struct schedule_group *group = pipeline->convoys[i].group;
        bool runs = group != NULL;
        for (size_t k = 0; group != NULL && k < group->n_shards; k++) {
            const struct lane *lane = &pipeline->lanes[group->first_shard + k];
            runs = runs && lane->state != LANE_STARTING;
            hash_is_due = hash_is_due || (lane->first != NULL && lane->first->done);
        }
        if (group != NULL && pipeline->convoys[i].step < group->n_steps && awaited != LLAVAMED_PHASE_WAIT_MEMORY) {
            awaited = runs ? LLAVAMED_PHASE_WAIT_MEMORY : LLAVAMED_PHASE_WAIT_ORDER;
        }
    }
    return awaited == LLAVAMED_PHASE_WAIT_MEMORY && hash_is_due ? LLAVAMED_PHASE_WAIT_HASH : awaited;
}

static enum crew_turn take_locked(void *state, unsigned number)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    if (pipeline->n_finished == pipeline->schedule.n_shards) {
        return CREW_OVER;
    }
    for (unsigned i = 0; i < pipeline->n_convoys; i++) {
        struct convoy *convoy = &pipeline->convoys[i];
        if (begin_group_locked(pipeline, convoy) && take_need_locked(pipeline, convoy, worker)) {
            return CREW_TASK;
        }
    }
    for (unsigned i = 0; i < pipeline->n_convoys; i++) {
        unsigned at = (pipeline->next_convoy + i) % pipeline->n_convoys;
        struct convoy *convoy = &pipeline->convoys[at];
        if (convoy->group != NULL && claim_tiles_locked(pipeline, convoy, worker)) {
            pipeline->next_convoy = (at + 1) % pipeline->n_convoys;
            return CREW_TASK;
        }
    }
    (void)phase_change(awaited_locked(pipeline));
    return CREW_WAIT;
}

static enum llavamed_status do_tiles(struct worker *worker, struct llavamed_error *error)
{
    const struct tile_room room = {&worker->scratch, &worker->notes, worker->base};
    enum llavamed_status status = tile_make_all(worker->shares, worker->n_slots, &room, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < worker->n_slots; i++) {
        const struct tile_share *share = &worker->shares[i];
        struct pipeline_frame *frame = worker->slots[i]->lane->out.frame;
        atomic_fetch_add(share->reused ? &frame->reused_bytes : &frame->written_bytes, share->tile->n_bytes);
    }
    return status;
}

static enum llavamed_status work(void *state, unsigned number, struct llavamed_error *error)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    if (worker->kind != WORK_TILES && worker->lane->out.frame->job->sink != NULL) {
        return LLAVAMED_OK; /* no file: a lane is but an order of tiles */
    }
    switch (worker->kind) {
    case WORK_START:
        return pipeline_shard_start(&worker->lane->out, error);
    case WORK_FINISH:
        return pipeline_shard_finish(&worker->lane->out, error);
    case WORK_HASH:
        return pipeline_shard_hash(&worker->lane->out, &worker->slots[0]->tile, worker->slots[0]->bytes, error);
    case WORK_TILES:
        break;
    }
    return do_tiles(worker, error);
}

/* Adds a hashed tile to its tensor's record. Tiles come here in file order, which joining the CRC-32 needs. */
static void account_tile_locked(const struct slot *slot)
{
    struct pipeline_tensor *total = &slot->lane->out.frame->outcome->tensors[slot->tile.tensor];
    total->crc32 = crc32_join(total->crc32, slot->tally.crc32, slot->tile.n_bytes);
    total->target_crc32 = crc32_join(total->target_crc32, slot->tally.target_crc32, slot->tile.n_bytes); /* or 0 */
    pipeline_add_tile(total, &slot->tile, slot->bytes, &slot->tally);
    atomic_fetch_add(&slot->lane->out.frame->hashed_bytes, slot->tile.n_bytes);
}

static void hash_done_locked(struct pipeline *pipeline, const struct worker *worker)
{
    struct lane *lane = worker->lane;
    struct slot *slot = worker->slots[0];
    account_tile_locked(slot);
    lane->first = slot->next;
    if (lane->first == NULL) {
        lane->last = NULL;
    }
    slot->next = pipeline->free_slots;
    pipeline->free_slots = slot;
    pipeline->n_free++;
    lane->busy = false;
}

static void finish_done_locked(struct pipeline *pipeline, const struct worker *worker, struct crew *crew)
{
    struct convoy *convoy = worker->convoy;
    crew_announce_locked(crew, (size_t)(worker->lane - pipeline->lanes));
    pipeline->n_finished++;
    worker->lane->state = LANE_FINISHED;
    worker->lane->busy = false;
    if (++convoy->n_finished == convoy->group->n_shards) {
        convoy->group = NULL;
    }
}

static void done_locked(void *state, unsigned number, struct crew *crew)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    switch (worker->kind) {
    case WORK_TILES:
        for (size_t i = 0; i < worker->n_slots; i++) {
            worker->slots[i]->done = true;
        }
        break;
    case WORK_HASH:
        hash_done_locked(pipeline, worker);
        break;
    case WORK_FINISH:
        finish_done_locked(pipeline, worker, crew);
        break;
    case WORK_START:
        worker->lane->state = LANE_RUNNING;
        worker->lane->busy = false;
        break;
    }
}

static void tick(void *state)
{
    const struct pipeline *pipeline = state;
    uint64_t hashed_bytes = 0;
    for (size_t i = 0; i < pipeline->n_frames; i++) {
        hashed_bytes += atomic_load(&pipeline->frames[i].hashed_bytes);
    }
    pipeline_tell_progress(pipeline->frames, pipeline->n_frames, hashed_bytes);
}

static void tell(void *state, size_t item, size_t n_told)
{
    const struct pipeline *pipeline = state;
    const struct lane *lane = &pipeline->lanes[item];
    pipeline_tell_shard(lane->out.frame, lane->planned->shard, n_told, pipeline->schedule.n_shards);
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static enum llavamed_status make_schedule(struct pipeline *pipeline, struct llavamed_error *error)
{
    bool fits = false;
    const struct plan **plans = calloc(pipeline->n_frames, sizeof *plans);
    if (plans == NULL) {
        return llavamed_fail_memory(error, pipeline->n_frames * sizeof *plans, "the pipeline");
    }
    for (size_t i = 0; i < pipeline->n_frames; i++) {
        plans[i] = pipeline->frames[i].job->plan;
    }
    enum llavamed_status status = schedule_build(plans, pipeline->n_frames, &pipeline->schedule, &fits, error);
    free(plans);
    return status != LLAVAMED_OK || fits
               ? status
               : llavamed_fail(error, LLAVAMED_STATUS_INTERNAL, "plans of one run contradict each other");
}

static enum llavamed_status make_lanes(struct pipeline *pipeline, struct llavamed_error *error)
{
    size_t n_shards = pipeline->schedule.n_shards;
    pipeline->lanes = calloc(n_shards + 1, sizeof *pipeline->lanes);
    pipeline->lane_of = calloc(n_shards + 1, sizeof *pipeline->lane_of);
    pipeline->first_shard = calloc(pipeline->n_frames, sizeof *pipeline->first_shard);
    if (pipeline->lanes == NULL || pipeline->lane_of == NULL || pipeline->first_shard == NULL) {
        return llavamed_fail_memory(error, n_shards * sizeof *pipeline->lanes, "the pipeline");
    }
    for (size_t i = 0; i + 1 < pipeline->n_frames; i++) {
        pipeline->first_shard[i + 1] = pipeline->first_shard[i] + pipeline->frames[i].job->plan->n_shards;
    }
    for (size_t i = 0; i < n_shards; i++) {
        const struct schedule_shard *planned = &pipeline->schedule.shards[i];
        pipeline->lanes[i] = (struct lane){
            .planned = planned,
            .n_left = planned->n_steps,
            .out = {.frame = &pipeline->frames[planned->plan], .shard = planned->shard},
        };
        pipeline->lane_of[pipeline->first_shard[planned->plan] + planned->shard] = i;
    }
    return LLAVAMED_OK;
}

static void cut_pool(struct pipeline *pipeline)
{
    const struct pipeline_geometry *geometry = &pipeline->frames[0].job->geometry;
    size_t n_results = pipeline->n_frames;
    uint8_t *at = pipeline->frames[0].pool;
    for (unsigned i = 0; i < geometry->n_buffers; i++, at += geometry->tile_bytes) {
        struct slot *slot = &pipeline->slots[i];
        slot->bytes = at;
        slot->next = pipeline->free_slots;
        pipeline->free_slots = slot;
    }
    pipeline->n_free = geometry->n_buffers;
    for (unsigned i = 0; i < geometry->n_workers; i++) {
        struct worker *worker = &pipeline->workers[i];
        worker->scratch = (struct tile_scratch){at, at + geometry->tile_bytes, &worker->notes};
        at += SCRATCH_PER_WORKER * geometry->tile_bytes;
        if (n_results > 1) {
            worker->base = at;
            at += geometry->tile_bytes;
        }
        worker->slots = worker == pipeline->workers ? worker->slots : pipeline->workers[0].slots + i * n_results;
        worker->shares = worker == pipeline->workers ? worker->shares : pipeline->workers[0].shares + i * n_results;
    }
}

static enum llavamed_status allocate(struct pipeline *pipeline, struct llavamed_error *error)
{
    const struct pipeline_geometry *geometry = &pipeline->frames[0].job->geometry;
    size_t n_results = pipeline->n_frames;
    /* As many hashes as workers keep them busy; each convoy of several results has several. */
    uint64_t n_wanted = (geometry->n_workers + n_results - 1) / n_results;
    pipeline->n_convoys = (unsigned)min_u64(max_u64(pipeline->schedule.n_groups, 1), n_wanted);
    pipeline->convoys = calloc(pipeline->n_convoys, sizeof *pipeline->convoys);
    pipeline->workers = calloc(geometry->n_workers, sizeof *pipeline->workers);
    pipeline->slots = calloc(geometry->n_buffers, sizeof *pipeline->slots);
    pipeline->places = calloc(n_results, sizeof *pipeline->places);
    pipeline->tiles = calloc(n_results, sizeof *pipeline->tiles);
    bool all = pipeline->convoys != NULL && pipeline->workers != NULL && pipeline->slots != NULL &&
               pipeline->places != NULL && pipeline->tiles != NULL;
    if (all) {
        struct worker *first = &pipeline->workers[0];
        first->slots = calloc(geometry->n_workers * n_results, sizeof(struct slot *));
        first->shares = calloc(geometry->n_workers * n_results, sizeof *first->shares);
        all = first->slots != NULL && first->shares != NULL;
    }
    if (!all) {
        return llavamed_fail_memory(error, geometry->n_buffers * sizeof *pipeline->slots, "the pipeline");
    }
    cut_pool(pipeline);
    return LLAVAMED_OK;
}

static void pipeline_deinit(struct pipeline *pipeline)
{
    for (size_t i = 0; pipeline->lanes != NULL && i < pipeline->schedule.n_shards; i++) {
        pipeline_shard_deinit(&pipeline->lanes[i].out);
    }
    if (pipeline->workers != NULL) {
        free(pipeline->workers[0].slots);
        free(pipeline->workers[0].shares);
    }
    free(pipeline->workers);
    free(pipeline->lanes);
    free(pipeline->lane_of);
    free(pipeline->first_shard);
    free(pipeline->convoys);
    free(pipeline->slots);
    free(pipeline->places);
    free(pipeline->tiles);
    schedule_deinit(&pipeline->schedule);
}

enum llavamed_status pipeline_run_lanes(struct pipeline_frame *frames, size_t n_frames, struct llavamed_error *error)
{
    struct pipeline pipeline = {.frames = frames, .n_frames = n_frames};
    enum llavamed_status status = make_schedule(&pipeline, error);
    if (status == LLAVAMED_OK) {
        status = make_lanes(&pipeline, error);
    }
    if (status == LLAVAMED_OK) {
        status = allocate(&pipeline, error);
    }
    if (status == LLAVAMED_OK) {
        const struct crew_job crew_job = {
            .state = &pipeline,
            .n_workers = frames[0].job->geometry.n_workers,
            .n_items = pipeline.schedule.n_shards,
            .stop_signal = frames[0].job->stop_signal,
            .clocks = frames[0].clocks,
            .take_locked = take_locked,
            .work = work,
            .done_locked = done_locked,
            .tick = tick,
            .tell = tell,
        };
        status = crew_run(&crew_job, error);
    }
    pipeline_deinit(&pipeline);
    return status;
}
