/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/html_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "llavamed.h"

/* The reference for a character that HTML gives a meaning to, or NULL. */
static const char *reference_of(char character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(FILE *stream, const char *text)
{
    while (*text != '\0') {
        size_t n = cli_utf8_bytes(text);
        const char *reference = reference_of(*text);
        char shown[5] = "?";
        if (n > 0) {
            memcpy(shown, text, n);
            shown[n] = '\0';
            llavamed_make_printable(shown);
        }
        (void)fputs(reference != NULL ? reference : shown, stream);
        text += n > 0 ? n : 1;
    }
}

void html_textv(FILE *stream, const char *format, va_list args)
{
    char text[2048];
    (void)vsnprintf(text, sizeof text, format, args);
    html_text(stream, text);
}

void html_textf(FILE *stream, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    html_textv(stream, format, args);
    va_end(args);
}

void html_figure(char text[HTML_FIGURE_BYTES], double figure, int digits)
{
    if (isfinite(figure)) {
        (void)snprintf(text, HTML_FIGURE_BYTES, "%.*g", digits, figure);
    } else {
        (void)snprintf(text, HTML_FIGURE_BYTES, "-");
    }
}

void html_short_figure(char text[HTML_FIGURE_BYTES], double figure)
{
    double size = fabs(figure);
    bool is_plain = size == 0 || !isfinite(size) || (size >= 0.001 && size < 1e4);
    if (is_plain) {
        html_figure(text, figure, size >= 10 && size < 1e4 ? 4 : 2);
        return;
    }
    (void)snprintf(text, HTML_FIGURE_BYTES, "%.1e", figure);
    char *exponent = strchr(text, 'e'); /* "e-04" */
    int value = exponent == NULL ? 0 : (int)strtol(exponent + 1, NULL, 10);
    if (exponent != NULL) {
        (void)snprintf(exponent, HTML_FIGURE_BYTES - (size_t)(exponent - text), "e%d", value);
    }
}

void html_number(char text[HTML_FIGURE_BYTES], uint64_t number)
{
    char digits[HTML_FIGURE_BYTES];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < n; i++) {
        *text++ = digits[i];
        if ((n - 1 - i) % 3 == 0 && i + 1 < n) {
            *text++ = ',';
        }
    }
    *text = '\0';
}
