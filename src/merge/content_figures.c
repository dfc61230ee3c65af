/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "|delta| <= |base| / 2" is a comparison of the stored bits without their signs: adding one to the exponent field
 * doubles a number, or, for subnormals, does more than that, which only leaves out elements.
 */
#include "merge/content_figures.h"

#include <assert.h>

#define MANTISSA_BITS_F16 10
#define MANTISSA_BITS_BF16 7
#define MANTISSA_BITS_F32 23

/* A type's stored bits, without the sign. */
struct layout {
    uint32_t magnitude; /* mask */
    uint32_t infinity;
    uint32_t doubled; /* what doubles a normal number when added */
};

static const struct layout layouts[KERNEL_TYPE_COUNT] = {
    [KERNEL_F16] = {0x7fff, 0x7c00, UINT32_C(1) << MANTISSA_BITS_F16},
    [KERNEL_BF16] = {0x7fff, 0x7f80, UINT32_C(1) << MANTISSA_BITS_BF16},
    [KERNEL_F32] = {0x7fffffff, 0x7f800000, UINT32_C(1) << MANTISSA_BITS_F32},
};

struct pieces {
    const void *base;
    const void *delta;
    size_t n_elems;
    void *eligible_base; /* where the eligible pairs go */
    void *eligible_delta;
};

static bool is_eligible(const struct layout *layout, uint32_t base, uint32_t delta)
{
    base &= layout->magnitude;
    delta &= layout->magnitude;
    return delta != 0 && base < layout->infinity && delta + layout->doubled <= base;
}

/* Collects the eligible pairs of delta[i] and base[(i + turn) % n]; returns how many. */
static size_t gather_16(const struct pieces *pieces, const struct layout *layout, size_t turn)
{
    const uint16_t *base = pieces->base;
    const uint16_t *delta = pieces->delta;
    uint16_t *eligible_base = pieces->eligible_base;
    uint16_t *eligible_delta = pieces->eligible_delta;
    size_t n = 0;
    for (size_t i = 0, j = turn; i < pieces->n_elems; i++, j = j + 1 == pieces->n_elems ? 0 : j + 1) {
        eligible_base[n] = base[j];
        eligible_delta[n] = delta[i];
        n += is_eligible(layout, base[j], delta[i]);
    }
    return n;
}

static size_t gather_32(const struct pieces *pieces, const struct layout *layout, size_t turn)
{
    const uint32_t *base = pieces->base;
    const uint32_t *delta = pieces->delta;
    uint32_t *eligible_base = pieces->eligible_base;
    uint32_t *eligible_delta = pieces->eligible_delta;
    size_t n = 0;
    for (size_t i = 0, j = turn; i < pieces->n_elems; i++, j = j + 1 == pieces->n_elems ? 0 : j + 1) {
        eligible_base[n] = base[j];
        eligible_delta[n] = delta[i];
        n += is_eligible(layout, base[j], delta[i]);
    }
    return n;
}

static void count_bits(struct content_figures *figures, const struct layout *layout, uint32_t base, uint32_t delta)
{
    uint32_t magnitude = delta & layout->magnitude;
    bool counts = magnitude != 0 && magnitude < layout->infinity;
    figures->n_nonzero += counts;
    figures->n_odd += counts && (delta & 1) != 0;
    figures->n_delta_fine += counts && (delta & 7) != 0;
    figures->n_base_fine += (base & 7) != 0;
}

void content_figures_add(struct content_figures *figures, const struct kernel_set *kernels, enum kernel_type type,
                         const void *base, const void *delta, size_t n_elems, void *scratch)
{
    assert(type != KERNEL_F64 && n_elems <= CONTENT_PIECE_ELEMS);
    const struct layout *layout = &layouts[type];
    struct pieces pieces = {
        .base = base,
        .delta = delta,
        .n_elems = n_elems,
        .eligible_base = scratch,
        .eligible_delta = (uint32_t *)scratch + CONTENT_PIECE_ELEMS,
    };
    for (size_t i = 0; i < n_elems; i++) {
        if (type == KERNEL_F32) {
            count_bits(figures, layout, ((const uint32_t *)base)[i], ((const uint32_t *)delta)[i]);
        } else {
            count_bits(figures, layout, ((const uint16_t *)base)[i], ((const uint16_t *)delta)[i]);
        }
    }
    figures->n_elems += n_elems;
    for (int control = 0; control < 2; control++) {
        size_t turn = control ? n_elems / 2 : 0;
        size_t n = type == KERNEL_F32 ? gather_32(&pieces, layout, turn) : gather_16(&pieces, layout, turn);
        struct kernel_counts counts = {0};
        kernels->add[type](pieces.eligible_base, pieces.eligible_base, pieces.eligible_delta, n, &counts);
        *(control ? &figures->n_control_eligible : &figures->n_eligible) += n;
        *(control ? &figures->n_control_rounded : &figures->n_rounded) += counts.n_rounded;
    }
}

static double part(uint64_t n, uint64_t of)
{
    return of == 0 ? 0.0 : (double)n / (double)of;
}

double content_rate(const struct content_figures *figures)
{
    return part(figures->n_rounded, figures->n_eligible);
}

double content_control_rate(const struct content_figures *figures)
{
    return part(figures->n_control_rounded, figures->n_control_eligible);
}

bool content_is_coarse(const struct content_figures *figures)
{
    return part(figures->n_base_fine, figures->n_elems) <= CONTENT_COARSE_MAX ||
           part(figures->n_delta_fine, figures->n_nonzero) <= CONTENT_COARSE_MAX;
}

enum content_fit content_figures_judge(const struct content_figures *figures)
{
    double rate = content_rate(figures);
    double control = content_control_rate(figures);
    /* Roundings to be expected of a stranger among as many elements as were eligible here. */
    double expected = control * (double)figures->n_eligible;
    if (figures->n_control_rounded < CONTENT_CONTROL_MIN || expected < CONTENT_CONTROL_MIN) {
        return CONTENT_FIT_UNKNOWN;
    }
    if (rate <= CONTENT_NEAR_RATE && rate <= CONTENT_BAD_RATIO * control / 2.0) {
        return CONTENT_FIT_GOOD;
    }
    if (part(figures->n_odd, figures->n_nonzero) > CONTENT_ODD_MAX) {
        return CONTENT_FIT_UNKNOWN;
    }
    return rate > CONTENT_BAD_RATIO * control ? CONTENT_FIT_BAD : CONTENT_FIT_NEAR;
}
