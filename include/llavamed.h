/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libllavamed: OUT = BASE + DELTA for checkpoints released as delta weights, and DELTA = TARGET - BASE.
 *
 * One call, llavamed_merge(), does the whole job of the program llavamed-apply: it opens both sources, plans from
 * their headers, streams every tensor through a fixed pool of buffers, and publishes a directory that appears
 * complete and verified, or not at all. llavamed_merge_all() does it for several deltas of one base. llavamed_inspect()
 * lists what a checkpoint holds.
 *
 *     struct llavamed_settings settings;
 *     llavamed_settings_init(&settings);
 *     settings.base = "/models/llama-7b";
 *     settings.delta = "/models/llava-med-7b-delta";
 *     settings.out = "/models/llava-med-7b";
 *     struct llavamed_result result = {0};
 *     struct llavamed_error error = {0};
 *     enum llavamed_status status = llavamed_merge(&settings, NULL, &result, &error);
 *     llavamed_result_free(&result);
 *
 * Conventions, here and everywhere in the library: a function that can fail returns a status, fills *error when
 * that is not LLAVAMED_OK, and writes its outputs only on success unless it says otherwise. Nothing prints, nothing
 * exits, nothing installs a signal handler. Strings are UTF-8. "bytes" are bytes, never KiB.
 */
#ifndef LLAVAMED_H
#define LLAVAMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* All that is declared here is exported by the shared library, and nothing else. */
#pragma GCC visibility push(default)

/* ---- Status ------------------------------------------------------------------------------------------------ */

/*
 * Every reason that a caller or a test may want to tell apart, with the exit status of the programs for it
 * (0 done; 1 verification failed; 2 usage; 3 input; 4 base and delta do not belong together; 5 output; 6 stopped
 * part-way by I/O or memory; 70 a bug; 128 + the signal's number for INTERRUPTED, which the table holds as 128).
 */
#define LLAVAMED_STATUS_LIST(X)                                                                                        \
    X(CRC_MISMATCH, 1)          /* a stored CRC-32 differs from that of the bytes read */                              \
    X(HASH_MISMATCH, 1)         /* a file's hash differs from a recorded one */                                        \
    X(NOT_INTACT, 1)            /* llavamed_verify(): something in the directory is wrong; the findings say what */    \
    X(TENSORS_DIFFER, 1)        /* llavamed_diff(): the two checkpoints do not hold the same tensors */                \
    X(IDENTITY_INCOMPLETE, 1)   /* llavamed_identify(): weights of a release, but not all of them as published */      \
    X(IDENTITY_MIXED, 1)        /* llavamed_identify(): files of several releases, or others among those of one */     \
    X(SIGNATURE_MISMATCH, 1)    /* a signature is another key's, or is not over what it came with */                   \
    X(USAGE, 2)                 /* a setting that makes no sense */                                                    \
    X(NOT_SUPPORTED_YET, 2)     /* an option or form that a later version will know */                                 \
    X(MEMORY_TOO_SMALL, 2)      /* max_memory below the least that works */                                            \
    X(INPUT_MISSING, 3)         /* no such file or directory, or nothing usable inside it */                           \
    X(INPUT_UNREADABLE, 3)      /* permission, not a regular file, and the like */                                     \
    X(INPUT_UNSAFE, 3)          /* a link or a name that leads where an input must not lead */                         \
    X(INPUT_UNSUPPORTED, 3)     /* recognised, and not something this program merges */                                \
    X(INPUT_TRUNCATED, 3)       /* the file ends before its header says */                                             \
    X(INPUT_TRAILING, 3)        /* bytes after the end that the header tells */                                        \
    X(INPUT_LIMIT, 3)           /* a count, length or depth above its cap */                                           \
    X(JSON_INVALID, 3)          /* not JSON, not UTF-8, or not the JSON expected here */                               \
    X(JSON_DUPLICATE_KEY, 3)                                                                                           \
    X(HEADER_TOO_LARGE, 3)      /* safetensors: header above its cap or above the file */                              \
    X(DTYPE_UNKNOWN, 3)         /* a dtype name nobody has defined */                                                  \
    X(SHAPE_INVALID, 3)         /* rank or product of the shape overflows or exceeds its cap */                        \
    X(OFFSET_INVALID, 3)        /* safetensors: end before begin, a hole or an overlap */                              \
    X(SIZE_MISMATCH, 3)         /* bytes of a tensor differ from shape times dtype */                                  \
    X(TENSOR_DUPLICATE, 3)      /* one name twice in a checkpoint */                                                   \
    X(TENSOR_NAME, 3)           /* empty, too long, NUL inside, not UTF-8 */                                           \
    X(INDEX_INVALID, 3)         /* the shard index is not one, or leaves its directory */                              \
    X(INDEX_DISAGREES, 3)       /* index and shards name different tensors or files */                                 \
    X(ZIP_INVALID, 3)           /* structure of the archive */                                                         \
    X(ZIP_COMPRESSED, 3)        /* an entry that is not stored */                                                      \
    X(ZIP_ENCRYPTED, 3)                                                                                                \
    X(ZIP_DUPLICATE, 3)         /* one entry name twice */                                                             \
    X(ZIP_DISAGREES, 3)         /* local header against central directory */                                           \
    X(ZIP_OVERLAP, 3)                                                                                                  \
    X(TORCH_INVALID, 3)         /* a zip that is not what torch.save writes */                                         \
    X(TORCH_STORAGE, 3)         /* a storage is missing, or has another size than its pickle says */                   \
    X(TORCH_VIEW, 3)            /* a view that leaves its storage, or one not supported */                             \
    X(TORCH_BYTE_ORDER, 3)                                                                                             \
    X(PICKLE_OPCODE, 3)         /* an opcode outside the allow-list */                                                 \
    X(PICKLE_GLOBAL, 3)         /* a global outside the allow-list: named, never imported */                           \
    X(PICKLE_MALFORMED, 3)      /* truncated, stack underflow, wrong operand types, trailing bytes */                  \
    X(META_INVALID, 3)          /* params.json, checklist or tensors are not those of Meta's original layout */        \
    X(KEY_INVALID, 3)           /* no key of the wanted kind, or one that a password protects */                       \
    X(PAIR_MISMATCH, 4)         /* names, shapes or dtypes: error.problems lists them */                               \
    X(PAIR_SAME, 4)             /* base and delta are the same checkpoint */                                           \
    X(PAIR_BASE_MERGED, 4)      /* the base already is a LLaVA model: it holds an mm_projector, or says so */          \
    X(PAIR_BASE_OTHER, 4)       /* the base shows certain signs of another model than LLaMA-1 */                       \
    X(PAIR_KNOWN_WRONG, 4)      /* by its SHA-256 base or delta is a published file of another kind */                 \
    X(PAIR_WRONG_BASE, 4)       /* by content: the delta was not made from this base */                                \
    X(PAIR_FULL_DELTA, 4)       /* by content: the delta has the magnitudes of a whole model */                        \
    X(IDENTITY_UNKNOWN, 4)      /* llavamed_identify(): no weights file is one of a published release */               \
    X(OUT_EXISTS, 5)                                                                                                   \
    X(OUT_BUSY, 5)              /* another run is writing it */                                                        \
    X(OUT_OVERLAPS_INPUT, 5)    /* equal to, inside or around an input, or another output of the same call */          \
    X(OUT_SPACE, 5)             /* file system full or quota reached, foreseen or met */                               \
    X(OUT_UNWRITABLE, 5)        /* permission, read-only, missing parent, mount point, write error */                  \
    X(PARTS_MISSING, 5)         /* llavamed_finish(): parts are not done yet */                                        \
    X(PARTS_DIFFER, 5)          /* parts of another merge, or damaged records of parts, are where this one works */    \
    X(IO, 6)                    /* a read failed part-way */                                                           \
    X(INPUT_CHANGED, 6)         /* an input changed while it was read */                                               \
    X(NO_MEMORY, 6)                                                                                                    \
    X(INTERRUPTED, 128)         /* *settings.stop_signal became non-zero */                                            \
    X(INTERNAL, 70)             /* a bug in this library */

enum llavamed_status {
    LLAVAMED_OK = 0,
#define LLAVAMED_STATUS_ENUM(name, exit_status) LLAVAMED_STATUS_##name,
    LLAVAMED_STATUS_LIST(LLAVAMED_STATUS_ENUM)
#undef LLAVAMED_STATUS_ENUM
};

#define LLAVAMED_MESSAGE_BYTES 1024
#define LLAVAMED_PROBLEM_BYTES 512
#define LLAVAMED_PROBLEMS_MAX 20

/*
 * What went wrong, ready to print after "error: " and "hint: ": "PATH: what is wrong (got X, want Y)", lower case,
 * no full stop, made printable. No memory is owned: plain data.
 * `problems` holds the first LLAVAMED_PROBLEMS_MAX of `n_problems` when there is a list (PAIR_MISMATCH,
 * PAIR_WRONG_BASE).
 * `signal_number` is set with INTERRUPTED.
 */
struct llavamed_error {
    enum llavamed_status status;
    int signal_number;
    char message[LLAVAMED_MESSAGE_BYTES];
    char hint[LLAVAMED_MESSAGE_BYTES];
    size_t n_problems;
    char problems[LLAVAMED_PROBLEMS_MAX][LLAVAMED_PROBLEM_BYTES];
};

/* The enumerator's name without its prefix ("CRC_MISMATCH"), "ok" for LLAVAMED_OK: the "code" of --json. Static. */
const char *llavamed_status_name(enum llavamed_status status);

/* The exit status of the programs for this error; 128 + signal_number for INTERRUPTED. */
int llavamed_exit_status(const struct llavamed_error *error);

/*
 * For what a front end prints itself, as all texts of this library are made: in place, '?' takes the place of each byte
 * that is not UTF-8 and of each byte of a character that is not seen or that changes how others are shown (controls,
 * line and paragraph separators, marks of the direction of writing, characters of no width).
 */
void llavamed_make_printable(char *text);

/* ---- Settings ---------------------------------------------------------------------------------------------- */

/*
 * Settings, observers and results end in room for what later versions will add, so that their size stays: 0 from their
 * initialisation on, which is also what a program built before an addition says of it. Settings with anything else
 * there are refused (USAGE). docs/api.md has what is promised of all this.
 */
#define LLAVAMED_RESERVED 8

enum llavamed_result_dtype {
    LLAVAMED_RESULT_DTYPE_DELTA, /* each tensor's own in the delta */
    LLAVAMED_RESULT_DTYPE_FLOAT16,
    LLAVAMED_RESULT_DTYPE_BFLOAT16,
    LLAVAMED_RESULT_DTYPE_FLOAT32,
};

enum llavamed_inv_freq { LLAVAMED_INV_FREQ_KEEP, LLAVAMED_INV_FREQ_DROP };

/* Form of the output shards. Torch: byte for byte what transformers 4.28 saves, with the torch of the profile. */
enum llavamed_format { LLAVAMED_FORMAT_SAFETENSORS, LLAVAMED_FORMAT_TORCH };

/*
 * Whose torch.save the torch shards are byte for byte. The tensors are the same, and every torch reads either. USAGE
 * for any but DEFAULT without LLAVAMED_FORMAT_TORCH.
 */
enum llavamed_torch_profile {
    LLAVAMED_TORCH_PROFILE_DEFAULT, /* 1_13 */
    LLAVAMED_TORCH_PROFILE_1_13,    /* torch 1.13 to 2.0: the reference's */
    LLAVAMED_TORCH_PROFILE_2_13,    /* torch 2.13 as built for Linux */
};

enum llavamed_verify {
    LLAVAMED_VERIFY_AUTO, /* every CRC-32 of the inputs, and every SHA-256 that is recorded for one */
    LLAVAMED_VERIFY_FULL, /* also all inputs hashed and looked up, the output read back from storage */
    LLAVAMED_VERIFY_NONE,
};

enum llavamed_cpu {
    LLAVAMED_CPU_BEST,
    LLAVAMED_CPU_REF,
    LLAVAMED_CPU_AVX2,
    LLAVAMED_CPU_AVX512,
    LLAVAMED_CPU_NEON,
};

/* All strings are borrowed until llavamed_merge() returns. */
struct llavamed_settings {
    const char *base;                  /* SOURCE: a directory, a .zip of one, one weights file, ORG/NAME[@REVISION] */
    const char *delta;                 /* SOURCE */
    const char *target;                /* SOURCE: of llavamed_make_delta() alone, which does not look at `delta` */
    const char *out;                   /* directory to create */
    enum llavamed_format format;       /* default SAFETENSORS */
    enum llavamed_torch_profile torch_profile; /* default DEFAULT */
    enum llavamed_result_dtype dtype;  /* default DELTA; of llavamed_make_delta() that is each tensor's in the target */
    enum llavamed_inv_freq inv_freq;   /* default KEEP */
    enum llavamed_verify verify;       /* default AUTO */
    const char *sums;                  /* NULL, or a SHA256SUMS file that the inputs must match */
    const char *sign;                  /* NULL, or a file with a private key in PEM (EC on P-256, P-384 or P-521, no
                                          password): each output gets a model.sig over all its files, as OpenSSF Model
                                          Signing has it. It determines no other byte */
    enum llavamed_cpu cpu;             /* default BEST */
    uint64_t max_shard_bytes;          /* 0 (default): 5,000,000,000, for torch 10,000,000,000 */
    uint64_t max_memory_bytes;         /* all buffers together; 0 (default): 256 MiB, or less where a limit of this
                                          process's memory leaves less. MEMORY_TOO_SMALL where it leaves too little */
    unsigned n_threads;                /* workers; 0 (default): one per usable core */
    bool allow_unknown_base;           /* PAIR_WRONG_BASE and PAIR_FULL_DELTA become warnings */
    bool exact;                        /* of llavamed_make_delta() alone: a delta from which every bit comes back */
    bool no_resume;                    /* start over where an interrupted run could be continued */
    bool force;                        /* replace an OUT that this library wrote, or that is empty */
    bool digests;                      /* also the digests of docs/digests.md, of the result: a second hash of each
                                          of its bytes. They are in the result and in the manifest */
    bool dry_run;                      /* stop after the plan; result is filled, nothing is created */
    unsigned part;                     /* 0 (default), or K of 1 to n_parts: makes that part of the merge alone */
    unsigned n_parts;                  /* 0 (default), or N of 1 to LLAVAMED_PARTS_MAX; 1: a run as any other */
    bool no_finish;                    /* of a part: leaves publishing to llavamed_finish() when it ends last */
    bool tensor_reports;               /* fill result.tensors and result.inputs: every element is read once more in
                                          memory, and an interrupted run is started over, as with no_resume */
    const volatile int *stop_signal;   /* NULL, or polled: non-zero ends the run as INTERRUPTED with that number;
                                          handlers and other threads store into it atomically (__atomic_store_n) */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_settings_init(struct llavamed_settings *settings);

/* ---- Observing a run --------------------------------------------------------------------------------------- */

struct llavamed_progress {
    uint64_t done_bytes;  /* output bytes computed, hashed and handed to the system; with a compressed archive as a
                             source they are hashed when read back: half of each is done before that, half then */
    uint64_t total_bytes; /* of the plan, exact from the start */
    uint64_t elapsed_ns;  /* since the first tile was claimed, monotonic clock */
    const char *check;    /* NULL; or static: what whole files are being read to be checked, before the merge or after
                             it ("SHA-256 of the inputs"). The figures are then those of that reading alone */
};

struct llavamed_shard_report {
    char *name;             /* file name, owned by the result; when told of one of several outputs: OUT/NAME */
    uint64_t file_bytes;    /* header and data */
    size_t n_tensors;
    char sha256[65];        /* lower-case hex; empty in a dry run */
};

/* What nothing else tells of a run that makes an output. */
enum llavamed_step {
    LLAVAMED_STEP_PLANNED,     /* planned and judged, nothing is created: `result` holds the plan */
    LLAVAMED_STEP_RESUMED,     /* it goes on with n_tiles that an interrupted run has written and noted */
    LLAVAMED_STEP_SHARD_BEGUN, /* `shard`, whose sha256 is empty; its file is there */
    LLAVAMED_STEP_PUBLISHED,   /* OUT is complete and has its name: `result` */
};

struct llavamed_step_report {
    enum llavamed_step step;
    const char *out;                           /* of the settings */
    const struct llavamed_result *result;      /* NULL but where it is named above, as the shard */
    const struct llavamed_shard_report *shard; /* named as for shard_done */
    uint64_t n_tiles;
};

/*
 * Callbacks, any of them NULL. All are called on the thread that called llavamed_merge(), never from a worker;
 * pointers are borrowed for the call. `progress` comes about five times a second and once at the end; for a check also
 * at its start.
 */
struct llavamed_observer {
    void *context;
    void (*progress)(void *context, const struct llavamed_progress *progress);
    void (*shard_done)(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards);
    void (*warning)(void *context, const char *text); /* all of result.warnings, and started_over */
    void (*note)(void *context, const char *text); /* what -v shows: choices made, the kernel, memory, threads */
    void (*step)(void *context, const struct llavamed_step_report *report);
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

/* ---- Result ------------------------------------------------------------------------------------------------ */

struct llavamed_action_report {
    const char *action; /* static: "add", "add-top-left", "copy-delta", "inv-freq", "drop"; of llavamed_make_delta()
                           "subtract", "subtract-top-left", "copy-target" */
    size_t n_tensors;
    uint64_t out_bytes; /* 0 for "drop" */
};

struct llavamed_tensor_digest {
    char *name;      /* owned: UTF-8, not made printable */
    char sha256[65]; /* lower-case hex */
};

/*
 * What workers spend their time with, with names for --json. One that is read on another thread's behalf is with the
 * thread that does it; each moment is in one phase alone.
 */
#define LLAVAMED_PHASE_LIST(X)                                                                                         \
    X(READ, "read")               /* reading inputs, and output that is read back; letting go of their cached pages */ \
    X(INFLATE, "inflate")         /* of compressed archives */                                                         \
    X(ADD, "add")                 /* converting and adding elements */                                                 \
    X(CRC32, "crc32")             /* of tiles, and of what is read where the input records one */                      \
    X(SHA256, "sha256")           /* of the shards, and with digests of their tensors */                               \
    X(WRITE, "write")             /* handing bytes to the system */                                                    \
    X(SYNC, "sync")               /* starting write-back and waiting for it, fsync */                                  \
    X(WAIT_HASH, "wait_hash")     /* all buffers taken, by tiles that wait for the hash of their shard too */          \
    X(WAIT_MEMORY, "wait_memory") /* all buffers taken, by tiles that others are at */                                 \
    X(WAIT_ORDER, "wait_order")   /* what comes next is just being opened or read by another worker */                 \
    X(WAIT_TASK, "wait_task")     /* no work left but what others are at; also before the start */                     \
    X(OTHER, "other")             /* scheduling, the journal, headers */

enum llavamed_phase {
#define LLAVAMED_PHASE_ENUM(constant, name) LLAVAMED_PHASE_##constant,
    LLAVAMED_PHASE_LIST(LLAVAMED_PHASE_ENUM)
#undef LLAVAMED_PHASE_ENUM
    LLAVAMED_PHASE_COUNT
};

/* "read". Static storage. */
const char *llavamed_phase_name(enum llavamed_phase phase);

struct llavamed_phase_counter {
    uint64_t sum_ns; /* of all workers, by the clock: one that is ready to run but has no core counts too */
    uint64_t min_ns; /* of the worker that had least of it */
    uint64_t max_ns;
    uint64_t n_bytes; /* that went through it: for add those of the result, for inflate those that came out; of waiting
                         and other 0 */
};

/* Of the merge: the sums of all phases together are n_workers times merge_ns, less what comes after the last tile. */
struct llavamed_counters {
    unsigned n_workers; /* that were started; 0: the merge did not come to its end */
    struct llavamed_phase_counter phases[LLAVAMED_PHASE_COUNT];
};

/* A tensor of a delta that does not give the target back everywhere: see llavamed_make_delta(). */
struct llavamed_lossy_report {
    char *name;        /* owned by the result */
    const char *dtype; /* static: "F16" */
    uint64_t n_lossy;  /* elements: base + delta has other bits than the target; at least one */
    uint64_t n_elems;  /* of the tensor */
};

/* Filled as far as the run came, on failure too. Free with llavamed_result_free(). */
struct llavamed_result {
    struct llavamed_shard_report *shards; /* owned */
    size_t n_shards;
    struct llavamed_tensor_report *tensors; /* owned: n_tensors in model order; NULL unless settings.tensor_reports */
    struct llavamed_input_report *inputs;   /* owned; these two: llavamed_reports.h */
    size_t n_inputs;
    struct llavamed_action_report *actions; /* owned */
    size_t n_actions;
    size_t n_tensors;
    uint64_t planned_read_bytes;
    uint64_t planned_write_bytes;
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t reused_bytes; /* of the shards: what an interrupted run had written */
    uint64_t pool_bytes;   /* buffers allocated for tiles */
    uint64_t free_bytes;   /* on the output's volume when planned */
    unsigned n_threads;
    const char *cpu; /* static: "ref", "avx2", ... */
    uint64_t plan_ns;
    uint64_t merge_ns;   /* first tile claimed to last tile hashed */
    uint64_t total_ns;   /* whole call */
    struct llavamed_counters counters; /* with several outputs: of all that were made together */
    uint64_t n_nan;      /* elements of the result */
    uint64_t n_infinite;
    uint64_t n_rounded;  /* sums, or differences, that the result's dtype cannot hold exactly */
    uint64_t n_added;    /* elements that are a sum of base and delta, or a difference of target and base */
    uint64_t n_lossy;    /* of llavamed_make_delta(): those of them from which the target does not come back */
    struct llavamed_lossy_report *lossy_tensors; /* owned: the tensors that have such, in model order */
    size_t n_lossy_tensors;
    struct llavamed_tensor_digest *digests; /* owned, in the manifest's order; with settings.digests, once merged */
    size_t n_digests;
    char model_sha256[65]; /* the digest of the model; empty without them */
    char *manifest_sha256; /* hex, owned; NULL unless published */
    bool is_published;     /* OUT is complete and has its name; of a part that is not the last: false */
    bool was_published;    /* it had been before: nothing was done */
    bool was_done;         /* of a part: it had been done before */
    unsigned part;         /* as in the settings; the shards above are those of the part */
    unsigned n_parts;
    unsigned n_parts_missing; /* that are not done yet, as far as this run has looked */
    char *parts_missing;      /* owned: their numbers, "2, 5-7"; NULL: none */
    char signing_key_sha256[65]; /* hex, of the public key in PEM, as model.sig names it; empty without settings.sign */
    char signed_sha256[65];      /* hex: the subject of model.sig, over the digests of all files; empty: not signed */
    char *started_over;  /* owned; NULL, or why what an interrupted run had written was of no use */
    char **warnings;     /* owned */
    size_t n_warnings;
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_result_free(struct llavamed_result *result);

/* OUT = BASE + DELTA. `observer` may be NULL. Blocks until all is published or nothing is left. */
enum llavamed_status llavamed_merge(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                    struct llavamed_result *result, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/* ---- A merge in parts -------------------------------------------------------------------------------------- */

#define LLAVAMED_PARTS_MAX 4096

/*
 * llavamed_merge() with settings.part and settings.n_parts makes one of N parts: whole shards, shared out by their
 * bytes, and its share of the checks of whole input files. Parts need nothing of each other but OUT.partial: they run
 * at the same time on any hosts, or one after the other, each again after whatever ended it. All take the same inputs
 * (names, sizes, modification times, a sample of their bytes) and the same options that determine bytes; PARTS_DIFFER
 * else. The one that finds all others done finishes, unless settings.no_finish: N parts give OUT as one run gives it,
 * byte for byte. One that is done already ends at once. docs/clusters.md tells how that works.
 *
 * USAGE for what no part can have: several outputs, `sign` (it belongs to llavamed_finish()), tensor_reports, a source
 * that is read from front to back (a compressed archive).
 */

/*
 * Publishes what the parts have made: checks that all are done and belong together, writes what lies beside the shards,
 * gives OUT its name. Needs neither base nor delta. Of the settings only `out`, `force`, `sign`, `dry_run` (looks
 * whether all parts are there), `n_threads` and `stop_signal` are looked at. OK also when OUT is published already
 * (result->was_published). PARTS_MISSING, with result->parts_missing; PARTS_DIFFER; OUT_BUSY while another run finishes
 * or a part is at work; else as llavamed_merge(). Whatever fails, the parts' work stays. `observer` may be NULL.
 */
enum llavamed_status llavamed_finish(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                     struct llavamed_result *result, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/* ---- Making a delta ---------------------------------------------------------------------------------------- */

/*
 * DELTA = TARGET - BASE: `out` becomes a directory that llavamed_merge() takes as its delta, such as LLaVA's make_delta
 * makes. Tensors that both have are converted to the dtype of the result and subtracted once, rounded to nearest even,
 * as PyTorch does on a CPU. Rows and columns that the target has more of in embed_tokens and lm_head, mm_projector,
 * integers and booleans are the target's own, as are all small files. Rotary buffers (inv_freq) are subtracted in F32,
 * each side rounded through the dtype of the model.
 *
 * A difference that had to be rounded may not give the target back. In the same pass each is added to the base again,
 * by the arithmetic of llavamed_merge(), and counted as lossy when that has other bits than the target (as converted to
 * the dtype of the result) has: result->n_lossy, result->lossy_tensors, and in the manifest.
 *
 * With settings->exact the delta holds differences of the numbers' bits instead, as integers: see
 * docs/llavamed-make-delta.md. llavamed_merge() takes it as what it is, and the target comes out of it, in its own
 * dtypes, bit for bit, which is verified as it is made. NOT_SUPPORTED_YET with LLAVAMED_FORMAT_TORCH, USAGE with a
 * dtype.
 *
 * Of the settings, `allow_unknown_base` is not looked at: any difference is a delta, so there is nothing to judge by
 * content. Everything else, and every failure, is as with llavamed_merge(), with the target in place of the delta.
 */
enum llavamed_status llavamed_make_delta(const struct llavamed_settings *settings,
                                         const struct llavamed_observer *observer, struct llavamed_result *result,
                                         struct llavamed_error *error) __attribute__((warn_unused_result));

/* ---- Several deltas of one base ---------------------------------------------------------------------------- */

#define LLAVAMED_OUTPUTS_MAX 64

/* One delta and what is made of it. */
struct llavamed_output {
    const char *delta;            /* SOURCE; the caller's, as `out`: borrowed for the call */
    const char *out;              /* directory to create */
    bool is_published;            /* set: OUT is complete and has its name */
    struct llavamed_result result; /* set as by llavamed_merge(); the caller frees it. What is read of a base that
                                      several share counts in the first of them alone; times are those of all */
    struct llavamed_error error;  /* set: what is wrong with this output itself; status LLAVAMED_OK: nothing */
};

/*
 * OUT = BASE + DELTA for each of 1 to LLAVAMED_OUTPUTS_MAX outputs, byte for byte as llavamed_merge() makes each by
 * itself; `delta` and `out` of the settings are not looked at, all the rest applies to every output, max_memory_bytes
 * to all together. The base is read once for all outputs, but for those that must go by themselves, after the others,
 * and read it again: where base or delta is a compressed archive, where an embedding grew in width, and where a delta
 * has its tensors in an order that contradicts the others'. `note` of the observer says so.
 *
 * While planning, all outputs are looked at, and what is wrong with each is in its `error`; *error is the first of it.
 * Nothing is written unless all plans are good and all directories are claimed. What fails after that ends the work of
 * all. Those that have been published by then (is_published) stay, the others are left to be continued as after
 * llavamed_merge(), by the same call or by one for any of them; but when the inputs are at fault, only those are kept
 * whose own inputs have been read to the end and found right.
 */
enum llavamed_status llavamed_merge_all(const struct llavamed_settings *settings,
                                        const struct llavamed_observer *observer, struct llavamed_output *outputs,
                                        size_t n_outputs, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/* ---- Verifying a directory --------------------------------------------------------------------------------- */

/* All strings are borrowed until llavamed_verify() returns. */
struct llavamed_verify_settings {
    const char *dir;                 /* what llavamed_merge() published, or any directory with a SHA256SUMS */
    const char *sums;                /* NULL, or a list that says in place of DIR/SHA256SUMS what belongs there */
    const char *public_key;          /* NULL, or a file with a public key in PEM: model.sig is to be signed with it,
                                        over these files, all of them and no other */
    bool ignore_extra;               /* files that no record names are told as notes, and not read */
    const char *base;                /* NULL; or, with delta, a SOURCE each: the tensors must be those of the merge */
    const char *delta;
    const char *against;             /* NULL; or, without these, a SOURCE whose tensors they must be */
    bool has_dtype;                  /* else the dtype of the merge is what the manifest records, or else DELTA */
    enum llavamed_result_dtype dtype;
    bool has_inv_freq;               /* else as the manifest records, or else KEEP */
    enum llavamed_inv_freq inv_freq;
    enum llavamed_cpu cpu;           /* default BEST */
    bool tensor_reports;             /* fill result.tensors */
    unsigned n_threads;              /* files that are read at a time, workers that merge; 0 (default): one per usable
                                        core */
    uint64_t max_memory_bytes;       /* buffers for what is read; 0 (default): 256 MiB, or less where a limit of this
                                        process's memory leaves less. Headers and records come on top */
    const volatile int *stop_signal; /* as in struct llavamed_settings */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_verify_settings_init(struct llavamed_verify_settings *settings);

/*
 * What can be wrong. X(code, what it means); a finding that is about a record is of the file that holds the record:
 * SHA256SUMS, the manifest, an index.
 */
#define LLAVAMED_FINDING_LIST(X)                                                                                       \
    X(NO_RECORDS)        /* nothing in the directory records what it should hold */                                    \
    X(FILE_MISSING)      /* named by a record, and not there */                                                        \
    X(FILE_EXTRA)        /* there, and named by no record */                                                           \
    X(FILE_KIND)         /* a link, a directory, a FIFO...: not a plain file */                                        \
    X(FILE_UNREADABLE)   /* cannot be opened */                                                                        \
    X(FILE_IO)           /* opened, but the system failed to read it */                                                \
    X(FILE_CHANGED)      /* another file, or changed, while it was read */                                             \
    X(FILE_SIZE)         /* shorter or longer than recorded */                                                         \
    X(FILE_HASH)         /* its SHA-256 is not the recorded one */                                                     \
    X(RECORD_INVALID)    /* a record cannot be understood; for a list of sums: a line of it */                         \
    X(RECORD_INCOMPLETE) /* a record does not name what it should */                                                   \
    X(RECORD_WRONG)      /* a record contradicts another one that the file agrees with, or the tensors of the file */  \
    X(HEADER_INVALID)    /* a weights file's header or directory cannot be read, or does not fit the file */           \
    X(RECORD_CRC)        /* the CRC-32 that a torch file keeps of one of its own records differs */                    \
    X(TENSOR_MISSING)    /* recorded, and not in its file */                                                           \
    X(TENSOR_EXTRA)      /* in a file, and not recorded */                                                             \
    X(TENSOR_PLACE)      /* in another file than recorded */                                                           \
    X(TENSOR_FORM)       /* another dtype or shape than recorded */                                                    \
    X(TENSOR_CRC)        /* its bytes have another CRC-32 than recorded */                                             \
    X(TENSOR_DIGEST)     /* its bytes have another digest than recorded */                                             \
    X(TENSOR_CUT)        /* its bytes end with the file, too early */                                                  \
    X(SIGNATURE_INVALID) /* model.sig is another key's, not over its payload, or cannot be understood */               \
    X(SIGNED_HASH)       /* a file's SHA-256 is not the one that was signed */                                         \
    X(FILE_UNSIGNED)     /* there, and not signed */                                                                   \
    X(TENSOR_UNCHECKED)  /* lies in its file in a way that its CRC-32 and its digest cannot be told from; or is of a   \
                            dtype of less than a byte, and cannot be compared with that of another checkpoint */       \
    X(TENSOR_DIFFERS)    /* an element is not that of BASE + DELTA, or of the other checkpoint */                      \
    X(NOT_COMPARED)      /* the directory cannot be read as a checkpoint, so that nothing was compared */

enum llavamed_finding_code {
#define LLAVAMED_FINDING_ENUM(name) LLAVAMED_FINDING_##name,
    LLAVAMED_FINDING_LIST(LLAVAMED_FINDING_ENUM)
#undef LLAVAMED_FINDING_ENUM
};

/* "FILE_HASH". Static storage. */
const char *llavamed_finding_name(enum llavamed_finding_code code);

/* A finding of a comparison that is of no file is of ".". */
#define LLAVAMED_FINDINGS_MAX 10000

struct llavamed_finding {
    enum llavamed_finding_code code;
    char *file;      /* owned: its name in the directory, as the file system has it: may be any bytes */
    char *tensor;    /* owned; NULL: the file as a whole */
    uint64_t offset; /* where in the file it begins; 0 when that is not known */
    char *what;      /* owned; printable: "its SHA-256 is not the recorded one (got X, want Y)" */
};

/* A file of the directory. */
struct llavamed_verified_file {
    char *name;       /* owned, as the file system has it */
    uint64_t n_bytes;
    size_t n_tensors; /* of a weights file whose header was read */
    char sha256[65];  /* lower-case hex of what was read; empty when it was not read to its end */
};

/* Filled as far as the run came, on failure too. Free with llavamed_verify_result_free(). */
struct llavamed_verify_result {
    struct llavamed_finding *findings; /* owned; sorted by file, then by offset */
    size_t n_findings;                 /* in the list: the first LLAVAMED_FINDINGS_MAX that were found */
    uint64_t n_found;                  /* all */
    char **notes;                      /* owned, printable: what there is no record to check by; extra files */
    size_t n_notes;
    struct llavamed_verified_file *files; /* owned: those that are there, plain ones, sorted by name */
    size_t n_files;
    struct llavamed_verified_tensor *tensors; /* owned: by file; NULL unless settings.tensor_reports;
                                                 llavamed_reports.h */
    size_t n_listed_tensors;
    size_t n_tensors;         /* of which the bytes were held against a recorded CRC-32 */
    size_t n_digests;         /* and of these against a recorded digest */
    bool was_compared;        /* with BASE + DELTA or with another checkpoint, to the end */
    size_t n_compared;        /* tensors of which every element was compared so */
    size_t n_equal;           /* those of them that are the same, bit for bit */
    enum llavamed_result_dtype dtype;    /* with BASE + DELTA: of the merge that was compared with */
    enum llavamed_inv_freq inv_freq;
    char signing_key_sha256[65]; /* hex, of the public key in PEM that model.sig is signed with; empty: not verified */
    size_t n_signed;             /* files that model.sig names */
    uint64_t read_bytes;
    uint64_t buffer_bytes;
    uint64_t total_ns;
    unsigned n_threads;
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_verify_result_free(struct llavamed_verify_result *result);

/*
 * Holds a directory against its own records: SHA256SUMS, llavamed-manifest.json, the shard index, the headers of its
 * weights files, the CRC-32 that the manifest has of each tensor and torch files of their records; where the manifest
 * has digests of tensors and of the model (docs/digests.md), these too, at the cost of a second hash of each byte.
 * Every file that should be there is, nothing else is, and all of it says the same. Each byte is read once; files are
 * read in parallel, the largest first. What there is no record for is said in `notes`. Links are not followed,
 * sub-directories not entered: nothing but plain files belongs there. Nothing is written. A model.sig (OpenSSF Model
 * Signing) belongs there too, and is verified when there is a key for it.
 *
 * With base and delta the merge is computed again, from the same plan and in the same way, and every tensor of the
 * directory is compared with it: the same names, dtypes, shapes and bits, in whatever shards and format. With `against`
 * it is compared so with another checkpoint. Then a directory without records is no finding but a note, and its
 * weights files are read once more. What is wrong with base and delta is an error, not a finding: the statuses of
 * llavamed_merge(), its PAIR_WRONG_BASE and PAIR_FULL_DELTA aside; USAGE for a dtype or inv_freq that contradicts the
 * manifest. They are looked at before anything is read, and their checksums are known at the end.
 *
 * All that is wrong is found, not the first of it alone. NOT_INTACT when anything is. When all that is wrong is that
 * files could not be read to their end, IO or INPUT_CHANGED: nothing is proven then. INPUT_MISSING, INPUT_UNREADABLE,
 * INPUT_LIMIT for the directory itself, or for `sums`; these and KEY_INVALID for the key; MEMORY_TOO_SMALL, NO_MEMORY,
 * INTERRUPTED. `observer` may be NULL; `shard_done` comes for every weights file, `warning` and `note` for what is in
 * `notes`.
 */
enum llavamed_status llavamed_verify(const struct llavamed_verify_settings *settings,
                                     const struct llavamed_observer *observer, struct llavamed_verify_result *result,
                                     struct llavamed_error *error) __attribute__((warn_unused_result));

/* ---- What a checkpoint holds ------------------------------------------------------------------------------- */

/* All strings are borrowed until llavamed_inspect() returns. */
struct llavamed_inspect_settings {
    const char *source;              /* SOURCE, as in struct llavamed_settings */
    bool digests;                    /* read every element and compute the digests of docs/digests.md */
    bool stats;                      /* read every element and compute statistics, in the same pass */
    uint64_t max_memory_bytes;       /* of buffers for that; default 256 MiB */
    unsigned n_threads;              /* workers for that; 0 (default): one per usable core */
    const volatile int *stop_signal; /* as in struct llavamed_settings */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_inspect_settings_init(struct llavamed_inspect_settings *settings);

/* A weights file. */
struct llavamed_inspect_shard {
    char *name;              /* owned: file name without directory */
    uint64_t file_bytes;
    size_t n_tensors;        /* that lie in it, or a part of which does */
    char sha256[65];         /* recorded beside it: a claim, here nothing is hashed; empty: there is no record */
    const char *recorded_in; /* static: where ("SHA256SUMS"); NULL without a record */
    const char *release;     /* static: the published release of which this is the hash of a file; NULL: unknown */
};

/*
 * Of the elements of a tensor. The same bits on every machine: docs/llavamed-inspect.md tells in which order sums are
 * made. A mean of doubles that overflows is infinite or not a number.
 */
struct llavamed_inspect_stats {
    bool is_known;        /* asked for, and the dtype is F16, BF16, F32 or F64: else the rest is 0 */
    uint64_t n_zero;      /* of either sign */
    uint64_t n_subnormal; /* in the tensor's own dtype */
    uint64_t n_nan;
    uint64_t n_infinite;
    uint64_t n_finite;
    double min; /* of the finite ones, as those below; 0 without any */
    double max;
    double mean;
    double rms; /* root of the mean square */
};

#define LLAVAMED_RANK_MAX 16
#define LLAVAMED_SHARDS_ALL SIZE_MAX

struct llavamed_inspect_tensor {
    char *name;         /* owned: UTF-8, not made printable */
    const char *dtype;  /* static: as safetensors spells it, "F16" */
    unsigned rank;
    uint64_t shape[LLAVAMED_RANK_MAX];
    uint64_t n_elems;
    uint64_t n_bytes;
    size_t shard;       /* index into shards; LLAVAMED_SHARDS_ALL: each of them holds a part */
    char sha256[65];    /* its digest; empty unless settings.digests */
    struct llavamed_inspect_stats stats;
};

struct llavamed_inspect_dtype {
    const char *dtype; /* static */
    size_t n_tensors;
    uint64_t n_elems;
    uint64_t n_bytes;
};

/* What config.json, or Meta's params.json, says. 0 or NULL where it does not. */
struct llavamed_inspect_config {
    const char *file_name; /* static: "config.json", "params.json"; NULL: neither, or not one that can be read */
    char *model_type;      /* owned, as the two behind it */
    char *architecture;
    char *dtype;           /* "float16" */
    uint64_t n_rows;       /* vocab_size */
    uint64_t hidden_size;
    uint64_t n_layers;
    uint64_t n_heads;
    uint64_t n_key_value_heads;
    uint64_t context;      /* max_position_embeddings */
};

/* Filled as far as the call came, on failure too. Free with llavamed_inspect_result_free(). */
struct llavamed_inspect_result {
    char *path;             /* owned: SOURCE, or the snapshot that the Hugging Face cache has of it */
    bool in_hub_cache;
    const char *layout;     /* static: "directory" (Hugging Face form), "meta", "file", "archive"; NULL: not found */
    const char *format;     /* static: "safetensors", "torch", "meta" */
    char *index_name;       /* owned: the shard index; NULL: there is none */
    uint64_t archive_bytes; /* of the archive's own file, when it is one */
    const char *release;    /* static: the published release that recorded hashes of all shards name; NULL: unknown */
    struct llavamed_inspect_config config;
    struct llavamed_inspect_shard *shards; /* owned */
    size_t n_shards;
    struct llavamed_inspect_tensor *tensors; /* owned; in the checkpoint's own order */
    size_t n_tensors;
    struct llavamed_inspect_dtype *dtypes; /* owned; most bytes first */
    size_t n_dtypes;
    uint64_t n_bytes;      /* of all tensors */
    uint64_t n_parameters; /* elements of floating-point dtypes, but for rotary buffers (inv_freq) */
    uint64_t n_rows;       /* of model.embed_tokens.weight: the vocabulary; 0 without such a tensor */
    uint64_t hidden_size;  /* its columns */
    uint64_t n_layers;     /* highest N of "model.layers.N." plus one */
    char **notes;          /* owned: what is odd, in sentences; empty for a checkpoint that is as most are */
    size_t n_notes;
    char model_sha256[65]; /* digest of the model; empty unless settings.digests */
    uint64_t read_bytes;   /* of the weights files, beyond their headers */
    unsigned n_threads;    /* workers that read elements; 0: none were read */
    uint64_t total_ns;     /* whole call */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_inspect_result_free(struct llavamed_inspect_result *result);

/*
 * Lists what SOURCE holds, from headers and small files alone unless digests or statistics are asked for: these read
 * every element once, compare the CRC-32s that torch files and archives carry (CRC_MISMATCH), and report to
 * observer->progress. What is wrong with a SOURCE is told as llavamed_merge() tells it. `observer` may be NULL.
 */
enum llavamed_status llavamed_inspect(const struct llavamed_inspect_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_inspect_result *result,
                                      struct llavamed_error *error) __attribute__((warn_unused_result));

/* ---- Which published release it is ------------------------------------------------------------------------- */

/* All strings are borrowed until llavamed_identify() returns. */
struct llavamed_identify_settings {
    const char *source;              /* SOURCE; any file or directory will do */
    unsigned n_threads;              /* files that are read at a time, at most 4; 0 (default): one per usable core */
    const volatile int *stop_signal; /* as in struct llavamed_settings */
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_identify_settings_init(struct llavamed_identify_settings *settings);

enum llavamed_identity {
    LLAVAMED_IDENTITY_UNKNOWN,    /* no weights file is one of a release */
    LLAVAMED_IDENTITY_COMPLETE,   /* all weights files of a release, and no others */
    LLAVAMED_IDENTITY_FILE,       /* the one file that was given is one of a release */
    LLAVAMED_IDENTITY_INCOMPLETE, /* of one release, but some are missing, or not as published */
    LLAVAMED_IDENTITY_MIXED,      /* of several, or with weights of none beside them, or another one's small files */
};

/* "complete". Static storage. */
const char *llavamed_identity_name(enum llavamed_identity identity);

struct llavamed_identified_file {
    char *name; /* owned; below the source: as the file system has it */
    uint64_t n_bytes;
    char sha256[65];           /* empty when it was not read */
    const char *release;       /* static: "LLaMA-1 7B", several where it is the same in them; NULL: unknown */
    const char *released_name; /* static: what the release calls it; NULL: unknown */
};

/* Filled as far as the run came, on failure too. Free with llavamed_identify_result_free(). */
struct llavamed_identify_result {
    enum llavamed_identity identity;
    const char *release; /* static; of the weights; NULL with UNKNOWN, and where they are of several */
    size_t n_found;      /* weights files of the release that are there */
    size_t n_wanted;     /* that it has */
    struct llavamed_identified_file *files; /* owned; in the order of names */
    size_t n_files;
    char **remarks; /* owned, printable: which files are missing, altered or of something else */
    size_t n_remarks;
    uint64_t read_bytes;
    uint64_t total_ns;
    uint64_t reserved[LLAVAMED_RESERVED]; /* 0 */
};

void llavamed_identify_result_free(struct llavamed_identify_result *result);

/*
 * Hashes every file of a source, in an archive also those in it, and looks them up among the published releases that
 * this library knows. Nothing in them is interpreted, so that damaged and unknown files are hashed like others. OK for
 * COMPLETE and FILE; IDENTITY_INCOMPLETE, IDENTITY_MIXED, IDENTITY_UNKNOWN. What opening and reading give,
 * INTERRUPTED. `observer` may be NULL; `progress` comes with `check`.
 */
enum llavamed_status llavamed_identify(const struct llavamed_identify_settings *settings,
                                       const struct llavamed_observer *observer,
                                       struct llavamed_identify_result *result, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/* ---- Build information ------------------------------------------------------------------------------------- */

#define LLAVAMED_VERSION "0.1.0"

/* LLAVAMED_VERSION of the library in use, which may be later than that of the header. Static storage. */
const char *llavamed_version(void);

/* Kernel that LLAVAMED_CPU_BEST chooses here: "ref", "avx2", "avx512" or "neon". Static storage. */
const char *llavamed_cpu_best(void);

/* One line "zlib 1.2.13, cJSON 1.7.15, OpenSSL 3.0.19": versions of the libraries in use. Static storage. */
const char *llavamed_libraries(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
