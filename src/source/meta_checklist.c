/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums that Meta's releases came with. checklist.chk is what `md5sum consolidated.*.pth params.json` printed, one
 * line "HEX  NAME" per file; tokenizer_checklist.chk, beside the folders of the sizes, has the line of tokenizer.model.
 * Small files are checked when the source is opened. Shards are read out of order while merging, which MD5 cannot
 * follow: they are read once more, front to back, in source_finish().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/checked.h"
#include "io/read_through.h"
#include "source/meta_parts.h"

#define CHECKLIST_BYTES_MAX 65536
#define SMALL_FILE_BYTES_MAX 67108864
#define HEX_CHARS (MD5_HEX_BYTES - 1)
#define CHUNK_BYTES 131072

/* ---- The text ---- */

static bool parse_line(const char *text, size_t n_bytes, struct checklist_line *line)
{
    if (n_bytes < HEX_CHARS + 3 || memchr(text, '\0', n_bytes) != NULL ||
        strspn(text, "0123456789abcdefABCDEF") != HEX_CHARS || text[HEX_CHARS] != ' ' ||
        (text[HEX_CHARS + 1] != ' ' && text[HEX_CHARS + 1] != '*')) {
        return false;
    }
    size_t name_bytes = n_bytes - HEX_CHARS - 2;
    const char *name = text + HEX_CHARS + 2;
    memcpy(line->hex, text, HEX_CHARS);
    line->hex[HEX_CHARS] = '\0';
    name_bytes = name_bytes < sizeof line->name && memchr(name, '/', name_bytes) == NULL ? name_bytes : 0;
    memcpy(line->name, name, name_bytes);
    line->name[name_bytes] = '\0';
    return true;
}

enum llavamed_status checklist_next(struct checklist_text *list, struct checklist_line *line,
                                    struct llavamed_error *error)
{
    while (list->n_left > 0) {
        const char *text = list->text;
        const char *newline = memchr(text, '\n', list->n_left);
        size_t line_bytes = newline == NULL ? list->n_left : (size_t)(newline - text);
        size_t step = newline == NULL ? line_bytes : line_bytes + 1;
        /* A list that went through another system may end its lines with CR LF, or itself with an empty line. */
        bool has_return = line_bytes > 0 && text[line_bytes - 1] == '\r';
        size_t shown_bytes = line_bytes - (has_return ? 1 : 0);
        list->text += step;
        list->n_left -= step;
        list->n_lines++;
        if (shown_bytes > 0) {
            if (parse_line(text, shown_bytes, line)) {
                return LLAVAMED_OK;
            }
            enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                                                        "%s: line %zu is not one of md5sum", list->path, list->n_lines);
            llavamed_hint(error, "mend or remove that file, or give --verify none to check no recorded hash");
            return status;
        }
    }
    line->hex[0] = '\0';
    return LLAVAMED_OK;
}

/* What is done with each line of a checklist. */
typedef enum llavamed_status checklist_use(const struct checklist_line *line, const char *directory, void *context,
                                           struct llavamed_error *error);

static enum llavamed_status read_lines(const char *path, const char *directory, checklist_use *use, void *context,
                                       struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_whole(path, CHECKLIST_BYTES_MAX, &text, &n_bytes, error);
    struct checklist_text list = {.path = path, .text = text, .n_left = n_bytes};
    struct checklist_line line = {.hex = "none yet"};
    while (status == LLAVAMED_OK && line.hex[0] != '\0') {
        status = checklist_next(&list, &line, error);
        if (status == LLAVAMED_OK && line.hex[0] != '\0') {
            status = use(&line, directory, context, error);
        }
    }
    free(text);
    return status;
}

/* No such file is fine: nothing is recorded then. Whatever else has its name has to be one. */
static enum llavamed_status use_checklist(const char *directory, const char *name, checklist_use *use, void *context,
                                          struct llavamed_error *error)
{
    enum path_kind kind = PATH_MISSING;
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(directory), "a path");
    }
    enum llavamed_status status = path_kind_of(path, &kind, error);
    if (status == LLAVAMED_OK && (kind != PATH_MISSING || path_is_taken(path))) {
        status = read_lines(path, directory, use, context, error);
    }
    free(path);
    return status;
}

static enum llavamed_status compare(const char *path, const char *got, const char *want, struct llavamed_error *error)
{
    if (strcasecmp(got, want) == 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = llavamed_fail(
        error, LLAVAMED_STATUS_HASH_MISMATCH,
        "%s: its MD5 is not the one that the checklist beside it records (got %s, want %s)", path, got, want);
    llavamed_hint(error, "the file is damaged or another one: download it again");
    return status;
}

/* ---- Small files ---- */

static enum llavamed_status md5_of(const void *bytes, size_t n_bytes, char hex[MD5_HEX_BYTES],
                                   struct llavamed_error *error)
{
    struct md5_stream *stream = NULL;
    enum llavamed_status status = md5_create(&stream, error);
    if (status == LLAVAMED_OK) {
        status = md5_update(stream, bytes, n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = md5_finish(stream, hex, error);
    }
    md5_free(stream);
    return status;
}

static enum llavamed_status check_small_file(const char *name, const char *want, const char *directory,
                                             struct llavamed_error *error)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    char hex[MD5_HEX_BYTES];
    enum path_kind kind = PATH_MISSING;
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(directory), "a path");
    }
    enum llavamed_status status = path_kind_of(path, &kind, error);
    if (status == LLAVAMED_OK && kind != PATH_MISSING && kind != PATH_DIRECTORY) {
        status = input_file_read_whole(path, SMALL_FILE_BYTES_MAX, &bytes, &n_bytes, error);
        if (status == LLAVAMED_OK) {
            status = md5_of(bytes, n_bytes, hex, error);
        }
        if (status == LLAVAMED_OK) {
            status = compare(path, hex, want, error);
        }
    }
    free(bytes);
    free(path);
    return status;
}

#define SMALL_FILES 2

/* What a list records of the small files; empty: nothing. Each is read once, however often it is listed. */
struct small_sums {
    char hex[SMALL_FILES][MD5_HEX_BYTES];
};

static const char *const small_names[SMALL_FILES] = {"tokenizer.model", "params.json"};

/* Of the first n_names of them. */
static enum llavamed_status note_small_file(struct small_sums *sums, size_t n_names, const struct checklist_line *line,
                                            const char *directory, struct llavamed_error *error)
{
    for (size_t i = 0; i < n_names; i++) {
        if (strcmp(line->name, small_names[i]) != 0) {
            continue;
        }
        if (sums->hex[i][0] != '\0' && strcasecmp(sums->hex[i], line->hex) != 0) {
            enum llavamed_status status =
                llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: the checklist has two sums of %s (%s and %s)",
                              directory, line->name, sums->hex[i], line->hex);
            llavamed_hint(error, "mend or remove that file, or give --verify none to check no recorded hash");
            return status;
        }
        memcpy(sums->hex[i], line->hex, MD5_HEX_BYTES);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status check_small_files(const struct small_sums *sums, const char *directory,
                                              struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < SMALL_FILES; i++) {
        if (sums->hex[i][0] != '\0') {
            status = check_small_file(small_names[i], sums->hex[i], directory, error);
        }
    }
    return status;
}

static enum llavamed_status use_tokenizer_line(const struct checklist_line *line, const char *directory, void *context,
                                               struct llavamed_error *error)
{
    return note_small_file(context, 1, line, directory, error);
}

enum llavamed_status meta_check_tokenizer(const char *directory, struct llavamed_error *error)
{
    struct small_sums sums = {0};
    enum llavamed_status status = use_checklist(directory, "tokenizer_checklist.chk", use_tokenizer_line, &sums, error);
    return status == LLAVAMED_OK ? check_small_files(&sums, directory, error) : status;
}

/* "consolidated.07.pth" gives 7, other names META_SHARDS_MAX. */
static size_t shard_of_name(const char *name)
{
    static const char before[] = "consolidated.";
    const char *digits = name + sizeof before - 1;
    if (strncmp(name, before, sizeof before - 1) != 0 || digits[0] < '0' || digits[0] > '9' || digits[1] < '0' ||
        digits[1] > '9' || strcmp(digits + 2, ".pth") != 0) {
        return META_SHARDS_MAX;
    }
    return (size_t)(digits[0] - '0') * 10 + (size_t)(digits[1] - '0');
}

struct list_use {
    struct meta *meta;
    struct small_sums sums;
};

static enum llavamed_status use_line(const struct checklist_line *line, const char *directory, void *context,
                                     struct llavamed_error *error)
{
    struct list_use *use = context;
    struct meta *meta = use->meta;
    size_t shard = shard_of_name(line->name);
    if (shard < meta->n_shards) {
        memcpy(meta->md5[shard], line->hex, MD5_HEX_BYTES);
    } else if (shard < META_SHARDS_MAX) {
        enum llavamed_status status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: %s is missing, which checklist.chk lists",
                          directory, line->name);
        llavamed_hint(error, "complete the download of %s", directory);
        return status;
    }
    return note_small_file(&use->sums, SMALL_FILES, line, directory, error);
}

enum llavamed_status meta_read_checklist(struct meta *meta, struct llavamed_error *error)
{
    meta->md5 = calloc(meta->n_shards, sizeof *meta->md5);
    if (meta->md5 == NULL) {
        return llavamed_fail_memory(error, meta->n_shards * sizeof *meta->md5, "recorded hashes");
    }
    struct list_use use = {.meta = meta};
    enum llavamed_status status = use_checklist(meta->directory, "checklist.chk", use_line, &use, error);
    return status == LLAVAMED_OK ? check_small_files(&use.sums, meta->directory, error) : status;
}

/* ---- Shards ---- */

struct shard_check {
    struct meta *meta;
    struct md5_stream *streams[READ_THROUGH_READERS_MAX];
};

/*
 * Opened anew: the open file has given its pages back once and would leave in the cache what is read a second time.
 */
static const char *path_of_recorded(void *state, size_t shard)
{
    const struct shard_check *check = state;
    const struct meta *meta = check->meta;
    return meta->md5[shard][0] == '\0' ? NULL : input_file_path(meta->weights.files[shard].file);
}

static enum llavamed_status begin_shard(void *state, unsigned reader, size_t shard, uint64_t n_bytes,
                                        struct llavamed_error *error)
{
    struct shard_check *check = state;
    (void)shard;
    (void)n_bytes;
    return md5_create(&check->streams[reader], error);
}

static enum llavamed_status feed_shard(void *state, unsigned reader, const void *bytes, size_t n_bytes,
                                       struct llavamed_error *error)
{
    struct shard_check *check = state;
    atomic_fetch_add_explicit(&check->meta->weights.bytes_read, n_bytes, memory_order_relaxed);
    return md5_update(check->streams[reader], bytes, n_bytes, error);
}

static enum llavamed_status end_shard(void *state, unsigned reader, size_t shard, struct llavamed_error *error)
{
    struct shard_check *check = state;
    char hex[MD5_HEX_BYTES];
    enum llavamed_status status = md5_finish(check->streams[reader], hex, error);
    md5_free(check->streams[reader]);
    check->streams[reader] = NULL;
    return status == LLAVAMED_OK ? compare(path_of_recorded(check, shard), hex, check->meta->md5[shard], error)
                                 : status;
}

enum llavamed_status meta_check_shards(struct meta *meta, struct llavamed_error *error)
{
    size_t n_recorded = 0;
    uint64_t n_bytes = 0;
    for (size_t i = 0; meta->md5 != NULL && i < meta->n_shards; i++) {
        if (meta->md5[i][0] != '\0') {
            n_recorded++;
            n_bytes += input_file_bytes(meta->weights.files[i].file);
        }
    }
    if (n_recorded == 0) {
        return LLAVAMED_OK;
    }
    struct shard_check check = {.meta = meta};
    const struct read_through job = {
        .state = &check,
        .n_files = meta->n_shards,
        .n_readers = (unsigned)min_u64(n_recorded, READ_THROUGH_READERS_MAX),
        .chunk_bytes = CHUNK_BYTES,
        .stop_signal = meta->stop_signal,
        .observer = meta->observer,
        .check = "MD5 sums of checklist.chk",
        .total_bytes = n_bytes,
        .path = path_of_recorded,
        .begin = begin_shard,
        .feed = feed_shard,
        .end = end_shard,
    };
    enum llavamed_status status = read_through(&job, error);
    for (size_t i = 0; i < READ_THROUGH_READERS_MAX; i++) {
        md5_free(check.streams[i]);
    }
    return status;
}
