/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verify_options.h"

#include "cli/display.h"

static const struct option_choice progress_choices[] = {
    {"auto", DISPLAY_PROGRESS_AUTO},
    {"always", DISPLAY_PROGRESS_ALWAYS},
    {"never", DISPLAY_PROGRESS_NEVER},
    {NULL, 0},
};

static const struct option_row verify_rows[VERIFY_OPTION_COUNT] = {
    {.id = VERIFY_OPTION_SUMS,
     .name = "sums",
     .value = "FILE",
     .help = "the list that says what belongs in DIR [DIR/SHA256SUMS]"},
    {.id = VERIFY_OPTION_IGNORE_EXTRA,
     .name = "ignore-extra",
     .help = "files that no record names are notes, and are not read"},
    {.id = VERIFY_OPTION_THREADS,
     .short_name = 'j',
     .name = "threads",
     .value = "N",
     .help = "files read at a time [0: one per usable core]"},
    {.id = VERIFY_OPTION_MAX_MEMORY, .name = "max-memory", .value = "SIZE", .help = "all buffers together [256MiB]"},
    {.id = VERIFY_OPTION_PROGRESS,
     .name = "progress",
     .value = "auto|always|never",
     .choices = progress_choices,
     .help = "meter: auto on a terminal, else a line per weights file"},
    {.id = VERIFY_OPTION_QUIET, .short_name = 'q', .name = "quiet", .help = "print findings and errors alone"},
    {.id = VERIFY_OPTION_VERBOSE, .short_name = 'v', .name = "verbose", .help = "also print notes"},
    {.id = VERIFY_OPTION_JSON, .name = "json", .help = "one JSON document on stdout, on failure too"},
    {.id = VERIFY_OPTION_HELP, .short_name = 'h', .name = "help", .help = "print this text", .action = OPTIONS_HELP},
    {.id = VERIFY_OPTION_VERSION,
     .name = "version",
     .help = "print version, build, CPU path and libraries",
     .action = OPTIONS_VERSION},
    {.id = VERIFY_OPTION_AGAINST,
     .name = "against",
     .value = "SOURCE",
     .not_yet = "leave it out: DIR is held against its own records"},
    {.id = VERIFY_OPTION_BASE,
     .name = "base",
     .value = "SOURCE",
     .not_yet = "merge again with llavamed-apply and compare the two SHA256SUMS"},
    {.id = VERIFY_OPTION_DELTA,
     .name = "delta",
     .value = "SOURCE",
     .not_yet = "merge again with llavamed-apply and compare the two SHA256SUMS"},
    {.id = VERIFY_OPTION_IDENTIFY,
     .name = "identify",
     .value = "SOURCE",
     .not_yet = "llavamed-apply --verify full looks up what it is given"},
};

const struct option_table verify_options = {
    .rows = verify_rows,
    .n_rows = VERIFY_OPTION_COUNT,
    .before = "Usage: llavamed-verify DIR [options]\n\n"
              "Whether DIR is what its own records say: SHA256SUMS, llavamed-manifest.json,\n"
              "the shard index, headers, checksums of tensors. Reads each byte once.\n\n",
    .after = "\nFindings go to stdout, a line each: FILE: TENSOR: what (got X, want Y).\n"
             "A SIZE is in bytes or has a unit: KB MB GB TB (decimal), KiB MiB GiB TiB.\n"
             "Exit status: 0 intact, 1 something in DIR is wrong, 2 usage, 3 DIR is missing\n"
             "or unreadable, 6 not all of it could be read, 70 bug, 128+N signal N.\n",
};
