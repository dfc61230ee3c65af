/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of torch_stream.h: taking bytes and zip records off a member. For torch_stream*.c alone. */
#ifndef FORMAT_TORCH_STREAM_PARTS_H
#define FORMAT_TORCH_STREAM_PARTS_H

#include "core/buffer.h"
#include "format/torch_stream.h"

#define TORCH_STREAM_LOCAL_SIGNATURE 0x04034b50u
#define TORCH_STREAM_CENTRAL_SIGNATURE 0x02014b50u

/* Read ahead while the end of a record is looked for. */
#define TORCH_STREAM_AHEAD_BYTES 4096

#define TORCH_STREAM_PICKLE_NAME "/data.pkl"
#define TORCH_STREAM_STORAGE_FOLDER "data/"

/* A run of the file in `kept`. */
struct kept_run {
    uint64_t file_offset;
    size_t at; /* in kept.data */
    size_t n_bytes;
};

struct streamed_storage {
    const char *key; /* borrowed from the dict */
    size_t index;    /* in dict.storages */
    bool seen;
    uint64_t file_offset;
    uint32_t crc32;
};

struct torch_stream {
    struct zip_member *member; /* borrowed */
    const char *path;          /* borrowed from member */
    bool check_crc;
    struct pickle_state_dict dict;
    struct streamed_storage *storages; /* owned, by key */
    struct streamed_storage *current;  /* NULL: none is being read */
    uint64_t left;                     /* bytes of the current one */
    bool current_has_descriptor;
    struct buffer kept;    /* all but the storages */
    struct kept_run *runs; /* owned */
    size_t n_runs;
    size_t runs_capacity;
    uint8_t ahead[TORCH_STREAM_AHEAD_BYTES]; /* bytes of the member that were read too early: [ahead_at, ahead_end) */
    size_t ahead_at;
    size_t ahead_end;
    size_t folder_bytes; /* of "FOLDER/", with which every name begins; 0: not known yet */
    char folder[ZIP_NAME_BYTES_MAX + 1];
    char record[ZIP_NAME_BYTES_MAX + 1]; /* the last whose header was read, without the folder; for messages */
};

/* A local header that was read. */
struct torch_stream_record {
    char name[ZIP_NAME_BYTES_MAX + 1]; /* without the folder */
    uint64_t size;
    bool size_known; /* or else it is in the descriptor alone */
    uint32_t crc32;  /* 0 when it is in the descriptor */
    bool has_descriptor;
};

/* For messages: "record NAME (tensor T)", the last whose header was read. */
#define TORCH_STREAM_PLACE_BYTES 512
const char *torch_stream_place(const struct torch_stream *stream, char place[TORCH_STREAM_PLACE_BYTES]);

/* For a fault that damage explains: adds the hint to `error` and returns `status`. */
enum llavamed_status torch_stream_damaged(enum llavamed_status status, struct llavamed_error *error) LLAVAMED_CHECK;

/* Of the next byte, in the file. */
uint64_t torch_stream_position(const struct torch_stream *stream);

/* The next n_bytes; *crc32 becomes theirs. */
enum llavamed_status torch_stream_take(struct torch_stream *stream, uint8_t *to, size_t n_bytes, uint32_t *crc32,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Reads and keeps the next n_bytes; *at is where in stream->kept.data they are. INPUT_LIMIT. */
enum llavamed_status torch_stream_keep(struct torch_stream *stream, size_t n_bytes, size_t *at,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Valid until more is kept. */
const uint8_t *torch_stream_kept_at(const struct torch_stream *stream, size_t at);

/* A local header whose signature is the last thing that was kept. */
enum llavamed_status torch_stream_read_header(struct torch_stream *stream, struct torch_stream_record *header,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The data of a record that holds no storage, and its descriptor. With max_bytes it is kept: *at is where the data is
 * in stream->kept.data, and the descriptor follows. With 0 it is read over.
 */
enum llavamed_status torch_stream_pass_record(struct torch_stream *stream, const struct torch_stream_record *header,
                                              size_t max_bytes, size_t *at, uint64_t *n_bytes,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * A descriptor of 16 or 24 bytes behind n_bytes of data: with data the first form shows itself, without any both begin
 * with the same bytes and the next signature tells. Only lengths are looked at: the final reading compares the rest.
 */
enum llavamed_status torch_stream_read_descriptor(struct torch_stream *stream, uint64_t n_bytes,
                                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
