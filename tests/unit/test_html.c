/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of HTML: escaping, figures, the scale of colours, where tensors stand. The files are compiled into the test. */
#include "cli/html_grid.c"
#include "cli/html_scale.c"
#include "cli/html_text.c"
#include "cli/text.c"

#include "unit/harness.h"

static char written[4096];

/* What html_text() makes of a text. */
static const char *escaped(const char *text)
{
    memset(written, 0, sizeof written);
    FILE *stream = fmemopen(written, sizeof written, "w");
    if (stream == NULL) {
        return "no stream";
    }
    html_text(stream, text);
    (void)fclose(stream);
    return written;
}

static void what_has_a_meaning_is_escaped(void)
{
    EXPECT_TEXT(escaped("plain text, 100 %"), "plain text, 100 %");
    EXPECT_TEXT(escaped("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
    EXPECT_TEXT(escaped("&amp;"), "&amp;amp;");
    EXPECT_TEXT(escaped("--></title><"), "--&gt;&lt;/title&gt;&lt;");
    EXPECT_TEXT(escaped(""), "");
}

static void what_is_not_seen_is_replaced(void)
{
    EXPECT_TEXT(escaped("a\x1b[31mb\n\tc\x7f"), "a?[31mb??c?");
    EXPECT_TEXT(escaped("caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x98\x80"), "caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x98\x80");
    EXPECT_TEXT(escaped("\xff<\xc3"), "?&lt;?");
    EXPECT_TEXT(escaped("\xc0\xbcx\xed\xa0\x80"), "??x???"); /* '<' in two bytes, and half a pair: no UTF-8 */
    EXPECT(strchr(escaped("\xe2\x80\xae" "exe"), '\xe2') == NULL); /* right to left */
    EXPECT(strncmp(written, "?", 1) == 0);
}

static const char *figure(double value, int digits)
{
    static char text[HTML_FIGURE_BYTES];
    html_figure(text, value, digits);
    return text;
}

static const char *short_figure(double value)
{
    static char text[HTML_FIGURE_BYTES];
    html_short_figure(text, value);
    return text;
}

static const char *number(uint64_t value)
{
    static char text[HTML_FIGURE_BYTES];
    html_number(text, value);
    return text;
}

static void figures(void)
{
    EXPECT_TEXT(figure(0.012345, 3), "0.0123");
    EXPECT_TEXT(figure(0, 3), "0");
    EXPECT_TEXT(figure(INFINITY, 3), "-");
    EXPECT_TEXT(figure(NAN, 3), "-");
    EXPECT_TEXT(short_figure(0.012345), "0.012");
    EXPECT_TEXT(short_figure(0.001), "0.001");
    EXPECT_TEXT(short_figure(0.00032), "3.2e-4");
    EXPECT_TEXT(short_figure(-5e-12), "-5.0e-12");
    EXPECT_TEXT(short_figure(1e300), "1.0e300");
    EXPECT_TEXT(short_figure(12.5), "12.5");
    EXPECT_TEXT(short_figure(0), "0");
    EXPECT_TEXT(short_figure(-INFINITY), "-");
    EXPECT_TEXT(number(0), "0");
    EXPECT_TEXT(number(999), "999");
    EXPECT_TEXT(number(1000), "1,000");
    EXPECT_TEXT(number(UINT64_MAX), "18,446,744,073,709,551,615");
}

static void the_scale(void)
{
    EXPECT(html_scale_mark(0) == HTML_MARK_ZERO && html_scale_mark(-0.0) == HTML_MARK_ZERO);
    EXPECT(html_scale_mark(NAN) == HTML_MARK_NONE && html_scale_mark(-INFINITY) == HTML_MARK_NONE);
    EXPECT(html_scale_mark(5e-324) == 0 && html_scale_mark(1e308) == HTML_SCALE_STEPS - 1);
    for (int i = 1; i < HTML_SCALE_STEPS; i++) {
        double bound = html_scale_bound(i);
        EXPECT(html_scale_mark(bound) == i && html_scale_mark(-bound) == i);
        EXPECT(html_scale_mark(nextafter(bound, 0)) == i - 1);
        char text[HTML_FIGURE_BYTES];
        html_figure(text, bound, 3);
        EXPECT_TEXT(bound_texts[i], text);
    }
}

/* ---- Contrast, as WCAG 2 defines it ---- */

static double channel(unsigned value)
{
    double c = (double)value / 255;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static double luminance(const char *colour)
{
    unsigned long value = strtoul(colour + 1, NULL, 16);
    unsigned r = (unsigned)(value >> 16);
    unsigned g = (unsigned)(value >> 8 & 255);
    unsigned b = (unsigned)(value & 255);
    if (strlen(colour) == 4) {
        r = 17 * (unsigned)(value >> 8);
        g = 17 * (unsigned)(value >> 4 & 15);
        b = 17 * (unsigned)(value & 15);
    }
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
}

static bool is_readable(const struct colours *colours)
{
    double a = luminance(colours->back);
    double b = luminance(colours->text);
    return (fmax(a, b) + 0.05) / (fmin(a, b) + 0.05) >= 4.5;
}

static void all_colours_can_be_read(void)
{
    EXPECT(fabs(luminance("#fff") - 1) < 1e-9 && fabs(luminance("#808080") - 0.2158605) < 1e-6);
    for (int i = 0; i < HTML_SCALE_STEPS; i++) {
        EXPECT(is_readable(&scale[i]));
        EXPECT(i == 0 || luminance(scale[i].back) < luminance(scale[i - 1].back));
    }
    for (int i = 0; i < HTML_MARK_KINDS - HTML_SCALE_STEPS; i++) {
        EXPECT(is_readable(&other_light[i]));
        EXPECT(is_readable(&other_dark[i]));
    }
}

/* ---- Places ---- */

static void places_in_layers(void)
{
    struct html_place place = {0};
    EXPECT(html_grid_place("model.layers.31.self_attn.q_proj.weight", &place));
    EXPECT(place.layer == 31 && place.stack_bytes == 5);
    EXPECT_TEXT(place.part, "self_attn.q_proj.weight");
    EXPECT(html_grid_place("layers.0.x", &place) && place.stack_bytes == 0 && place.layer == 0);
    EXPECT_TEXT(place.part, "x");
    EXPECT(html_grid_place("model.layers.255.x", &place));
    EXPECT(!html_grid_place("model.layers.256.x", &place));
    EXPECT(!html_grid_place("model.layers.99999999999999999999999.x", &place));
    EXPECT(!html_grid_place("model.layers.01.x", &place));
    EXPECT(!html_grid_place("model.layers.1.", &place) && !html_grid_place("model.layers.1", &place));
    EXPECT(!html_grid_place("model.layers..x", &place) && !html_grid_place("model.layers.-1.x", &place));
    EXPECT(!html_grid_place("model.norm.weight", &place) && !html_grid_place("", &place));
}

static void labels_of_columns(void)
{
    char label[LABEL_BYTES];
    html_grid_label(label, sizeof label, "mlp.gate_proj.weight");
    EXPECT_TEXT(label, "gate");
    html_grid_label(label, sizeof label, "post_attention_layernorm.weight");
    EXPECT_TEXT(label, "norm 2");
    html_grid_label(label, sizeof label, "self_attn.q_proj.bias");
    EXPECT_TEXT(label, "self_attn.q_proj.bias");
    html_grid_label(label, sizeof label, "mlp.fc1.weight");
    EXPECT_TEXT(label, "mlp.fc1");
    html_grid_label(label, sizeof label, ".weight");
    EXPECT_TEXT(label, ".weight");
}

/* ---- A map that is larger than a page ---- */

static char many_names[3000][48];

static const char *many_name(const void *context, size_t index)
{
    (void)context;
    return many_names[index];
}

static void many_mark(const void *context, size_t index, struct html_mark *mark)
{
    (void)context;
    mark->kind = HTML_MARK_GOOD;
    (void)snprintf(mark->text, sizeof mark->text, "%zu", index);
}

static size_t count(const char *page, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(page, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

static void a_map_is_bounded(void)
{
    size_t n = 0;
    for (; n < 1500; n++) {
        (void)snprintf(many_names[n], sizeof many_names[n], "s%zu.layers.%zu.p%zu", n % 5, n / 5 % 10, n / 50);
    }
    for (; n < 3000; n++) {
        (void)snprintf(many_names[n], sizeof many_names[n], "other.%zu", n);
    }
    const struct html_grid grid = {NULL, n, "mark", many_name, many_mark};
    char *page = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&page, &n_bytes);
    EXPECT(stream != NULL && html_grid_print(stream, &grid, "map"));
    if (stream == NULL || fclose(stream) != 0) {
        return;
    }
    size_t in_stacks = (size_t)HTML_GRID_STACKS * 10 * HTML_GRID_COLUMNS;
    EXPECT_U64(in_stacks, 960);
    EXPECT_U64(count(page, "<td class=\"t "), in_stacks + HTML_GRID_BESIDE);
    EXPECT_U64(count(page, "<table"), HTML_GRID_STACKS + 1);
    EXPECT(strstr(page, "... and 1,784 more") != NULL); /* 3000 - 960 - 256 */
    free(page);
}

int main(void)
{
    CASE(what_has_a_meaning_is_escaped);
    CASE(what_is_not_seen_is_replaced);
    CASE(figures);
    CASE(the_scale);
    CASE(all_colours_can_be_read);
    CASE(places_in_layers);
    CASE(labels_of_columns);
    CASE(a_map_is_bounded);
    return harness_end();
}
