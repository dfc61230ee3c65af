/* SPDX-License-Identifier: Apache-2.0 */
/* All that is used of zlib: the functions of crc32.h and of inflate.h. */
#include <assert.h>
#include <stdlib.h>

#define ZLIB_CONST /* input is const */
#include <zlib.h>

#include "core/checked.h"
#include "core/phase.h"
#include "integrity/crc32.h"
#include "integrity/crc32_fold.h"
#include "integrity/inflate.h"

/* ---- CRC-32 ---- */

/* crc32_combine() takes a z_off_t, which must hold the length of any file. */
static_assert(sizeof(z_off_t) == 8, "build with -D_FILE_OFFSET_BITS=64");

/* Less than this is not worth two looks at the clock. */
#define TIMED_BYTES_MIN 4096

/* Less than this is not worth the registers of 512 bits, for which a core may have to slow down at first. */
#define WIDE_BYTES_MIN 4096

/* The part of the bytes that multiplication is good for; *crc becomes that up to its end. */
static size_t update_long(uint32_t *crc, const uint8_t *bytes, size_t n_bytes)
{
    uint8_t folded[CRC32_FOLDED_BYTES];
    size_t done = 0;
    if (n_bytes >= WIDE_BYTES_MIN && crc32_fold_wide_usable()) {
        done = n_bytes - n_bytes % CRC32_FOLD_WIDE_BYTES;
        crc32_fold_wide(*crc, bytes, done, folded);
    } else if (n_bytes >= CRC32_FOLD_BYTES && crc32_fold_usable()) {
        done = n_bytes - n_bytes % CRC32_FOLD_BYTES;
        crc32_fold(*crc, bytes, done, folded);
    }
    if (done > 0) {
        *crc = (uint32_t)crc32_z(UINT32_MAX, folded, sizeof folded);
    }
    return done;
}

static uint32_t update(uint32_t crc, const void *bytes, size_t n_bytes)
{
    /* zlib takes a NULL pointer as a request for the initial value, whatever crc is. */
    if (n_bytes == 0) {
        return crc;
    }
    /* All but the last bytes by multiplication, which is many times as fast as zlib's tables. */
    const uint8_t *at = bytes;
    size_t done = update_long(&crc, at, n_bytes);
    done += update_long(&crc, at + done, n_bytes - done);
    return (uint32_t)crc32_z(crc, at + done, n_bytes - done);
}

uint32_t crc32_update(uint32_t crc, const void *bytes, size_t n_bytes)
{
    phase_count(LLAVAMED_PHASE_CRC32, n_bytes);
    if (n_bytes < TIMED_BYTES_MIN) {
        return update(crc, bytes, n_bytes);
    }
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_CRC32);
    crc = update(crc, bytes, n_bytes);
    (void)phase_change(before);
    return crc;
}

uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes)
{
    assert(b_bytes <= INT64_MAX);
    return (uint32_t)crc32_combine(crc_a, crc_b, (z_off_t)b_bytes);
}

const char *crc32_library_version(void)
{
    return zlibVersion();
}

/* ---- Inflate ---- */

/* zlib counts in unsigned int. */
#define STEP_BYTES_MAX (UINT64_C(1) << 30)

struct inflate_stream {
    z_stream z;
};

enum llavamed_status inflate_create(struct inflate_stream **out, struct llavamed_error *error)
{
    struct inflate_stream *stream = calloc(1, sizeof *stream);
    /* Negative window bits: raw deflate data without a header; 15: any window that a writer may have used. */
    if (stream == NULL || inflateInit2(&stream->z, -15) != Z_OK) {
        free(stream);
        return llavamed_fail_memory(error, 40960, "the state of inflate");
    }
    *out = stream;
    return LLAVAMED_OK;
}

void inflate_free(struct inflate_stream *stream)
{
    if (stream != NULL) {
        (void)inflateEnd(&stream->z);
        free(stream);
    }
}

static enum inflate_result result_of(int code)
{
    switch (code) {
    case Z_OK:
    case Z_BUF_ERROR: /* nothing to take or no room: not an error of the data */
        return INFLATE_MORE;
    case Z_STREAM_END:
        return INFLATE_END;
    case Z_MEM_ERROR:
        return INFLATE_NO_MEMORY;
    default:
        return INFLATE_DAMAGED;
    }
}

enum inflate_result inflate_step(struct inflate_stream *stream, struct inflate_io *io)
{
    uint8_t nowhere = 0; /* zlib wants pointers, even to no bytes */
    int code;
    do {
        uInt in_bytes = (uInt)min_u64(io->in_bytes, STEP_BYTES_MAX);
        uInt out_bytes = (uInt)min_u64(io->out_bytes, STEP_BYTES_MAX);
        stream->z.next_in = in_bytes == 0 ? &nowhere : io->in;
        stream->z.avail_in = in_bytes;
        stream->z.next_out = out_bytes == 0 ? &nowhere : io->out;
        stream->z.avail_out = out_bytes;
        code = inflate(&stream->z, Z_NO_FLUSH);
        if (in_bytes > 0) {
            io->in = stream->z.next_in;
            io->in_bytes -= in_bytes - stream->z.avail_in;
        }
        if (out_bytes > 0) {
            io->out = stream->z.next_out;
            io->out_bytes -= out_bytes - stream->z.avail_out;
        }
    } while (code == Z_OK && io->in_bytes > 0 && io->out_bytes > 0);
    return result_of(code);
}
