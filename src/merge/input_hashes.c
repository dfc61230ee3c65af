/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/input_hashes_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integrity/known_releases.h"
#include "merge/small_files.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define GIT_BLOB_BYTES_MAX (64 << 20)

const char *input_role_name(const struct input_hashes *hashes, enum input_role role)
{
    return role == INPUT_BASE ? "base" : hashes->expects_target ? "target" : "delta";
}

/* ---- The list ---- */

static bool is_used(enum input_role role, const char *name)
{
    return strcmp(name, "config.json") == 0 || (role == INPUT_BASE && strcmp(name, "params.json") == 0) ||
           (role == INPUT_DELTA && small_file_target(name) != NULL);
}

static uint64_t read_bytes_of(const struct archive *archive, const char *name, uint64_t n_bytes)
{
    return archive == NULL ? n_bytes : archive_entry(archive, name)->stored_bytes;
}

static void add_items(struct input_hashes *hashes, struct source *source, enum input_role role)
{
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    hashes->first_weights[role] = hashes->n_items;
    hashes->n_weights[role] = n_files;
    for (size_t i = 0; i < n_files; i++) {
        bool is_archive = i == 0 && n_files > 1 && files[1].archive != NULL;
        hashes->items[hashes->n_items++] = (struct input_item){
            .path = source_file_path(source, i),
            .name = files[i].name,
            .archive = files[i].archive,
            .role = role,
            .is_weights = true,
            .is_archive = is_archive,
            .n_bytes = files[i].n_bytes,
            .read_bytes = read_bytes_of(files[i].archive, files[i].name, files[i].n_bytes),
            .recorded = files[i].recorded,
        };
    }
    const struct source_small_file *small;
    size_t n_small = source_small_files(source, &small);
    for (size_t i = 0; i < n_small; i++) {
        if (is_used(role, small[i].name)) {
            hashes->items[hashes->n_items++] = (struct input_item){
                .path = small[i].path,
                .name = small[i].name,
                .archive = small[i].archive,
                .role = role,
                .n_bytes = small[i].n_bytes,
                .read_bytes = read_bytes_of(small[i].archive, small[i].name, small[i].n_bytes),
                .recorded = small[i].recorded,
            };
        }
        if (role == INPUT_DELTA && strcmp(small[i].name, "config.json") == 0) {
            hashes->delta_config = &small[i];
        }
    }
}

enum llavamed_status input_hashes_create(struct source *base, struct source *delta, struct input_hashes **out,
                                         struct llavamed_error *error)
{
    const struct source_file *files;
    const struct source_small_file *small;
    size_t n = source_files(base, &files) + source_files(delta, &files) + source_small_files(base, &small) +
               source_small_files(delta, &small);
    struct input_hashes *hashes = calloc(1, sizeof *hashes);
    struct input_item *items = calloc(n + 1, sizeof *items);
    if (hashes == NULL || items == NULL) {
        free(hashes);
        free(items);
        return llavamed_fail_memory(error, (n + 1) * sizeof *items, "the list of hashes");
    }
    hashes->items = items;
    add_items(hashes, base, INPUT_BASE);
    add_items(hashes, delta, INPUT_DELTA);
    *out = hashes;
    return LLAVAMED_OK;
}

void input_hashes_expect_target(struct input_hashes *hashes)
{
    hashes->expects_target = true;
}

void input_hashes_free(struct input_hashes *hashes)
{
    if (hashes != NULL) {
        free(hashes->items);
        free(hashes);
    }
}

struct input_item *input_item_of(const struct input_hashes *hashes, enum input_role role, size_t i)
{
    return i < hashes->n_weights[role] ? &hashes->items[hashes->first_weights[role] + i] : NULL;
}

const char *input_hashes_weights(const struct input_hashes *hashes, enum input_role role, size_t i, bool *computed)
{
    const struct input_item *item = input_item_of(hashes, role, i);
    if (item == NULL) {
        return NULL;
    }
    *computed = item->computed[0] != '\0';
    enum recorded_in in;
    return *computed ? item->computed : recorded_first(&item->recorded, &in);
}

/* ---- Names of releases ---- */

static const struct known_file *known_of(const struct input_item *item)
{
    if (item->computed[0] != '\0') {
        return known_release_find(item->computed, item->n_bytes);
    }
    for (int i = 0; i < RECORDED_COUNT; i++) {
        const char *hex = item->recorded.sha256[i];
        const struct known_file *row = hex[0] == '\0' ? NULL : known_release_find(hex, item->n_bytes);
        if (row != NULL) {
            return row;
        }
    }
    return NULL;
}

static enum llavamed_status refuse_known(const struct input_hashes *hashes, const struct input_item *item,
                                         const struct known_file *row, struct llavamed_error *error)
{
    const char *want = item->role == INPUT_BASE ? "the original LLaMA"
                       : hashes->expects_target ? "a whole model"
                                                : "a delta";
    (void)llavamed_fail(error, LLAVAMED_STATUS_PAIR_KNOWN_WRONG,
                        "%s: the %s is %s, not %s: its SHA-256 %s is that of %s as published", item->path,
                        input_role_name(hashes, item->role), row->release, want, row->sha256, row->name);
    if (item->role == INPUT_DELTA && hashes->expects_target) {
        llavamed_hint(error, "--target takes the model that llavamed-apply is to give again");
    } else if (item->role == INPUT_DELTA) {
        llavamed_hint(error, "--delta takes the delta weights, for example microsoft/llava-med-7b-delta");
    } else if (row->kind == KNOWN_DELTA) {
        llavamed_hint(error, "give it as --delta, and the original LLaMA 7B as --base");
    } else {
        llavamed_hint(error, "give the original LLaMA of the delta's size, for example huggyllama/llama-7b");
    }
    return LLAVAMED_STATUS_PAIR_KNOWN_WRONG;
}

static bool is_of_role(const struct input_hashes *hashes, enum input_role role, const struct known_file *row)
{
    bool is_delta = row->kind == KNOWN_DELTA;
    return role == INPUT_BASE ? row->kind == KNOWN_LLAMA1 : hashes->expects_target ? !is_delta : is_delta;
}

/* The weights are the same in both releases as far as is known; the name that training gave is in config.json. */
bool input_hashes_is_ckpt2(const struct input_hashes *hashes)
{
    char *text = NULL;
    size_t n_bytes = 0;
    bool is_ckpt2 = hashes->is_ckpt2;
    if (hashes->delta_config != NULL &&
        source_small_file_read(hashes->delta_config, CONFIG_BYTES_MAX, &text, &n_bytes, NULL) == LLAVAMED_OK) {
        is_ckpt2 = strstr(text, "ckpt2") != NULL;
    }
    free(text);
    return is_ckpt2;
}

static void name_delta_release(struct input_hashes *hashes, const struct known_file *row)
{
    (void)snprintf(hashes->delta_release, sizeof hashes->delta_release, "%s (%s)", row->release,
                   input_hashes_is_ckpt2(hashes) ? "ckpt2" : "in_text_60k");
}

enum llavamed_status input_hashes_identify(struct input_hashes *hashes, const char *identities[INPUT_ROLES],
                                           struct llavamed_error *error)
{
    const struct known_file *first[INPUT_ROLES] = {NULL};
    bool one_release[INPUT_ROLES] = {true, true};
    for (size_t i = 0; i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        const struct known_file *row = item->is_weights ? known_of(item) : NULL;
        if (row != NULL && !is_of_role(hashes, item->role, row)) {
            return refuse_known(hashes, item, row, error);
        }
        if (item->is_weights && (row != NULL || !item->is_archive)) {
            bool fits =
                row != NULL && (first[item->role] == NULL || strcmp(first[item->role]->release, row->release) == 0);
            one_release[item->role] = one_release[item->role] && fits;
            first[item->role] = first[item->role] == NULL ? row : first[item->role];
        }
    }
    bool base_known = one_release[INPUT_BASE] && first[INPUT_BASE] != NULL;
    bool delta_known = one_release[INPUT_DELTA] && first[INPUT_DELTA] != NULL;
    if (delta_known && hashes->expects_target) {
        (void)snprintf(hashes->delta_release, sizeof hashes->delta_release, "%s", first[INPUT_DELTA]->release);
    } else if (delta_known) {
        name_delta_release(hashes, first[INPUT_DELTA]);
    }
    identities[INPUT_BASE] = base_known ? first[INPUT_BASE]->release : NULL;
    identities[INPUT_DELTA] = delta_known ? hashes->delta_release : NULL;
    return LLAVAMED_OK;
}

/* ---- Hashing ---- */

static bool wants_sha256(const struct input_item *item, const struct input_hashes_job *job)
{
    enum recorded_in in;
    return !item->is_others && item->computed[0] == '\0' && (job->all || recorded_first(&item->recorded, &in) != NULL);
}

/* The hub keeps no large file in git: what is recorded for one so is another server's and means something else. */
static bool wants_git_blob(const struct input_item *item)
{
    return !item->is_others && item->computed_git[0] == '\0' && item->n_bytes <= GIT_BLOB_BYTES_MAX &&
           recorded_has_git_blob(&item->recorded);
}

bool input_item_is_wanted(const struct input_item *item, const struct input_hashes_job *job)
{
    return wants_sha256(item, job) || wants_git_blob(item);
}

size_t input_hashes_wanted(const struct input_hashes *hashes, const struct input_hashes_job *job, uint64_t *n_bytes)
{
    size_t n = 0;
    *n_bytes = 0;
    for (size_t i = 0; i < hashes->n_items; i++) {
        if (input_item_is_wanted(&hashes->items[i], job)) {
            n++;
            *n_bytes += hashes->items[i].read_bytes;
        }
    }
    return n;
}

void input_hashes_share_base(struct input_hashes *hashes, const struct input_hashes *other)
{
    /* The base's items come first, in its own order. */
    for (size_t i = 0; i < hashes->n_items && hashes->items[i].role == INPUT_BASE; i++) {
        struct input_item *item = &hashes->items[i];
        if (item->computed[0] == '\0') {
            memcpy(item->computed, other->items[i].computed, sizeof item->computed);
        }
        if (item->computed_git[0] == '\0') {
            memcpy(item->computed_git, other->items[i].computed_git, sizeof item->computed_git);
        }
    }
}

static enum llavamed_status compare(const struct input_item *item, struct llavamed_error *error)
{
    for (int i = 0; i < RECORDED_COUNT; i++) {
        const char *want = item->recorded.sha256[i];
        const char *want_git = item->recorded.git_blob[i];
        bool differs = item->computed[0] != '\0' && want[0] != '\0' && strcmp(item->computed, want) != 0;
        bool git_differs =
            item->computed_git[0] != '\0' && want_git[0] != '\0' && strcmp(item->computed_git, want_git) != 0;
        if (differs || git_differs) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH, "%s: the %s differs from %s (got %s, want %s)",
                                item->path, differs ? "SHA-256" : "SHA-1 of its git blob",
                                recorded_in_text((enum recorded_in)i), differs ? item->computed : item->computed_git,
                                differs ? want : want_git);
            llavamed_hint(error, "download or copy the file again; if the record is what is wrong, mend or remove it");
            return LLAVAMED_STATUS_HASH_MISMATCH;
        }
    }
    return LLAVAMED_OK;
}

enum llavamed_status input_hashes_verify(struct input_hashes *hashes, const struct input_hashes_job *job,
                                         struct llavamed_error *error)
{
    struct hash_files_task *tasks = calloc(hashes->n_items + 1, sizeof *tasks);
    size_t n_tasks = 0;
    if (tasks == NULL) {
        return llavamed_fail_memory(error, (hashes->n_items + 1) * sizeof *tasks, "the list of files");
    }
    for (size_t i = 0; i < hashes->n_items; i++) {
        struct input_item *item = &hashes->items[i];
        struct hash_files_task task = {
            .path = item->path,
            .archive = item->archive,
            .member = item->name,
            .hex = wants_sha256(item, job) ? item->computed : NULL,
            .git_hex = wants_git_blob(item) ? item->computed_git : NULL,
        };
        if (task.hex != NULL || task.git_hex != NULL) {
            tasks[n_tasks++] = task;
        }
    }
    enum llavamed_status status = hash_files(tasks, n_tasks, &job->options, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < hashes->n_items; i++) {
        status = compare(&hashes->items[i], error);
    }
    free(tasks);
    return status;
}

enum llavamed_status input_hashes_check_copied(const struct input_hashes *hashes, const char *path, const char *sha256,
                                               struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < hashes->n_items; i++) {
        struct input_item item = hashes->items[i];
        if (item.role != INPUT_DELTA || item.is_weights || strcmp(item.path, path) != 0) {
            continue;
        }
        if (item.computed[0] == '\0') {
            memcpy(item.computed, sha256, sizeof item.computed);
            status = compare(&item, error);
        } else if (strcmp(item.computed, sha256) != 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED,
                                   "%s: the file is not the one that was hashed before (got %s, want %s)", path, sha256,
                                   item.computed);
        }
    }
    return status;
}
