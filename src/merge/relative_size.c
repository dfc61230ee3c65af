/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/relative_size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16

/* From here on what squares lose that are no normal floats, below 1.2e-38, does not count. */
#define SQUARES_LEAST 1e-29

/*
 * Sums that a machine can make several of at a time, in floats: a lane adds RELATIVE_SIZE_BLOCK / LANES squares, which
 * is good to one in a million where no square is too small or too large for a float.
 */
static double square_floats(const float *values, size_t n)
{
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            lanes[k] += values[i + k] * values[i + k];
        }
    }
    for (size_t k = 0; i + k < n; k++) {
        lanes[k] += values[i + k] * values[i + k];
    }
    double sum = 0;
    for (size_t k = 0; k < LANES; k++) {
        sum += (double)lanes[k];
    }
    return sum;
}

/* One by one, without what is not finite. */
static size_t square_doubles(const double *values, size_t n, double *squares)
{
    size_t n_finite = 0;
    *squares = 0;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(values[i])) {
            *squares += values[i] * values[i];
            n_finite++;
        }
    }
    return n_finite;
}

static void feed_block(struct size_sum *sum, const struct kernel_set *kernels, enum kernel_type type,
                       const uint8_t *elems, size_t n)
{
    float values[RELATIVE_SIZE_BLOCK];
    double wide[RELATIVE_SIZE_BLOCK];
    uint64_t n_overflow = 0;
    double squares;
    if (type == KERNEL_F64) {
        memcpy(wide, elems, n * sizeof *wide);
        sum->n_finite += square_doubles(wide, n, &squares);
        square_sum_add(&sum->squares, squares);
        return;
    }
    if (type == KERNEL_F32) {
        memcpy(values, elems, n * sizeof *values);
    } else {
        kernels->convert[type][KERNEL_F32](values, elems, n, &n_overflow);
    }
    squares = square_floats(values, n);
    if (squares >= SQUARES_LEAST && isfinite(squares)) { /* then no element is NaN or infinite */
        sum->n_finite += n;
    } else {
        for (size_t i = 0; i < n; i++) {
            wide[i] = (double)values[i];
        }
        sum->n_finite += square_doubles(wide, n, &squares);
    }
    square_sum_add(&sum->squares, squares);
}

void size_sum_feed(struct size_sum *sum, const struct kernel_set *kernels, enum kernel_type type, const void *elems,
                   size_t n_elems)
{
    static const size_t sizes[] = {[KERNEL_F16] = 2, [KERNEL_BF16] = 2, [KERNEL_F32] = 4, [KERNEL_F64] = 8};
    const uint8_t *next = elems;
    while (n_elems > 0) {
        size_t n = n_elems < RELATIVE_SIZE_BLOCK ? n_elems : RELATIVE_SIZE_BLOCK;
        feed_block(sum, kernels, type, next, n);
        next += n * sizes[type];
        n_elems -= n;
    }
}

double size_sum_rms(const struct size_sum *sum)
{
    return sum->n_finite == 0 ? 0 : sqrt(square_sum_value(&sum->squares) / (double)sum->n_finite);
}

enum llavamed_status relative_sizes_create(size_t n_tensors, struct relative_sizes **out, struct llavamed_error *error)
{
    struct relative_sizes *sizes = calloc(1, sizeof *sizes);
    struct relative_size *tensors = calloc(n_tensors + 1, sizeof *tensors);
    if (sizes == NULL || tensors == NULL || pthread_mutex_init(&sizes->lock, NULL) != 0) {
        free(sizes);
        free(tensors);
        return llavamed_fail_memory(error, n_tensors * sizeof *tensors, "the sizes of the deltas");
    }
    sizes->tensors = tensors;
    *out = sizes;
    return LLAVAMED_OK;
}

void relative_sizes_free(struct relative_sizes *sizes)
{
    if (sizes != NULL) {
        (void)pthread_mutex_destroy(&sizes->lock);
        free(sizes->tensors);
        free(sizes);
    }
}

static void join(struct size_sum *sum, const struct size_sum *other)
{
    square_sum_join(&sum->squares, &other->squares);
    sum->n_finite += other->n_finite;
}

void relative_sizes_join(struct relative_sizes *sizes, size_t tensor, const struct relative_size *tile)
{
    struct relative_size *total = &sizes->tensors[tensor];
    (void)pthread_mutex_lock(&sizes->lock);
    join(&total->base, &tile->base);
    join(&total->delta, &tile->delta);
    join(&total->alone, &tile->alone);
    (void)pthread_mutex_unlock(&sizes->lock);
}
