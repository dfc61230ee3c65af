/* SPDX-License-Identifier: Apache-2.0 */
/* Files of tests/data/safetensors: what is good, bad and why is told by tests/tools/make_safetensors_data.py. */
#include "format/safetensors.h"

#include <dirent.h>
#include <time.h>

#include "core/bytes.h"
#include "core/json.h"
#include "unit/harness.h"
#include "unit/read_file.h"

#define DATA "tests/data/safetensors/"

static struct llavamed_error error;

/* Both halves of the reading side over a file in memory. */
static enum llavamed_status read_header(const char *path, const char *bytes, size_t n_bytes,
                                        struct safetensors_header *header)
{
    uint8_t prefix[SAFETENSORS_PREFIX_BYTES] = {0};
    memcpy(prefix, bytes, n_bytes < sizeof prefix ? n_bytes : sizeof prefix);
    uint64_t header_bytes = 0;
    memset(&error, 0, sizeof error);
    enum llavamed_status status = safetensors_header_bytes(path, prefix, n_bytes, &header_bytes, &error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    /* A copy of the header alone, for a sanitizer to see a read behind it. */
    char *json = malloc(header_bytes == 0 ? 1 : (size_t)header_bytes);
    if (json == NULL) {
        return LLAVAMED_STATUS_NO_MEMORY;
    }
    memcpy(json, bytes + SAFETENSORS_PREFIX_BYTES, (size_t)header_bytes);
    status = safetensors_parse(path, json, (size_t)header_bytes, n_bytes, header, &error);
    free(json);
    return status;
}

/* The set as make_safetensors_data.py describes it. */
static char *describe(const struct safetensors_header *header)
{
    struct buffer text;
    buffer_init(&text, 1u << 20);
    buffer_append_text(&text, "");
    for (size_t i = 0; i < header->set.n_tensors; i++) {
        const struct tensor *tensor = &header->set.tensors[i];
        buffer_append_text(&text, "[");
        json_append_ascii(&text, tensor->name);
        buffer_printf(&text, ",\"%s\",[", dtype_name(tensor->dtype));
        for (unsigned j = 0; j < tensor->rank; j++) {
            buffer_printf(&text, "%s%" PRIu64, j == 0 ? "" : ",", tensor->shape[j]);
        }
        buffer_printf(&text, "],%" PRIu64 ",%" PRIu64 "]\n", header->data_offsets[i],
                      header->data_offsets[i] + tensor->n_bytes);
    }
    return buffer_take(&text);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Borrowed pointers to the tensors of a set in an order that has nothing to do with theirs; free() the array. */
static const struct tensor **shuffled(const struct tensor_set *set, uint32_t seed)
{
    const struct tensor **tensors = calloc(set->n_tensors + 1, sizeof *tensors);
    if (tensors == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < set->n_tensors; i++) {
        size_t j = next_random(&seed) % (i + 1);
        tensors[i] = tensors[j];
        tensors[j] = &set->tensors[i];
    }
    return tensors;
}

/* Lays the tensors of a golden out again; every byte before the data must be the golden's. */
static void expect_same_head(const char *bytes, const struct safetensors_header *header, size_t n_bytes, uint32_t seed)
{
    const struct tensor **tensors = shuffled(&header->set, seed);
    struct safetensors_layout layout = {0};
    if (EXPECT_U64(safetensors_layout_build(tensors, header->set.n_tensors, &layout, &error), LLAVAMED_OK)) {
        EXPECT_U64(layout.head_bytes, header->data_start);
        EXPECT_U64(layout.file_bytes, n_bytes);
        EXPECT_U64(layout.n_tensors, header->set.n_tensors);
        if (!EXPECT(layout.head_bytes == header->data_start && memcmp(layout.head, bytes, layout.head_bytes) == 0)) {
            printf("    got  %s\n    want %.*s\n", layout.head + 8, (int)header->data_start - 8, bytes + 8);
        }
        uint64_t end = layout.head_bytes;
        for (size_t i = 0; i < layout.n_tensors; i++) {
            EXPECT_U64(layout.file_offsets[i], end);
            end += tensors[layout.order[i]]->n_bytes;
        }
        EXPECT_U64(end, n_bytes);
    }
    safetensors_layout_deinit(&layout);
    free(tensors);
}

static void check_good(const char *name, const char *format, bool is_golden)
{
    char path[256];
    size_t n_bytes;
    size_t n_text_bytes;
    (void)snprintf(path, sizeof path, DATA "good/%s.txt", name);
    char *text = read_file(path, &n_text_bytes);
    (void)snprintf(path, sizeof path, DATA "good/%s.safetensors", name);
    char *bytes = read_file(path, &n_bytes);
    struct safetensors_header header = {0};
    if (EXPECT_U64(read_header(path, bytes, n_bytes, &header), LLAVAMED_OK)) {
        char *got = describe(&header);
        if (!EXPECT(strlen(got) == n_text_bytes && memcmp(got, text, n_text_bytes) == 0)) {
            printf("    %s\n    got\n%s    want\n%.*s", path, got, (int)n_text_bytes, text);
        }
        free(got);
        EXPECT_U64(header.data_start, 8 + load_le64((const uint8_t *)bytes));
        if (format == NULL) {
            EXPECT(header.metadata_format == NULL);
        } else {
            EXPECT_TEXT(header.metadata_format, format);
        }
        for (uint32_t seed = 1; is_golden && seed <= 5; seed++) {
            expect_same_head(bytes, &header, n_bytes, seed);
        }
    } else {
        printf("    %s\n", error.message);
    }
    safetensors_header_deinit(&header);
    free(bytes);
    free(text);
}

static const char *const goldens[] = {"empty", "one",  "dtypes", "names", "sorting", "zeros", "pad0",
                                      "pad1",  "pad2", "pad3",   "pad4",  "pad5",    "pad6",  "pad7"};
#define N_GOLDENS (sizeof goldens / sizeof goldens[0])

static void goldens_of_the_library_are_read_and_written_alike(void)
{
    for (size_t i = 0; i < N_GOLDENS; i++) {
        check_good(goldens[i], "pt", true);
    }
}

struct odd_file {
    const char *name;
    const char *format;
};

static const struct odd_file odd_files[] = {
    {"odd-no-metadata", NULL}, {"odd-null-metadata", NULL},  {"odd-metadata-last", "np"}, {"odd-white-space", NULL},
    {"odd-not-aligned", NULL}, {"odd-unknown-fields", NULL}, {"odd-order", NULL},         {"odd-zero-bytes", NULL},
    {"odd-small-types", NULL}, {"odd-every-dtype", NULL},    {"odd-escapes", "pt"},       {"odd-rank-16", NULL},
};
#define N_ODD_FILES (sizeof odd_files / sizeof odd_files[0])

static void what_others_write_is_read(void)
{
    for (size_t i = 0; i < N_ODD_FILES; i++) {
        check_good(odd_files[i].name, odd_files[i].format, false);
    }
}

struct bad_file {
    const char *name;
    enum llavamed_status status;
    const char *message; /* part of it */
};

#define BAD(name, status, message)                                                                                     \
    {                                                                                                                  \
        name, LLAVAMED_STATUS_##status, message                                                                        \
    }

static const struct bad_file bad_files[] = {
    BAD("nothing", INPUT_TRUNCATED, "too short for a safetensors file (got 0 bytes, want at least 8)"),
    BAD("too-short", INPUT_TRUNCATED, "too short for a safetensors file (got 7 bytes, want at least 8)"),
    BAD("header-past-end", INPUT_TRUNCATED, "ends inside its safetensors header (got 10 bytes, want at least 208)"),
    BAD("header-one-past-end", INPUT_TRUNCATED, "(got 10 bytes, want at least 11)"),
    BAD("header-above-cap", HEADER_TOO_LARGE, "(got 100000001 bytes, want at most 100000000)"),
    BAD("header-2-63", HEADER_TOO_LARGE, "(got 9223372036854775808 bytes"),
    BAD("header-empty", JSON_INVALID, "byte 0: the text ends"),
    BAD("header-spaces", JSON_INVALID, "byte 8: the text ends"),
    BAD("header-array", JSON_INVALID, "the safetensors header is not a JSON object"),
    BAD("header-text", JSON_INVALID, "the safetensors header is not a JSON object"),
    BAD("header-short-by-one", JSON_INVALID, "no comma or closing bracket"),
    BAD("header-nul-padding", JSON_INVALID, "more text after the value"),
    BAD("header-byte-order-mark", JSON_INVALID, "byte 0: no value starts here"),
    BAD("comment", JSON_INVALID, "no key starts here"),
    BAD("trailing-comma", JSON_INVALID, "no key starts here"),
    BAD("not-utf8", JSON_INVALID, "byte 3: text that is not UTF-8"),
    BAD("raw-surrogate", JSON_INVALID, "byte 3: text that is not UTF-8"),
    BAD("lone-surrogate", JSON_INVALID, "half of a surrogate pair"),
    BAD("lone-low-surrogate", JSON_INVALID, "half of a surrogate pair"),
    BAD("raw-control", JSON_INVALID, "a control character in a string"),
    BAD("too-deep", INPUT_LIMIT, "nested too deeply"),
    BAD("metadata-number", JSON_INVALID, "__metadata__ is not an object"),
    BAD("metadata-array", JSON_INVALID, "__metadata__ is not an object"),
    BAD("metadata-value-number", JSON_INVALID, "the value of 'b' in __metadata__ is not text"),
    BAD("metadata-value-null", JSON_INVALID, "the value of 'b' in __metadata__ is not text"),
    BAD("metadata-twice", JSON_DUPLICATE_KEY, "key '__metadata__' is there twice"),
    BAD("entry-number", JSON_INVALID, ": b: the entry is not an object"),
    BAD("entry-null", JSON_INVALID, ": b: the entry is not an object"),
    BAD("no-dtype", JSON_INVALID, ": a: the entry lacks a field"),
    BAD("no-shape", JSON_INVALID, ": a: the entry lacks a field"),
    BAD("no-offsets", JSON_INVALID, ": a: the entry lacks a field"),
    BAD("field-case", JSON_INVALID, ": a: the entry lacks a field"),
    BAD("field-twice", JSON_DUPLICATE_KEY, "key 'dtype' is there twice"),
    BAD("dtype-unknown", DTYPE_UNKNOWN, ": a: unknown dtype 'F33'"),
    BAD("dtype-case", DTYPE_UNKNOWN, ": a: unknown dtype 'f32'"),
    BAD("dtype-number", JSON_INVALID, ": a: dtype is not text"),
    BAD("shape-number", JSON_INVALID, ": a: shape is not an array of integers"),
    BAD("shape-text", JSON_INVALID, ": a: shape is not an array of integers"),
    BAD("shape-nested", JSON_INVALID, ": a: shape is not an array of integers"),
    BAD("shape-fraction", JSON_INVALID, "not a plain integer"),
    BAD("shape-exponent", JSON_INVALID, "not a plain integer"),
    BAD("shape-negative", JSON_INVALID, "not a plain integer"),
    BAD("shape-leading-zero", JSON_INVALID, "a number that JSON does not allow"),
    BAD("shape-2-64", JSON_INVALID, "not a plain integer"),
    BAD("shape-overflow", SHAPE_INVALID, ": a: the number of elements does not fit 64 bits"),
    BAD("shape-overflow-then-zero", SHAPE_INVALID, ": a: the number of elements does not fit 64 bits"),
    BAD("shape-bits-overflow", SHAPE_INVALID, ": a: the number of elements does not fit 64 bits"),
    BAD("shape-half-byte", SHAPE_INVALID, ": a: 3 elements of F4 do not fill whole bytes"),
    BAD("offsets-one", JSON_INVALID, ": a: data_offsets is not an array of two integers"),
    BAD("offsets-three", JSON_INVALID, ": a: data_offsets is not an array of two integers"),
    BAD("offsets-object", JSON_INVALID, ": a: data_offsets is not an array of two integers"),
    BAD("offsets-negative-zero", JSON_INVALID, "not a plain integer"),
    BAD("offsets-reversed", OFFSET_INVALID, ": a: its data starts behind a hole (got data offset 8, want 0)"),
    BAD("offsets-end-before-begin", OFFSET_INVALID, ": b: its data ends before it begins (got data offsets 4 and 3)"),
    BAD("offsets-not-from-zero", OFFSET_INVALID, ": a: its data starts behind a hole (got data offset 4, want 0)"),
    BAD("hole", OFFSET_INVALID, ": b: its data starts behind a hole (got data offset 6, want 4)"),
    BAD("overlap", OFFSET_INVALID, ": b: its data overlaps that of another tensor (got data offset 3, want 4)"),
    BAD("same-place", OFFSET_INVALID, ": b: its data overlaps that of another tensor (got data offset 0, want 4)"),
    BAD("zero-bytes-inside", OFFSET_INVALID, ": b: its data overlaps that of another tensor (got data offset 2,"),
    BAD("size-too-large", SIZE_MISMATCH, ": a: the data offsets do not fit F32 of shape [1] (got 8 bytes, want 4)"),
    BAD("size-too-small", SIZE_MISMATCH, ": a: the data offsets do not fit F32 of shape [3] (got 8 bytes, want 12)"),
    BAD("size-of-zero", SIZE_MISMATCH, ": a: the data offsets do not fit F32 of shape [0] (got 8 bytes, want 0)"),
    BAD("data-truncated", INPUT_TRUNCATED, "ends before its last tensor does (got 7 bytes of data, want 8)"),
    BAD("data-missing", INPUT_TRUNCATED, "ends before its last tensor does (got 0 bytes of data, want 8)"),
    BAD("data-trailing", INPUT_TRAILING, "bytes behind the last tensor (got 9 bytes of data, want 8)"),
    BAD("strict-name-twice", JSON_DUPLICATE_KEY, "key 'a' is there twice"),
    BAD("strict-name-twice-escaped", JSON_DUPLICATE_KEY, "key 'a' is there twice"),
    BAD("strict-metadata-key-twice", JSON_DUPLICATE_KEY, "key 'a' is there twice"),
    BAD("strict-unknown-field-twice", JSON_DUPLICATE_KEY, "key 'x' is there twice"),
    BAD("strict-unknown-field-fraction", JSON_INVALID, "not a plain integer"),
    BAD("strict-name-empty", TENSOR_NAME, "a tensor has an empty name"),
    BAD("strict-name-nul", JSON_INVALID, "\\u0000 is not allowed in text"),
    BAD("strict-name-long", TENSOR_NAME, "too long (got 1025 bytes, want at most 1024)"),
    BAD("strict-rank-17", SHAPE_INVALID, ": a: too many dimensions (got 17, want at most 16)"),
    BAD("strict-dimension-2-53", JSON_INVALID, "not a plain integer"),
    BAD("strict-depth", INPUT_LIMIT, "nested too deeply"),
    BAD("strict-entry-array", JSON_INVALID, ": a: the entry is not an object"),
    BAD("strict-dtype-object", JSON_INVALID, ": a: dtype is not text"),
};

static size_t count_files(const char *folder, const char *suffix)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const char *dot = strrchr(entry->d_name, '.');
        n += dot != NULL && strcmp(dot, suffix) == 0 ? 1 : 0;
    }
    (void)closedir(dir);
    return n;
}

/* No file lies there that no test looks at. */
static void every_file_is_tested(void)
{
    EXPECT_U64(count_files(DATA "bad", ".safetensors"), sizeof bad_files / sizeof bad_files[0]);
    EXPECT_U64(count_files(DATA "good", ".safetensors"), N_GOLDENS + N_ODD_FILES);
}

static void bad_files_are_refused_with_their_reason(void)
{
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        const struct bad_file *bad = &bad_files[i];
        char path[256];
        size_t n_bytes;
        (void)snprintf(path, sizeof path, DATA "bad/%s.safetensors", bad->name);
        char *bytes = read_file(path, &n_bytes);
        struct safetensors_header header = {0};
        bool right = EXPECT_U64(read_header(path, bytes, n_bytes, &header), bad->status);
        right = EXPECT(strncmp(error.message, path, strlen(path)) == 0) && right;
        right = EXPECT(strstr(error.message, bad->message) != NULL) && right;
        EXPECT(header.data_offsets == NULL && header.set.tensors == NULL && header.metadata_format == NULL);
        if (!right) {
            printf("    %s: got %s: %s\n", bad->name, llavamed_status_name(error.status), error.message);
        }
        safetensors_header_deinit(&header);
        free(bytes);
    }
}

/* A golden cut at each byte, and with each byte of its header made a NUL, is refused. */
static void cut_and_broken_files_are_refused(void)
{
    size_t n_bytes;
    char *bytes = read_file(DATA "good/one.safetensors", &n_bytes);
    struct safetensors_header header = {0};
    size_t n_accepted = 0;
    for (size_t n = 0; n < n_bytes; n++) {
        n_accepted += read_header("cut", bytes, n, &header) == LLAVAMED_OK ? 1 : 0;
    }
    EXPECT_U64(n_accepted, 0);
    size_t data_start = 8 + (size_t)load_le64((const uint8_t *)bytes);
    for (size_t i = 8; i < data_start; i++) {
        char kept = bytes[i];
        bytes[i] = '\0';
        n_accepted += read_header("broken", bytes, n_bytes, &header) == LLAVAMED_OK ? 1 : 0;
        bytes[i] = kept;
    }
    EXPECT_U64(n_accepted, 0);
    EXPECT_U64(read_header("whole", bytes, n_bytes, &header), LLAVAMED_OK);
    safetensors_header_deinit(&header);
    free(bytes);
}

static struct tensor make_tensor(const char *name, enum dtype dtype, uint64_t n_elems)
{
    struct tensor tensor = {0};
    if (tensor_init(&tensor, "test", name, strlen(name), dtype, &n_elems, 1, &error) != LLAVAMED_OK) {
        printf("%s\n", error.message);
        exit(1);
    }
    return tensor;
}

static void what_the_format_cannot_hold_is_refused(void)
{
    struct safetensors_layout layout = {0};
    struct tensor reserved = make_tensor("__metadata__", DTYPE_U8, 1);
    const struct tensor *one[] = {&reserved};
    EXPECT_U64(safetensors_layout_build(one, 1, &layout, &error), LLAVAMED_STATUS_TENSOR_NAME);
    EXPECT(strstr(error.message, "cannot hold a tensor called __metadata__") != NULL);
    tensor_deinit(&reserved);

    struct tensor large = make_tensor("large", DTYPE_U8, 2305843009213693951);
    struct tensor others[4];
    const struct tensor *five[5] = {&large};
    for (size_t i = 0; i < 4; i++) {
        char name[2] = {(char)('m' + (char)i), '\0'};
        others[i] = make_tensor(name, DTYPE_U8, 2305843009213693951);
        five[i + 1] = &others[i];
    }
    EXPECT_U64(safetensors_layout_build(five, 3, &layout, &error), LLAVAMED_OK);
    EXPECT_U64(layout.file_bytes, layout.head_bytes + 3 * UINT64_C(2305843009213693951));
    safetensors_layout_deinit(&layout);
    EXPECT_U64(safetensors_layout_build(five, 5, &layout, &error), LLAVAMED_STATUS_SHAPE_INVALID);
    EXPECT_TEXT(error.message, "o: the tensors of one file do not fit 2^63 bytes");
    EXPECT(layout.order == NULL && layout.head == NULL);
    tensor_deinit(&large);
    for (size_t i = 0; i < 4; i++) {
        tensor_deinit(&others[i]);
    }
}

/* Names of control characters grow six-fold: 16,000 of them and a few plain names make the largest header exactly. */
static void headers_end_at_the_cap(void)
{
    static const char head[] = "{\"__metadata__\":{\"format\":\"pt\"}";
    static const char frame[] = ",\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
    size_t entry_bytes = sizeof frame - 1 + 6 * (size_t)TENSOR_NAME_BYTES_MAX;
    size_t room = SAFETENSORS_HEADER_BYTES_MAX - (sizeof head - 1) - 1;
    size_t n_full = room / entry_bytes - 1;
    size_t left = room - n_full * entry_bytes;
    struct tensor *tensors = calloc(n_full + 12, sizeof *tensors);
    const struct tensor **borrowed = calloc(n_full + 12, sizeof *borrowed);
    if (tensors == NULL || borrowed == NULL) {
        exit(1);
    }
    char name[TENSOR_NAME_BYTES_MAX + 1];
    size_t n = 0;
    for (; n < n_full; n++) {
        memset(name, 1, TENSOR_NAME_BYTES_MAX);
        name[TENSOR_NAME_BYTES_MAX] = '\0';
        for (size_t digit = 0; digit < 15; digit++) {
            name[digit] = n >> digit & 1 ? 2 : 1;
        }
        tensors[n] = make_tensor(name, DTYPE_U8, 0);
    }
    while (left > 0) {
        size_t name_bytes = left - (sizeof frame - 1);
        name_bytes = name_bytes > TENSOR_NAME_BYTES_MAX ? 900 : name_bytes;
        memset(name, 'a' + (char)(n - n_full), name_bytes);
        name[name_bytes] = '\0';
        tensors[n++] = make_tensor(name, DTYPE_U8, 0);
        left -= sizeof frame - 1 + name_bytes;
    }
    for (size_t i = 0; i < n; i++) {
        borrowed[i] = &tensors[i];
    }
    struct safetensors_layout layout = {0};
    if (EXPECT_U64(safetensors_layout_build(borrowed, n, &layout, &error), LLAVAMED_OK)) {
        EXPECT_U64(layout.head_bytes, 8 + (size_t)SAFETENSORS_HEADER_BYTES_MAX);
        struct safetensors_header header = {0};
        EXPECT_U64(read_header("cap", layout.head, layout.head_bytes, &header), LLAVAMED_OK);
        EXPECT_U64(header.set.n_tensors, n);
        safetensors_header_deinit(&header);
    }
    safetensors_layout_deinit(&layout);
    /* One digit more in the shape of one entry: 100,000,001 bytes before padding. */
    tensors[n - 1].shape[0] = 10;
    EXPECT_U64(safetensors_layout_build(borrowed, n, &layout, &error), LLAVAMED_STATUS_HEADER_TOO_LARGE);
    EXPECT(layout.head == NULL);
    for (size_t i = 0; i < n; i++) {
        tensor_deinit(&tensors[i]);
    }
    free(tensors);
    free(borrowed);
}

/* Of the processor, so that a loaded machine does not count. */
static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* This takes 0.2 s or so; the bound, far above, tells a quadratic step (minutes) and bears sanitizers. */
static void many_tensors_are_read_quickly(void)
{
    const size_t n = 100000;
    struct buffer text;
    buffer_init(&text, SAFETENSORS_HEADER_BYTES_MAX);
    for (unsigned i = 0; i < n; i++) {
        unsigned place = (unsigned)((uint64_t)i * 7919 % n);
        buffer_printf(&text, "%s\"model.layers.%u.weight\":{\"dtype\":\"F16\",\"shape\":[2,3],", i == 0 ? "{" : ",",
                      place);
        buffer_printf(&text, "\"data_offsets\":[%u,%u]}", place * 12, place * 12 + 12);
    }
    buffer_append(&text, "}", 1);
    struct safetensors_header header = {0};
    double begin = seconds();
    EXPECT_U64(safetensors_parse("many", text.data, text.n_bytes, 8 + text.n_bytes + 12 * n, &header, &error),
               LLAVAMED_OK);
    double took = seconds() - begin;
    printf("%zu tensors: %zu header bytes read in %.3f s\n", n, text.n_bytes, took);
    EXPECT(took < 5);
    EXPECT_U64(header.set.n_tensors, n);
    EXPECT_TEXT(header.set.tensors[4711].name, "model.layers.4711.weight");
    buffer_deinit(&text);

    const struct tensor **tensors = shuffled(&header.set, 7);
    struct safetensors_layout layout = {0};
    EXPECT_U64(safetensors_layout_build(tensors, n, &layout, &error), LLAVAMED_OK);
    EXPECT_U64(layout.file_bytes, layout.head_bytes + 12 * n);
    safetensors_layout_deinit(&layout);
    free(tensors);
    safetensors_header_deinit(&header);
}

int main(void)
{
    CASE(goldens_of_the_library_are_read_and_written_alike);
    CASE(what_others_write_is_read);
    CASE(every_file_is_tested);
    CASE(bad_files_are_refused_with_their_reason);
    CASE(cut_and_broken_files_are_refused);
    CASE(what_the_format_cannot_hold_is_refused);
    CASE(headers_end_at_the_cap);
    CASE(many_tensors_are_read_quickly);
    return harness_end();
}
