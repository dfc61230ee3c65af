/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values. Every element is a pure function of (seed, tensor name, element index), so any piece of any tensor can be
 * made by any thread, in any order:
 *
 *     base    = round(normal(0, 0.02))            round: to the model's dtype, to nearest even
 *     target  = round(base + normal(0, sigma))
 *     delta   = round(target - base)              as the reference's make_delta does
 *     merged  = round(base + delta)               mostly, not always, the target
 *
 * "normal" is the sum of four 16-bit uniforms: close enough to a bell, and one multiplication-based hash each.
 */
#ifndef SYNTH_VALUES_H
#define SYNTH_VALUES_H

#include "kernel/kernel.h"
#include "tools/synth/model.h"

#define SYNTH_PIECE_ELEMS 8192 /* four float arrays of it stay in the caches */
#define SYNTH_WEIGHT_SIGMA 0.02F
#define SYNTH_NORM_CENTRE 0.7F
#define SYNTH_NORM_SIGMA 0.08F

enum synth_role { SYNTH_BASE, SYNTH_DELTA, SYNTH_TARGET, SYNTH_MERGED, SYNTH_ROLE_COUNT };

struct synth_values {
    uint64_t base_seed;
    uint64_t update_seed;
    float update_sigma;
    enum dtype dtype; /* F16, BF16 or F32 */
    const struct kernel_set *kernels;
};

/* The finaliser of splitmix64. */
static inline uint64_t synth_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/* FNV-1a of the name, mixed with the seed: a stream of its own for every tensor. */
static inline uint64_t synth_key(uint64_t seed, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3U;
    }
    return synth_mix(hash ^ synth_mix(seed + 0x9e3779b97f4a7c15U));
}

/* out[i] = centre + sigma * normal(first + i). */
static inline void synth_normal(float *out, uint64_t key, uint64_t first, size_t n_elems, float centre, float sigma)
{
    /* Four uniforms on 0..65535 have the mean 131070 and the variance (65536^2 - 1) / 3. */
    const float unit = sigma / 37837.227F;
    for (size_t i = 0; i < n_elems; i++) {
        uint64_t h = synth_mix(key + (first + i) * 0x9e3779b97f4a7c15U);
        int32_t sum = (int32_t)((h & 0xffff) + (h >> 16 & 0xffff) + (h >> 32 & 0xffff) + (h >> 48));
        out[i] = centre + (float)(sum - 131070) * unit;
    }
}

static inline enum kernel_type synth_kernel_type(enum dtype dtype)
{
    enum kernel_type type;
    if (!kernel_type_of(dtype, &type)) {
        synth_die("dtype that nothing adds", dtype_name(dtype));
    }
    return type;
}

/* Stores values in the model's dtype and leaves in `values` what was stored. */
static inline void synth_round(const struct synth_values *how, float *values, void *stored, size_t n_elems)
{
    enum kernel_type type = synth_kernel_type(how->dtype);
    if (type == KERNEL_F32) {
        memcpy(stored, values, n_elems * sizeof *values);
        return;
    }
    uint64_t n_overflow = 0;
    how->kernels->convert[KERNEL_F32][type](stored, values, n_elems, &n_overflow);
    how->kernels->convert[type][KERNEL_F32](values, stored, n_elems, &n_overflow);
}

static inline void synth_inv_freq(const struct synth_values *how, const struct synth_tensor *tensor, uint64_t first,
                                  size_t n_elems, uint8_t *const out[SYNTH_ROLE_COUNT])
{
    float values[SYNTH_PIECE_ELEMS];
    uint8_t stored[SYNTH_PIECE_ELEMS * sizeof(float)];
    double head_dim = 2.0 * (double)tensor->target.n_elems;
    for (size_t i = 0; i < n_elems; i++) {
        float exponent = (float)(2.0 * (double)(first + i) / head_dim);
        values[i] = 1.0F / (float)pow(10000.0, (double)exponent);
    }
    synth_round(how, values, stored, n_elems);
    for (int role = 0; role < SYNTH_ROLE_COUNT; role++) {
        if (role == SYNTH_DELTA) {
            memset(out[role], 0, n_elems * sizeof *values);
        } else {
            memcpy(out[role], values, n_elems * sizeof *values);
        }
    }
}

/* Elements [first, first + n_elems) that the base has. */
static inline void synth_shared(const struct synth_values *how, const struct synth_tensor *tensor, uint64_t first,
                                size_t n_elems, uint8_t *const out[SYNTH_ROLE_COUNT])
{
    float base[SYNTH_PIECE_ELEMS];
    float target[SYNTH_PIECE_ELEMS];
    bool norm = tensor->kind == SYNTH_NORM;
    synth_normal(base, synth_key(how->base_seed, tensor->target.name), first, n_elems, norm ? SYNTH_NORM_CENTRE : 0.0F,
                 norm ? SYNTH_NORM_SIGMA : SYNTH_WEIGHT_SIGMA);
    synth_normal(target, synth_key(~how->update_seed, tensor->target.name), first, n_elems, 0.0F, how->update_sigma);
    synth_round(how, base, out[SYNTH_BASE], n_elems);
    for (size_t i = 0; i < n_elems; i++) {
        target[i] += base[i];
    }
    synth_round(how, target, out[SYNTH_TARGET], n_elems);
    for (size_t i = 0; i < n_elems; i++) {
        target[i] -= base[i];
    }
    synth_round(how, target, out[SYNTH_DELTA], n_elems);
    for (size_t i = 0; i < n_elems; i++) {
        target[i] += base[i];
    }
    synth_round(how, target, out[SYNTH_MERGED], n_elems);
}

/*
 * Writes elements [first, first + n_elems) of every role, in stored form, to out[role]; n_elems is at most
 * SYNTH_PIECE_ELEMS. Where the base has none of them, out[SYNTH_BASE] holds nothing of use. A piece never straddles
 * the end of the base's rows.
 */
static inline void synth_piece(const struct synth_values *how, const struct synth_tensor *tensor, uint64_t first,
                               size_t n_elems, uint8_t *const out[SYNTH_ROLE_COUNT])
{
    if (tensor->kind == SYNTH_INV_FREQ) {
        synth_inv_freq(how, tensor, first, n_elems, out);
    } else if (first < tensor->base_elems) {
        synth_shared(how, tensor, first, n_elems, out);
    } else {
        float values[SYNTH_PIECE_ELEMS];
        synth_normal(values, synth_key(~how->update_seed, tensor->target.name), first, n_elems, 0.0F,
                     SYNTH_WEIGHT_SIGMA);
        synth_round(how, values, out[SYNTH_TARGET], n_elems);
        size_t n_bytes = n_elems * dtype_bytes(tensor->target.dtype);
        memcpy(out[SYNTH_DELTA], out[SYNTH_TARGET], n_bytes);
        memcpy(out[SYNTH_MERGED], out[SYNTH_TARGET], n_bytes);
    }
}

/* The same for any n_elems. */
static inline void synth_fill(const struct synth_values *how, const struct synth_tensor *tensor, uint64_t first,
                              uint64_t n_elems, uint8_t *const out[SYNTH_ROLE_COUNT])
{
    size_t elem_bytes = dtype_bytes(tensor->target.dtype);
    for (uint64_t done = 0; done < n_elems;) {
        uint64_t at = first + done;
        uint64_t n = n_elems - done < SYNTH_PIECE_ELEMS ? n_elems - done : SYNTH_PIECE_ELEMS;
        if (at < tensor->base_elems && n > tensor->base_elems - at) {
            n = tensor->base_elems - at;
        }
        uint8_t *piece[SYNTH_ROLE_COUNT];
        for (int role = 0; role < SYNTH_ROLE_COUNT; role++) {
            piece[role] = out[role] + done * elem_bytes;
        }
        synth_piece(how, tensor, at, (size_t)n, piece);
        done += n;
    }
}

#endif
