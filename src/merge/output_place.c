/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/own_output.h"

/* ---- Where it is ---- */

void output_place_deinit(struct output_place *place)
{
    free(place->parent);
    free(place->path);
    free(place->partial);
    *place = (struct output_place){0};
}

static enum llavamed_status fail_resolve(const char *out, int errno_value, struct llavamed_error *error)
{
    if (errno_value == ENOMEM) {
        return llavamed_fail_memory(error, strlen(out), "the output's path");
    }
    return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value, "%s: cannot be an output directory",
                               out);
}

/* The nearest directory above `path` that exists, by its text; "." or "/" always does. */
static enum llavamed_status nearest_existing(const char *out, const char *path, char **found,
                                             struct llavamed_error *error)
{
    char *above = path_parent(path);
    while (above != NULL) {
        char *real = realpath(above, NULL);
        if (real != NULL) {
            free(above);
            *found = real;
            return LLAVAMED_OK;
        }
        if (errno != ENOENT || strcmp(above, ".") == 0 || strcmp(above, "/") == 0) {
            enum llavamed_status status = fail_resolve(out, errno, error);
            free(above);
            return status;
        }
        char *higher = path_parent(above);
        free(above);
        above = higher;
    }
    return fail_resolve(out, ENOMEM, error);
}

/* OUT does not exist: its parent may. */
static enum llavamed_status resolve_new(const char *out, struct output_place *place, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    char *parent_text = path_parent(out);
    char *base = path_base_name(out);
    char *parent = parent_text == NULL ? NULL : realpath(parent_text, NULL);
    if (parent_text == NULL || base == NULL) {
        status = fail_resolve(out, ENOMEM, error);
        goto out;
    }
    bool is_dots = strcmp(base, ".") == 0 || strcmp(base, "..") == 0;
    if (parent == NULL && errno != ENOENT) {
        status = fail_resolve(out, errno, error);
        goto out;
    }
    if (parent == NULL || is_dots) {
        status = nearest_existing(out, out, &place->parent, error);
        goto out;
    }
    place->parent = parent;
    parent = NULL;
    place->path = path_join(place->parent, base);
    struct stat info;
    if (place->path == NULL) {
        status = fail_resolve(out, ENOMEM, error);
    } else if (lstat(place->path, &info) == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: is a symbolic link to nothing", out);
    }
out:
    free(parent);
    free(base);
    free(parent_text);
    return status;
}

static enum llavamed_status name_partial(const char *out, struct output_place *place, struct llavamed_error *error)
{
    size_t n_bytes = strlen(place->path);
    place->partial = malloc(n_bytes + sizeof ".partial");
    if (place->partial == NULL) {
        return fail_resolve(out, ENOMEM, error);
    }
    memcpy(place->partial, place->path, n_bytes);
    memcpy(place->partial + n_bytes, ".partial", sizeof ".partial");
    return LLAVAMED_OK;
}

enum llavamed_status output_place_resolve(const char *out, struct output_place *place, struct llavamed_error *error)
{
    struct output_place made = {0};
    enum llavamed_status status = LLAVAMED_OK;
    if (out[0] == '\0') {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE, "the output directory's name is empty");
    }
    made.path = realpath(out, NULL);
    if (made.path != NULL) {
        made.parent = path_parent(made.path);
        if (made.parent == NULL) {
            status = fail_resolve(out, ENOMEM, error);
        }
    } else if (errno == ENOENT) {
        status = resolve_new(out, &made, error);
    } else {
        status = fail_resolve(out, errno, error);
    }
    if (status == LLAVAMED_OK && made.path != NULL) {
        status = name_partial(out, &made, error);
    }
    if (status != LLAVAMED_OK) {
        output_place_deinit(&made);
        return status;
    }
    *place = made;
    return LLAVAMED_OK;
}

/* ---- Whether it overlaps an input ---- */

static bool identity_of(const char *path, struct path_identity *identity)
{
    return path_identity_of(path, identity, NULL) == LLAVAMED_OK;
}

static bool same_identity(const struct path_identity *a, const struct path_identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/*
 * A path (absolute, without links) and all directories above it, as far as they can be looked at. Names can lie (links,
 * bind mounts, case-insensitive volumes), device and inode do not. A path that does not exist counts as a place inside
 * the directories above it.
 */
struct lineage {
    struct path_identity *ids; /* owned */
    size_t n_ids;
};

static enum llavamed_status lineage_of(const char *path, struct lineage *lineage, struct llavamed_error *error)
{
    size_t n_most = 2;
    for (const char *at = path; *at != '\0'; at++) {
        n_most += *at == '/';
    }
    char *at = strdup(path);
    *lineage = (struct lineage){.ids = calloc(n_most, sizeof *lineage->ids)};
    while (at != NULL && lineage->ids != NULL) {
        lineage->n_ids += identity_of(at, &lineage->ids[lineage->n_ids]);
        if (strcmp(at, "/") == 0) {
            break;
        }
        char *above = path_parent(at);
        free(at);
        at = above;
    }
    bool failed = at == NULL || lineage->ids == NULL;
    free(at);
    return failed ? llavamed_fail_memory(error, strlen(path), "a path") : LLAVAMED_OK;
}

static bool lineage_holds(const struct lineage *lineage, const struct path_identity *wanted)
{
    for (size_t i = 0; i < lineage->n_ids; i++) {
        if (same_identity(&lineage->ids[i], wanted)) {
            return true;
        }
    }
    return false;
}

/*
 * OUT, OUT.partial, or the nearest directory above an OUT whose parent is missing; `shown` names it in messages. Looked
 * at once for all inputs: each look is a round trip on a network file system.
 */
struct overlap_place {
    const char *shown;
    struct lineage lineage;
    bool exists; /* and is not one above OUT: inputs may be inside it */
    struct path_identity id;
};

static enum llavamed_status place_init(struct overlap_place *place, const char *path, const char *shown, bool is_above,
                                       struct llavamed_error *error)
{
    *place = (struct overlap_place){.shown = shown};
    enum llavamed_status status = lineage_of(path, &place->lineage, error);
    place->exists = status == LLAVAMED_OK && !is_above && identity_of(path, &place->id);
    return status;
}

/* Whether the input lies inside a place that exists. */
static enum llavamed_status is_inside(const struct output_dir_input *input, const struct path_identity *place,
                                      bool *inside, struct llavamed_error *error)
{
    char *real = realpath(input->path, NULL);
    if (real == NULL) {
        return path_fail_look(error, errno, input->path);
    }
    struct lineage lineage;
    enum llavamed_status status = lineage_of(real, &lineage, error);
    *inside = status == LLAVAMED_OK && lineage_holds(&lineage, place);
    free(lineage.ids);
    free(real);
    return status;
}

static enum llavamed_status check_overlap(const struct overlap_place *place, const struct output_dir_input *input,
                                          const struct path_identity *input_id, struct llavamed_error *error)
{
    if (lineage_holds(&place->lineage, input_id)) {
        bool same = place->exists && same_identity(&place->id, input_id);
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_OVERLAPS_INPUT, "%s: the output directory is %s the %s (%s)",
                             place->shown, same ? "the same as" : "inside", input->role, input->path);
    }
    bool inside = false;
    enum llavamed_status status = place->exists ? is_inside(input, &place->id, &inside, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK && inside) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_OVERLAPS_INPUT, "%s: the output directory holds the %s (%s)",
                               place->shown, input->role, input->path);
    }
    return status;
}

enum llavamed_status output_place_check_overlap(const char *out, const struct output_place *place,
                                                const struct output_dir_input *inputs, size_t n_inputs,
                                                struct llavamed_error *error)
{
    struct overlap_place places[2] = {0};
    size_t n_places = place->partial != NULL ? 2 : 1;
    bool is_above = place->path == NULL;
    enum llavamed_status status = place_init(&places[0], is_above ? place->parent : place->path, out, is_above, error);
    if (status == LLAVAMED_OK && n_places == 2) {
        status = place_init(&places[1], place->partial, place->partial, false, error);
    }
    for (size_t i = 0; i < n_inputs && status == LLAVAMED_OK; i++) {
        struct path_identity id;
        status = path_identity_of(inputs[i].path, &id, error);
        for (size_t k = 0; k < n_places && status == LLAVAMED_OK; k++) {
            status = check_overlap(&places[k], &inputs[i], &id, error);
        }
    }
    if (status == LLAVAMED_STATUS_OUT_OVERLAPS_INPUT) {
        llavamed_hint(error, "choose an --out beside the inputs");
    }
    free(places[0].lineage.ids);
    free(places[1].lineage.ids);
    return status;
}

/* ---- Whether it can be written ---- */

enum llavamed_status output_place_check_parent(const char *out, const struct output_place *place,
                                               struct llavamed_error *error)
{
    struct stat info;
    if (place->path == NULL) {
        char *parent = path_parent(out);
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE, "%s: the directory that is to hold it is missing",
                            out);
        llavamed_hint(error, "mkdir -p -- '%s'", parent == NULL ? "" : parent);
        free(parent);
        return LLAVAMED_STATUS_OUT_UNWRITABLE;
    }
    if (lstat(place->path, &info) == 0 && S_ISDIR(info.st_mode)) {
        bool is_mount_point = false;
        enum llavamed_status status = directory_is_mount_point(place->path, &is_mount_point, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (is_mount_point) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE,
                                "%s: is a mount point, which cannot be replaced by rename", out);
            llavamed_hint(error, "choose a directory below it, such as '%s/merged'", out);
            return LLAVAMED_STATUS_OUT_UNWRITABLE;
        }
    }
    if (faccessat(AT_FDCWD, place->parent, W_OK | X_OK, AT_EACCESS) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot be created in %s", out,
                                   place->parent);
    }
    if (lstat(place->partial, &info) != 0 && errno != ENOENT) {
        return fail_resolve(out, errno, error);
    }
    return LLAVAMED_OK;
}

/* ---- What is there ---- */

static enum llavamed_status look_inside(const char *out, const char *path, bool force, enum output_content *content,
                                        struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(path, &listing, error);
    if (status == LLAVAMED_STATUS_NO_MEMORY) {
        return status;
    }
    if (status != LLAVAMED_OK) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists and cannot be looked into", out);
    }
    bool is_empty = listing.n_names == 0;
    directory_listing_deinit(&listing);
    if (is_empty) {
        *content = OUTPUT_EMPTY;
        return LLAVAMED_OK;
    }
    struct llavamed_error foreign = {0};
    status = own_output_check(out, path, false, &foreign);
    if (status == LLAVAMED_OK && !force) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, an earlier result", out);
        llavamed_hint(error, "--force replaces it");
    } else if (status != LLAVAMED_OK && error != NULL) {
        *error = foreign;
    }
    if (status == LLAVAMED_OK) {
        *content = OUTPUT_OURS;
    }
    return status;
}

enum llavamed_status output_place_look(const char *out, const struct output_place *place, bool force,
                                       enum output_content *content, struct llavamed_error *error)
{
    struct stat info;
    if (lstat(place->path, &info) != 0) {
        if (errno == ENOENT) {
            *content = OUTPUT_MISSING;
            return LLAVAMED_OK;
        }
        return fail_resolve(out, errno, error);
    }
    if (!S_ISDIR(info.st_mode)) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, and is not a directory", out);
    }
    return look_inside(out, place->path, force, content, error);
}
