/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file under tests/data/torch, against what real torch says about the good ones (good/expected.tsv) and what the
 * bad ones must give (bad/expected.tsv). tests/tools/make_torch_data.py and make_torch_bad.py make both.
 */
#include "harness.h"

#include <dirent.h>
#include <unistd.h>

#include "format/torch.h"
#include "integrity/crc32.h"
#include "integrity/digest.h"

#define GOOD "tests/data/torch/good/"
#define BAD "tests/data/torch/bad/"
#define LINE_BYTES 4096
#define FIELDS_MAX 10

struct row {
    char text[LINE_BYTES];
    const char *fields[FIELDS_MAX];
    size_t n_fields;
};

/* The next line of a table, cut at its tabs; false at the end. */
static bool next_row(FILE *table, struct row *row)
{
    row->n_fields = 0;
    if (fgets(row->text, sizeof row->text, table) == NULL) {
        return false;
    }
    char *at = row->text;
    at[strcspn(at, "\n")] = '\0';
    while (row->n_fields < FIELDS_MAX) {
        row->fields[row->n_fields++] = at;
        at = strchr(at, '\t');
        if (at == NULL) {
            break;
        }
        *at++ = '\0';
    }
    return true;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

/* "3,4" or "-" against n values. */
static bool list_is(const char *text, const uint64_t *values, unsigned n)
{
    char made[512] = "";
    size_t used = 0;
    for (unsigned i = 0; i < n; i++) {
        used += (size_t)snprintf(made + used, sizeof made - used, "%s%" PRIu64, i == 0 ? "" : ",", values[i]);
    }
    return strcmp(text, n == 0 ? "-" : made) == 0;
}

static enum llavamed_status read_path(const char *path, bool check_crc, struct torch_file *out,
                                      struct llavamed_error *error)
{
    struct input_file *file = NULL;
    enum llavamed_status status = input_file_open(path, &file, error);
    if (status == LLAVAMED_OK) {
        status = torch_file_read(file, check_crc, out, error);
    }
    input_file_close(file);
    return status;
}

static void expect_storage(const char *path, const struct row *row, const struct pickle_storage *storage,
                           const struct torch_record *record)
{
    struct input_file *file = NULL;
    char hex[SHA256_HEX_BYTES] = "";
    uint8_t *bytes = malloc((size_t)record->n_bytes + 1);
    if (!EXPECT(bytes != NULL && input_file_open(path, &file, NULL) == LLAVAMED_OK)) {
        free(bytes);
        return;
    }
    EXPECT_TEXT(dtype_torch_name(storage->dtype), row->fields[1]);
    EXPECT_U64(storage->n_elems, number(row->fields[2]));
    EXPECT_U64(record->has_crc, number(row->fields[3]));
    EXPECT_U64(record->n_bytes, storage->n_elems * dtype_bytes(storage->dtype));
    size_t n = (size_t)record->n_bytes;
    EXPECT(input_file_read(file, record->file_offset, bytes, n, NULL) == LLAVAMED_OK);
    EXPECT(sha256_of(bytes, n, hex, NULL) == LLAVAMED_OK);
    EXPECT_TEXT(hex, row->fields[4]);
    if (record->has_crc) {
        EXPECT_U64(crc32_update(0, bytes, n), record->crc32);
    }
    input_file_close(file);
    free(bytes);
}

static void expect_tensor(const struct row *row, const struct pickle_tensor *view)
{
    EXPECT_TEXT(view->tensor.name, row->fields[1]);
    EXPECT_TEXT(dtype_torch_name(view->tensor.dtype), row->fields[2]);
    EXPECT(list_is(row->fields[3], view->tensor.shape, view->tensor.rank));
    EXPECT(list_is(row->fields[4], view->strides, view->tensor.rank));
    EXPECT_U64(view->offset_elems, number(row->fields[5]));
    EXPECT_U64(view->storage, number(row->fields[6]));
    EXPECT_U64(view->contiguous, number(row->fields[7]));
}

/* Reads one file of the table, whose "file" row is given. */
static void expect_good_file(FILE *table, const struct row *head)
{
    char path[512];
    struct row row;
    struct torch_file read = {0};
    struct llavamed_error error = {0};
    (void)snprintf(path, sizeof path, GOOD "%s", head->fields[1]);
    size_t n_tensors = (size_t)number(head->fields[2]);
    size_t n_storages = (size_t)number(head->fields[3]);
    bool read_it = EXPECT(read_path(path, true, &read, &error) == LLAVAMED_OK);
    if (!read_it) {
        printf("    %s\n", error.message);
    }
    /* torch.load keeps no storage that no tensor uses, and neither do these files have any. */
    bool counts = read_it && EXPECT_U64(read.dict.n_tensors, n_tensors) && EXPECT_U64(read.dict.n_storages, n_storages);
    for (size_t i = 0; i < n_storages && EXPECT(next_row(table, &row)); i++) {
        EXPECT_TEXT(row.fields[0], "storage");
        if (counts) {
            expect_storage(path, &row, &read.dict.storages[i], &read.records[i]);
        }
    }
    for (size_t i = 0; i < n_tensors && EXPECT(next_row(table, &row)); i++) {
        EXPECT_TEXT(row.fields[0], "tensor");
        if (counts) {
            expect_tensor(&row, &read.dict.tensors[i]);
        }
    }
    torch_file_deinit(&read);
}

static void good_files_hold_what_torch_says(void)
{
    FILE *table = fopen(GOOD "expected.tsv", "r");
    size_t n_files = 0;
    struct row row;
    if (!EXPECT(table != NULL)) {
        return;
    }
    while (next_row(table, &row)) {
        if (!EXPECT(row.n_fields == 4 && strcmp(row.fields[0], "file") == 0)) {
            break;
        }
        expect_good_file(table, &row);
        n_files++;
    }
    EXPECT(n_files >= 60);
    (void)fclose(table);
}

/* Files of a folder, the table itself aside. */
static size_t count_files(const char *path)
{
    DIR *folder = opendir(path);
    size_t n = 0;
    if (folder == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        const char *dot = strrchr(entry->d_name, '.');
        n += dot != NULL && strcmp(dot, ".pt") == 0;
    }
    (void)closedir(folder);
    return n;
}

static void bad_files_are_refused_for_the_right_reason(void)
{
    FILE *table = fopen(BAD "expected.tsv", "r");
    size_t n_files = 0;
    struct row row;
    if (!EXPECT(table != NULL)) {
        return;
    }
    while (next_row(table, &row)) {
        char path[512];
        struct llavamed_error error = {0};
        struct torch_file untouched;
        struct torch_file read;
        memset(&untouched, 0x5a, sizeof untouched);
        memcpy(&read, &untouched, sizeof read);
        EXPECT_U64(row.n_fields, 3);
        int path_bytes = snprintf(path, sizeof path, BAD "%s", row.fields[0]);
        enum llavamed_status status = read_path(path, true, &read, &error);
        bool as_expected = EXPECT_TEXT(llavamed_status_name(status), row.fields[1]);
        as_expected = EXPECT(strncmp(error.message, path, (size_t)path_bytes) == 0) && as_expected;
        as_expected = EXPECT(strstr(error.message, row.fields[2]) != NULL) && as_expected;
        as_expected = EXPECT(error.status == status && llavamed_exit_status(&error) != 0) && as_expected;
        as_expected = EXPECT(memcmp(&read, &untouched, sizeof read) == 0) && as_expected;
        if (!as_expected) {
            printf("    %s: got '%s', want '%s'\n", row.fields[0], error.message, row.fields[2]);
        }
        n_files++;
    }
    (void)fclose(table);
    EXPECT(n_files >= 250);
    EXPECT_U64(count_files(BAD), n_files);
}

/* Without CRC checks the two damaged records are read; everything else about them is right. */
static void crc_checks_can_be_left_out(void)
{
    struct torch_file read = {0};
    struct llavamed_error error = {0};
    EXPECT(read_path(BAD "zip_crc_pickle.pt", false, &read, &error) == LLAVAMED_OK);
    EXPECT_U64(read.dict.n_tensors, 1);
    torch_file_deinit(&read);
    EXPECT(read_path(BAD "zip_crc_pickle.pt", true, &read, &error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(error.hint[0] != '\0');
}

/* Nobody can be led to run code by our hint, and the reason is said. */
static void refused_globals_explain_themselves(void)
{
    struct torch_file read = {0};
    struct llavamed_error error = {0};
    EXPECT(read_path(BAD "pickle_global_os_system.pt", true, &read, &error) == LLAVAMED_STATUS_PICKLE_GLOBAL);
    EXPECT_TEXT(error.message, BAD "pickle_global_os_system.pt: data.pkl names os.system, which is not part of a state "
                                   "dict; nothing was executed");
    EXPECT(strstr(error.hint, "not plain weights") != NULL);
}

static void every_truncation_is_refused(void)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    char path[] = "/tmp/llavamed-test-XXXXXX";
    int fd = mkstemp(path);
    if (!EXPECT(fd >= 0) ||
        !EXPECT(input_file_read_whole(GOOD "1.13/scalar0d.pt", 65536, &bytes, &n_bytes, NULL) == LLAVAMED_OK)) {
        return;
    }
    for (size_t n = 0; n < n_bytes; n++) {
        struct torch_file read = {0};
        struct llavamed_error error = {0};
        FILE *file = fopen(path, "wb");
        if (!EXPECT(file != NULL && fwrite(bytes, 1, n, file) == n && fclose(file) == 0)) {
            break;
        }
        enum llavamed_status status = read_path(path, true, &read, &error);
        EXPECT(status == LLAVAMED_STATUS_INPUT_TRUNCATED || (n < 4 && status == LLAVAMED_STATUS_TORCH_INVALID));
    }
    (void)close(fd);
    (void)remove(path);
    free(bytes);
}

int main(void)
{
    CASE(good_files_hold_what_torch_says);
    CASE(bad_files_are_refused_for_the_right_reason);
    CASE(crc_checks_can_be_left_out);
    CASE(refused_globals_explain_themselves);
    CASE(every_truncation_is_refused);
    return harness_end();
}
