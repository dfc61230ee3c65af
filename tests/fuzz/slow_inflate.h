/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deflate data read a bit at a time, as RFC 1951 describes it: what fuzz_inflate.c holds the fast reader against.
 * Strict as that one: no incomplete set of codes but one code of one bit, no set without an end of block.
 */
#ifndef SLOW_INFLATE_H
#define SLOW_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum slow_inflate_result { SLOW_END, SLOW_MORE, SLOW_DAMAGED, SLOW_FULL };

struct slow_inflate {
    const uint8_t *in;
    size_t in_bytes;
    size_t at_bit;
    uint8_t *out;
    size_t out_bytes;
    size_t out_max;
    enum slow_inflate_result failed; /* SLOW_END: not yet */
};

#define SLOW_BITS_MAX 15
#define SLOW_CODES_MAX 288

/* Canonical codes: how many have each length, and their symbols in order. */
struct slow_codes {
    uint16_t counts[SLOW_BITS_MAX + 1];
    uint16_t symbols[SLOW_CODES_MAX];
};

static inline unsigned slow_bits(struct slow_inflate *s, unsigned n)
{
    unsigned value = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s->at_bit / 8 >= s->in_bytes) {
            s->failed = s->failed == SLOW_END ? SLOW_MORE : s->failed;
            return 0;
        }
        value |= (unsigned)(s->in[s->at_bit / 8] >> s->at_bit % 8 & 1) << i;
        s->at_bit++;
    }
    return value;
}

static inline void slow_fail(struct slow_inflate *s, enum slow_inflate_result result)
{
    s->failed = s->failed == SLOW_END ? result : s->failed;
}

static inline void slow_put(struct slow_inflate *s, uint8_t byte)
{
    if (s->out_bytes == s->out_max) {
        slow_fail(s, SLOW_FULL);
    } else if (s->failed == SLOW_END) {
        s->out[s->out_bytes++] = byte;
    }
}

/* Codes left over: 0 for a complete set, negative for too many codes. */
static inline int slow_build(struct slow_codes *codes, const uint8_t *lengths, size_t n)
{
    uint16_t offsets[SLOW_BITS_MAX + 2] = {0};
    int left = 1;
    memset(codes, 0, sizeof *codes);
    for (size_t i = 0; i < n; i++) {
        codes->counts[lengths[i]]++;
    }
    for (unsigned bits = 1; bits <= SLOW_BITS_MAX; bits++) {
        left = 2 * left - codes->counts[bits];
        if (left < 0) {
            return left;
        }
        offsets[bits + 1] = (uint16_t)(offsets[bits] + codes->counts[bits]);
    }
    for (size_t i = 0; i < n; i++) {
        if (lengths[i] != 0) {
            codes->symbols[offsets[lengths[i]]++] = (uint16_t)i;
        }
    }
    return codes->counts[0] == n ? 0 : left;
}

static inline unsigned slow_decode(struct slow_inflate *s, const struct slow_codes *codes)
{
    unsigned code = 0;
    unsigned first = 0;
    unsigned index = 0;
    for (unsigned bits = 1; bits <= SLOW_BITS_MAX; bits++) {
        code |= slow_bits(s, 1);
        if (s->failed != SLOW_END) {
            return 0;
        }
        unsigned count = codes->counts[bits];
        if (code - first < count) {
            return codes->symbols[index + (code - first)];
        }
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    slow_fail(s, SLOW_DAMAGED);
    return 0;
}

static inline void slow_copy(struct slow_inflate *s, unsigned symbol, const struct slow_codes *distances)
{
    static const uint16_t length_bases[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                            31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    if (symbol >= 286) {
        slow_fail(s, SLOW_DAMAGED);
        return;
    }
    unsigned l = symbol - 257;
    unsigned length = length_bases[l] + slow_bits(s, l < 8 || l == 28 ? 0 : (l - 4) / 4);
    unsigned d = slow_decode(s, distances);
    if (d >= 30) {
        slow_fail(s, SLOW_DAMAGED);
        return;
    }
    unsigned extra = d < 4 ? 0 : d / 2 - 1;
    size_t distance = 1 + (d < 4 ? d : (2u + (d & 1)) << extra) + slow_bits(s, extra);
    if (s->failed == SLOW_END && distance > s->out_bytes) {
        slow_fail(s, SLOW_DAMAGED);
    }
    for (unsigned i = 0; i < length && s->failed == SLOW_END; i++) {
        slow_put(s, s->out[s->out_bytes - distance]);
    }
}

static inline void slow_coded(struct slow_inflate *s, const struct slow_codes *literals,
                              const struct slow_codes *distances)
{
    while (s->failed == SLOW_END) {
        unsigned symbol = slow_decode(s, literals);
        if (s->failed != SLOW_END || symbol == 256) {
            return;
        }
        if (symbol < 256) {
            slow_put(s, (uint8_t)symbol);
        } else {
            slow_copy(s, symbol, distances);
        }
    }
}

static inline void slow_stored(struct slow_inflate *s)
{
    s->at_bit = (s->at_bit + 7) / 8 * 8;
    unsigned length = slow_bits(s, 16);
    unsigned inverse = slow_bits(s, 16);
    if (s->failed == SLOW_END && length != (~inverse & 0xffff)) {
        slow_fail(s, SLOW_DAMAGED);
    }
    for (unsigned i = 0; i < length && s->failed == SLOW_END; i++) {
        uint8_t byte = (uint8_t)slow_bits(s, 8);
        slow_put(s, byte);
    }
}

/* Of a set without any code zlib makes zeros of one bit each, which no end of block survives. */
static inline unsigned slow_decode_length(struct slow_inflate *s, const struct slow_codes *codes)
{
    return codes->counts[0] < 19 ? slow_decode(s, codes) : slow_bits(s, 1) * 0;
}

/* The lengths of the codes of literals and distances; false when they are not to be had. */
static inline bool slow_lengths(struct slow_inflate *s, uint8_t *lengths, unsigned n)
{
    static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t own[19] = {0};
    struct slow_codes codes;
    unsigned n_own = slow_bits(s, 4) + 4;
    for (unsigned i = 0; i < n_own; i++) {
        own[order[i]] = (uint8_t)slow_bits(s, 3);
    }
    if (s->failed != SLOW_END || slow_build(&codes, own, 19) != 0) {
        slow_fail(s, SLOW_DAMAGED);
        return false;
    }
    for (unsigned i = 0; i < n && s->failed == SLOW_END;) {
        unsigned symbol = slow_decode_length(s, &codes);
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        unsigned times = symbol == 16 ? 3 + slow_bits(s, 2) : symbol == 17 ? 3 + slow_bits(s, 3) : 11 + slow_bits(s, 7);
        if (s->failed == SLOW_END && ((symbol == 16 && i == 0) || times > n - i)) {
            slow_fail(s, SLOW_DAMAGED);
        }
        for (; times > 0 && s->failed == SLOW_END; times--, i++) {
            lengths[i] = symbol == 16 ? lengths[i - 1] : 0;
        }
    }
    return s->failed == SLOW_END;
}

static inline void slow_dynamic(struct slow_inflate *s)
{
    uint8_t lengths[320] = {0};
    struct slow_codes literals;
    struct slow_codes distances;
    unsigned n_literals = slow_bits(s, 5) + 257;
    unsigned n_distances = slow_bits(s, 5) + 1;
    /* The third count comes before the two are judged. */
    struct slow_inflate look = *s;
    (void)slow_bits(&look, 4);
    if (look.failed == SLOW_END && (n_literals > 286 || n_distances > 30)) {
        slow_fail(s, SLOW_DAMAGED);
    }
    if (s->failed != SLOW_END || !slow_lengths(s, lengths, n_literals + n_distances)) {
        return;
    }
    int left = slow_build(&literals, lengths, n_literals);
    bool bad = lengths[256] == 0 || left < 0 || (left > 0 && n_literals != literals.counts[0] + literals.counts[1]);
    left = slow_build(&distances, lengths + n_literals, n_distances);
    if (bad || left < 0 || (left > 0 && n_distances != distances.counts[0] + distances.counts[1])) {
        slow_fail(s, SLOW_DAMAGED);
    }
    slow_coded(s, &literals, &distances);
}

static inline void slow_fixed(struct slow_inflate *s)
{
    uint8_t lengths[288];
    struct slow_codes literals;
    struct slow_codes distances;
    for (unsigned i = 0; i < 288; i++) {
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    }
    (void)slow_build(&literals, lengths, 288);
    memset(lengths, 5, 32);
    (void)slow_build(&distances, lengths, 32);
    slow_coded(s, &literals, &distances);
}

/* Fills s->out; in_bytes becomes what was taken when the data ended. */
static inline enum slow_inflate_result slow_inflate(struct slow_inflate *s)
{
    bool last = false;
    while (!last && s->failed == SLOW_END) {
        last = slow_bits(s, 1) != 0;
        unsigned kind = slow_bits(s, 2);
        if (s->failed != SLOW_END) {
            break;
        }
        if (kind == 0) {
            slow_stored(s);
        } else if (kind == 1) {
            slow_fixed(s);
        } else if (kind == 2) {
            slow_dynamic(s);
        } else {
            slow_fail(s, SLOW_DAMAGED);
        }
    }
    s->in_bytes = s->failed == SLOW_END ? (s->at_bit + 7) / 8 : s->in_bytes;
    return s->failed;
}

#endif
