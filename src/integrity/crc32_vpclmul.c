/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As crc32_pclmul.c, four 128-bit accumulators in a register of 512 bits and four such registers: 256 bytes a round.
 */
#include "integrity/crc32_fold.h"

#include <assert.h>

/* Compilers of before 2018 do not know the instruction. */
#if defined(__x86_64__) && defined(__VPCLMULQDQ__)

#include <immintrin.h>

/* For D = 2048, from one round to the next, D = 512, between registers, and D = 128, between accumulators. */
#define X_2080 0x11542778a
#define X_2016 0x1322d1430
#define X_544 0x154442bd4
#define X_480 0x1c6e41596
#define X_160 0x1751997d0
#define X_96 0x0ccaa009e

bool crc32_fold_wide_usable(void)
{
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0;
}

static __m512i load(const uint8_t *bytes)
{
    return _mm512_loadu_si512((const void *)bytes);
}

/* `far` moved to where `near` is. */
static __m512i fold(__m512i far, __m512i near, __m512i powers)
{
    __m512i low = _mm512_clmulepi64_epi128(far, powers, 0x00);
    __m512i high = _mm512_clmulepi64_epi128(far, powers, 0x11);
    return _mm512_ternarylogic_epi64(low, high, near, 0x96); /* low ^ high ^ near */
}

static __m128i fold_one(__m128i far, __m128i near, __m128i powers)
{
    __m128i low = _mm_clmulepi64_si128(far, powers, 0x00);
    __m128i high = _mm_clmulepi64_si128(far, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), near);
}

void crc32_fold_wide(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES])
{
    assert(n_bytes >= CRC32_FOLD_WIDE_BYTES && n_bytes % CRC32_FOLD_WIDE_BYTES == 0);
    const __m512i by_round = _mm512_broadcast_i32x4(_mm_set_epi64x(X_2016, X_2080));
    const __m512i by_register = _mm512_broadcast_i32x4(_mm_set_epi64x(X_480, X_544));
    const __m128i by_one = _mm_set_epi64x(X_96, X_160);
    const uint8_t *at = bytes;
    const uint8_t *end = at + n_bytes;
    __m512i a = _mm512_xor_si512(load(at), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~crc)));
    __m512i b = load(at + 64);
    __m512i c = load(at + 128);
    __m512i d = load(at + 192);
    for (at += CRC32_FOLD_WIDE_BYTES; at < end; at += CRC32_FOLD_WIDE_BYTES) {
        a = fold(a, load(at), by_round);
        b = fold(b, load(at + 64), by_round);
        c = fold(c, load(at + 128), by_round);
        d = fold(d, load(at + 192), by_round);
    }
    b = fold(a, b, by_register);
    c = fold(b, c, by_register);
    d = fold(c, d, by_register);
    __m128i last = _mm512_extracti32x4_epi32(d, 0);
    last = fold_one(last, _mm512_extracti32x4_epi32(d, 1), by_one);
    last = fold_one(last, _mm512_extracti32x4_epi32(d, 2), by_one);
    last = fold_one(last, _mm512_extracti32x4_epi32(d, 3), by_one);
    _mm_storeu_si128((__m128i *)(void *)folded, last);
}

#else

bool crc32_fold_wide_usable(void)
{
    return false;
}

void crc32_fold_wide(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES])
{
    (void)crc;
    (void)bytes;
    (void)n_bytes;
    (void)folded;
    assert(false);
}

#endif
