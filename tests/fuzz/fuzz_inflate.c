/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte tells what the rest is: even, deflate data; odd, bytes that zlib deflates first, with the level and
 * the strategy that the other bits tell. What inflate_step() gives is what a plain reader of RFC 1951 gives
 * (slow_inflate.h): the same bytes, the same end, damage where that sees damage; in pieces of any sizes on both sides
 * the same as at once; and never more than 1032 bytes out of one.
 */
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "fuzz_memory.h"
#include "integrity/inflate.h"
#include "slow_inflate.h"

#define OUT_BYTES_MAX ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint8_t *out;
    size_t out_bytes;
    size_t in_bytes; /* taken */
    enum inflate_result result;
};

/* seed 0: all at once. */
static struct outcome inflate_all(const uint8_t *in, size_t in_bytes, uint32_t seed, uint8_t *out)
{
    struct outcome outcome = {out, 0, 0, INFLATE_MORE};
    struct inflate_stream *stream = NULL;
    REQUIRE(inflate_create(&stream, NULL) == LLAVAMED_OK);
    bool stuck = false;
    while (outcome.result == INFLATE_MORE && !stuck) {
        size_t in_most = in_bytes - outcome.in_bytes;
        size_t out_most = OUT_BYTES_MAX - outcome.out_bytes;
        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            size_t in_piece = (seed >> 24) % 2 == 0 ? (seed >> 8) % 3 : (seed >> 8) % 700;
            size_t out_piece = (seed >> 25) % 2 == 0 ? (seed >> 16) % 3 : (seed >> 16) % 700;
            in_most = in_piece < in_most ? in_piece : in_most;
            out_most = out_piece < out_most ? out_piece : out_most;
        }
        struct inflate_io io = {in + outcome.in_bytes, in_most, outcome.out + outcome.out_bytes, out_most};
        outcome.result = inflate_step(stream, &io);
        REQUIRE(io.in_bytes <= in_most && io.in == in + outcome.in_bytes + (in_most - io.in_bytes));
        REQUIRE(io.out_bytes <= out_most && io.out == outcome.out + outcome.out_bytes + (out_most - io.out_bytes));
        /* What INFLATE_MORE says of the two. */
        REQUIRE(outcome.result != INFLATE_MORE || io.in_bytes == 0 || io.out_bytes == 0);
        outcome.in_bytes += in_most - io.in_bytes;
        outcome.out_bytes += out_most - io.out_bytes;
        stuck = (in_bytes == outcome.in_bytes && io.out_bytes > 0) || outcome.out_bytes == OUT_BYTES_MAX;
    }
    inflate_free(stream);
    return outcome;
}

static void check(const uint8_t *in, size_t in_bytes)
{
    static uint8_t out[3][OUT_BYTES_MAX];
    struct slow_inflate slow = {.in = in, .in_bytes = in_bytes, .out = out[0], .out_max = OUT_BYTES_MAX};
    enum slow_inflate_result want = slow_inflate(&slow);
    struct outcome whole = inflate_all(in, in_bytes, 0, out[1]);
    struct outcome pieces = inflate_all(in, in_bytes, 1 + (uint32_t)in_bytes, out[2]);
    REQUIRE(pieces.result == whole.result || whole.out_bytes == OUT_BYTES_MAX);
    REQUIRE(pieces.result == INFLATE_DAMAGED || pieces.out_bytes == whole.out_bytes);
    size_t least = pieces.out_bytes < whole.out_bytes ? pieces.out_bytes : whole.out_bytes;
    REQUIRE(memcmp(pieces.out, whole.out, least) == 0);
    REQUIRE(whole.out_bytes <= 1032 * in_bytes);

    least = slow.out_bytes < whole.out_bytes ? slow.out_bytes : whole.out_bytes;
    REQUIRE(memcmp(slow.out, whole.out, least) == 0);
    if (want == SLOW_END) {
        REQUIRE(whole.out_bytes == slow.out_bytes);
        REQUIRE(whole.result == INFLATE_END || whole.out_bytes == OUT_BYTES_MAX);
        REQUIRE(whole.result != INFLATE_END || whole.in_bytes == slow.in_bytes);
    } else if (want == SLOW_DAMAGED) {
        REQUIRE(whole.result == INFLATE_DAMAGED || whole.out_bytes == OUT_BYTES_MAX);
    } else {
        /* Of codes that no symbol has, the fast reader needs fewer bits to see it. */
        REQUIRE(whole.result == INFLATE_MORE || whole.result == INFLATE_DAMAGED);
    }
}

/* What zlib made of the bytes must become the bytes again, from here too. */
static void check_deflated(const uint8_t *bytes, size_t n_bytes, uint8_t how)
{
    static uint8_t out[OUT_BYTES_MAX];
    z_stream z = {0};
    int level = 1 + (how >> 1) % 9;
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
    REQUIRE(deflateInit2(&z, level, Z_DEFLATED, -15, 1 + (how >> 3) % 9, strategies[(how >> 5) % 5]) == Z_OK);
    size_t capacity = deflateBound(&z, n_bytes) + 64;
    uint8_t *deflated = malloc(capacity);
    REQUIRE(deflated != NULL);
    z.next_in = bytes;
    z.avail_in = (uInt)n_bytes;
    z.next_out = deflated;
    z.avail_out = (uInt)capacity;
    REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
    size_t deflated_bytes = capacity - z.avail_out;
    (void)deflateEnd(&z);
    check(deflated, deflated_bytes);
    struct outcome outcome = inflate_all(deflated, deflated_bytes, 0, out);
    REQUIRE(outcome.result == INFLATE_END && outcome.in_bytes == deflated_bytes && outcome.out_bytes == n_bytes);
    REQUIRE(n_bytes == 0 || memcmp(outcome.out, bytes, n_bytes) == 0);
    free(deflated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size >= OUT_BYTES_MAX / 2) {
        return 0;
    }
    if ((data[0] & 1) == 0) {
        check(data + 1, size - 1);
    } else {
        check_deflated(data + 1, size - 1, data[0]);
    }
    return 0;
}
