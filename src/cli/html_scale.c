/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/html_scale.h"

#include <math.h>

static const double bounds[HTML_SCALE_STEPS] = {0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1};
static const char *const bound_texts[HTML_SCALE_STEPS] = {"0", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1"};

/* Background and text; contrast of at least 4.5 in each (tests/unit/test_html.c). */
struct colours {
    const char *back;
    const char *text;
};

static const struct colours scale[HTML_SCALE_STEPS] = {
    {"#ffffd9", "#111"}, {"#edf8b1", "#111"}, {"#c7e9b4", "#111"}, {"#7fcdbb", "#111"},
    {"#41b6c4", "#111"}, {"#1d91c0", "#111"}, {"#225ea8", "#fff"}, {"#0c2c84", "#fff"},
};

static const char *const classes[HTML_MARK_KINDS] = {"h0", "h1", "h2", "h3",  "h4", "h5", "h6",
                                                     "h7", "hz", "hn", "ok", "bad", "unk"};

/* Of the marks that are no steps, on a light page and on a dark one. */
static const struct colours other_light[HTML_MARK_KINDS - HTML_SCALE_STEPS] = {
    {"#fff", "#444"}, {"#eee", "#444"}, {"#d3e9f8", "#123"}, {"#e8590c", "#111"}, {"#c9c9c9", "#111"},
};
static const struct colours other_dark[HTML_MARK_KINDS - HTML_SCALE_STEPS] = {
    {"#0d1117", "#bbb"}, {"#23282f", "#bbb"}, {"#0f3f63", "#e6f2fb"}, {"#ff9248", "#111"}, {"#565c64", "#fff"},
};

double html_scale_bound(int step)
{
    return bounds[step];
}

int html_scale_mark(double figure)
{
    double size = fabs(figure);
    if (!isfinite(size)) {
        return HTML_MARK_NONE;
    }
    if (size == 0) {
        return HTML_MARK_ZERO;
    }
    int step = 0;
    while (step + 1 < HTML_SCALE_STEPS && size >= bounds[step + 1]) {
        step++;
    }
    return step;
}

const char *html_scale_class(int mark)
{
    return classes[mark];
}

static void rule(FILE *stream, int mark, const struct colours *colours)
{
    (void)fprintf(stream, ".%s{background:%s;color:%s}\n", classes[mark], colours->back, colours->text);
}

void html_scale_style(FILE *stream)
{
    for (int i = 0; i < HTML_MARK_KINDS; i++) {
        rule(stream, i, i < HTML_SCALE_STEPS ? &scale[i] : &other_light[i - HTML_SCALE_STEPS]);
    }
    (void)fputs("@media screen and (prefers-color-scheme:dark){\n", stream);
    for (int i = 0; i < HTML_MARK_KINDS; i++) {
        rule(stream, i, i < HTML_SCALE_STEPS ? &scale[HTML_SCALE_STEPS - 1 - i] : &other_dark[i - HTML_SCALE_STEPS]);
    }
    (void)fputs("}\n", stream);
}

void html_scale_legend(FILE *stream)
{
    (void)fputs("<ul class=\"legend\" aria-label=\"Colours\">\n<li class=\"hz\">0</li>\n", stream);
    for (int i = 0; i < HTML_SCALE_STEPS; i++) {
        (void)fprintf(stream, "<li class=\"%s\">", classes[i]);
        if (i == 0) {
            (void)fprintf(stream, "below %s", bound_texts[1]);
        } else if (i + 1 < HTML_SCALE_STEPS) {
            (void)fprintf(stream, "%s to %s", bound_texts[i], bound_texts[i + 1]);
        } else {
            (void)fprintf(stream, "%s and more", bound_texts[i]);
        }
        (void)fputs("</li>\n", stream);
    }
    (void)fputs("<li class=\"hn\">no figure</li>\n</ul>\n", stream);
}

void html_verdict_legend(FILE *stream)
{
    (void)fputs("<ul class=\"legend\" aria-label=\"Marks\">\n"
                "<li class=\"ok\">\xe2\x9c\x93 intact</li>\n"
                "<li class=\"bad\">\xe2\x9c\x97 damaged</li>\n"
                "<li class=\"unk\">? unchecked</li>\n</ul>\n",
                stream);
}
