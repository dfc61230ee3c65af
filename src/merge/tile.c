/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both operands are converted to the result's dtype, then added once. The delta is read straight into the result's
 * buffer and the base into the worker's own, so that the common case (one dtype) needs no copy:
 *
 *     delta file -> out;  base file -> scratch;  out = scratch + out
 *
 * What a stream brought is added from where it is. Where a delta is made the same is done with a target, from which the
 * base is subtracted.
 */
#include "merge/tile.h"

#include <string.h>

#include "core/checked.h"
#include "core/phase.h"
#include "integrity/crc32.h"
#include "merge/bit_difference.h"
#include "merge/inv_freq.h"
#include "merge/journal.h"
#include "merge/tile_keep.h"

/* A tensor of the plan, in its sources. */
struct operands {
    const struct plan_tensor *tensor;
    const struct source *base;
    const struct source *delta;
};

/* The widest element that takes part in a tensor, so that a tile fits every buffer whatever it holds. */
static size_t widest_element_bytes(const struct operands *in)
{
    const struct plan_tensor *tensor = in->tensor;
    const struct tensor *delta = &source_tensors(in->delta)->tensors[tensor->delta_index];
    uint64_t widest = max_u64(dtype_bytes(tensor->out.dtype), dtype_bytes(delta->dtype));
    if (tensor->base_index != TENSOR_NOT_FOUND) {
        const struct tensor *base = &source_tensors(in->base)->tensors[tensor->base_index];
        widest = max_u64(widest, dtype_bytes(base->dtype));
    }
    if (tensor->action == PLAN_INV_FREQ) {
        widest = sizeof(double);
    }
    return (size_t)widest;
}

uint64_t tile_elems_max(const struct pipeline_job *job, const struct plan_tensor *tensor)
{
    const struct operands in = {tensor, job->base, job->delta};
    return job->geometry.tile_bytes / widest_element_bytes(&in);
}

/*
 * The coarser grain of both operands. The base's counts where its elements are those of the result, or its rows are:
 * then a run begins at the same element in both.
 */
static uint64_t grain_of(const struct operands *in)
{
    const struct plan_tensor *tensor = in->tensor;
    if (tensor->action == PLAN_INV_FREQ) {
        return 1;
    }
    uint64_t grain = source_grain(in->delta, tensor->delta_index);
    if (tensor->base_index != TENSOR_NOT_FOUND) {
        const struct tensor *base = &source_tensors(in->base)->tensors[tensor->base_index];
        bool same_rows = tensor->action == PLAN_ADD || base->shape[1] == tensor->out.shape[1];
        grain = same_rows ? max_u64(grain, source_grain(in->base, tensor->base_index)) : grain;
    }
    return grain;
}

uint64_t tile_bytes_wanted(const struct plan *plan, const struct source *base, const struct source *delta)
{
    uint64_t wanted = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct operands in = {&plan->tensors[i], base, delta};
        uint64_t grain = grain_of(&in);
        uint64_t n_bytes;
        if (grain > 1) {
            bool fits = checked_mul_u64(grain, widest_element_bytes(&in), &n_bytes);
            wanted = max_u64(wanted, fits ? n_bytes : UINT64_MAX);
        }
    }
    return wanted;
}

/* How many elements from first_elem on can be a tile of all places, as far as buffers and grains go. */
static uint64_t elems_for_all(const struct tile_place *places, size_t n_places, uint64_t first_elem, uint64_t *most)
{
    uint64_t left = UINT64_MAX;
    uint64_t grain = 1;
    *most = UINT64_MAX;
    for (size_t i = 0; i < n_places; i++) {
        const struct pipeline_job *job = places[i].job;
        const struct plan_tensor *tensor = &job->plan->tensors[places[i].tensor];
        const struct operands in = {tensor, job->base, job->delta};
        *most = min_u64(*most, tile_elems_max(job, tensor));
        grain = max_u64(grain, grain_of(&in));
        left = min_u64(left, tensor->out.n_elems - first_elem);
    }
    return min_u64(*most - (grain <= *most ? *most % grain : 0), left);
}

void tile_cut(const struct tile_place *places, size_t n_places, uint64_t first_elem, struct tile *tiles)
{
    uint64_t most;
    uint64_t wanted = elems_for_all(places, n_places, first_elem, &most);
    uint64_t n_elems = UINT64_MAX;
    for (size_t i = 0; i < n_places; i++) {
        uint64_t n_mine = wanted;
        tiles[i].kept = tile_find_kept(places[i].job, places[i].tensor, first_elem, most, &n_mine);
        n_elems = min_u64(n_elems, n_mine);
    }
    for (size_t i = 0; i < n_places; i++) {
        const struct plan *plan = places[i].job->plan;
        const struct plan_tensor *tensor = &plan->tensors[places[i].tensor];
        const struct shard_layout *layout = &plan->shards[tensor->shard].layout;
        size_t element_bytes = dtype_bytes(tensor->out.dtype);
        bool is_whole = tiles[i].kept != NULL && tiles[i].kept->n_elems == n_elems;
        tiles[i] = (struct tile){
            .tensor = places[i].tensor,
            .position = places[i].position,
            .first_elem = first_elem,
            .n_elems = n_elems,
            .file_offset = layout->file_offsets[places[i].position] + first_elem * element_bytes,
            .n_bytes = (size_t)(n_elems * element_bytes),
            .kept = is_whole ? tiles[i].kept : NULL,
        };
    }
}

/* What one computation works on; `type` is the result's. */
struct operation {
    const struct pipeline_job *job;
    const struct plan_tensor *tensor;
    const struct tensor *base; /* NULL when the base lacks it */
    const struct tensor *delta;
    const struct tile_scratch *scratch;
    enum kernel_type type;
    struct pipeline_tensor *tally;
    struct relative_size *size; /* NULL: not wanted */
};

static enum kernel_type kernel_type_known(enum dtype dtype)
{
    enum kernel_type type = KERNEL_F32;
    (void)kernel_type_of(dtype, &type); /* the plan lets only addable dtypes come this far */
    return type;
}

/* Reads a run of either source; what that tells of checksums goes where the caller wants it. */
static enum llavamed_status read_run(const struct operation *op, struct source *source, const struct source_run *run,
                                     void *buffer, struct llavamed_error *error)
{
    struct tile_notes *notes = op->scratch->notes;
    struct source_notes *of = notes == NULL ? NULL : source == op->job->base ? &notes->base : &notes->delta;
    return source_read_noting(source, run, buffer, of, error);
}

/*
 * Brings elements of one source in the operation's type: those `given`, as they are, when they have it; else read
 * straight into `target`, or converted into it from there or from scratch->source. *brought says where they are.
 */
static enum llavamed_status fetch(const struct operation *op, struct source *source, const struct source_run *run,
                                  const void *given, void *target, const void **brought, struct llavamed_error *error)
{
    bool is_difference = op->tensor->by_bits && source == op->job->delta;
    enum kernel_type from =
        is_difference ? op->type : kernel_type_known(source_tensors(source)->tensors[run->tensor].dtype);
    const void *raw = given;
    if (given == NULL) {
        void *room = from == op->type ? target : op->scratch->source;
        enum llavamed_status status = read_run(op, source, run, room, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        raw = room;
    }
    *brought = raw;
    if (from != op->type) {
        op->job->kernels->convert[from][op->type](target, raw, (size_t)run->n_elems, &op->tally->n_overflow);
        *brought = target;
    }
    return LLAVAMED_OK;
}

/* A run of elements of a tile. */
struct tile_run {
    uint64_t base_first;
    uint64_t n_elems;
    const void *base;  /* given with the tile, or NULL */
    const void *delta; /* in the operation's type; may be `out` */
    void *out;
};

/* Notes what is about to be added, or, without a base, is the delta's alone. */
static void note_size(const struct operation *op, const void *base, const void *delta, uint64_t n_elems)
{
    if (op->size != NULL && base != NULL) {
        size_sum_feed(&op->size->base, op->job->kernels, op->type, base, (size_t)n_elems);
    }
    if (op->size != NULL) {
        struct size_sum *sum = base != NULL ? &op->size->delta : &op->size->alone;
        size_sum_feed(sum, op->job->kernels, op->type, delta, (size_t)n_elems);
    }
}

/* out = base + delta, or target - base. */
static void combine(const struct operation *op, enum kernel_type type, const void *base, const void *delta,
                    uint64_t n_elems, void *out)
{
    const struct kernel_set *kernels = op->job->kernels;
    bool subtracts = op->job->plan->operation == PLAN_MAKE_DELTA;
    if (op->tensor->by_bits) {
        size_t element_bytes = dtype_bytes(op->tensor->out.dtype);
        (subtracts ? bit_difference_subtract : bit_difference_add)(out, base, delta, (size_t)n_elems, element_bytes);
        if (!subtracts) {
            kernel_scan(type)(out, (size_t)n_elems, &op->tally->counts);
        }
        return;
    }
    (subtracts ? kernels->subtract : kernels->add)[type](out, base, delta, (size_t)n_elems, &op->tally->counts);
}

/*
 * What llavamed-apply will make of a run of an exact delta has the target's CRC-32. scratch->source is free for it: the
 * base is there in its own dtype, if at all, and needed no more once it is added.
 */
static enum llavamed_status verify_bits(const struct operation *op, const void *base, const struct tile_run *run,
                                        uint32_t target_crc32, struct llavamed_error *error)
{
    size_t element_bytes = dtype_bytes(op->tensor->out.dtype);
    void *again = op->scratch->source;
    bit_difference_add(again, base, run->out, (size_t)run->n_elems, element_bytes);
    if (crc32_update(0, again, (size_t)run->n_elems * element_bytes) == target_crc32) {
        return LLAVAMED_OK;
    }
    return llavamed_fail(error, LLAVAMED_STATUS_INTERNAL,
                         "%s: base + delta is not the target: the memory or the processor of this machine fails",
                         op->tensor->out.name);
}

/* That over a run. */
static enum llavamed_status add_base(const struct operation *op, const struct tile_run *run,
                                     struct llavamed_error *error)
{
    enum kernel_type base_type = kernel_type_known(op->base->dtype);
    void *room = base_type == op->type ? op->scratch->source : op->scratch->converted;
    const struct source_run elems = {op->tensor->base_index, run->base_first, run->n_elems};
    const void *base;
    enum llavamed_status status = fetch(op, op->job->base, &elems, run->base, room, &base, error);
    if (status == LLAVAMED_OK) {
        if (!op->tensor->by_bits) {
            note_size(op, base, run->delta, run->n_elems);
        }
        bool makes_bits = plan_makes_bits(op->job->plan, (size_t)(op->tensor - op->job->plan->tensors));
        size_t n_bytes = (size_t)run->n_elems * dtype_bytes(op->tensor->out.dtype);
        uint32_t target_crc32 = makes_bits ? crc32_update(0, run->delta, n_bytes) : 0;
        combine(op, op->type, base, run->delta, run->n_elems, run->out);
        op->tally->n_added += run->n_elems;
        if (makes_bits) {
            status = verify_bits(op, base, run, target_crc32, error);
        }
    }
    return status;
}

/* A run that is the delta's alone. */
static void keep_delta(const struct operation *op, const void *delta, uint64_t n_elems, void *out)
{
    note_size(op, NULL, delta, n_elems);
    if (delta != out) {
        memcpy(out, delta, (size_t)n_elems * dtype_bytes(op->tensor->out.dtype));
    }
    if (dtype_is_addable(op->tensor->out.dtype)) {
        kernel_scan(op->type)(out, (size_t)n_elems, &op->tally->counts);
    }
}

/*
 * The base covers [0:rows, 0:columns) of a larger matrix. Equal widths make one run of whole rows; else one run a row.
 * Base elements that are given begin where the tile does, which needs equal widths.
 */
static enum llavamed_status add_top_left(const struct operation *op, const struct tile *tile, const uint8_t *delta,
                                         uint8_t *out, struct llavamed_error *error)
{
    uint64_t rows = op->base->shape[0];
    uint64_t base_columns = op->base->shape[1];
    uint64_t out_columns = op->tensor->out.shape[1];
    size_t element_bytes = dtype_bytes(op->tensor->out.dtype);
    const uint8_t *given = tile->base_elems;
    uint64_t done = 0;
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && done < tile->n_elems) {
        uint64_t at = tile->first_elem + done;
        uint64_t left = tile->n_elems - done;
        uint64_t row = at / out_columns;
        uint64_t column = at % out_columns;
        bool inside = row < rows && column < base_columns;
        uint64_t n_run;
        if (row >= rows) {
            n_run = left;
        } else if (base_columns == out_columns) {
            n_run = min_u64(left, rows * out_columns - at);
        } else {
            n_run = min_u64(left, (inside ? base_columns : out_columns) - column);
        }
        struct tile_run run = {
            .base_first = row * base_columns + column,
            .n_elems = n_run,
            .base = given == NULL ? NULL : given + done * dtype_bytes(op->base->dtype),
            .delta = delta + done * element_bytes,
            .out = out + done * element_bytes,
        };
        if (inside) {
            status = add_base(op, &run, error);
        } else {
            keep_delta(op, run.delta, n_run, run.out);
        }
        done += n_run;
    }
    return status;
}

/* Values rounded through the model's dtype (in scratch->converted), then as float32 into `target`. */
static void round_through_model(const struct operation *op, enum kernel_type from, const void *values, uint32_t *target,
                                uint64_t n_elems)
{
    const struct kernel_set *kernels = op->job->kernels;
    enum kernel_type model = kernel_type_known(op->job->plan->model_dtype);
    const void *rounded = values;
    if (from != model) {
        kernels->convert[from][model](op->scratch->converted, values, (size_t)n_elems, &op->tally->n_overflow);
        rounded = op->scratch->converted;
    }
    if (model == KERNEL_F32) {
        memcpy(target, rounded, (size_t)n_elems * sizeof *target);
    } else {
        kernels->convert[model][KERNEL_F32](target, rounded, (size_t)n_elems, &op->tally->n_overflow);
    }
}

/* Elements as they are: those given, or read into scratch->source. */
static enum llavamed_status bring_raw(const struct operation *op, struct source *source, const struct source_run *run,
                                      const void *given, const void **raw, struct llavamed_error *error)
{
    void *room = op->scratch->source;
    *raw = given != NULL ? given : room;
    return given != NULL ? LLAVAMED_OK : read_run(op, source, run, room, error);
}

/* A rotary buffer is one tile: the plan bounds its length. */
static enum llavamed_status compute_inv_freq(const struct operation *op, const struct tile *tile, void *out,
                                             struct llavamed_error *error)
{
    uint64_t n = tile->n_elems;
    size_t half = (size_t)n * sizeof(double);
    uint8_t *room = op->scratch->source;
    const struct source_run of_delta = {op->tensor->delta_index, 0, n};
    const void *raw;
    enum llavamed_status status = bring_raw(op, op->job->delta, &of_delta, tile->delta_elems, &raw, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    round_through_model(op, kernel_type_known(op->delta->dtype), raw, out, n);
    uint32_t *base_values = (uint32_t *)(void *)(room + half);
    if (op->base == NULL) {
        inv_freq_formula((uint32_t *)(void *)room, (size_t)n);
        round_through_model(op, KERNEL_F32, room, base_values, n);
    } else {
        const struct source_run of_base = {op->tensor->base_index, 0, n};
        status = bring_raw(op, op->job->base, &of_base, tile->base_elems, &raw, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        round_through_model(op, kernel_type_known(op->base->dtype), raw, base_values, n);
    }
    note_size(op, base_values, out, n);
    combine(op, KERNEL_F32, base_values, out, n, out);
    return LLAVAMED_OK;
}

/* Elements that no kernel touches: integers, which are the delta's. */
static enum llavamed_status copy_delta(const struct operation *op, const struct tile *tile, void *out,
                                       struct llavamed_error *error)
{
    if (tile->delta_elems != NULL) {
        memcpy(out, tile->delta_elems, tile->n_bytes);
        return LLAVAMED_OK;
    }
    const struct source_run run = {op->tensor->delta_index, tile->first_elem, tile->n_elems};
    return read_run(op, op->job->delta, &run, out, error);
}

static enum llavamed_status compute(const struct pipeline_job *job, const struct tile *tile,
                                    const struct tile_scratch *scratch, void *out, struct pipeline_tensor *tally,
                                    struct relative_size *size, struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &job->plan->tensors[tile->tensor];
    struct operation op = {
        .job = job,
        .size = size,
        .tensor = tensor,
        .delta = &source_tensors(job->delta)->tensors[tensor->delta_index],
        .scratch = scratch,
        .tally = tally,
    };
    if (tensor->base_index != TENSOR_NOT_FOUND) {
        op.base = &source_tensors(job->base)->tensors[tensor->base_index];
    }
    /* Bits are those of the dtype that is not the integers'. */
    bool makes_bits = plan_makes_bits(job->plan, tile->tensor);
    if (!kernel_type_of(makes_bits ? op.delta->dtype : tensor->out.dtype, &op.type)) {
        return copy_delta(&op, tile, out, error);
    }
    if (tensor->action == PLAN_INV_FREQ) {
        return compute_inv_freq(&op, tile, out, error);
    }
    const struct source_run elems = {tensor->delta_index, tile->first_elem, tile->n_elems};
    const void *delta;
    enum llavamed_status status = fetch(&op, job->delta, &elems, tile->delta_elems, out, &delta, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    tally->target_crc32 = makes_bits ? crc32_update(0, delta, tile->n_bytes) : 0;
    if (tensor->action == PLAN_ADD) {
        const struct tile_run run = {tile->first_elem, tile->n_elems, tile->base_elems, delta, out};
        return add_base(&op, &run, error);
    }
    if (tensor->action == PLAN_ADD_TOP_LEFT) {
        return add_top_left(&op, tile, delta, out, error);
    }
    keep_delta(&op, delta, tile->n_elems, out);
    return LLAVAMED_OK;
}

enum llavamed_status tile_compute(const struct pipeline_job *job, const struct tile *tile,
                                  const struct tile_scratch *scratch, void *out, struct pipeline_tensor *tally,
                                  struct llavamed_error *error)
{
    struct relative_size size = {0};
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_ADD); /* but for what it reads */
    enum llavamed_status status =
        compute(job, tile, scratch, out, tally, job->sizes == NULL ? NULL : &size, error);
    if (status == LLAVAMED_OK && job->sizes != NULL) {
        relative_sizes_join(job->sizes, tile->tensor, &size);
    }
    (void)phase_change(before);
    phase_count(LLAVAMED_PHASE_ADD, tile->n_bytes);
    return status;
}
