/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every form that torch.save can give to weights, against what torch.load says (tests/data/forms, made by
 * tests/tools/make_form_data.py), in pieces of every size; and that views cannot be made into bombs.
 */
#include "io/input_file.h"
#include "source/source.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/forms/"
#define TENSOR_BYTES_MAX 512

struct expected {
    char file[64];
    char name[128];
    char dtype[8];
    char shape[32];
    char hex[2 * TENSOR_BYTES_MAX + 1];
};

static enum llavamed_status open_path(const char *path, bool check_crc, struct source **out,
                                      struct llavamed_error *error)
{
    const struct source_options options = {.role = "delta", .check_crc = check_crc};
    return source_open(path, &options, out, error);
}

static struct source *open_file(const char *name, bool check_crc)
{
    char path[256];
    struct source *source = NULL;
    struct llavamed_error error = {0};
    (void)snprintf(path, sizeof path, DATA "%s", name);
    if (!EXPECT(open_path(path, check_crc, &source, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    return source;
}

static void shape_text(const struct tensor *tensor, char text[64])
{
    size_t used = 0;
    memcpy(text, "-", 2);
    for (unsigned i = 0; i < tensor->rank; i++) {
        used +=
            (size_t)snprintf(text + used, 64 - used, "%s%llu", i == 0 ? "" : "x", (unsigned long long)tensor->shape[i]);
    }
}

static void expect_pieces(struct source *source, size_t index, const struct expected *row)
{
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    size_t elem_bytes = dtype_bytes(tensor->dtype);
    uint8_t bytes[TENSOR_BYTES_MAX];
    char hex[2 * TENSOR_BYTES_MAX + 1] = "-";
    for (uint64_t step = 1; step <= tensor->n_elems + 4; step += step < 8 ? 1 : 5) {
        memset(bytes, 0x5a, sizeof bytes);
        for (uint64_t first = 0; first < tensor->n_elems; first += step) {
            uint64_t n = tensor->n_elems - first < step ? tensor->n_elems - first : step;
            EXPECT(source_read(source, index, first, n, bytes + first * elem_bytes, NULL) == LLAVAMED_OK);
        }
        for (size_t i = 0; i < tensor->n_bytes; i++) {
            (void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
        }
        if (!EXPECT_TEXT(hex, row->hex)) {
            printf("    %s: %s in steps of %llu\n", row->file, row->name, (unsigned long long)step);
            return;
        }
    }
}

static void expect_tensor(struct source *source, const struct expected *row)
{
    size_t index = tensor_set_find(source_tensors(source), row->name);
    char shape[64];
    if (!EXPECT(index != TENSOR_NOT_FOUND)) {
        printf("    %s: no tensor %s\n", row->file, row->name);
        return;
    }
    const struct tensor *tensor = &source_tensors(source)->tensors[index];
    shape_text(tensor, shape);
    EXPECT_TEXT(dtype_name(tensor->dtype), row->dtype);
    EXPECT_TEXT(shape, row->shape);
    if (EXPECT(tensor->n_bytes <= TENSOR_BYTES_MAX)) {
        expect_pieces(source, index, row);
    }
}

static void finish_file(struct source *source, size_t n_rows)
{
    uint8_t scratch[100];
    struct llavamed_error error = {0};
    if (source == NULL) {
        return;
    }
    EXPECT_U64(source_tensors(source)->n_tensors, n_rows);
    EXPECT_TEXT(source_format(source), "torch");
    if (!EXPECT(source_finish(source, scratch, sizeof scratch, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    source_close(source);
}

static void forms_hold_what_torch_says(void)
{
    FILE *table = fopen(DATA "expected.txt", "r");
    struct expected row;
    struct source *source = NULL;
    char current[64] = "";
    size_t n_rows = 0;
    size_t n_files = 0;
    if (!EXPECT(table != NULL)) {
        return;
    }
    while (fscanf(table, "%63s %127s %7s %31s %1024s", row.file, row.name, row.dtype, row.shape, row.hex) == 5) {
        if (strcmp(row.file, current) != 0) {
            finish_file(source, n_rows);
            memcpy(current, row.file, sizeof current);
            source = open_file(current, true);
            n_rows = 0;
            n_files++;
        }
        n_rows++;
        if (source != NULL) {
            expect_tensor(source, &row);
        }
    }
    finish_file(source, n_rows);
    (void)fclose(table);
    EXPECT_U64(n_files, 9);
}

/* The legacy form has no checksum: a warning says so. Nothing is said about a zip that has them all. */
static void missing_checksums_are_told(void)
{
    const struct source_remark *remarks = NULL;
    struct source *source = open_file("views_legacy.pt", true);
    if (source != NULL && EXPECT_U64(source_remarks(source, &remarks), 1)) {
        EXPECT(remarks[0].is_warning);
        EXPECT(strstr(remarks[0].text, "records carry no CRC-32 and cannot be checked") != NULL);
    }
    source_close(source);
    source = open_file("views.pt", true);
    EXPECT(source == NULL || source_remarks(source, &remarks) == 0);
    source_close(source);
}

/* Damages one byte of a file of the forms; finishing tells what was hit, or OK. */
static enum llavamed_status finish_damaged(const char *name, const char *after, size_t distance,
                                           struct llavamed_error *error)
{
    struct temp_dir dir;
    char path[256];
    char *bytes = NULL;
    size_t n_bytes = 0;
    struct source *source = NULL;
    uint8_t scratch[100];
    uint8_t elems[TENSOR_BYTES_MAX];
    temp_dir_make(&dir);
    (void)snprintf(path, sizeof path, DATA "%s", name);
    EXPECT(input_file_read_whole(path, 65536, &bytes, &n_bytes, NULL) == LLAVAMED_OK);
    char *at = memmem(bytes, n_bytes, after, strlen(after));
    if (EXPECT(at != NULL)) {
        at[distance] = (char)(at[distance] ^ 1);
    }
    temp_write(temp_path(&dir, "damaged.pt"), bytes, n_bytes);
    enum llavamed_status status = open_path(temp_path(&dir, "damaged.pt"), true, &source, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < source_tensors(source)->n_tensors; i++) {
        status = source_read(source, i, 0, source_tensors(source)->tensors[i].n_elems, elems, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_finish(source, scratch, sizeof scratch, error);
    }
    source_close(source);
    free(bytes);
    temp_dir_remove(&dir);
    return status;
}

/* The record of a strided view is read again at the end; what only an optimizer uses is not read at all. */
static void damage_is_found_where_it_matters(void)
{
    struct llavamed_error error = {0};
    EXPECT(finish_damaged("views.pt", "views/data/0FB", 150, &error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(strstr(error.message, "record data/0 is damaged") != NULL);
    EXPECT(finish_damaged("views.pt", "views/data/1FB", 80, &error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(strstr(error.message, "tensor bf16") != NULL);
    EXPECT(finish_damaged("training.pt", "training/data/0FB", 80, &error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(finish_damaged("training.pt", "training/data/9FB", 66, &error) == LLAVAMED_OK);
}

static void bombs_are_refused(void)
{
    struct source *source = NULL;
    struct llavamed_error error = {0};
    EXPECT(open_path(DATA "bomb.pt", true, &source, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT_TEXT(error.message, DATA "bomb.pt: tensor bomb repeats its storage too often (got 34359738368 bytes of a "
                                    "storage of 2, want at most 16 times)");
    EXPECT(open_path(DATA "bomb_together.pt", true, &source, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "its tensors repeat their storages too often") != NULL);
    EXPECT(source == NULL);
}

int main(void)
{
    CASE(forms_hold_what_torch_says);
    CASE(missing_checksums_are_told);
    CASE(damage_is_found_where_it_matters);
    CASE(bombs_are_refused);
    return harness_end();
}
