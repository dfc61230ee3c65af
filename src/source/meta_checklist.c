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
#include "core/crew.h"
#include "source/meta_parts.h"

#define CHECKLIST_BYTES_MAX 65536
#define SMALL_FILE_BYTES_MAX 67108864
#define NAME_BYTES 64
#define HEX_CHARS (MD5_HEX_BYTES - 1)
/* MD5 is slower than most storage; more readers than this would not help on a shared one. */
#define READERS_MAX CREW_WORKERS_MAX
#define PIECE_BYTES_MIN 65536

/* ---- The text ---- */

struct checklist_line {
    char hex[MD5_HEX_BYTES];
    char name[NAME_BYTES];
};

/* Longer names than NAME_BYTES and names elsewhere are of no file that is looked for here: given as "". */
static bool parse_line(const char *text, size_t n_bytes, struct checklist_line *line)
{
    if (n_bytes < HEX_CHARS + 3 || strspn(text, "0123456789abcdefABCDEF") != HEX_CHARS || text[HEX_CHARS] != ' ' ||
        (text[HEX_CHARS + 1] != ' ' && text[HEX_CHARS + 1] != '*')) {
        return false;
    }
    size_t name_bytes = n_bytes - HEX_CHARS - 2;
    const char *name = text + HEX_CHARS + 2;
    memcpy(line->hex, text, HEX_CHARS);
    line->hex[HEX_CHARS] = '\0';
    name_bytes = name_bytes < NAME_BYTES && memchr(name, '/', name_bytes) == NULL ? name_bytes : 0;
    memcpy(line->name, name, name_bytes);
    line->name[name_bytes] = '\0';
    return true;
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
    size_t at = 0;
    for (size_t number = 1; status == LLAVAMED_OK && at < n_bytes; number++) {
        const char *newline = memchr(text + at, '\n', n_bytes - at);
        size_t line_bytes = newline == NULL ? n_bytes - at : (size_t)(newline - text) - at;
        /* A list that went through another system may end its lines with CR LF, or itself with an empty line. */
        bool has_return = line_bytes > 0 && text[at + line_bytes - 1] == '\r';
        size_t shown_bytes = line_bytes - (has_return ? 1 : 0);
        struct checklist_line line;
        if (shown_bytes == 0) {
            at += line_bytes + 1;
            continue;
        }
        if (parse_line(text + at, shown_bytes, &line)) {
            status = use(&line, directory, context, error);
        } else {
            status =
                llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: line %zu is not one of md5sum", path, number);
            llavamed_hint(error, "mend or remove that file, or give --verify none to check no recorded hash");
        }
        at += line_bytes + 1;
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
    struct crew crew;
    uint8_t *scratch;    /* cut into equal pieces, one per reader */
    size_t piece_bytes;
    atomic_size_t next;
    atomic_bool stop;
    pthread_mutex_t mutex; /* over the two below */
    enum llavamed_status status;
    struct llavamed_error *error; /* the first error's; may be NULL */
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

static enum llavamed_status read_shard(struct shard_check *check, struct input_file *file, uint8_t *piece,
                                       struct md5_stream *stream, struct llavamed_error *error)
{
    uint64_t n_bytes = input_file_bytes(file);
    enum llavamed_status status = LLAVAMED_OK;
    for (uint64_t offset = 0; status == LLAVAMED_OK && offset < n_bytes && !atomic_load(&check->stop);) {
        size_t n = (size_t)min_u64(n_bytes - offset, check->piece_bytes);
        status = input_file_read(file, offset, piece, n, error);
        if (status == LLAVAMED_OK) {
            status = md5_update(stream, piece, n, error);
        }
        if (status == LLAVAMED_OK) {
            status = check_stop(check->meta, error);
        }
        atomic_fetch_add_explicit(&check->meta->weights.bytes_read, n, memory_order_relaxed);
        atomic_fetch_add(&check->crew.done_bytes, n);
        offset += n;
    }
    return status;
}

/* Opened anew: the open file has given its pages back once and would leave in the cache what is read a second time. */
static enum llavamed_status check_shard(struct shard_check *check, size_t shard, uint8_t *piece,
                                        struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct md5_stream *stream = NULL;
    char hex[MD5_HEX_BYTES];
    enum llavamed_status status =
        input_file_open(input_file_path(check->meta->weights.files[shard].file), &file, error);
    if (status == LLAVAMED_OK) {
        status = md5_create(&stream, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_shard(check, file, piece, stream, error);
    }
    if (status == LLAVAMED_OK && !atomic_load(&check->stop)) {
        status = md5_finish(stream, hex, error);
        if (status == LLAVAMED_OK) {
            status = compare(input_file_path(file), hex, check->meta->md5[shard], error);
        }
    }
    md5_free(stream);
    input_file_close(file);
    return status;
}

static void run_reader(void *context, size_t worker)
{
    struct shard_check *check = context;
    uint8_t *piece = check->scratch + worker * check->piece_bytes;
    size_t shard;
    while (!atomic_load(&check->stop) && (shard = atomic_fetch_add(&check->next, 1)) < check->meta->n_shards) {
        struct llavamed_error error = {0};
        if (check->meta->md5[shard][0] == '\0') {
            continue;
        }
        enum llavamed_status status = check_shard(check, shard, piece, &error);
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
}

enum llavamed_status meta_check_shards(struct meta *meta, uint8_t *scratch, size_t scratch_bytes,
                                       struct llavamed_error *error)
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
    size_t n_readers = (size_t)min_u64(min_u64(n_recorded, READERS_MAX), max_u64(1, scratch_bytes / PIECE_BYTES_MIN));
    struct shard_check check = {
        .meta = meta,
        .scratch = scratch,
        .piece_bytes = scratch_bytes / n_readers,
        .status = LLAVAMED_OK,
        .error = error,
    };
    check.crew = (struct crew){
        .work = run_reader,
        .context = &check,
        .n_workers = n_readers,
        .observer = meta->observer,
        .check = "MD5 sums of checklist.chk",
        .total_bytes = n_bytes,
    };
    if (pthread_mutex_init(&check.mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof check.mutex, "a lock");
    }
    crew_run(&check.crew);
    (void)pthread_mutex_destroy(&check.mutex);
    return check.status;
}
