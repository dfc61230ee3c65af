/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the table of llavamed-inspect; its files are compiled into the test. */
#include "cli/inspect_args.c"
#include "cli/inspect_table.c"
#include "cli/messages.c"
#include "cli/option_values.c"
#include "cli/options.c"
#include "cli/options_help.c"
#include "cli/text.c"

#include "unit/harness.h"

const char program_name[] = "llavamed-inspect";

static struct inspect_args args;
static struct llavamed_error error;

static enum llavamed_status parse(int argc, const char *const argv[])
{
    memset(&error, 0, sizeof error);
    static char words[8][64]; /* from which the source is borrowed */
    char *pointers[8];
    for (int i = 0; i < argc; i++) {
        cli_format(words[i], sizeof words[i], "%s", argv[i]);
        pointers[i] = words[i];
    }
    return inspect_args_parse(argc, pointers, &args, &error);
}

#define PARSE(...) parse((int)(sizeof((const char *[]){"x", __VA_ARGS__}) / sizeof(char *)), \
                         (const char *[]){"x", __VA_ARGS__})

static void what_is_asked_for(void)
{
    EXPECT(PARSE("dir") == LLAVAMED_OK);
    EXPECT_TEXT(args.settings.source, "dir");
    EXPECT(args.action == OPTIONS_RUN && !args.tensors && !args.quiet && !args.json);
    EXPECT(PARSE("--tensors", "a b", "--json") == LLAVAMED_OK);
    EXPECT_TEXT(args.settings.source, "a b");
    EXPECT(args.tensors && args.json);
    EXPECT(PARSE("-q", "--", "-dir") == LLAVAMED_OK);
    EXPECT_TEXT(args.settings.source, "-dir");
    EXPECT(args.quiet);
    EXPECT(PARSE("--help") == LLAVAMED_OK);
    EXPECT(args.action == OPTIONS_HELP);
    EXPECT(PARSE("dir", "--version") == LLAVAMED_OK);
    EXPECT(args.action == OPTIONS_VERSION);
}

static void what_is_refused(void)
{
    EXPECT(PARSE("") == LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "no SOURCE is given");
    EXPECT_TEXT(error.hint, "llavamed-inspect SOURCE; --help lists the options");
    EXPECT(PARSE("--json") == LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT(PARSE("a", "b") == LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "more than one SOURCE (got 'a' and 'b')");
    EXPECT(PARSE("a", "--tensors", "-q") == LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "-q contradicts --tensors");
    EXPECT(PARSE("a", "--tensor", "--json") == LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT(PARSE("a", "--tensors=yes") == LLAVAMED_STATUS_USAGE);
    EXPECT(PARSE("a", "--report", "r.html", "--json") == LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "--report needs --stats");
    EXPECT(PARSE("a", "--report", "r.html", "--stats") == LLAVAMED_OK);
    EXPECT_TEXT(args.report, "r.html");
}

static void texts_that_are_fitted(void)
{
    static const struct {
        size_t n_columns;
        const char *text, *want;
    } rows[] = {
        {8, "12345678", "12345678"},
        {8, "123456789", "12...789"},
        {9, "1234567890", "123...890"},
        {8, "", ""},
        {8, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f",
         "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"},
        {8, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f!",
         "\xc3\xa4\xc3\xb6...\xc3\xbc\xc3\x9f!"},
        {8, "a\nb", "a?b"},
        {8, "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", "??...???"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char fitted[64];
        cli_fit(fitted, sizeof fitted, rows[i].n_columns, rows[i].text);
        EXPECT_TEXT(fitted, rows[i].want);
    }
    static const struct {
        uint64_t count;
        const char *want;
    } counts[] = {{1000, "1.00 thousand"}, {6738415616, "6.74 billion"}, {65285660672, "65.3 billion"},
                  {999999, "1.00 million"}, {UINT64_C(1500000000000), "1.50 trillion"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char text[CLI_FIGURE_BYTES];
        cli_format_count(text, counts[i].count);
        EXPECT_TEXT(text, counts[i].want);
    }
}

/* Largest values in every column, longest names: no line above 100 columns. */
static void no_line_is_too_wide(void)
{
    char long_name[1025];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    for (size_t i = 40; i < sizeof long_name - 1; i += 40) {
        long_name[i] = ' ';
    }
    char word[1025];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    char *notes[] = {long_name, word};
    struct llavamed_inspect_shard shards[] = {{.name = word, .file_bytes = INT64_MAX / 1000, .n_tensors = 1000000},
                                              {.name = long_name, .file_bytes = 1}};
    struct llavamed_inspect_tensor tensors[] = {
        {.name = word, .dtype = "F8_E4M3FNUZ", .rank = 16, .n_bytes = INT64_MAX, .shard = 0},
        {.name = long_name, .dtype = "F16", .rank = 0, .n_bytes = 2, .shard = LLAVAMED_SHARDS_ALL}};
    for (size_t i = 0; i < 16; i++) {
        tensors[0].shape[i] = INT64_MAX;
    }
    struct llavamed_inspect_dtype dtypes[] = {{"F8_E4M3FNUZ", 1000000, INT64_MAX, INT64_MAX / 1000}};
    const struct llavamed_inspect_result result = {
        .path = word, .in_hub_cache = true, .layout = "directory", .format = "safetensors", .index_name = word,
        .archive_bytes = UINT64_MAX, .release = "LLaMA-1 7B",
        .config = {.file_name = "config.json", .model_type = word, .architecture = long_name, .n_rows = 7},
        .shards = shards, .n_shards = 2, .tensors = tensors, .n_tensors = 2, .dtypes = dtypes, .n_dtypes = 1,
        .n_bytes = UINT64_MAX, .n_parameters = UINT64_MAX, .notes = notes, .n_notes = 2,
    };
    char *printed = NULL;
    size_t printed_bytes = 0;
    FILE *stream = open_memstream(&printed, &printed_bytes);
    inspect_table_print(stream, long_name, &result, true);
    EXPECT(fclose(stream) == 0);
    size_t n_lines = 0;
    for (const char *line = printed; *line != '\0'; n_lines++) {
        size_t n = strcspn(line, "\n");
        if (!EXPECT(n <= 100)) {
            printf("    %.*s\n", (int)n, line);
        }
        line += n + 1;
    }
    EXPECT(n_lines > 30);
    free(printed);
}

int main(void)
{
    CASE(what_is_asked_for);
    CASE(what_is_refused);
    CASE(texts_that_are_fitted);
    CASE(no_line_is_too_wide);
    return harness_end();
}
