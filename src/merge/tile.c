/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both operands are converted to the result's dtype, then added once. The delta is read straight into the result's
 * buffer and the base into the worker's own, so that the common case (one dtype) needs no copy:
 *
 *     delta file -> out;  base file -> scratch;  out = scratch + out
 */
#include "merge/tile.h"

#include <string.h>

#include "core/checked.h"
#include "merge/inv_freq.h"

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

bool tile_next(struct tile_cursor *cursor, struct tile *tile)
{
    const struct plan_shard *shard = &cursor->plan->shards[cursor->shard];
    while (cursor->position < shard->n_tensors) {
        size_t index = shard->tensors[shard->layout.order[cursor->position]];
        const struct plan_tensor *tensor = &cursor->plan->tensors[index];
        if (cursor->next_elem < tensor->out.n_elems) {
            size_t element_bytes = dtype_bytes(tensor->out.dtype);
            const struct operands in = {tensor, cursor->base, cursor->delta};
            uint64_t most = cursor->tile_bytes / widest_element_bytes(&in);
            uint64_t grain = grain_of(&in);
            most -= grain <= most ? most % grain : 0;
            uint64_t n_elems = min_u64(most, tensor->out.n_elems - cursor->next_elem);
            *tile = (struct tile){
                .tensor = index,
                .first_elem = cursor->next_elem,
                .n_elems = n_elems,
                .file_offset = shard->layout.file_offsets[cursor->position] + cursor->next_elem * element_bytes,
                .n_bytes = (size_t)(n_elems * element_bytes),
            };
            cursor->next_elem += n_elems;
            return true;
        }
        cursor->position++;
        cursor->next_elem = 0;
    }
    return false;
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
};

static enum kernel_type kernel_type_known(enum dtype dtype)
{
    enum kernel_type type = KERNEL_F32;
    (void)kernel_type_of(dtype, &type); /* the plan lets only addable dtypes come this far */
    return type;
}

/*
 * Brings elements of one source into `target` in the operation's type: read straight into it, or read into
 * scratch->source and converted from there.
 */
static enum llavamed_status fetch(const struct operation *op, struct source *source, size_t index, uint64_t first,
                                  uint64_t n_elems, void *target, struct llavamed_error *error)
{
    enum kernel_type from = kernel_type_known(source_tensors(source)->tensors[index].dtype);
    void *raw = from == op->type ? target : op->scratch->source;
    enum llavamed_status status = source_read(source, index, first, n_elems, raw, error);
    if (status == LLAVAMED_OK && from != op->type) {
        op->job->kernels->convert[from][op->type](target, raw, (size_t)n_elems, &op->tally->n_overflow);
    }
    return status;
}

/* out = base + out over a run of elements; base elements start at base_first. */
static enum llavamed_status add_base(const struct operation *op, uint64_t base_first, uint64_t n_elems, void *out,
                                     struct llavamed_error *error)
{
    size_t base_index = op->tensor->base_index;
    enum kernel_type base_type = kernel_type_known(op->base->dtype);
    void *base = base_type == op->type ? op->scratch->source : op->scratch->converted;
    enum llavamed_status status = fetch(op, op->job->base, base_index, base_first, n_elems, base, error);
    if (status == LLAVAMED_OK) {
        op->job->kernels->add[op->type](out, base, out, (size_t)n_elems, &op->tally->counts);
        op->tally->n_added += n_elems;
    }
    return status;
}

/*
 * The base covers [0:rows, 0:columns) of a larger matrix. Equal widths make one run of whole rows; else one run a row.
 */
static enum llavamed_status add_top_left(const struct operation *op, const struct tile *tile, uint8_t *out,
                                         struct llavamed_error *error)
{
    uint64_t rows = op->base->shape[0];
    uint64_t base_columns = op->base->shape[1];
    uint64_t out_columns = op->tensor->out.shape[1];
    size_t element_bytes = dtype_bytes(op->tensor->out.dtype);
    uint64_t done = 0;
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && done < tile->n_elems) {
        uint64_t at = tile->first_elem + done;
        uint64_t left = tile->n_elems - done;
        uint64_t row = at / out_columns;
        uint64_t column = at % out_columns;
        bool inside = row < rows && column < base_columns;
        uint64_t run;
        if (row >= rows) {
            run = left;
        } else if (base_columns == out_columns) {
            run = min_u64(left, rows * out_columns - at);
        } else {
            run = min_u64(left, (inside ? base_columns : out_columns) - column);
        }
        uint8_t *target = out + done * element_bytes;
        if (inside) {
            status = add_base(op, row * base_columns + column, run, target, error);
        } else {
            kernel_scan(op->type)(target, (size_t)run, &op->tally->counts);
        }
        done += run;
    }
    return status;
}

/* In place or through scratch: values rounded through the model's dtype, then as float32 into `target`. */
static void round_through_model(const struct operation *op, enum kernel_type from, void *values, uint32_t *target,
                                uint64_t n_elems)
{
    const struct kernel_set *kernels = op->job->kernels;
    enum kernel_type model = kernel_type_known(op->job->plan->model_dtype);
    void *rounded = op->scratch->converted;
    if (from == model) {
        rounded = values;
    } else {
        kernels->convert[from][model](rounded, values, (size_t)n_elems, &op->tally->n_overflow);
    }
    if (model == KERNEL_F32) {
        memcpy(target, rounded, (size_t)n_elems * sizeof *target);
    } else {
        kernels->convert[model][KERNEL_F32](target, rounded, (size_t)n_elems, &op->tally->n_overflow);
    }
}

/* A rotary buffer is one tile: the plan bounds its length. */
static enum llavamed_status compute_inv_freq(const struct operation *op, const struct tile *tile, void *out,
                                             struct llavamed_error *error)
{
    uint64_t n = tile->n_elems;
    size_t half = (size_t)n * sizeof(double);
    uint8_t *raw = op->scratch->source;
    enum llavamed_status status = source_read(op->job->delta, op->tensor->delta_index, 0, n, raw, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    round_through_model(op, kernel_type_known(op->delta->dtype), raw, out, n);
    uint32_t *base_values = (uint32_t *)(void *)(raw + half);
    if (op->base == NULL) {
        inv_freq_formula((uint32_t *)(void *)raw, (size_t)n);
        round_through_model(op, KERNEL_F32, raw, base_values, n);
    } else {
        status = source_read(op->job->base, op->tensor->base_index, 0, n, raw, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        round_through_model(op, kernel_type_known(op->base->dtype), raw, base_values, n);
    }
    op->job->kernels->add[KERNEL_F32](out, base_values, out, (size_t)n, &op->tally->counts);
    return LLAVAMED_OK;
}

enum llavamed_status tile_compute(const struct pipeline_job *job, const struct tile *tile,
                                  const struct tile_scratch *scratch, void *out, struct pipeline_tensor *tally,
                                  struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &job->plan->tensors[tile->tensor];
    struct operation op = {
        .job = job,
        .tensor = tensor,
        .delta = &source_tensors(job->delta)->tensors[tensor->delta_index],
        .scratch = scratch,
        .tally = tally,
    };
    if (tensor->base_index != TENSOR_NOT_FOUND) {
        op.base = &source_tensors(job->base)->tensors[tensor->base_index];
    }
    if (!kernel_type_of(tensor->out.dtype, &op.type)) {
        return source_read(job->delta, tensor->delta_index, tile->first_elem, tile->n_elems, out, error);
    }
    if (tensor->action == PLAN_INV_FREQ) {
        return compute_inv_freq(&op, tile, out, error);
    }
    enum llavamed_status status =
        fetch(&op, job->delta, tensor->delta_index, tile->first_elem, tile->n_elems, out, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (tensor->action == PLAN_ADD) {
        return add_base(&op, tile->first_elem, tile->n_elems, out, error);
    }
    if (tensor->action == PLAN_ADD_TOP_LEFT) {
        return add_top_left(&op, tile, out, error);
    }
    kernel_scan(op.type)(out, (size_t)tile->n_elems, &tally->counts);
    return LLAVAMED_OK;
}
