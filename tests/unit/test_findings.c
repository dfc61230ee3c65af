/* SPDX-License-Identifier: Apache-2.0 */
/* What is found: its order, its limits, its words; and lists of sums, which find things by themselves. */
#include "verify/findings.h"
#include "verify/sums_list.h"

#include "unit/harness.h"

static struct llavamed_error error;

static void add(struct findings *findings, enum llavamed_finding_code code, const char *file, const char *tensor,
                uint64_t offset)
{
    const struct finding_place place = {file, tensor, offset};
    findings_add(findings, code, &place, "is %s", "wrong");
}

static void order(void)
{
    struct findings findings = {0};
    add(&findings, LLAVAMED_FINDING_TENSOR_CRC, "b", "t", 9);
    add(&findings, LLAVAMED_FINDING_TENSOR_CRC, "b", "s", 9);
    add(&findings, LLAVAMED_FINDING_TENSOR_CRC, "b", "u", 3);
    add(&findings, LLAVAMED_FINDING_FILE_HASH, "b", NULL, 0);
    add(&findings, LLAVAMED_FINDING_FILE_SIZE, "b", NULL, 0);
    add(&findings, LLAVAMED_FINDING_FILE_MISSING, "a", NULL, 0);
    findings_sort(&findings);
    static const char *const want[] = {"a -", "b -", "b -", "b u", "b s", "b t"};
    EXPECT_U64(findings.n_listed, 6);
    for (size_t i = 0; i < findings.n_listed; i++) {
        char got[64];
        (void)snprintf(got, sizeof got, "%s %s", findings.list[i].file,
                       findings.list[i].tensor == NULL ? "-" : findings.list[i].tensor);
        EXPECT_TEXT(got, want[i]);
        EXPECT_TEXT(findings.list[i].what, "is wrong");
    }
    EXPECT_TEXT(llavamed_finding_name(findings.list[1].code), "FILE_SIZE");
    EXPECT_TEXT(llavamed_finding_name(findings.list[2].code), "FILE_HASH");
    EXPECT_U64(findings.n_unread, 0);
    findings_deinit(&findings);
}

static void limits(void)
{
    struct findings findings = {0};
    for (size_t i = 0; i < LLAVAMED_FINDINGS_MAX + 5; i++) {
        add(&findings, LLAVAMED_FINDING_FILE_IO, "a", NULL, 0);
    }
    EXPECT_U64(findings.n_listed, LLAVAMED_FINDINGS_MAX);
    EXPECT_U64(findings.n_found, LLAVAMED_FINDINGS_MAX + 5);
    EXPECT_U64(findings.n_unread, LLAVAMED_FINDINGS_MAX + 5);
    EXPECT_U64(findings_status(&findings, &error), LLAVAMED_OK);
    findings_deinit(&findings);
    EXPECT_TEXT(llavamed_finding_name((enum llavamed_finding_code)1000), "unknown");
}

static void words(void)
{
    EXPECT_TEXT(findings_words("a.bin: is no zip", "a.bin"), "is no zip");
    EXPECT_TEXT(findings_words("a.bin: is no zip", "a"), "a.bin: is no zip");
    EXPECT_TEXT(findings_words("a?b: is no zip", "a\nb"), "is no zip");
    EXPECT_TEXT(findings_words("", "a"), "");
    struct findings findings = {0};
    const struct finding_place place = {.file = "a\n\xff"};
    findings_add(&findings, LLAVAMED_FINDING_FILE_EXTRA, &place, "%s", "\x1b[2J\n");
    EXPECT_TEXT(findings.list[0].file, "a\n\xff");
    EXPECT_TEXT(findings.list[0].what, "?[2J?");
    findings_deinit(&findings);
}

/* ---- Lists of sums ---- */

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_0 "0000000000000000000000000000000000000000000000000000000000000000"
#define UPPER "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

struct list_case {
    const char *text;
    const char *entries; /* "LINE NAME;" of each, in order */
    size_t n_findings;
    size_t odd_line;
};

static void lists(void)
{
    static const struct list_case cases[] = {
        {"", "", 0, 0},
        {HEX_A "  a\n" HEX_0 "  b\n", "1 a;2 b;", 0, 0},
        {HEX_A "  b\n" HEX_0 "  a\n", "2 a;1 b;", 0, 2},
        {HEX_A "  a", "1 a;", 0, 1},
        {HEX_A " *a\n", "1 a;", 0, 1},
        {HEX_A "  a\r\n", "1 a;", 0, 1},
        {HEX_A "  ./a\n", "1 a;", 0, 0},
        {UPPER "  a\n" UPPER "  b\n", "1 a;2 b;", 0, 0},
        {UPPER "  a\n" HEX_0 "  b\n" HEX_A "  c\n", "1 a;2 b;3 c;", 1, 0},
        {"Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  a\n", "1 a;", 1, 0},
        {"\\" HEX_A "  a\\nb\\\\c\n", "1 a\nb\\c;", 0, 0},
        {"\\" UPPER "  a\\n\n", "1 a\n;", 0, 0},
        {HEX_A "  a\n\n" HEX_0 "  b\n", "1 a;3 b;", 1, 0},
        {HEX_A "  a\nx\n" HEX_0 "  b", "1 a;3 b;", 1, 3},
        {HEX_A "  a\n" HEX_0 "  a\n" HEX_0 "  ./a\n", "1 a;", 2, 2},
        {HEX_A "  a/b\n", "", 1, 0},
        {HEX_A "  /a\n", "", 1, 0},
        {HEX_A "  ./\n", "", 1, 0},
        {HEX_A "  ..\n", "", 1, 0},
        {HEX_A "  \n", "", 1, 0},
        {HEX_A " a\n", "", 1, 0},
        {"SHA256 (a) = " HEX_A "\n", "", 1, 0},
        {"gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  a\n", "", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        char got[256] = "";
        struct sums_list list;
        struct findings findings = {0};
        (void)snprintf(text, sizeof text, "%s", cases[i].text);
        EXPECT_U64(sums_list_parse(text, strlen(text), "SUMS", &list, &findings, &error), LLAVAMED_OK);
        for (size_t k = 0; k < list.n_entries; k++) {
            size_t used = strlen(got);
            (void)snprintf(got + used, sizeof got - used, "%zu %s;", list.entries[k].line, list.entries[k].name);
            EXPECT(strcmp(list.entries[k].sha256, HEX_A) == 0 || strcmp(list.entries[k].sha256, HEX_0) == 0);
        }
        bool same = EXPECT_TEXT(got, cases[i].entries);
        same = EXPECT_U64(findings.n_found, cases[i].n_findings) && same;
        if (!EXPECT_U64(list.odd_line, cases[i].odd_line) || !same) {
            printf("    list %zu: %s\n", i, cases[i].text);
        }
        for (size_t k = 0; k < findings.n_listed; k++) {
            EXPECT_TEXT(findings.list[k].file, "SUMS");
            EXPECT_U64(findings.list[k].code, LLAVAMED_FINDING_RECORD_INVALID);
            EXPECT(strncmp(findings.list[k].what, "line ", 5) == 0);
        }
        sums_list_deinit(&list);
        findings_deinit(&findings);
    }
    /* A NUL is no end of the list. */
    char text[] = HEX_A "  a\n" HEX_0 "  b\0c\n" HEX_0 "  d\n";
    struct sums_list list;
    struct findings findings = {0};
    EXPECT_U64(sums_list_parse(text, sizeof text - 1, "SUMS", &list, &findings, &error), LLAVAMED_OK);
    EXPECT_U64(list.n_entries, 2);
    EXPECT_U64(findings.n_found, 1);
    sums_list_deinit(&list);
    findings_deinit(&findings);
}

int main(void)
{
    CASE(order);
    CASE(limits);
    CASE(words);
    CASE(lists);
    return harness_end();
}
