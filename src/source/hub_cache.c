/* SPDX-License-Identifier: Apache-2.0 */
#include "source/hub_cache.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buffer.h"
#include "io/directory.h"
#include "io/input_file.h"

#define PATH_BYTES_MAX 65536
#define REF_BYTES_MAX 4096
#define REPOSITORY_PREFIX "models--"
#define SNAPSHOTS "/snapshots/"

static bool is_name_character(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

bool hub_cache_is_name(const char *spec)
{
    size_t n_slashes = 0;
    const char *at = spec;
    for (; *at != '\0' && *at != '@'; at++) {
        bool begins = at == spec || at[-1] == '/';
        if (begins ? !isalnum((unsigned char)*at) : *at != '/' && !is_name_character(*at)) {
            return false;
        }
        n_slashes += *at == '/';
    }
    return n_slashes == 1 && at[-1] != '/' && (*at == '\0' || at[1] != '\0');
}

/* ---- Where the cache is ---- */

static void append_variable(struct buffer *out, const char **at)
{
    const char *name = *at + 1;
    bool braced = *name == '{';
    name += braced;
    size_t n = 0;
    while (isalnum((unsigned char)name[n]) || name[n] == '_') {
        n++;
    }
    char key[256];
    const char *value = NULL;
    if (n > 0 && n < sizeof key && (!braced || name[n] == '}')) {
        memcpy(key, name, n);
        key[n] = '\0';
        value = getenv(key); /* NOLINT(concurrency-mt-unsafe) */
    }
    if (value == NULL) {
        buffer_append(out, "$", 1); /* what is not set stays as it is written, as in Python's expandvars */
        (*at)++;
        return;
    }
    buffer_append_text(out, value);
    *at = name + n + braced;
}

/* Appends `text` with "~" and variables expanded; false when the home directory is wanted and not known. */
static bool append_expanded(struct buffer *out, const char *text)
{
    const char *at = text;
    if (at[0] == '~' && (at[1] == '/' || at[1] == '\0')) {
        const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe) */
        if (home == NULL || home[0] == '\0') {
            return false;
        }
        buffer_append_text(out, home);
        at++;
    }
    while (*at != '\0') {
        if (*at == '$') {
            append_variable(out, &at);
        } else {
            buffer_append(out, at++, 1);
        }
    }
    return true;
}

enum llavamed_status hub_cache_root(char **root, struct llavamed_error *error)
{
    static const struct {
        const char *variable;
        const char *below;
    } places[] = {
        {"HF_HUB_CACHE", ""},
        {"HUGGINGFACE_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
    };
    const char *from = "~/.cache";
    const char *below = "/huggingface/hub";
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = getenv(places[i].variable); /* NOLINT(concurrency-mt-unsafe) */
        if (value != NULL && value[0] != '\0') {
            from = value;
            below = places[i].below;
            break;
        }
    }
    struct buffer text;
    buffer_init(&text, PATH_BYTES_MAX);
    bool known = append_expanded(&text, from);
    buffer_append_text(&text, below);
    enum llavamed_status status = buffer_status(&text, "the path of the cache", error);
    if (status == LLAVAMED_OK) {
        *root = known ? buffer_take(&text) : NULL;
    }
    buffer_deinit(&text);
    return status;
}

/* ---- From a name to a snapshot ---- */

struct hub_name {
    char *repository; /* "models--ORG--NAME", owned */
    int id_bytes;     /* of "ORG/NAME" in the spec */
    const char *revision;
    bool given;
};

static enum llavamed_status fail_absent(const char *spec, const char *role, const char *root,
                                        const struct hub_name *name, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                        "%s: no such file or directory (wanted for the %s), and no such model in the Hugging Face "
                        "cache %s",
                        spec, role, root == NULL ? "(its place is unknown: HOME is not set)" : root);
    llavamed_hint(error, "hf download %.*s%s%s", name->id_bytes, spec, name->given ? " --revision " : "",
                  name->given ? name->revision : "");
    return LLAVAMED_STATUS_INPUT_MISSING;
}

static enum llavamed_status parse_name(const char *spec, struct hub_name *name, struct llavamed_error *error)
{
    size_t id_bytes = strcspn(spec, "@");
    struct buffer text;
    buffer_init(&text, PATH_BYTES_MAX);
    buffer_append_text(&text, REPOSITORY_PREFIX);
    for (size_t i = 0; i < id_bytes; i++) {
        buffer_append(&text, spec[i] == '/' ? "--" : &spec[i], spec[i] == '/' ? 2 : 1);
    }
    enum llavamed_status status = buffer_status(&text, "the name of a repository", error);
    if (status == LLAVAMED_OK) {
        bool given = spec[id_bytes] == '@';
        *name = (struct hub_name){.repository = buffer_take(&text),
                                  .id_bytes = id_bytes < INT_MAX ? (int)id_bytes : INT_MAX,
                                  .revision = given ? spec + id_bytes + 1 : "main",
                                  .given = given};
    }
    buffer_deinit(&text);
    return status;
}

/* No part of a revision that would lead elsewhere: not absolute, none empty, "." or "..". */
static bool is_safe_revision(const char *revision)
{
    const char *at = revision;
    while (true) {
        size_t n = strcspn(at, "/");
        if (n == 0 || (at[0] == '.' && (n == 1 || (n == 2 && at[1] == '.')))) {
            return false;
        }
        if (at[n] == '\0') {
            return true;
        }
        at += n + 1;
    }
}

bool hub_cache_parse_ref(const char *text, size_t n_bytes, char commit[HUB_COMMIT_BYTES])
{
    while (n_bytes > 0 && isspace((unsigned char)text[n_bytes - 1])) {
        n_bytes--;
    }
    if (n_bytes != HUB_COMMIT_BYTES - 1 || strspn(text, "0123456789abcdef") < n_bytes) {
        return false;
    }
    memcpy(commit, text, n_bytes);
    commit[n_bytes] = '\0';
    return true;
}

/* The hub writes plain files there. What one holds is not shown: a link may lead to any file of this machine. */
static enum llavamed_status read_ref(const char *path, char commit[HUB_COMMIT_BYTES], struct llavamed_error *error)
{
    char text[REF_BYTES_MAX + 1];
    struct input_file *file = NULL;
    enum llavamed_status status = input_file_open_plain(path, path, &file, error);
    uint64_t n_bytes = status == LLAVAMED_OK ? input_file_bytes(file) : 0;
    size_t n_read = n_bytes <= REF_BYTES_MAX ? (size_t)n_bytes : 0;
    if (status == LLAVAMED_OK) {
        status = input_file_read(file, 0, text, n_read, error);
    }
    text[n_read] = '\0';
    if (status == LLAVAMED_OK && !hub_cache_parse_ref(text, n_read, commit)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSAFE,
                               "%s: does not hold a commit (got %llu bytes, want 40 hex digits)", path,
                               (unsigned long long)n_bytes);
    }
    input_file_close(file);
    return status;
}

/* What refs/REVISION says, or the revision itself; "" when neither is a commit. */
static enum llavamed_status resolve_revision(const char *repository, const char *revision,
                                             char commit[HUB_COMMIT_BYTES], struct llavamed_error *error)
{
    char *refs = path_join(repository, "refs");
    char *ref = refs == NULL ? NULL : path_join(refs, revision);
    free(refs);
    if (ref == NULL) {
        return llavamed_fail_memory(error, strlen(revision), "a path");
    }
    enum path_kind kind;
    enum llavamed_status status = path_kind_of(ref, &kind, error);
    commit[0] = '\0';
    if (status == LLAVAMED_OK && kind == PATH_FILE) {
        status = read_ref(ref, commit, error);
    } else if (status == LLAVAMED_OK) {
        (void)(strlen(revision) == HUB_COMMIT_BYTES - 1 && hub_cache_parse_ref(revision, HUB_COMMIT_BYTES - 1, commit));
    }
    free(ref);
    return status;
}

static enum llavamed_status find_snapshot(const char *repository, const char *revision, char **snapshot,
                                          struct llavamed_error *error)
{
    char commit[HUB_COMMIT_BYTES] = "";
    char *found = NULL;
    enum llavamed_status status =
        is_safe_revision(revision) ? resolve_revision(repository, revision, commit, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK && commit[0] != '\0') {
        char *snapshots = path_join(repository, "snapshots");
        found = snapshots == NULL ? NULL : path_join(snapshots, commit);
        free(snapshots);
        status = found == NULL ? llavamed_fail_memory(error, strlen(repository), "a path") : LLAVAMED_OK;
    }
    enum path_kind kind = PATH_MISSING;
    if (status == LLAVAMED_OK && found != NULL) {
        status = path_kind_of(found, &kind, error);
    }
    if (status == LLAVAMED_OK && kind == PATH_DIRECTORY) {
        *snapshot = found;
        found = NULL;
    }
    free(found);
    return status;
}

enum llavamed_status hub_cache_find(const char *spec, const char *role, char **snapshot, struct llavamed_error *error)
{
    struct hub_name name = {0};
    char *root = NULL;
    char *repository = NULL;
    char *found = NULL;
    enum llavamed_status status = parse_name(spec, &name, error);
    if (status == LLAVAMED_OK) {
        status = hub_cache_root(&root, error);
    }
    if (status == LLAVAMED_OK && root != NULL) {
        repository = path_join(root, name.repository);
        status = repository == NULL ? llavamed_fail_memory(error, strlen(root), "a path")
                                    : find_snapshot(repository, name.revision, &found, error);
    }
    if (status == LLAVAMED_OK && found == NULL) {
        status = fail_absent(spec, role, root, &name, error);
    }
    if (status == LLAVAMED_OK) {
        *snapshot = found;
    }
    free(repository);
    free(root);
    free(name.repository);
    return status;
}

/* ---- From a directory to its repository ---- */

/*
 * After a path could not be resolved. One that is not there or cannot be followed is left to who opens it, and tells
 * why; with any other the question is open whether it stays in its repository.
 */
static enum llavamed_status fail_unresolved(const char *path, int errno_value, struct llavamed_error *error)
{
    if (errno_value == ENOMEM) {
        return llavamed_fail_memory(error, PATH_MAX, "a path");
    }
    if (errno_value == ENOENT || errno_value == ENOTDIR || errno_value == ELOOP) {
        return LLAVAMED_OK;
    }
    return llavamed_fail_errno(error, LLAVAMED_STATUS_INPUT_UNREADABLE, errno_value, "%s: cannot tell where it leads",
                               path);
}

/* The part of a resolved path below `repository`, or NULL when it lies elsewhere. */
static const char *part_below(const char *repository, const char *resolved)
{
    size_t n = strlen(repository);
    return strncmp(resolved, repository, n) == 0 && resolved[n] == '/' ? resolved + n + 1 : NULL;
}

static enum llavamed_status fail_outside(const char *path, const char *real, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSAFE,
                      "%s: a link that leaves its repository in the Hugging Face cache (to %.300s)", path, real);
    llavamed_hint(error, "if that is the right one, copy the snapshot with 'cp -rL' and give the copy; else remove the "
                         "link and download it again");
    return status;
}

/* Where the last "models--..." of a path ends that "/snapshots/" follows. NULL: there is none. */
static const char *find_repository_end(const char *path)
{
    const char *end = NULL;
    for (const char *at = path; (at = strstr(at, SNAPSHOTS)) != NULL; at++) {
        const char *component = at;
        while (component > path && component[-1] != '/') {
            component--;
        }
        if (strncmp(component, REPOSITORY_PREFIX, strlen(REPOSITORY_PREFIX)) == 0) {
            end = at;
        }
    }
    return end;
}

/* Whether a path has a ".." in it, which may lead out of what its words name. */
static bool leads_up(const char *path)
{
    const char *at = path;
    while ((at = strstr(at, "/..")) != NULL) {
        if (at[3] == '/' || at[3] == '\0') {
            return true;
        }
        at++;
    }
    return false;
}

/* The path as it is given, from the root on; NULL when out of memory. */
static char *absolute_path(const char *path)
{
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *whole = here == NULL ? strdup(path) : path_join(here, path);
    free(here);
    return whole;
}

/*
 * The repository that `directory`, which is `path` with links resolved, is given in: the one that its words name, if
 * any, since a snapshot, or a folder in one, may itself be a link to anywhere. INPUT_UNSAFE when it is one that leaves.
 * Else the one that `path` names. NULL for none.
 */
static enum llavamed_status find_repository(const char *directory, const char *path, char **repository,
                                            struct llavamed_error *error)
{
    const char *end = find_repository_end(directory);
    bool by_words = end != NULL && !leads_up(end);
    const char *from = by_words ? directory : path;
    end = by_words ? end : find_repository_end(path);
    *repository = NULL;
    if (end == NULL) {
        return LLAVAMED_OK;
    }
    char *named = strndup(from, (size_t)(end - from));
    if (named == NULL) {
        return llavamed_fail_memory(error, PATH_MAX, "a path");
    }
    if (!by_words) {
        *repository = named;
        return LLAVAMED_OK;
    }
    char *found = realpath(named, NULL);
    enum llavamed_status status = found == NULL ? fail_unresolved(named, errno, error) : LLAVAMED_OK;
    free(named);
    if (found != NULL && part_below(found, path) == NULL) {
        status = fail_outside(directory, path, error);
        free(found);
        found = NULL;
    }
    *repository = found;
    return status;
}

enum llavamed_status hub_cache_repository_of(const char *directory, char **repository, char **resolved,
                                             struct llavamed_error *error)
{
    char *path = realpath(directory, NULL);
    *repository = NULL;
    *resolved = NULL;
    if (path == NULL) {
        return fail_unresolved(directory, errno, error);
    }
    char *found = NULL;
    char *words = absolute_path(directory);
    enum llavamed_status status = words == NULL ? llavamed_fail_memory(error, PATH_MAX, "a path")
                                                : find_repository(words, path, &found, error);
    free(words);
    if (status != LLAVAMED_OK || found == NULL) {
        free(path);
        return status;
    }
    char *blobs = path_join(found, "blobs");
    if (blobs == NULL) {
        free(found);
        free(path);
        return llavamed_fail_memory(error, PATH_MAX, "a path");
    }
    char target[1];
    bool is_link = readlink(blobs, target, sizeof target) >= 0;
    free(blobs);
    *repository = found;
    *resolved = is_link ? NULL : path;
    if (is_link) {
        free(path);
    }
    return LLAVAMED_OK;
}

/*
 * Whether a resolved path is that of a file in the store that the repositories of a cache share (huggingface_hub 2.x,
 * utils/_shared_blobs.py): ROOT/blobs/HE/HEX, where HEX is a hash of Xet and HE its first two digits.
 */
static bool is_shared_blob(const char *repository, const char *resolved)
{
    static const char store[] = "/blobs/";
    const char *slash = strrchr(repository, '/');
    size_t root_bytes = slash == NULL ? 0 : (size_t)(slash - repository);
    if (strncmp(resolved, repository, root_bytes) != 0 ||
        strncmp(resolved + root_bytes, store, sizeof store - 1) != 0) {
        return false;
    }
    const char *folder = resolved + root_bytes + sizeof store - 1;
    return strspn(folder, "0123456789abcdef") == 2 && folder[2] == '/' && strncmp(folder, folder + 3, 2) == 0 &&
           strlen(folder + 3) == SHA256_HEX_BYTES - 1 && strspn(folder + 3, "0123456789abcdef") == SHA256_HEX_BYTES - 1;
}

/*
 * The blob behind a link of a snapshot, when it is as the hub makes it: "../../blobs/HASH", one step, to a file that is
 * no link. Two looks, where resolving each part of both paths takes some twenty, each a round trip on a network file
 * system. NULL for anything else.
 */
static char *resolve_usual_link(const char *repository, const char *folder, const char *path)
{
    static const char blobs[] = "blobs/";
    char target[PATH_MAX];
    const char *below = part_below(repository, folder);
    ssize_t n = below == NULL || strncmp(below, "snapshots/", 10) != 0 ? 0 : readlink(path, target, sizeof target - 1);
    if (below == NULL || n <= 0) {
        return NULL;
    }
    target[n] = '\0';
    const char *at = target;
    bool as_made = true;
    for (const char *part = below; as_made && part != NULL; part = strchr(part + 1, '/')) {
        as_made = strncmp(at, "../", 3) == 0;
        at += as_made ? 3 : 0;
    }
    as_made = as_made && strncmp(at, blobs, sizeof blobs - 1) == 0 && isalnum((unsigned char)at[sizeof blobs - 1]) &&
              strchr(at + sizeof blobs - 1, '/') == NULL;
    char *blob = as_made ? path_join(repository, at) : NULL;
    if (blob != NULL && (readlink(blob, target, sizeof target) >= 0 || errno != EINVAL)) {
        free(blob);
        blob = NULL;
    }
    return blob;
}

/* As realpath(); `folder` is the directory of path, resolved, or NULL. */
static char *resolve(const char *repository, const char *folder, const char *path)
{
    char *blob = folder == NULL ? NULL : resolve_usual_link(repository, folder, path);
    return blob != NULL ? blob : realpath(path, NULL);
}

enum llavamed_status hub_cache_check_inside(const char *repository, const char *resolved, const char *path,
                                            struct llavamed_error *error)
{
    char *real = resolve(repository, resolved, path);
    if (real == NULL) {
        return fail_unresolved(path, errno, error);
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (part_below(repository, real) == NULL && !is_shared_blob(repository, real)) {
        status = fail_outside(path, real, error);
    }
    free(real);
    return status;
}

/* Where `path`, a link, leads to in one step: its directory resolved, the last part not. NULL when that fails. */
static char *follow_once(const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    char *parent = path_parent(path);
    char *joined = parent == NULL || n <= 0 ? NULL : target[0] == '/' ? strdup(target) : path_join(parent, target);
    char *folder = joined == NULL ? NULL : path_parent(joined);
    char *resolved = folder == NULL ? NULL : realpath(folder, NULL);
    char *name = joined == NULL ? NULL : path_base_name(joined);
    char *result = resolved == NULL || name == NULL ? NULL : path_join(resolved, name);
    free(name);
    free(resolved);
    free(folder);
    free(joined);
    free(parent);
    return result;
}

/* The blob of the repository behind `path`: of a shared one that is a link, whose own name tells the file's hash. */
static char *resolve_blob(const char *repository, const char *folder, const char *path)
{
    char *resolved = resolve(repository, folder, path);
    if (resolved != NULL && is_shared_blob(repository, resolved)) {
        free(resolved);
        resolved = follow_once(path);
    }
    return resolved;
}

bool hub_cache_blob_hash(const char *repository, const char *resolved, const char *path, char hex[SHA256_HEX_BYTES])
{
    static const char blobs[] = "blobs/";
    char *blob = resolve_blob(repository, resolved, path);
    const char *below = blob == NULL ? NULL : part_below(repository, blob);
    bool found = below != NULL && strncmp(below, blobs, sizeof blobs - 1) == 0;
    if (found) {
        const char *name = below + sizeof blobs - 1;
        size_t n = strlen(name);
        found = (n == SHA256_HEX_BYTES - 1 || n == GIT_BLOB_HEX_BYTES - 1) && strspn(name, "0123456789abcdef") == n;
        if (found) {
            memcpy(hex, name, n + 1);
        }
    }
    free(blob);
    return found;
}

void hub_cache_hint(const char *repository, struct llavamed_error *error)
{
    const char *slash = strrchr(repository, '/');
    const char *name = slash == NULL ? repository : slash + 1;
    if (strncmp(name, REPOSITORY_PREFIX, strlen(REPOSITORY_PREFIX)) != 0) {
        return;
    }
    name += strlen(REPOSITORY_PREFIX);
    const char *dashes = strstr(name, "--");
    if (dashes == NULL) {
        llavamed_hint(error, "complete the download with: hf download %s", name);
    } else {
        llavamed_hint(error, "complete the download with: hf download %.*s/%s", (int)(dashes - name), name, dashes + 2);
    }
}
