/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/option_table.h"

#include <stdbool.h>
#include <string.h>

#include "cli/args.h"

static const struct choice format_choices[] = {
    {"safetensors", LLAVAMED_FORMAT_SAFETENSORS},
    {"torch", LLAVAMED_FORMAT_TORCH},
    {NULL, 0},
};

static const struct choice torch_profile_choices[] = {
    {"1.13", LLAVAMED_TORCH_PROFILE_1_13},
    {"2.13", LLAVAMED_TORCH_PROFILE_2_13},
    {NULL, 0},
};

static const struct choice dtype_choices[] = {
    {"delta", LLAVAMED_RESULT_DTYPE_DELTA},
    {"float16", LLAVAMED_RESULT_DTYPE_FLOAT16},
    {"bfloat16", LLAVAMED_RESULT_DTYPE_BFLOAT16},
    {"float32", LLAVAMED_RESULT_DTYPE_FLOAT32},
    {NULL, 0},
};

static const struct choice inv_freq_choices[] = {
    {"keep", LLAVAMED_INV_FREQ_KEEP},
    {"drop", LLAVAMED_INV_FREQ_DROP},
    {NULL, 0},
};

static const struct choice verify_choices[] = {
    {"auto", LLAVAMED_VERIFY_AUTO},
    {"full", LLAVAMED_VERIFY_FULL},
    {"none", LLAVAMED_VERIFY_NONE},
    {NULL, 0},
};

static const struct choice cpu_choices[] = {
    {"ref", LLAVAMED_CPU_REF},
    {"avx2", LLAVAMED_CPU_AVX2},
    {"avx512", LLAVAMED_CPU_AVX512},
    {"neon", LLAVAMED_CPU_NEON},
    {NULL, 0},
};

static const struct choice progress_choices[] = {
    {"auto", ARGS_PROGRESS_AUTO},
    {"always", ARGS_PROGRESS_ALWAYS},
    {"never", ARGS_PROGRESS_NEVER},
    {NULL, 0},
};

const struct option_row option_rows[OPTION_COUNT] = {
    {.id = OPTION_BASE,
     .name = "base",
     .value = "SOURCE",
     .help = "the model that the delta was made from",
     .aliases = {"base-model-path"}},
    {.id = OPTION_DELTA, .name = "delta", .value = "SOURCE", .help = "the delta weights", .aliases = {"delta-path"}},
    {.id = OPTION_OUT,
     .name = "out",
     .value = "DIR",
     .help = "directory to create; more pairs of --delta, --out: one base for all",
     .aliases = {"target", "target-model-path"}},
    {.id = OPTION_FORMAT,
     .name = "format",
     .value = "safetensors|torch",
     .choices = format_choices,
     .help = "form of the output shards [safetensors]"},
    {.id = OPTION_TORCH_PROFILE,
     .name = "torch-profile",
     .value = "1.13|2.13",
     .choices = torch_profile_choices,
     .help = "with --format torch: the torch whose files they are [1.13]"},
    {.id = OPTION_DTYPE,
     .name = "dtype",
     .value = "delta|float16|bfloat16|float32",
     .choices = dtype_choices,
     .help = "dtype of the result [delta: that of each delta tensor]"},
    {.id = OPTION_INV_FREQ,
     .name = "inv-freq",
     .value = "keep|drop",
     .choices = inv_freq_choices,
     .help = "rotary buffers of the delta: kept or left out [keep]"},
    {.id = OPTION_MAX_SHARD_SIZE,
     .name = "max-shard-size",
     .value = "SIZE",
     .help = "largest output shard [5GB, for torch 10GB]"},
    {.id = OPTION_VERIFY,
     .name = "verify",
     .value = "auto|full|none",
     .choices = verify_choices,
     .help = "recorded hashes and CRC-32; all files and the output; none [auto]"},
    {.id = OPTION_ALLOW_UNKNOWN_BASE,
     .name = "allow-unknown-base",
     .help = "go on although the contents say that base and delta do not fit"},
    {.id = OPTION_FORCE, .name = "force", .help = "replace a DIR that this program wrote"},
    {.id = OPTION_NO_RESUME, .name = "no-resume", .help = "start over instead of going on with an interrupted run"},
    {.id = OPTION_DRY_RUN,
     .short_name = 'n',
     .name = "dry-run",
     .help = "print the plan and all problems, create nothing"},
    {.id = OPTION_THREADS,
     .short_name = 'j',
     .name = "threads",
     .value = "N",
     .help = "workers [0: one per usable core]"},
    {.id = OPTION_MAX_MEMORY, .name = "max-memory", .value = "SIZE", .help = "all buffers together [256MiB]"},
    {.id = OPTION_CPU,
     .name = "cpu",
     .value = "ref|avx2|avx512|neon",
     .choices = cpu_choices,
     .help = "kernels to use [the best this machine has]"},
    {.id = OPTION_PROGRESS,
     .name = "progress",
     .value = "auto|always|never",
     .choices = progress_choices,
     .help = "meter: auto on a terminal, else a line per shard"},
    {.id = OPTION_QUIET, .short_name = 'q', .name = "quiet", .help = "print errors alone"},
    {.id = OPTION_VERBOSE, .short_name = 'v', .name = "verbose", .help = "also print the choices made"},
    {.id = OPTION_JSON, .name = "json", .help = "one JSON document on stdout, on failure too"},
    {.id = OPTION_HELP, .short_name = 'h', .name = "help", .help = "print this text"},
    {.id = OPTION_VERSION, .name = "version", .help = "print version, build, CPU path and libraries"},
    {.id = OPTION_SUMS, .name = "sums", .value = "FILE", .help = "a SHA256SUMS that the inputs must match"},
    {.id = OPTION_DIGESTS, .name = "digests", .not_yet = "leave it out: SHA256SUMS in DIR holds one digest per file"},
    {.id = OPTION_AGAINST,
     .name = "against",
     .value = "SOURCE",
     .not_yet = "leave it out: it belongs to llavamed-verify"},
};

static bool same_name(const char *name, const char *text, size_t n_text)
{
    return strlen(name) == n_text && memcmp(name, text, n_text) == 0;
}

const struct option_row *option_find_long(const char *text, size_t n_text)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        bool found = same_name(row->name, text, n_text);
        for (size_t k = 0; k < OPTION_ALIASES_MAX && row->aliases[k] != NULL; k++) {
            found = found || same_name(row->aliases[k], text, n_text);
        }
        if (found) {
            return row;
        }
    }
    return NULL;
}

const struct option_row *option_find_short(char letter)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (option_rows[i].short_name == letter) {
            return &option_rows[i];
        }
    }
    return NULL;
}

/* ---- "did you mean" ---------------------------------------------------------------------------------------- */

/* Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other. */
static unsigned edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    unsigned rows[3][OPTION_NAME_BYTES_MAX + 1]; /* row i of the table is rows[i % 3] */
    for (size_t j = 0; j <= n_b; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

const char *option_nearest_name(const char *text, size_t n_text)
{
    if (n_text < 2 || n_text > OPTION_NAME_BYTES_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    unsigned least = n_text < 5 ? 2 : 3; /* fewer edits than this */
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        const char *names[1 + OPTION_ALIASES_MAX] = {row->name, row->aliases[0], row->aliases[1]};
        for (size_t k = 0; row->help != NULL && k <= OPTION_ALIASES_MAX && names[k] != NULL; k++) {
            size_t n_name = strlen(names[k]);
            if (n_name > OPTION_NAME_BYTES_MAX) {
                continue;
            }
            bool begins = n_name > n_text && memcmp(names[k], text, n_text) == 0;
            unsigned distance = begins ? 1 : edit_distance(text, n_text, names[k], n_name);
            if (distance < least) {
                least = distance;
                nearest = names[k];
            }
        }
    }
    return nearest;
}
