/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one llavamed_merge(), shared by its steps; for merge*.c alone. */
#ifndef MERGE_MERGE_RUN_H
#define MERGE_MERGE_RUN_H

#include "merge/documents.h"
#include "merge/input_hashes.h"
#include "merge/journal.h"
#include "merge/output_dir.h"
#include "merge/pipeline.h"
#include "merge/plan.h"
#include "source/source.h"

#define MERGE_REMARK_BYTES 512

struct merge_run {
    const struct llavamed_settings *settings;
    const struct llavamed_observer *observer; /* may be NULL */
    struct llavamed_result *result;
    const struct kernel_set *kernels;
    struct source *base;
    struct source *delta;
    struct plan plan;
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
    struct llavamed_observer watch; /* shows that the run lives, and tells `observer`: for what takes time */
    struct pipeline_outcome outcome;
    uint64_t started_ns;
};

/* The plan's options that the settings mean, defaults filled in. */
struct plan_options merge_plan_options(const struct llavamed_settings *settings);

/* Tells the observer what -v shows. */
void merge_note(const struct merge_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells a warning and keeps it for the result and, if it comes in time, the manifest. A failed run may ignore it. */
enum llavamed_status merge_warn(struct merge_run *run, const char *text, struct llavamed_error *error);

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

/* Looks, plans and checks; nothing is created. Fills the run up to `dir`, on failure as far as it came. */
enum llavamed_status merge_prepare(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

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
