/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maker of synthetic models: a base, a delta and their target with the names, shapes and dtypes of LLaMA and of its
 * LLaVA- and Vicuna-like descendants, at full size or shrunken to a few KB. Same options, same bytes: on any machine,
 * with any number of threads. --check proves a merge of the pair.
 */
#include <getopt.h>

#include "core/cpus.h"
#include "tools/synth/check.h"
#include "tools/synth/checkpoint.h"
#include "tools/synth/run.h"
#include "tools/synth/small_files.h"

/* How many tiles behind its writing a thread waits for storage and lets go of the cached pages. */
#define WRITE_BEHIND 8

static const char usage[] =
    "usage: synth --out DIR [--base] [--delta] [--target] [options]   makes DIR/base, DIR/delta (default), DIR/target\n"
    "       synth --check DIR [options]                               compares a merge of the two with its seed\n"
    "\n"
    "  --size 7b|13b|30b|65b    dimensions (7b)\n"
    "  --scale F                keep about this fraction of the parameters, 0 < F <= 1 (1)\n"
    "  --layers N               fewer layers, each as large as it is\n"
    "  --variant llava|vicuna   32004 rows and a projector of 1024, or 32001 rows and none (llava)\n"
    "  --vocab-rows N           rows of the delta's embeddings; the base has 32000\n"
    "  --projector N|none       input features of mm_projector\n"
    "  --inv-freq f32|none      rotary buffers; a merge with --inv-freq drop is checked with none (f32)\n"
    "  --dtype f16|bf16|f32     (f16)\n"
    "  --seed N                 of the base, and of the update unless --update-seed is given (1)\n"
    "  --update-seed N\n"
    "  --sigma F                size of the update (0.001)\n"
    "  --max-shard-size SIZE    5GB, 700MB, 64KB, 1000 (5GB)\n"
    "  --threads N              (all cores)\n";

struct options {
    struct synth_model model;
    struct synth_values values;
    const char *out;
    const char *check;
    double scale;
    bool wanted[SYNTH_ROLE_COUNT];
    bool vicuna;
    bool has_projector;
    bool has_update_seed;
    bool inv_freq;
    uint64_t vocab_rows;
    uint64_t layers; /* 0: all */
    uint64_t max_shard_bytes;
    unsigned n_threads;
};

static uint64_t parse_count(const char *option, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-') {
        synth_die("not a count", option);
    }
    return value;
}

static double parse_real(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0.0) || value > 1.0) {
        synth_die("not a number above 0 and at most 1", option);
    }
    return value;
}

static uint64_t parse_size(const char *option, const char *text)
{
    static const struct {
        const char *suffix;
        uint64_t unit;
    } units[] = {{"GB", 1000000000}, {"MB", 1000000}, {"KB", 1000}};
    size_t n = strlen(text);
    char digits[24];
    uint64_t unit = 1;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (n > 2 && strcmp(text + n - 2, units[i].suffix) == 0) {
            unit = units[i].unit;
            n -= 2;
        }
    }
    (void)snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    uint64_t count = parse_count(option, digits);
    if (count == 0 || count > UINT64_MAX / 2 / unit) {
        synth_die("not a size", option);
    }
    return count * unit;
}

static void set_size(struct synth_model *model, const char *name)
{
    for (size_t i = 0; i < sizeof synth_sizes / sizeof synth_sizes[0]; i++) {
        const struct synth_size *size = &synth_sizes[i];
        if (strcmp(size->name, name) == 0) {
            model->size_name = size->name;
            model->norm_eps = size->norm_eps;
            model->hidden = size->hidden;
            model->ffn = size->ffn;
            model->layers = size->layers;
            model->heads = size->heads;
            return;
        }
    }
    synth_die("no such size", name);
}

static enum dtype parse_dtype(const char *text)
{
    if (strcmp(text, "f16") == 0) {
        return DTYPE_F16;
    }
    if (strcmp(text, "bf16") == 0) {
        return DTYPE_BF16;
    }
    if (strcmp(text, "f32") == 0) {
        return DTYPE_F32;
    }
    synth_die("no such dtype", text);
}

/* Whether `text` is name_true; anything but the two names ends the program. */
static bool parse_choice(const char *option, const char *text, const char *name_false, const char *name_true)
{
    if (strcmp(text, name_true) != 0 && strcmp(text, name_false) != 0) {
        synth_die("no such choice", option);
    }
    return strcmp(text, name_true) == 0;
}

enum option_id {
    OPTION_OUT = 256,
    OPTION_CHECK,
    OPTION_BASE,
    OPTION_DELTA,
    OPTION_TARGET,
    OPTION_SIZE,
    OPTION_SCALE,
    OPTION_LAYERS,
    OPTION_VARIANT,
    OPTION_VOCAB_ROWS,
    OPTION_PROJECTOR,
    OPTION_INV_FREQ,
    OPTION_DTYPE,
    OPTION_SEED,
    OPTION_UPDATE_SEED,
    OPTION_SIGMA,
    OPTION_MAX_SHARD_SIZE,
    OPTION_THREADS,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"out", required_argument, NULL, OPTION_OUT},
    {"check", required_argument, NULL, OPTION_CHECK},
    {"base", no_argument, NULL, OPTION_BASE},
    {"delta", no_argument, NULL, OPTION_DELTA},
    {"target", no_argument, NULL, OPTION_TARGET},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"scale", required_argument, NULL, OPTION_SCALE},
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"variant", required_argument, NULL, OPTION_VARIANT},
    {"vocab-rows", required_argument, NULL, OPTION_VOCAB_ROWS},
    {"projector", required_argument, NULL, OPTION_PROJECTOR},
    {"inv-freq", required_argument, NULL, OPTION_INV_FREQ},
    {"dtype", required_argument, NULL, OPTION_DTYPE},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"update-seed", required_argument, NULL, OPTION_UPDATE_SEED},
    {"sigma", required_argument, NULL, OPTION_SIGMA},
    {"max-shard-size", required_argument, NULL, OPTION_MAX_SHARD_SIZE},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void set_flag(struct options *options, int id)
{
    switch (id) {
    case OPTION_BASE:
        options->wanted[SYNTH_BASE] = true;
        break;
    case OPTION_DELTA:
        options->wanted[SYNTH_DELTA] = true;
        break;
    case OPTION_TARGET:
        options->wanted[SYNTH_TARGET] = true;
        break;
    case OPTION_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static void set_option(struct options *options, int id, const char *text)
{
    switch (id) {
    case OPTION_OUT:
        options->out = text;
        break;
    case OPTION_CHECK:
        options->check = text;
        break;
    case OPTION_SIZE:
        set_size(&options->model, text);
        break;
    case OPTION_SCALE:
        options->scale = parse_real("--scale", text);
        break;
    case OPTION_LAYERS:
        options->layers = parse_count("--layers", text);
        break;
    case OPTION_VARIANT:
        options->vicuna = parse_choice("--variant", text, "llava", "vicuna");
        break;
    case OPTION_VOCAB_ROWS:
        options->vocab_rows = parse_count("--vocab-rows", text);
        break;
    case OPTION_PROJECTOR:
        options->has_projector = true;
        options->model.projector = strcmp(text, "none") == 0 ? 0 : parse_count("--projector", text);
        break;
    case OPTION_INV_FREQ:
        options->inv_freq = parse_choice("--inv-freq", text, "none", "f32");
        break;
    case OPTION_DTYPE:
        options->model.dtype = parse_dtype(text);
        break;
    case OPTION_SEED:
        options->values.base_seed = parse_count("--seed", text);
        break;
    case OPTION_UPDATE_SEED:
        options->has_update_seed = true;
        options->values.update_seed = parse_count("--update-seed", text);
        break;
    case OPTION_SIGMA:
        options->values.update_sigma = (float)parse_real("--sigma", text);
        break;
    case OPTION_MAX_SHARD_SIZE:
        options->max_shard_bytes = parse_size("--max-shard-size", text);
        break;
    case OPTION_THREADS:
        options->n_threads = (unsigned)parse_count("--threads", text);
        break;
    default:
        set_flag(options, id);
    }
}

/* Defaults, and what follows from other options. */
static void parse_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .values = {.base_seed = 1, .update_sigma = 0.001F},
        .scale = 1.0,
        .inv_freq = true,
        .max_shard_bytes = 5000000000,
        .n_threads = cpus_usable(),
    };
    options->model.dtype = DTYPE_F16;
    set_size(&options->model, "7b");
    int id;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        set_option(options, id, optarg);
    }
    if (optind != argc || (options->out == NULL) == (options->check == NULL) || options->n_threads == 0 ||
        options->n_threads > SYNTH_THREADS_MAX) {
        set_flag(options, '?');
    }
    if (!options->wanted[SYNTH_BASE] && !options->wanted[SYNTH_DELTA] && !options->wanted[SYNTH_TARGET]) {
        options->wanted[SYNTH_BASE] = true;
        options->wanted[SYNTH_DELTA] = true;
    }
    struct synth_model *model = &options->model;
    model->base_vocab = SYNTH_BASE_VOCAB;
    model->rows = options->vocab_rows != 0 ? options->vocab_rows : options->vicuna ? 32001 : 32004;
    if (model->rows < model->base_vocab || model->rows > 1000000 || model->projector > 1000000) {
        synth_die("not between 32000 and 1000000 rows, or a projector too wide", "--vocab-rows");
    }
    if (!options->has_projector) {
        model->projector = options->vicuna ? 0 : 1024;
    }
    if (!options->has_update_seed) {
        options->values.update_seed = options->values.base_seed;
    }
    options->values.dtype = model->dtype;
    options->values.kernels = kernel_best();
}

/* The ranges a thread has written lately. */
struct behind {
    struct {
        int fd;
        off_t offset;
        off_t n_bytes;
    } ranges[WRITE_BEHIND];
    size_t n;
};

/*
 * Starts the writing of this range now, and forgets the one written WRITE_BEHIND ranges ago: pages of the cache are
 * reused instead of piling up. Hints only, so failures do not matter.
 */
static void write_behind(struct behind *behind, int fd, uint64_t offset, size_t n_bytes)
{
    size_t slot = behind->n++ % WRITE_BEHIND;
    if (behind->n > WRITE_BEHIND) {
        int old_fd = behind->ranges[slot].fd;
        off_t old_offset = behind->ranges[slot].offset;
        off_t old_bytes = behind->ranges[slot].n_bytes;
        (void)sync_file_range(old_fd, old_offset, old_bytes,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        (void)posix_fadvise(old_fd, old_offset, old_bytes, POSIX_FADV_DONTNEED);
    }
    (void)sync_file_range(fd, (off_t)offset, (off_t)n_bytes, SYNC_FILE_RANGE_WRITE);
    behind->ranges[slot].fd = fd;
    behind->ranges[slot].offset = (off_t)offset;
    behind->ranges[slot].n_bytes = (off_t)n_bytes;
}

struct make {
    const struct synth_model *model;
    struct synth_checkpoint checkpoints[SYNTH_ROLE_COUNT];
    size_t n_checkpoints;
};

static void make_tile(void *context, void *state, const struct synth_tile *tile)
{
    const struct make *make = context;
    const struct tensor *tensor = &make->model->tensors[tile->tensor].target;
    size_t elem_bytes = dtype_bytes(tensor->dtype);
    for (size_t i = 0; i < make->n_checkpoints; i++) {
        const struct synth_checkpoint *checkpoint = &make->checkpoints[i];
        struct synth_place place = checkpoint->places[tile->tensor];
        if (place.fd < 0 || tile->first >= place.n_elems) {
            continue;
        }
        uint64_t left = place.n_elems - tile->first;
        size_t n_bytes = (size_t)(left < tile->n_elems ? left : tile->n_elems) * elem_bytes;
        uint64_t offset = place.offset + tile->first * elem_bytes;
        synth_write_all(place.fd, offset, tile->bytes[checkpoint->role], n_bytes, tensor->name);
        write_behind(state, place.fd, offset, n_bytes);
    }
}

static void make_models(const struct options *options)
{
    static const char *const names[SYNTH_ROLE_COUNT] = {"base", "delta", "target", ""};
    struct make make = {.model = &options->model};
    synth_create_directory(options->out);
    for (int role = 0; role < SYNTH_ROLE_COUNT; role++) {
        if (!options->wanted[role]) {
            continue;
        }
        char path[SYNTH_PATH_BYTES];
        (void)snprintf(path, sizeof path, "%s/%s", options->out, names[role]);
        struct synth_checkpoint *checkpoint = &make.checkpoints[make.n_checkpoints++];
        synth_checkpoint_begin(checkpoint, &options->model, (enum synth_role)role, path, options->max_shard_bytes);
        synth_small_files(checkpoint, &options->model);
        printf("%s: %zu tensors, %zu shards, %llu bytes of %s data\n", path, checkpoint->n_tensors,
               checkpoint->n_shards, (unsigned long long)checkpoint->data_bytes, dtype_name(options->model.dtype));
    }
    struct synth_run run = {
        .model = &options->model,
        .values = &options->values,
        .function = make_tile,
        .context = &make,
        .state_bytes = sizeof(struct behind),
    };
    synth_run_all(&run, options->n_threads);
    for (size_t i = 0; i < make.n_checkpoints; i++) {
        synth_checkpoint_end(&make.checkpoints[i]);
    }
}

int main(int argc, char **argv)
{
    struct options options;
    parse_options(&options, argc, argv);
    synth_model_scale(&options.model, options.scale);
    if (options.layers > 0 && options.layers < options.model.layers) {
        options.model.layers = options.layers;
    }
    synth_model_build(&options.model, options.inv_freq);
    int status = 0;
    if (options.check != NULL) {
        status = synth_check_all(&options.model, &options.values, options.check, options.n_threads);
    } else {
        make_models(&options);
    }
    synth_model_deinit(&options.model);
    return status;
}
