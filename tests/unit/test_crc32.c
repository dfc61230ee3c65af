/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include "integrity/crc32.h"

/* The definition, bit by bit, shares nothing with zlib. */
static uint32_t crc32_by_definition(const uint8_t *bytes, size_t n_bytes)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n_bytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void known_values(void)
{
    EXPECT_U64(crc32_update(0, "123456789", 9), 0xcbf43926u);
    EXPECT_U64(crc32_update(0, "", 0), 0);
    EXPECT_U64(crc32_update(7, NULL, 0), 7);
    EXPECT_U64(crc32_update(0, "\x9d\x0a\xd9\x6d", 4), 0);
    EXPECT(strchr(crc32_library_version(), '.') != NULL);
}

static void pieces_and_joins_equal_the_whole(void)
{
    static uint8_t bytes[4099];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    uint32_t whole = crc32_by_definition(bytes, sizeof bytes);
    EXPECT_U64(crc32_update(0, bytes, sizeof bytes), whole);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 37) {
        uint32_t first = crc32_update(0, bytes, cut);
        uint32_t second = crc32_update(0, bytes + cut, sizeof bytes - cut);
        EXPECT_U64(crc32_update(first, bytes + cut, sizeof bytes - cut), whole);
        EXPECT_U64(crc32_join(first, second, sizeof bytes - cut), whole);
    }
}

/* Every length around the steps of the fast way, at every alignment, continued from another value and from none. */
static void lengths_and_alignments(void)
{
    static uint8_t bytes[16 + 400];
    uint32_t state = 7;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    for (size_t at = 0; at < 16; at++) {
        for (size_t n = 0; n <= 400; n++) {
            EXPECT_U64(crc32_update(0, bytes + at, n), crc32_by_definition(bytes + at, n));
            size_t cut = n / 3;
            EXPECT_U64(crc32_update(crc32_update(0, bytes + at, cut), bytes + at + cut, n - cut),
                       crc32_by_definition(bytes + at, n));
        }
    }
}

/* Lengths around the steps of the widest way, which begins at 4096 bytes. */
static void long_lengths(void)
{
    static uint8_t bytes[70000];
    uint32_t state = 11;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    for (size_t n = 4000; n <= 4700; n++) {
        size_t at = n % 67;
        EXPECT_U64(crc32_update(0, bytes + at, n), crc32_by_definition(bytes + at, n));
    }
    uint32_t whole = crc32_by_definition(bytes, sizeof bytes);
    for (size_t cut = 1; cut < sizeof bytes; cut += 1777) {
        EXPECT_U64(crc32_update(crc32_update(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
    }
}

/* 2^32-1 zero bytes have the CRC-32 0; a length that needs more than 32 bits must not be cut. */
static void joins_long_lengths(void)
{
    uint32_t zeros = crc32_update(0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    uint64_t n_bytes = 15;
    /* 15 doubled 28 times and joined with 15 less at each step: 15 * (2^28 + ...) stays exact by squaring. */
    for (int i = 0; i < 28; i++) {
        zeros = crc32_join(zeros, zeros, n_bytes);
        n_bytes *= 2;
    }
    EXPECT_U64(n_bytes, (uint64_t)15 << 28);
    uint64_t rest = 0xffffffffu - n_bytes;
    uint32_t rest_crc = 0;
    uint32_t piece = crc32_update(0, "", 1);
    uint64_t piece_bytes = 1;
    for (uint64_t left = rest; left > 0; left >>= 1) {
        if ((left & 1) != 0) {
            rest_crc = crc32_join(rest_crc, piece, piece_bytes);
        }
        piece = crc32_join(piece, piece, piece_bytes);
        piece_bytes *= 2;
    }
    uint32_t max32 = crc32_join(zeros, rest_crc, rest);
    EXPECT_U64(max32, 0);
    /* Joining 2^32 + 5 zero bytes is joining 2^32 and then 5; a length cut to 32 bits would join 5 alone. */
    uint32_t five = crc32_update(0, "\0\0\0\0", 5);
    uint32_t two32 = crc32_join(max32, crc32_update(0, "", 1), 1);
    uint32_t tail = crc32_join(two32, five, 5);
    uint32_t head = crc32_update(0, "abc", 3);
    uint32_t long_way = crc32_join(crc32_join(head, two32, (uint64_t)1 << 32), five, 5);
    EXPECT_U64(crc32_join(head, tail, ((uint64_t)1 << 32) + 5), long_way);
    EXPECT(crc32_join(head, tail, 5) != long_way);
}

int main(void)
{
    CASE(known_values);
    CASE(pieces_and_joins_equal_the_whole);
    CASE(lengths_and_alignments);
    CASE(long_lengths);
    CASE(joins_long_lengths);
    return harness_end();
}
