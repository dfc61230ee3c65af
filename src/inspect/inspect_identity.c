/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "inspect/inspect_parts.h"
#include "integrity/known_releases.h"

/* The row of a hash that is recorded of the file; else NULL, and *in the first that is recorded of it, if any is. */
static const struct known_file *find_record(const struct source_file *file, enum recorded_in *in)
{
    *in = RECORDED_COUNT;
    for (int i = RECORDED_COUNT - 1; i >= 0; i--) {
        const char *hex = file->recorded.sha256[i];
        const struct known_file *row = hex[0] == '\0' ? NULL : known_release_find(hex, file->n_bytes);
        if (hex[0] != '\0') {
            *in = (enum recorded_in)i;
        }
        if (row != NULL) {
            return row;
        }
    }
    return NULL;
}

void inspect_identify(const struct source *source, struct llavamed_inspect_result *result)
{
    const struct source_file *files;
    (void)source_files(source, &files);
    enum recorded_in in;
    const struct known_file *of_archive = NULL;
    if (source_kind_of(source) == SOURCE_ARCHIVE) {
        of_archive = find_record(files++, &in);
    }
    bool one_release = true;
    for (size_t i = 0; i < result->n_shards; i++) {
        struct llavamed_inspect_shard *shard = &result->shards[i];
        const struct known_file *row = find_record(&files[i], &in);
        if (in < RECORDED_COUNT) {
            memcpy(shard->sha256, files[i].recorded.sha256[in], sizeof shard->sha256);
            shard->recorded_in = recorded_in_text(in);
        }
        shard->release = row == NULL ? NULL : row->release;
        const char *first = result->shards[0].release;
        one_release = one_release && shard->release != NULL && strcmp(first, shard->release) == 0;
    }
    if (one_release && result->n_shards > 0) {
        result->release = result->shards[0].release;
    } else if (of_archive != NULL) {
        result->release = of_archive->release;
    }
}
