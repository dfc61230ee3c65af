/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says, event by event. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_log.h"
#include "cli/json_error.h"

/* ---- Before and after --------------------------------------------------------------------------------------- */

/* What batch systems say of the job: the variable, and what it is called here. */
static void emit_slurm(struct json_emit *emit)
{
    static const char *const names[][2] = {
        {"SLURM_JOB_ID", "job_id"},
        {"SLURM_JOB_NAME", "job_name"},
        {"SLURM_ARRAY_JOB_ID", "array_job_id"},
        {"SLURM_ARRAY_TASK_ID", "array_task_id"},
        {"SLURM_PROCID", "procid"},
        {"SLURM_RESTART_COUNT", "restart_count"},
    };
    bool is_open = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i][0]);
        if (value == NULL) {
            continue;
        }
        if (!is_open) {
            json_emit_begin(emit, "slurm", '{');
            is_open = true;
        }
        json_emit_text(emit, names[i][1], value);
    }
    if (is_open) {
        json_emit_end(emit, '}');
    }
}

void event_log_start(struct event_log *log, int argc, char *const argv[])
{
    char directory[PATH_MAX];
    if (!event_log_begin(log, "start")) {
        return;
    }
    json_emit_text(&log->emit, "version", LLAVAMED_VERSION);
    json_emit_text(&log->emit, "libraries", llavamed_libraries());
    json_emit_begin(&log->emit, "arguments", '[');
    for (int i = 1; i < argc; i++) {
        json_emit_text(&log->emit, NULL, argv[i]);
    }
    json_emit_end(&log->emit, ']');
    json_emit_text(&log->emit, "directory", getcwd(directory, sizeof directory));
    emit_slurm(&log->emit);
    event_log_write(log);
}

/* As soon as progress is told after it, or at the end. */
static void note_signal(struct event_log *log)
{
    int number = log->stop_signal == NULL ? 0 : __atomic_load_n(log->stop_signal, __ATOMIC_RELAXED);
    if (number == 0 || log->signal_told != 0 || !event_log_begin(log, "signal")) {
        return;
    }
    log->signal_told = number;
    json_emit_number(&log->emit, "signal", (uint64_t)number);
    json_emit_text(&log->emit, "name",
                   number == SIGINT    ? "INT"
                   : number == SIGTERM ? "TERM"
                   : number == SIGHUP  ? "HUP"
                   : number == SIGUSR1 ? "USR1"
                                       : NULL);
    event_log_write(log);
}

static void note_problems(struct event_log *log, const struct llavamed_error *error)
{
    size_t n_listed = error->n_problems < LLAVAMED_PROBLEMS_MAX ? error->n_problems : LLAVAMED_PROBLEMS_MAX;
    for (size_t i = 0; i < n_listed; i++) {
        if (event_log_begin(log, "problem")) {
            json_emit_text(&log->emit, "text", error->problems[i]);
            event_log_write(log);
        }
    }
}

void event_log_end(struct event_log *log, const struct event_log_outcome *outcome)
{
    const struct llavamed_error *error = outcome->error;
    note_signal(log);
    note_problems(log, error);
    if (!event_log_begin(log, error->status == LLAVAMED_OK ? "done" : "error")) {
        return;
    }
    json_emit_number(&log->emit, "status", (uint64_t)llavamed_exit_status(error));
    json_emit_text(&log->emit, "code", llavamed_status_name(error->status));
    if (error->status != LLAVAMED_OK) {
        json_emit_text(&log->emit, "message", error->message);
        json_emit_text(&log->emit, "hint", json_text_or_null(error->hint));
        json_emit_number(&log->emit, "n_problems", error->n_problems);
    }
    json_emit_number(&log->emit, "read_bytes", outcome->read_bytes);
    json_emit_number(&log->emit, "written_bytes", outcome->written_bytes);
    json_emit_number(&log->emit, "reused_bytes", outcome->reused_bytes);
    json_emit_number(&log->emit, "peak_rss_bytes", outcome->peak_rss_bytes);
    json_emit_seconds(&log->emit, "seconds", log->clock.now_ns(log->clock.context) - log->started_ns);
    event_log_write(log);
}

/* ---- While it runs ------------------------------------------------------------------------------------------ */

static void emit_progress(struct event_log *log, const struct llavamed_progress *progress,
                          const uint64_t *bytes_per_second)
{
    if (event_log_begin(log, bytes_per_second == NULL ? "begin" : "progress")) {
        json_emit_text(&log->emit, "what", progress->check == NULL ? "merge" : progress->check);
        json_emit_number(&log->emit, "done_bytes", progress->done_bytes);
        json_emit_number(&log->emit, "total_bytes", progress->total_bytes);
        if (bytes_per_second != NULL) {
            json_emit_number(&log->emit, "bytes_per_second", *bytes_per_second);
        }
        event_log_write(log);
    }
}

/* A check of files, or the merge itself, begins; or 30 seconds have passed. */
static void note_progress(struct event_log *log, const struct llavamed_progress *progress)
{
    uint64_t now_ns = log->clock.now_ns(log->clock.context);
    uint64_t bytes_per_second = 0;
    bool is_another = progress->check != NULL && progress->done_bytes < log->check_bytes;
    bool begins = !log->has_begun || progress->check != log->check || is_another;
    log->has_begun = true;
    log->check = progress->check;
    log->check_bytes = progress->check == NULL ? 0 : progress->done_bytes;
    if (begins) {
        pace_begin(&log->pace, now_ns, progress->done_bytes);
        emit_progress(log, progress, NULL);
    } else if (pace_is_due(&log->pace, now_ns, progress->done_bytes, &bytes_per_second)) {
        emit_progress(log, progress, &bytes_per_second);
    }
}

static void on_progress(void *context, const struct llavamed_progress *progress)
{
    struct event_log *log = context;
    if (log->fd >= 0) {
        note_signal(log);
        note_progress(log, progress);
    }
    if (log->next.progress != NULL) {
        log->next.progress(log->next.context, progress);
    }
}

static void emit_shard(struct event_log *log, const struct llavamed_shard_report *shard)
{
    json_emit_text(&log->emit, "name", shard->name);
    json_emit_number(&log->emit, "bytes", shard->file_bytes);
    json_emit_number(&log->emit, "tensors", shard->n_tensors);
}

static void on_shard_done(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    struct event_log *log = context;
    if (event_log_begin(log, "shard_done")) {
        emit_shard(log, shard);
        json_emit_text(&log->emit, "sha256", json_text_or_null(shard->sha256));
        json_emit_number(&log->emit, "done", n_done);
        json_emit_number(&log->emit, "shards", n_shards);
        event_log_write(log);
    }
    if (log->next.shard_done != NULL) {
        log->next.shard_done(log->next.context, shard, n_done, n_shards);
    }
}

static void emit_text(struct event_log *log, const char *event, const char *text)
{
    if (event_log_begin(log, event)) {
        json_emit_text(&log->emit, "text", text);
        event_log_write(log);
    }
}

static void on_warning(void *context, const char *text)
{
    struct event_log *log = context;
    emit_text(log, "warning", text);
    if (log->next.warning != NULL) {
        log->next.warning(log->next.context, text);
    }
}

static void on_note(void *context, const char *text)
{
    struct event_log *log = context;
    emit_text(log, "note", text);
    if (log->next.note != NULL) {
        log->next.note(log->next.context, text);
    }
}

static void emit_plan(struct event_log *log, const struct llavamed_result *result)
{
    json_emit_number(&log->emit, "shards", result->n_shards);
    json_emit_number(&log->emit, "tensors", result->n_tensors);
    json_emit_number(&log->emit, "read_bytes", result->planned_read_bytes);
    json_emit_number(&log->emit, "write_bytes", result->planned_write_bytes);
    json_emit_number(&log->emit, "free_bytes", result->free_bytes);
    json_emit_number(&log->emit, "pool_bytes", result->pool_bytes);
    json_emit_number(&log->emit, "threads", result->n_threads);
    json_emit_text(&log->emit, "cpu", result->cpu);
}

static const char *event_of(enum llavamed_step step)
{
    switch (step) {
    case LLAVAMED_STEP_PLANNED:
        return "plan";
    case LLAVAMED_STEP_RESUMED:
        return "resume";
    case LLAVAMED_STEP_SHARD_BEGUN:
        return "shard_begun";
    case LLAVAMED_STEP_PUBLISHED:
        return "published";
    }
    return "step";
}

static void on_step(void *context, const struct llavamed_step_report *report)
{
    struct event_log *log = context;
    if (event_log_begin(log, event_of(report->step))) {
        json_emit_text(&log->emit, "out", report->out);
        switch (report->step) {
        case LLAVAMED_STEP_PLANNED:
            emit_plan(log, report->result);
            break;
        case LLAVAMED_STEP_RESUMED:
            json_emit_number(&log->emit, "tiles", report->n_tiles);
            break;
        case LLAVAMED_STEP_SHARD_BEGUN:
            emit_shard(log, report->shard);
            break;
        case LLAVAMED_STEP_PUBLISHED:
            json_emit_text(&log->emit, "manifest_sha256", report->result->manifest_sha256);
            break;
        }
        event_log_write(log);
    }
    if (log->next.step != NULL) {
        log->next.step(log->next.context, report);
    }
}

struct llavamed_observer event_log_observer(struct event_log *log)
{
    if (log->path == NULL) {
        return log->next;
    }
    return (struct llavamed_observer){
        .context = log,
        .progress = on_progress,
        .shard_done = on_shard_done,
        .warning = on_warning,
        .note = on_note,
        .step = on_step,
    };
}
