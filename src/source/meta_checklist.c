/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums that Meta's releases came with. checklist.chk is what `md5sum consolidated.*.pth params.json` printed, one
 * line "HEX  NAME" per file; tokenizer_checklist.chk, beside the folders of the sizes, has the line of tokenizer.model.
 * Small files are checked when the source is opened. Shards are read out of order while merging, which MD5 cannot
 * follow: they are read once more, front to back, in source_finish().
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/checked.h"
#include "source/meta_parts.h"

#define CHECKLIST_BYTES_MAX 65536
#define SMALL_FILE_BYTES_MAX 67108864
#define HEX_CHARS (MD5_HEX_BYTES - 1)
/* MD5 is slower than most storage; more readers than this would not help on a shared one. */
#define READERS_MAX 8
#define PIECE_BYTES_MIN 65536

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

/* No such file is fine: nothing is recorded then. */
static enum llavamed_status use_checklist(const char *directory, const char *name, checklist_use *use, void *context,
                                          struct llavamed_error *error)
{
    enum path_kind kind = PATH_MISSING;
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(directory), "a path");
    }
    enum llavamed_status status = path_kind_of(path, &kind, error);
    if (status == LLAVAMED_OK && kind == PATH_FILE) {
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

static enum llavamed_status check_small_file(const struct checklist_line *line, const char *directory,
                                             struct llavamed_error *error)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    char hex[MD5_HEX_BYTES];
    enum path_kind kind = PATH_MISSING;
    char *path = path_join(directory, line->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(directory), "a path");
    }
    enum llavamed_status status = path_kind_of(path, &kind, error);
    if (status == LLAVAMED_OK && kind == PATH_FILE) {
        status = input_file_read_whole(path, SMALL_FILE_BYTES_MAX, &bytes, &n_bytes, error);
        if (status == LLAVAMED_OK) {
            status = md5_of(bytes, n_bytes, hex, error);
        }
        if (status == LLAVAMED_OK) {
            status = compare(path, hex, line->hex, error);
        }
    }
    free(bytes);
    free(path);
    return status;
}

static enum llavamed_status use_tokenizer_line(const struct checklist_line *line, const char *directory, void *context,
                                               struct llavamed_error *error)
{
    (void)context;
    return strcmp(line->name, "tokenizer.model") == 0 ? check_small_file(line, directory, error) : LLAVAMED_OK;
}

enum llavamed_status meta_check_tokenizer(const char *directory, struct llavamed_error *error)
{
    return use_checklist(directory, "tokenizer_checklist.chk", use_tokenizer_line, NULL, error);
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

static enum llavamed_status use_line(const struct checklist_line *line, const char *directory, void *context,
                                     struct llavamed_error *error)
{
    struct meta *meta = context;
    size_t shard = shard_of_name(line->name);
    if (shard < meta->n_shards) {
        memcpy(meta->md5[shard], line->hex, MD5_HEX_BYTES);
    } else if (shard < META_SHARDS_MAX) {
        enum llavamed_status status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: %s is missing, which checklist.chk lists",
                          directory, line->name);
        llavamed_hint(error, "complete the download of %s", directory);
        return status;
    } else if (strcmp(line->name, "params.json") == 0 || strcmp(line->name, "tokenizer.model") == 0) {
        return check_small_file(line, directory, error);
    }
    return LLAVAMED_OK;
}

enum llavamed_status meta_read_checklist(struct meta *meta, struct llavamed_error *error)
{
    meta->md5 = calloc(meta->n_shards, sizeof *meta->md5);
    if (meta->md5 == NULL) {
        return llavamed_fail_memory(error, meta->n_shards * sizeof *meta->md5, "recorded hashes");
    }
    return use_checklist(meta->directory, "checklist.chk", use_line, meta, error);
}

/* ---- Shards ---- */

/* Work that the readers share; each shard is one reader's. */
struct shard_check {
    struct meta *meta;
    atomic_size_t next;
    atomic_bool stop;
    pthread_mutex_t mutex; /* over the two below */
    enum llavamed_status status;
    struct llavamed_error *error; /* the first error's; may be NULL */
};

struct shard_reader {
    struct shard_check *check;
    uint8_t *scratch;
    size_t scratch_bytes;
    pthread_t thread;
};

static enum llavamed_status check_stop(const struct meta *meta, struct llavamed_error *error)
{
    int signal_number = meta->stop_signal == NULL ? 0 : *meta->stop_signal;
    if (signal_number == 0) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
    error->signal_number = signal_number;
    return LLAVAMED_STATUS_INTERRUPTED;
}

static enum llavamed_status check_shard(struct shard_reader *reader, size_t shard, struct llavamed_error *error)
{
    struct meta *meta = reader->check->meta;
    struct input_file *file = meta->weights.files[shard].file;
    struct md5_stream *stream = NULL;
    char hex[MD5_HEX_BYTES];
    uint64_t n_left = input_file_bytes(file);
    enum llavamed_status status = md5_create(&stream, error);
    while (status == LLAVAMED_OK && n_left > 0 && !atomic_load(&reader->check->stop)) {
        size_t n = (size_t)min_u64(n_left, reader->scratch_bytes);
        status = input_file_read(file, input_file_bytes(file) - n_left, reader->scratch, n, error);
        if (status == LLAVAMED_OK) {
            status = md5_update(stream, reader->scratch, n, error);
        }
        if (status == LLAVAMED_OK) {
            status = check_stop(meta, error);
        }
        atomic_fetch_add_explicit(&meta->weights.bytes_read, n, memory_order_relaxed);
        n_left -= n;
    }
    if (status == LLAVAMED_OK && n_left == 0) {
        status = md5_finish(stream, hex, error);
        if (status == LLAVAMED_OK) {
            status = compare(input_file_path(file), hex, meta->md5[shard], error);
        }
    }
    md5_free(stream);
    return status;
}

static void *run_reader(void *argument)
{
    struct shard_reader *reader = argument;
    struct shard_check *check = reader->check;
    size_t shard;
    while (!atomic_load(&check->stop) && (shard = atomic_fetch_add(&check->next, 1)) < check->meta->n_shards) {
        struct llavamed_error error = {0};
        if (check->meta->md5[shard][0] == '\0') {
            continue;
        }
        enum llavamed_status status = check_shard(reader, shard, &error);
        if (status != LLAVAMED_OK) {
            (void)pthread_mutex_lock(&check->mutex);
            if (check->status == LLAVAMED_OK) {
                check->status = status;
                if (check->error != NULL) {
                    *check->error = error;
                }
            }
            (void)pthread_mutex_unlock(&check->mutex);
            atomic_store(&check->stop, true);
        }
    }
    return NULL;
}

enum llavamed_status meta_check_shards(struct meta *meta, uint8_t *scratch, size_t scratch_bytes,
                                       struct llavamed_error *error)
{
    size_t n_recorded = 0;
    for (size_t i = 0; meta->md5 != NULL && i < meta->n_shards; i++) {
        n_recorded += meta->md5[i][0] != '\0';
    }
    if (n_recorded == 0) {
        return LLAVAMED_OK;
    }
    struct shard_check check = {.meta = meta, .status = LLAVAMED_OK, .error = error};
    if (pthread_mutex_init(&check.mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof check.mutex, "a lock");
    }
    size_t n_readers = (size_t)min_u64(min_u64(n_recorded, READERS_MAX), max_u64(1, scratch_bytes / PIECE_BYTES_MIN));
    size_t piece_bytes = scratch_bytes / n_readers;
    struct shard_reader readers[READERS_MAX] = {0};
    size_t n_started = 1;
    for (size_t i = 0; i < n_readers; i++) {
        readers[i] =
            (struct shard_reader){.check = &check, .scratch = scratch + i * piece_bytes, .scratch_bytes = piece_bytes};
    }
    /* This thread is the first reader; where others cannot be had it does their work too. */
    while (n_started < n_readers &&
           pthread_create(&readers[n_started].thread, NULL, run_reader, &readers[n_started]) == 0) {
        n_started++;
    }
    (void)run_reader(&readers[0]);
    for (size_t i = 1; i < n_started; i++) {
        (void)pthread_join(readers[i].thread, NULL);
    }
    (void)pthread_mutex_destroy(&check.mutex);
    return check.status;
}
