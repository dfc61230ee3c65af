/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of llavamed-verify, and what its report prints. The rules that all programs share: test_args.c. */
#include "cli/json_emit.c"
#include "cli/messages.c"
#include "cli/option_choices.c"
#include "cli/option_values.c"
#include "cli/options.c"
#include "cli/options_help.c"
#include "cli/text.c"
#include "cli/verify_args.c"
#include "cli/verify_options.c"
#include "cli/verify_report.c"

#include "unit/harness.h"

const char program_name[] = "llavamed-verify";

static struct verify_args args;
static struct llavamed_error error;

/* Parses the words of `line`, separated by single blanks; '~' stands for an empty word. */
static enum llavamed_status parse(const char *line)
{
    static char words[1024];
    static char program[] = "llavamed-verify";
    char *argv[32] = {program};
    int argc = 1;
    cli_format(words, sizeof words, "%s", line);
    for (char *next = words; *next != '\0' && argc < 31;) {
        char *word = next;
        next += strcspn(next, " ");
        if (*next != '\0') {
            *next++ = '\0';
        }
        argv[argc++] = word[0] == '~' ? word + 1 : word;
    }
    memset(&error, 0, sizeof error);
    return verify_args_parse(argc, argv, &args, &error);
}

static void understood(void)
{
    EXPECT_U64(parse("dir"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.dir, "dir");
    EXPECT(args.settings.sums == NULL && !args.settings.ignore_extra && !args.quiet && !args.verbose && !args.json);
    EXPECT_U64(args.settings.n_threads, 0);
    EXPECT_U64(args.settings.max_memory_bytes, 0);
    EXPECT_U64(args.progress, DISPLAY_PROGRESS_AUTO);
    EXPECT_U64(parse("--sums=s --ignore-extra -vj3 dir --max-memory 1MiB --progress never --json"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.dir, "dir");
    EXPECT_TEXT(args.settings.sums, "s");
    EXPECT(args.settings.ignore_extra && args.verbose && args.json);
    EXPECT_U64(args.settings.n_threads, 3);
    EXPECT_U64(args.settings.max_memory_bytes, 1048576);
    EXPECT_U64(args.progress, DISPLAY_PROGRESS_NEVER);
    EXPECT(args.settings.base == NULL && args.settings.delta == NULL && args.settings.against == NULL);
    EXPECT(!args.settings.has_dtype && !args.settings.has_inv_freq && args.settings.cpu == LLAVAMED_CPU_BEST);
    EXPECT_U64(parse("dir --base b --delta-path d --dtype bfloat16 --inv-freq drop --cpu ref"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.base, "b");
    EXPECT_TEXT(args.settings.delta, "d");
    EXPECT(args.settings.has_dtype && args.settings.has_inv_freq);
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_BFLOAT16);
    EXPECT_U64(args.settings.inv_freq, LLAVAMED_INV_FREQ_DROP);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_REF);
    EXPECT(args.identify.source == NULL);
    EXPECT_U64(parse("--identify b -j 2 --json"), LLAVAMED_OK);
    EXPECT_TEXT(args.identify.source, "b");
    EXPECT_U64(args.identify.n_threads, 2);
    EXPECT_U64(parse("dir --against a"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.against, "a");
    EXPECT_U64(parse("-- -dir"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.dir, "-dir");
    EXPECT_U64(parse("-q -"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.dir, "-");
    EXPECT(args.quiet);
    EXPECT_U64(parse("a --report r.html"), LLAVAMED_OK);
    EXPECT_TEXT(args.report, "r.html");
    EXPECT(args.settings.tensor_reports);
    EXPECT_U64(parse("a"), LLAVAMED_OK);
    EXPECT(args.report == NULL && !args.settings.tensor_reports);
    EXPECT_U64(parse("--help"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_HELP);
    EXPECT_U64(parse("--version x y"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_VERSION);
}

struct refusal {
    const char *line;
    enum llavamed_status status;
    const char *message;
};

static void refused(void)
{
    static const struct refusal refusals[] = {
        {"", LLAVAMED_STATUS_USAGE, "argument missing (want DIR)"},
        {"-v", LLAVAMED_STATUS_USAGE, "argument missing (want DIR)"},
        {"~", LLAVAMED_STATUS_USAGE, "the name of the directory is empty (want DIR)"},
        {"a b", LLAVAMED_STATUS_USAGE, "unexpected argument (got 'b' after 'a')"},
        {"a --sums", LLAVAMED_STATUS_USAGE, "--sums: value missing (want FILE)"},
        {"a --out b", LLAVAMED_STATUS_USAGE, "unknown option (got '--out')"},
        {"a -qv", LLAVAMED_STATUS_USAGE, "-q contradicts -v"},
        {"a -q --progress=always", LLAVAMED_STATUS_USAGE, "-q contradicts --progress always"},
        {"a --against b --base c", LLAVAMED_STATUS_USAGE, "--against contradicts --base"},
        {"a --delta c --against b", LLAVAMED_STATUS_USAGE, "--against contradicts --delta"},
        {"a --against b --dtype float16", LLAVAMED_STATUS_USAGE,
         "--dtype is an option of the merge (want --base and --delta with it)"},
        {"a --base b", LLAVAMED_STATUS_USAGE, "--delta missing (--base and --delta go together)"},
        {"a --delta b", LLAVAMED_STATUS_USAGE, "--base missing (--base and --delta go together)"},
        {"a --base b --base-model-path c --delta d", LLAVAMED_STATUS_USAGE,
         "--base-model-path: option --base given twice"},
        {"a --dtype float16", LLAVAMED_STATUS_USAGE,
         "--dtype is an option of the merge (want --base and --delta with it)"},
        {"a --inv-freq drop", LLAVAMED_STATUS_USAGE,
         "--inv-freq is an option of the merge (want --base and --delta with it)"},
        {"a --cpu ref", LLAVAMED_STATUS_USAGE, "--cpu is an option of the merge (want --base and --delta with it)"},
        {"a --base b --delta d --inv-freq half", LLAVAMED_STATUS_USAGE,
         "--inv-freq: unknown value (got 'half', want one of keep, drop)"},
        {"--identify b a", LLAVAMED_STATUS_USAGE, "--identify goes without a directory"},
        {"--identify b --sums c", LLAVAMED_STATUS_USAGE, "--identify goes without --sums"},
        {"--identify b --ignore-extra", LLAVAMED_STATUS_USAGE, "--identify goes without --ignore-extra"},
        {"--identify b --base c", LLAVAMED_STATUS_USAGE, "--identify goes without --base"},
        {"--identify b --against c", LLAVAMED_STATUS_USAGE, "--identify goes without --against"},
        {"--identify b --max-memory 1GB", LLAVAMED_STATUS_USAGE, "--identify goes without --max-memory"},
        {"--identify b -qv", LLAVAMED_STATUS_USAGE, "-q contradicts -v"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        EXPECT_U64(parse(refusals[i].line), refusals[i].status);
        EXPECT_TEXT(error.message, refusals[i].message);
        EXPECT(!args.json);
    }
    EXPECT_U64(parse("a --nonsense --json"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT_TEXT(error.hint, "llavamed-verify --help-all lists the options");
    EXPECT_U64(parse("--nonsense -- --json"), LLAVAMED_STATUS_USAGE);
    EXPECT(!args.json);
}

static char *printed;
static size_t printed_bytes;

static FILE *start(void)
{
    free(printed);
    printed = NULL;
    FILE *stream = open_memstream(&printed, &printed_bytes);
    EXPECT(stream != NULL);
    return stream;
}

static void help_fits_and_names_every_option(void)
{
    FILE *stream = start();
    options_print_help_all(&verify_options, stream);
    EXPECT(fclose(stream) == 0);
    for (const char *line = printed; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        EXPECT(n < 80 && (n == 0 || line[n - 1] != ' '));
        line += n + (line[n] == '\n');
    }
    for (size_t i = 0; i < verify_options.n_rows; i++) {
        const struct option_row *row = &verify_options.rows[i];
        char name[64];
        EXPECT_U64(row->id, i);
        EXPECT((row->help == NULL) == (row->not_yet != NULL));
        cli_format(name, sizeof name, "--%s ", row->name);
        EXPECT((strstr(printed, name) != NULL) == (row->help != NULL));
    }
}

static void findings_are_printed(void)
{
    static char file[] = "a\n\x1b[2J";
    static char tensor[] = "t\xff\xe2\x80\xae";
    static char what[] = "is wrong";
    struct llavamed_finding list[] = {
        {.code = LLAVAMED_FINDING_TENSOR_CRC, .file = file, .tensor = tensor, .offset = 7, .what = what},
        {.code = LLAVAMED_FINDING_FILE_EXTRA, .file = what, .what = what},
    };
    const struct llavamed_verify_result result = {.findings = list, .n_findings = 2, .n_found = 5};
    FILE *stream = start();
    verify_report_print_findings(stream, &result);
    EXPECT(fclose(stream) == 0);
    EXPECT_TEXT(printed, "a??[2J: t????: is wrong\nis wrong: is wrong\n... and 3 more findings\n");
    const struct llavamed_verify_settings settings = {.dir = "dir"};
    const struct llavamed_error wrong = {.status = LLAVAMED_STATUS_NOT_INTACT, .message = "dir: not intact"};
    const struct verify_report report = {&settings, &result, &wrong, 4096};
    stream = start();
    verify_report_print_json(stream, &report);
    EXPECT(fclose(stream) == 0);
    EXPECT(strstr(printed, "\"status\": 1,\n  \"code\": \"NOT_INTACT\",") != NULL);
    EXPECT(strstr(printed, "\"intact\": false") != NULL);
    EXPECT(strstr(printed, "\"n_findings\": 5,") != NULL);
    EXPECT(strstr(printed, "\"code\": \"TENSOR_CRC\",\n") != NULL);
    EXPECT(strstr(printed, "\"file\": \"a\\u000a\\u001b[2J\",\n") != NULL);
    EXPECT(strstr(printed, "\"tensor\": \"t?\\u202e\",\n") != NULL);
    EXPECT(strstr(printed, "\"offset\": 7,\n") != NULL);
    EXPECT(strstr(printed, "\"what\": \"is wrong\"\n") != NULL);
    EXPECT(strstr(printed, "\"file\": \"is wrong\",\n      \"tensor\": null,") != NULL);
    free(printed);
    printed = NULL;
}

int main(void)
{
    CASE(understood);
    CASE(refused);
    CASE(help_fits_and_names_every_option);
    CASE(findings_are_printed);
    return harness_end();
}
