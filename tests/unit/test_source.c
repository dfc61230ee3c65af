/* SPDX-License-Identifier: Apache-2.0 */
/* Elements and checksums of sources that torch and safetensors wrote; expected.txt is what they hold in Python. */
#include "source/source.h"

#include <pthread.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/source/"
#define SCRATCH_BYTES 7

static struct source *open_source(const char *path, bool check_crc)
{
    const struct source_options options = {.role = "base", .check_crc = check_crc};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    if (!EXPECT(source_open(path, &options, &source, &error) == LLAVAMED_OK)) {
        printf("%s\n", error.message);
    }
    return source;
}

static enum llavamed_status open_fails(const char *path, struct llavamed_error *error)
{
    const struct source_options options = {.role = "base", .check_crc = true};
    struct source *source = NULL;
    enum llavamed_status status = source_open(path, &options, &source, error);
    EXPECT(source == NULL);
    source_close(source);
    return status;
}

static enum llavamed_status finish(struct source *source, struct llavamed_error *error)
{
    uint8_t scratch[SCRATCH_BYTES];
    return source_finish(source, scratch, sizeof scratch, error);
}

/* ---- Against expected.txt ---- */

struct expected {
    char set[32];
    char name[128];
    char dtype[8];
    char shape[32];
    char hex[1024];
};

/* The next line of expected.txt that is about `set`. */
static bool next_expected(FILE *file, const char *set, struct expected *row)
{
    while (fscanf(file, "%31s %127s %7s %31s %1023s", row->set, row->name, row->dtype, row->shape, row->hex) == 5) {
        if (strcmp(row->set, set) == 0) {
            return true;
        }
    }
    return false;
}

static void shape_text(const struct tensor *tensor, char text[64])
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < tensor->rank; i++) {
        used +=
            (size_t)snprintf(text + used, 64 - used, "%s%llu", i == 0 ? "" : "x", (unsigned long long)tensor->shape[i]);
    }
    if (tensor->rank == 0) {
        memcpy(text, "-", 2);
    }
}

/* Reads a whole tensor in pieces of `step` elements, the last piece first. */
static void read_tensor(struct source *source, size_t index, uint64_t step, uint8_t *bytes)
{
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    size_t elem_bytes = dtype_bytes(tensor->dtype);
    uint64_t n_steps = (tensor->n_elems + step - 1) / step;
    for (uint64_t i = n_steps; i > 0; i--) {
        uint64_t first = (i - 1) * step;
        uint64_t n = tensor->n_elems - first < step ? tensor->n_elems - first : step;
        EXPECT(source_read(source, index, first, n, bytes + first * elem_bytes, NULL) == LLAVAMED_OK);
    }
}

static void expect_tensor(struct source *source, const struct expected *row, uint64_t step)
{
    size_t index = tensor_set_find(source_tensors(source), row->name);
    if (!EXPECT(index != TENSOR_NOT_FOUND)) {
        return;
    }
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    char shape[64];
    shape_text(tensor, shape);
    EXPECT_TEXT(dtype_name(tensor->dtype), row->dtype);
    EXPECT_TEXT(shape, row->shape);
    uint8_t bytes[512];
    char hex[1025] = "-";
    if (!EXPECT(tensor->n_bytes <= sizeof bytes)) {
        return;
    }
    read_tensor(source, index, step, bytes);
    for (size_t i = 0; i < tensor->n_bytes; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    }
    EXPECT_TEXT(hex, row->hex);
}

/* Opens a set and compares all of it, then lets it finish. */
static void expect_set(const char *name, const char *format, uint64_t step)
{
    FILE *file = fopen(DATA "expected.txt", "r");
    char path[256];
    (void)snprintf(path, sizeof path, DATA "%s", name);
    struct source *source = open_source(path, true);
    if (EXPECT(file != NULL) && source != NULL) {
        struct expected row;
        size_t n = 0;
        while (next_expected(file, name, &row)) {
            expect_tensor(source, &row, step);
            n++;
        }
        EXPECT(n > 0);
        EXPECT_U64(source_tensors(source)->n_tensors, n);
        EXPECT_TEXT(source_format(source), format);
        EXPECT_TEXT(source_spec(source), path);
        struct llavamed_error error = {0};
        EXPECT(finish(source, &error) == LLAVAMED_OK);
        EXPECT_TEXT(error.message, "");
    }
    source_close(source);
    if (file != NULL) {
        (void)fclose(file);
    }
}

static void files_and_directories_as_the_libraries_read_them(void)
{
    static const struct {
        const char *name, *format;
    } rows[] = {
        {"safetensors-sharded", "safetensors"}, {"torch-sharded", "torch"}, {"single.bin", "torch"},
        {"single.safetensors", "safetensors"},  {"tied.bin", "torch"},      {"views.bin", "torch"},
        {"without_crc.bin", "torch"},           {"strided.bin", "torch"},       {"legacy.pt", "torch"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (uint64_t step = 1; step <= 64; step *= 3) {
            expect_set(rows[i].name, rows[i].format, step);
        }
    }
}

/* ---- What a source tells of itself ---- */

static void files_of_a_sharded_set(void)
{
    struct source *source = open_source(DATA "torch-sharded", true);
    const struct source_file *files = NULL;
    size_t n = source_files(source, &files);
    EXPECT_U64(n, 3);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "pytorch_model-%05zu-of-00003.bin", i + 1);
        EXPECT_TEXT(files[i].name, name);
        struct stat info;
        EXPECT(stat(source_file_path(source, i), &info) == 0);
        EXPECT_U64(files[i].n_bytes, info.st_size);
    }
    const struct source_remark *remarks = NULL;
    EXPECT_U64(source_remarks(source, &remarks), 0);
    source_close(source);
}

/* Where each tensor lies, by the index that is beside the files. */
static void files_of_tensors(void)
{
    static const struct {
        const char *path;
        enum source_kind kind;
        const char *index;
        uint64_t total_bytes;
        size_t first; /* file of model.embed_tokens.weight, and */
        size_t last;  /* of lm_head.weight */
    } rows[] = {
        {DATA "torch-sharded", SOURCE_DIRECTORY, "pytorch_model.bin.index.json", 1, 0, 2},
        {DATA "safetensors-sharded", SOURCE_DIRECTORY, "model.safetensors.index.json", 1, 0, 2},
        {DATA "single.bin", SOURCE_FILE, NULL, 0, 0, 0},
        {"tests/data/meta/two", SOURCE_META, NULL, 0, SOURCE_FILES_ALL, SOURCE_FILES_ALL},
        {"tests/data/meta/one", SOURCE_META, NULL, 0, 0, 0},
        {"tests/data/cli_archives/delta-stored.zip", SOURCE_ARCHIVE, "pytorch_model.bin.index.json", 4240, 1, 2},
        {"tests/data/cli_archives/delta-deflated.zip", SOURCE_ARCHIVE, "pytorch_model.bin.index.json", 4240, 1, 2},
        {"tests/data/cli_archives/base-deflated.zip", SOURCE_ARCHIVE, "model.safetensors.index.json", 3936, 1, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct source *source = open_source(rows[i].path, true);
        if (source == NULL) {
            continue;
        }
        const struct tensor_set *set = source_tensors(source);
        EXPECT_U64(source_kind_of(source), rows[i].kind);
        EXPECT(!source_in_hub_cache(source));
        const struct source_index *index = source_index_of(source);
        if (rows[i].index == NULL) {
            EXPECT(index == NULL);
        } else if (EXPECT(index != NULL)) {
            EXPECT_TEXT(index->name, rows[i].index);
            EXPECT(index->has_total);
            EXPECT_U64(index->total_bytes, rows[i].total_bytes);
        }
        EXPECT_U64(source_file_of(source, tensor_set_find(set, "model.embed_tokens.weight")), rows[i].first);
        EXPECT_U64(source_file_of(source, tensor_set_find(set, "lm_head.weight")), rows[i].last);
        source_close(source);
    }
}

static void small_files(void)
{
    struct source *source = open_source(DATA "safetensors-sharded", true);
    const struct source_small_file *files = NULL;
    static const char *const wanted[] = {"README.md", "config.json", "tokenizer_config.json"};
    if (EXPECT(source_small_files(source, &files) == 3)) {
        for (size_t i = 0; i < 3; i++) {
            EXPECT_TEXT(files[i].name, wanted[i]);
            struct stat info;
            EXPECT(stat(files[i].path, &info) == 0);
            EXPECT_U64(files[i].n_bytes, info.st_size);
        }
    }
    source_close(source);
    source = open_source(DATA "single.bin", true);
    EXPECT_U64(source_small_files(source, &files), 0);
    source_close(source);
}

static void absent_crc_is_a_warning_where_it_would_be_checked(void)
{
    const struct source_remark *remarks = NULL;
    struct source *source = open_source(DATA "without_crc.bin", true);
    if (EXPECT(source_remarks(source, &remarks) == 1)) {
        EXPECT(remarks[0].is_warning);
        EXPECT_TEXT(remarks[0].text, "base: without_crc.bin: 1 of 1 records carry no CRC-32 and cannot be checked");
    }
    EXPECT(finish(source, NULL) == LLAVAMED_OK);
    EXPECT_U64(source_bytes_read(source), 0);
    source_close(source);
    source = open_source(DATA "without_crc.bin", false);
    EXPECT_U64(source_remarks(source, &remarks), 0);
    source_close(source);
}

/* ---- CRC-32 and changes ---- */

struct damage {
    struct temp_dir dir;
    char *bytes;
    size_t n_bytes;
    const char *path;
};

/* A copy of a file of the data in a directory of its own. */
static void copy_open(struct damage *copy, const char *name)
{
    char from[256];
    (void)snprintf(from, sizeof from, DATA "%s", name);
    copy->bytes = temp_read(from, &copy->n_bytes);
    temp_dir_require(copy->bytes != NULL, from);
    temp_dir_make(&copy->dir);
    copy->path = temp_path(&copy->dir, "%s", name);
}

static void copy_close(struct damage *copy)
{
    temp_dir_remove(&copy->dir);
    free(copy->bytes);
}

static size_t find_bytes(const struct damage *copy, const void *wanted, size_t n_bytes)
{
    const char *at = memmem(copy->bytes, copy->n_bytes, wanted, n_bytes);
    temp_dir_require(at != NULL, "the bytes to damage");
    return (size_t)(at - copy->bytes);
}

enum how_much { READ_NOTHING, READ_ALL, READ_TWICE };

/* Reads as told and finishes; returns what that gave. */
static enum llavamed_status run_through(const char *path, bool check_crc, enum how_much how_much, uint64_t *bytes_read,
                                        struct llavamed_error *error)
{
    struct source *source = open_source(path, check_crc);
    if (source == NULL) {
        return LLAVAMED_STATUS_INTERNAL;
    }
    uint8_t bytes[512];
    for (int round = 0; round < (int)how_much; round++) {
        for (size_t i = 0; i < source_tensors(source)->n_tensors; i++) {
            read_tensor(source, i, 5, bytes);
        }
    }
    enum llavamed_status status = finish(source, error);
    *bytes_read = source_bytes_read(source);
    source_close(source);
    return status;
}

/* views.bin holds 0.0, 1.0 ... 23.0 in one record, of which its tensors are views. */
static void damage_is_found_however_much_was_read(void)
{
    static const float numbers[] = {0.0f, 5.0f, 23.0f}; /* in no tensor, in `middle`, in `end` */
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct damage copy;
        copy_open(&copy, "views.bin");
        const float wanted[2] = {numbers[i], i == 2 ? 0.0f : numbers[i] + 1};
        copy.bytes[find_bytes(&copy, wanted, i == 2 ? sizeof wanted[0] : sizeof wanted)] ^= 1;
        temp_write(copy.path, copy.bytes, copy.n_bytes);
        for (int how_much = READ_NOTHING; how_much <= READ_TWICE; how_much++) {
            struct llavamed_error error = {0};
            uint64_t bytes_read;
            EXPECT(run_through(copy.path, true, (enum how_much)how_much, &bytes_read, &error) ==
                   LLAVAMED_STATUS_CRC_MISMATCH);
            EXPECT(strncmp(error.message, copy.path, strlen(copy.path)) == 0);
            EXPECT(strstr(error.message, ": record data/0 is damaged: its CRC-32 differs (got ") != NULL);
            EXPECT(strstr(error.message, "; tensor middle)") != NULL);
            EXPECT(run_through(copy.path, false, (enum how_much)how_much, &bytes_read, &error) == LLAVAMED_OK);
        }
        copy_close(&copy);
    }
}

/* How much finish() reads: nothing after a complete read, the rest after none, all again after overlaps. */
static void nothing_is_read_without_need(void)
{
    uint64_t bytes_read = 0;
    struct llavamed_error error = {0};
    EXPECT(run_through(DATA "single.bin", true, READ_ALL, &bytes_read, &error) == LLAVAMED_OK);
    uint64_t all = 2 * 20 * 2 + 16 * 2 + 2 * 4 + 12 * 2 + 4 * 8 + 3 * 8 + 3 + 4;
    EXPECT_U64(bytes_read, all);
    EXPECT(run_through(DATA "single.bin", true, READ_NOTHING, &bytes_read, &error) == LLAVAMED_OK);
    EXPECT_U64(bytes_read, all);
    EXPECT(run_through(DATA "single.bin", true, READ_TWICE, &bytes_read, &error) == LLAVAMED_OK);
    EXPECT_U64(bytes_read, 3 * all);
    EXPECT(run_through(DATA "single.bin", false, READ_NOTHING, &bytes_read, &error) == LLAVAMED_OK);
    EXPECT_U64(bytes_read, 0);
    EXPECT(run_through(DATA "single.safetensors", true, READ_NOTHING, &bytes_read, &error) == LLAVAMED_OK);
    EXPECT_U64(bytes_read, 0);
    /* Tied weights: one record of 12 bytes read twice, then once more. */
    EXPECT(run_through(DATA "tied.bin", true, READ_ALL, &bytes_read, &error) == LLAVAMED_OK);
    EXPECT_U64(bytes_read, 36);
}

/* A look leaves no trace but the bytes read: no checksum is noted, and no record is read twice for it. */
static void a_look_before_the_work(void)
{
    static const char *const files[] = {DATA "single.bin", DATA "single.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct source *source = open_source(files[i], true);
        uint8_t looked[512];
        uint8_t bytes[512];
        uint64_t n_looked = 0;
        const struct tensor_set *set = source_tensors(source);
        for (size_t k = 0; k < set->n_tensors; k++) {
            const struct tensor *tensor = &set->tensors[k];
            size_t element_bytes = dtype_bytes(tensor->dtype);
            read_tensor(source, k, 5, bytes);
            for (int twice = 0; twice < 2 && tensor->n_elems > 1; twice++) {
                EXPECT(source_peek(source, k, 1, tensor->n_elems - 1, looked, NULL) == LLAVAMED_OK);
                EXPECT(memcmp(looked, bytes + element_bytes, tensor->n_bytes - element_bytes) == 0);
                n_looked += tensor->n_bytes - element_bytes;
            }
        }
        uint64_t before = source_bytes_read(source);
        EXPECT(n_looked > 0 && before > n_looked);
        EXPECT(finish(source, NULL) == LLAVAMED_OK);
        EXPECT_U64(source_bytes_read(source), before);
        source_close(source);
    }
}

static void a_file_that_changes_is_noticed(void)
{
    struct damage copy;
    copy_open(&copy, "single.safetensors");
    temp_write(copy.path, copy.bytes, copy.n_bytes);
    struct source *source = open_source(copy.path, true);
    temp_write(copy.path, copy.bytes, copy.n_bytes - 1);
    struct llavamed_error error = {0};
    EXPECT(finish(source, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    source_close(source);
    copy_close(&copy);
}

struct reader {
    struct source *source;
    size_t first;
    pthread_t thread;
    bool failed;
};

static void *read_every_fourth(void *argument)
{
    struct reader *reader = argument;
    const struct tensor_set *set = source_tensors(reader->source);
    size_t n = 0;
    for (size_t i = 0; i < set->n_tensors; i++) {
        for (uint64_t elem = 0; elem < set->tensors[i].n_elems; elem++, n++) {
            uint8_t bytes[8];
            if (n % 4 == reader->first && source_read(reader->source, i, elem, 1, bytes, NULL) != LLAVAMED_OK) {
                reader->failed = true;
            }
        }
    }
    return NULL;
}

static void threads_may_read_together(void)
{
    struct source *source = open_source(DATA "single.bin", true);
    struct reader readers[4];
    for (size_t i = 0; i < 4; i++) {
        readers[i] = (struct reader){.source = source, .first = i};
        EXPECT(pthread_create(&readers[i].thread, NULL, read_every_fourth, &readers[i]) == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        EXPECT(pthread_join(readers[i].thread, NULL) == 0);
        EXPECT(!readers[i].failed);
    }
    uint64_t before = source_bytes_read(source);
    EXPECT(finish(source, NULL) == LLAVAMED_OK);
    EXPECT_U64(source_bytes_read(source), before);
    source_close(source);
}

/* ---- What is refused ---- */

static void expect_refused(const char *path, enum llavamed_status status, const char *message)
{
    struct llavamed_error error = {0};
    EXPECT_TEXT(llavamed_status_name(open_fails(path, &error)), llavamed_status_name(status));
    if (!EXPECT(strstr(error.message, message) != NULL)) {
        printf("    got  %s\n", error.message);
    }
    EXPECT(strstr(error.message, path) == error.message);
}

static void recognised_and_refused(void)
{
    expect_refused(DATA "archive.zip", LLAVAMED_STATUS_INPUT_MISSING,
                   ": no weights for the base in this archive (got config.json)");
    expect_refused(DATA "no_tensors.bin", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": the checkpoint holds no tensors");
    expect_refused(DATA "no_tensors.safetensors", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                   ": the checkpoint holds no tensors");
}

static void paths_that_are_not_there(void)
{
    (void)setenv("HF_HUB_CACHE", "/nowhere/hub", 1);
    expect_refused(DATA "nowhere", LLAVAMED_STATUS_INPUT_MISSING, ": no such file or directory (wanted for the base)");
    expect_refused("microsoft/llava-med-7b-delta", LLAVAMED_STATUS_INPUT_MISSING,
                   "no such model in the Hugging Face cache /nowhere/hub");
    expect_refused("org/name@main", LLAVAMED_STATUS_INPUT_MISSING, "no such model in the Hugging Face cache");
    expect_refused("tests/nowhere", LLAVAMED_STATUS_INPUT_MISSING, "no such file or directory (wanted");
    expect_refused("./org/name", LLAVAMED_STATUS_INPUT_MISSING, "no such file or directory (wanted");
    expect_refused("a/b/c", LLAVAMED_STATUS_INPUT_MISSING, "no such file or directory (wanted");
    expect_refused("name", LLAVAMED_STATUS_INPUT_MISSING, "no such file or directory (wanted");
    expect_refused("name/", LLAVAMED_STATUS_INPUT_MISSING, "no such file or directory (wanted");
    expect_refused("/dev/null", LLAVAMED_STATUS_INPUT_UNREADABLE, "not a regular file");
}

static void contents_that_are_not_weights(void)
{
    static const struct {
        const char *name;
        const char *text;
        enum llavamed_status status;
        const char *message;
    } rows[] = {
        {"model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
         LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": a Git LFS pointer, not the weights themselves"},
        {"model.bin", "version https://hawser.github.com/spec/v1\n", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "Git LFS"},
        {"model.bin", "<!DOCTYPE html><html>", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": an HTML page, not weights"},
        {"model.bin", "\xef\xbb\xbf \n <HTML lang=en>", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": an HTML page"},
        {"model.safetensors", "", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": an empty file"},
        {"model.bin", "some text that is no weights", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         ": a text, not weights (it begins 'some text that is no weights')"},
        {"model.bin", "\x01\x02\x03\x04", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         ": neither a safetensors file nor one written by torch.save"},
        {"model.bin.part", "PK\x03\x04", LLAVAMED_STATUS_INPUT_TRUNCATED, ": a download that has not ended"},
        {"x.json", "{\"a\": {}}", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": a JSON text, not weights (it begins '{\"a\""},
        {"short.safetensors", "abc", LLAVAMED_STATUS_INPUT_TRUNCATED, ""},
        {"short.bin", "abc", LLAVAMED_STATUS_INPUT_UNSUPPORTED, ": a text, not weights (it begins 'abc')"},
        {"huge.safetensors", "\x01\x01\x01\x01\x01\x01\x01\x01{}", LLAVAMED_STATUS_HEADER_TOO_LARGE, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct temp_dir dir;
        temp_dir_make(&dir);
        const char *path = temp_path(&dir, "%s", rows[i].name);
        temp_write_text(path, rows[i].text);
        expect_refused(path, rows[i].status, rows[i].message);
        temp_dir_remove(&dir);
    }
}

/* Cut anywhere, neither form is accepted, and in the data of safetensors it is told as truncation. */
static void truncated_files(void)
{
    static const char *const names[] = {"single.safetensors", "single.bin"};
    for (size_t i = 0; i < 2; i++) {
        struct damage copy;
        copy_open(&copy, names[i]);
        for (size_t n_bytes = copy.n_bytes - 1; n_bytes > 8; n_bytes -= n_bytes > 40 ? 29 : 1) {
            temp_write(copy.path, copy.bytes, n_bytes);
            struct llavamed_error error = {0};
            enum llavamed_status status = open_fails(copy.path, &error);
            EXPECT(status != LLAVAMED_OK);
            EXPECT_U64((uint64_t)llavamed_exit_status(&error), 3);
            EXPECT(strstr(error.message, copy.path) == error.message);
            if (i == 0 && n_bytes > 9) {
                EXPECT_TEXT(llavamed_status_name(status), "INPUT_TRUNCATED");
            }
        }
        copy_close(&copy);
    }
}

/* The format is told by content: the extension may lie. */
static void extensions_do_not_matter(void)
{
    static const struct {
        const char *from, *name, *format;
    } rows[] = {{"single.bin", "x.safetensors", "torch"}, {"single.safetensors", "x.bin", "safetensors"}};
    for (size_t i = 0; i < 2; i++) {
        struct damage copy;
        copy_open(&copy, rows[i].from);
        const char *path = temp_path(&copy.dir, "%s", rows[i].name);
        temp_write(path, copy.bytes, copy.n_bytes);
        struct source *source = open_source(path, true);
        if (source != NULL) {
            EXPECT_TEXT(source_format(source), rows[i].format);
        }
        source_close(source);
        copy_close(&copy);
    }
}

int main(void)
{
    CASE(files_and_directories_as_the_libraries_read_them);
    CASE(files_of_a_sharded_set);
    CASE(files_of_tensors);
    CASE(small_files);
    CASE(absent_crc_is_a_warning_where_it_would_be_checked);
    CASE(damage_is_found_however_much_was_read);
    CASE(nothing_is_read_without_need);
    CASE(a_look_before_the_work);
    CASE(a_file_that_changes_is_noticed);
    CASE(threads_may_read_together);
    CASE(recognised_and_refused);
    CASE(paths_that_are_not_there);
    CASE(contents_that_are_not_weights);
    CASE(truncated_files);
    CASE(extensions_do_not_matter);
    return harness_end();
}
