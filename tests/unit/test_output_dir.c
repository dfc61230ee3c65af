/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_dir.h"

#include <signal.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "integrity/digest.h"
#include "integrity/sums.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;

static enum llavamed_status open_only(const char *out, bool force, const char *input)
{
    struct output_dir *opened = NULL;
    struct output_dir_input inputs[1] = {{"base", input}};
    enum llavamed_status status = output_dir_open(out, force, inputs, input == NULL ? 0 : 1, &opened, &error);
    output_dir_free(opened);
    return status;
}

/* Opens and begins; NULL when that fails. */
static struct output_dir *begin(const char *out, bool force, bool *removed)
{
    struct output_dir *opened = NULL;
    if (output_dir_open(out, force, NULL, 0, &opened, &error) != LLAVAMED_OK) {
        return NULL;
    }
    if (output_dir_begin(opened, false, removed, &error) != LLAVAMED_OK) {
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

/* ---- where OUT may lie ---- */

static void overlaps_are_found_by_inode(void)
{
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "m"));
    temp_mkdir(temp_path(&dir, "m/base"));
    temp_mkdir(temp_path(&dir, "m/base/sub"));
    temp_mkdir(temp_path(&dir, "m/other"));
    temp_mkdir(temp_path(&dir, "m/x.partial"));
    temp_write_text(temp_path(&dir, "m/base/w.bin"), "w");
    EXPECT(symlink("m/base", temp_path(&dir, "link")) == 0);
    EXPECT(symlink("base/w.bin", temp_path(&dir, "m/w.bin")) == 0);
    static const struct {
        const char *out;
        const char *input;
        bool overlaps;
    } rows[] = {
        {"m/base", "m/base", true},
        {"m/base/", "m/base/", true},
        {"link", "m/base", true},
        {"m/base", "link", true},
        {"m/base/new", "m/base", true},
        {"link/new", "m/base", true},
        {"link/new/", "m/base", true},
        {"m/base/sub", "m/base", true},
        {"m/base/sub/../new", "m/base", true},
        {"m/other/../base/new", "m/base", true},
        {"link/sub/new", "m/base", true},
        {"m/base/missing/new", "m/base", true},
        {"m", "m/base", true},
        {"m", "m/base/w.bin", true},
        {"m/base", "m/base/w.bin", true},
        {"m/base", "m/w.bin", true},
        {"m/base/w.bin", "m/base/w.bin", true},
        {"m/x", "m/x.partial", true},
        {"m/x/", "m/x.partial", true},
        {"m/base/new", "m/base/w.bin", false},
        {"m/base2", "m/base", false},
        {"m/base/../base2", "m/base", false},
        {"link/../new", "m/base", false},
        {"new", "m/base", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum llavamed_status status =
            open_only(temp_path(&dir, "%s", rows[i].out), false, temp_path(&dir, "%s", rows[i].input));
        if (!EXPECT(status == (rows[i].overlaps ? LLAVAMED_STATUS_OUT_OVERLAPS_INPUT : LLAVAMED_OK))) {
            printf("    %s against %s: %s\n", rows[i].out, rows[i].input, error.message);
        }
    }
    EXPECT(open_only(temp_path(&dir, "new"), false, temp_path(&dir, "gone")) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_dir_remove(&dir);
}

static void relative_names_work(void)
{
    temp_dir_make(&dir);
    char *before = getcwd(NULL, 0);
    EXPECT(before != NULL && chdir(dir.path) == 0);
    temp_mkdir("base");
    EXPECT(open_only("out", false, "base") == LLAVAMED_OK);
    EXPECT(open_only("./out/", false, "base") == LLAVAMED_OK);
    EXPECT(open_only("base/out", false, ".") == LLAVAMED_STATUS_OUT_OVERLAPS_INPUT);
    EXPECT(open_only(".", false, "base") == LLAVAMED_STATUS_OUT_OVERLAPS_INPUT);
    EXPECT(open_only("missing/deeper/out", false, ".") == LLAVAMED_STATUS_OUT_OVERLAPS_INPUT);
    EXPECT(open_only("", false, "base") == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(before != NULL && chdir(before) == 0);
    free(before);
    temp_dir_remove(&dir);
}

static void parent_must_be_there(void)
{
    temp_dir_make(&dir);
    EXPECT(open_only(temp_path(&dir, "a/b/out"), false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    char want[4200];
    (void)snprintf(want, sizeof want, "mkdir -p -- '%s/a/b'", dir.path);
    EXPECT_TEXT(error.hint, want);
    EXPECT(open_only(temp_path(&dir, "a/.."), false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    temp_write_text(temp_path(&dir, "file"), "");
    EXPECT(open_only(temp_path(&dir, "file/out"), false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(open_only("/proc", false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    EXPECT(strstr(error.message, "mount point") != NULL);
    EXPECT(open_only("/", false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    char name[252];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    EXPECT(open_only(temp_path(&dir, "%s", name), false, NULL) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    name[200] = '\0';
    EXPECT(open_only(temp_path(&dir, "%s", name), false, NULL) == LLAVAMED_OK);
    temp_dir_remove(&dir);
}

/* In a child without privileges, because root may write anywhere. */
static void parent_must_be_writable(void)
{
    temp_dir_make(&dir);
    EXPECT(chmod(dir.path, 0755) == 0);
    temp_mkdir(temp_path(&dir, "closed"));
    EXPECT(chmod(temp_path(&dir, "closed"), 0555) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) {
            _exit(99);
        }
        _exit((int)open_only(temp_path(&dir, "closed/out"), false, NULL));
    }
    int wait_status = 0;
    EXPECT(waitpid(child, &wait_status, 0) == child);
    EXPECT(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == LLAVAMED_STATUS_OUT_UNWRITABLE);
    temp_dir_remove(&dir);
}

/* ---- what may be there already ---- */

static void only_nothing_empty_or_ours(void)
{
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "empty"));
    EXPECT(open_only(temp_path(&dir, "empty"), false, NULL) == LLAVAMED_OK);
    EXPECT(open_only(temp_path(&dir, "empty///"), false, NULL) == LLAVAMED_OK);
    temp_write_text(temp_path(&dir, "file"), "x");
    EXPECT(open_only(temp_path(&dir, "file"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(symlink("nowhere", temp_path(&dir, "dangling")) == 0);
    EXPECT(open_only(temp_path(&dir, "dangling"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    temp_mkdir(temp_path(&dir, "foreign"));
    temp_write_text(temp_path(&dir, "foreign/notes"), "x");
    EXPECT(open_only(temp_path(&dir, "foreign"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    temp_write_text(temp_path(&dir, "foreign/llavamed-manifest.json"), "{\"format\": \"other\"}");
    EXPECT(open_only(temp_path(&dir, "foreign"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    temp_write_text(temp_path(&dir, "foreign/llavamed-manifest.json"), "llavamed-manifest");
    EXPECT(open_only(temp_path(&dir, "foreign"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    temp_write_text(temp_path(&dir, "foreign/llavamed-manifest.json"), "{\"format\": \"llavamed-manifest\"}");
    EXPECT(open_only(temp_path(&dir, "foreign"), true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    temp_dir_remove(&dir);
}

static void force_takes_only_what_we_wrote(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    temp_mkdir(out);
    make_result(out, "old");
    EXPECT(open_only(out, false, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(strstr(error.hint, "--force") != NULL);
    EXPECT(open_only(out, true, NULL) == LLAVAMED_OK);
    static const char *const added[] = {".hidden", "SHA256SUM", "model.gguf", "zzz"};
    for (size_t i = 0; i < 4; i++) {
        temp_write_text(temp_path(&dir, "out/%s", added[i]), "precious");
        EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
        EXPECT(strstr(error.message, added[i]) != NULL);
        EXPECT(unlink(temp_path(&dir, "out/%s", added[i])) == 0);
    }
    temp_mkdir(temp_path(&dir, "out/sub"));
    EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(rmdir(temp_path(&dir, "out/sub")) == 0);
    EXPECT(unlink(temp_path(&dir, "out/model.safetensors")) == 0);
    temp_mkdir(temp_path(&dir, "out/model.safetensors"));
    EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(rmdir(temp_path(&dir, "out/model.safetensors")) == 0);
    EXPECT(open_only(out, true, NULL) == LLAVAMED_OK); /* damaged, yet nothing in it is anybody else's */
    EXPECT(unlink(temp_path(&dir, "out/SHA256SUMS")) == 0);
    EXPECT(open_only(out, true, NULL) == LLAVAMED_OK);
    temp_write_text(temp_path(&dir, "out/model.safetensors"), "another size");
    EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(strstr(error.message, "'model.safetensors'") != NULL);
    temp_write_text(temp_path(&dir, "out/model.safetensors"), "OLD");
    EXPECT(open_only(out, true, NULL) == LLAVAMED_OK);
    temp_write_text(temp_path(&dir, "out/notes"), "precious");
    temp_write_text(temp_path(&dir, "out/SHA256SUMS"), /* whoever has made it */
                    "0000000000000000000000000000000000000000000000000000000000000000  notes\n");
    EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(unlink(temp_path(&dir, "out/notes")) == 0);
    static const char *const not_ours[] = {
        "{\"format\": \"llavamed-manifest\", \"version\": 2, \"shards\": [], \"documents\": []}",
        "{\"format\": \"llavamed-manifest\", \"shards\": [], \"documents\": []}",
        "{\"format\": \"llavamed-manifest\", \"version\": 1, \"shards\": {}, \"documents\": []}",
        "{\"format\": \"llavamed-manifest\", \"version\": 1, \"shards\": [\"model.safetensors\"], \"documents\": []}",
        ("{\"format\": \"llavamed-manifest\", \"version\": 1, \"shards\": [{\"name\": \"model.safetensors\"}], "
         "\"documents\": []}"),
        "{\"format\": \"llavamed-manifest\", \"version\": 1, \"shards\": []}",
        "[]",
        "",
    };
    for (size_t i = 0; i < sizeof not_ours / sizeof not_ours[0]; i++) {
        temp_write_text(temp_path(&dir, "out/llavamed-manifest.json"), not_ours[i]);
        EXPECT(open_only(out, true, NULL) == LLAVAMED_STATUS_OUT_EXISTS);
        EXPECT(strstr(error.message, "no valid llavamed-manifest.json") != NULL);
    }
    temp_dir_remove(&dir);
}

/* ---- space ---- */

static void space_is_told_in_numbers(void)
{
    temp_dir_make(&dir);
    struct output_dir *opened = NULL;
    uint64_t free_bytes = 0;
    struct statvfs volume;
    EXPECT(output_dir_open(temp_path(&dir, "out"), false, NULL, 0, &opened, &error) == LLAVAMED_OK);
    EXPECT(output_dir_check_space(opened, 1, &free_bytes, &error) == LLAVAMED_OK);
    EXPECT(statvfs(dir.path, &volume) == 0);
    EXPECT(free_bytes > 0 && free_bytes <= (uint64_t)volume.f_blocks * volume.f_frsize);
    uint64_t need = (uint64_t)3000000000000000;
    EXPECT(output_dir_check_space(opened, need, &free_bytes, &error) == LLAVAMED_STATUS_OUT_SPACE);
    EXPECT(strstr(error.message, "need 3000000.01 GB, 3000000008388608 bytes") != NULL);
    unsigned long long free_told = 0;
    unsigned long long missing_told = 0;
    const char *free_text = strstr(error.message, "free ");
    const char *missing_text = strstr(error.message, "missing ");
    EXPECT(free_text != NULL && sscanf(free_text, "free %*f GB, %llu bytes", &free_told) == 1);
    EXPECT(missing_text != NULL && sscanf(missing_text, "missing %*f GB, %llu bytes", &missing_told) == 1);
    EXPECT_U64(free_told + missing_told, need + OUTPUT_DIR_MARGIN_BYTES);
    EXPECT_U64(free_told, free_bytes);
    EXPECT(output_dir_check_space(opened, UINT64_MAX, NULL, &error) == LLAVAMED_STATUS_OUT_SPACE);
    EXPECT(!temp_exists(temp_path(&dir, "out.partial")));
    output_dir_free(opened);
    temp_dir_remove(&dir);
}

/* ---- publish and abandon ---- */

static void publish_to_nothing_or_empty(void)
{
    temp_dir_make(&dir);
    static const char *const outs[] = {"out", "empty", "link", "slash/"};
    temp_mkdir(temp_path(&dir, "empty"));
    EXPECT(chmod(temp_path(&dir, "empty"), 0700) == 0);
    temp_mkdir(temp_path(&dir, "target"));
    EXPECT(symlink("target", temp_path(&dir, "link")) == 0);
    for (size_t i = 0; i < 4; i++) {
        struct output_dir *made = begin(temp_path(&dir, "%s", outs[i]), false, NULL);
        if (!EXPECT(made != NULL)) {
            continue;
        }
        make_result(output_dir_partial(made), "new");
        EXPECT(output_dir_publish(made, NULL, &error) == LLAVAMED_OK);
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK); /* nothing to abandon any more */
        EXPECT(temp_file_is(temp_path(&dir, "%s/model.safetensors", outs[i]), "new"));
        EXPECT(!temp_exists(temp_path(&dir, "%s/%s", outs[i], OUTPUT_DIR_CLAIM_NAME)));
        EXPECT(!temp_exists(output_dir_partial(made)));
        output_dir_free(made);
    }
    struct stat info;
    EXPECT(stat(temp_path(&dir, "empty"), &info) == 0 && (info.st_mode & 07777) == 0700);
    EXPECT(temp_file_is(temp_path(&dir, "target/model.safetensors"), "new"));
    EXPECT(lstat(temp_path(&dir, "link"), &info) == 0 && S_ISLNK(info.st_mode));
    temp_dir_remove(&dir);
}

static void publish_with_force_exchanges(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    temp_mkdir(out);
    make_result(out, "old");
    struct output_dir *made = begin(out, true, NULL);
    EXPECT(made != NULL);
    if (made != NULL) {
        EXPECT(temp_file_is(temp_path(&dir, "out/model.safetensors"), "old"));
        make_result(output_dir_partial(made), "new");
        bool old_left = true;
        EXPECT(output_dir_publish(made, &old_left, &error) == LLAVAMED_OK);
        EXPECT(!old_left);
        EXPECT(temp_file_is(temp_path(&dir, "out/model.safetensors"), "new"));
        EXPECT(!temp_exists(temp_path(&dir, "out.partial")));
        EXPECT(!temp_exists(temp_path(&dir, "out/%s", OUTPUT_DIR_CLAIM_NAME)));
        EXPECT(open_only(out, true, NULL) == LLAVAMED_OK); /* still recognised as ours */
    }
    output_dir_free(made);
    temp_dir_remove(&dir);
}

static void publish_replaces_nothing_that_came_meanwhile(void)
{
    temp_dir_make(&dir);
    struct output_dir *made = begin(temp_path(&dir, "out"), true, NULL);
    EXPECT(made != NULL);
    if (made != NULL) {
        temp_mkdir(temp_path(&dir, "out"));
        temp_write_text(temp_path(&dir, "out/precious"), "keep");
        EXPECT(output_dir_publish(made, NULL, &error) == LLAVAMED_STATUS_OUT_EXISTS);
        EXPECT(temp_file_is(temp_path(&dir, "out/precious"), "keep"));
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
        EXPECT(!temp_exists(temp_path(&dir, "out.partial")));
    }
    output_dir_free(made);
    temp_dir_remove(&dir);
}

static void abandon_leaves_nothing(void)
{
    temp_dir_make(&dir);
    struct output_dir *made = begin(temp_path(&dir, "out"), false, NULL);
    EXPECT(made != NULL);
    if (made != NULL) {
        temp_write_text(temp_path(&dir, "out.partial/a"), "1");
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
    }
    output_dir_free(made);
    EXPECT(!temp_exists(temp_path(&dir, "out.partial")));
    EXPECT(!temp_exists(temp_path(&dir, "out")));
    temp_dir_remove(&dir);
}

/* ---- other runs ---- */

static void expect_refused(const char *out, enum llavamed_status want)
{
    EXPECT(begin(out, false, NULL) == NULL);
    EXPECT_U64(error.status, want);
    EXPECT(open_only(out, false, NULL) == want);
}

static void a_live_owner_is_busy_and_a_dead_one_is_taken_over(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    int ready[2];
    temp_dir_require(pipe(ready) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        struct output_dir *made = begin(out, false, NULL);
        if (made != NULL) {
            temp_write_text(temp_path(&dir, "out.partial/half"), "written");
        }
        (void)!write(ready[1], made == NULL ? "n" : "y", 1);
        for (;;) {
            (void)pause();
        }
    }
    char answer = 'n';
    EXPECT(read(ready[0], &answer, 1) == 1 && answer == 'y');
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    char want[64];
    (void)snprintf(want, sizeof want, "(process %ld)", (long)child);
    EXPECT(strstr(error.message, want) != NULL);
    EXPECT(temp_file_is(temp_path(&dir, "out.partial/half"), "written"));
    (void)kill(child, SIGKILL);
    EXPECT(waitpid(child, NULL, 0) == child);

    bool removed = false;
    struct output_dir *made = begin(out, false, &removed);
    EXPECT(made != NULL && removed);
    EXPECT(!temp_exists(temp_path(&dir, "out.partial/half")));
    struct output_dir *second = begin(out, false, NULL); /* our own process is alive */
    EXPECT(second == NULL && error.status == LLAVAMED_STATUS_OUT_BUSY);
    if (made != NULL) {
        make_result(output_dir_partial(made), "new");
        EXPECT(output_dir_publish(made, NULL, &error) == LLAVAMED_OK);
    }
    output_dir_free(made);
    EXPECT(!temp_exists(temp_path(&dir, "out.partial")));
    (void)close(ready[0]);
    (void)close(ready[1]);
    temp_dir_remove(&dir);
}

/* The text with what follows `key": ` (up to , or }) replaced. */
static void edit_claim(const char *path, const char *original, const char *key, const char *value)
{
    char edited[4096];
    char mark[64];
    (void)snprintf(mark, sizeof mark, "\"%s\": ", key);
    const char *at = strstr(original, mark);
    temp_dir_require(at != NULL, key);
    at += strlen(mark);
    (void)snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - original), original, value, at + strcspn(at, ",}"));
    temp_write_text(path, edited);
}

static void claims_of_others_are_judged(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    char claim[4096];
    (void)snprintf(claim, sizeof claim, "%s.partial/%s", out, OUTPUT_DIR_CLAIM_NAME);
    struct output_dir *made = begin(out, false, NULL);
    EXPECT(made != NULL);
    output_dir_free(made);
    char *original = temp_read(claim, NULL);
    EXPECT(original != NULL);
    if (original == NULL) {
        return;
    }
    temp_write_text(temp_path(&dir, "out.partial/half"), "theirs");

    edit_claim(claim, original, "host", "\"elsewhere\\u0007\"");
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    EXPECT(strstr(error.message, "host 'elsewhere?'") != NULL && strstr(error.hint, "rm -r") != NULL);
    edit_claim(claim, original, "pid_namespace", "\"pid:[1]\"");
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    temp_write_text(claim, "");
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    temp_write_text(claim, "{}");
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    edit_claim(claim, original, "pid", "-5");
    expect_refused(out, LLAVAMED_STATUS_OUT_BUSY);
    EXPECT(temp_file_is(temp_path(&dir, "out.partial/half"), "theirs"));
    EXPECT(unlink(claim) == 0);
    expect_refused(out, LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(temp_file_is(temp_path(&dir, "out.partial/half"), "theirs"));

    static const char *const dead[][2] = {{"boot_id", "\"earlier\""}, {"start_time", "1"}, {"pid", "2147483646"}};
    for (size_t i = 0; i < 3; i++) {
        temp_write_text(temp_path(&dir, "out.partial/half"), "theirs");
        edit_claim(claim, original, dead[i][0], dead[i][1]);
        EXPECT(open_only(out, false, NULL) == LLAVAMED_OK);
        EXPECT(temp_exists(temp_path(&dir, "out.partial/half"))); /* looking removes nothing */
        bool removed = false;
        made = begin(out, false, &removed);
        EXPECT(made != NULL && removed);
        EXPECT(!temp_exists(temp_path(&dir, "out.partial/half")));
        output_dir_free(made);
    }
    free(original);
    temp_dir_remove(&dir);
}

static void other_things_named_partial(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    temp_write_text(temp_path(&dir, "out.partial"), "a file");
    expect_refused(out, LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(unlink(temp_path(&dir, "out.partial")) == 0);
    temp_mkdir(temp_path(&dir, "elsewhere"));
    EXPECT(symlink("elsewhere", temp_path(&dir, "out.partial")) == 0);
    expect_refused(out, LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(unlink(temp_path(&dir, "out.partial")) == 0);
    temp_mkdir(temp_path(&dir, "out.partial"));
    bool removed = true;
    struct output_dir *made = begin(out, false, &removed);
    EXPECT(made != NULL && !removed);
    if (made != NULL) {
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
    }
    output_dir_free(made);
    temp_dir_remove(&dir);
}

/* Ten processes start at once where a dead one has left its work: one wins, the others see it. */
static void one_of_many_takes_over(void)
{
    enum { RUNS = 10 };
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    char claim[4096];
    (void)snprintf(claim, sizeof claim, "%s.partial/%s", out, OUTPUT_DIR_CLAIM_NAME);
    for (int round = 0; round < 10; round++) {
        struct output_dir *made = begin(out, false, NULL);
        EXPECT(made != NULL);
        output_dir_free(made);
        char *original = temp_read(claim, NULL);
        temp_dir_require(original != NULL, claim);
        edit_claim(claim, original, "pid", "2147483646");
        free(original);
        int hold[2];
        int report[2];
        temp_dir_require(pipe(hold) == 0 && pipe(report) == 0, "pipe");
        pid_t children[RUNS];
        for (int i = 0; i < RUNS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                struct output_dir *mine = begin(out, false, NULL);
                char answer = mine != NULL ? 'w' : error.status == LLAVAMED_STATUS_OUT_BUSY ? 'b' : '?';
                (void)!write(report[1], &answer, 1);
                (void)close(hold[1]);
                (void)!read(hold[0], &answer, 1); /* until the parent closes it: all stay alive */
                _exit(0);
            }
        }
        int winners = 0;
        int losers = 0;
        for (int i = 0; i < RUNS; i++) {
            char answer = '?';
            EXPECT(read(report[0], &answer, 1) == 1);
            winners += answer == 'w';
            losers += answer == 'b';
        }
        EXPECT_U64(winners, 1);
        EXPECT_U64(losers, RUNS - 1);
        EXPECT(temp_exists(claim));
        (void)close(hold[1]);
        for (int i = 0; i < RUNS; i++) {
            EXPECT(waitpid(children[i], NULL, 0) == children[i]);
        }
        (void)close(hold[0]);
        (void)close(report[0]);
        (void)close(report[1]);
        made = begin(out, false, NULL);
        EXPECT(made != NULL && output_dir_abandon(made, &error) == LLAVAMED_OK);
        output_dir_free(made);
    }
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(overlaps_are_found_by_inode);
    CASE(relative_names_work);
    CASE(parent_must_be_there);
    CASE(parent_must_be_writable);
    CASE(only_nothing_empty_or_ours);
    CASE(force_takes_only_what_we_wrote);
    CASE(space_is_told_in_numbers);
    CASE(publish_to_nothing_or_empty);
    CASE(publish_with_force_exchanges);
    CASE(publish_replaces_nothing_that_came_meanwhile);
    CASE(abandon_leaves_nothing);
    CASE(a_live_owner_is_busy_and_a_dead_one_is_taken_over);
    CASE(claims_of_others_are_judged);
    CASE(other_things_named_partial);
    CASE(one_of_many_takes_over);
    return harness_end();
}
