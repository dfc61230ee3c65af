/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/cpus.h"
#include "core/reserved.h"
#include "inspect/inspect_parts.h"

#define MEMORY_BYTES_DEFAULT 268435456u

void llavamed_inspect_settings_init(struct llavamed_inspect_settings *settings)
{
    *settings = (struct llavamed_inspect_settings){.max_memory_bytes = MEMORY_BYTES_DEFAULT};
}

void llavamed_inspect_result_free(struct llavamed_inspect_result *result)
{
    for (size_t i = 0; i < result->n_shards; i++) {
        free(result->shards[i].name);
    }
    for (size_t i = 0; i < result->n_tensors; i++) {
        free(result->tensors[i].name);
    }
    for (size_t i = 0; i < result->n_notes; i++) {
        free(result->notes[i]);
    }
    free(result->path);
    free(result->index_name);
    free(result->config.model_type);
    free(result->config.architecture);
    free(result->config.dtype);
    free(result->shards);
    free(result->tensors);
    free(result->dtypes);
    free(result->notes);
    memset(result, 0, sizeof *result);
}

enum llavamed_status llavamed_inspect(const struct llavamed_inspect_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_inspect_result *result,
                                      struct llavamed_error *error)
{
    const uint64_t started_ns = clock_monotonic_ns();
    const struct source_options options = {
        .role = "checkpoint",
        .check_crc = settings->digests || settings->stats,
        .crc_alone = true,
        .stop_signal = settings->stop_signal,
        .observer = observer,
    };
    struct source *source = NULL;
    memset(result, 0, sizeof *result);
    if (settings->source == NULL || settings->source[0] == '\0') {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no source is given");
    }
    enum llavamed_status status = reserved_check(settings->reserved, error);
    if (status == LLAVAMED_OK) {
        status = source_open(settings->source, &options, &source, error);
    }
    if (status == LLAVAMED_OK) {
        status = inspect_list(source, result, error);
    }
    if (status == LLAVAMED_OK) {
        inspect_identify(source, result);
        status = inspect_remark(source, result, error);
    }
    if (status == LLAVAMED_OK && (settings->digests || settings->stats)) {
        struct llavamed_inspect_settings own = *settings;
        own.n_threads = settings->n_threads != 0 ? settings->n_threads : cpus_usable();
        status = inspect_elements(source, &own, observer, result, error);
    }
    if (source != NULL) {
        result->read_bytes = source_bytes_read(source);
    }
    source_close(source);
    result->total_ns = clock_monotonic_ns() - started_ns;
    return status;
}
