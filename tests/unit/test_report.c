/* SPDX-License-Identifier: Apache-2.0 */
/* The front end is not in the library: its files are compiled into the test. */
#include "cli/json_emit.c"
#include "cli/json_error.c"
#include "cli/lossy_report.c"
#include "cli/messages.c"
#include "cli/plan_table.c"
#include "cli/report.c"
#include "cli/text.c"

#include "unit/harness.h"

const char program_name[] = "llavamed-apply";

static char *printed;
static size_t printed_bytes;

static FILE *start(void)
{
    FILE *stream = open_memstream(&printed, &printed_bytes);
    if (stream == NULL) {
        printf("out of memory\n");
        exit(1);
    }
    return stream;
}

/* Ends the stream that start() gave; `printed` is valid until release(). */
static void finish(FILE *stream)
{
    EXPECT(fclose(stream) == 0);
}

static void release(void)
{
    free(printed);
    printed = NULL;
}

static char shard_name_1[] = "model-00001-of-00002.safetensors";
static char shard_name_2[] = "model-00002-of-00002.safetensors";
static char warning_1[] = "a \"quoted\" name";
static char *warnings[] = {warning_1};
static char started_over[] = "the base changed";
static char manifest_sha256[] = "00ff";
static char tensor_name_1[] = "w\x7f";
static char tensor_name_2[] = "b";
static struct llavamed_tensor_digest digests[] = {{tensor_name_1, "12ab"}, {tensor_name_2, "34cd"}};
static struct llavamed_shard_report shards[] = {
    {shard_name_1, 4939005952, 101, "abcd"},
    {shard_name_2, 3598909440, 192, ""},
};
static struct llavamed_action_report actions[] = {{"add", 291, 8537000000}, {"drop", 2, 0}};
static struct llavamed_result full_result = {
    .shards = shards,
    .n_shards = 2,
    .actions = actions,
    .n_actions = 2,
    .n_tensors = 293,
    .planned_read_bytes = 17000000000,
    .planned_write_bytes = 8537915392,
    .read_bytes = 17000000001,
    .written_bytes = 8537915392,
    .pool_bytes = 268435456,
    .free_bytes = UINT64_C(1000000000000),
    .n_threads = 2,
    .cpu = "avx2",
    .plan_ns = 1234567,
    .merge_ns = 12000000000,
    .counters = {.n_workers = 2, .phases = {[LLAVAMED_PHASE_READ] = {3000000000, 1000000000, 2000000000, 17000000000}}},
    .total_ns = 12300000000,
    .n_nan = 1,
    .n_infinite = 2,
    .n_rounded = 3,
    .digests = digests,
    .n_digests = 2,
    .model_sha256 = "56ef",
    .manifest_sha256 = manifest_sha256,
    .signing_key_sha256 = "aa11",
    .started_over = started_over,
    .warnings = warnings,
    .n_warnings = 1,
};
static const struct llavamed_settings full_settings = {.base = "b", .delta = "d", .out = "it's"};

#define PHASE_FIELDS(name, seconds, least, most, bytes)                                                                \
    "    \"" name "\": {\n      \"seconds\": " seconds ",\n      \"least\": " least ",\n      \"most\": " most         \
    ",\n      \"bytes\": " bytes "\n    }"
#define PHASE(name, seconds, least, most, bytes) PHASE_FIELDS(name, seconds, least, most, bytes) ",\n"
#define PHASE_OF_NONE(name) PHASE(name, "0.000000000", "0.000000000", "0.000000000", "0")

static const char json_wanted[] =
    "{\n"
    "  \"status\": 0,\n"
    "  \"code\": \"ok\",\n"
    "  \"message\": null,\n"
    "  \"hint\": null,\n"
    "  \"n_problems\": 0,\n"
    "  \"problems\": [],\n"
    "  \"base\": \"b\",\n"
    "  \"delta\": \"d\",\n"
    "  \"out\": \"it's\",\n"
    "  \"dry_run\": false,\n"
    "  \"published\": false,\n"
    "  \"part\": null,\n"
    "  \"parts_missing\": null,\n"
    "  \"result\": {\n"
    "    \"tensors\": 293,\n"
    "    \"shards\": [\n"
    "      {\n"
    "        \"name\": \"model-00001-of-00002.safetensors\",\n"
    "        \"bytes\": 4939005952,\n"
    "        \"tensors\": 101,\n"
    "        \"sha256\": \"abcd\"\n"
    "      },\n"
    "      {\n"
    "        \"name\": \"model-00002-of-00002.safetensors\",\n"
    "        \"bytes\": 3598909440,\n"
    "        \"tensors\": 192,\n"
    "        \"sha256\": null\n"
    "      }\n"
    "    ],\n"
    "    \"actions\": [\n"
    "      {\n"
    "        \"action\": \"add\",\n"
    "        \"tensors\": 291,\n"
    "        \"bytes\": 8537000000\n"
    "      },\n"
    "      {\n"
    "        \"action\": \"drop\",\n"
    "        \"tensors\": 2,\n"
    "        \"bytes\": 0\n"
    "      }\n"
    "    ],\n"
    "    \"counts\": {\n"
    "      \"nan\": 1,\n"
    "      \"infinite\": 2,\n"
    "      \"rounded\": 3\n"
    "    },\n"
    "    \"digests\": [\n"
    "      {\n"
    "        \"name\": \"w\\u007f\",\n"
    "        \"sha256\": \"12ab\"\n"
    "      },\n"
    "      {\n"
    "        \"name\": \"b\",\n"
    "        \"sha256\": \"34cd\"\n"
    "      }\n"
    "    ],\n"
    "    \"model_sha256\": \"56ef\",\n"
    "    \"manifest_sha256\": \"00ff\",\n"
    "    \"signing_key_sha256\": \"aa11\",\n"
    "    \"signed_sha256\": null\n"
    "  },\n"
    "  \"timings\": {\n"
    "    \"plan_seconds\": 0.001234567,\n"
    "    \"merge_seconds\": 12.000000000,\n"
    "    \"total_seconds\": 12.300000000\n"
    "  },\n"
    "  \"bytes\": {\n"
    "    \"planned_read\": 17000000000,\n"
    "    \"planned_write\": 8537915392,\n"
    "    \"read\": 17000000001,\n"
    "    \"written\": 8537915392,\n"
    "    \"reused\": 0,\n"
    "    \"free\": 1000000000000\n"
    "  },\n"
    "  \"memory\": {\n"
    "    \"pool\": 268435456,\n"
    "    \"peak_rss\": 300000000\n"
    "  },\n"
    "  \"counters\": {\n"
    "    \"workers\": 2,\n" PHASE("read", "3.000000000", "1.000000000", "2.000000000", "17000000000")
        PHASE_OF_NONE("inflate") PHASE_OF_NONE("add") PHASE_OF_NONE("crc32") PHASE_OF_NONE("sha256")
            PHASE_OF_NONE("write") PHASE_OF_NONE("sync") PHASE_OF_NONE("wait_hash") PHASE_OF_NONE("wait_memory")
                PHASE_OF_NONE("wait_order") PHASE_OF_NONE("wait_task")
                    PHASE_FIELDS("other", "0.000000000", "0.000000000", "0.000000000",
                                 "0") "\n"
                                      "  },\n"
                                      "  \"threads\": 2,\n"
                                      "  \"cpu\": \"avx2\",\n"
                                      "  \"warnings\": [\n"
                                      "    \"a \\\"quoted\\\" name\"\n"
                                      "  ],\n"
                                      "  \"started_over\": \"the base changed\",\n"
                                      "  \"version\": \"" LLAVAMED_VERSION "\"\n"
                                      "}\n";

static void json_of_a_success(void)
{
    const struct llavamed_error error = {0};
    const struct report report = {&full_settings, &full_result, &error, 300000000, false};
    FILE *stream = start();
    report_print_json(stream, &report);
    finish(stream);
    EXPECT_TEXT(printed, json_wanted);
    release();
}

static void lossy_elements(void)
{
    static char name[] = "lm_head.weight";
    static char other_name[] = "b\033ad";
    struct llavamed_lossy_report tensors[] = {{name, "F16", 7, 4000}, {other_name, "BF16", 3, 3}};
    const struct llavamed_result none = {.n_added = 12, .n_tensors = 2};
    struct llavamed_result some = {
        .n_added = 100000000, .n_lossy = 10, .n_tensors = 5, .lossy_tensors = tensors, .n_lossy_tensors = 2};
    FILE *stream = start();
    lossy_report_print(stream, &none, true);
    lossy_report_print(stream, &some, true);
    some.n_added = 100;
    lossy_report_print(stream, &some, false);
    finish(stream);
    EXPECT_TEXT(printed, "llavamed-apply: exact: base + delta is the target, bit for bit "
                         "(12 elements; rotary buffers aside)\n"
                         "llavamed-apply: note: lm_head.weight: 7 of 4000 elements (0.17 %) do not come back in F16\n"
                         "llavamed-apply: note: b?ad: 3 of 3 elements (100.00 %) do not come back in BF16\n"
                         "llavamed-apply: lossy: base + delta has other bits than the target in 10 of 100000000 "
                         "elements (less than 0.0001 %), in 2 of 5 tensors\n"
                         "llavamed-apply: lossy: base + delta has other bits than the target in 10 of 100 elements "
                         "(10.00 %), in 2 of 5 tensors\n");
    release();
    const struct llavamed_settings settings = {.base = "b", .target = "t", .out = "o"};
    const struct llavamed_error error = {0};
    const struct report report = {&settings, &some, &error, 0, true};
    stream = start();
    report_print_json(stream, &report);
    finish(stream);
    EXPECT(strstr(printed, "\"base\": \"b\",\n  \"target\": \"t\",\n  \"out\": \"o\",\n") != NULL);
    EXPECT(strstr(printed, "\"delta\"") == NULL);
    EXPECT(strstr(printed, "\"lossy\": {\n    \"subtracted\": 100,\n    \"elements\": 10,\n") != NULL);
    EXPECT(strstr(printed, "\"name\": \"lm_head.weight\",") != NULL && strstr(printed, "\"lossy\": 7,") != NULL);
    release();
}

static void json_of_a_failure(void)
{
    const struct llavamed_result result = {0};
    const struct llavamed_settings settings = {.base = "\xff\xc3\x28\n\\\xc3\xa9"};
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_PAIR_MISMATCH, "b and d do not fit");
    cli_hint(&error, "try another");
    for (error.n_problems = 0; error.n_problems < 3; error.n_problems++) {
        cli_format(error.problems[error.n_problems], LLAVAMED_PROBLEM_BYTES, "p%zu", error.n_problems);
    }
    const struct report report = {&settings, &result, &error, 0, false};
    FILE *stream = start();
    report_print_json(stream, &report);
    finish(stream);
    EXPECT(strstr(printed, "\"status\": 4,\n  \"code\": \"PAIR_MISMATCH\",\n  \"message\": \"b and d do not fit\",\n"
                           "  \"hint\": \"try another\",\n  \"n_problems\": 3,\n") != NULL);
    EXPECT(strstr(printed, "\"problems\": [\n    \"p0\",\n    \"p1\",\n    \"p2\"\n  ],\n") != NULL);
    EXPECT(strstr(printed, "\"base\": \"?\?(\\u000a\\\\\xc3\xa9\",\n  \"delta\": null,\n  \"out\": null,\n") != NULL);
    EXPECT(strstr(printed, "\"cpu\": null,\n  \"warnings\": [],\n  \"started_over\": null,\n") != NULL);
    release();

    error.status = LLAVAMED_STATUS_INTERRUPTED;
    error.signal_number = 15;
    stream = start();
    report_print_json(stream, &report);
    finish(stream);
    EXPECT(strstr(printed, "\"status\": 143,\n  \"code\": \"INTERRUPTED\"") != NULL);
    release();
}

static void messages_of_an_error(void)
{
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_PAIR_MISMATCH, "b: %s", "does not fit");
    FILE *stream = start();
    messages_error(stream, &error);
    finish(stream);
    EXPECT_TEXT(printed, "llavamed-apply: error: b: does not fit\n");
    release();

    cli_hint(&error, "look");
    error.n_problems = 23;
    for (size_t i = 0; i < LLAVAMED_PROBLEMS_MAX; i++) {
        cli_format(error.problems[i], LLAVAMED_PROBLEM_BYTES, "p%zu", i);
    }
    stream = start();
    messages_error(stream, &error);
    finish(stream);
    EXPECT(strncmp(printed, "llavamed-apply: error: b: does not fit\nllavamed-apply: problem: p0\n", 67) == 0);
    static const char tail[] = "llavamed-apply: problem: p19\nllavamed-apply: problem: ... and 3 more\n"
                               "llavamed-apply: hint: look\n";
    EXPECT(strcmp(printed + printed_bytes - strlen(tail), tail) == 0);
    release();
}

static void messages_are_safe_lines(void)
{
    FILE *stream = start();
    messages_line(stream, "warning", "a\nb\x1b[31m\xff\xc2\x9b\xc3\xa9");
    messages_line(stream, NULL, "plain");
    finish(stream);
    EXPECT_TEXT(printed, "llavamed-apply: warning: a?b?[31m???\xc3\xa9\nllavamed-apply: plain\n");
    release();

    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    stream = start();
    messages_line(stream, "note", text);
    finish(stream);
    EXPECT(printed_bytes < 2000);
    EXPECT(printed[printed_bytes - 1] == '\n');
    release();
}

static void summary(void)
{
    const struct llavamed_error error = {0};
    const struct report report = {&full_settings, &full_result, &error, 300000000, false};
    FILE *stream = start();
    report_print_summary(stream, &report, false);
    finish(stream);
    EXPECT_TEXT(printed, "llavamed-apply: warning: the result holds 1 NaN and 2 infinite values\n"
                         "llavamed-apply: done: it's: 293 tensors in 2 shards, 8.54 GB, 12.3 s, 694 MB/s, "
                         "peak memory 286 MiB\n"
                         "llavamed-apply: digest: sha256  56ef  (model)\n"
                         "llavamed-apply: next: cd 'it'\\''s' && sha256sum -c SHA256SUMS\n");
    release();

    struct llavamed_result plain = full_result;
    const struct llavamed_settings settings = {.out = "/models/out"};
    plain.n_nan = 0;
    plain.n_infinite = 0;
    plain.n_shards = 1;
    const struct report second = {&settings, &plain, &error, 300000000, false};
    stream = start();
    report_print_summary(stream, &second, true);
    finish(stream);
    EXPECT_TEXT(printed, "llavamed-apply: note: 3 sums were rounded to the result's dtype\n"
                         "llavamed-apply: done: /models/out: 293 tensors in 1 shard, 8.54 GB, 12.3 s, 694 MB/s, "
                         "peak memory 286 MiB\n"
                         "llavamed-apply: digest: sha256  56ef  (model)\n"
                         "llavamed-apply: next: cd /models/out && sha256sum -c SHA256SUMS\n");
    release();
}

static void plan(void)
{
    FILE *stream = start();
    plan_table_print(stream, &full_settings, &full_result);
    finish(stream);
    EXPECT_TEXT(printed, "base      b\n"
                         "delta     d\n"
                         "out       it's\n"
                         "\n"
                         "shards                               tensors             bytes\n"
                         "  model-00001-of-00002.safetensors       101        4939005952\n"
                         "  model-00002-of-00002.safetensors       192        3598909440\n"
                         "\n"
                         "operations                           tensors             bytes\n"
                         "  add                                    291        8537000000\n"
                         "  drop                                     2                 0\n"
                         "\n"
                         "to read        17000000000  (17.0 GB)\n"
                         "to write        8537915392  (8.54 GB)\n"
                         "free         1000000000000  (1.00 TB)\n"
                         "memory           268435456  (256 MiB of buffers)\n"
                         "threads                  2\n"
                         "cpu                   avx2\n");
    release();
}

/* The text itself, in characters that a terminal does nothing by. */
static void json_of_what_is_not_seen(void)
{
    const struct llavamed_settings settings = {
        .base = "a\xe2\x80\xaez\xc2\x85\x7f",
        .delta = "\xf3\xa0\x81\x81\xf0\x9d\x85\xb3\xef\xbb\xbf",
        .out = "\xe4\xb8\xad\xf0\x9f\x98\x80\xe2\x80",
    };
    const struct llavamed_result result = {0};
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_USAGE, "m");
    const struct report report = {&settings, &result, &error, 0, false};
    FILE *stream = start();
    report_print_json(stream, &report);
    finish(stream);
    EXPECT(strstr(printed, "\"base\": \"a\\u202ez\\u0085\\u007f\",\n"
                           "  \"delta\": \"\\udb40\\udc41\\ud834\\udd73\\ufeff\",\n"
                           "  \"out\": \"\xe4\xb8\xad\xf0\x9f\x98\x80?\?\",\n") != NULL);
    release();
}

int main(void)
{
    CASE(json_of_a_success);
    CASE(json_of_what_is_not_seen);
    CASE(json_of_a_failure);
    CASE(lossy_elements);
    CASE(messages_of_an_error);
    CASE(messages_are_safe_lines);
    CASE(summary);
    CASE(plan);
    return harness_end();
}
