/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_dir.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/journal.h"
#include "merge/output_dir_parts.h"

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
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

void output_dir_tidy(const char *out)
{
    struct output_dir dir = {0};
    if (output_place_resolve(out, &dir.place, NULL) != LLAVAMED_OK || dir.place.path == NULL) {
        output_place_deinit(&dir.place);
        return;
    }
    char *publishing = output_dir_beside(&dir, CLAIM_PUBLISHING_SUFFIX);
    char *replacing = output_dir_beside(&dir, CLAIM_REPLACING_SUFFIX);
    char *replaced = output_dir_beside(&dir, REPLACED_SUFFIX);
    char *journal = output_dir_beside(&dir, JOURNAL_BESIDE_SUFFIX);
    if (publishing != NULL && replacing != NULL && replaced != NULL && journal != NULL && !exists(dir.place.partial) &&
        !exists(replaced) && output_place_is_result(dir.place.path, true)) {
        remove_claim(publishing);
        remove_claim(replacing);
        if (journal_is_at(journal)) {
            (void)unlink(journal);
        }
    }
    free(publishing);
    free(replacing);
    free(replaced);
    free(journal);
    output_place_deinit(&dir.place);
}
