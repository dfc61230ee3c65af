/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/input_hashes_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integrity/known_releases.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/small_files.h"

#define SUMS_BYTES_MAX (16 << 20)
#define CONFIG_BYTES_MAX (1 << 20)
#define GIT_BLOB_BYTES_MAX (64 << 20)

static const char *role_name(const struct input_hashes *hashes, enum input_role role)
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

/* ---- --sums ---- */

/* Whether `name` is the whole path or its last parts. */
static bool is_tail(const char *path, const char *name)
{
    size_t path_bytes = strlen(path);
    size_t name_bytes = strlen(name);
    return path_bytes >= name_bytes && strcmp(path + path_bytes - name_bytes, name) == 0 &&
           (path_bytes == name_bytes || path[path_bytes - name_bytes - 1] == '/');
}

static bool is_same_file(const char *path, const struct path_identity *identity)
{
    struct path_identity other;
    return path_identity_of(path, &other, NULL) == LLAVAMED_OK && other.device == identity->device &&
           other.inode == identity->inode;
}

/* What one line fits, by role: files of their own (as `identity`, or else by name), then those in archives. */
static size_t take_sum(struct input_hashes *hashes, const char *name, const struct path_identity *identity,
                       const char *hex, bool fits[INPUT_ROLES])
{
    size_t n_fitting = 0;
    for (int in_archive = 0; in_archive <= 1; in_archive++) {
        if (in_archive && identity != NULL && n_fitting > 0) {
            break; /* it is the sum of that file, whatever names there are in an archive */
        }
        for (size_t i = 0; i < hashes->n_items; i++) {
            struct input_item *item = &hashes->items[i];
            bool by_name = in_archive || identity == NULL;
            if ((item->archive != NULL) == (in_archive != 0) &&
                (by_name ? is_tail(item->path, name) : is_same_file(item->path, identity))) {
                memcpy(item->recorded.sha256[RECORDED_GIVEN], hex, SHA256_HEX_BYTES);
                fits[item->role] = true;
                n_fitting++;
            }
        }
    }
    return n_fitting;
}

static enum llavamed_status take_line(struct input_hashes *hashes, const char *sums_path, const char *directory,
                                      const char *name, const char *hex, size_t *n_fitting,
                                      struct llavamed_error *error)
{
    const char *bare = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    char *path = name[0] == '/' ? path_join(name, NULL) : path_join(directory, bare);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    struct path_identity identity;
    bool is_there = path_identity_of(path, &identity, NULL) == LLAVAMED_OK;
    bool fits[INPUT_ROLES] = {false};
    *n_fitting += take_sum(hashes, bare, is_there ? &identity : NULL, hex, fits);
    free(path);
    if (fits[INPUT_BASE] && fits[INPUT_DELTA]) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "%s: %.200s fits a file of the base and one of the %s",
                            sums_path, name, role_name(hashes, INPUT_DELTA));
        llavamed_hint(error,
                      "write the names as paths from the directory of that file; in archives ARCHIVE/FOLDER/NAME");
        return LLAVAMED_STATUS_USAGE;
    }
    return LLAVAMED_OK;
}

static bool is_blank_line(const char *line, size_t n_bytes)
{
    return n_bytes == 0 || line[0] == '#' || line[0] == '\n' || (line[0] == '\r' && n_bytes > 1 && line[1] == '\n');
}

static enum llavamed_status take_lines(struct input_hashes *hashes, const char *sums_path, const char *text,
                                       size_t n_bytes, struct llavamed_error *error)
{
    char *name = malloc(n_bytes + 1);
    char *directory = path_parent(sums_path);
    enum llavamed_status status = LLAVAMED_OK;
    if (name == NULL || directory == NULL) {
        status = llavamed_fail_memory(error, n_bytes, "a name");
    }
    const char *cursor = text;
    size_t n_left = n_bytes;
    size_t n_lines = 0;
    size_t n_fitting = 0;
    while (status == LLAVAMED_OK && n_left > 0) {
        char hex[SHA256_HEX_BYTES];
        n_lines++;
        if (is_blank_line(cursor, n_left)) {
            const char *newline = memchr(cursor, '\n', n_left);
            size_t step = newline == NULL ? n_left : (size_t)(newline - cursor) + 1;
            cursor += step;
            n_left -= step;
        } else if (sums_next(&cursor, &n_left, hex, name)) {
            status = take_line(hashes, sums_path, directory, name, hex, &n_fitting, error);
        } else {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                   "%s: line %zu is not one of sha256sum (want 64 hex digits, two blanks, a name)",
                                   sums_path, n_lines);
        }
    }
    if (status == LLAVAMED_OK && n_fitting == 0) {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: no name in it fits an input file", sums_path);
        llavamed_hint(error, "names are paths from the directory of that file, or names of the weights files");
    }
    free(directory);
    free(name);
    return status;
}

/* Either an archive is to be named or each of its members. */
static void warn_of_unnamed(const struct input_hashes *hashes, struct warnings *warnings)
{
    bool archive_named[INPUT_ROLES] = {false};
    bool member_named[INPUT_ROLES] = {false};
    for (size_t i = 0; i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        bool is_named = item->is_weights && item->recorded.sha256[RECORDED_GIVEN][0] != '\0';
        archive_named[item->role] |= is_named && item->is_archive;
        member_named[item->role] |= is_named && item->archive != NULL;
    }
    for (size_t i = 0; i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        bool is_told = item->is_archive        ? member_named[item->role]
                       : item->archive != NULL ? archive_named[item->role] || !member_named[item->role]
                                               : false;
        if (item->is_weights && !is_told && item->recorded.sha256[RECORDED_GIVEN][0] == '\0') {
            warnings_add(warnings, "%s: %s is not named in the file given by --sums", role_name(hashes, item->role),
                         item->name);
        }
    }
}

enum llavamed_status input_hashes_add_sums(struct input_hashes *hashes, const char *sums_path,
                                           struct warnings *warnings, struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_whole(sums_path, SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = take_lines(hashes, sums_path, text, n_bytes, error);
    }
    free(text);
    if (status == LLAVAMED_OK) {
        warn_of_unnamed(hashes, warnings);
    }
    return status == LLAVAMED_OK ? warnings_status(warnings, error) : status;
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
                        role_name(hashes, item->role), row->release, want, row->sha256, row->name);
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
