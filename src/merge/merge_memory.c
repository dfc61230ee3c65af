/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers that fit what this process may have. */
#include <inttypes.h>

#include "core/checked.h"
#include "core/memory_limit.h"
#include "merge/merge_run.h"

enum llavamed_status merge_settle_memory(struct merge_batch *batch, struct llavamed_error *error)
{
    struct memory_limit limit;
    uint64_t granted = 0;
    if (batch->derives) {
        return LLAVAMED_OK; /* whoever asks for elements has settled it */
    }
    /* Few workers take less than they may. */
    uint64_t most = pipeline_memory_most(merge_threads_wanted(batch->runs[0].settings), (unsigned)batch->n_runs);
    uint64_t wanted = min_u64(batch->memory_asked, most);
    enum llavamed_status status = memory_limit_grant(&system_places_usual, wanted, 1, &granted, &limit, error);
    granted = batch->memory_asked != 0 ? batch->memory_asked : granted;
    bool is_news = granted != batch->settings[0].max_memory_bytes;
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        batch->settings[i].max_memory_bytes = granted;
    }
    if (status == LLAVAMED_OK && is_news && batch->memory_asked == 0 && granted < MEMORY_BUFFERS_USUAL) {
        merge_note(&batch->runs[0], "%" PRIu64 " bytes of buffers, which is what %s leaves", granted, limit.name);
    }
    return status;
}
