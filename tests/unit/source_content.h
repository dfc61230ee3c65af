/* SPDX-License-Identifier: Apache-2.0 */
/* Room for all elements of a source, filled with what no test expects. */
#ifndef UNIT_SOURCE_CONTENT_H
#define UNIT_SOURCE_CONTENT_H

#include "source/source.h"
#include "unit/temp_dir.h"

struct content {
    size_t n_tensors;
    uint8_t **tensors; /* owned, each of exactly its size */
};

static inline void content_init(struct content *content, const struct source *source)
{
    const struct tensor_set *set = source_tensors(source);
    content->n_tensors = set->n_tensors;
    content->tensors = calloc(set->n_tensors + 1, sizeof *content->tensors);
    temp_dir_require(content->tensors != NULL, "calloc");
    for (size_t i = 0; i < set->n_tensors; i++) {
        content->tensors[i] = malloc(set->tensors[i].n_bytes + 1);
        temp_dir_require(content->tensors[i] != NULL, "malloc");
        memset(content->tensors[i], 0xa5, set->tensors[i].n_bytes + 1);
    }
}

static inline void content_deinit(struct content *content)
{
    for (size_t i = 0; i < content->n_tensors; i++) {
        free(content->tensors[i]);
    }
    free(content->tensors);
    *content = (struct content){0};
}

#endif
