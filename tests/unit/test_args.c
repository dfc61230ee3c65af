/* SPDX-License-Identifier: Apache-2.0 */
/* The front end is not in the library: its files are compiled into the test. */
#include "cli/apply_args.c"
#include "cli/apply_options.c"
#include "cli/merge_choices.c"
#include "cli/messages.c"
#include "cli/option_choices.c"
#include "cli/option_values.c"
#include "cli/options.c"
#include "cli/options_help.c"
#include "cli/part_option.c"
#include "cli/text.c"

#include "unit/harness.h"

const char program_name[] = "llavamed-apply";

#define ARGUMENTS_MAX 512

static struct apply_args args;
static struct llavamed_error error;

/* Parses the words of `line` (separated by single blanks; '~' stands for an empty word). */
static enum llavamed_status parse(const char *line)
{
    static char words[8192];
    static char program[] = "llavamed-apply";
    char *argv[ARGUMENTS_MAX + 1] = {program};
    int argc = 1;
    cli_format(words, sizeof words, "%s", line);
    char *next = words;
    while (*next != '\0' && argc < ARGUMENTS_MAX) {
        char *word = next;
        next += strcspn(next, " ");
        if (*next != '\0') {
            *next++ = '\0';
        }
        if (word[0] == '~') {
            word[0] = '\0';
        }
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    memset(&error, 0, sizeof error);
    return apply_args_parse(argc, argv, &args, &error);
}

/* The three options that every run needs, then `line`. */
static enum llavamed_status parse_run(const char *line)
{
    char whole[1024];
    cli_format(whole, sizeof whole, "--base b --delta d --out o%s%s", line[0] == '\0' ? "" : " ", line);
    return parse(whole);
}

static void defaults(void)
{
    EXPECT_U64(parse_run(""), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_RUN);
    EXPECT_TEXT(args.settings.base, "b");
    EXPECT_TEXT(args.settings.delta, "d");
    EXPECT_TEXT(args.settings.out, "o");
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_DELTA);
    EXPECT_U64(args.settings.inv_freq, LLAVAMED_INV_FREQ_KEEP);
    EXPECT_U64(args.settings.verify, LLAVAMED_VERIFY_AUTO);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_BEST);
    EXPECT_U64(args.settings.max_shard_bytes, 0);
    EXPECT_U64(args.settings.max_memory_bytes, 0);
    EXPECT_U64(args.settings.n_threads, 0);
    EXPECT_U64(args.progress, DISPLAY_PROGRESS_AUTO);
    EXPECT(!args.settings.force && !args.settings.dry_run && !args.quiet && !args.verbose && !args.json);
    EXPECT(!args.settings.digests);
}

static void every_option(void)
{
    EXPECT_U64(
        parse_run("--dtype=bfloat16 --inv-freq drop --max-shard-size 10GB --verify none --force --no-resume -n -j 3 "
                  "--max-memory=1GiB --cpu avx2 --progress never -v --json --format safetensors --digests"),
        LLAVAMED_OK);
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_BFLOAT16);
    EXPECT_U64(args.settings.inv_freq, LLAVAMED_INV_FREQ_DROP);
    EXPECT_U64(args.settings.max_shard_bytes, 10000000000);
    EXPECT_U64(args.settings.verify, LLAVAMED_VERIFY_NONE);
    EXPECT(args.settings.force && args.settings.dry_run && args.verbose && args.json && args.settings.digests);
    EXPECT_U64(args.settings.n_threads, 3);
    EXPECT_U64(args.settings.max_memory_bytes, 1073741824);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_AVX2);
    EXPECT_U64(args.progress, DISPLAY_PROGRESS_NEVER);
}

static void choices(void)
{
    EXPECT_U64(parse_run("--dtype float16"), LLAVAMED_OK);
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_FLOAT16);
    EXPECT_U64(parse_run("--dtype float32"), LLAVAMED_OK);
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_FLOAT32);
    EXPECT_U64(parse_run("--dtype delta"), LLAVAMED_OK);
    EXPECT_U64(args.settings.dtype, LLAVAMED_RESULT_DTYPE_DELTA);
    EXPECT_U64(parse_run("--cpu ref"), LLAVAMED_OK);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_REF);
    EXPECT_U64(parse_run("--cpu avx512"), LLAVAMED_OK);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_AVX512);
    EXPECT_U64(parse_run("--cpu neon"), LLAVAMED_OK);
    EXPECT_U64(args.settings.cpu, LLAVAMED_CPU_NEON);
    EXPECT_U64(parse_run("--progress always"), LLAVAMED_OK);
    EXPECT_U64(args.progress, DISPLAY_PROGRESS_ALWAYS);
    EXPECT_U64(parse_run("--dtype half"), LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "--dtype: unknown value (got 'half', want one of delta, float16, bfloat16, float32)");
    EXPECT_U64(parse_run("--dtype Float16"), LLAVAMED_STATUS_USAGE);
    EXPECT_U64(parse_run("--verify never"), LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "--verify: unknown value (got 'never', want one of auto, full, none)");
    EXPECT_U64(parse_run("--format gguf"), LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "--format: unknown value (got 'gguf', want one of safetensors, torch)");
    EXPECT_U64(parse_run("--format torch"), LLAVAMED_OK);
    EXPECT_U64(args.settings.format, LLAVAMED_FORMAT_TORCH);
    EXPECT_U64(args.settings.torch_profile, LLAVAMED_TORCH_PROFILE_DEFAULT);
    EXPECT_U64(parse_run("--format torch --torch-profile 2.13"), LLAVAMED_OK);
    EXPECT_U64(args.settings.torch_profile, LLAVAMED_TORCH_PROFILE_2_13);
    EXPECT_U64(parse_run("--torch-profile=1.13 --format=torch"), LLAVAMED_OK);
    EXPECT_U64(args.settings.torch_profile, LLAVAMED_TORCH_PROFILE_1_13);
    EXPECT_U64(parse_run("--format torch --torch-profile 2.6"), LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "--torch-profile: unknown value (got '2.6', want one of 1.13, 2.13)");
}

static void spellings(void)
{
    EXPECT_U64(parse("--base-model-path=b --delta-path d --target-model-path=o"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.base, "b");
    EXPECT_TEXT(args.settings.delta, "d");
    EXPECT_TEXT(args.settings.out, "o");
    EXPECT_U64(parse("--target t --base b=c --delta=-d"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.out, "t");
    EXPECT_TEXT(args.settings.base, "b=c");
    EXPECT_TEXT(args.settings.delta, "-d");
    EXPECT_U64(parse_run("-j4"), LLAVAMED_OK);
    EXPECT_U64(args.settings.n_threads, 4);
    EXPECT_U64(parse_run("--threads 5"), LLAVAMED_OK);
    EXPECT_U64(args.settings.n_threads, 5);
    EXPECT_U64(parse_run("-nv"), LLAVAMED_OK);
    EXPECT(args.settings.dry_run && args.verbose);
    EXPECT_U64(parse_run("-nvj8"), LLAVAMED_OK);
    EXPECT(args.settings.dry_run && args.verbose);
    EXPECT_U64(args.settings.n_threads, 8);
    EXPECT_U64(parse_run("-nj 9"), LLAVAMED_OK);
    EXPECT_U64(args.settings.n_threads, 9);
    EXPECT_U64(parse_run("--"), LLAVAMED_OK);
    EXPECT_U64(parse("--base b --delta d --out -"), LLAVAMED_OK);
    EXPECT_TEXT(args.settings.out, "-");
    EXPECT_U64(parse_run("--quiet"), LLAVAMED_OK);
    EXPECT(args.quiet);
    EXPECT(args.report == NULL && !args.settings.tensor_reports);
    EXPECT_U64(parse_run("--report r.html"), LLAVAMED_OK);
    EXPECT_TEXT(args.report, "r.html");
    EXPECT(args.settings.tensor_reports);
}

static void actions(void)
{
    EXPECT_U64(parse("--help"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_HELP);
    EXPECT_U64(parse("-n -h --nonsense"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_HELP);
    EXPECT_U64(parse("--help-all"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_HELP_ALL);
    EXPECT_U64(parse("--version"), LLAVAMED_OK);
    EXPECT_U64(args.action, OPTIONS_VERSION);
    EXPECT_U64(parse("--nonsense --help"), LLAVAMED_STATUS_USAGE);
}

struct refusal {
    const char *line;
    enum llavamed_status status;
    const char *message;
    const char *hint; /* NULL: any */
};

static void refusals(void)
{
    static const struct refusal refusals_expected[] = {
        {"--dleta d", LLAVAMED_STATUS_USAGE, "unknown option (got '--dleta')", "did you mean --delta?"},
        {"--thread 3", LLAVAMED_STATUS_USAGE, "unknown option (got '--thread')", "did you mean --threads?"},
        {"--max=5", LLAVAMED_STATUS_USAGE, "unknown option (got '--max=5')", "did you mean --max-shard-size?"},
        {"--target-path o", LLAVAMED_STATUS_USAGE, "unknown option (got '--target-path')",
         "llavamed-apply --help-all lists the options"},
        {"--zzzzzz", LLAVAMED_STATUS_USAGE, "unknown option (got '--zzzzzz')",
         "llavamed-apply --help-all lists the options"},
        {"-x", LLAVAMED_STATUS_USAGE, "unknown option (got '-x')", "llavamed-apply --help-all lists the options"},
        {"-nx", LLAVAMED_STATUS_USAGE, "unknown option (got '-nx')", NULL},
        {"-base b", LLAVAMED_STATUS_USAGE, "unknown option (got '-base')", "did you mean --base?"},
        {"--=x", LLAVAMED_STATUS_USAGE, "unknown option (got '--=x')", NULL},
        {"---", LLAVAMED_STATUS_USAGE, "unknown option (got '---')", NULL},
        {"--base b --delta d --out o --target p", LLAVAMED_STATUS_USAGE,
         "--out p: no --delta stands before it that it could be of",
         "several outputs are pairs: --delta SOURCE1 --out DIR1 --delta SOURCE2 --out DIR2"},
        {"--base b --delta d --delta-path e --out o", LLAVAMED_STATUS_USAGE,
         "--delta d: no --out follows it before the next --delta or the end", NULL},
        {"--base b --delta d --out o --delta e", LLAVAMED_STATUS_USAGE,
         "--delta e: no --out follows it before the next --delta or the end", NULL},
        {"--base b --out o --delta d --out p --delta e", LLAVAMED_STATUS_USAGE,
         "--out o: no --delta stands before it that it could be of", NULL},
        {"--out o --out p", LLAVAMED_STATUS_USAGE, "option missing (want --base, --delta)", NULL},
        {"--base b --delta d --delta e", LLAVAMED_STATUS_USAGE, "option missing (want --out)", NULL},
        {"--base b --base-model-path b", LLAVAMED_STATUS_USAGE, "--base-model-path: option --base given twice", NULL},
        {"-j4 --threads 4", LLAVAMED_STATUS_USAGE, "--threads: option --threads given twice", NULL},
        {"-vv", LLAVAMED_STATUS_USAGE, "-v: option --verbose given twice", NULL},
        {"--out", LLAVAMED_STATUS_USAGE, "--out: value missing (want DIR)", NULL},
        {"--out --force", LLAVAMED_STATUS_USAGE, "--out: value missing (got the option '--force', want DIR)",
         "a value that begins with '-' is written --out=VALUE"},
        {"--base -n", LLAVAMED_STATUS_USAGE, "--base: value missing (got the option '-n', want SOURCE)", NULL},
        {"-j", LLAVAMED_STATUS_USAGE, "-j: value missing (want N)", NULL},
        {"--out=", LLAVAMED_STATUS_USAGE, "--out: value is empty (want DIR)", NULL},
        {"--out ~", LLAVAMED_STATUS_USAGE, "--out: value is empty (want DIR)", NULL},
        {"--force=yes", LLAVAMED_STATUS_USAGE, "--force: takes no value (got 'yes')", NULL},
        {"stray", LLAVAMED_STATUS_USAGE, "unexpected argument (got 'stray')", NULL},
        {"-", LLAVAMED_STATUS_USAGE, "unexpected argument (got '-')", NULL},
        {"~", LLAVAMED_STATUS_USAGE, "unexpected argument (got '')", NULL},
        {"-- --force", LLAVAMED_STATUS_USAGE, "unexpected argument (got '--force')", NULL},
        {"", LLAVAMED_STATUS_USAGE, "option missing (want --base, --delta, --out)", NULL},
        {"--base b --out o", LLAVAMED_STATUS_USAGE, "option missing (want --delta)", NULL},
        {"--base b --delta d --out o --report r -n", LLAVAMED_STATUS_USAGE, "-n contradicts --report", NULL},
        {"--base b --delta d --out o -qv", LLAVAMED_STATUS_USAGE, "-q contradicts -v", NULL},
        {"--base b --delta d --out o -q --progress always", LLAVAMED_STATUS_USAGE, "-q contradicts --progress always",
         NULL},
        {"-j 1025", LLAVAMED_STATUS_USAGE, "-j: not a number of threads (got '1025', want 0 to 1024)", NULL},
        {"-j4x", LLAVAMED_STATUS_USAGE, "-j: not a number of threads (got '4x', want 0 to 1024)", NULL},
        {"--threads=-1", LLAVAMED_STATUS_USAGE, "--threads: not a number of threads (got '-1', want 0 to 1024)", NULL},
        {"--max-memory 12XB", LLAVAMED_STATUS_USAGE, "--max-memory: not a size above 0 that fits 64 bits (got '12XB')",
         NULL},
        {"--sums", LLAVAMED_STATUS_USAGE, "--sums: value missing (want FILE)", NULL},
        {"--against=x", LLAVAMED_STATUS_NOT_SUPPORTED_YET, "--against is not supported yet", NULL},
    };
    for (size_t i = 0; i < sizeof refusals_expected / sizeof refusals_expected[0]; i++) {
        const struct refusal *want = &refusals_expected[i];
        EXPECT_U64(parse(want->line), want->status);
        EXPECT_U64(error.status, want->status);
        EXPECT_U64(llavamed_exit_status(&error), 2);
        EXPECT_TEXT(error.message, want->message);
        if (want->hint != NULL) {
            EXPECT_TEXT(error.hint, want->hint);
        }
        EXPECT_U64(error.n_problems, 0);
    }
}

static void json_is_seen_whatever_fails(void)
{
    EXPECT_U64(parse("--json --nonsense"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT_U64(parse("--nonsense --json"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT_U64(parse("--out --json"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.json);
    EXPECT_U64(parse("--nonsense -- --json"), LLAVAMED_STATUS_USAGE);
    EXPECT(!args.json);
    EXPECT_U64(parse("--nonsense --out=--json"), LLAVAMED_STATUS_USAGE);
    EXPECT(!args.json);
}

static void pairs(void)
{
    EXPECT_U64(parse("--delta d --out o --base b --delta-path=e -v --target p --delta f --target-model-path=q"),
               LLAVAMED_OK);
    EXPECT_U64(args.n_outputs, 3);
    EXPECT(args.several);
    EXPECT_TEXT(args.deltas[0], "d");
    EXPECT_TEXT(args.outs[0], "o");
    EXPECT_TEXT(args.deltas[1], "e");
    EXPECT_TEXT(args.outs[1], "p");
    EXPECT_TEXT(args.deltas[2], "f");
    EXPECT_TEXT(args.outs[2], "q");
    EXPECT_U64(parse("--out o --delta d --base b"), LLAVAMED_OK);
    EXPECT_U64(args.n_outputs, 1);
    EXPECT(!args.several);
    EXPECT_TEXT(args.deltas[0], "d");
    EXPECT_TEXT(args.outs[0], "o");
}

static void most_pairs(void)
{
    static char line[8192];
    for (size_t n = LLAVAMED_OUTPUTS_MAX; n <= LLAVAMED_OUTPUTS_MAX + 1; n++) {
        cli_format(line, sizeof line, "--base b");
        for (size_t i = 0; i < n; i++) {
            size_t used = strlen(line);
            cli_format(line + used, sizeof line - used, " --delta d%zu --out o%zu", i, i);
        }
        bool fits = n <= LLAVAMED_OUTPUTS_MAX;
        EXPECT_U64(parse(line), fits ? LLAVAMED_OK : LLAVAMED_STATUS_USAGE);
        EXPECT_U64(args.n_outputs, fits ? n : 0);
        EXPECT(args.several);
    }
    EXPECT_TEXT(error.message, "too many outputs (want at most 64 pairs of --delta, --out)");
}

/* In which form a failure is reported, whatever comes first. */
static void several_is_seen_whatever_fails(void)
{
    EXPECT_U64(parse("--nonsense --delta d --out o --delta-path=e --target=p"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.several);
    EXPECT_U64(parse("--delta d --nonsense --out o"), LLAVAMED_STATUS_USAGE);
    EXPECT(!args.several);
    EXPECT_U64(parse("--nonsense -- --delta d --delta e"), LLAVAMED_STATUS_USAGE);
    EXPECT(!args.several);
    EXPECT_U64(parse("--base b --out o --out p"), LLAVAMED_STATUS_USAGE);
    EXPECT(args.several);
}

static void hostile_text(void)
{
    static char program[] = "llavamed-apply";
    static char option[] = "--\x1b[2Jx\xff";
    char *argv[] = {program, option, NULL};
    memset(&error, 0, sizeof error);
    EXPECT_U64(apply_args_parse(2, argv, &args, &error), LLAVAMED_STATUS_USAGE);
    EXPECT_TEXT(error.message, "unknown option (got '--?[2Jx?')");

    static char long_option[5000];
    memset(long_option, 'a', sizeof long_option - 1);
    long_option[0] = '-';
    long_option[1] = '-';
    argv[1] = long_option;
    EXPECT_U64(apply_args_parse(2, argv, &args, &error), LLAVAMED_STATUS_USAGE);
    EXPECT(strlen(error.message) < 200);
    char *none[] = {NULL};
    EXPECT_U64(apply_args_parse(0, none, &args, &error), LLAVAMED_STATUS_USAGE);
}

struct size_case {
    const char *text;
    uint64_t bytes; /* 0: refused */
};

static void sizes(void)
{
    static const struct size_case cases[] = {
        {"1", 1},
        {"1000", 1000},
        {"5GB", UINT64_C(5000000000)},
        {"5gb", UINT64_C(5000000000)},
        {"5Gb", UINT64_C(5000000000)},
        {" 5 GB", UINT64_C(5000000000)},
        {"2.5GB", UINT64_C(2500000000)},
        {"2.3GB", UINT64_C(2300000000)},
        {"0.1KB", 100},
        {"0.0019KB", 1},
        {"1.9999999999999999999KB", 1999},
        {"256MiB", UINT64_C(268435456)},
        {"1.5GiB", UINT64_C(1610612736)},
        {"3TB", UINT64_C(3000000000000)},
        {"1TiB", UINT64_C(1099511627776)},
        {"7KB", 7000},
        {"7kib", 7168},
        {"7MB", 7000000},
        {"18446744073709551615", UINT64_MAX},
        {"18446744073709551616", 0},
        {"18446744073709552KB", 0},
        {"16777216TiB", 0},
        {"18446744.073709551615TB", UINT64_C(18446744073709551615)},
        {"18446744.073709551616TB", 0},
        {"0", 0},
        {"0GB", 0},
        {"0.0001KB", 0},
        {"", 0},
        {"GB", 0},
        {".5GB", 0},
        {"5.GB", 0},
        {"2.5", 0},
        {"1e9", 0},
        {"-1", 0},
        {"+1", 0},
        {"5G", 0},
        {"5 B", 0},
        {"5GBx", 0},
        {"5,5GB", 0},
        {"0x10", 0},
        {"5GB ", 0},
        {"1.2.3GB", 0},
        {"5\tB", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 0;
        bool parsed = option_parse_size(cases[i].text, &bytes);
        if (!EXPECT(parsed == (cases[i].bytes != 0)) || !EXPECT_U64(bytes, cases[i].bytes)) {
            printf("    size '%s'\n", cases[i].text);
        }
    }
}

/* That --help calls a value by the words that are taken for it: completions are made of them. */
static bool value_is_its_choices(const struct option_row *row)
{
    char words[128] = "";
    for (const struct option_choice *choice = row->choices; choice->word != NULL; choice++) {
        size_t used = strlen(words);
        cli_format(words + used, sizeof words - used, "%s%s", used == 0 ? "" : "|", choice->word);
    }
    return strcmp(words, row->value) == 0;
}

/* Lines of a text, each of at most 79 columns. */
static size_t count_lines(const char *text)
{
    size_t n_lines = 0;
    for (const char *line = text; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        EXPECT(n < 80);
        EXPECT(n == 0 || line[n - 1] != ' ');
        n_lines++;
        line += n + (line[n] == '\n');
    }
    return n_lines;
}

static char *help_text(void (*print)(const struct option_table *table, FILE *stream))
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!EXPECT(stream != NULL)) {
        exit(1);
    }
    print(&apply_options, stream);
    EXPECT(fclose(stream) == 0);
    return text;
}

static void help_fits_and_names_every_option(void)
{
    char *text = help_text(options_print_help);
    EXPECT(count_lines(text) <= 23); /* a screen of 24, with the prompt */
    free(text);
    text = help_text(options_print_help_all);
    (void)count_lines(text);
    for (size_t i = 0; i < apply_options.n_rows; i++) {
        char name[64];
        EXPECT_U64(apply_options.rows[i].id, i);
        EXPECT((apply_options.rows[i].help == NULL) == (apply_options.rows[i].not_yet != NULL));
        EXPECT(apply_options.rows[i].choices == NULL || value_is_its_choices(&apply_options.rows[i]));
        cli_format(name, sizeof name, "  --%s ", apply_options.rows[i].name);
        if (apply_options.rows[i].short_name != '\0') {
            cli_format(name, sizeof name, "-%c, --%s ", apply_options.rows[i].short_name, apply_options.rows[i].name);
        }
        EXPECT((strstr(text, name) != NULL) == (apply_options.rows[i].help != NULL));
    }
    free(text);
}

int main(void)
{
    CASE(defaults);
    CASE(every_option);
    CASE(choices);
    CASE(spellings);
    CASE(actions);
    CASE(refusals);
    CASE(json_is_seen_whatever_fails);
    CASE(pairs);
    CASE(most_pairs);
    CASE(several_is_seen_whatever_fails);
    CASE(hostile_text);
    CASE(sizes);
    CASE(help_fits_and_names_every_option);
    return harness_end();
}
