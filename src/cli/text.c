/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llavamed.h"

size_t cli_utf8_bytes(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }
    size_t need = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80) { /* true of the terminating NUL too: nothing is read beyond it */
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_large = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || too_large ? 0 : need;
}

void cli_format(char *text, size_t capacity, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, capacity, format, args);
    va_end(args);
    llavamed_make_printable(text);
}

/* The n-th character of a text of valid UTF-8, or its end. */
static const char *skip_characters(const char *text, size_t n)
{
    for (; n > 0 && *text != '\0'; n--) {
        size_t n_bytes = cli_utf8_bytes(text);
        text += n_bytes == 0 ? 1 : n_bytes;
    }
    return text;
}

void cli_fit(char *fitted, size_t capacity, size_t n_columns, const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p = skip_characters(p, 1)) {
        n++;
    }
    if (n <= n_columns) {
        cli_format(fitted, capacity, "%s", text);
        return;
    }
    size_t n_front = (n_columns - 3) / 2;
    const char *front_end = skip_characters(text, n_front);
    cli_format(fitted, capacity, "%.*s...%s", (int)(front_end - text), text,
               skip_characters(text, n - (n_columns - 3 - n_front)));
}

static uint64_t rounded_parts(uint64_t value, uint64_t unit, uint64_t parts)
{
    return value / unit * parts + (value % unit * parts + unit / 2) / unit;
}

/*
 * `value` in the first unit that needs at most three digits before the point. Integers only, so that no locale can put
 * its decimal comma in. `units` starts with the unit itself and is short enough (10^12) that nothing overflows.
 */
static void format_scaled(char text[CLI_FIGURE_BYTES], uint64_t value, uint64_t step, const char *const units[5])
{
    uint64_t unit = 1;
    size_t k = 0;
    while (k < 4 && rounded_parts(value, unit, 1) >= step) {
        unit *= step;
        k++;
    }
    uint64_t hundredths = rounded_parts(value, unit, 100);
    uint64_t tenths = rounded_parts(value, unit, 10);
    if (k > 0 && hundredths < 1000) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 ".%02u %s", hundredths / 100, (unsigned)(hundredths % 100),
                       units[k]);
    } else if (k > 0 && tenths < 1000) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 ".%u %s", tenths / 10, (unsigned)(tenths % 10), units[k]);
    } else {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 " %s", rounded_parts(value, unit, 1), units[k]);
    }
}

void cli_format_bytes(char text[CLI_FIGURE_BYTES], uint64_t bytes)
{
    static const char *const units[5] = {"B", "KB", "MB", "GB", "TB"};
    format_scaled(text, bytes, 1000, units);
}

void cli_format_memory(char text[CLI_FIGURE_BYTES], uint64_t bytes)
{
    static const char *const units[5] = {"B", "KiB", "MiB", "GiB", "TiB"};
    format_scaled(text, bytes, 1024, units);
}

void cli_format_count(char text[CLI_FIGURE_BYTES], uint64_t count)
{
    static const char *const units[5] = {"", "thousand", "million", "billion", "trillion"};
    format_scaled(text, count, 1000, units);
}

uint64_t cli_bytes_per_second(uint64_t bytes, uint64_t elapsed_ns)
{
    if (elapsed_ns == 0) {
        return 0;
    }
    double rate = (double)bytes * 1e9 / (double)elapsed_ns;
    return rate < 1e18 ? (uint64_t)rate : UINT64_C(1000000000000000000);
}

void cli_format_rate(char text[CLI_FIGURE_BYTES], uint64_t bytes, uint64_t elapsed_ns)
{
    if (elapsed_ns == 0) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "- B/s");
        return;
    }
    char figure[CLI_FIGURE_BYTES];
    cli_format_bytes(figure, cli_bytes_per_second(bytes, elapsed_ns));
    (void)snprintf(text, CLI_FIGURE_BYTES, "%.28s/s", figure);
}

void cli_format_seconds(char text[CLI_FIGURE_BYTES], uint64_t elapsed_ns)
{
    uint64_t hundredths = elapsed_ns / 10000000 + (elapsed_ns % 10000000 >= 5000000);
    uint64_t tenths = elapsed_ns / 100000000 + (elapsed_ns % 100000000 >= 50000000);
    if (hundredths < 1000) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 ".%02u s", hundredths / 100, (unsigned)(hundredths % 100));
    } else if (tenths < 1000) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 ".%u s", tenths / 10, (unsigned)(tenths % 10));
    } else {
        cli_format_clock(text, elapsed_ns / 1000000000 + (elapsed_ns % 1000000000 >= 500000000));
    }
}

void cli_format_clock(char text[CLI_FIGURE_BYTES], uint64_t seconds)
{
    unsigned minute = (unsigned)(seconds / 60 % 60);
    unsigned second = (unsigned)(seconds % 60);
    if (seconds < 3600) {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%u:%02u", minute, second);
    } else {
        (void)snprintf(text, CLI_FIGURE_BYTES, "%" PRIu64 ":%02u:%02u", seconds / 3600, minute, second);
    }
}

static bool is_plain_in_shell(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,:@%=";
    return text[0] != '\0' && text[strspn(text, plain)] == '\0';
}

char *cli_shell_word(const char *text)
{
    size_t n = strlen(text);
    char *word = malloc(n * 4 + 3); /* each ' becomes '\'' */
    if (word == NULL) {
        return NULL;
    }
    if (is_plain_in_shell(text)) {
        memcpy(word, text, n + 1);
        return word;
    }
    size_t used = 0;
    word[used++] = '\'';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'') {
            memcpy(word + used, "'\\''", 4);
            used += 4;
        } else {
            word[used++] = text[i];
        }
    }
    word[used++] = '\'';
    word[used] = '\0';
    return word;
}
