/* SPDX-License-Identifier: Apache-2.0 */
/* Text as the programs show it: safe to print on a terminal, figures in the units that people read. No locale. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define CLI_FIGURE_BYTES 32

/*
 * Length in bytes of the UTF-8 sequence at the start of `text` (RFC 3629), 0 when it does not start with one. `text`
 * is NUL-terminated and not empty.
 */
size_t cli_utf8_bytes(const char *text);

/*
 * `text` as it is printed in at most n_columns (at least 8), "..." in the middle where it is longer: printable, a
 * character of UTF-8 taken as one column.
 */
void cli_fit(char *fitted, size_t capacity, size_t n_columns, const char *text);

/* vsnprintf() that truncates to `capacity` (at least 1), then llavamed_make_printable(). */
void cli_format(char *text, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Bytes in three significant digits and a decimal unit: "0 B", "999 B", "1.00 KB", "13.5 GB". Rounded half up. */
void cli_format_bytes(char text[CLI_FIGURE_BYTES], uint64_t bytes);

/* The same in binary units, for memory: "256 MiB", "1.50 GiB". */
void cli_format_memory(char text[CLI_FIGURE_BYTES], uint64_t bytes);

/* Things of which there are many, from 1000 on: "6.74 billion". */
void cli_format_count(char text[CLI_FIGURE_BYTES], uint64_t count);

/* Bytes per second over a span, 0 when the span is 0; at most 10^18. */
uint64_t cli_bytes_per_second(uint64_t bytes, uint64_t elapsed_ns);

/* The same as text: "1.23 GB/s"; "- B/s" when the span is 0. */
void cli_format_rate(char text[CLI_FIGURE_BYTES], uint64_t bytes, uint64_t elapsed_ns);

/* "0.05 s", "12.3 s", "2:05", "1:02:03". */
void cli_format_seconds(char text[CLI_FIGURE_BYTES], uint64_t elapsed_ns);

/* "0:07", "2:05", "1:02:03". */
void cli_format_clock(char text[CLI_FIGURE_BYTES], uint64_t seconds);

/* `text` as one word of a POSIX shell: unchanged when plain, else in single quotes. malloc'ed; NULL without memory. */
char *cli_shell_word(const char *text);

#endif
