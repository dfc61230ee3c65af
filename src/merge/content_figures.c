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

/* delta != 0, base finite, |delta| <= |base| / 2; without a branch, which random bits would mislead. */
static size_t is_eligible(const struct layout *layout, uint32_t base, uint32_t delta)
{
    base &= layout->magnitude;
    delta &= layout->magnitude;
    return (size_t)((delta != 0) & (base < layout->infinity) & (delta + layout->doubled <= base));
}

/* Appends the eligible pairs of n elements to the n_before that are there; returns how many there are then. */
static size_t gather_16(const struct pieces *pieces, const struct layout *layout, size_t base_at, size_t delta_at,
                        size_t n, size_t n_before)
{
    const struct layout bits = *layout;
    const uint16_t *base = (const uint16_t *)pieces->base + base_at;
    const uint16_t *delta = (const uint16_t *)pieces->delta + delta_at;
    uint16_t *eligible_base = pieces->eligible_base;
    uint16_t *eligible_delta = pieces->eligible_delta;
    for (size_t i = 0; i < n; i++) {
        eligible_base[n_before] = base[i];
        eligible_delta[n_before] = delta[i];
        n_before += is_eligible(&bits, base[i], delta[i]);
    }
    return n_before;
}

static size_t gather_32(const struct pieces *pieces, const struct layout *layout, size_t base_at, size_t delta_at,
                        size_t n, size_t n_before)
{
    const struct layout bits = *layout;
    const uint32_t *base = (const uint32_t *)pieces->base + base_at;
    const uint32_t *delta = (const uint32_t *)pieces->delta + delta_at;
    uint32_t *eligible_base = pieces->eligible_base;
    uint32_t *eligible_delta = pieces->eligible_delta;
    for (size_t i = 0; i < n; i++) {
        eligible_base[n_before] = base[i];
        eligible_delta[n_before] = delta[i];
        n_before += is_eligible(&bits, base[i], delta[i]);
    }
    return n_before;
}

/* Collects the eligible pairs of delta[i] and base[(i + turn) % n]; returns how many. */
static size_t gather(const struct pieces *pieces, enum kernel_type type, size_t turn)
{
    const struct layout *layout = &layouts[type];
    size_t n_first = pieces->n_elems - turn;
    size_t n;
    if (type == KERNEL_F32) {
        n = gather_32(pieces, layout, turn, 0, n_first, 0);
        return gather_32(pieces, layout, 0, n_first, turn, n);
    }
    n = gather_16(pieces, layout, turn, 0, n_first, 0);
    return gather_16(pieces, layout, 0, n_first, turn, n);
}

static void count_bits(struct content_figures *figures, const struct layout *layout, uint32_t base, uint32_t delta)
{
    uint32_t magnitude = delta & layout->magnitude;
    uint32_t counts = (uint32_t)((magnitude != 0) & (magnitude < layout->infinity));
    figures->n_nonzero += counts;
    figures->n_odd += counts & delta;
    figures->n_delta_fine += counts & (uint32_t)((delta & 7) != 0);
    figures->n_base_fine += (base & 7) != 0;
}

static void count_all_bits(struct content_figures *figures, enum kernel_type type, const void *base, const void *delta,
                           size_t n_elems)
{
    struct content_figures counts = {0};
    const struct layout bits = layouts[type];
    if (type == KERNEL_F32) {
        for (size_t i = 0; i < n_elems; i++) {
            count_bits(&counts, &bits, ((const uint32_t *)base)[i], ((const uint32_t *)delta)[i]);
        }
    } else {
        for (size_t i = 0; i < n_elems; i++) {
            count_bits(&counts, &bits, ((const uint16_t *)base)[i], ((const uint16_t *)delta)[i]);
        }
    }
    figures->n_nonzero += counts.n_nonzero;
    figures->n_odd += counts.n_odd;
    figures->n_delta_fine += counts.n_delta_fine;
    figures->n_base_fine += counts.n_base_fine;
    figures->n_elems += n_elems;
}

void content_figures_add(struct content_figures *figures, const struct kernel_set *kernels, enum kernel_type type,
                         const void *base, const void *delta, size_t n_elems, void *scratch)
{
    assert(type != KERNEL_F64 && n_elems <= CONTENT_PIECE_ELEMS);
    struct pieces pieces = {
        .base = base,
        .delta = delta,
        .n_elems = n_elems,
        .eligible_base = scratch,
        .eligible_delta = (uint32_t *)scratch + CONTENT_PIECE_ELEMS,
    };
    count_all_bits(figures, type, base, delta, n_elems);
    for (int control = 0; control < 2; control++) {
        size_t n = gather(&pieces, type, control ? n_elems / 2 : 0);
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
