/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a directory are the checkpoint. Names decide, from one listing, because every look at a file costs a
 * round trip on a network file system; what the chosen files hold is then told by their content. Only where there are
 * two sets the first one is looked at for Git LFS pointers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/checked.h"
#include "core/stop_signal.h"
#include "io/input_file.h"
#include "source/archive.h"
#include "source/hub_cache.h"
#include "source/lfs_pointer.h"
#include "source/recognise.h"
#include "source/source_parts.h"

#define SHOWN_NAMES_MAX 5

/* In the order of preference; an index stands for its shards. */
static const char *const preferred[] = {
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
};

enum { PREFERRED_SAFETENSORS_INDEX = 0, PREFERRED_TORCH_INDEX = 2, PREFERRED_TORCH = 3 };

#define PREFERRED_COUNT (sizeof preferred / sizeof preferred[0])

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes > suffix_bytes && strcmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

static bool is_training_state(const char *name)
{
    return has_prefix(name, "optimizer") || has_prefix(name, "scheduler") || has_prefix(name, "rng_state") ||
           strcmp(name, "training_args.bin") == 0;
}

static bool is_torch_weights(const char *name)
{
    return (has_suffix(name, ".bin") || has_suffix(name, ".pth") || has_suffix(name, ".pt")) && name[0] != '.' &&
           !is_training_state(name) && !recognise_is_adapter_name(name);
}

static bool is_safetensors_weights(const char *name)
{
    return has_suffix(name, ".safetensors") && name[0] != '.' && !is_training_state(name) &&
           !recognise_is_adapter_name(name);
}

static bool is_meta_shard(const char *name)
{
    return has_prefix(name, "consolidated.") && has_suffix(name, ".pth");
}

static bool is_meta_size(const char *name)
{
    return strcmp(name, "7B") == 0 || strcmp(name, "13B") == 0 || strcmp(name, "30B") == 0 || strcmp(name, "65B") == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool directory_listing_holds(const struct directory_listing *listing, const char *name)
{
    return listing->n_names > 0 &&
           bsearch(&name, listing->names, listing->n_names, sizeof listing->names[0], compare_names) != NULL;
}

/* ---- Names in messages: "a, b, c and 4 more" ---- */

struct name_list {
    struct buffer text;
    size_t n;
};

static void name_list_add(struct name_list *list, const char *name)
{
    if (list->n < SHOWN_NAMES_MAX) {
        buffer_printf(&list->text, "%s%.80s", list->n == 0 ? "" : ", ", name);
    }
    list->n++;
}

/* "nothing" when empty or out of memory; valid until the list is freed. */
static const char *name_list_text(struct name_list *list)
{
    if (list->n > SHOWN_NAMES_MAX) {
        buffer_printf(&list->text, " and %zu more", list->n - SHOWN_NAMES_MAX);
    }
    return list->text.data == NULL ? "nothing" : list->text.data;
}

static void name_list_init(struct name_list *list)
{
    list->n = 0;
    buffer_init(&list->text, LLAVAMED_MESSAGE_BYTES);
}

static void name_list_deinit(struct name_list *list)
{
    buffer_deinit(&list->text);
}

/* ---- The choice ---- */

struct candidates {
    const char *known[PREFERRED_COUNT]; /* NULL when absent */
    size_t n_known;
    size_t n_safetensors; /* weights of any name, those of a set among them */
    size_t n_torch;
    const char *safetensors; /* the last of them */
    const char *torch;
    size_t n_meta_shards;
    bool meta_size;
};

static struct candidates find_candidates(const struct directory_listing *listing)
{
    struct candidates found = {0};
    for (size_t i = 0; i < PREFERRED_COUNT; i++) {
        if (directory_listing_holds(listing, preferred[i])) {
            found.known[i] = preferred[i];
            found.n_known++;
        }
    }
    for (size_t i = 0; i < listing->n_names; i++) {
        const char *name = listing->names[i];
        if (is_safetensors_weights(name)) {
            found.safetensors = name;
            found.n_safetensors++;
        } else if (is_torch_weights(name)) {
            found.torch = name;
            found.n_torch++;
        }
        found.n_meta_shards += is_meta_shard(name);
        found.meta_size = found.meta_size || is_meta_size(name);
    }
    return found;
}

static enum llavamed_status refuse_directory(const struct source *source, const struct directory_listing *listing,
                                             const struct candidates *found, struct llavamed_error *error)
{
    bool many = found->n_safetensors + found->n_torch > 0;
    enum llavamed_status status =
        many ? LLAVAMED_OK : recognise_listing(source->spec, source->role, source->archive != NULL, listing, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct name_list names;
    name_list_init(&names);
    for (size_t i = 0; i < listing->n_names; i++) {
        const char *name = listing->names[i];
        if (many ? is_safetensors_weights(name) || is_torch_weights(name) : name[0] != '.') {
            name_list_add(&names, name);
        }
    }
    if (many) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                               "%s: several weights files and no index that joins them (got %s)", source->spec,
                               name_list_text(&names));
        llavamed_hint(error, "add the index of the shards (%s or %s), or give one file", preferred[0], preferred[2]);
    } else {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: no weights for the %s in this %s (got %s)",
                          source->spec, source->role, source->archive == NULL ? "directory" : "archive",
                          name_list_text(&names));
        llavamed_hint(error, "give the directory that holds %s, %s or their sharded form", preferred[1], preferred[3]);
    }
    name_list_deinit(&names);
    return status;
}

/* Tells what else could have been meant. Shards of an index that was not chosen are not worth their names. */
static enum llavamed_status remark_choice(struct source *source, const struct candidates *found, const char *chosen,
                                          struct llavamed_error *error)
{
    struct name_list others;
    name_list_init(&others);
    for (size_t i = 0; i < PREFERRED_COUNT; i++) {
        if (found->known[i] != NULL && strcmp(found->known[i], chosen) != 0) {
            name_list_add(&others, found->known[i]);
        }
    }
    bool chose_safetensors = strcmp(chosen, preferred[0]) == 0 || is_safetensors_weights(chosen);
    if (others.n == 0 && chose_safetensors && found->n_torch > 0) {
        name_list_add(&others, found->n_torch == 1 ? found->torch : "other .bin, .pth or .pt files");
    }
    if (others.n == 0 && strcmp(chosen, preferred[1]) == 0 && found->n_safetensors > 1) {
        name_list_add(&others, "other .safetensors files");
    }
    if (others.n == 0 && strcmp(chosen, preferred[3]) == 0 && found->n_torch > 1) {
        name_list_add(&others, "other .bin, .pth or .pt files");
    }
    if (others.n == 0 && !chose_safetensors && found->n_safetensors > 0) {
        name_list_add(&others, found->n_safetensors == 1 ? found->safetensors : "other .safetensors files");
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (source->archive != NULL) {
        char *path = source_member_path(source, chosen);
        status = path == NULL ? llavamed_fail_memory(error, strlen(chosen), "a path")
                              : source_remark(source, false, error, "%s: read in place", path);
        free(path);
    }
    if (status == LLAVAMED_OK && others.n > 0) {
        status = source_remark(source, false, error, "%s: several sets of weights: using %s, ignoring %s", source->spec,
                               chosen, name_list_text(&others));
    }
    name_list_deinit(&others);
    return status;
}

enum set_state {
    SET_UNKNOWN, /* reading it tells what is wrong */
    SET_POINTERS,
    SET_WHOLE, /* all files are there, none is a pointer */
};

/* Of one of the preferred names. */
static enum llavamed_status look_at_set(const struct source *source, const struct directory_listing *listing,
                                        const char *name, enum set_state *state, struct llavamed_error *error)
{
    struct shard_index index = {0};
    struct llavamed_error ignored;
    enum llavamed_status status = LLAVAMED_OK;
    char *path = path_join(source->spec, name);
    *state = SET_WHOLE;
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    if (lfs_pointer_is(path)) {
        *state = SET_POINTERS;
    } else if (has_suffix(name, ".index.json") &&
               directory_read_index(source, listing, name, &index, &ignored) != LLAVAMED_OK) {
        *state = SET_UNKNOWN;
    }
    free(path);
    for (size_t i = 0; status == LLAVAMED_OK && *state == SET_WHOLE && i < index.n_files; i++) {
        char *shard = path_join(source->spec, index.files[i]);
        status = stop_signal_check(source->stop_signal, error);
        if (shard == NULL) {
            status = llavamed_fail_memory(error, strlen(index.files[i]), "a path");
        } else if (lfs_pointer_is(shard)) {
            *state = SET_POINTERS;
        }
        free(shard);
    }
    shard_index_deinit(&index);
    return status;
}

/* A clone without Git LFS has pointers, but somebody may have put the other form's real files beside them. */
static enum llavamed_status pass_over_pointers(struct source *source, const struct directory_listing *listing,
                                               const struct candidates *found, const char **chosen,
                                               struct llavamed_error *error)
{
    const char *first = *chosen;
    enum set_state state = SET_UNKNOWN;
    bool looks = found->n_known > 1 && source->archive == NULL;
    enum llavamed_status status = looks ? look_at_set(source, listing, first, &state, error) : LLAVAMED_OK;
    bool is_later = false;
    bool has_pointers = state == SET_POINTERS;
    for (size_t i = 0; status == LLAVAMED_OK && has_pointers && *chosen == first && i < PREFERRED_COUNT; i++) {
        if (is_later && found->known[i] != NULL) {
            status = look_at_set(source, listing, found->known[i], &state, error);
            *chosen = status == LLAVAMED_OK && state == SET_WHOLE ? found->known[i] : first;
        }
        is_later = is_later || found->known[i] == first;
    }
    if (status == LLAVAMED_OK && *chosen != first) {
        status = source_remark(source, false, error, "%s: %s stands for Git LFS pointers, not weights", source->spec,
                               first);
    }
    return status;
}

enum llavamed_status directory_choose(struct source *source, const struct directory_listing *listing,
                                      struct directory_choice *choice, struct llavamed_error *error)
{
    struct candidates found = find_candidates(listing);
    const char *chosen = NULL;
    for (size_t i = 0; i < PREFERRED_COUNT && chosen == NULL; i++) {
        /* A download without the .safetensors files brings their index all the same. */
        bool orphan = i == PREFERRED_SAFETENSORS_INDEX && found.n_safetensors == 0 &&
                      (found.known[PREFERRED_TORCH_INDEX] != NULL || found.known[PREFERRED_TORCH] != NULL);
        chosen = orphan ? NULL : found.known[i];
    }
    enum llavamed_status status =
        chosen == NULL ? LLAVAMED_OK : pass_over_pointers(source, listing, &found, &chosen, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    /* The folder that people keep Meta's release in may hold other programs' files; tokenizer.model marks it. */
    bool is_parent = chosen == NULL && found.meta_size && directory_listing_holds(listing, "tokenizer.model");
    if (is_parent) {
        choice->is_meta = true;
        return LLAVAMED_OK;
    }
    if (chosen == NULL && found.n_safetensors == 1) {
        chosen = found.safetensors;
    } else if (chosen == NULL && found.n_safetensors == 0 && found.n_torch == 1 && !is_meta_shard(found.torch)) {
        chosen = found.torch;
    }
    bool only_sizes = found.meta_size && found.n_safetensors + found.n_torch == 0;
    if (chosen == NULL && (found.n_meta_shards > 0 || only_sizes)) {
        choice->is_meta = true;
        return found.n_safetensors + found.n_torch == found.n_meta_shards
                   ? LLAVAMED_OK
                   : source_remark(source, false, error,
                                   "%s: several sets of weights: using consolidated.*.pth, ignoring other files",
                                   source->spec);
    }
    if (chosen == NULL) {
        return refuse_directory(source, listing, &found, error);
    }
    status = remark_choice(source, &found, chosen, error);
    if (status == LLAVAMED_OK) {
        bool is_index = has_suffix(chosen, ".index.json");
        choice->index_name = is_index ? chosen : NULL;
        choice->file_name = is_index ? NULL : chosen;
    }
    return status;
}

/* ---- Links of a hub cache ---- */

enum llavamed_status directory_check_links_in(const struct source *source, const char *directory,
                                              const struct directory_listing *listing, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    /* Of a folder in the snapshot, which may be a link, it is not known where "../.." leads. */
    const char *resolved = strcmp(directory, source->spec) == 0 ? source->snapshot : NULL;
    for (size_t i = 0; status == LLAVAMED_OK && source->repository != NULL && i < listing->n_names; i++) {
        char *path = path_join(directory, listing->names[i]);
        status = path == NULL ? llavamed_fail_memory(error, strlen(listing->names[i]), "a path")
                              : stop_signal_check(source->stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = hub_cache_check_inside(source->repository, resolved, path, error);
        }
        free(path);
    }
    return status;
}

enum llavamed_status directory_check_links(struct source *source, const struct directory_listing *listing,
                                           struct llavamed_error *error)
{
    enum llavamed_status status = hub_cache_repository_of(source->spec, &source->repository, &source->snapshot, error);
    return status == LLAVAMED_OK ? directory_check_links_in(source, source->spec, listing, error) : status;
}

enum llavamed_status source_check_link(struct source *source, struct llavamed_error *error)
{
    char *parent = path_parent(source->spec);
    if (parent == NULL) {
        return llavamed_fail_memory(error, strlen(source->spec), "a path");
    }
    enum llavamed_status status = hub_cache_repository_of(parent, &source->repository, &source->snapshot, error);
    if (status == LLAVAMED_OK && source->repository != NULL) {
        status = hub_cache_check_inside(source->repository, source->snapshot, source->spec, error);
    }
    free(parent);
    return status;
}

/* ---- The index ---- */

static enum llavamed_status check_shards_present(const struct source *source, const struct directory_listing *listing,
                                                 const char *index_path, const struct shard_index *index,
                                                 struct llavamed_error *error)
{
    struct name_list missing;
    name_list_init(&missing);
    for (size_t i = 0; i < index->n_files; i++) {
        if (!directory_listing_holds(listing, index->files[i])) {
            name_list_add(&missing, index->files[i]);
        }
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (missing.n > 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                               "%s: %zu of the %zu files that the index names are missing (%s)", index_path, missing.n,
                               index->n_files, name_list_text(&missing));
        if (source->archive != NULL) {
            llavamed_hint(error, "get the archive of the whole checkpoint, or unpack all of its archives into one "
                                 "directory and give that");
        } else {
            llavamed_hint(error, "complete the download of %s", source->spec);
        }
    }
    name_list_deinit(&missing);
    return status;
}

enum llavamed_status directory_read_index(const struct source *source, const struct directory_listing *listing,
                                          const char *index_name, struct shard_index *index,
                                          struct llavamed_error *error)
{
    char *json = NULL;
    size_t json_bytes = 0;
    struct shard_index made = {0};
    char *index_path = source_member_path(source, index_name);
    if (index_path == NULL) {
        return llavamed_fail_memory(error, strlen(index_name), "a path");
    }
    enum llavamed_status status =
        source->archive != NULL
            ? archive_read_whole(source->archive, index_name, ZIP_MEMBER_KEPT_BYTES_MAX, &json, &json_bytes, error)
            : input_file_read_whole(index_path, SHARD_INDEX_BYTES_MAX, &json, &json_bytes, error);
    if (status == LLAVAMED_OK) {
        status = shard_index_parse(index_path, json, json_bytes, &made, error);
        /* What begins like no JSON object at all is rather an error page or an LFS pointer than a bad index. */
        if (status == LLAVAMED_STATUS_JSON_INVALID && json[strspn(json, " \t\r\n")] != '{') {
            size_t n_bytes = (size_t)min_u64(json_bytes, RECOGNISE_BYTES);
            status = recognise_bytes(index_path, json, n_bytes, error);
        }
        free(json);
    }
    if (status == LLAVAMED_OK) {
        status = check_shards_present(source, listing, index_path, &made, error);
    }
    if (status == LLAVAMED_OK) {
        *index = made;
    } else {
        shard_index_deinit(&made);
    }
    free(index_path);
    return status;
}

static int compare_entry(const void *key, const void *entry)
{
    return strcmp(key, ((const struct shard_index_entry *)entry)->tensor);
}

struct index_check {
    const char *path;
    const struct shard_index *index;
    const struct tensor_set *set;
    directory_file_of *file_of;
    const void *state;
    bool *seen; /* a mark for each entry met */
};

/* Each tensor of the files is where the index says. */
static enum llavamed_status check_tensors(const struct index_check *check, struct llavamed_error *error)
{
    const char *index_path = check->path;
    const struct shard_index *index = check->index;
    for (size_t i = 0; i < check->set->n_tensors; i++) {
        const char *name = check->set->tensors[i].name;
        size_t file = check->file_of(check->state, i);
        const struct shard_index_entry *entry =
            index->n_entries == 0
                ? NULL
                : bsearch(name, index->entries, index->n_entries, sizeof index->entries[0], compare_entry);
        if (entry == NULL) {
            return llavamed_fail(error, LLAVAMED_STATUS_INDEX_DISAGREES,
                                 "%s: the index lacks tensor %.200s, which is in %s", index_path, name,
                                 index->files[file]);
        }
        if (entry->file != file) {
            return llavamed_fail(error, LLAVAMED_STATUS_INDEX_DISAGREES,
                                 "%s: tensor %.200s is in another file than the index says (got %s, want %s)",
                                 index_path, name, index->files[file], index->files[entry->file]);
        }
        check->seen[entry - index->entries] = true;
    }
    return LLAVAMED_OK;
}

enum llavamed_status directory_check_index(const struct source *source, const char *index_name,
                                           const struct shard_index *index, directory_file_of *file_of,
                                           const void *state, struct llavamed_error *error)
{
    bool *seen = calloc(index->n_entries + 1, sizeof *seen);
    char *index_path = source_member_path(source, index_name);
    if (seen == NULL || index_path == NULL) {
        free(seen);
        free(index_path);
        return llavamed_fail_memory(error, index->n_entries + 1, "the check of an index");
    }
    struct index_check check = {index_path, index, &source->set, file_of, state, seen};
    enum llavamed_status status = check_tensors(&check, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < index->n_entries; i++) {
        if (!seen[i]) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INDEX_DISAGREES,
                                   "%s: tensor %.200s is not in %s, where the index says it is", index_path,
                                   index->entries[i].tensor, index->files[index->entries[i].file]);
        }
    }
    free(seen);
    free(index_path);
    return status;
}

/* ---- Small files ---- */

static bool is_small_file_name(const char *name)
{
    static const char *const left_out[] = {".safetensors", ".bin",  ".pth",  ".pt",         ".ckpt", ".h5",
                                           ".msgpack",     ".onnx", ".gguf", ".index.json", ".py",   ".pyc"};
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++) {
        if (has_suffix(name, left_out[i])) {
            return false;
        }
    }
    return name[0] != '.' && !is_training_state(name);
}

/*
 * Adds what a directory has of this name, unless it is a directory. `name` and `path` are taken over, or given back. A
 * FIFO, a device or a link to nothing is added like a file without bytes: whoever needs it opens it and tells what it
 * is, where a name that is left out would be missing without a word.
 */
static enum llavamed_status add_small_file(struct source *source, char **name, char **path,
                                           struct llavamed_error *error)
{
    struct stat info = {0};
    enum llavamed_status status = stop_signal_check(source->stop_signal, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (stat(*path, &info) != 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        return input_file_fail_open(error, errno, *path);
    }
    if (!S_ISDIR(info.st_mode)) {
        uint64_t n_bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
        source->small_files[source->n_small_files++] = (struct source_small_file){
            .name = *name, .path = *path, .n_bytes = n_bytes, .seen = input_identity_of(&info)};
        *name = NULL;
        *path = NULL;
    }
    return LLAVAMED_OK;
}

enum llavamed_status directory_find_small_files(struct source *source, const char *directory,
                                                const struct directory_listing *listing, struct llavamed_error *error)
{
    source->small_files = calloc(listing->n_names + 1, sizeof *source->small_files);
    if (source->small_files == NULL) {
        return llavamed_fail_memory(error, (listing->n_names + 1) * sizeof *source->small_files, "the list of files");
    }
    for (size_t i = 0; i < listing->n_names; i++) {
        if (!is_small_file_name(listing->names[i])) {
            continue;
        }
        char *path = directory == NULL ? archive_member_path(source->archive, listing->names[i])
                                       : path_join(directory, listing->names[i]);
        char *name = strdup(listing->names[i]);
        if (path == NULL || name == NULL) {
            free(path);
            free(name);
            return llavamed_fail_memory(error, strlen(listing->names[i]), "the name of a file");
        }
        if (directory == NULL) {
            source->small_files[source->n_small_files++] = (struct source_small_file){
                .name = name,
                .path = path,
                .n_bytes = archive_entry(source->archive, name)->n_bytes,
                .archive = source->archive,
            };
            continue;
        }
        enum llavamed_status status = add_small_file(source, &name, &path, error);
        free(path);
        free(name);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}
