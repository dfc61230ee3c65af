/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Torch files read from front to back, against the reader of whole files: every file of tests/data/torch, stored and
 * deflated in an archive, in pieces of many sizes. What real torch says is in them is tested in test_archive.c.
 */
#include "unit/harness.h"

#include <dirent.h>

#include "format/torch.h"
#include "format/torch_stream.h"
#include "unit/make_zip.h"
#include "unit/read_file.h"

#define DATA "tests/data/torch/"
#define NAME "m.bin"

static struct llavamed_error error;

/* ---- An archive around the bytes of a file ---- */

struct wrapped {
    struct make_zip zip;
    struct input_file *file;
    struct zip_directory directory;
    struct zip_member *member;
    struct torch_stream *stream;
};

static void wrap(struct wrapped *wrapped, const void *bytes, size_t n_bytes, int level)
{
    *wrapped = (struct wrapped){0};
    make_zip_add(&wrapped->zip, NAME, bytes, n_bytes, level);
    make_zip_end(&wrapped->zip);
    struct input_run run = {0, wrapped->zip.bytes, wrapped->zip.n_bytes};
    if (input_file_open_memory("m.zip", run.n_bytes, &run, 1, &wrapped->file, &error) != LLAVAMED_OK ||
        zip_directory_read(wrapped->file, ZIP_ARCHIVE, &wrapped->directory, &error) != LLAVAMED_OK) {
        printf("    %s\n", error.message);
        abort();
    }
}

static void close_stream(struct wrapped *wrapped)
{
    torch_stream_close(wrapped->stream);
    zip_member_close(wrapped->member);
    wrapped->stream = NULL;
    wrapped->member = NULL;
}

static enum llavamed_status open_stream(struct wrapped *wrapped, bool check_crc)
{
    close_stream(wrapped);
    enum llavamed_status status =
        zip_member_open(wrapped->file, &wrapped->directory.entries[0], NAME, &wrapped->member, &error);
    return status == LLAVAMED_OK ? torch_stream_open(wrapped->member, check_crc, &wrapped->stream, &error) : status;
}

static void unwrap(struct wrapped *wrapped)
{
    close_stream(wrapped);
    zip_directory_deinit(&wrapped->directory);
    input_file_close(wrapped->file);
    free(wrapped->zip.bytes);
}

static uint64_t storage_bytes(const struct torch_stream *stream, size_t storage)
{
    const struct pickle_storage *described = &torch_stream_dict(stream)->storages[storage];
    return described->n_elems * dtype_bytes(described->dtype);
}

/*
 * Reads to the end in pieces of piece_bytes. `content` and `whole`, which may be NULL, are the file and what is known
 * of it: every storage once, with its bytes.
 */
static enum llavamed_status read_all(struct wrapped *wrapped, size_t piece_bytes, const char *content,
                                     const struct torch_file *whole)
{
    static uint8_t piece[65536];
    size_t n_seen = 0;
    bool same = true;
    for (;;) {
        size_t storage;
        enum llavamed_status status = torch_stream_next(wrapped->stream, &storage, &error);
        if (status != LLAVAMED_OK || storage == TORCH_STREAM_END) {
            EXPECT(same);
            EXPECT(status != LLAVAMED_OK || whole == NULL || n_seen == whole->dict.n_storages);
            return status;
        }
        n_seen++;
        uint64_t n_bytes = storage_bytes(wrapped->stream, storage);
        for (uint64_t at = 0; at < n_bytes; at += piece_bytes) {
            size_t n = n_bytes - at < piece_bytes ? (size_t)(n_bytes - at) : piece_bytes;
            status = torch_stream_read(wrapped->stream, piece, n, &error);
            if (status != LLAVAMED_OK) {
                return status;
            }
            same &= whole == NULL || memcmp(piece, content + whole->records[storage].file_offset + at, n) == 0;
        }
    }
}

static bool same_dict(const struct pickle_state_dict *a, const struct pickle_state_dict *b)
{
    bool same = a->n_tensors == b->n_tensors && a->n_storages == b->n_storages;
    for (size_t i = 0; same && i < a->n_tensors; i++) {
        const struct pickle_tensor *x = &a->tensors[i];
        const struct pickle_tensor *y = &b->tensors[i];
        same = strcmp(x->tensor.name, y->tensor.name) == 0 && x->tensor.dtype == y->tensor.dtype &&
               tensor_same_shape(&x->tensor, &y->tensor) && x->storage == y->storage &&
               x->offset_elems == y->offset_elems && x->contiguous == y->contiguous;
    }
    for (size_t i = 0; same && i < a->n_storages; i++) {
        same = strcmp(a->storages[i].key, b->storages[i].key) == 0 && a->storages[i].n_elems == b->storages[i].n_elems;
    }
    return same;
}

static enum llavamed_status read_whole(const char *bytes, size_t n_bytes, struct torch_file *whole)
{
    struct input_file *file = NULL;
    struct input_run run = {0, bytes, n_bytes};
    enum llavamed_status status = input_file_open_memory(NAME, n_bytes, &run, 1, &file, &error);
    if (status == LLAVAMED_OK) {
        status = torch_file_read(file, true, whole, &error);
    }
    input_file_close(file);
    return status;
}

/* ---- Files of torch ---- */

static bool begins_with_pickle(const char *bytes, size_t n_bytes)
{
    size_t name_bytes = n_bytes < 30 ? 0 : (uint8_t)bytes[26] + 256u * (uint8_t)bytes[27];
    return name_bytes > 9 && 30 + name_bytes <= n_bytes && memcmp(bytes + 30 + name_bytes - 9, "/data.pkl", 9) == 0;
}

struct seen {
    size_t n_good;
    size_t n_bad;
    size_t n_late; /* data.pkl is not the first record */
};

static void check_good(const char *path, const char *bytes, size_t n_bytes, const struct torch_file *whole, int level)
{
    struct wrapped wrapped;
    wrap(&wrapped, bytes, n_bytes, level);
    bool first = begins_with_pickle(bytes, n_bytes);
    enum llavamed_status status = open_stream(&wrapped, true);
    if (!first) {
        EXPECT(status == LLAVAMED_STATUS_INPUT_UNSUPPORTED && error.hint[0] != '\0');
    } else if (!EXPECT(status == LLAVAMED_OK)) {
        printf("    %s: %s\n", path, error.message);
    } else {
        EXPECT(same_dict(torch_stream_dict(wrapped.stream), &whole->dict));
        for (size_t piece = 1; piece < 200; piece += piece < 70 ? 1 : 31) {
            EXPECT(open_stream(&wrapped, true) == LLAVAMED_OK);
            if (!EXPECT(read_all(&wrapped, piece, bytes, whole) == LLAVAMED_OK)) {
                printf("    %s in pieces of %zu: %s\n", path, piece, error.message);
                break;
            }
        }
        EXPECT(open_stream(&wrapped, false) == LLAVAMED_OK && read_all(&wrapped, 65536, bytes, whole) == LLAVAMED_OK);
    }
    unwrap(&wrapped);
}

static void check_file(const char *path, struct seen *seen)
{
    size_t n_bytes = 0;
    char *bytes = read_file(path, &n_bytes);
    struct torch_file whole = {0};
    bool good = read_whole(bytes, n_bytes, &whole) == LLAVAMED_OK;
    if (n_bytes < 4 || memcmp(bytes, "PK\3\4", 4) != 0) {
        /* Legacy form, and what is none: others tell by the first bytes. */
    } else if (good) {
        check_good(path, bytes, n_bytes, &whole, 0);
        check_good(path, bytes, n_bytes, &whole, 6);
        seen->n_good++;
        seen->n_late += !begins_with_pickle(bytes, n_bytes);
    } else {
        struct wrapped wrapped;
        wrap(&wrapped, bytes, n_bytes, 6);
        bool refused = open_stream(&wrapped, true) != LLAVAMED_OK || read_all(&wrapped, 7, NULL, NULL) != LLAVAMED_OK;
        int exit_status = error.status == LLAVAMED_STATUS_CRC_MISMATCH ? 1 : 3;
        if (!EXPECT(refused && llavamed_exit_status(&error) == exit_status &&
                    strncmp(error.message, NAME ": ", 7) == 0)) {
            printf("    %s: %s\n", path, error.message);
        }
        seen->n_bad++;
        unwrap(&wrapped);
    }
    torch_file_deinit(&whole);
    free(bytes);
}

static void check_folder(const char *folder, struct seen *seen)
{
    DIR *opened = opendir(folder);
    if (!EXPECT(opened != NULL)) {
        return;
    }
    for (struct dirent *item = readdir(opened); item != NULL; item = readdir(opened)) {
        size_t n = strlen(item->d_name);
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
        if (n > 3 && (strcmp(item->d_name + n - 3, ".pt") == 0 || strcmp(item->d_name + n - 4, ".bin") == 0)) {
            check_file(path, seen);
        }
    }
    (void)closedir(opened);
}

static void reads_what_the_whole_reader_reads(void)
{
    static const char *const folders[] = {"1.13", "2.6", "2.14", "handmade", "rezipped"};
    struct seen seen = {0};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, DATA "good/%s", folders[i]);
        check_folder(path, &seen);
    }
    EXPECT(seen.n_good >= 60 && seen.n_bad == 0);
    EXPECT(seen.n_late >= 1 && seen.n_late <= 5);
}

static void refuses_what_the_whole_reader_refuses(void)
{
    struct seen seen = {0};
    check_folder(DATA "bad", &seen);
    EXPECT(seen.n_bad >= 150 && seen.n_good == 0);
}

/* ---- Damage ---- */

#define SMALL DATA "good/1.13/mixed.pt"

static void a_cut_file_is_refused(void)
{
    size_t n_bytes = 0;
    char *bytes = read_file(SMALL, &n_bytes);
    for (size_t n = 0; n < n_bytes; n++) {
        struct wrapped wrapped;
        wrap(&wrapped, bytes, n, 0);
        EXPECT(open_stream(&wrapped, true) != LLAVAMED_OK || read_all(&wrapped, 100, NULL, NULL) != LLAVAMED_OK);
        unwrap(&wrapped);
    }
    free(bytes);
}

/* The archive's own CRC-32 is made of the changed bytes: only what is inside can tell. */
static void a_changed_byte_is_judged_as_in_a_whole_file(void)
{
    size_t n_bytes = 0;
    char *bytes = read_file(SMALL, &n_bytes);
    size_t n_refused = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        struct wrapped wrapped;
        struct torch_file whole = {0};
        bytes[i] ^= (char)(1u << (i % 8));
        bool good = read_whole(bytes, n_bytes, &whole) == LLAVAMED_OK;
        wrap(&wrapped, bytes, n_bytes, 0);
        bool opened = open_stream(&wrapped, true) == LLAVAMED_OK;
        bool accepted = opened && read_all(&wrapped, 100, NULL, NULL) == LLAVAMED_OK;
        EXPECT(good || !accepted);
        /* Storages have CRC-32s that the reader of whole files leaves to others. */
        EXPECT(!good || accepted || error.status == LLAVAMED_STATUS_CRC_MISMATCH);
        EXPECT(!accepted || same_dict(torch_stream_dict(wrapped.stream), &whole.dict));
        n_refused += !accepted;
        unwrap(&wrapped);
        torch_file_deinit(&whole);
        bytes[i] ^= (char)(1u << (i % 8));
    }
    EXPECT(n_refused > n_bytes / 2 && n_refused < n_bytes);
    free(bytes);
}

/* ---- What torch does not write ---- */

/* One F16 storage of four elements "0" for the tensor "w". */
static const char pickle[] =
    "\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nHalfStorage\n"
    "X\1\0\0\0"
    "0X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85\x89"
    "ccollections\nOrderedDict\n)RtRs.";
#define PICKLE_BYTES (sizeof pickle - 1)

/* Records with their sizes in their headers; before the storage one of `padding` bytes, "m/NAME". */
static struct make_zip make_torch(const char *name, size_t padding)
{
    struct make_zip zip = {0};
    char *zeros = calloc(padding + 1, 1);
    make_zip_add(&zip, "m/data.pkl", pickle, PICKLE_BYTES, 0);
    if (name != NULL) {
        make_zip_add(&zip, name, zeros, padding, 0);
    }
    make_zip_add(&zip, "m/data/0", "01234567", 8, 0);
    make_zip_add(&zip, "m/version", "3\n", 2, 0);
    make_zip_end(&zip);
    free(zeros);
    return zip;
}

static enum llavamed_status stream_made(struct make_zip *zip)
{
    struct wrapped wrapped;
    wrap(&wrapped, zip->bytes, zip->n_bytes, 6);
    enum llavamed_status status = open_stream(&wrapped, true);
    if (status == LLAVAMED_OK) {
        status = read_all(&wrapped, 3, NULL, NULL);
    }
    unwrap(&wrapped);
    free(zip->bytes);
    return status;
}

static void any_other_record_is_read_over(void)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1048577, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct make_zip zip = make_torch("m/unknown", sizes[i]);
        EXPECT(stream_made(&zip) == LLAVAMED_OK);
        zip = make_torch("m/data/1", sizes[i]);
        EXPECT(stream_made(&zip) == LLAVAMED_OK);
    }
}

/* What ends it is found behind any number of bytes that could begin it, wherever one reading ahead ends. */
static void a_record_ends_at_its_descriptor(void)
{
    static const char *const patterns[] = {"P", "PK", "PK\7", "PK\7\10", "PPK\7", "Q"};
    static char content[4200];
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        for (size_t k = 0; k < sizeof content; k++) {
            content[k] = patterns[i][k % strlen(patterns[i])];
        }
        for (size_t n = 0; n <= sizeof content; n += n == 40 ? 3960 : 1) {
            struct make_zip zip = {0};
            make_zip_add(&zip, "m/data.pkl", pickle, PICKLE_BYTES, 0);
            make_zip_add_described(&zip, "m/unknown", content, n);
            make_zip_add_described(&zip, "m/data/0", "01234567", 8);
            make_zip_add(&zip, "m/version", "3\n", 2, 0);
            make_zip_end(&zip);
            EXPECT(stream_made(&zip) == LLAVAMED_OK);
        }
    }
}

static void what_is_kept_ends_at_its_descriptor(void)
{
    static char content[4200];
    memset(content, 'P', sizeof content);
    for (size_t n = 4000; n <= sizeof content; n++) {
        struct make_zip zip = {0};
        make_zip_add_described(&zip, "m/data.pkl", pickle, PICKLE_BYTES);
        make_zip_add_described(&zip, "m/data/0", "01234567", 8);
        make_zip_add_described(&zip, "m/version", content, n);
        make_zip_end(&zip);
        EXPECT(stream_made(&zip) == LLAVAMED_STATUS_INPUT_LIMIT);
        EXPECT((strstr(error.message, "record m/version is too large (got ") != NULL) == (n <= 4096));
    }
}

/* Of a record that goes on for long nothing comes back to the caller, who could look at the signal himself. */
static void a_signal_ends_what_is_read_over(void)
{
    volatile int stop_signal = 0;
    struct make_zip zip = make_torch("m/unknown", 5000000);
    struct wrapped wrapped;
    wrap(&wrapped, zip.bytes, zip.n_bytes, 6);
    EXPECT(open_stream(&wrapped, true) == LLAVAMED_OK);
    zip_member_heed(wrapped.member, &stop_signal);
    stop_signal = 15;
    EXPECT(read_all(&wrapped, 3, NULL, NULL) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_TEXT(error.message, "interrupted by signal 15");
    EXPECT(error.signal_number == 15);
    EXPECT(zip_member_position(wrapped.member) < 5000);
    unwrap(&wrapped);
    free(zip.bytes);
}

static void what_is_looked_into_is_small(void)
{
    struct make_zip zip = make_torch("m/byteorder", 5000);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "record byteorder is too large") != NULL);
}

static void other_orders_and_folders_are_told(void)
{
    struct make_zip zip = make_torch("other/unknown", 4);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_TORCH_INVALID);
    EXPECT(strstr(error.message, "other/unknown is not in the folder") != NULL);
    zip = make_torch("m/data/0", 8);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_ZIP_DUPLICATE);
    zip = (struct make_zip){0};
    make_zip_add(&zip, "m/version", "3\n", 2, 0);
    make_zip_end(&zip);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT_TEXT(error.hint, "unpack the archive and give the directory");
}

#define DAMAGED "the archive is damaged: download or copy it again"

static void a_damaged_record_is_named(void)
{
    struct make_zip zip = {0};
    make_zip_add(&zip, "m/data.pkl", pickle, PICKLE_BYTES, 0);
    make_zip_add(&zip, "m/data/0", "0123456789", 10, 0);
    make_zip_end(&zip);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_TORCH_STORAGE);
    EXPECT(strstr(error.message, NAME ": record data/0 (tensor ") != NULL);
    EXPECT(strstr(error.message, " does not hold its storage (got 10 bytes, want 4 elements of F16)") != NULL);
    EXPECT_TEXT(error.hint, DAMAGED);
    zip = make_torch("m/unknown", 50);
    uint8_t *header = zip.bytes + 30 + strlen("m/data.pkl") + PICKLE_BYTES;
    header[1] ^= 1;
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_ZIP_INVALID);
    EXPECT(strstr(error.message, ", behind record data.pkl") != NULL);
    EXPECT_TEXT(error.hint, DAMAGED);
}

/* Both the archive and the file have a CRC-32 of the bytes; that of the file tells where. */
static void the_record_is_named_before_the_file(void)
{
    struct make_zip zip = make_torch("m/unknown", 50);
    struct wrapped wrapped;
    wrap(&wrapped, zip.bytes, zip.n_bytes, 0);
    uint8_t *name = memmem(wrapped.zip.bytes, wrapped.zip.n_bytes, "m/data/0", 8);
    if (EXPECT(name != NULL)) {
        name[8] ^= 1;
    }
    EXPECT(open_stream(&wrapped, true) == LLAVAMED_OK);
    EXPECT(read_all(&wrapped, 3, NULL, NULL) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(strstr(error.message, NAME ": record data/0 is damaged: its CRC-32 differs") != NULL);
    EXPECT_TEXT(error.hint, DAMAGED);
    unwrap(&wrapped);
    free(zip.bytes);
}

/* A local header may leave its sizes to a zip64 field, and has to have one then. */
static void a_size_must_be_somewhere(void)
{
    struct make_zip zip = make_torch("m/unknown", 50);
    uint8_t *header = zip.bytes + 30 + strlen("m/data.pkl") + PICKLE_BYTES;
    EXPECT(memcmp(header, "PK\3\4", 4) == 0);
    memset(header + 18, 0xff, 8);
    EXPECT(stream_made(&zip) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(strstr(error.message, "the size of record unknown is in the directory alone") != NULL);
}

int main(void)
{
    CASE(reads_what_the_whole_reader_reads);
    CASE(refuses_what_the_whole_reader_refuses);
    CASE(a_cut_file_is_refused);
    CASE(a_changed_byte_is_judged_as_in_a_whole_file);
    CASE(any_other_record_is_read_over);
    CASE(a_record_ends_at_its_descriptor);
    CASE(what_is_kept_ends_at_its_descriptor);
    CASE(a_signal_ends_what_is_read_over);
    CASE(what_is_looked_into_is_small);
    CASE(other_orders_and_folders_are_told);
    CASE(a_damaged_record_is_named);
    CASE(the_record_is_named_before_the_file);
    CASE(a_size_must_be_somewhere);
    return harness_end();
}
