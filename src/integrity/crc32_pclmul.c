/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), for the
 * reflected polynomial of zip. Bits far from the end of a message may be replaced by what is left of them modulo the
 * polynomial, nearer to it: 128 bits D bits ahead become two products of 64 bits each with x^(D+32) and x^(D-32) modulo
 * P (reflected, hence one bit to the left). Four such accumulators, as one would wait for each multiplication.
 */
#include "integrity/crc32_fold.h"

#include <assert.h>

#if defined(__x86_64__)

#include <wmmintrin.h>

/* For D = 512, from one round to the next, and D = 128, from one accumulator to the next. */
#define X_544 0x154442bd4
#define X_480 0x1c6e41596
#define X_160 0x1751997d0
#define X_96 0x0ccaa009e

bool crc32_fold_usable(void)
{
    return __builtin_cpu_supports("pclmul") != 0;
}

static __m128i load(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* `far` moved to where `near` is. */
static __m128i fold(__m128i far, __m128i near, __m128i powers)
{
    __m128i low = _mm_clmulepi64_si128(far, powers, 0x00);
    __m128i high = _mm_clmulepi64_si128(far, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), near);
}

void crc32_fold(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES])
{
    assert(n_bytes >= CRC32_FOLD_BYTES && n_bytes % CRC32_FOLD_BYTES == 0);
    const __m128i by_round = _mm_set_epi64x(X_480, X_544);
    const __m128i by_one = _mm_set_epi64x(X_96, X_160);
    const uint8_t *at = bytes;
    const uint8_t *end = at + n_bytes;
    __m128i a = _mm_xor_si128(load(at), _mm_cvtsi32_si128((int)~crc));
    __m128i b = load(at + 16);
    __m128i c = load(at + 32);
    __m128i d = load(at + 48);
    for (at += CRC32_FOLD_BYTES; at < end; at += CRC32_FOLD_BYTES) {
        a = fold(a, load(at), by_round);
        b = fold(b, load(at + 16), by_round);
        c = fold(c, load(at + 32), by_round);
        d = fold(d, load(at + 48), by_round);
    }
    b = fold(a, b, by_one);
    c = fold(b, c, by_one);
    d = fold(c, d, by_one);
    _mm_storeu_si128((__m128i *)(void *)folded, d);
}

#else

bool crc32_fold_usable(void)
{
    return false;
}

void crc32_fold(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES])
{
    (void)crc;
    (void)bytes;
    (void)n_bytes;
    (void)folded;
    assert(false);
}

#endif
