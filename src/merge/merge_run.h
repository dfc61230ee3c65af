/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one llavamed_merge_all() or llavamed_make_delta(), shared by its steps; for merge*.c alone. */
#ifndef MERGE_MERGE_RUN_H
#define MERGE_MERGE_RUN_H

#include "merge/documents.h"
#include "merge/input_hashes.h"
#include "merge/journal.h"
#include "merge/output_dir.h"
#include "merge/pipeline.h"
#include "merge/plan.h"
#include "merge/target_sums.h"
#include "source/source.h"

#define MERGE_REMARK_BYTES 512

struct merge_batch;
struct merge_part; /* merge/merge_part.h */

/* One output. */
struct merge_run {
    struct merge_batch *batch;
    struct llavamed_output *output;
    const struct llavamed_settings *settings; /* its own */
    const struct llavamed_observer *observer; /* may be NULL */
    struct llavamed_result *result;
    const struct kernel_set *kernels;
    struct source *base;  /* that of the batch, unless owns_base */
    bool owns_base;
    struct source *delta;
    size_t pass;          /* outputs of one pass are made together */
    bool is_first;        /* of its pass */
    bool is_whole;        /* its shards are made, and its inputs were found right */
    struct plan plan;
    const struct plan *work; /* what this run makes of it: all, or the plan of a part */
    struct merge_part *part; /* owned; NULL: a whole run */
    struct pipeline_geometry geometry;
    struct input_hashes *hashes;
    const char *identities[INPUT_ROLES]; /* NULL: unknown; of `hashes` */
    struct documents *documents;
    struct output_dir *dir;
    bool began;                     /* OUT.partial is claimed */
    struct journal *journal;        /* from then on, until OUT is published */
    char *journal_path;             /* owned; in OUT.partial */
    char *journal_beside;           /* owned; where it is while OUT is published */
    bool journal_moved;             /* it is there now, and this run's */
    bool continues;                 /* the journal is that of an interrupted run, whose shards are there */
    bool is_half_cleared;           /* a signal came while what an interrupted run had left was removed */
    struct llavamed_observer watch; /* shows that the run lives, and tells `observer`: for what takes time */
    struct pipeline_outcome outcome;
    struct target_sums target_sums; /* of an exact delta */
    struct relative_sizes *sizes; /* owned; NULL unless the settings ask for reports of tensors */
    uint64_t started_ns;
};

/* All outputs; one alone where a delta is made: its target is what `delta` says of a merge. */
struct merge_batch {
    enum plan_operation operation;
    struct merge_run *runs;
    struct llavamed_settings *settings; /* of each run */
    size_t n_runs;
    struct source *base;
    size_t n_passes;
    uint64_t bytes_before;  /* of the shards of earlier passes */
    uint64_t bytes_total;   /* of all shards */
    size_t shards_before;
    size_t shards_total;
    const struct merge_run *blamed; /* the one that failed, where it is known */
    bool derives;                   /* makes no output: derivation.h; a single run, without `dir` and `documents` */
    const struct pipeline_sink *sink; /* then takes the elements */
    uint64_t memory_asked;          /* max_memory_bytes as the caller gave it: 0 leaves it to merge_settle_memory() */
    struct ec_key *signing_key;     /* owned; NULL: the outputs are not signed */
};

/* Makes the runs, of which batch->n_runs tells how many: one for each output. All is borrowed. NO_MEMORY. */
enum llavamed_status merge_batch_init(struct merge_batch *batch, const struct llavamed_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_output *outputs,
                                      struct llavamed_error *error) LLAVAMED_CHECK;
void merge_batch_deinit(struct merge_batch *batch);

/* The plan's options that the settings mean, defaults filled in. */
struct plan_options merge_plan_options(const struct merge_run *run);

/* What messages call the other source beside the base: "delta", "target". */
const char *merge_other_name(const struct merge_run *run);

/* Tells the observer what -v shows. */
void merge_note(const struct merge_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells what has become of the run; `out` of the report is filled in. */
void merge_tell_step(const struct merge_run *run, const struct llavamed_step_report *report);

/* Tells a warning that is kept elsewhere. */
void merge_tell_warning(const struct merge_run *run, const char *text);

/* Tells a warning and keeps it for the result and, if it comes in time, the manifest. A failed run may ignore it. */
enum llavamed_status merge_warn(struct merge_run *run, const char *text, struct llavamed_error *error);

/* The same for what the base alone gives rise to: told of the first output. */
void merge_note_base(const struct merge_run *run, const char *text);
enum llavamed_status merge_warn_base(struct merge_run *run, const char *text, struct llavamed_error *error);

/* Sets run->watch. */
void merge_watch_init(struct merge_run *run);

/*
 * Claims OUT.partial and opens the journal: that of an interrupted run of the same command when there is one, whose
 * tiles will be kept, unless the settings forbid it.
 */
enum llavamed_status merge_begin_output(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Before OUT is published: the journal, on storage by then, leaves OUT.partial for a name beside OUT, where the next
 * run finds it should this one die now. OUT_BUSY, OUT_SPACE, OUT_UNWRITABLE.
 */
enum llavamed_status merge_move_journal(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* Once OUT is published: removes the journal. */
void merge_end_journal(struct merge_run *run);

void merge_resume_deinit(struct merge_run *run); /* touches no file */

/* After a failure: leaves OUT.partial for a later run where the same command may succeed then, else removes it. */
void merge_give_up(struct merge_run *run, const struct llavamed_error *error);

/* INTERRUPTED when the settings' stop signal has come. */
enum llavamed_status merge_check_stop(const struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Looks, plans and checks; nothing is created. Fills the runs up to `dir`, on failure as far as it came: what is wrong
 * with an output is in its error, the first of it in *error, which is empty at the start.
 */
enum llavamed_status merge_prepare(struct merge_batch *batch, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Sets how much memory each run's settings allow, which the limits of this process decide as things are now. To be
 * called before anything is opened, and again once plans have taken what they take. MEMORY_TOO_SMALL.
 */
enum llavamed_status merge_settle_memory(struct merge_batch *batch, struct llavamed_error *error) LLAVAMED_CHECK;

/* Which outputs are made together, and how memory is cut for them. */
enum llavamed_status merge_assign_passes(struct merge_batch *batch, struct llavamed_error *error) LLAVAMED_CHECK;

/* Makes the shards of one pass and checks the inputs. */
enum llavamed_status merge_run_pass(struct merge_batch *batch, size_t pass,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Notes that what failed is this output's own, and returns error's status. */
enum llavamed_status merge_blame(struct merge_run *run, const struct llavamed_error *error);

/*
 * Two of several outputs that are the same, or of which one would be inside another: OUT_OVERLAPS_INPUT in the later
 * one's error, and in *error when that is empty. NO_MEMORY in *error.
 */
void merge_check_apart(const struct merge_batch *batch, struct llavamed_error *error);

/* Publishes all outputs, one after the other; what fails leaves those before it as they are. */
enum llavamed_status merge_publish(struct merge_batch *batch, struct llavamed_error *error) LLAVAMED_CHECK;

/* Opens the base; *base is owned by the caller. */
enum llavamed_status merge_open_base(struct merge_run *run, struct source **base,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Opens the delta and tells what there is to remark. A base that is read from front to back is read for each output, so
 * each has its own.
 */
enum llavamed_status merge_open_sources(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* Another handle of the base, for a run that cannot share it. */
enum llavamed_status merge_open_own_base(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* The workers that the settings ask for. */
unsigned merge_threads_wanted(const struct llavamed_settings *settings);

/* Hashes the inputs where the settings or a record beside them ask for it. */
enum llavamed_status merge_verify_inputs(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether one of the sources is read from front to back. */
bool merge_is_streamed(const struct merge_run *run);

/*
 * Whether the delta was made from this base, as far as a sample of both tells: while planning, or once a source that is
 * read from front to back was read. Its warning is kept.
 */
enum llavamed_status merge_judge_content(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* Warns of a base that no hash has named. */
enum llavamed_status merge_warn_of_unknown_base(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
