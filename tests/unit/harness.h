/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole test harness: a test binary has a main() that runs CASE(function) for each case and ends with
 * `return harness_end();`. A failed EXPECT prints file, line and expression, fails its case and goes on. The last line
 * is "N passed, N failed", where N counts cases; a case that checked nothing fails.
 */
#ifndef UNIT_HARNESS_H
#define UNIT_HARNESS_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int harness_passed;
static int harness_failed;
static int harness_case_checks;
static int harness_case_failures;

static inline bool harness_expect(bool holds, const char *file, int line, const char *text)
{
    harness_case_checks++;
    if (!holds) {
        harness_case_failures++;
        printf("%s:%d: failed: %s\n", file, line, text);
    }
    return holds;
}

#define EXPECT(condition) harness_expect((condition), __FILE__, __LINE__, #condition)

static inline bool harness_expect_u64(uint64_t got, uint64_t want, const char *file, int line, const char *text)
{
    if (!harness_expect(got == want, file, line, text)) {
        printf("    got  %" PRIu64 "\n    want %" PRIu64 "\n", got, want);
        return false;
    }
    return true;
}

#define EXPECT_U64(got, want)                                                                                          \
    harness_expect_u64((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__, #got " == " #want)

static inline bool harness_expect_text(const char *got, const char *want, const char *file, int line, const char *text)
{
    bool same = got != NULL && want != NULL && strcmp(got, want) == 0;
    if (!harness_expect(same, file, line, text)) {
        printf("    got  %s\n    want %s\n", got == NULL ? "(null)" : got, want == NULL ? "(null)" : want);
    }
    return same;
}

#define EXPECT_TEXT(got, want) harness_expect_text((got), (want), __FILE__, __LINE__, #got " is " #want)

static inline void harness_run(void (*function)(void), const char *name)
{
    harness_case_checks = 0;
    harness_case_failures = 0;
    function();
    if (harness_case_checks == 0) {
        printf("%s: checked nothing\n", name);
        harness_case_failures++;
    }
    if (harness_case_failures == 0) {
        harness_passed++;
    } else {
        harness_failed++;
        printf("FAILED %s\n", name);
    }
}

#define CASE(function) harness_run(function, #function)

static inline int harness_end(void)
{
    printf("%d passed, %d failed\n", harness_passed, harness_failed);
    return harness_failed == 0 ? 0 : 1;
}

#endif
