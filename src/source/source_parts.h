/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of sources share; for src/source alone. */
#ifndef SOURCE_SOURCE_PARTS_H
#define SOURCE_SOURCE_PARTS_H

#include "format/shard_index.h"
#include "io/directory.h"
#include "source/place.h"
#include "source/source.h"
#include "source/weights.h"

/*
 * How elements come out of a layout. `state` is the layout's own. Ranges are checked by source.c; read must be
 * thread-safe. A layout that joins or permutes pieces of several files implements these and nothing else. `notes` may
 * be NULL. Without `grain` (NULL) it is 1 for every tensor; source.c sees that it is neither 0 nor more than the
 * tensor. Without `place` (NULL) every tensor has a storage of its own (place.h).
 *
 * A layout that is read from front to back has neither read nor note (NULL) but the five calls behind them, which are
 * those of source.h; source.c keeps what is to be kept.
 */
struct source_layout {
    enum llavamed_status (*read)(void *state, const struct source_run *run, void *buffer, struct source_notes *notes,
                                 struct llavamed_error *error);
    void (*note)(void *state, const struct source_notes *notes);
    uint64_t (*grain)(const void *state, size_t index);
    bool (*place)(const void *state, size_t index, struct source_place *place);
    /* As weights_file_of(); NULL: every file holds a part of every tensor. */
    size_t (*file_of)(const void *state, size_t index);
    /* As source_take_share(), but files are those of the layout: without the archive. NULL: nothing can be shared. */
    void (*take_share)(void *state, const bool *tensors, const bool *files);
    enum llavamed_status (*finish)(void *state, void *scratch, size_t scratch_bytes, struct llavamed_error *error);
    /*
     * Feeds what source_sample() says of file i of the layout, which has no archive before it. NULL: nothing is known
     * but names, sizes and times.
     */
    enum llavamed_status (*sample)(const void *state, size_t i, struct sha256_stream *sha256,
                                   struct llavamed_error *error);
    uint64_t (*bytes_read)(const void *state);
    void (*close)(void *state);

    size_t (*streams)(const void *state);
    enum llavamed_status (*stream_next)(void *state, size_t stream, struct source_run *run,
                                        struct llavamed_error *error);
    enum llavamed_status (*stream_read)(void *state, size_t stream, uint64_t n_elems, void *buffer,
                                        struct llavamed_error *error);
    /* Bytes of its content, headers included. */
    uint64_t (*stream_bytes)(const void *state, size_t stream);
    /* Back to the front of a stream. */
    enum llavamed_status (*stream_rewind)(void *state, size_t stream, struct llavamed_error *error);
};

/* Elements of a stream that are kept for a look. */
struct source_kept {
    struct source_run run;
    uint8_t *bytes; /* owned */
    bool complete;  /* all of it has come by */
};

struct source {
    const struct source_layout *layout;
    void *state;
    char *spec;       /* owned: where it is */
    struct archive *archive; /* owned: in which the files lie, or NULL */
    char *repository; /* owned: that of the hub cache in which it lies, or NULL (hub_cache.h); then also */
    char *snapshot;   /* its directory (of a file: the one that it lies in) with links resolved, owned */
    const char *role; /* static */
    bool check_crc;
    bool check_md5; /* and other hashes that are recorded beside the files */
    const volatile int *stop_signal; /* may be NULL */
    const struct llavamed_observer *observer; /* may be NULL */
    const char *format; /* static */
    enum source_kind kind;
    struct source_index index; /* its name is owned; NULL without one */
    uint64_t n_heads;          /* as source_heads() */
    struct tensor_set set;
    struct source_file *files; /* owned */
    char **file_paths;         /* owned, as files */
    size_t n_files;
    struct source_small_file *small_files; /* owned */
    size_t n_small_files;
    struct source_remark *remarks; /* owned */
    size_t n_remarks;
    struct source_kept *kept; /* owned, by tensor and first element */
    size_t n_kept;
};

/* Brings a range that source_has(). */
void source_peek_kept(const struct source *source, const struct source_run *run, void *buffer);
void source_kept_deinit(struct source *source);

/* Appends a note or a warning. NO_MEMORY. */
enum llavamed_status source_remark(struct source *source, bool is_warning, struct llavamed_error *error,
                                   const char *format, ...) __attribute__((format(printf, 4, 5))) LLAVAMED_CHECK;

/*
 * Refuses a quantised checkpoint and an adapter by their tensors (recognise_tensors()), once set and small files are
 * known. A warning when only config.json speaks of quantisation.
 */
enum llavamed_status source_check_kind(struct source *source, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Fills source->repository for a source inside a hub cache, and refuses links there that leave it (INPUT_UNSAFE). The
 * first looks at all names of the source's directory, the last at a single file; the second, when that is filled, at
 * all names of a folder in that directory.
 */
enum llavamed_status directory_check_links(struct source *source, const struct directory_listing *listing,
                                           struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status directory_check_links_in(const struct source *source, const char *directory,
                                              const struct directory_listing *listing,
                                              struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status source_check_link(struct source *source, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Fills `recorded` of all weights files and small files, from what lies beside them. A record that is there and cannot
 * be read is an error when recorded hashes are checked, else a warning.
 */
enum llavamed_status source_find_recorded(struct source *source, struct llavamed_error *error) LLAVAMED_CHECK;

/* The weights files of a directory. */
struct directory_choice {
    bool is_meta;           /* Meta's original layout: meta_open() finds its files */
    const char *index_name; /* NULL without one; borrowed from the listing or static */
    const char *file_name;  /* the only weights file, when there is no index; borrowed from the listing */
};

/*
 * Chooses; a remark tells of the choice when there was one, another of a set that was passed over because it is Git LFS
 * pointers and the next one is not. INPUT_MISSING with what was found when nothing can be
 * used.
 */
enum llavamed_status directory_choose(struct source *source, const struct directory_listing *listing,
                                      struct directory_choice *choice, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads the index of this name, which always names a file (shard_index.h); INPUT_MISSING lists the shards that the
 * listing lacks.
 */
enum llavamed_status directory_read_index(const struct source *source, const struct directory_listing *listing,
                                          const char *index_name, struct shard_index *index,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/* The file, as index->files has them, in which a tensor of the set was found. */
typedef size_t directory_file_of(const void *state, size_t tensor);

/*
 * Compares an index with what its shards hold, both ways. INDEX_DISAGREES names the first tensor that is elsewhere or
 * nowhere.
 */
enum llavamed_status directory_check_index(const struct source *source, const char *index_name,
                                           const struct shard_index *index, directory_file_of *file_of,
                                           const void *state, struct llavamed_error *error) LLAVAMED_CHECK;

/* The path of a file of the source's directory or archive; owned by the caller, NULL when out of memory. */
char *source_member_path(const struct source *source, const char *name);

/*
 * Fills source->small_files: what is in `directory` (NULL: in source->archive) beside the weights, directories aside,
 * and not weights, code or training state by its name.
 */
enum llavamed_status directory_find_small_files(struct source *source, const char *directory,
                                                const struct directory_listing *listing,
                                                struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether the listing holds exactly this name. */
bool directory_listing_holds(const struct directory_listing *listing, const char *name);

/* Makes room for n weights files in source->files; n is at least one. NO_MEMORY. */
enum llavamed_status source_reserve_files(struct source *source, size_t n, struct llavamed_error *error) LLAVAMED_CHECK;

/* The layout of plain files: n of them, at least one; names are relative to `directory`, or paths when that is NULL. */
enum llavamed_status plain_open(struct source *source, const char *directory, const char *const *names, size_t n,
                                struct llavamed_error *error) LLAVAMED_CHECK;

/* The same of stored files of source->archive: they are read in any order, as if they lay in a directory. */
enum llavamed_status plain_open_stored(struct source *source, const char *const *names, size_t n,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Opens a weights file and appends it to `weights` and, in the same place, to source->files, whose room was made
 * before. A remark tells of missing checksums. What weights_add_file() gives.
 */
enum llavamed_status source_add_file(struct source *source, struct weights *weights, const char *path,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
