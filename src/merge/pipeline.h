/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a plan, or several of one base: tiles of a few hundred KiB to a few MiB go through read -> compute -> write
 * -> hash. Where several plans take the same base tensor, its elements are read once for the tiles of all.
 *
 * Every buffer comes from one allocation made before the first byte is read; that is the memory bound. Workers take
 * whatever is next: the hash of a tile whose turn has come, else a new tile. Each output shard has one SHA-256 stream
 * that eats its tiles in file order; several shards ("lanes") are in flight so that hashing runs on several cores.
 * Tiles of a lane are claimed in file order together with their buffer, so the tile that a stream waits for always has
 * one and the pool cannot deadlock. The first error wins, the others drain, nothing is published here.
 */
#ifndef MERGE_PIPELINE_H
#define MERGE_PIPELINE_H

#include "core/run_guard.h"
#include "integrity/digest.h"
#include "kernel/kernel.h"
#include "merge/plan.h"
#include "merge/relative_size.h"
#include "source/source.h"

struct journal; /* merge/journal.h, which needs what is below */

/* How the memory is cut. */
struct pipeline_geometry {
    unsigned n_outputs;  /* that are made at the same time of one base */
    unsigned n_workers;  /* at most what was asked for; fewer when memory is short */
    unsigned n_buffers;  /* results waiting for their hash, or being made */
    size_t tile_bytes;   /* of the widest dtype that takes part */
    uint64_t pool_bytes; /* everything that pipeline_run() allocates for tiles; stacks of workers come on top */
};

/*
 * Fits buffers and the stacks of workers into max_memory_bytes. MEMORY_TOO_SMALL names the least that works.
 */
enum llavamed_status pipeline_geometry_choose(uint64_t max_memory_bytes, unsigned n_threads, unsigned n_outputs,
                                              struct pipeline_geometry *geometry,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/* What so many workers take at most, however much they are allowed. */
uint64_t pipeline_memory_most(unsigned n_threads, unsigned n_outputs);

/*
 * Tiles of tile_bytes, as far as memory and the largest tile (2 MiB) allow, with fewer workers (two are left, where
 * there are two) rather than smaller tiles: for sources that are read badly in small pieces. Changes nothing when tiles
 * are that large.
 */
void pipeline_geometry_widen(uint64_t max_memory_bytes, uint64_t tile_bytes, struct pipeline_geometry *geometry);

/* What became of one tensor of the plan. */
struct pipeline_tensor {
    uint32_t crc32; /* of its bytes in the output */
    uint32_t target_crc32; /* of a difference of bits that is made: of the target's bytes; else 0 */
    struct kernel_counts counts;
    uint64_t n_added;    /* elements that are a sum or difference: all but those that the delta (or target) alone has */
    uint64_t n_overflow; /* finite values of base or delta that became infinite in conversion to the result's dtype */
    uint64_t front;      /* of a whole tensor: its first bytes in the output, as in struct torch_layout_sum */
};

struct pipeline_outcome {
    struct pipeline_tensor *tensors;        /* owned, as plan->tensors */
    char (*shard_sha256)[SHA256_HEX_BYTES]; /* owned, as plan->shards */
    char (*tensor_sha256)[SHA256_HEX_BYTES]; /* owned, as plan->tensors: their digests; NULL unless asked for */
    char model_sha256[SHA256_HEX_BYTES];     /* the digest of the model; empty then */
    uint64_t written_bytes;
    uint64_t reused_bytes; /* of tiles that an interrupted run had written */
    uint64_t elapsed_ns;
    struct llavamed_counters counters; /* of all jobs together */
};

void pipeline_outcome_deinit(struct pipeline_outcome *outcome);

/* Elements of a result. */
struct pipeline_piece {
    size_t tensor; /* index into plan->tensors */
    uint64_t first_elem;
    uint64_t n_elems;
    const void *bytes; /* row-major, little-endian, in the result's dtype */
    size_t n_bytes;
    void *room; /* of the taker's for the call, as long as `bytes` */
};

/* Who takes results in place of files. */
struct pipeline_sink {
    void *state;
    /*
     * Every element of every tensor of the plan comes once, in pieces, in any order and on any worker, several at a
     * time. What fails ends the run.
     */
    enum llavamed_status (*take)(void *state, const struct pipeline_piece *piece, struct llavamed_error *error);
};

struct pipeline_job {
    const struct plan *plan;
    struct source *base;
    struct source *delta;
    /* NULL; or takes all results: no file is made, nothing is hashed. A job with one has neither directory nor guard
       nor journal, and is alone in its run. */
    const struct pipeline_sink *sink;
    const char *directory; /* where the shards are created, under their final names */
    const struct run_guard *guard; /* may be NULL: asked before a shard is created and a tile is written */
    struct journal *journal; /* may be NULL: notes what is written, and knows what an interrupted run has written */
    bool continues;          /* shards of an interrupted run may be there */
    bool digests;            /* of the tensors and of the model are wanted: a second hash of every byte */
    struct relative_sizes *sizes; /* may be NULL: gets what is added; with a journal that knows of no tiles */
    const struct kernel_set *kernels;
    struct pipeline_geometry geometry;
    const volatile int *stop_signal;          /* may be NULL */
    const struct llavamed_observer *observer; /* may be NULL; called on this thread only */
};

/*
 * Creates, fills, hashes and fsyncs every shard, unless there is a sink; as pipeline_stream.h tells when a source is
 * read from front to back (HASH_MISMATCH: what was read back is not what was written). Blocks. On failure the files
 * stay as they are (the caller abandons the directory). INTERRUPTED when *stop_signal becomes non-zero. After success
 * source_finish() of both sources is still to be called: until then the CRC-32s of the inputs are unchecked.
 */
enum llavamed_status pipeline_run(const struct pipeline_job *job, struct pipeline_outcome *outcome,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same for several jobs at once, whose plans schedule_build() finds to fit: with one base, kernels, geometry (of as
 * many outputs) and stop signal, and, when they are more than one, no source that is read from front to back. The
 * observer of the first is told how far all of them are; each is told of its own shards. A tile that an interrupted run
 * has written is kept when the base was the same then as the other outputs have it now, by the CRC-32s of its records.
 */
enum llavamed_status pipeline_run_jobs(const struct pipeline_job *jobs, size_t n_jobs,
                                       struct pipeline_outcome *outcomes, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
