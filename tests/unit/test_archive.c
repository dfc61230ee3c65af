/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints in archives, read in place: those of tests/data/archive_torch against what torch.load says of them, those
 * of tests/data/cli_archives against the directories that were packed; then in pieces, turned back, kept, damaged.
 */
#include "unit/harness.h"

#include "integrity/digest.h"
#include "source/archive_stream.h"
#include "unit/make_zip.h"
#include "unit/read_file.h"
#include "unit/source_content.h"
#include "unit/temp_dir.h"

#define TORCH "tests/data/archive_torch/"
#define PACKED "tests/data/cli_archives/"

static struct llavamed_error error;
static struct temp_dir dir;

static enum llavamed_status open_path(const char *path, struct source **source)
{
    static const struct source_options options = {.role = "delta", .check_crc = true};
    *source = NULL;
    return source_open(path, &options, source, &error);
}

/* At most `max_reads` reads of at most `most` elements; *ended: that was the end. */
static enum llavamed_status read_stream(struct source *source, size_t stream, uint64_t most, size_t max_reads,
                                        struct content *content, bool *ended)
{
    *ended = false;
    for (size_t i = 0; i < max_reads; i++) {
        struct source_run run = {0};
        enum llavamed_status status = source_stream_next(source, stream, &run, &error);
        if (status != LLAVAMED_OK || run.n_elems == 0) {
            *ended = status == LLAVAMED_OK;
            return status;
        }
        const struct tensor *tensor = &source_tensors(source)->tensors[run.tensor];
        size_t element = dtype_bytes(tensor->dtype);
        uint64_t n = run.n_elems < most ? run.n_elems : most;
        EXPECT(run.first_elem + run.n_elems == tensor->n_elems);
        /* A buffer of its own, so that a sanitizer sees what is written behind it. */
        uint8_t *piece = malloc(n * element);
        temp_dir_require(piece != NULL, "malloc");
        status = source_stream_read(source, stream, n, piece, &error);
        if (status == LLAVAMED_OK) {
            memcpy(content->tensors[run.tensor] + run.first_elem * element, piece, n * element);
        }
        free(piece);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_content(struct source *source, uint64_t most, struct content *content)
{
    static uint8_t scratch[65536];
    const struct tensor_set *set = source_tensors(source);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < source_streams(source); i++) {
        bool ended;
        status = read_stream(source, i, most, SIZE_MAX, content, &ended);
    }
    for (size_t i = 0; status == LLAVAMED_OK && source_streams(source) == 0 && i < set->n_tensors; i++) {
        if (dtype_bytes(set->tensors[i].dtype) > 0) {
            status = source_read(source, i, 0, set->tensors[i].n_elems, content->tensors[i], &error);
        }
    }
    return status == LLAVAMED_OK ? source_finish(source, scratch, sizeof scratch, &error) : status;
}

static bool same_content(const struct source *a, const struct content *x, const struct source *b,
                         const struct content *y)
{
    const struct tensor_set *set = source_tensors(a);
    bool same = set->n_tensors == source_tensors(b)->n_tensors;
    for (size_t i = 0; same && i < set->n_tensors; i++) {
        size_t other = tensor_set_find(source_tensors(b), set->tensors[i].name);
        same = other != TENSOR_NOT_FOUND && tensor_same_shape(&set->tensors[i], &source_tensors(b)->tensors[other]) &&
               set->tensors[i].dtype == source_tensors(b)->tensors[other].dtype &&
               memcmp(x->tensors[i], y->tensors[other], set->tensors[i].n_bytes) == 0;
    }
    return same;
}

/* What an archive holds is what is in another source, whatever the pieces, also after turning back. */
static void expect_same(const char *path, const char *other_path)
{
    struct source *source = NULL;
    struct source *other = NULL;
    struct content content;
    struct content want;
    if (!EXPECT(open_path(path, &source) == LLAVAMED_OK) || !EXPECT(open_path(other_path, &other) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
        source_close(source);
        return;
    }
    content_init(&want, other);
    EXPECT(read_content(other, 1000000, &want) == LLAVAMED_OK);
    source_close(source);
    for (uint64_t most = 1; most <= 40000; most = most < 9 ? most + 1 : most * 7) {
        EXPECT(open_path(path, &source) == LLAVAMED_OK);
        content_init(&content, source);
        if (!EXPECT(read_content(source, most, &content) == LLAVAMED_OK)) {
            printf("    %s: %s\n", path, error.message);
        }
        EXPECT(same_content(source, &content, other, &want));
        content_deinit(&content);
        source_close(source);
    }
    content_deinit(&want);
    source_close(other);
}

static void packed_directories_are_what_they_were(void)
{
    static const char *const packed[] = {"7z", "bsdtar", "deflated", "flat", "macos", "stored", "mixed", "zip64", NULL};
    for (size_t i = 0; packed[i] != NULL; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, PACKED "delta-%s.zip", packed[i]);
        expect_same(path, "tests/data/cli/delta");
    }
    expect_same(PACKED "delta-safetensors-streamed.zip", "tests/data/cli/delta-safetensors");
    expect_same(PACKED "delta-safetensors-stored.zip", "tests/data/cli/delta-safetensors");
    expect_same(PACKED "base-deflated.zip", "tests/data/cli/base-sharded");
}

/* ---- What torch says ---- */

static const char *dtype_text(enum dtype dtype)
{
    return dtype == DTYPE_F16 ? "float16" : dtype == DTYPE_BF16 ? "bfloat16" : dtype == DTYPE_F32 ? "float32" : "other";
}

static void shape_text(const struct tensor *tensor, char *text, size_t n_bytes)
{
    size_t at = (size_t)snprintf(text, n_bytes, "%s", tensor->rank == 0 ? "-" : "");
    for (unsigned i = 0; i < tensor->rank; i++) {
        at += (size_t)snprintf(text + at, n_bytes - at, "%s%" PRIu64, i == 0 ? "" : ",", tensor->shape[i]);
    }
}

/* "\xHH" as Python writes them. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        unsigned code = 0;
        if (from[0] == '\\' && sscanf(from, "\\x%2x", &code) == 1) {
            *to = (char)code;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static bool row_holds(const struct source *source, const struct content *content, char *fields[5])
{
    char hex[SHA256_HEX_BYTES];
    char shape[128];
    unescape(fields[1]);
    size_t index = tensor_set_find(source_tensors(source), fields[1]);
    if (index == TENSOR_NOT_FOUND) {
        return false;
    }
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    shape_text(tensor, shape, sizeof shape);
    return sha256_of(content->tensors[index], tensor->n_bytes, hex, &error) == LLAVAMED_OK &&
           strcmp(dtype_text(tensor->dtype), fields[2]) == 0 && strcmp(shape, fields[3]) == 0 &&
           strcmp(hex, fields[4]) == 0;
}

static void torch_files_hold_what_torch_says(void)
{
    FILE *table = fopen(TORCH "expected.tsv", "r");
    struct source *source = NULL;
    struct content content = {0};
    char line[1024];
    char last[256] = "";
    size_t n_archives = 0;
    temp_dir_require(table != NULL, TORCH "expected.tsv");
    while (fgets(line, sizeof line, table) != NULL) {
        char *fields[5] = {0};
        size_t n = 0;
        char *rest = line;
        for (char *field = strsep(&rest, "\t\n"); field != NULL && n < 5; field = strsep(&rest, "\t\n")) {
            fields[n++] = field;
        }
        if (strcmp(last, fields[0]) != 0) {
            char path[512];
            content_deinit(&content);
            source_close(source);
            (void)snprintf(last, sizeof last, "%s", fields[0]);
            (void)snprintf(path, sizeof path, TORCH "%s", last);
            temp_dir_require(open_path(path, &source) == LLAVAMED_OK, path);
            content_init(&content, source);
            EXPECT(source_streams(source) == 1);
            EXPECT(read_content(source, 1 + n_archives * 100, &content) == LLAVAMED_OK);
            n_archives++;
        }
        EXPECT(row_holds(source, &content, fields));
    }
    EXPECT_U64(n_archives, 16);
    content_deinit(&content);
    source_close(source);
    (void)fclose(table);
}

static void a_late_pickle_is_refused_by_name(void)
{
    struct source *source = NULL;
    EXPECT(open_path(TORCH "pickle_last.zip", &source) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(strstr(error.message, "pickle_last.zip/delta/pytorch_model.bin: its records lie in an order") != NULL);
    EXPECT_TEXT(error.hint, "unpack the archive and give the directory");
}

/* ---- Turning back, keeping ---- */

static void a_stream_turns_back_at_any_place(void)
{
    static const char *const paths[] = {TORCH "nested_big-2.13.zip", TORCH "empty-1.13.zip", TORCH "offsets-1.13.zip",
                                        PACKED "delta-safetensors-streamed.zip"};
    for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
        struct source *source = NULL;
        struct content want;
        struct content content;
        EXPECT(open_path(paths[k], &source) == LLAVAMED_OK);
        content_init(&want, source);
        content_init(&content, source);
        EXPECT(read_content(source, 100, &want) == LLAVAMED_OK);
        uint64_t once = source_bytes_read(source);
        bool ended = false;
        for (size_t n_reads = 0; !ended; n_reads++) {
            bool again;
            EXPECT(source->layout->stream_rewind(source->state, 0, &error) == LLAVAMED_OK);
            EXPECT(read_stream(source, 0, 7, n_reads, &content, &ended) == LLAVAMED_OK);
            EXPECT(source->layout->stream_rewind(source->state, 0, &error) == LLAVAMED_OK);
            content_deinit(&content);
            content_init(&content, source);
            EXPECT(read_stream(source, 0, 50, SIZE_MAX, &content, &again) == LLAVAMED_OK && again);
            EXPECT(same_content(source, &content, source, &want));
        }
        EXPECT(source_bytes_read(source) >= 2 * once);
        content_deinit(&want);
        content_deinit(&content);
        source_close(source);
    }
}

static bool peek_is(struct source *source, size_t tensor, uint64_t first, uint64_t n, const struct content *want)
{
    uint8_t bytes[4096];
    size_t element = dtype_bytes(source_tensors(source)->tensors[tensor].dtype);
    return source_peek(source, tensor, first, n, bytes, &error) == LLAVAMED_OK &&
           memcmp(bytes, want->tensors[tensor] + first * element, n * element) == 0;
}

static void what_is_kept_can_be_peeked_at(void)
{
    static const struct source_run runs[] = {{0, 0, 1}, {6, 5, 187}, {0, 3, 10}, {17, 0, 100}, {24, 7, 1}, {6, 5, 60}};
    const size_t n_runs = sizeof runs / sizeof runs[0];
    struct source *source = NULL;
    struct source *directory = NULL;
    struct content want;
    struct content content;
    EXPECT(open_path(PACKED "delta-deflated.zip", &source) == LLAVAMED_OK);
    EXPECT(open_path("tests/data/cli/delta", &directory) == LLAVAMED_OK);
    content_init(&want, directory);
    EXPECT(read_content(directory, 1000000, &want) == LLAVAMED_OK);
    for (size_t i = 0; i < n_runs; i++) {
        const struct source_run *run = &runs[i];
        EXPECT(source_has(directory, run->tensor, run->first_elem, run->n_elems));
        EXPECT(source_keep(source, run->tensor, run->first_elem, run->n_elems, &error) == LLAVAMED_OK);
        EXPECT(!source_has(source, run->tensor, run->first_elem, run->n_elems));
    }
    EXPECT(source_keep(source, 0, 0, 0, &error) == LLAVAMED_OK);
    EXPECT(source_look_ahead(source, 33554432, &error) == LLAVAMED_OK);
    for (size_t i = 0; i < n_runs; i++) {
        const struct source_run *run = &runs[i];
        EXPECT(source_has(source, run->tensor, run->first_elem, run->n_elems));
        EXPECT(peek_is(source, run->tensor, run->first_elem, run->n_elems, &want));
    }
    EXPECT(!source_has(source, 0, 0, 2) && !source_has(source, 0, 1, 1) && !source_has(source, 3, 0, 1));
    content_init(&content, source);
    EXPECT(read_content(source, 3, &content) == LLAVAMED_OK);
    EXPECT(same_content(source, &content, directory, &want));
    EXPECT(peek_is(source, 6, 5, 60, &want));
    content_deinit(&content);
    content_deinit(&want);
    source_close(source);
    source_close(directory);
}

static void a_look_ahead_can_be_stopped(void)
{
    volatile int stop = 0;
    const struct source_options options = {.role = "delta", .check_crc = true, .stop_signal = &stop};
    struct source *source = NULL;
    EXPECT(source_open(PACKED "delta-deflated.zip", &options, &source, &error) == LLAVAMED_OK);
    EXPECT(source_keep(source, 0, 0, 1, &error) == LLAVAMED_OK);
    stop = 15;
    EXPECT(source_look_ahead(source, 33554432, &error) == LLAVAMED_STATUS_INTERRUPTED && error.signal_number == 15);
    source_close(source);
    EXPECT(source_open(PACKED "delta-deflated.zip", &options, &source, &error) == LLAVAMED_STATUS_INTERRUPTED);
}

/* ---- Damage ---- */

/* Opens and reads all: an error of the input, or what it was. */
static void expect_error_or_same(const char *path, struct source *original, const struct content *want, bool *refused)
{
    struct source *source = NULL;
    struct content content = {0};
    enum llavamed_status status = open_path(path, &source);
    if (status == LLAVAMED_OK) {
        content_init(&content, source);
        status = read_content(source, 11, &content);
        EXPECT(status != LLAVAMED_OK || same_content(source, &content, original, want));
    }
    *refused = status != LLAVAMED_OK;
    int exit_status = status == LLAVAMED_STATUS_CRC_MISMATCH ? 1 : 3;
    if (!EXPECT(!*refused ||
                (llavamed_exit_status(&error) == exit_status && strncmp(error.message, path, strlen(path)) == 0))) {
        printf("    %s\n", error.message);
    }
    content_deinit(&content);
    source_close(source);
}

/* Here is no thread for ThreadSanitizer to watch, and each opening takes it many times as long. */
#ifdef __SANITIZE_THREAD__
enum { DAMAGE_STEP = 17 };
#else
enum { DAMAGE_STEP = 1 };
#endif
static void expect_damage_is_seen(const char *from, const char *name)
{
    size_t n_bytes = 0;
    char *bytes = read_file(from, &n_bytes);
    const char *path = temp_path(&dir, "%s", name);
    struct source *original = NULL;
    struct content want;
    size_t n_tried = 0, n_refused = 0;
    bool refused;
    EXPECT(open_path(from, &original) == LLAVAMED_OK);
    content_init(&want, original);
    EXPECT(read_content(original, 1000, &want) == LLAVAMED_OK);
    for (size_t i = 0; i < n_bytes; i += DAMAGE_STEP) {
        bytes[i] ^= (char)(1u << (i * 5 % 8));
        temp_write(path, bytes, n_bytes);
        expect_error_or_same(path, original, &want, &refused);
        n_tried++;
        n_refused += refused;
        bytes[i] ^= (char)(1u << (i * 5 % 8));
    }
    EXPECT(n_refused > n_tried / 2);
    for (size_t n = 0; n < n_bytes; n += n < 200 || n_bytes - n < 300 ? DAMAGE_STEP : 13 * DAMAGE_STEP) {
        temp_write(path, bytes, n);
        expect_error_or_same(path, original, &want, &refused);
        EXPECT(refused);
    }
    content_deinit(&want);
    source_close(original);
    free(bytes);
}

static void every_damage_is_seen(void)
{
    expect_damage_is_seen(TORCH "empty-1.13.zip", "a.zip");
    expect_damage_is_seen(TORCH "rezip_zip64.zip", "b.zip");
    expect_damage_is_seen(PACKED "delta-safetensors-streamed.zip", "c.zip");
    expect_damage_is_seen(PACKED "delta-safetensors-stored.zip", "d.zip");
}

/* The archive is written over, in place, after its headers were read. */
static void a_file_that_changes_is_refused(void)
{
    static const char *const others[] = {TORCH "empty-1.13.zip", TORCH "large-2.13.zip", TORCH "signatures-2.13.zip"};
    const char *path = temp_path(&dir, "changes.zip");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t n_bytes = 0;
        struct source *source = NULL;
        struct content content;
        char *bytes = read_file(TORCH "signatures-1.13.zip", &n_bytes);
        temp_write(path, bytes, n_bytes);
        free(bytes);
        EXPECT(open_path(path, &source) == LLAVAMED_OK);
        content_init(&content, source);
        bytes = read_file(others[i], &n_bytes);
        temp_write(path, bytes, n_bytes);
        EXPECT(read_content(source, 3, &content) != LLAVAMED_OK);
        content_deinit(&content);
        source_close(source);
        free(bytes);
    }
}

/* The content of the only member of an archive; free() it. */
static char *only_member(const char *path, size_t *n_bytes)
{
    struct input_file *file = NULL;
    struct zip_directory directory = {0};
    char *bytes = NULL;
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    EXPECT(zip_directory_read(file, ZIP_ARCHIVE, &directory, &error) == LLAVAMED_OK);
    *n_bytes = (size_t)directory.entries[0].n_bytes;
    EXPECT(zip_member_read_whole(file, &directory.entries[0], "m", *n_bytes, &bytes, &error) == LLAVAMED_OK);
    zip_directory_deinit(&directory);
    input_file_close(file);
    return bytes;
}

/* The member's bytes become another file's, whose pickle has other storages. Streams of stored members are forced. */
static void a_pickle_that_changes_is_refused(void)
{
    const char *path = temp_path(&dir, "pickle.zip");
    const char *name = "m-00001.bin";
    struct source *source = calloc(1, sizeof *source);
    struct content content;
    struct make_zip zip = {0};
    size_t n_bytes = 0;
    bool ended;
    char *bytes = only_member(TORCH "signatures-1.13.zip", &n_bytes);
    make_zip_add(&zip, name, bytes, n_bytes, 0);
    make_zip_end(&zip);
    temp_write(path, zip.bytes, zip.n_bytes);
    source->spec = strdup(path);
    EXPECT(archive_open(path, NULL, &source->archive, &error) == LLAVAMED_OK);
    EXPECT(archive_stream_open(source, &name, 1, &error) == LLAVAMED_OK);
    content_init(&content, source);
    free(bytes);
    bytes = only_member(TORCH "nested_big-1.13.zip", &n_bytes);
    memcpy(zip.bytes + 30 + strlen(name), bytes, 2000);
    temp_write(path, zip.bytes, zip.n_bytes);
    EXPECT(read_stream(source, 0, 3, SIZE_MAX, &content, &ended) == LLAVAMED_STATUS_INPUT_CHANGED && !ended);
    content_deinit(&content);
    source_close(source);
    free(zip.bytes);
    free(bytes);
}

/* ---- Names and folders ---- */

static enum llavamed_status open_made(struct make_zip *zip, struct source **source)
{
    const char *path = temp_path(&dir, "made.zip");
    make_zip_end(zip);
    temp_write(path, zip->bytes, zip->n_bytes);
    free(zip->bytes);
    *zip = (struct make_zip){0};
    return open_path(path, source);
}

static void names_that_lead_out_are_refused(void)
{
    static const char *const bad[] = {"/a.bin", "../a.bin", "a/../b.bin", "a/..",
                                      "..",     "a\\b.bin", "C:\\a.bin",  "a/b/../../../c"};
    static const char *const good[] = {"..a/b.bin", "a../b.bin", "a/...bin", "a..b/c.bin"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct make_zip zip = {0};
        struct source *source = NULL;
        make_zip_add(&zip, "x/pytorch_model.bin", "12345678", 8, 1);
        make_zip_add(&zip, bad[i], "", 0, 0);
        EXPECT(open_made(&zip, &source) == LLAVAMED_STATUS_INPUT_UNSAFE);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct make_zip zip = {0};
        struct source *source = NULL;
        make_zip_add(&zip, good[i], "12345678", 8, 1);
        EXPECT(open_made(&zip, &source) != LLAVAMED_OK && error.status != LLAVAMED_STATUS_INPUT_UNSAFE);
    }
}

static void the_folder_nearest_to_the_root_is_taken(void)
{
    size_t n_bytes = 0;
    char *model = read_file("tests/data/cli/delta-safetensors/model.safetensors", &n_bytes);
    struct make_zip zip = {0};
    struct source *source = NULL;
    make_zip_add(&zip, "readme.txt", "hello", 5, 1);
    make_zip_add(&zip, "top/__MACOSX/model.safetensors", "x", 1, 0);
    make_zip_add(&zip, "top/checkpoint-100/model.safetensors", "x", 1, 0);
    make_zip_add(&zip, "top/", "", 0, 0);
    make_zip_add(&zip, "top/training_args.bin", "x", 1, 0);
    make_zip_add(&zip, "top/model.safetensors", model, n_bytes, 6);
    make_zip_add(&zip, "top/config.json", "{}", 2, 1);
    make_zip_add(&zip, "top/._model.safetensors", "x", 1, 0);
    make_zip_add(&zip, "__MACOSX/model.safetensors", "x", 1, 0);
    if (EXPECT(open_made(&zip, &source) == LLAVAMED_OK)) {
        const struct source_small_file *files;
        const struct source_file *weights;
        EXPECT_U64(source_small_files(source, &files), 1);
        EXPECT_TEXT(files[0].name, "config.json");
        EXPECT(strstr(files[0].path, "/made.zip/top/config.json") != NULL);
        EXPECT_U64(source_files(source, &weights), 2);
        EXPECT_TEXT(weights[0].name, "made.zip");
        EXPECT(weights[0].archive == NULL);
        EXPECT_TEXT(weights[1].name, "model.safetensors");
        EXPECT(weights[1].archive != NULL && weights[1].n_bytes == n_bytes);
        EXPECT(strstr(source_file_path(source, 1), "/made.zip/top/model.safetensors") != NULL);
        char *bytes = NULL;
        size_t n = 0;
        EXPECT(source_small_file_read(&files[0], 1, &bytes, &n, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
        EXPECT(source_small_file_read(&files[0], 2, &bytes, &n, &error) == LLAVAMED_OK);
        EXPECT_U64(n, 2);
        EXPECT_TEXT(bytes, "{}");
        free(bytes);
    }
    source_close(source);
    free(model);
}

/* Tensors that nobody can use must not shift or stop those behind them. */
static void half_bytes_are_read_over(void)
{
    static const char header[] = "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                                 "\"b\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[4,7]},"
                                 "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[7,10]},"
                                 "\"d\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[10,11]}}";
    uint8_t *file = NULL;
    size_t n_bytes = 0;
    struct make_zip zip = {0};
    struct source *source = NULL;
    struct content content = {0};
    make_zip_fields(&file, &n_bytes, "8", (uint64_t[]){sizeof header - 1});
    make_zip_put(&file, &n_bytes, header, sizeof header - 1);
    make_zip_put(&file, &n_bytes, "0123456789A", 11);
    make_zip_add(&zip, "model.safetensors", file, n_bytes, 6);
    if (EXPECT(open_made(&zip, &source) == LLAVAMED_OK)) {
        content_init(&content, source);
        EXPECT(source_keep(source, 0, 0, 1, &error) == LLAVAMED_OK);
        EXPECT(source_look_ahead(source, 33554432, &error) == LLAVAMED_OK);
        EXPECT(read_content(source, 1, &content) == LLAVAMED_OK);
        EXPECT(memcmp(content.tensors[0], "0123", 4) == 0);
        EXPECT(memcmp(content.tensors[2], "789", 3) == 0);
        content_deinit(&content);
    }
    source_close(source);
    free(file);
}

/* ---- Telling archives from weights files ---- */

static void torch_files_are_no_archives(void)
{
    bool is_archive = true;
    EXPECT(archive_probe("tests/data/torch/good/1.13/mixed.pt", &is_archive, &error) == LLAVAMED_OK && !is_archive);
    EXPECT(archive_probe("tests/data/cli/delta/config.json", &is_archive, &error) == LLAVAMED_OK && !is_archive);
    EXPECT(archive_probe(PACKED "delta-flat.zip", &is_archive, &error) == LLAVAMED_OK && is_archive);
    EXPECT(archive_probe("tests/data/no-such-file", &is_archive, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(!is_archive);
}

/* Stored by another archiver, its records sorted by name: a weights file all the same, whatever it is called. */
static void a_repacked_torch_file_is_a_weights_file(void)
{
    static const char *const names[] = {"repacked.bin", "repacked.zip"};
    size_t n_bytes = 0;
    char *bytes = only_member(TORCH "pickle_last.zip", &n_bytes);
    for (size_t i = 0; i < 2; i++) {
        struct source *source = NULL;
        const char *path = temp_path(&dir, "%s", names[i]);
        temp_write(path, bytes, n_bytes);
        if (!EXPECT(open_path(path, &source) == LLAVAMED_OK)) {
            printf("    %s\n", error.message);
        } else {
            EXPECT_U64(source_streams(source), 0);
            EXPECT_U64(source_tensors(source)->n_tensors, 3);
        }
        source_close(source);
    }
    free(bytes);
}

int main(void)
{
    temp_dir_make(&dir);
    CASE(packed_directories_are_what_they_were);
    CASE(torch_files_hold_what_torch_says);
    CASE(a_late_pickle_is_refused_by_name);
    CASE(a_stream_turns_back_at_any_place);
    CASE(what_is_kept_can_be_peeked_at);
    CASE(a_look_ahead_can_be_stopped);
    CASE(every_damage_is_seen);
    CASE(a_file_that_changes_is_refused);
    CASE(a_pickle_that_changes_is_refused);
    CASE(names_that_lead_out_are_refused);
    CASE(the_folder_nearest_to_the_root_is_taken);
    CASE(half_bytes_are_read_over);
    CASE(torch_files_are_no_archives);
    CASE(a_repacked_torch_file_is_a_weights_file);
    temp_dir_remove(&dir);
    return harness_end();
}
