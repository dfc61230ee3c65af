/* SPDX-License-Identifier: Apache-2.0 */
/* libllavamed: comparing two checkpoints, tensor by tensor. A header of its own, as few programs want it. */
#ifndef LLAVAMED_DIFF_H
#define LLAVAMED_DIFF_H

#include "llavamed.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* All strings are borrowed until llavamed_diff() returns. */
struct llavamed_diff_settings {
    const char *source;              /* SOURCE, as in struct llavamed_settings */
    const char *other;               /* SOURCE; of the two one at most may be a compressed archive */
    uint64_t max_memory_bytes;       /* of buffers; default 256 MiB */
    unsigned n_threads;              /* workers; 0 (default): one per usable core */
    const volatile int *stop_signal; /* as in struct llavamed_settings */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_diff_settings_init(struct llavamed_diff_settings *settings);

/* X(what a tensor is in the two, its name in --json) */
#define LLAVAMED_DIFF_LIST(X)                                                                                          \
    X(EQUAL, "equal")             /* the same dtype, shape and bits */                                                 \
    X(BITS, "bits")               /* the same dtype and shape, other bits */                                           \
    X(DTYPE, "dtype")             /* another dtype */                                                                  \
    X(SHAPE, "shape")             /* another shape: elements are not compared */                                       \
    X(ONLY_SOURCE, "only-source") /* not in the other */                                                               \
    X(ONLY_OTHER, "only-other")

enum llavamed_diff_kind {
#define LLAVAMED_DIFF_ENUM(kind, name) LLAVAMED_DIFF_##kind,
    LLAVAMED_DIFF_LIST(LLAVAMED_DIFF_ENUM)
#undef LLAVAMED_DIFF_ENUM
    LLAVAMED_DIFF_KINDS
};

/* "only-source". Static storage. */
const char *llavamed_diff_kind_name(enum llavamed_diff_kind kind);

/*
 * Distances in units in the last place: how many numbers of the dtype lie between two, plus one. Bucket 0 counts those
 * of 0 (+0 and -0), bucket 1 of 1, bucket 2 of 2, bucket k of 2^(k-2) + 1 to 2^(k-1); the last one all that is more.
 */
#define LLAVAMED_ULP_BUCKETS 19

/* Of the elements of two tensors of one shape; all of it is 0 where elements are not compared. */
struct llavamed_diff_figures {
    bool is_compared;     /* the same dtype, or both of F16, BF16, F32 and F64 */
    bool has_values;      /* both are of these four: the figures below n_different are of the values */
    bool has_ulps;        /* and of the same one */
    uint64_t n_different; /* elements with other bits; where the dtypes differ, with other values */
    uint64_t first;       /* the first of them, counted row-major */
    uint64_t n_nan;       /* of the different ones: one of the two is NaN, or both are with other bits */
    uint64_t n_infinite;  /* of the different ones: one is infinite, or both are and have other signs */
    uint64_t n_finite;    /* elements, equal ones too, that are finite in both: of which are the next two */
    double max;           /* largest difference, as a double */
    double rms;           /* root of the mean square of the differences */
    uint64_t ulps[LLAVAMED_ULP_BUCKETS]; /* of the different ones, but for n_nan */
};

/* A tensor of either checkpoint. Dtypes and ranks are of the one that has it, where only one does. */
struct llavamed_diff_tensor {
    char *name;                 /* owned: UTF-8, not made printable */
    enum llavamed_diff_kind kind;
    const char *source_dtype;   /* static; NULL: not in it */
    const char *other_dtype;
    uint64_t n_elems;           /* of the source, else of the other */
    struct llavamed_diff_figures figures;
};

/* Filled once all is compared, with TENSORS_DIFFER too; else empty. Free with llavamed_diff_result_free(). */
struct llavamed_diff_result {
    struct llavamed_diff_tensor *tensors; /* owned; of both, by the bytes of the names */
    size_t n_tensors;
    size_t n_of_kind[LLAVAMED_DIFF_KINDS];
    uint64_t read_bytes;
    unsigned n_threads;
    uint64_t total_ns;
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_diff_result_free(struct llavamed_diff_result *result);

/*
 * Compares all tensors of two checkpoints by name, whatever their forms: one pass over both. Every tensor is in the
 * result. TENSORS_DIFFER when they are not all equal, with the first that is not in the message. Both must be read to
 * their ends for that: CRC-32s that they carry are compared (CRC_MISMATCH). INPUT_UNSUPPORTED when both are compressed
 * archives, or a tensor has a dtype of less than a byte; what opening gives for either. Figures are the same to the
 * last bit for any threads, memory, form and machine. `observer` may be NULL; its `progress` is told.
 */
enum llavamed_status llavamed_diff(const struct llavamed_diff_settings *settings,
                                   const struct llavamed_observer *observer, struct llavamed_diff_result *result,
                                   struct llavamed_error *error) __attribute__((warn_unused_result));

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
