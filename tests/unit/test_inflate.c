/* SPDX-License-Identifier: Apache-2.0 */
/* Raw deflate data that was written down by hand after RFC 1951, and what Python's zlib packed. */
#include "unit/harness.h"

#include "integrity/inflate.h"

/* zlib.compressobj(9, zlib.DEFLATED, -15) of "abcabcabc" * 4 + "\n". */
static const uint8_t packed[] = {0x4b, 0x4c, 0x4a, 0x4e, 0x24, 0x84, 0xb8, 0x00};
static const char content[] = "abcabcabcabcabcabcabcabcabcabcabcabc\n";

/* In inputs of in_step and outputs of out_step bytes. *taken: of the input when it ended or stopped. */
static enum inflate_result run(const uint8_t *in, size_t n_in, size_t in_step, size_t out_step, char *out,
                               size_t out_bytes, size_t *taken, size_t *made)
{
    struct inflate_stream *stream = NULL;
    enum inflate_result result = INFLATE_MORE;
    size_t before = SIZE_MAX;
    *taken = 0;
    *made = 0;
    EXPECT(inflate_create(&stream, NULL) == LLAVAMED_OK);
    while (result == INFLATE_MORE && before != *taken + *made) {
        before = *taken + *made;
        size_t give = in_step < n_in - *taken ? in_step : n_in - *taken;
        size_t room = out_step < out_bytes - *made ? out_step : out_bytes - *made;
        struct inflate_io io = {in + *taken, give, (uint8_t *)out + *made, room};
        result = inflate_step(stream, &io);
        EXPECT(io.in == in + *taken + (give - io.in_bytes) && io.out == (uint8_t *)out + *made + (room - io.out_bytes));
        EXPECT(result != INFLATE_MORE || io.in_bytes == 0 || io.out_bytes == 0);
        *taken += give - io.in_bytes;
        *made += room - io.out_bytes;
    }
    inflate_free(stream);
    return result;
}

static void in_steps_of_any_size(void)
{
    char out[64];
    size_t taken;
    size_t made;
    size_t want = sizeof content - 1;
    for (size_t in_step = 1; in_step <= sizeof packed; in_step++) {
        for (size_t out_step = 1; out_step <= sizeof out; out_step++) {
            EXPECT(run(packed, sizeof packed, in_step, out_step, out, sizeof out, &taken, &made) == INFLATE_END);
            EXPECT(taken == sizeof packed && made == want && memcmp(out, content, want) == 0);
        }
    }
    /* Room for the content and no more: the end is still found. */
    EXPECT(run(packed, sizeof packed, 99, 99, out, want, &taken, &made) == INFLATE_END && made == want);
    EXPECT(run(packed, sizeof packed, 99, 99, out, want - 1, &taken, &made) == INFLATE_MORE && made == want - 1);
    EXPECT(run(packed, sizeof packed - 1, 99, 99, out, sizeof out, &taken, &made) == INFLATE_MORE);
}

static void stops_where_the_data_ends(void)
{
    static const uint8_t stored[] = {1, 2, 0, 0xfd, 0xff, 'h', 'i', 'x', 'y'};
    static const uint8_t empty[] = {3, 0, 9};
    char out[8];
    size_t taken;
    size_t made;
    EXPECT(run(stored, sizeof stored, 99, 99, out, sizeof out, &taken, &made) == INFLATE_END);
    EXPECT(taken == 7 && made == 2 && memcmp(out, "hi", 2) == 0);
    EXPECT(run(empty, sizeof empty, 99, 99, out, 0, &taken, &made) == INFLATE_END && taken == 2 && made == 0);
}

static void damaged_data(void)
{
    static const uint8_t reserved_type[] = {7};
    static const uint8_t lengths_disagree[] = {1, 2, 0, 0xfc, 0xff, 'h', 'i'};
    static const uint8_t distance_too_far[] = {3, 2, 0};
    static const uint8_t zlib_header[] = {0x78, 0x9c, 3, 0, 0, 0, 0, 1};
    char out[8];
    size_t taken;
    size_t made;
    EXPECT(run(reserved_type, 1, 99, 99, out, sizeof out, &taken, &made) == INFLATE_DAMAGED);
    EXPECT(run(lengths_disagree, 7, 99, 99, out, sizeof out, &taken, &made) == INFLATE_DAMAGED && made == 0);
    EXPECT(run(distance_too_far, 3, 99, 99, out, sizeof out, &taken, &made) == INFLATE_DAMAGED && made == 0);
    EXPECT(run(zlib_header, 8, 99, 99, out, sizeof out, &taken, &made) == INFLATE_DAMAGED);
    inflate_free(NULL);
}

static void no_input_no_room(void)
{
    struct inflate_stream *stream = NULL;
    struct inflate_io io = {NULL, 0, NULL, 0};
    EXPECT(inflate_create(&stream, NULL) == LLAVAMED_OK);
    EXPECT(inflate_step(stream, &io) == INFLATE_MORE && io.in == NULL && io.out == NULL);
    inflate_free(stream);
}

int main(void)
{
    CASE(in_steps_of_any_size);
    CASE(stops_where_the_data_ends);
    CASE(damaged_data);
    CASE(no_input_no_room);
    return harness_end();
}
