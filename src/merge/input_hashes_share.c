/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of inputs where a merge is made in parts: each part hashes its share, and finishing puts them together. */
#include <stdlib.h>
#include <string.h>

#include "merge/input_hashes_parts.h"

const struct recorded_hashes *input_hashes_record(const struct input_hashes *hashes, enum input_role role, size_t i)
{
    const struct input_item *item = input_item_of(hashes, role, i);
    return item == NULL ? NULL : &item->recorded;
}

enum llavamed_status input_hashes_recorded(const struct input_hashes *hashes, char hex[SHA256_HEX_BYTES],
                                           struct llavamed_error *error)
{
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = sha256_create(&stream, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        /* Fields of fixed size, and the name with its NUL: no two lists give the same bytes. */
        status = sha256_update(stream, item->name, strlen(item->name) + 1, error);
        for (int in = 0; status == LLAVAMED_OK && in < RECORDED_COUNT; in++) {
            char field[SHA256_HEX_BYTES + GIT_BLOB_HEX_BYTES] = {0};
            (void)memcpy(field, item->recorded.sha256[in], strlen(item->recorded.sha256[in]));
            (void)memcpy(field + SHA256_HEX_BYTES, item->recorded.git_blob[in], strlen(item->recorded.git_blob[in]));
            status = sha256_update(stream, field, sizeof field, error);
        }
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(stream, hex, error);
    }
    sha256_free(stream);
    return status;
}

enum llavamed_status input_hashes_share(struct input_hashes *hashes, const struct input_hashes_job *job,
                                        struct part_share *share, unsigned part, struct llavamed_error *error)
{
    uint64_t *sizes = calloc(hashes->n_items + 1, sizeof *sizes);
    unsigned *owners = calloc(hashes->n_items + 1, sizeof *owners);
    size_t n = 0;
    enum llavamed_status status =
        sizes != NULL && owners != NULL
            ? LLAVAMED_OK
            : llavamed_fail_memory(error, hashes->n_items * sizeof *sizes, "sharing out the hashes");
    for (size_t i = 0; status == LLAVAMED_OK && i < hashes->n_items; i++) {
        if (input_item_is_wanted(&hashes->items[i], job)) {
            sizes[n++] = hashes->items[i].read_bytes;
        }
    }
    if (status == LLAVAMED_OK) {
        status = part_share_items(share, sizes, n, owners, error);
    }
    n = 0;
    for (size_t i = 0; status == LLAVAMED_OK && i < hashes->n_items; i++) {
        struct input_item *item = &hashes->items[i];
        item->is_others = input_item_is_wanted(item, job) && owners[n++] != part;
    }
    free(sizes);
    free(owners);
    return status;
}

void input_hashes_unshare(struct input_hashes *hashes)
{
    for (size_t i = 0; i < hashes->n_items; i++) {
        hashes->items[i].is_others = false;
    }
}

enum llavamed_status input_hashes_restore(struct input_hashes **hashes, enum input_role role,
                                          const struct source_file *files, size_t n_files, bool is_ckpt2,
                                          struct llavamed_error *error)
{
    struct input_hashes *made = *hashes != NULL ? *hashes : calloc(1, sizeof *made);
    size_t n_items = (made == NULL ? 0 : made->n_items) + n_files;
    struct input_item *items = made == NULL ? NULL : realloc(made->items, (n_items + 1) * sizeof *items);
    *hashes = made;
    if (made == NULL || items == NULL) {
        return llavamed_fail_memory(error, n_items * sizeof *items, "the list of hashes");
    }
    made->items = items;
    made->is_ckpt2 = is_ckpt2;
    made->first_weights[role] = made->n_items;
    made->n_weights[role] = n_files;
    for (size_t i = 0; i < n_files; i++) {
        items[made->n_items++] = (struct input_item){
            .path = files[i].name,
            .name = files[i].name,
            .archive = files[i].archive,
            .role = role,
            .is_weights = true,
            .is_archive = i == 0 && n_files > 1 && files[1].archive != NULL,
            .n_bytes = files[i].n_bytes,
            .recorded = files[i].recorded,
        };
    }
    return LLAVAMED_OK;
}

bool input_hashes_note(struct input_hashes *hashes, enum input_role role, size_t i, const char *sha256)
{
    struct input_item *item = input_item_of(hashes, role, i);
    if (item != NULL) {
        (void)memcpy(item->computed, sha256, SHA256_HEX_BYTES);
    }
    return item != NULL;
}
