/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/html_page.h"

#include <stdarg.h>
#include <string.h>

#include "cli/html_scale.h"
#include "cli/html_text.h"
#include "cli/messages.h"
#include "llavamed.h"

/* A text of no more stays on one line. */
#define SHORT_TEXT_BYTES 40

static const char style[] =
    ":root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#57606a;--line:#c8ced6;--panel:#f3f5f8;"
    "--good:#0a4f8a;--bad:#a33a00}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6e9ee;--soft:#a3acb8;"
    "--line:#3a424d;--panel:#171c24;--good:#8cc8ff;--bad:#ffab70}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1rem;max-width:80rem;background:var(--back);color:var(--text);"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.5rem;margin:.3rem 0 1rem;line-height:1.25}\n"
    "h2{font-size:1.15rem;margin:2rem 0 .5rem;line-height:1.3}\n"
    "h3{font-size:1rem;margin:1.2rem 0 .4rem}\n"
    "p{margin:.4rem 0}\n"
    ".soft{color:var(--soft)}\n"
    ".verdict{border-left:.4rem solid var(--good);background:var(--panel);padding:.7rem 1rem;border-radius:.25rem}\n"
    ".verdict.wrong{border-color:var(--bad)}\n"
    ".verdict strong{font-size:1.15rem;color:var(--good)}\n"
    ".verdict.wrong strong{color:var(--bad)}\n"
    ".scroll{overflow-x:auto;max-width:100%}\n"
    ".scroll:focus-visible{outline:2px solid var(--good);outline-offset:2px}\n"
    "table{border-collapse:collapse;font-size:.85rem;overflow-wrap:normal}\n"
    "caption{text-align:left;color:var(--soft);padding:.2rem 0;caption-side:top}\n"
    "th,td{padding:.25rem .55rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}\n"
    "thead th{border-bottom:2px solid var(--line);white-space:nowrap}\n"
    "tbody th{font-weight:400}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    ".s{white-space:nowrap}\n"
    "code{font:.8rem/1.4 ui-monospace,monospace;overflow-wrap:anywhere}\n"
    "td code{display:inline-block;min-width:14rem;max-width:36rem}\n"
    "code.short{min-width:0}\n"
    ".maps{display:flex;flex-wrap:wrap;gap:0 2rem;align-items:flex-start}\n"
    ".maps>.scroll{flex:0 1 auto}\n"
    ".heat{border-collapse:separate;border-spacing:2px;font-variant-numeric:tabular-nums}\n"
    ".heat th,.heat td{border:0;padding:.12rem .35rem;white-space:nowrap}\n"
    ".heat th{font-weight:400;color:var(--soft)}\n"
    ".heat thead th,.heat td{text-align:center}\n"
    ".heat td{min-width:3.2rem;border-radius:2px}\n"
    ".heat td.t{box-shadow:inset 0 0 0 1px rgba(128,128,128,.35)}\n"
    ".heat tbody th{position:sticky;left:0;background:var(--back);text-align:right}\n"
    ".heat.beside tbody th{text-align:left;white-space:normal;overflow-wrap:anywhere;max-width:22rem}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:3px;padding:0;margin:.6rem 0;font-size:.8rem}\n"
    ".legend li{padding:.15rem .5rem;border-radius:2px;box-shadow:inset 0 0 0 1px rgba(128,128,128,.35)}\n"
    ".kind{padding:0 .4rem;border-radius:2px;white-space:nowrap}\n"
    "footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.8rem}\n"
    ".notice{border:1px solid var(--bad);border-radius:.25rem;padding:.6rem .9rem}\n"
    "@media (max-width:40rem){body{padding:.6rem}.heat{font-size:.68rem;border-spacing:1px}"
    ".heat th,.heat td{padding:.12rem .1rem}.heat td{min-width:2.05rem}table{font-size:.78rem}"
    "td code{min-width:9rem}}\n"
    "@media print{body{max-width:none;padding:0;font-size:10pt}.scroll{overflow:visible}table{font-size:7.5pt}"
    ".heat td,.legend li,.kind{-webkit-print-color-adjust:exact;print-color-adjust:exact}"
    ".heat td{min-width:0}thead{display:table-header-group}tr,.verdict,.notice{break-inside:avoid}}\n";

void html_page_begin(FILE *stream, const char *title)
{
    (void)fputs(HTML_PAGE_MARK "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'; img-src data:\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n"
                "<meta name=\"generator\" content=\"",
                stream);
    html_textf(stream, "%s %s", program_name, LLAVAMED_VERSION);
    (void)fputs("\">\n<link rel=\"icon\" href=\"data:,\">\n<title>", stream);
    html_text(stream, title);
    (void)fprintf(stream, "</title>\n<style>\n%s", style);
    html_scale_style(stream);
    (void)fputs("</style>\n</head>\n<body>\n<header>\n<h1>", stream);
    html_text(stream, title);
    (void)fputs("</h1>\n</header>\n<main>\n", stream);
}

void html_page_verdict(FILE *stream, bool is_good, const char *words, const char *detail)
{
    (void)fprintf(stream, "<div class=\"verdict%s\">\n<p><strong>", is_good ? "" : " wrong");
    html_text(stream, words);
    (void)fputs("</strong></p>\n<p>", stream);
    html_text(stream, detail);
    (void)fputs("</p>\n</div>\n", stream);
}

void html_page_end(FILE *stream)
{
    (void)fputs("</main>\n<footer>\n<p class=\"notice\"><strong>Research use only.</strong> "
                "LLaVA-Med and models made from it are for research only. They must not be used in clinical care or "
                "for any clinical decision making. NOTICE-research-only.md beside the weights says whose terms "
                "apply.</p>\n<p class=\"soft\">",
                stream);
    html_textf(stream, "%s %s", program_name, LLAVAMED_VERSION);
    (void)fputs("</p>\n</footer>\n</body>\n</html>\n", stream);
}

void html_section_begin(FILE *stream, const char *heading)
{
    (void)fputs("<section>\n<h2>", stream);
    html_text(stream, heading);
    (void)fputs("</h2>\n", stream);
}

void html_section_end(FILE *stream)
{
    (void)fputs("</section>\n", stream);
}

void html_paragraph(FILE *stream, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("<p>", stream);
    html_textv(stream, format, args);
    (void)fputs("</p>\n", stream);
    va_end(args);
}

void html_texts(FILE *stream, const char *heading, char *const *texts, size_t n_texts)
{
    if (n_texts == 0) {
        return;
    }
    html_section_begin(stream, heading);
    (void)fputs("<ul>\n", stream);
    for (size_t i = 0; i < n_texts && i < HTML_TEXTS_MAX; i++) {
        (void)fputs("<li>", stream);
        html_text(stream, texts[i]);
        (void)fputs("</li>\n", stream);
    }
    if (n_texts > HTML_TEXTS_MAX) {
        (void)fputs("<li>", stream);
        html_textf(stream, "... and %zu more", n_texts - HTML_TEXTS_MAX);
        (void)fputs("</li>\n", stream);
    }
    (void)fputs("</ul>\n", stream);
    html_section_end(stream);
}

/* ---- Tables ------------------------------------------------------------------------------------------------- */

void html_table_begin(FILE *stream, const char *caption, const char *const *columns)
{
    (void)fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", stream);
    html_text(stream, caption);
    (void)fputs("\">\n<table>\n<caption>", stream);
    html_text(stream, caption);
    (void)fputs("</caption>\n<thead>\n<tr>", stream);
    for (size_t i = 0; columns[i] != NULL; i++) {
        bool is_number = columns[i][0] == '#';
        (void)fprintf(stream, "<th scope=\"col\"%s>", is_number ? " class=\"n\"" : "");
        html_text(stream, columns[i] + is_number);
        (void)fputs("</th>", stream);
    }
    (void)fputs("</tr>\n</thead>\n<tbody>\n", stream);
}

void html_table_end(FILE *stream, uint64_t n_left_out, const char *what)
{
    (void)fputs("</tbody>\n</table>\n</div>\n", stream);
    if (n_left_out > 0) {
        char number[HTML_FIGURE_BYTES];
        html_number(number, n_left_out);
        html_paragraph(stream, "... and %s more %s, which this page leaves out.", number, what);
    }
}

void html_row_begin(FILE *stream, const char *header)
{
    (void)fputs("<tr><th scope=\"row\">", stream);
    html_text(stream, header);
    (void)fputs("</th>", stream);
}

void html_row_text(FILE *stream, const char *text)
{
    (void)fputs(strlen(text) <= SHORT_TEXT_BYTES ? "<td class=\"s\">" : "<td>", stream);
    html_text(stream, text);
    (void)fputs("</td>", stream);
}

void html_row_code(FILE *stream, const char *text)
{
    if (text == NULL || text[0] == '\0') {
        (void)fputs("<td>-</td>", stream);
        return;
    }
    (void)fprintf(stream, "<td><code%s>", strlen(text) > 16 ? "" : " class=\"short\"");
    html_text(stream, text);
    (void)fputs("</code></td>", stream);
}

void html_row_number(FILE *stream, uint64_t number)
{
    char text[HTML_FIGURE_BYTES];
    html_number(text, number);
    (void)fprintf(stream, "<td class=\"n\">%s</td>", text);
}

void html_row_figure(FILE *stream, bool is_known, double figure)
{
    char text[HTML_FIGURE_BYTES] = "-";
    if (is_known) {
        html_figure(text, figure, 3);
    }
    (void)fprintf(stream, "<td class=\"n\">%s</td>", text);
}

void html_row_end(FILE *stream)
{
    (void)fputs("</tr>\n", stream);
}

void html_row_shape(FILE *stream, unsigned rank, const uint64_t *shape)
{
    (void)fputs("<td class=\"n\">", stream);
    for (unsigned i = 0; i < rank; i++) {
        (void)fprintf(stream, "%s%llu", i == 0 ? "" : " \xc3\x97 ", (unsigned long long)shape[i]);
    }
    (void)fputs(rank == 0 ? "scalar</td>" : "</td>", stream);
}
