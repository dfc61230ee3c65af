/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/merge_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/stop_signal.h"
#include "merge/result.h"

#define MERGE_LINE_BYTES (2 * LLAVAMED_MESSAGE_BYTES)

/* Of several outputs, which one it is about. */
static void tell(const struct merge_run *run, void (*to)(void *context, const char *text), const char *text)
{
    char line[MERGE_LINE_BYTES];
    if (run->batch->n_runs > 1) {
        (void)snprintf(line, sizeof line, "%s: %s", run->settings->out, text);
        llavamed_make_printable(line);
        text = line;
    }
    to(run->observer->context, text);
}

void merge_note(const struct merge_run *run, const char *format, ...)
{
    if (run->observer == NULL || run->observer->note == NULL) {
        return;
    }
    char text[MERGE_REMARK_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    llavamed_make_printable(text);
    tell(run, run->observer->note, text);
}

void merge_note_base(const struct merge_run *run, const char *text)
{
    if (run->observer != NULL && run->observer->note != NULL && run == run->batch->runs) {
        run->observer->note(run->observer->context, text);
    }
}

void merge_tell_step(const struct merge_run *run, const struct llavamed_step_report *report)
{
    if (run->observer != NULL && run->observer->step != NULL) {
        struct llavamed_step_report full = *report;
        full.out = run->settings->out;
        run->observer->step(run->observer->context, &full);
    }
}

void merge_tell_warning(const struct merge_run *run, const char *text)
{
    if (run->observer != NULL && run->observer->warning != NULL) {
        tell(run, run->observer->warning, text);
    }
}

enum llavamed_status merge_warn(struct merge_run *run, const char *text, struct llavamed_error *error)
{
    merge_tell_warning(run, text);
    return result_add_warning(run->result, text, error);
}

enum llavamed_status merge_warn_base(struct merge_run *run, const char *text, struct llavamed_error *error)
{
    if (run->observer != NULL && run->observer->warning != NULL && run == run->batch->runs) {
        run->observer->warning(run->observer->context, text);
    }
    return result_add_warning(run->result, text, error);
}

enum llavamed_status merge_blame(struct merge_run *run, const struct llavamed_error *error)
{
    run->output->error = *error;
    run->batch->blamed = run;
    return error->status;
}

const char *merge_other_name(const struct merge_run *run)
{
    return plan_other_name(run->batch->operation);
}

enum llavamed_status merge_check_stop(const struct merge_run *run, struct llavamed_error *error)
{
    return stop_signal_check(run->settings->stop_signal, error);
}
