/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main() that runs the fuzz targets under AFL++, in persistent mode: built by afl-clang-fast alone, which has the
 * macros. Inputs lie in blocks of exactly their size, so that AddressSanitizer sees a read past the end.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A leak in one input must not make the next ones slow. */
#define INPUTS_PER_PROCESS 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* The macros are AFL++'s own. */
#pragma clang diagnostic ignored "-Wcast-qual"
#pragma clang diagnostic ignored "-Wconversion"
#pragma clang diagnostic ignored "-Wshorten-64-to-32"

__AFL_FUZZ_INIT()

int main(void)
{
    __AFL_INIT();
    const uint8_t *shared = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(INPUTS_PER_PROCESS)) {
        size_t n_bytes = (size_t)__AFL_FUZZ_TESTCASE_LEN;
        uint8_t *bytes = malloc(n_bytes == 0 ? 1 : n_bytes);
        if (bytes == NULL) {
            return 1;
        }
        memcpy(bytes, shared, n_bytes);
        (void)LLVMFuzzerTestOneInput(bytes, n_bytes);
        free(bytes);
    }
    return 0;
}
