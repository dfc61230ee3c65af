/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/checked.h"
#include "core/phase.h"
#include "source/archive_stream.h"
#include "source/hub_cache.h"
#include "source/meta.h"
#include "source/recognise.h"
#include "source/source_parts.h"

/* ---- Opening ---- */

enum llavamed_status source_remark(struct source *source, bool is_warning, struct llavamed_error *error,
                                   const char *format, ...)
{
    struct source_remark *remarks = reallocarray(source->remarks, source->n_remarks + 1, sizeof *remarks);
    if (remarks == NULL) {
        return llavamed_fail_memory(error, (source->n_remarks + 1) * sizeof *remarks, "a remark");
    }
    source->remarks = remarks;
    char line[LLAVAMED_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    llavamed_make_printable(line);
    char *text = strdup(line);
    if (text == NULL) {
        return llavamed_fail_memory(error, sizeof line, "a remark");
    }
    remarks[source->n_remarks++] = (struct source_remark){.is_warning = is_warning, .text = text};
    return LLAVAMED_OK;
}

char *source_member_path(const struct source *source, const char *name)
{
    return source->archive != NULL ? archive_member_path(source->archive, name) : path_join(source->spec, name);
}

/* The archive itself, which is held against OUT, and its n weights files: all of these can be recorded and hashed. */
static enum llavamed_status note_archive(struct source *source, const char *const *names, size_t n,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = source_reserve_files(source, n + 1, error);
    for (size_t i = 0; status == LLAVAMED_OK && i <= n; i++) {
        const char *name = i == 0 ? source->spec : names[i - 1];
        struct source_file *file = &source->files[i];
        file->archive = i == 0 ? NULL : source->archive;
        file->name = path_base_name(name);
        file->n_bytes =
            i == 0 ? input_file_bytes(archive_file(source->archive)) : archive_entry(source->archive, name)->n_bytes;
        file->modified_ns = input_file_modified_ns(archive_file(source->archive));
        source->file_paths[i] = i == 0 ? path_join(name, NULL) : archive_member_path(source->archive, name);
        source->n_files++;
        if (source->file_paths[i] == NULL || file->name == NULL) {
            status = llavamed_fail_memory(error, strlen(name), "a path");
        }
    }
    return status;
}

/* Opens n weights files of the directory or of the archive. */
static enum llavamed_status open_members(struct source *source, const char *const *names, size_t n,
                                         struct llavamed_error *error)
{
    if (source->archive == NULL) {
        return plain_open(source, source->spec, names, n, error);
    }
    bool deflated = false;
    for (size_t i = 0; i < n; i++) {
        deflated = deflated || archive_entry(source->archive, names[i])->deflated;
    }
    enum llavamed_status status = note_archive(source, names, n, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    return deflated ? archive_stream_open(source, names, n, error) : plain_open_stored(source, names, n, error);
}

static enum llavamed_status open_sharded(struct source *source, const struct directory_listing *listing,
                                         const char *index_name, struct llavamed_error *error)
{
    struct shard_index index = {0};
    enum llavamed_status status = directory_read_index(source, listing, index_name, &index, error);
    if (status == LLAVAMED_OK) {
        status = open_members(source, (const char *const *)index.files, index.n_files, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_check_index(source, index_name, &index, source->layout->file_of, source->state, error);
    }
    if (status == LLAVAMED_OK) {
        source->index = (struct source_index){strdup(index_name), index.has_total, index.total_bytes};
        if (source->index.name == NULL) {
            status = llavamed_fail_memory(error, strlen(index_name), "the name of an index");
        }
    }
    shard_index_deinit(&index);
    return status;
}

/* A listing in Hugging Face form, of a directory or of an archive. */
static enum llavamed_status open_chosen(struct source *source, const struct directory_listing *listing,
                                        const struct directory_choice *choice, struct llavamed_error *error)
{
    enum llavamed_status status = choice->index_name != NULL
                                      ? open_sharded(source, listing, choice->index_name, error)
                                      : open_members(source, &choice->file_name, 1, error);
    return status == LLAVAMED_OK
               ? directory_find_small_files(source, source->archive == NULL ? source->spec : NULL, listing, error)
               : status;
}

static enum llavamed_status open_directory(struct source *source, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    struct directory_choice choice = {0};
    enum llavamed_status status = directory_list(source->spec, &listing, error);
    if (status == LLAVAMED_OK) {
        status = directory_check_links(source, &listing, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_choose(source, &listing, &choice, error);
    }
    if (status == LLAVAMED_OK && choice.is_meta) {
        source->kind = SOURCE_META;
        status = meta_open(source, &listing, error);
    } else if (status == LLAVAMED_OK) {
        status = open_chosen(source, &listing, &choice, error);
    }
    if (status == LLAVAMED_STATUS_INPUT_MISSING && source->repository != NULL) {
        hub_cache_hint(source->repository, error);
    }
    directory_listing_deinit(&listing);
    return status;
}

static enum llavamed_status open_archive(struct source *source, struct llavamed_error *error)
{
    const struct directory_listing *listing = archive_listing(source->archive);
    struct directory_choice choice = {0};
    source->kind = SOURCE_ARCHIVE;
    enum llavamed_status status = directory_choose(source, listing, &choice, error);
    if (status == LLAVAMED_OK && choice.is_meta) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: Meta's original files inside an archive, which cannot be read in place", source->spec);
        llavamed_hint(error, "unpack the archive and give the directory");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    return status == LLAVAMED_OK ? open_chosen(source, listing, &choice, error) : status;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes > suffix_bytes && strcasecmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

/* Opens the archive that spec may be: source->archive stays NULL when it is none, or is a weights file of torch. */
static enum llavamed_status find_archive(struct source *source, struct llavamed_error *error)
{
    bool is_archive = false;
    enum llavamed_status status = recognise_partial_name(source->spec, error);
    if (status == LLAVAMED_OK) {
        status = archive_probe(source->spec, &is_archive, error);
    }
    if (status != LLAVAMED_OK || !is_archive) {
        return status;
    }
    status = archive_open(source->spec, source->stop_signal, &source->archive, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_INTERRUPTED && !has_suffix(source->spec, ".zip")) {
        return LLAVAMED_OK; /* the reader of torch files says what is wrong with it */
    }
    if (status == LLAVAMED_OK && archive_entry(source->archive, "data.pkl") != NULL) {
        archive_close(source->archive);
        source->archive = NULL;
    }
    return status;
}

static enum llavamed_status open_single(struct source *source, struct llavamed_error *error)
{
    const char *spec = source->spec;
    enum llavamed_status status = source_check_link(source, error);
    if (status == LLAVAMED_OK) {
        status = find_archive(source, error);
    }
    if (status == LLAVAMED_OK) {
        status = source->archive != NULL ? open_archive(source, error) : plain_open(source, NULL, &spec, 1, error);
    }
    return status;
}

/* What is told of a file, and what is done by it, has to be of one and the same however often it is read. */
static enum llavamed_status read_small_file(const struct source_small_file *file, size_t max_bytes, char **bytes,
                                            size_t *n_bytes, struct llavamed_error *error)
{
    struct input_file *opened = NULL;
    char *text = NULL;
    enum llavamed_status status = input_file_open(file->path, &opened, error);
    if (status == LLAVAMED_OK) {
        status = input_identity_check_file(&file->seen, opened, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_file_read_all(opened, max_bytes, &text, n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_file_check_unchanged(opened, error);
    }
    input_file_close(opened);
    if (status != LLAVAMED_OK) {
        free(text);
        return status;
    }
    *bytes = text;
    return LLAVAMED_OK;
}

enum llavamed_status source_small_file_read(const struct source_small_file *file, size_t max_bytes, char **bytes,
                                            size_t *n_bytes, struct llavamed_error *error)
{
    return file->archive != NULL ? archive_read_whole(file->archive, file->name, max_bytes, bytes, n_bytes, error)
                                 : read_small_file(file, max_bytes, bytes, n_bytes, error);
}

void source_hint_missing(const struct source *source, struct llavamed_error *error)
{
    llavamed_hint(error, "complete the download of %s", source->spec);
    if (source->repository != NULL) {
        hub_cache_hint(source->repository, error);
    }
}

/* Nothing is at `spec`: the hub cache may know the name. From then on the source is at the snapshot's path. */
static enum llavamed_status find_elsewhere(struct source *source, struct llavamed_error *error)
{
    if (!hub_cache_is_name(source->spec)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: no such file or directory (wanted for the %s)",
                             source->spec, source->role);
    }
    char *snapshot = NULL;
    enum llavamed_status status = hub_cache_find(source->spec, source->role, &snapshot, error);
    if (status == LLAVAMED_OK) {
        status = source_remark(source, false, error, "%s: %s found in the Hugging Face cache: %s", source->role,
                               source->spec, snapshot);
        free(source->spec);
        source->spec = snapshot;
    }
    return status;
}

static enum llavamed_status open_spec(struct source *source, struct llavamed_error *error)
{
    enum path_kind kind;
    enum llavamed_status status = path_kind_of(source->spec, &kind, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (kind == PATH_MISSING) {
        status = find_elsewhere(source, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        kind = PATH_DIRECTORY;
    }
    source->kind = kind == PATH_DIRECTORY ? SOURCE_DIRECTORY : SOURCE_FILE;
    status = kind == PATH_DIRECTORY ? open_directory(source, error) : open_single(source, error);
    if (status == LLAVAMED_OK) {
        status = tensor_set_seal(&source->set, source->spec, error);
    }
    if (status == LLAVAMED_OK && source->set.n_tensors == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: the checkpoint holds no tensors",
                               source->spec);
    }
    if (status == LLAVAMED_OK && tensor_set_find(&source->set, "tok_embeddings.weight") != TENSOR_NOT_FOUND) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: weights of Meta's original release without their params.json", source->spec);
        llavamed_hint(error, "give the directory that holds consolidated.00.pth and params.json");
    }
    if (status == LLAVAMED_OK) {
        status = source_check_kind(source, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_find_recorded(source, error);
    }
    return status;
}

enum llavamed_status source_open(const char *spec, const struct source_options *options, struct source **out,
                                 struct llavamed_error *error)
{
    struct source *source = calloc(1, sizeof *source);
    char *spec_copy = strdup(spec);
    if (source == NULL || spec_copy == NULL) {
        free(source);
        free(spec_copy);
        return llavamed_fail_memory(error, sizeof *source + strlen(spec), "a source");
    }
    source->spec = spec_copy;
    source->role = options->role;
    source->check_crc = options->check_crc;
    source->check_md5 = options->check_crc && !options->crc_alone;
    source->stop_signal = options->stop_signal;
    source->observer = options->observer;
    tensor_set_init(&source->set);
    enum llavamed_status status = open_spec(source, error);
    if (status == LLAVAMED_OK) {
        *out = source;
    } else {
        source_close(source);
    }
    return status;
}

void source_close(struct source *source)
{
    if (source == NULL) {
        return;
    }
    if (source->layout != NULL) {
        source->layout->close(source->state);
    }
    archive_close(source->archive);
    for (size_t i = 0; i < source->n_files; i++) {
        free(source->files[i].name);
        free(source->file_paths[i]);
    }
    for (size_t i = 0; i < source->n_small_files; i++) {
        free(source->small_files[i].name);
        free(source->small_files[i].path);
    }
    for (size_t i = 0; i < source->n_remarks; i++) {
        free(source->remarks[i].text);
    }
    free(source->files);
    free(source->file_paths);
    free(source->small_files);
    free(source->remarks);
    source_kept_deinit(source);
    free(source->index.name);
    free(source->spec);
    free(source->repository);
    free(source->snapshot);
    tensor_set_deinit(&source->set);
    free(source);
}

/* ---- What it is ---- */

const struct tensor_set *source_tensors(const struct source *source)
{
    return &source->set;
}

const char *source_spec(const struct source *source)
{
    return source->spec;
}

const char *source_format(const struct source *source)
{
    return source->format;
}

enum source_kind source_kind_of(const struct source *source)
{
    return source->kind;
}

bool source_in_hub_cache(const struct source *source)
{
    return source->repository != NULL;
}

const struct source_index *source_index_of(const struct source *source)
{
    return source->index.name == NULL ? NULL : &source->index;
}

uint64_t source_heads(const struct source *source)
{
    return source->n_heads;
}

size_t source_file_of(const struct source *source, size_t index)
{
    assert(index < source->set.n_tensors);
    if (source->layout->file_of == NULL) {
        return source->kind == SOURCE_META && source->n_files == 1 ? 0 : SOURCE_FILES_ALL;
    }
    /* The archive itself stands first among the files. */
    return source->layout->file_of(source->state, index) + (source->kind == SOURCE_ARCHIVE ? 1 : 0);
}

size_t source_files(const struct source *source, const struct source_file **files)
{
    *files = source->files;
    return source->n_files;
}

const char *source_file_path(const struct source *source, size_t i)
{
    assert(i < source->n_files);
    return source->file_paths[i];
}

size_t source_small_files(const struct source *source, const struct source_small_file **files)
{
    *files = source->small_files;
    return source->n_small_files;
}

size_t source_remarks(const struct source *source, const struct source_remark **remarks)
{
    *remarks = source->remarks;
    return source->n_remarks;
}

/* ---- Elements ---- */

/* Ranges come from the plan, so a wrong one is a bug of this library and not of a file. */
static void assert_range(const struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems)
{
    assert(index < source->set.n_tensors);
    const struct tensor *tensor = &source->set.tensors[index];
    assert(dtype_bytes(tensor->dtype) > 0);
    assert(first_elem <= tensor->n_elems && n_elems <= tensor->n_elems - first_elem);
}

enum llavamed_status source_read_noting(struct source *source, const struct source_run *run, void *buffer,
                                        struct source_notes *notes, struct llavamed_error *error)
{
    assert_range(source, run->tensor, run->first_elem, run->n_elems);
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    enum llavamed_status status = source->layout->read(source->state, run, buffer, notes, error);
    (void)phase_change(before);
    return status;
}

void source_note(struct source *source, const struct source_notes *notes)
{
    if (source->layout->note != NULL) {
        source->layout->note(source->state, notes);
    }
}

enum llavamed_status source_read(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error)
{
    const struct source_run run = {index, first_elem, n_elems};
    struct source_notes notes;
    notes.n_notes = 0; /* the rest is written before it is read */
    enum llavamed_status status = source_read_noting(source, &run, buffer, &notes, error);
    if (status == LLAVAMED_OK) {
        source_note(source, &notes);
    }
    return status;
}

enum llavamed_status source_peek(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error)
{
    const struct source_run run = {index, first_elem, n_elems};
    if (source_streams(source) > 0) {
        assert_range(source, index, first_elem, n_elems);
        source_peek_kept(source, &run, buffer);
        return LLAVAMED_OK;
    }
    return source_read_noting(source, &run, buffer, NULL, error);
}

uint64_t source_grain(const struct source *source, size_t index)
{
    assert(index < source->set.n_tensors);
    uint64_t grain = source->layout->grain == NULL ? 1 : source->layout->grain(source->state, index);
    return max_u64(1, min_u64(grain, source->set.tensors[index].n_elems));
}

enum llavamed_status source_finish(struct source *source, void *scratch, size_t scratch_bytes,
                                   struct llavamed_error *error)
{
    return source->layout->finish(source->state, scratch, scratch_bytes, error);
}

void source_take_share(struct source *source, const bool *tensors, const bool *files)
{
    size_t first = source->n_files > 1 && source->files[1].archive != NULL ? 1 : 0;
    if (source->layout->take_share != NULL) {
        source->layout->take_share(source->state, tensors, files + first);
    }
}

uint64_t source_whole_bytes(const struct source *source, size_t i)
{
    const struct source_file *file = &source->files[i];
    bool by_archive = source->check_crc && file->archive != NULL && strcmp(source->format, "safetensors") == 0;
    return by_archive || file->recorded.md5[0] != '\0' ? file->n_bytes : 0;
}

uint64_t source_bytes_read(const struct source *source)
{
    return source->layout->bytes_read(source->state);
}
