/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/messages.h"
#include "cli/options.h"

#define THREADS_MAX 1024

static uint64_t size_unit(const char *text)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"KB", UINT64_C(1000)},          {"MB", UINT64_C(1000000)},  {"GB", UINT64_C(1000000000)},
        {"TB", UINT64_C(1000000000000)}, {"KiB", UINT64_C(1) << 10}, {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},      {"TiB", UINT64_C(1) << 40},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t n = strlen(units[i].name);
        bool same = strlen(text) == n;
        for (size_t k = 0; same && k < n; k++) {
            /* Setting bit 5 folds the case of ASCII letters, whatever the locale says. */
            same = (text[k] | 0x20) == (units[i].name[k] | 0x20);
        }
        if (same) {
            return units[i].bytes;
        }
    }
    return 0;
}

bool option_parse_size(const char *text, uint64_t *bytes)
{
    static const char digits[] = "0123456789";
    const char *number = text + strspn(text, " ");
    size_t n_whole = strspn(number, digits);
    const char *after = number + n_whole;
    bool has_point = *after == '.';
    const char *fraction = has_point ? after + 1 : after;
    size_t n_fraction = has_point ? strspn(fraction, digits) : 0;
    if (n_whole == 0 || (has_point && n_fraction == 0)) {
        return false;
    }
    after = fraction + n_fraction;
    after += strspn(after, " ");
    uint64_t unit = *after == '\0' ? 1 : size_unit(after);
    if (unit == 0 || (unit == 1 && has_point)) {
        return false;
    }
    uint64_t whole = 0;
    for (size_t i = 0; i < n_whole; i++) {
        if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(number[i] - '0'), &whole)) {
            return false;
        }
    }
    /* unit * 0.ddd from the last digit on: exact, as floor((floor(y) + n) / 10) is floor((y + n) / 10). */
    uint64_t part = 0;
    for (size_t i = n_fraction; i > 0; i--) {
        part = (part + (uint64_t)(fraction[i - 1] - '0') * unit) / 10;
    }
    uint64_t total;
    if (__builtin_mul_overflow(whole, unit, &total) || __builtin_add_overflow(total, part, &total) || total == 0) {
        return false;
    }
    *bytes = total;
    return true;
}

static bool parse_threads(const char *text, unsigned *n_threads)
{
    unsigned value = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 4) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > THREADS_MAX) {
        return false;
    }
    *n_threads = value;
    return true;
}

enum llavamed_status option_take_threads(const struct option_given *given, unsigned *n_threads,
                                         struct llavamed_error *error)
{
    if (parse_threads(given->value, n_threads)) {
        return LLAVAMED_OK;
    }
    return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: not a number of threads (got '%.100s', want 0 to %d)",
                    given->spelled, given->value, THREADS_MAX);
}

enum llavamed_status option_take_size(const struct option_given *given, uint64_t *bytes, struct llavamed_error *error)
{
    if (option_parse_size(given->value, bytes)) {
        return LLAVAMED_OK;
    }
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: not a size above 0 that fits 64 bits (got '%.100s')",
                   given->spelled, given->value);
    cli_hint(error, "a size is a number of bytes, or a number with KB, MB, GB, TB, KiB, MiB, GiB or TiB");
    return LLAVAMED_STATUS_USAGE;
}
