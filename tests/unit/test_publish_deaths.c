/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A death before every single change of the file system while a run begins, publishes or abandons, another one while
 * the next run mends what the first has left: OUT is always whole, and a rerun always ends well.
 */
#include <dirent.h>
#include <signal.h>

#include "integrity/digest.h"
#include "merge/output_dir.h"
#include "unit/harness.h"
#include "unit/played_volume.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;

static struct output_dir *begin(const char *out, bool force, bool keep, bool *had_leftovers)
{
    struct output_dir *opened = NULL;
    if (output_dir_open(out, force, NULL, 0, &opened, &error) != LLAVAMED_OK) {
        return NULL;
    }
    if (output_dir_begin(opened, keep, had_leftovers, &error) != LLAVAMED_OK) {
        output_dir_free(opened);
        return NULL;
    }
    return opened;
}

/* A directory as a finished run leaves it. */
static void make_result(const char *path, const char *content)
{
    char file[4096];
    char hex[2][SHA256_HEX_BYTES];
    char sums[512];
    char manifest[512];
    (void)snprintf(manifest, sizeof manifest,
                   "{\"format\": \"llavamed-manifest\", \"version\": 1,\n  \"shards\": [\n"
                   "    {\"name\": \"model.safetensors\", \"bytes\": %zu}\n  ],\n  \"documents\": []}\n",
                   strlen(content));
    (void)snprintf(file, sizeof file, "%s/llavamed-manifest.json", path);
    temp_write_text(file, manifest);
    (void)snprintf(file, sizeof file, "%s/model.safetensors", path);
    temp_write_text(file, content);
    EXPECT(sha256_of(manifest, strlen(manifest), hex[0], &error) == LLAVAMED_OK);
    EXPECT(sha256_of(content, strlen(content), hex[1], &error) == LLAVAMED_OK);
    (void)snprintf(sums, sizeof sums, "%s  llavamed-manifest.json\n%s  model.safetensors\n", hex[0], hex[1]);
    (void)snprintf(file, sizeof file, "%s/SHA256SUMS", path);
    temp_write_text(file, sums);
}

static bool is_result(const char *path, const char *content)
{
    char file[4096];
    struct output_dir *opened = NULL;
    (void)snprintf(file, sizeof file, "%s/model.safetensors", path);
    bool same = temp_file_is(file, content);
    (void)snprintf(file, sizeof file, "%s/" OUTPUT_DIR_CLAIM_NAME, path);
    same = same && !temp_exists(file);
    /* Nothing added, or it would be refused although forced. */
    same = same && output_dir_open(path, true, NULL, 0, &opened, &error) != LLAVAMED_STATUS_OUT_EXISTS;
    output_dir_free(opened);
    return same;
}

enum step { STEP_BEGIN, STEP_PUBLISH, STEP_ABANDON };

/* A process that begins, writes and publishes or abandons; it dies before the change `die_before` of that step. */
static bool dies_at(const char *out, bool force, enum step step, int die_before)
{
    pid_t child = fork();
    if (child == 0) {
        volume.n_changes = 0;
        volume.die_before = step == STEP_BEGIN ? die_before : 0;
        struct output_dir *made = begin(out, force, true, NULL);
        volume.n_changes = 0;
        volume.die_before = step == STEP_BEGIN ? 0 : die_before;
        if (made == NULL) {
            _exit(error.status == LLAVAMED_STATUS_OUT_EXISTS ? 0 : 1);
        }
        if (step == STEP_ABANDON) {
            _exit(output_dir_abandon(made, &error) != LLAVAMED_OK);
        }
        if (step == STEP_PUBLISH) {
            make_result(output_dir_partial(made), "new");
            _exit(output_dir_publish(made, NULL, &error) != LLAVAMED_OK);
        }
        _exit(0);
    }
    int result = wait_for(child);
    EXPECT(result == DIED || result == 0);
    return result == DIED;
}

/* What was there before: nothing, an empty directory, or an old result, which --force lets us replace. */
enum before { BEFORE_NOTHING, BEFORE_EMPTY, BEFORE_OLD };

static void set_up(enum before before)
{
    temp_dir_make(&dir);
    if (before != BEFORE_NOTHING) {
        temp_mkdir(temp_path(&dir, "out"));
    }
    if (before == BEFORE_OLD) {
        make_result(temp_path(&dir, "out"), "old");
    }
}

/* OUT is what it was, or the new result. Where names cannot be exchanged it may be missing for a moment. */
static void expect_whole(enum before before, bool may_be_missing)
{
    const char *out = temp_path(&dir, "out");
    bool old = before == BEFORE_OLD     ? is_result(out, "old")
               : before == BEFORE_EMPTY ? rmdir(out) == 0 && mkdir(out, 0777) == 0
                                        : !temp_exists(out);
    EXPECT(old || is_result(out, "new") || (may_be_missing && !temp_exists(out)));
}

/* Names in the directory of the test that begin with `start`, but `start` itself. */
static size_t count_beside(const char *start)
{
    size_t n = 0;
    DIR *stream = opendir(dir.path);
    temp_dir_require(stream != NULL, dir.path);
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        n += strncmp(entry->d_name, start, strlen(start)) == 0 && strcmp(entry->d_name, start) != 0;
    }
    (void)closedir(stream);
    return n;
}

/* A rerun ends well, and nothing but OUT is there then. */
static void expect_rerun(enum before before)
{
    bool had_leftovers = false;
    const char *out = temp_path(&dir, "out");
    struct output_dir *made = begin(out, true, true, &had_leftovers);
    if (!EXPECT(made != NULL)) {
        printf("    %s\n", error.message);
        return;
    }
    EXPECT(before != BEFORE_OLD || is_result(out, "old") || is_result(out, "new"));
    EXPECT(output_dir_empty(made, &error) == LLAVAMED_OK);
    make_result(output_dir_partial(made), "newer");
    EXPECT(output_dir_publish(made, NULL, &error) == LLAVAMED_OK);
    output_dir_free(made);
    EXPECT(is_result(out, "newer"));
    EXPECT_U64(count_beside("out"), 0);
}

/* A death before every change of publishing, then one before every change of what the next run makes of it. */
static int die_while_publishing(enum before before)
{
    int n_deaths = 0;
    bool died = true;
    for (int first = 1; died && first < 100; first++) {
        bool died_again = true;
        for (int second = 0; died && died_again && second < 100; second++) {
            set_up(before);
            const char *out = temp_path(&dir, "out");
            died = dies_at(out, before == BEFORE_OLD, STEP_PUBLISH, first);
            expect_whole(before, volume.no_exchange);
            if (died && second > 0) {
                died_again = dies_at(out, before == BEFORE_OLD, STEP_BEGIN, second);
                expect_whole(before, volume.no_exchange);
            }
            expect_rerun(before);
            n_deaths += died;
            temp_dir_remove(&dir);
        }
    }
    EXPECT(!died);
    return n_deaths;
}

static void publishing_survives_death(void)
{
    for (int lacks = 0; lacks < 4; lacks++) {
        volume.no_exchange = (lacks & 1) != 0;
        volume.no_links = (lacks & 2) != 0;
        volume.no_times = volume.no_links;
        EXPECT(die_while_publishing(BEFORE_NOTHING) > 5);
        EXPECT(die_while_publishing(BEFORE_EMPTY) > 5);
        EXPECT(die_while_publishing(BEFORE_OLD) > 15);
    }
    volume.no_exchange = volume.no_links = volume.no_times = false;
}

/* Between the two renames there is no OUT: the next run completes what was begun, before it starts its own work. */
static void the_second_rename_is_made_later(void)
{
    volume.no_exchange = true;
    int n_completed = 0;
    bool died = true;
    for (int i = 1; died && i < 100; i++) {
        set_up(BEFORE_OLD);
        const char *out = temp_path(&dir, "out");
        died = dies_at(out, true, STEP_PUBLISH, i);
        if (!temp_exists(out)) {
            EXPECT_U64(count_beside("out.replaced-"), 1);
            EXPECT_U64(count_beside("out.ready-"), 1);
            EXPECT(begin(out, false, true, NULL) == NULL && error.status == LLAVAMED_STATUS_OUT_EXISTS);
            EXPECT(is_result(out, "new"));
            n_completed++;
        }
        temp_dir_remove(&dir);
    }
    EXPECT_U64(n_completed, 1);
    volume.no_exchange = false;
}

/* The only name that begins with `start`; false when there is none. */
static bool find_beside(const char *start, char path[4096])
{
    bool found = false;
    DIR *stream = opendir(dir.path);
    temp_dir_require(stream != NULL, dir.path);
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (strncmp(entry->d_name, start, strlen(start)) == 0) {
            (void)snprintf(path, 4096, "%s/%s", dir.path, entry->d_name);
            found = true;
        }
    }
    (void)closedir(stream);
    return found;
}

/* Without an OUT somebody makes one: while that is empty the old one may be all there is. */
static void an_empty_directory_is_no_new_out(void)
{
    volume.no_exchange = true;
    int n_completed = 0;
    bool died = true;
    for (int i = 1; died && i < 100; i++) {
        set_up(BEFORE_OLD);
        const char *out = temp_path(&dir, "out");
        died = dies_at(out, true, STEP_PUBLISH, i);
        if (!temp_exists(out)) {
            temp_mkdir(out);
            EXPECT(begin(out, false, true, NULL) == NULL && error.status == LLAVAMED_STATUS_OUT_EXISTS);
            EXPECT(is_result(out, "new"));
            n_completed++;
        }
        temp_dir_remove(&dir);
    }
    EXPECT_U64(n_completed, 1);
    volume.no_exchange = false;
}

/* What somebody put into the old OUT after a run had died is not removed with it. */
static void what_was_added_to_the_old_out_is_kept(void)
{
    for (int lacks = 0; lacks < 2; lacks++) {
        volume.no_exchange = lacks == 1;
        int n_kept = 0;
        bool died = true;
        for (int i = 1; died && i < 100; i++) {
            char replaced[4096];
            char file[8192];
            set_up(BEFORE_OLD);
            const char *out = temp_path(&dir, "out");
            died = dies_at(out, true, STEP_PUBLISH, i);
            /* Right after an exchange the old one still has the name of the new one. */
            if (is_result(out, "new") &&
                (find_beside("out.replaced-", replaced) || find_beside("out.ready-", replaced))) {
                (void)snprintf(file, sizeof file, "%s/notes", replaced);
                temp_write_text(file, "precious");
                struct output_dir *made = begin(out, true, true, NULL);
                EXPECT(made != NULL && output_dir_kept(made) != NULL);
                (void)snprintf(file, sizeof file, "%s/notes", made == NULL ? "" : output_dir_kept(made));
                EXPECT(temp_file_is(file, "precious"));
                EXPECT(made != NULL && output_dir_abandon(made, &error) == LLAVAMED_OK);
                output_dir_free(made);
                EXPECT_U64(count_beside("out.kept-"), 1);
                EXPECT_U64(count_beside("out.replaced-"), 0);
                EXPECT_U64(count_beside("out.ready-"), 0);
                EXPECT(is_result(out, "new"));
                n_kept++;
            }
            temp_dir_remove(&dir);
        }
        EXPECT(n_kept > 2); /* also when some of its files are gone already */
    }
    volume.no_exchange = false;
}

/* What is called OUT.replaced is not ours: ours end in the key of a claim. */
static void a_replaced_of_others_is_kept(void)
{
    bool died = true;
    for (int i = 1; died && i < 100; i++) {
        set_up(BEFORE_NOTHING);
        const char *out = temp_path(&dir, "out");
        temp_mkdir(temp_path(&dir, "out.replaced"));
        make_result(temp_path(&dir, "out.replaced"), "precious");
        died = dies_at(out, false, STEP_PUBLISH, i);
        struct output_dir *made = begin(out, true, true, NULL);
        EXPECT(made != NULL && output_dir_abandon(made, &error) == LLAVAMED_OK);
        output_dir_free(made);
        EXPECT(is_result(temp_path(&dir, "out.replaced"), "precious"));
        temp_dir_remove(&dir);
    }
}

static void beginning_and_abandoning_survive_death(void)
{
    for (int lacks = 0; lacks < 2; lacks++) {
        volume.no_links = lacks == 1;
        for (int leftovers = 0; leftovers < 2; leftovers++) {
            bool died = true;
            for (int i = 1; died && i < 100; i++) {
                set_up(BEFORE_NOTHING);
                const char *out = temp_path(&dir, "out");
                if (leftovers == 1) {
                    EXPECT(!dies_at(out, false, STEP_BEGIN, 0));
                    temp_write_text(temp_path(&dir, "out.partial/half"), "kept");
                }
                died = dies_at(out, false, STEP_BEGIN, i);
                EXPECT(leftovers == 0 || temp_file_is(temp_path(&dir, "out.partial/half"), "kept"));
                expect_rerun(BEFORE_NOTHING);
                temp_dir_remove(&dir);
            }
        }
        bool died = true;
        for (int i = 1; died && i < 100; i++) {
            set_up(BEFORE_NOTHING);
            died = dies_at(temp_path(&dir, "out"), false, STEP_ABANDON, i);
            expect_rerun(BEFORE_NOTHING);
            temp_dir_remove(&dir);
        }
    }
    volume.no_links = false;
}

/* Runs over and over; returns how often it published, 250 when a run failed for a reason that it must not have. */
static int run_again_and_again(int number, int n_runs)
{
    int n_published = 0;
    char content[32];
    (void)snprintf(content, sizeof content, "run %d", number);
    for (int i = 0; i < n_runs; i++) {
        struct output_dir *made = begin(temp_path(&dir, "out"), true, i % 2 == 0, NULL);
        if (made == NULL) {
            (void)usleep(200);
            continue; /* somebody else is there, or has just gone away */
        }
        if (output_dir_empty(made, &error) != LLAVAMED_OK) {
            return 250;
        }
        make_result(output_dir_partial(made), content);
        if (i % 5 == 4) {
            output_dir_leave(made);
        } else if (output_dir_publish(made, NULL, &error) != LLAVAMED_OK) {
            (void)fprintf(stderr, "    %s\n", error.message);
            return 250;
        } else {
            n_published += n_published < 200;
        }
        output_dir_free(made);
    }
    return n_published;
}

/* Four runs of the same command, again and again, two of them killed at any instant. */
static void many_runs_at_once(void)
{
    enum { RUNS = 4, KILLED = 2 };
    for (int round = 0; round < 20; round++) {
        volume.no_exchange = round % 2 == 1;
        set_up(BEFORE_OLD);
        pid_t children[RUNS];
        for (int i = 0; i < RUNS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                _exit(run_again_and_again(i, i < KILLED ? 1000000 : 200));
            }
        }
        for (int i = 0; i < KILLED; i++) {
            (void)usleep(3000 + (useconds_t)round * 977);
            EXPECT(kill(children[i], SIGKILL) == 0);
            (void)wait_for(children[i]);
        }
        int n_published = 0;
        for (int i = KILLED; i < RUNS; i++) {
            int n = wait_for(children[i]);
            EXPECT(n >= 0 && n < 250);
            n_published += n;
        }
        EXPECT(n_published > 0);
        bool is_whole = is_result(temp_path(&dir, "out"), "old");
        for (int i = 0; i < RUNS; i++) {
            is_whole =
                is_whole || is_result(temp_path(&dir, "out"), (const char *[]){"run 0", "run 1", "run 2", "run 3"}[i]);
        }
        EXPECT(is_whole || (volume.no_exchange && !temp_exists(temp_path(&dir, "out"))));
        expect_rerun(BEFORE_NOTHING);
        temp_dir_remove(&dir);
    }
    volume.no_exchange = volume.no_links = false;
}

int main(void)
{
    use_memory_volume();
    CASE(publishing_survives_death);
    CASE(the_second_rename_is_made_later);
    CASE(an_empty_directory_is_no_new_out);
    CASE(what_was_added_to_the_old_out_is_kept);
    CASE(a_replaced_of_others_is_kept);
    CASE(beginning_and_abandoning_survive_death);
    CASE(many_runs_at_once);
    return harness_end();
}
