/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/merge_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "merge/result.h"

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
    text_make_printable(text);
    run->observer->note(run->observer->context, text);
}

enum llavamed_status merge_warn(struct merge_run *run, const char *text, struct llavamed_error *error)
{
    if (run->observer != NULL && run->observer->warning != NULL) {
        run->observer->warning(run->observer->context, text);
    }
    return result_add_warning(run->result, text, error);
}

enum llavamed_status merge_check_stop(const struct merge_run *run, struct llavamed_error *error)
{
    const volatile int *stop_signal = run->settings->stop_signal;
    int signal_number = stop_signal == NULL ? 0 : *stop_signal;
    if (signal_number == 0) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
    error->signal_number = signal_number;
    return LLAVAMED_STATUS_INTERRUPTED;
}
