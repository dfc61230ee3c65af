/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_tidy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/claim.h"
#include "merge/journal.h"
#include "merge/output_place.h"
#include "merge/own_output.h"
#include "merge/part_files.h"

#define PARTIAL_SUFFIX ".partial"

char *output_beside(const char *partial, const char *suffix)
{
    size_t stem_bytes = strlen(partial) - strlen(PARTIAL_SUFFIX);
    size_t suffix_bytes = strlen(suffix) + 1;
    char *name = malloc(stem_bytes + suffix_bytes);
    if (name != NULL) {
        memcpy(name, partial, stem_bytes);
        memcpy(name + stem_bytes, suffix, suffix_bytes);
    }
    return name;
}

/* Whether a directory of a run may be beside OUT, or with `claims` its claim; also when that cannot be known. */
static bool may_have_leftovers(const struct output_place *place, bool claims)
{
    static const char *const suffixes[] = {PARTIAL_SUFFIX, ".ready", ".replaced", OUTPUT_DIR_PUBLISHING_SUFFIX};
    size_t n_suffixes = sizeof suffixes / sizeof *suffixes - !claims;
    struct directory_listing listing = {0};
    char *name = path_base_name(place->path);
    bool found = name == NULL || directory_list(place->parent, &listing, NULL) != LLAVAMED_OK;
    size_t n_bytes = name == NULL ? 0 : strlen(name);
    for (size_t i = 0; !found && i < listing.n_names; i++) {
        for (size_t k = 0; k < n_suffixes; k++) {
            found = found || (strncmp(listing.names[i], name, n_bytes) == 0 &&
                              strncmp(listing.names[i] + n_bytes, suffixes[k], strlen(suffixes[k])) == 0);
        }
    }
    directory_listing_deinit(&listing);
    free(name);
    return found;
}

/* Whether `name` is PREFIX, sixteen hex digits, END. */
static bool is_probe_name(const char *name, const char *prefix, const char *end)
{
    size_t n_prefix = strlen(prefix);
    if (strncmp(name, prefix, n_prefix) != 0) {
        return false;
    }
    size_t n_digits = strspn(name + n_prefix, "0123456789abcdef");
    return n_digits == 16 && strcmp(name + n_prefix + n_digits, end) == 0;
}

/*
 * What runs left that were killed in the middle of a look: empty files by which they learn the time of the file system,
 * and lines of parts that they had moved away to remove them.
 */
static void remove_probes(const struct output_place *place)
{
    struct directory_listing listing = {0};
    char *path = output_beside(place->partial, OUTPUT_DIR_PROBE_SUFFIX);
    char *probe = path == NULL ? NULL : path_base_name(path);
    char *parts_path = output_beside(place->partial, OUTPUT_DIR_PARTS_SUFFIX "-");
    char *parts = parts_path == NULL ? NULL : path_base_name(parts_path);
    bool is_listed = probe != NULL && parts != NULL && directory_list(place->parent, &listing, NULL) == LLAVAMED_OK;
    for (size_t i = 0; is_listed && i < listing.n_names; i++) {
        struct stat info;
        bool is_probe = is_probe_name(listing.names[i], probe, ".json");
        bool is_parts = is_probe_name(listing.names[i], parts, "");
        char *found = is_probe || is_parts ? path_join(place->parent, listing.names[i]) : NULL;
        if (found != NULL && lstat(found, &info) == 0 && S_ISREG(info.st_mode) &&
            (is_probe ? info.st_size == 0 : part_all_is_at(found))) {
            (void)unlink(found);
        }
        free(found);
    }
    directory_listing_deinit(&listing);
    free(parts);
    free(parts_path);
    free(probe);
    free(path);
}

bool output_is_published(const char *out)
{
    struct output_place place = {0};
    bool is_published = output_place_resolve(out, &place, NULL) == LLAVAMED_OK && place.path != NULL &&
                        !may_have_leftovers(&place, false) &&
                        own_output_check(place.path, place.path, true, NULL) == LLAVAMED_OK;
    output_place_deinit(&place);
    return is_published;
}

/* What lies beside OUT, as it was before a look at all the rest. */
struct beside {
    char *publishing; /* owned, as all paths */
    char *journal;
    char *parts;
    struct claim claim;
    struct stat journal_info; /* st_nlink 0: there is none */
    struct stat parts_info;
};

static void beside_deinit(struct beside *beside)
{
    free(beside->publishing);
    free(beside->journal);
    free(beside->parts);
}

static void look_at_name(const char *path, bool is_ours, struct stat *info)
{
    if (!is_ours || lstat(path, info) != 0) {
        *info = (struct stat){0};
    }
}

static bool look_beside(const struct output_place *place, struct beside *beside)
{
    beside->publishing = output_beside(place->partial, OUTPUT_DIR_PUBLISHING_SUFFIX);
    beside->journal = output_beside(place->partial, JOURNAL_BESIDE_SUFFIX);
    beside->parts = output_beside(place->partial, OUTPUT_DIR_PARTS_SUFFIX);
    if (beside->publishing == NULL || beside->journal == NULL || beside->parts == NULL ||
        claim_read(beside->publishing, &beside->claim, NULL) != LLAVAMED_OK) {
        return false;
    }
    look_at_name(beside->journal, journal_is_at(beside->journal), &beside->journal_info);
    look_at_name(beside->parts, part_all_is_at(beside->parts), &beside->parts_info);
    return true;
}

/* Whether it is still the file that was looked at. */
static bool is_same_file(const char *path, const struct stat *before)
{
    struct stat info;
    return before->st_nlink > 0 && lstat(path, &info) == 0 && info.st_ino == before->st_ino &&
           info.st_dev == before->st_dev && info.st_size == before->st_size &&
           info.st_mtim.tv_sec == before->st_mtim.tv_sec && info.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

/*
 * A claim beside OUT is of a run that publishes. When it was there before OUT was seen to be whole, and no other
 * directory to be left, that run has nothing to do any more but to remove it, whether it lives or not.
 */
static void remove_beside(const struct beside *beside)
{
    if (beside->claim.owner != CLAIM_NONE && beside->claim.owner != CLAIM_FOREIGN &&
        claim_is(beside->publishing, beside->claim.text)) {
        (void)unlink(beside->publishing);
    }
    if (is_same_file(beside->parts, &beside->parts_info)) {
        (void)unlink(beside->parts);
    }
    if (is_same_file(beside->journal, &beside->journal_info)) {
        (void)unlink(beside->journal);
    }
}

void output_tidy(const char *out)
{
    struct output_place place = {0};
    struct beside beside = {0};
    if (output_place_resolve(out, &place, NULL) == LLAVAMED_OK && place.path != NULL && look_beside(&place, &beside) &&
        !may_have_leftovers(&place, false) && own_output_check(place.path, place.path, true, NULL) == LLAVAMED_OK) {
        remove_beside(&beside);
        remove_probes(&place);
    }
    beside_deinit(&beside);
    output_place_deinit(&place);
}

/*
 * Moved to a name that nobody else knows, and only then removed, or moved back: whoever stands still before the call
 * meets what a later run has put there.
 */
static void remove_parts(const struct output_place *place, const struct beside *beside)
{
    char suffix[sizeof OUTPUT_DIR_PARTS_SUFFIX "-" + CLAIM_NONCE_BYTES];
    char nonce[CLAIM_NONCE_BYTES];
    claim_make_nonce(nonce);
    (void)snprintf(suffix, sizeof suffix, OUTPUT_DIR_PARTS_SUFFIX "-%.16s", nonce);
    char *aside = output_beside(place->partial, suffix);
    if (aside != NULL && rename(beside->parts, aside) == 0) {
        bool is_it = is_same_file(aside, &beside->parts_info) && !may_have_leftovers(place, true);
        (void)(is_it ? unlink(aside) : rename(aside, beside->parts));
    }
    free(aside);
}

void output_tidy_parts(const char *out)
{
    struct output_place place = {0};
    struct beside beside = {0};
    if (output_place_resolve(out, &place, NULL) == LLAVAMED_OK && place.path != NULL && look_beside(&place, &beside) &&
        beside.parts_info.st_nlink > 0) {
        output_tidy(out);
        bool is_dead = beside.claim.owner == CLAIM_DEAD;
        /* Twice: a directory that is renamed meanwhile may be missed by a look. */
        if (is_same_file(beside.parts, &beside.parts_info) && !may_have_leftovers(&place, !is_dead) &&
            !may_have_leftovers(&place, !is_dead)) {
            if (is_dead && claim_is(beside.publishing, beside.claim.text)) {
                (void)unlink(beside.publishing);
            }
            remove_parts(&place, &beside);
        }
    }
    beside_deinit(&beside);
    output_place_deinit(&place);
}
