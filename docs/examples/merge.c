/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OUT = BASE + DELTA through libllavamed, with what a program of its own wants: progress, warnings, a clean stop on
 * Ctrl-C, and the reason of a failure.
 *
 *     cc merge.c $(pkg-config --cflags --libs llavamed) -o merge
 *     ./merge llama-7b llava-med-7b-delta llava-med-7b
 *
 * With the static library in place of the shared one:
 *
 *     cc merge.c $(pkg-config --cflags --static --libs llavamed | sed 's/-lllavamed/-l:libllavamed.a/') -o merge
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <llavamed.h>

/* The library polls it, and installs no handler itself. */
static volatile int stop_signal;

static void stop(int number)
{
    __atomic_store_n(&stop_signal, number, __ATOMIC_RELAXED);
}

/* Called by llavamed_merge(), on this thread, some five times a second. */
static void show_progress(void *context, const struct llavamed_progress *progress)
{
    (void)context;
    double share = progress->total_bytes == 0 ? 1 : (double)progress->done_bytes / (double)progress->total_bytes;
    fprintf(stderr, "%s: %.0f %%\n", progress->check == NULL ? "merging" : progress->check, 100 * share);
}

static void show_warning(void *context, const char *text)
{
    (void)context;
    fprintf(stderr, "warning: %s\n", text);
}

static void show_error(const struct llavamed_error *error)
{
    fprintf(stderr, "error (%s): %s\n", llavamed_status_name(error->status), error->message);
    for (size_t i = 0; i < error->n_problems && i < LLAVAMED_PROBLEMS_MAX; i++) {
        fprintf(stderr, "problem: %s\n", error->problems[i]);
    }
    if (error->hint[0] != '\0') {
        fprintf(stderr, "hint: %s\n", error->hint);
    }
}

int main(int argc, char *argv[])
{
    if (argc != 4) {
        fprintf(stderr, "usage: merge BASE DELTA OUT (libllavamed %s)\n", llavamed_version());
        return 2;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    /* Always by its initialiser: settings that a later library adds are then as they should be. */
    struct llavamed_settings settings;
    llavamed_settings_init(&settings);
    settings.base = argv[1];
    settings.delta = argv[2];
    settings.out = argv[3];
    settings.stop_signal = &stop_signal;

    const struct llavamed_observer observer = {.progress = show_progress, .warning = show_warning};
    struct llavamed_result result = {0};
    struct llavamed_error error = {0};
    int exit_status = 0;
    if (llavamed_merge(&settings, &observer, &result, &error) != LLAVAMED_OK) {
        show_error(&error);
        exit_status = llavamed_exit_status(&error);
    }
    /* Filled as far as it came, whatever became of it; what it owns is freed below. */
    for (size_t i = 0; i < result.n_shards; i++) {
        printf("%s  %s\n", result.shards[i].sha256, result.shards[i].name);
    }
    printf("%zu tensors, %" PRIu64 " bytes read, %" PRIu64 " written\n", result.n_tensors, result.read_bytes,
           result.written_bytes);
    llavamed_result_free(&result);
    return exit_status;
}
