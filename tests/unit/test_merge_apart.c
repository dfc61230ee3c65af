/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs of one command that are in each other's way, told by their names, against a walk of their components. */
#include "merge/merge_run.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define RUNS_MAX 5
#define DEPTH_MAX 24

static struct temp_dir dir;

static uint64_t random_state = 5;

static size_t draw(size_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % n;
}

/* ---- The directory: d/e is there, and `link` leads to it; nothing else is. ---- */

struct place {
    char names[DEPTH_MAX][16]; /* below the test's directory; above it counts as ".up" */
    size_t depth;
};

static bool is_there(const struct place *place)
{
    return place->depth == 0 || (strcmp(place->names[0], "d") == 0 &&
                                 (place->depth == 1 || (place->depth == 2 && strcmp(place->names[1], "e") == 0)));
}

static void enter(struct place *place, const char *name)
{
    (void)snprintf(place->names[place->depth++], sizeof place->names[0], "%s", name);
}

static void walk(const char *path, struct place *place)
{
    char copy[256];
    char *rest = copy;
    bool real = true; /* as far as there are directories, links are followed */
    (void)snprintf(copy, sizeof copy, "%s", path);
    *place = (struct place){0};
    for (const char *name = strsep(&rest, "/"); name != NULL; name = strsep(&rest, "/")) {
        if (strcmp(name, "..") == 0) {
            place->depth--;
        } else if (real && place->depth == 0 && strcmp(name, "link") == 0) {
            enter(place, "d");
            enter(place, "e");
        } else if (name[0] != '\0' && strcmp(name, ".") != 0) {
            enter(place, name);
        }
        real = real && is_there(place);
    }
}

/* Whether `place` is at or below `other`, or its OUT.partial. */
static bool is_within(const struct place *place, const struct place *other)
{
    if (place->depth < other->depth) {
        return false;
    }
    for (size_t i = 0; i < other->depth; i++) {
        char partial[32];
        (void)snprintf(partial, sizeof partial, "%s.partial", other->names[i]);
        if (strcmp(place->names[i], other->names[i]) != 0 &&
            (i + 1 < other->depth || strcmp(place->names[i], partial) != 0)) {
            return false;
        }
    }
    return true;
}

/* Never above the test's directory, and no ".." after what is not there: such an OUT cannot be made. */
static void draw_path(char *path, size_t n_bytes)
{
    static const char *const names[] = {"a", "b", "d", "e", "link", "a.partial", "d.partial", ".", "", ".."};
    struct place place;
    do {
        size_t n_names = 1 + draw(4);
        path[0] = '\0';
        for (size_t i = 0; i < n_names; i++) {
            const char *name = names[draw(sizeof names / sizeof names[0])];
            walk(path, &place);
            if (strcmp(name, "..") == 0 && (place.depth == 0 || !is_there(&place))) {
                name = "b";
            }
            size_t used = strlen(path);
            const char *slash = i == 0 || (used == 0 && name[0] == '\0') ? "" : "/";
            if (used == 0) {
                slash = "";
            }
            (void)snprintf(path + used, n_bytes - used, "%s%s", slash, name);
        }
    } while (path[0] == '\0');
}

/* ---- Runs ---- */

static struct merge_run runs[RUNS_MAX];
static struct llavamed_output outputs[RUNS_MAX];
static struct llavamed_settings settings[RUNS_MAX];

static enum llavamed_status check(const char *const *paths, size_t n_runs)
{
    struct llavamed_error error = {0};
    const struct merge_batch batch = {.runs = runs, .n_runs = n_runs};
    for (size_t i = 0; i < n_runs; i++) {
        memset(&outputs[i], 0, sizeof outputs[i]);
        settings[i] = (struct llavamed_settings){.delta = "delta", .out = paths[i]};
        runs[i] = (struct merge_run){.output = &outputs[i], .settings = &settings[i]};
    }
    merge_check_apart(&batch, &error);
    return error.status;
}

static void random_outputs_as_their_components_say(void)
{
    size_t n_apart = 0;
    size_t n_refused = 0;
    for (int round = 0; round < 20000; round++) {
        char texts[RUNS_MAX][512];
        const char *paths[RUNS_MAX];
        struct place places[RUNS_MAX];
        bool any = false;
        size_t n_runs = 1 + draw(RUNS_MAX);
        bool is_absolute = draw(2) == 0;
        for (size_t i = 0; i < n_runs; i++) {
            char path[128];
            draw_path(path, sizeof path);
            walk(path, &places[i]);
            (void)snprintf(texts[i], sizeof texts[i], "%s%s%s", is_absolute ? dir.path : "", is_absolute ? "/" : "",
                           path);
            paths[i] = texts[i];
        }
        enum llavamed_status status = check(paths, n_runs);
        for (size_t i = 0; i < n_runs; i++) {
            bool refused = false;
            for (size_t k = 0; k < i; k++) {
                refused = refused || is_within(&places[i], &places[k]) || is_within(&places[k], &places[i]);
            }
            enum llavamed_status want = refused ? LLAVAMED_STATUS_OUT_OVERLAPS_INPUT : LLAVAMED_OK;
            if (!EXPECT_U64(outputs[i].error.status, want)) {
                for (size_t k = 0; k <= i; k++) {
                    printf("    '%s'\n", paths[k]);
                }
            }
            any = any || refused;
        }
        EXPECT_U64(status, any ? LLAVAMED_STATUS_OUT_OVERLAPS_INPUT : LLAVAMED_OK);
        n_apart += !any && n_runs > 1;
        n_refused += any;
    }
    EXPECT(n_apart > 1000 && n_refused > 1000);
}

static void messages_name_both(void)
{
    const char *const paths[] = {"x/out", "y/out", "x//./out", "y/out/in"};
    EXPECT(check(paths, 4) == LLAVAMED_STATUS_OUT_OVERLAPS_INPUT);
    EXPECT(outputs[0].error.status == LLAVAMED_OK && outputs[1].error.status == LLAVAMED_OK);
    EXPECT_TEXT(outputs[2].error.message, "x//./out: the output directory is the same as that of delta (x/out)");
    EXPECT_TEXT(outputs[3].error.message, "y/out/in: the output directory is inside or around that of delta (y/out)");
    EXPECT(outputs[2].error.hint[0] != '\0');
}

int main(void)
{
    temp_dir_make(&dir);
    char *real = realpath(dir.path, NULL);
    temp_dir_require(real != NULL && chdir(real) == 0 && mkdir("d", 0700) == 0 && mkdir("d/e", 0700) == 0 &&
                         symlink("d/e", "link") == 0,
                     "set-up");
    free(real);
    CASE(random_outputs_as_their_components_say);
    CASE(messages_name_both);
    temp_dir_require(chdir("/") == 0 && unlink(temp_path(&dir, "link")) == 0 && rmdir(temp_path(&dir, "d/e")) == 0,
                     "clean-up");
    temp_dir_remove(&dir);
    return harness_end();
}
