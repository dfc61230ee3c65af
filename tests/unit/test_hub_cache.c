/* SPDX-License-Identifier: Apache-2.0 */
/* Spelling of hub names, and where the cache is; what is found in it is tested with the program (tests/cli). */
#include "source/hub_cache.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

static void names(void)
{
    static const char *const good[] = {"a/b", "org/name@main", "huggyllama/llama-7b", "o-r_g/n.a-m_e@refs/pr/4",
                                       "o/n@0123456789abcdef0123456789abcdef01234567"};
    static const char *const bad[] = {"",     "name", "a/",   "/a",   "a//b", "a/b/c", "./a/b", "../a",
                                      "a/b@", "~/b",  "a /b", "a/.b", "-a/b", "a/b\n", "@",     "a@b/c"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        EXPECT(hub_cache_is_name(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!EXPECT(!hub_cache_is_name(bad[i]))) {
            printf("    %s\n", bad[i]);
        }
    }
}

/* Sets the five variables (NULL: unset) and compares with what huggingface_hub.constants.HF_HUB_CACHE is then. */
static void expect_root(const char *const values[5], const char *want)
{
    static const char *const variables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME",
                                            "HOME"};
    for (size_t i = 0; i < 5; i++) {
        if (values[i] == NULL) {
            (void)unsetenv(variables[i]);
        } else {
            (void)setenv(variables[i], values[i], 1);
        }
    }
    char *root = NULL;
    struct llavamed_error error;
    EXPECT(hub_cache_root(&root, &error) == LLAVAMED_OK);
    if (want == NULL) {
        EXPECT(root == NULL);
    } else {
        EXPECT_TEXT(root, want);
    }
    free(root);
}

#define VALUES(...) ((const char *const[5]){__VA_ARGS__})

static void places(void)
{
    expect_root(VALUES(NULL, NULL, NULL, NULL, "/h"), "/h/.cache/huggingface/hub");
    expect_root(VALUES(NULL, NULL, NULL, "/x", "/h"), "/x/huggingface/hub");
    expect_root(VALUES(NULL, NULL, "~/hf", "/x", "/h"), "/h/hf/hub");
    expect_root(VALUES(NULL, "/old", "~/hf", "/x", "/h"), "/old");
    expect_root(VALUES("/new", "/old", "~/hf", "/x", "/h"), "/new");
    expect_root(VALUES("$HOME/a${XDG_CACHE_HOME}/b", NULL, NULL, "/x", "/h"), "/h/a/x/b");
    expect_root(VALUES("/a/$LLAVAMED_UNSET/${x", NULL, NULL, NULL, "/h"), "/a/$LLAVAMED_UNSET/${x");
    expect_root(VALUES(NULL, NULL, NULL, NULL, NULL), NULL);
    expect_root(VALUES("/new", NULL, NULL, NULL, NULL), "/new");
}

/* A directory is part of a cache by its own, resolved path, and nothing else. */
static void repositories(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    char *real = realpath(dir.path, NULL);
    char want[5000];
    (void)snprintf(want, sizeof want, "%s/models--o--n", real);
    static const char *const made[] = {
        "models--o--n", "models--o--n/snapshots", "models--o--n/snapshots/c", "models--o--n/blobs", "snapshots",
        "snapshots/c"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        temp_dir_require(mkdir(temp_path(&dir, "%s", made[i]), 0700) == 0, made[i]);
    }
    struct llavamed_error error;
    char *repository = NULL;
    char *snapshot = NULL;
    EXPECT(hub_cache_repository_of(temp_path(&dir, "models--o--n/snapshots/c"), &repository, &snapshot, &error) ==
           LLAVAMED_OK);
    EXPECT_TEXT(repository, want);
    EXPECT(snapshot != NULL && strncmp(snapshot, want, strlen(want)) == 0 &&
           strcmp(snapshot + strlen(want), "/snapshots/c") == 0);
    static const char sha256[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char hex[SHA256_HEX_BYTES] = "";
    temp_write_text(temp_path(&dir, "models--o--n/blobs/%s", sha256), "x");
    char target[100];
    (void)snprintf(target, sizeof target, "../../blobs/%s", sha256);
    const char *link_path = temp_path(&dir, "models--o--n/snapshots/c/f");
    temp_dir_require(symlink(target, link_path) == 0, "symlink");
    EXPECT(hub_cache_blob_hash(repository, snapshot, link_path, hex));
    EXPECT_TEXT(hex, sha256);
    EXPECT(hub_cache_check_inside(repository, snapshot, link_path, &error) == LLAVAMED_OK);
    static const char git_blob[] = "0123456789abcdef0123456789abcdef01234567";
    temp_write_text(temp_path(&dir, "models--o--n/blobs/%s", git_blob), "x");
    EXPECT(hub_cache_blob_hash(repository, NULL, temp_path(&dir, "models--o--n/blobs/%s", git_blob), hex));
    EXPECT_TEXT(hex, git_blob);
    temp_write_text(temp_path(&dir, "models--o--n/blobs/%.39s", git_blob), "x");
    EXPECT(!hub_cache_blob_hash(repository, NULL, temp_path(&dir, "models--o--n/blobs/%.39s", git_blob), hex));
    EXPECT(hub_cache_check_inside(repository, NULL, dir.path, &error) == LLAVAMED_STATUS_INPUT_UNSAFE);
    hub_cache_hint(repository, &error);
    EXPECT_TEXT(error.hint, "complete the download with: hf download o/n");
    free(repository);
    free(snapshot);
    EXPECT(hub_cache_repository_of(temp_path(&dir, "snapshots/c"), &repository, &snapshot, &error) == LLAVAMED_OK);
    EXPECT(repository == NULL && snapshot == NULL);
    EXPECT(hub_cache_repository_of(temp_path(&dir, "nowhere"), &repository, &snapshot, &error) == LLAVAMED_OK);
    EXPECT(repository == NULL && snapshot == NULL);
    free(real);
    temp_dir_remove(&dir);
}

/* A blob that repositories share (huggingface_hub 2): ROOT/blobs/HE/HEX, and no other place outside the repository. */
static void shared_blobs(void)
{
    static const char etag[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char xet[] = "ab23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const made[] = {
        "models--o--n", "models--o--n/blobs", "models--o--n/snapshots", "models--o--n/snapshots/c", "blobs", "blobs/ab",
        "blobs/cd"};
    static const struct {
        const char *target; /* of the blob, below the root */
        bool inside;
    } cases[] = {
        {"blobs/ab/ab23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true},
        {"blobs/cd/ab23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", false},
        {"blobs/ab/ab23", false},
        {"blobs/ab23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", false},
        {"models--o--n.safetensors", false},
    };
    struct temp_dir dir;
    struct llavamed_error error;
    char *repository = NULL;
    char *snapshot = NULL;
    char hex[SHA256_HEX_BYTES] = "";
    temp_dir_make(&dir);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        temp_mkdir(temp_path(&dir, "%s", made[i]));
    }
    char target[200];
    (void)snprintf(target, sizeof target, "../../blobs/%s", etag);
    temp_dir_require(symlink(target, temp_path(&dir, "models--o--n/snapshots/c/f")) == 0, "symlink");
    EXPECT(hub_cache_repository_of(temp_path(&dir, "models--o--n/snapshots/c"), &repository, &snapshot, &error) ==
           LLAVAMED_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *blob = temp_path(&dir, "models--o--n/blobs/%s", etag);
        const char *file = temp_path(&dir, "models--o--n/snapshots/c/f");
        temp_write_text(temp_path(&dir, "%s", cases[i].target), "x");
        (void)snprintf(target, sizeof target, "../../%s", cases[i].target);
        temp_dir_require(symlink(target, blob) == 0, "symlink");
        enum llavamed_status want = cases[i].inside ? LLAVAMED_OK : LLAVAMED_STATUS_INPUT_UNSAFE;
        EXPECT(hub_cache_check_inside(repository, snapshot, file, &error) == want);
        EXPECT(hub_cache_check_inside(repository, NULL, file, &error) == want);
        EXPECT(hub_cache_blob_hash(repository, snapshot, file, hex) == cases[i].inside);
        temp_dir_require(unlink(blob) == 0, "unlink");
    }
    EXPECT_TEXT(hex, etag);
    /* A link from the snapshot straight into the store says nothing of the file's SHA-256. */
    (void)snprintf(target, sizeof target, "../../../blobs/ab/%s", xet);
    temp_dir_require(symlink(target, temp_path(&dir, "models--o--n/snapshots/c/g")) == 0, "symlink");
    EXPECT(!hub_cache_blob_hash(repository, NULL, temp_path(&dir, "models--o--n/snapshots/c/g"), hex));
    free(repository);
    free(snapshot);
    temp_dir_remove(&dir);
}

/* Links of a snapshot, each resolved the short and the long way: both tell the same. */
static void links(void)
{
    static const char blob[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *target;
        bool inside;
        bool has_hash;
    } cases[] = {
        {"../../blobs/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true, true},
        {"../../../n/blobs/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true, false},
        {"../blobs/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true, false},
        {"../../blobs/../../outside", false, false},
        {"../../../outside", false, false},
        {"../../blobs/..", false, false},
        {"../../blobs/link", false, false},
        {"../../blobs/nothing", true, false},
    };
    struct temp_dir dir;
    struct llavamed_error error;
    char hex[SHA256_HEX_BYTES];
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "outside"), "x");
    static const char *const made[] = {"models--o--n", "models--o--n/snapshots", "models--o--n/snapshots/c"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        temp_mkdir(temp_path(&dir, "%s", made[i]));
    }
    for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
        const char *blobs = temp_path(&dir, elsewhere ? "blobs" : "models--o--n/blobs");
        temp_mkdir(blobs);
        temp_write_text(temp_path(&dir, "%s/%s", elsewhere ? "blobs" : "models--o--n/blobs", blob), "x");
        const char *link = temp_path(&dir, "%s/link", elsewhere ? "blobs" : "models--o--n/blobs");
        temp_dir_require(symlink(elsewhere ? "../outside" : "../../outside", link) == 0, "symlink");
        if (elsewhere) {
            temp_dir_require(symlink("../blobs", temp_path(&dir, "models--o--n/blobs")) == 0, "symlink");
        }
        const char *file = temp_path(&dir, "models--o--n/snapshots/c/f");
        char *repository = NULL;
        char *snapshot = NULL;
        EXPECT(hub_cache_repository_of(temp_path(&dir, "models--o--n/snapshots/c"), &repository, &snapshot, &error) ==
               LLAVAMED_OK);
        EXPECT((snapshot == NULL) == (elsewhere == 1));
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            temp_dir_require(symlink(cases[i].target, file) == 0, "symlink");
            enum llavamed_status long_way = hub_cache_check_inside(repository, NULL, file, &error);
            EXPECT(hub_cache_check_inside(repository, snapshot, file, &error) == long_way);
            EXPECT(elsewhere || (long_way == LLAVAMED_OK) == cases[i].inside);
            EXPECT(hub_cache_blob_hash(repository, snapshot, file, hex) == (cases[i].has_hash && !elsewhere));
            EXPECT(hub_cache_blob_hash(repository, NULL, file, hex) == (cases[i].has_hash && !elsewhere));
            temp_dir_require(unlink(file) == 0, "unlink");
        }
        free(repository);
        free(snapshot);
        if (!elsewhere) {
            temp_dir_require(unlink(link) == 0, "unlink");
            temp_dir_require(unlink(temp_path(&dir, "models--o--n/blobs/%s", blob)) == 0, "unlink");
            temp_dir_require(rmdir(blobs) == 0, "rmdir");
        }
    }
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(names);
    CASE(places);
    CASE(repositories);
    CASE(shared_blobs);
    CASE(links);
    return harness_end();
}
