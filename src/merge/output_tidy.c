/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_tidy.h"

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

/*
 * A claim beside OUT is of a run that publishes. When OUT is whole and no other directory is left, that run has nothing
 * to do any more but to remove it, whether it lives or not.
 */
static void remove_claim(const char *path)
{
    struct claim claim;
    if (claim_read(path, &claim, NULL) == LLAVAMED_OK && claim.owner != CLAIM_NONE && claim.owner != CLAIM_FOREIGN &&
        claim_is(path, claim.text)) {
        (void)unlink(path);
    }
}

/* Empty files that runs made to learn the time of the file system, and were killed before they could remove them. */
static void remove_probes(const struct output_place *place)
{
    struct directory_listing listing = {0};
    char *prefix = output_beside(place->partial, OUTPUT_DIR_PROBE_SUFFIX);
    char *name = prefix == NULL ? NULL : path_base_name(prefix);
    if (name != NULL && directory_list(place->parent, &listing, NULL) == LLAVAMED_OK) {
        for (size_t i = 0; i < listing.n_names; i++) {
            struct stat info;
            bool is_probe = strncmp(listing.names[i], name, strlen(name)) == 0;
            char *path = is_probe ? path_join(place->parent, listing.names[i]) : NULL;
            if (path != NULL && lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0) {
                (void)unlink(path);
            }
            free(path);
        }
    }
    directory_listing_deinit(&listing);
    free(name);
    free(prefix);
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

void output_tidy(const char *out)
{
    struct output_place place = {0};
    if (output_place_resolve(out, &place, NULL) == LLAVAMED_OK && place.path != NULL &&
        !may_have_leftovers(&place, false) && own_output_check(place.path, place.path, true, NULL) == LLAVAMED_OK) {
        char *publishing = output_beside(place.partial, OUTPUT_DIR_PUBLISHING_SUFFIX);
        char *journal = output_beside(place.partial, JOURNAL_BESIDE_SUFFIX);
        char *parts = output_beside(place.partial, OUTPUT_DIR_PARTS_SUFFIX);
        if (publishing != NULL && journal != NULL && parts != NULL) {
            remove_claim(publishing);
            if (part_all_is_at(parts)) {
                (void)unlink(parts);
            }
            if (journal_is_at(journal)) {
                (void)unlink(journal);
            }
        }
        free(publishing);
        free(journal);
        free(parts);
        remove_probes(&place);
    }
    output_place_deinit(&place);
}

void output_tidy_parts(const char *out)
{
    struct output_place place = {0};
    if (output_place_resolve(out, &place, NULL) == LLAVAMED_OK && place.path != NULL) {
        char *parts = output_beside(place.partial, OUTPUT_DIR_PARTS_SUFFIX);
        /* Looked at twice: a directory that is renamed meanwhile may be missed, but not in the same moment again. */
        if (parts != NULL && part_all_is_at(parts) && !may_have_leftovers(&place, true) &&
            !may_have_leftovers(&place, true)) {
            (void)unlink(parts);
        }
        free(parts);
    }
    output_place_deinit(&place);
}
