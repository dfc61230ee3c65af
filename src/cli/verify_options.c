/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verify_options.h"

#include "cli/option_choices.h"

static const struct option_row verify_rows[VERIFY_OPTION_COUNT] = {
    {.id = VERIFY_OPTION_SUMS,
     .name = "sums",
     .value = "FILE",
     .help = "the list that says what belongs in DIR [DIR/SHA256SUMS]"},
    {.id = VERIFY_OPTION_PUBLIC_KEY,
     .name = "public-key",
     .value = "PUB",
     .help = "DIR/model.sig must be signed with this key (PEM) over DIR"},
    {.id = VERIFY_OPTION_IGNORE_EXTRA,
     .name = "ignore-extra",
     .help = "files that no record names are notes, and are not read"},
    {.id = VERIFY_OPTION_BASE,
     .name = "base",
     .value = "SOURCE",
     .help = "with --delta: DIR holds what the merge of both gives, bit for bit",
     .aliases = {"base-model-path"}},
    {.id = VERIFY_OPTION_DELTA,
     .name = "delta",
     .value = "SOURCE",
     .help = "the delta weights",
     .aliases = {"delta-path"}},
    {.id = VERIFY_OPTION_AGAINST,
     .name = "against",
     .value = "SOURCE",
     .help = "DIR holds the tensors of this checkpoint, bit for bit"},
    {.id = VERIFY_OPTION_DTYPE,
     .name = "dtype",
     .value = "delta|float16|bfloat16|float32",
     .choices = option_dtype_choices,
     .help = "of that merge [as the manifest says, else delta]"},
    {.id = VERIFY_OPTION_INV_FREQ,
     .name = "inv-freq",
     .value = "keep|drop",
     .choices = option_inv_freq_choices,
     .help = "of that merge [as the manifest says, else keep]"},
    {.id = VERIFY_OPTION_CPU,
     .name = "cpu",
     .value = "ref|avx2|avx512|neon",
     .choices = option_cpu_choices,
     .help = "kernels to merge with [the best this machine has]"},
    {.id = VERIFY_OPTION_IDENTIFY,
     .name = "identify",
     .value = "SOURCE",
     .help = "instead: which published release SOURCE is, by its hashes"},
    {.id = VERIFY_OPTION_THREADS,
     .short_name = 'j',
     .name = "threads",
     .value = "N",
     .help = "files read at a time, workers that merge [0: one per usable core]"},
    {.id = VERIFY_OPTION_MAX_MEMORY, .name = "max-memory", .value = "SIZE", .help = "all buffers together [256MiB]"},
    {.id = VERIFY_OPTION_PROGRESS,
     .name = "progress",
     .value = "auto|always|never",
     .choices = option_progress_choices,
     .help = "meter: auto on a terminal, else a line per weights file"},
    {.id = VERIFY_OPTION_QUIET, .short_name = 'q', .name = "quiet", .help = "print findings and errors alone"},
    {.id = VERIFY_OPTION_VERBOSE, .short_name = 'v', .name = "verbose", .help = "also print notes"},
    {.id = VERIFY_OPTION_JSON, .name = "json", .help = "one JSON document on stdout, on failure too"},
    {.id = VERIFY_OPTION_REPORT,
     .name = "report",
     .value = "FILE.html",
     .help = "also write a page that shows what is known of each tensor"},
    {.id = VERIFY_OPTION_HELP, .short_name = 'h', .name = "help", .help = "print this text", .action = OPTIONS_HELP},
    {.id = VERIFY_OPTION_VERSION,
     .name = "version",
     .help = "print version, build, CPU path and libraries",
     .action = OPTIONS_VERSION},
};

const struct option_table verify_options = {
    .rows = verify_rows,
    .n_rows = VERIFY_OPTION_COUNT,
    .before = "Usage: llavamed-verify DIR [options]\n"
              "       llavamed-verify --identify SOURCE [options]\n\n"
              "Whether DIR is what its own records say: SHA256SUMS, llavamed-manifest.json,\n"
              "the shard index, headers, checksums of tensors. Reads each byte once.\n\n",
    .after = "\nFindings go to stdout, a line each: FILE: TENSOR: what (got X, want Y).\n"
             "A SOURCE is a directory in Hugging Face form, a .zip of one, or a weights file.\n"
             "A SIZE is in bytes or has a unit: KB MB GB TB (decimal), KiB MiB GiB TiB.\n"
             "Exit status: 0 intact, 1 something in DIR is wrong or an input is damaged,\n"
             "2 usage, 3 DIR or an input is missing, unreadable or not supported, 4 base\n"
             "and delta do not belong together, or no release is known by these hashes, 6\n"
             "not all of it could be read, 70 bug, 128+N signal N.\n",
};
