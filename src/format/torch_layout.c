/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First the pickle, whose size all offsets depend on; then the place of every record; then segments on demand. What
 * stands before and behind the storages is a table for each torch.
 */
#include "format/torch_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/pickle.h"
#include "format/torch_serialization_id.h"
#include "format/zip.h"
#include "format/zip_write.h"
#include "integrity/crc32.h"

#define KEY_BYTES_MAX 24
#define FOLDER_BYTES_MAX 255 /* no file system has longer names */
#define SMALL_MAX 6          /* records that are no storage */

/* An entry takes more than 70 bytes: the pickle's limit keeps the number of records below that of the reader. */
_Static_assert(PICKLE_BYTES_MAX / 70 < ZIP_ENTRIES_MAX - SMALL_MAX, "records of an archive");
_Static_assert(ZIP_ENTRIES_MAX <= TORCH_SERIALIZATION_NAMES_MAX, "names of records");
_Static_assert(FOLDER_BYTES_MAX + sizeof "/data/" + KEY_BYTES_MAX <= ZIP_WRITE_NAME_BYTES_MAX, "names of records");
_Static_assert(FOLDER_BYTES_MAX + sizeof "/.data/serialization_id" <= ZIP_WRITE_NAME_BYTES_MAX, "names of records");

/* A record that is no storage. */
struct small_record {
    const char *name;
    const char *text; /* NULL: made for each file */
    size_t n_bytes;   /* 0: of the pickle */
};

struct record_table {
    struct small_record small[SMALL_MAX]; /* those before the storages, then those behind them */
    size_t n_before;
    size_t n_behind;
};

/* .format_version 1: storages in the order of their numbers. .storage_alignment: that of zip_write.c. */
static const struct record_table tables[] = {
    [TORCH_1_13] = {{{"data.pkl", NULL, 0}, {"version", "3\n", 2}}, 1, 1},
    [TORCH_2_13] = {{{"data.pkl", NULL, 0},
                     {".format_version", "1", 1},
                     {".storage_alignment", "64", 2},
                     {"byteorder", "little", 6},
                     {"version", "3\n", 2},
                     {".data/serialization_id", NULL, TORCH_SERIALIZATION_ID_BYTES}},
                    4,
                    2},
};

struct torch_layout_record {
    struct zip_record zip;
    const struct small_record *small; /* NULL: a storage */
    size_t key;                       /* of a storage */
};

const char *torch_layout_folder(const char *path, size_t *n_bytes)
{
    const char *name = path;
    for (const char *p = path; *p != '\0'; p++) {
        if (*p == '/' || *p == '\\') {
            name = p + 1;
        }
    }
    const char *dot = strrchr(name, '.');
    *n_bytes = dot == NULL ? strlen(name) : (size_t)(dot - name);
    return name;
}

/* ---- The records ---- */

/* The next of 0 .. n-1 sorted as decimal text: 0, 1, 10, 100, 101, .. 11, .. 2. */
static size_t next_key(size_t key, size_t n)
{
    if (key > 0 && key <= (n - 1) / 10) {
        return key * 10;
    }
    if (key + 1 >= n) {
        key /= 10;
    }
    key++;
    while (key % 10 == 0 && key > 0) {
        key /= 10;
    }
    return key;
}

static bool is_storage(const struct torch_layout *layout, size_t i)
{
    return i >= layout->n_before && i < layout->n_before + layout->n_stored;
}

/* The full name of record i; returns its length. */
static size_t record_name(const struct torch_layout *layout, size_t i, char name[ZIP_WRITE_NAME_BYTES_MAX])
{
    const struct torch_layout_record *record = &layout->records[i];
    memcpy(name, layout->folder, layout->folder_bytes);
    char *own = name + layout->folder_bytes;
    size_t room = ZIP_WRITE_NAME_BYTES_MAX - layout->folder_bytes;
    int n_bytes = record->small != NULL ? snprintf(own, room, "/%s", record->small->name)
                                        : snprintf(own, room, "/data/%zu", record->key);
    return layout->folder_bytes + (size_t)n_bytes;
}

static uint64_t record_bytes(const struct torch_layout *layout, const struct torch_dict *dict, size_t i)
{
    const struct small_record *small = layout->records[i].small;
    if (small == NULL) {
        return dict->tensors[layout->order[i - layout->n_before]]->n_bytes;
    }
    return small->n_bytes == 0 ? layout->pickle.n_bytes : small->n_bytes;
}

/* The names of all records but the last, which is the one that has this number in it. */
static enum llavamed_status hash_names(struct torch_layout *layout, struct llavamed_error *error)
{
    size_t n = layout->n_records - 1;
    uint64_t *hashes = calloc(n, sizeof *hashes);
    if (hashes == NULL) {
        return llavamed_fail_memory(error, n * sizeof *hashes, "the layout of a shard");
    }
    for (size_t i = 0; i < n; i++) {
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        size_t n_bytes = record_name(layout, i, name);
        size_t skipped = layout->folder_bytes + 1;
        hashes[i] = torch_serialization_hash(name + skipped, n_bytes - skipped);
    }
    enum llavamed_status status = torch_serialization_names(hashes, n, &layout->names, error);
    free(hashes);
    return status;
}

/* Places all records, layout->order and their keys being known, and the directory. */
static bool place_records(const struct torch_dict *dict, struct torch_layout *layout)
{
    uint64_t end = 0;
    uint64_t directory_bytes = 0;
    for (size_t i = 0; i < layout->n_records; i++) {
        struct zip_record *zip = &layout->records[i].zip;
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        size_t name_bytes = record_name(layout, i, name);
        if (!zip_record_place(end, name_bytes, record_bytes(layout, dict, i), zip)) {
            return false;
        }
        end = zip->end_offset;
        directory_bytes += zip_central_bytes(zip);
        if (is_storage(layout, i)) {
            layout->file_offsets[i - layout->n_before] = zip->data_offset;
        }
    }
    layout->directory_offset = end;
    return checked_add_u64(end, directory_bytes + ZIP_WRITE_END_BYTES, &layout->file_bytes) &&
           layout->file_bytes <= INT64_MAX;
}

/* Says what each record is, but not yet where. */
static enum llavamed_status list_records(enum torch_profile profile, struct torch_layout *layout,
                                         struct llavamed_error *error)
{
    const struct record_table *table = &tables[profile];
    size_t n = layout->n_stored;
    layout->n_before = table->n_before;
    layout->n_records = table->n_before + n + table->n_behind;
    layout->order = calloc(n + 1, sizeof *layout->order);
    layout->file_offsets = calloc(n + 1, sizeof *layout->file_offsets);
    layout->records = calloc(layout->n_records, sizeof *layout->records);
    if (layout->order == NULL || layout->file_offsets == NULL || layout->records == NULL) {
        return llavamed_fail_memory(error, layout->n_records * sizeof *layout->records, "the layout of a shard");
    }
    for (size_t i = 0; i < table->n_before + table->n_behind; i++) {
        layout->records[i < table->n_before ? i : i + n].small = &table->small[i];
    }
    size_t key = 0;
    for (size_t i = 0; i < n; i++) {
        layout->records[layout->n_before + i].key = key;
        layout->order[i] = layout->pickle.stored[key];
        key = profile == TORCH_1_13 ? next_key(key, n) : key + 1;
    }
    return profile == TORCH_1_13 ? LLAVAMED_OK : hash_names(layout, error);
}

static enum llavamed_status lay_out_records(enum torch_profile profile, const struct torch_dict *dict,
                                            struct torch_layout *layout, struct llavamed_error *error)
{
    enum llavamed_status status = list_records(profile, layout, error);
    if (status == LLAVAMED_OK && !place_records(dict, layout)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                               "the tensors of one PyTorch file do not fit 2^63 bytes");
    }
    for (size_t i = 0; status == LLAVAMED_OK && i <= layout->n_stored; i++) {
        size_t n_bytes = torch_layout_segment_bytes(layout, i);
        layout->segment_bytes_max = n_bytes > layout->segment_bytes_max ? n_bytes : layout->segment_bytes_max;
    }
    return status;
}

/* From torch 2.6 on Python opens a file whose name is not all ASCII, and torch is told no name. */
static bool is_ascii(const char *text)
{
    while (*text != '\0' && (unsigned char)*text < 0x80) {
        text++;
    }
    return *text == '\0';
}

static enum llavamed_status take_folder(enum torch_profile profile, const char *file_name, struct torch_layout *layout,
                                        struct llavamed_error *error)
{
    bool nameless = profile != TORCH_1_13 && !is_ascii(file_name);
    const char *folder = torch_layout_folder(nameless ? "archive" : file_name, &layout->folder_bytes);
    if (layout->folder_bytes == 0 || layout->folder_bytes > FOLDER_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE,
                             "%s: torch.save could not write under this name (got %zu bytes before the suffix, want 1 "
                             "to %d)",
                             file_name, layout->folder_bytes, FOLDER_BYTES_MAX);
    }
    layout->folder = malloc(layout->folder_bytes);
    if (layout->folder == NULL) {
        return llavamed_fail_memory(error, layout->folder_bytes, "the name of a shard");
    }
    memcpy(layout->folder, folder, layout->folder_bytes);
    return LLAVAMED_OK;
}

enum llavamed_status torch_layout_build(enum torch_profile profile, const char *file_name,
                                        const struct torch_dict *dict, struct torch_layout *layout,
                                        struct llavamed_error *error)
{
    struct torch_layout made = {0};
    enum llavamed_status status = take_folder(profile, file_name, &made, error);
    if (status == LLAVAMED_OK) {
        status = torch_dict_write(dict, &made.pickle, error);
    }
    if (status == LLAVAMED_OK) {
        made.n_stored = made.pickle.n_stored;
        status = lay_out_records(profile, dict, &made, error);
    }
    if (status == LLAVAMED_OK) {
        *layout = made;
    } else {
        torch_layout_deinit(&made);
    }
    return status;
}

void torch_layout_deinit(struct torch_layout *layout)
{
    free(layout->order);
    free(layout->file_offsets);
    free(layout->records);
    free(layout->folder);
    torch_dict_pickle_deinit(&layout->pickle);
    memset(layout, 0, sizeof *layout);
}

/* ---- The segments ---- */

uint64_t torch_layout_segment_offset(const struct torch_layout *layout, size_t i)
{
    if (i == 0) {
        return 0;
    }
    const struct zip_record *before = &layout->records[layout->n_before + i - 1].zip;
    return before->data_offset + before->n_bytes;
}

size_t torch_layout_segment_bytes(const struct torch_layout *layout, size_t i)
{
    uint64_t end = i == layout->n_stored ? layout->file_bytes : layout->file_offsets[i];
    /* Pickle, directory and padding: far below 4 GiB by the limits on both. */
    return (size_t)(end - torch_layout_segment_offset(layout, i));
}

/* What the file's other records know only when all before them is there. */
struct late {
    uint32_t small_crc32s[SMALL_MAX]; /* of the records that are no storage, in their order */
    char serialization_id[TORCH_SERIALIZATION_ID_BYTES];
};

/* Index among the records that are no storage. */
static size_t small_index(const struct torch_layout *layout, size_t i)
{
    return i < layout->n_before ? i : i - layout->n_stored;
}

static const char *small_text(const struct torch_layout *layout, const struct late *late, size_t i)
{
    const struct small_record *small = layout->records[i].small;
    if (small->text != NULL) {
        return small->text;
    }
    return small->n_bytes == 0 ? layout->pickle.bytes : late->serialization_id;
}

static void sum_small(const struct torch_layout *layout, size_t i, struct late *late)
{
    late->small_crc32s[small_index(layout, i)] =
        crc32_update(0, small_text(layout, late, i), (size_t)layout->records[i].zip.n_bytes);
}

/*
 * torch looks at each piece that it writes: what begins like a descriptor counts as one. The data of a storage is such
 * a piece, too.
 */
static uint64_t combine_storage(uint64_t combined, uint64_t n_bytes, const struct torch_layout_sum *sum)
{
    if (n_bytes >= sizeof sum->front && (uint32_t)sum->front == ZIP_WRITE_DESCRIPTOR_SIGNATURE) {
        combined = torch_serialization_combine(combined, sum->front >> 32);
    }
    return n_bytes == 0 ? combined : torch_serialization_combine(combined, sum->crc32);
}

/* All CRC-32s of records that are no storage, and the serialization_id; `sums` are those of all storages. */
static void find_late(const struct torch_layout *layout, const struct torch_layout_sum *sums, struct late *late)
{
    uint64_t combined = 0;
    for (size_t i = 0; i < layout->n_records; i++) {
        if (is_storage(layout, i)) {
            combined = combine_storage(combined, layout->records[i].zip.n_bytes, &sums[i - layout->n_before]);
            continue;
        }
        if (i + 1 == layout->n_records) {
            torch_serialization_write(layout->names, combined, late->serialization_id);
        }
        sum_small(layout, i, late);
        combined = torch_serialization_combine(combined, late->small_crc32s[small_index(layout, i)]);
    }
}

static uint8_t *render_local(const struct torch_layout *layout, size_t i, uint8_t *out)
{
    char name[ZIP_WRITE_NAME_BYTES_MAX];
    (void)record_name(layout, i, name);
    return zip_write_local(&layout->records[i].zip, name, out);
}

/* A record that is no storage. */
static uint8_t *render_small(const struct torch_layout *layout, size_t i, const struct late *late, uint8_t *out)
{
    const struct zip_record *zip = &layout->records[i].zip;
    out = render_local(layout, i, out);
    memcpy(out, small_text(layout, late, i), (size_t)zip->n_bytes);
    return zip_write_descriptor(zip, late->small_crc32s[small_index(layout, i)], out + zip->n_bytes);
}

/* Directory and end records. */
static void render_directory(const struct torch_layout *layout, const struct torch_layout_sum *sums,
                             const struct late *late, uint8_t *out)
{
    for (size_t i = 0; i < layout->n_records; i++) {
        uint32_t crc32 =
            is_storage(layout, i) ? sums[i - layout->n_before].crc32 : late->small_crc32s[small_index(layout, i)];
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        (void)record_name(layout, i, name);
        out = zip_write_central(&layout->records[i].zip, name, crc32, out);
    }
    uint64_t directory_bytes = layout->file_bytes - ZIP_WRITE_END_BYTES - layout->directory_offset;
    (void)zip_write_end(layout->n_records, layout->directory_offset, directory_bytes, out);
}

/* What stands before the storages. */
static uint8_t *render_before(const struct torch_layout *layout, uint8_t *out)
{
    struct late late = {0};
    for (size_t i = 0; i < layout->n_before; i++) {
        sum_small(layout, i, &late);
        out = render_small(layout, i, &late, out);
    }
    return out;
}

/* What stands behind the storages. */
static void render_behind(const struct torch_layout *layout, const struct torch_layout_sum *sums, uint8_t *out)
{
    struct late late = {0};
    find_late(layout, sums, &late);
    for (size_t i = layout->n_before + layout->n_stored; i < layout->n_records; i++) {
        out = render_small(layout, i, &late, out);
    }
    render_directory(layout, sums, &late, out);
}

void torch_layout_render(const struct torch_layout *layout, size_t i, const struct torch_layout_sum *sums, uint8_t *out)
{
    size_t record = layout->n_before + i; /* the storage behind the segment */
    out = i == 0 ? render_before(layout, out)
                 : zip_write_descriptor(&layout->records[record - 1].zip, sums[i - 1].crc32, out);
    if (i < layout->n_stored) {
        (void)render_local(layout, record, out);
    } else {
        render_behind(layout, sums, out);
    }
}
