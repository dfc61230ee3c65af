/* SPDX-License-Identifier: Apache-2.0 */
/* Several outputs must be places of their own. They may not exist yet, nor what they would be in, so names decide. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/merge_run.h"

/* Goes on from the directory `at`, which grows in place, by the components of `rest`. */
static void walk(char *at, const char *rest)
{
    while (*rest != '\0') {
        size_t n = strcspn(rest, "/");
        size_t used = strlen(at);
        if (n == 2 && memcmp(rest, "..", 2) == 0) {
            char *slash = strrchr(at, '/');
            slash[slash == at ? 1 : 0] = '\0';
        } else if (n > 0 && !(n == 1 && rest[0] == '.')) {
            bool needs_slash = used > 1;
            at[used] = '/';
            memcpy(at + used + needs_slash, rest, n);
            at[used + needs_slash + n] = '\0';
        }
        rest += n + (rest[n] == '/');
    }
}

/* The absolute name without links, as far as it exists; what follows is taken by its text. Owned by the caller. */
static char *resolve(const char *out)
{
    size_t room = PATH_MAX + strlen(out) + 2;
    char *head = strdup(out);
    char *made = calloc(2, room);
    const char *rest = "";
    size_t n_head = head == NULL ? 0 : strlen(head);
    bool found = false;
    while (head != NULL && made != NULL && n_head > 0 && !found) {
        char *real = realpath(head, NULL);
        found = real != NULL;
        if (found) {
            memcpy(made, real, strlen(real) + 1);
            free(real);
            break;
        }
        while (n_head > 0 && out[n_head - 1] == '/') {
            n_head--;
        }
        while (n_head > 0 && out[n_head - 1] != '/') {
            n_head--;
        }
        head[n_head] = '\0';
        rest = out + n_head;
    }
    if (made != NULL && !found && getcwd(made, PATH_MAX) == NULL) {
        made[0] = '/';
        made[1] = '\0';
    }
    if (made != NULL) {
        walk(made, rest);
    }
    free(head);
    return made;
}

/* Whether `path` is `directory`, or its OUT.partial, or would be inside one of them. */
static bool is_at(const char *path, const char *directory)
{
    static const char partial[] = ".partial";
    size_t n = strlen(directory);
    if (strncmp(path, directory, n) != 0) {
        return false;
    }
    path += n;
    if (strncmp(path, partial, sizeof partial - 1) == 0) {
        path += sizeof partial - 1;
    }
    return path[0] == '\0' || path[0] == '/';
}

static void fail_together(const struct merge_run *run, const struct merge_run *other, bool same,
                          struct llavamed_error *error)
{
    struct llavamed_error *own = &run->output->error;
    (void)llavamed_fail(own, LLAVAMED_STATUS_OUT_OVERLAPS_INPUT, "%s: the output directory is %s that of %s (%s)",
                        run->settings->out, same ? "the same as" : "inside or around", other->settings->delta,
                        other->settings->out);
    llavamed_hint(own, "give each --delta an --out of its own, beside the others");
    if (error->status == LLAVAMED_OK) {
        *error = *own;
    }
}

void merge_check_apart(const struct merge_batch *batch, struct llavamed_error *error)
{
    char **paths = calloc(batch->n_runs, sizeof *paths);
    bool all = paths != NULL;
    for (size_t i = 0; all && batch->n_runs > 1 && i < batch->n_runs; i++) {
        paths[i] = resolve(batch->runs[i].settings->out);
        all = paths[i] != NULL;
    }
    if (!all) {
        (void)llavamed_fail_memory(error, batch->n_runs * sizeof *paths, "the outputs' paths");
    }
    for (size_t i = 1; all && i < batch->n_runs; i++) {
        for (size_t k = 0; k < i && batch->runs[i].output->error.status == LLAVAMED_OK; k++) {
            if (is_at(paths[i], paths[k]) || is_at(paths[k], paths[i])) {
                fail_together(&batch->runs[i], &batch->runs[k], strcmp(paths[i], paths[k]) == 0, error);
            }
        }
    }
    for (size_t i = 0; paths != NULL && i < batch->n_runs; i++) {
        free(paths[i]);
    }
    free(paths);
}
