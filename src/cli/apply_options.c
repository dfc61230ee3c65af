/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/apply_options.h"

#include "cli/display.h"

static const struct option_choice format_choices[] = {
    {"safetensors", LLAVAMED_FORMAT_SAFETENSORS},
    {"torch", LLAVAMED_FORMAT_TORCH},
    {NULL, 0},
};

static const struct option_choice torch_profile_choices[] = {
    {"1.13", LLAVAMED_TORCH_PROFILE_1_13},
    {"2.13", LLAVAMED_TORCH_PROFILE_2_13},
    {NULL, 0},
};

static const struct option_choice dtype_choices[] = {
    {"delta", LLAVAMED_RESULT_DTYPE_DELTA},
    {"float16", LLAVAMED_RESULT_DTYPE_FLOAT16},
    {"bfloat16", LLAVAMED_RESULT_DTYPE_BFLOAT16},
    {"float32", LLAVAMED_RESULT_DTYPE_FLOAT32},
    {NULL, 0},
};

static const struct option_choice inv_freq_choices[] = {
    {"keep", LLAVAMED_INV_FREQ_KEEP},
    {"drop", LLAVAMED_INV_FREQ_DROP},
    {NULL, 0},
};

static const struct option_choice verify_choices[] = {
    {"auto", LLAVAMED_VERIFY_AUTO},
    {"full", LLAVAMED_VERIFY_FULL},
    {"none", LLAVAMED_VERIFY_NONE},
    {NULL, 0},
};

static const struct option_choice cpu_choices[] = {
    {"ref", LLAVAMED_CPU_REF},
    {"avx2", LLAVAMED_CPU_AVX2},
    {"avx512", LLAVAMED_CPU_AVX512},
    {"neon", LLAVAMED_CPU_NEON},
    {NULL, 0},
};

static const struct option_choice progress_choices[] = {
    {"auto", DISPLAY_PROGRESS_AUTO},
    {"always", DISPLAY_PROGRESS_ALWAYS},
    {"never", DISPLAY_PROGRESS_NEVER},
    {NULL, 0},
};

static const struct option_row apply_rows[APPLY_OPTION_COUNT] = {
    {.id = APPLY_OPTION_BASE,
     .name = "base",
     .value = "SOURCE",
     .help = "the model that the delta was made from",
     .aliases = {"base-model-path"}},
    {.id = APPLY_OPTION_DELTA,
     .name = "delta",
     .value = "SOURCE",
     .help = "the delta weights",
     .aliases = {"delta-path"},
     .repeats = true},
    {.id = APPLY_OPTION_OUT,
     .name = "out",
     .value = "DIR",
     .help = "directory to create; more pairs of --delta, --out: one base for all",
     .aliases = {"target", "target-model-path"},
     .repeats = true},
    {.id = APPLY_OPTION_FORMAT,
     .name = "format",
     .value = "safetensors|torch",
     .choices = format_choices,
     .help = "form of the output shards [safetensors]"},
    {.id = APPLY_OPTION_TORCH_PROFILE,
     .name = "torch-profile",
     .value = "1.13|2.13",
     .choices = torch_profile_choices,
     .help = "with --format torch: the torch whose files they are [1.13]"},
    {.id = APPLY_OPTION_DTYPE,
     .name = "dtype",
     .value = "delta|float16|bfloat16|float32",
     .choices = dtype_choices,
     .help = "dtype of the result [delta: that of each delta tensor]"},
    {.id = APPLY_OPTION_INV_FREQ,
     .name = "inv-freq",
     .value = "keep|drop",
     .choices = inv_freq_choices,
     .help = "rotary buffers of the delta: kept or left out [keep]"},
    {.id = APPLY_OPTION_MAX_SHARD_SIZE,
     .name = "max-shard-size",
     .value = "SIZE",
     .help = "largest output shard [5GB, for torch 10GB]"},
    {.id = APPLY_OPTION_VERIFY,
     .name = "verify",
     .value = "auto|full|none",
     .choices = verify_choices,
     .help = "recorded hashes and CRC-32; all files and the output; none [auto]"},
    {.id = APPLY_OPTION_DIGESTS,
     .name = "digests",
     .help = "also a SHA-256 of each tensor and of the model"},
    {.id = APPLY_OPTION_ALLOW_UNKNOWN_BASE,
     .name = "allow-unknown-base",
     .help = "go on although the contents say that base and delta do not fit"},
    {.id = APPLY_OPTION_FORCE, .name = "force", .help = "replace a DIR that this program wrote"},
    {.id = APPLY_OPTION_NO_RESUME,
     .name = "no-resume",
     .help = "start over instead of going on with an interrupted run"},
    {.id = APPLY_OPTION_DRY_RUN,
     .short_name = 'n',
     .name = "dry-run",
     .help = "print the plan and all problems, create nothing"},
    {.id = APPLY_OPTION_THREADS,
     .short_name = 'j',
     .name = "threads",
     .value = "N",
     .help = "workers [0: one per usable core]"},
    {.id = APPLY_OPTION_MAX_MEMORY, .name = "max-memory", .value = "SIZE", .help = "all buffers together [256MiB]"},
    {.id = APPLY_OPTION_CPU,
     .name = "cpu",
     .value = "ref|avx2|avx512|neon",
     .choices = cpu_choices,
     .help = "kernels to use [the best this machine has]"},
    {.id = APPLY_OPTION_PROGRESS,
     .name = "progress",
     .value = "auto|always|never",
     .choices = progress_choices,
     .help = "meter: auto on a terminal, else a line per shard"},
    {.id = APPLY_OPTION_QUIET, .short_name = 'q', .name = "quiet", .help = "print errors alone"},
    {.id = APPLY_OPTION_VERBOSE, .short_name = 'v', .name = "verbose", .help = "also print the choices made"},
    {.id = APPLY_OPTION_JSON, .name = "json", .help = "one JSON document on stdout, on failure too"},
    {.id = APPLY_OPTION_HELP, .short_name = 'h', .name = "help", .help = "print this text", .action = OPTIONS_HELP},
    {.id = APPLY_OPTION_VERSION,
     .name = "version",
     .help = "print version, build, CPU path and libraries",
     .action = OPTIONS_VERSION},
    {.id = APPLY_OPTION_SUMS, .name = "sums", .value = "FILE", .help = "a SHA256SUMS that the inputs must match"},
    {.id = APPLY_OPTION_AGAINST,
     .name = "against",
     .value = "SOURCE",
     .not_yet = "leave it out: it belongs to llavamed-verify"},
};

const struct option_table apply_options = {
    .rows = apply_rows,
    .n_rows = APPLY_OPTION_COUNT,
    .before = "Usage: llavamed-apply --base SOURCE --delta SOURCE --out DIR [options]\n\n"
              "DIR = BASE + DELTA, bit for bit as PyTorch adds, in a small fixed memory.\n\n",
    .after = "\nA SOURCE is a directory in Hugging Face form, a .zip of one, or a weights file.\n"
             "A SIZE is in bytes or has a unit: KB MB GB TB (decimal), KiB MiB GiB TiB.\n"
             "Old names: --base-model-path, --delta-path, --target, --target-model-path.\n"
             "Exit status: 0 done, 1 verification failed, 2 usage, 3 input, 4 base and delta\n"
             "do not belong together, 5 output, 6 stopped part-way, 70 bug, 128+N signal N.\n",
};
