/* SPDX-License-Identifier: Apache-2.0 */
/* libllavamed: what results tell of every tensor when settings.tensor_reports is set. */
#ifndef LLAVAMED_REPORTS_H
#define LLAVAMED_REPORTS_H

#include "llavamed.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- Of a merge -------------------------------------------------------------------------------------------- */

/* A tensor of the output. */
struct llavamed_tensor_report {
    char *name;          /* owned: UTF-8, not made printable */
    const char *action;  /* static, as in struct llavamed_action_report */
    const char *dtype;   /* static: as safetensors spells it, "F16" */
    unsigned rank;
    uint64_t shape[LLAVAMED_RANK_MAX];
    uint64_t n_bytes;
    size_t shard;        /* index into shards */
    uint32_t crc32;      /* of its bytes */
    uint64_t n_nan;      /* elements of the result */
    uint64_t n_infinite;
    uint64_t n_rounded;
    bool has_base;       /* some of its elements are a sum, of which are the next two */
    double base_rms;     /* root of the mean square of what is finite, in the dtype in which it is added; infinite */
    double delta_rms;    /* when squares add up to 2^127 and more */
    bool has_alone;      /* some of its elements are the delta's alone, of which is the next */
    double alone_rms;
};

/* A weights file of an input. */
struct llavamed_input_report {
    const char *role;    /* static: "base", "delta" */
    char *name;          /* owned: its name without directory */
    uint64_t n_bytes;
    char sha256[65];     /* lower-case hex; empty when nobody knows it */
    bool is_computed;    /* by this run; else it is recorded beside the file */
    const char *release; /* static: the published release that the input is by its hashes; NULL: unknown */
};

/* ---- Of a verification ------------------------------------------------------------------------------------- */

/* X(what is known of a tensor) */
#define LLAVAMED_VERDICT_LIST(X)                                                                                       \
    X(INTACT)    /* its bytes have the recorded CRC-32, or it lies in a file that has the recorded SHA-256 */          \
    X(DAMAGED)   /* a finding names it, or it was recorded in a file that is not there */                              \
    X(UNCHECKED) /* nothing that it could be held against is recorded, or its file could not be read */

enum llavamed_verdict {
#define LLAVAMED_VERDICT_ENUM(name) LLAVAMED_VERDICT_##name,
    LLAVAMED_VERDICT_LIST(LLAVAMED_VERDICT_ENUM)
#undef LLAVAMED_VERDICT_ENUM
};

/* A tensor that a weights file holds, or that the manifest records and no file holds. */
struct llavamed_verified_tensor {
    char *name;          /* owned: UTF-8, not made printable */
    char *file;          /* owned: where it is, or should be */
    enum llavamed_verdict verdict;
    const char *dtype;   /* static: as safetensors spells it, "F16" */
    unsigned rank;
    uint64_t shape[LLAVAMED_RANK_MAX];
    uint64_t n_bytes;
    bool has_crc32;      /* its bytes were summed */
    uint32_t crc32;
};

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
