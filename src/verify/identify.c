/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed_identify(): the files of a source, their hashes, the table of known releases. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/cpus.h"
#include "core/reserved.h"
#include "merge/hash_files.h"
#include "source/source_listing.h"
#include "verify/identity.h"

static const char *const names[] = {
    [LLAVAMED_IDENTITY_UNKNOWN] = "unknown",       [LLAVAMED_IDENTITY_COMPLETE] = "complete",
    [LLAVAMED_IDENTITY_FILE] = "file",             [LLAVAMED_IDENTITY_INCOMPLETE] = "incomplete",
    [LLAVAMED_IDENTITY_MIXED] = "mixed",
};

const char *llavamed_identity_name(enum llavamed_identity identity)
{
    return names[identity];
}

void llavamed_identify_settings_init(struct llavamed_identify_settings *settings)
{
    *settings = (struct llavamed_identify_settings){0};
}

void llavamed_identify_result_free(struct llavamed_identify_result *result)
{
    for (size_t i = 0; i < result->n_files; i++) {
        free(result->files[i].name);
    }
    for (size_t i = 0; i < result->n_remarks; i++) {
        free(result->remarks[i]);
    }
    free(result->files);
    free(result->remarks);
    *result = (struct llavamed_identify_result){0};
}

struct identifying {
    const struct llavamed_identify_settings *settings;
    const struct llavamed_observer *observer;
    struct llavamed_identify_result *result;
    struct source_listing listing;
};

/* Takes over the names of the listing. */
static enum llavamed_status list_files(struct identifying *run, struct llavamed_error *error)
{
    struct llavamed_identify_result *result = run->result;
    result->files = calloc(run->listing.n_files + 1, sizeof *result->files);
    if (result->files == NULL) {
        return llavamed_fail_memory(error, run->listing.n_files * sizeof *result->files, "the list of files");
    }
    for (size_t i = 0; i < run->listing.n_files; i++) {
        struct source_listing_file *file = &run->listing.files[i];
        result->files[i] = (struct llavamed_identified_file){.name = file->name, .n_bytes = file->n_bytes};
        file->name = NULL;
        result->n_files++;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status hash_all(struct identifying *run, struct llavamed_error *error)
{
    size_t n = run->listing.n_files;
    uint64_t n_bytes = 0;
    struct hash_files_task *tasks = calloc(n + 1, sizeof *tasks);
    if (tasks == NULL) {
        return llavamed_fail_memory(error, n * sizeof *tasks, "the list of files");
    }
    for (size_t i = 0; i < n; i++) {
        const struct source_listing_file *file = &run->listing.files[i];
        tasks[i] = (struct hash_files_task){
            .path = file->path, .archive = file->archive, .member = file->member, .hex = run->result->files[i].sha256};
        n_bytes += file->n_stored;
    }
    unsigned n_threads = run->settings->n_threads != 0 ? run->settings->n_threads : cpus_usable();
    const struct hash_files_options options = {
        .n_threads = n_threads < HASH_FILES_THREADS_MAX ? n_threads : HASH_FILES_THREADS_MAX,
        .stop_signal = run->settings->stop_signal,
        .observer = run->observer,
        .check = "SHA-256 of the files",
        .n_bytes = n_bytes,
    };
    enum llavamed_status status = hash_files(tasks, n, &options, error);
    run->result->read_bytes = status == LLAVAMED_OK ? n_bytes : 0;
    free(tasks);
    return status;
}

static const char *base_name(const char *name)
{
    assert(name != NULL);
    const char *slash = strrchr(name, '/');
    return slash == NULL ? name : slash + 1;
}

/* Of an archive, what lies in it is told, and not the file itself, which nobody has published. */
static enum llavamed_status judge(struct identifying *run, struct llavamed_error *error)
{
    struct llavamed_identify_result *result = run->result;
    size_t first = run->listing.archive != NULL ? 1 : 0;
    struct identity identity;
    struct identity_file *files = calloc(result->n_files + 1, sizeof *files);
    if (files == NULL) {
        return llavamed_fail_memory(error, result->n_files * sizeof *files, "the list of files");
    }
    for (size_t i = 0; i < result->n_files; i++) {
        struct llavamed_identified_file *file = &result->files[i];
        files[i].name = base_name(file->name);
        files[i].row = known_release_find(file->sha256, file->n_bytes);
        file->release = files[i].row == NULL ? NULL : files[i].row->release;
        file->released_name = files[i].row == NULL ? NULL : files[i].row->name;
    }
    identity_judge(files + first, result->n_files - first, run->listing.is_single, &identity);
    free(files);
    enum llavamed_status status = warnings_status(&identity.remarks, error);
    result->identity = identity.verdict;
    result->release = identity.release;
    result->n_found = identity.n_found;
    result->n_wanted = identity.n_wanted;
    result->remarks = identity.remarks.texts;
    result->n_remarks = identity.remarks.n_texts;
    return status;
}

static enum llavamed_status conclude(const struct identifying *run, struct llavamed_error *error)
{
    const struct llavamed_identify_result *result = run->result;
    const char *source = run->settings->source;
    switch (result->identity) {
    case LLAVAMED_IDENTITY_UNKNOWN:
        return llavamed_fail(error, LLAVAMED_STATUS_IDENTITY_UNKNOWN,
                             "%s: no weights file in it is one of a published release that this program knows", source);
    case LLAVAMED_IDENTITY_INCOMPLETE:
        return llavamed_fail(error, LLAVAMED_STATUS_IDENTITY_INCOMPLETE,
                             "%s: not all weights files are those of %s (got %zu, want %zu): %s", source,
                             result->release, result->n_found, result->n_wanted, result->remarks[0]);
    case LLAVAMED_IDENTITY_MIXED:
        return llavamed_fail(error, LLAVAMED_STATUS_IDENTITY_MIXED, "%s: not of one release: %s", source,
                             result->remarks[0]);
    case LLAVAMED_IDENTITY_COMPLETE:
    case LLAVAMED_IDENTITY_FILE:
        break;
    }
    return LLAVAMED_OK;
}

enum llavamed_status llavamed_identify(const struct llavamed_identify_settings *settings,
                                       const struct llavamed_observer *observer,
                                       struct llavamed_identify_result *result, struct llavamed_error *error)
{
    uint64_t started_ns = clock_monotonic_ns();
    struct identifying run = {.settings = settings, .observer = observer, .result = result};
    *result = (struct llavamed_identify_result){0};
    enum llavamed_status status = reserved_check(settings->reserved, error);
    if (status == LLAVAMED_OK) {
        status = settings->source == NULL ? llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no source is given")
                                          : source_listing_open(settings->source, "source", settings->stop_signal,
                                                                &run.listing, error);
    }
    if (status == LLAVAMED_OK) {
        status = list_files(&run, error);
    }
    if (status == LLAVAMED_OK) {
        status = hash_all(&run, error);
    }
    if (status == LLAVAMED_OK) {
        status = judge(&run, error);
    }
    source_listing_close(&run.listing);
    result->total_ns = clock_monotonic_ns() - started_ns;
    return status == LLAVAMED_OK ? conclude(&run, error) : status;
}
