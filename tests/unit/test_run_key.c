/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/run_key.h"

#include <fcntl.h>
#include <unistd.h>

#include "unit/fake_source.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define PART(part) (1u << JOURNAL_##part)

static struct llavamed_error error;

/* Two sources with two files each, and their plan, of two shards. */
struct scene {
    struct fake_source base;
    struct fake_source delta;
    struct source_file base_files[2];
    struct source_file delta_files[2];
    struct plan_options options;
    struct plan plan;
    char version[8];
    char names[2][2][8];
    struct run_key_input input;
    struct journal_key key; /* of the scene as it was made */
};

static void put_tensors(struct source *source)
{
    tensor_set_init(&source->set);
    set_put(&source->set, "model.embed_tokens.weight", DTYPE_F16, 2, 10, 8);
    set_put(&source->set, "model.norm.weight", DTYPE_F16, 1, 8, 0);
    set_put(&source->set, "lm_head.weight", DTYPE_F16, 2, 10, 8);
}

static void name_files(struct source *source, struct source_file *files, char names[2][8])
{
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(names[i], 8, "%zu.st", i);
        files[i] = (struct source_file){.name = names[i], .n_bytes = 100 + i, .modified_ns = 1700000000000000000u + i};
    }
    source->format = "safetensors";
    source->files = files;
    source->n_files = 2;
}

static struct scene *make_scene(void)
{
    struct scene *scene = calloc(1, sizeof *scene);
    make_set_require(scene != NULL);
    put_tensors(&scene->base.source);
    put_tensors(&scene->delta.source);
    fake_source_seal(&scene->base, "base", 0, 1);
    fake_source_seal(&scene->delta, "delta", 0, 1);
    name_files(&scene->base.source, scene->base_files, scene->names[0]);
    name_files(&scene->delta.source, scene->delta_files, scene->names[1]);
    scene->options = (struct plan_options){.max_shard_bytes = 200};
    (void)snprintf(scene->version, sizeof scene->version, "0.1.0");
    make_set_require(plan_build(&scene->base.source.set, "base", &scene->delta.source.set, "delta", &scene->options,
                                &scene->plan, &error) == LLAVAMED_OK);
    scene->input = (struct run_key_input){scene->version, &scene->options, &scene->base.source, &scene->delta.source,
                                          &scene->plan, NULL};
    make_set_require(run_key_fill(&scene->input, &scene->key, &error) == LLAVAMED_OK);
    return scene;
}

static void free_scene(struct scene *scene)
{
    plan_deinit(&scene->plan);
    fake_source_free(&scene->base);
    fake_source_free(&scene->delta);
    free(scene);
}

static unsigned changed_parts(const struct journal_key *a, const struct journal_key *b)
{
    unsigned parts = 0;
    for (unsigned i = 0; i < JOURNAL_PARTS; i++) {
        parts |= strcmp(a->sha256[i], b->sha256[i]) != 0 ? 1u << i : 0;
    }
    return parts;
}

static struct journal_key key_of(const struct run_key_input *input)
{
    struct journal_key key = {0};
    EXPECT(run_key_fill(input, &key, &error) == LLAVAMED_OK);
    return key;
}

/* Flips the lowest bit of a number or of a letter, and sets it right again. */
static void expect_change(struct scene *scene, void *field, unsigned parts, const char *what)
{
    uint8_t *byte = field;
    *byte ^= 1;
    struct journal_key key = key_of(&scene->input);
    *byte ^= 1;
    if (!EXPECT(changed_parts(&scene->key, &key) == parts)) {
        printf("    %s changes %x (want %x)\n", what, changed_parts(&scene->key, &key), parts);
    }
}

/* One less of a list. */
static void expect_less(struct scene *scene, size_t *count, unsigned parts)
{
    --*count;
    struct journal_key key = key_of(&scene->input);
    ++*count;
    EXPECT(changed_parts(&scene->key, &key) == parts);
}

#define EXPECT_CHANGE(field, parts) expect_change(scene, (field), (parts), #field)

static void the_same_gives_the_same(void)
{
    struct scene *a = make_scene();
    struct scene *b = make_scene();
    EXPECT(changed_parts(&a->key, &b->key) == 0);
    for (unsigned i = 0; i < JOURNAL_PARTS; i++) {
        EXPECT(strspn(a->key.sha256[i], "0123456789abcdef") == 64 && a->key.sha256[i][64] == '\0');
        for (unsigned k = 0; k < i; k++) {
            /* Base and delta are alike here: which is which is told by the part. */
            bool alike = k == JOURNAL_BASE && i == JOURNAL_DELTA;
            EXPECT((strcmp(a->key.sha256[i], a->key.sha256[k]) == 0) == alike);
        }
    }
    free_scene(a);
    free_scene(b);
}

static void each_change_of_tool_and_options(void)
{
    struct scene *scene = make_scene();
    EXPECT_CHANGE(&scene->version[4], PART(TOOL));
    EXPECT_CHANGE(&scene->options.format, PART(OPTIONS));
    EXPECT_CHANGE(&scene->options.dtype, PART(OPTIONS));
    EXPECT_CHANGE(&scene->options.inv_freq, PART(OPTIONS));
    EXPECT_CHANGE(&scene->options.max_shard_bytes, PART(OPTIONS));
    free_scene(scene);
}

static void expect_source_changes(struct scene *scene, struct fake_source *fake, struct source_file *files,
                                  unsigned part)
{
    struct tensor *tensors = fake->source.set.tensors;
    for (size_t i = 0; i < 2; i++) {
        EXPECT_CHANGE(&files[i].name[0], part);
        EXPECT_CHANGE(&files[i].n_bytes, part);
        EXPECT_CHANGE(&files[i].modified_ns, part);
        EXPECT_CHANGE(&files[i].recorded.sha256[0][0], 0);
    }
    for (size_t i = 0; i < fake->source.set.n_tensors; i++) {
        EXPECT_CHANGE(&tensors[i].name[1], part);
        EXPECT_CHANGE(&tensors[i].dtype, part);
        EXPECT_CHANGE(&tensors[i].rank, part);
        EXPECT_CHANGE(&tensors[i].shape[0], part);
    }
    EXPECT_CHANGE(&tensors[0].shape[1], part);
    expect_less(scene, &fake->source.n_files, part);
    expect_less(scene, &fake->source.set.n_tensors, part);
    EXPECT_CHANGE(fake->source.spec, 0); /* it may have been moved */
    fake->source.format = "torch";
    struct journal_key key = key_of(&scene->input);
    EXPECT(changed_parts(&scene->key, &key) == part);
    fake->source.format = "safetensors";
}

static void each_change_of_a_source(void)
{
    struct scene *scene = make_scene();
    expect_source_changes(scene, &scene->base, scene->base_files, PART(BASE));
    expect_source_changes(scene, &scene->delta, scene->delta_files, PART(DELTA));
    free_scene(scene);
}

/* Records count, wherever they are, --sums too; of those that say the same the first alone. */
static void each_record_of_a_hash(void)
{
    struct scene *scene = make_scene();
    char *paths[2] = {scene->names[0][0], scene->names[0][1]};
    scene->base.source.file_paths = paths;
    scene->delta.source.file_paths = paths;
    for (unsigned side = 0; side < 2; side++) {
        struct source_file *files = side == 0 ? scene->base_files : scene->delta_files;
        struct journal_key keys[2 * RECORDED_COUNT + 2];
        for (size_t i = 0; i < 2 * RECORDED_COUNT + 2; i++) {
            struct recorded_hashes *recorded = &files[1].recorded;
            struct input_hashes *hashes = NULL;
            if (i > 0 && i <= RECORDED_COUNT) {
                recorded->sha256[i - 1][0] = 'a';
            } else if (i > RECORDED_COUNT && i <= 2 * RECORDED_COUNT) {
                recorded->git_blob[i - 1 - RECORDED_COUNT][0] = 'a';
            } else if (i > 0) {
                recorded->sha256[0][0] = 'a';
                recorded->sha256[RECORDED_SUMS][0] = 'b';
            }
            make_set_require(input_hashes_create(&scene->base.source, &scene->delta.source, &hashes, &error) ==
                             LLAVAMED_OK);
            scene->input.hashes = hashes;
            keys[i] = key_of(&scene->input);
            scene->input.hashes = NULL;
            input_hashes_free(hashes);
            *recorded = (struct recorded_hashes){0};
        }
        unsigned part = side == 0 ? PART(BASE) : PART(DELTA);
        EXPECT(changed_parts(&scene->key, &keys[0]) == 0);
        for (size_t i = 1; i < 2 * RECORDED_COUNT + 2; i++) {
            bool is_alike = i > 1 && i <= 2 * RECORDED_COUNT && i != RECORDED_COUNT + 1;
            EXPECT(changed_parts(&keys[0], &keys[i]) == part);
            EXPECT(changed_parts(&keys[i - 1], &keys[i]) == (is_alike ? 0 : part));
        }
    }
    free_scene(scene);
}

/* Where a text ends is told: without its length "ab" and eight times "b" would be "a" and eight times "b" and "b". */
static void texts_do_not_run_together(void)
{
    struct scene *scene = make_scene();
    char names[2][8] = {"ab", "c"};
    struct journal_key keys[2];
    for (size_t i = 0; i < 2; i++) {
        scene->base_files[i].name = names[i];
    }
    scene->base_files[0].n_bytes = UINT64_C(0x6262626262626262);
    scene->base_files[0].modified_ns = UINT64_C(0x6262626262626262);
    keys[0] = key_of(&scene->input);
    (void)snprintf(names[0], sizeof names[0], "a");
    (void)snprintf(names[1], sizeof names[1], "bc");
    keys[1] = key_of(&scene->input);
    EXPECT(changed_parts(&keys[0], &keys[1]) == PART(BASE));
    free_scene(scene);
}

static void each_change_of_the_plan(void)
{
    struct scene *scene = make_scene();
    struct plan *plan = &scene->plan;
    EXPECT_U64(plan->n_shards, 2);
    EXPECT_CHANGE(&plan->format, PART(PLAN));
    EXPECT_CHANGE(&plan->model_dtype, PART(PLAN));
    for (size_t i = 0; i < plan->n_tensors; i++) {
        struct plan_tensor *tensor = &plan->tensors[i];
        EXPECT_CHANGE(&tensor->out.name[1], PART(PLAN));
        EXPECT_CHANGE(&tensor->out.dtype, PART(PLAN));
        EXPECT_CHANGE(&tensor->out.shape[0], PART(PLAN));
        EXPECT_CHANGE(&tensor->action, PART(PLAN));
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        struct plan_shard *shard = &plan->shards[i];
        /* The layout lends its list as const. */
        uint64_t *offsets = shard->layout.as.safetensors.file_offsets;
        EXPECT_CHANGE(&shard->name[0], PART(PLAN));
        EXPECT_CHANGE(&shard->layout.file_bytes, PART(PLAN));
        for (size_t k = 0; k < shard->n_tensors; k++) {
            EXPECT_CHANGE(&shard->tensors[k], PART(PLAN));
            EXPECT_CHANGE(&offsets[k], PART(PLAN));
        }
    }
    expect_less(scene, &plan->n_shards, PART(PLAN));
    expect_less(scene, &plan->n_tensors, PART(PLAN));
    EXPECT_CHANGE(&plan->warnings, 0);
    free_scene(scene);
}

/* ---- real files ---- */

static void copy_file(const char *from, const char *to)
{
    size_t n_bytes = 0;
    char *bytes = temp_read(from, &n_bytes);
    temp_dir_require(bytes != NULL, from);
    temp_write(to, bytes, n_bytes);
    free(bytes);
}

static void set_modified(const char *path, time_t seconds, long nanoseconds)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    temp_dir_require(utimensat(AT_FDCWD, path, times, 0) == 0, path);
}

static struct source *open_source(const char *path)
{
    const struct source_options options = {.role = "base", .check_crc = true};
    struct source *source = NULL;
    if (!EXPECT(source_open(path, &options, &source, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
        abort();
    }
    return source;
}

/* The key of the scene with the base at `path`. */
static struct journal_key key_with_base(struct scene *scene, const char *path)
{
    struct run_key_input input = scene->input;
    struct source *source = open_source(path);
    input.base = source;
    struct journal_key key = key_of(&input);
    source_close(source);
    return key;
}

static void files_are_known_by_size_and_time(void)
{
    struct temp_dir dir;
    struct scene *scene = make_scene();
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "a"));
    temp_mkdir(temp_path(&dir, "b"));
    const char *first = temp_path(&dir, "a/w.safetensors");
    const char *second = temp_path(&dir, "b/w.safetensors");
    copy_file("tests/data/source/single.safetensors", first);
    copy_file(first, second);
    set_modified(first, 1700000000, 5);
    set_modified(second, 1700000000, 5);
    struct journal_key key = key_with_base(scene, first);
    EXPECT(changed_parts(&scene->key, &key) == PART(BASE));
    struct journal_key moved = key_with_base(scene, second);
    EXPECT(changed_parts(&key, &moved) == 0);
    set_modified(second, 1700000000, 6);
    struct journal_key touched = key_with_base(scene, second);
    EXPECT(changed_parts(&key, &touched) == PART(BASE));
    set_modified(second, -1, 5);
    struct journal_key ancient = key_with_base(scene, second);
    EXPECT(changed_parts(&key, &ancient) == PART(BASE));

    /* What counts is the file that was opened, not what lies there by now. */
    struct run_key_input input = scene->input;
    struct source *source = open_source(first);
    input.base = source;
    copy_file("tests/data/source/single.safetensors", second);
    temp_dir_require(rename(second, first) == 0, "rename");
    struct journal_key replaced = key_of(&input);
    EXPECT(changed_parts(&key, &replaced) == 0);
    source_close(source);
    temp_dir_remove(&dir);
    free_scene(scene);
}

#define DATA_BYTES 1000000

/* A safetensors file of DATA_BYTES zeros behind its header. Returns its size. */
static size_t write_zeros(const char *path)
{
    static char bytes[DATA_BYTES + 256];
    int n_json = snprintf(bytes + 8, 200, "{\"w\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
                          DATA_BYTES, DATA_BYTES);
    bytes[0] = (char)n_json;
    temp_write(path, bytes, 8 + (size_t)n_json + DATA_BYTES);
    return 8 + (size_t)n_json + DATA_BYTES;
}

/* Sets a byte of the file without another time. */
static void put_byte(const char *path, size_t offset, char byte)
{
    FILE *file = fopen(path, "r+b");
    temp_dir_require(file != NULL && fseek(file, (long)offset, SEEK_SET) == 0, path);
    temp_dir_require(fputc((unsigned char)byte, file) != EOF && fclose(file) == 0, path);
    set_modified(path, 1700000000, 5);
}

/* Images and stores give all files one time. What differs then is met by some of sixteen blocks, and at both ends. */
static void files_of_one_size_and_time_are_sampled(void)
{
    struct temp_dir dir;
    struct scene *scene = make_scene();
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "w.safetensors");
    size_t n_bytes = write_zeros(path);
    set_modified(path, 1700000000, 5);
    struct journal_key key = key_with_base(scene, path);
    size_t n_noticed = 0;
    for (size_t offset = n_bytes - 1; offset > n_bytes - DATA_BYTES; offset -= offset < 4000 ? offset : 4000) {
        put_byte(path, offset, 1);
        struct journal_key other = key_with_base(scene, path);
        n_noticed += changed_parts(&key, &other) == PART(BASE);
        EXPECT(offset > 4096 || changed_parts(&key, &other) == PART(BASE));
        EXPECT(offset < n_bytes - 4096 || changed_parts(&key, &other) == PART(BASE));
        put_byte(path, offset, 0);
    }
    EXPECT(n_noticed >= 16 && n_noticed <= 34);
    struct journal_key again = key_with_base(scene, path);
    EXPECT(changed_parts(&key, &again) == 0);
    temp_dir_remove(&dir);
    free_scene(scene);
}

/* Of a small file every byte counts. */
static void small_files_are_sampled_as_a_whole(void)
{
    struct temp_dir dir;
    struct scene *scene = make_scene();
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "w.safetensors");
    copy_file("tests/data/source/single.safetensors", path);
    set_modified(path, 1700000000, 5);
    size_t n_bytes = 0;
    char *bytes = temp_read(path, &n_bytes);
    temp_dir_require(bytes != NULL, path);
    struct journal_key key = key_with_base(scene, path);
    for (size_t offset = n_bytes - 64; offset < n_bytes; offset++) {
        put_byte(path, offset, (char)(bytes[offset] ^ 1));
        struct journal_key other = key_with_base(scene, path);
        EXPECT(changed_parts(&key, &other) == PART(BASE));
        put_byte(path, offset, bytes[offset]);
    }
    free(bytes);
    temp_dir_remove(&dir);
    free_scene(scene);
}

/* The bytes are those of the file that was opened; what fails is told as of other reads. */
static void samples_end_as_reads_do(void)
{
    struct temp_dir dir;
    struct scene *scene = make_scene();
    struct run_key_input input = scene->input;
    struct journal_key key;
    volatile int stop_signal = 0;
    const struct source_options options = {.role = "base", .check_crc = true, .stop_signal = &stop_signal};
    struct source *source = NULL;
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "w.safetensors");
    size_t n_bytes = write_zeros(path);
    temp_dir_require(source_open(path, &options, &source, &error) == LLAVAMED_OK, path);
    input.base = source;
    stop_signal = 15;
    EXPECT(run_key_fill(&input, &key, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(error.signal_number == 15);
    stop_signal = 0;
    EXPECT(run_key_fill(&input, &key, &error) == LLAVAMED_OK);
    temp_dir_require(truncate(path, (off_t)n_bytes / 2) == 0, path);
    EXPECT(run_key_fill(&input, &key, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(strstr(error.message, "w.safetensors: the file became shorter while it was read") != NULL);
    source_close(source);
    temp_dir_remove(&dir);
    free_scene(scene);
}

/* Meta's layout; what it returns is the path of its params.json. */
static const char *make_meta(struct temp_dir *dir)
{
    temp_dir_make(dir);
    const char *params = temp_path(dir, "params.json");
    copy_file("tests/data/meta/one/consolidated.00.pth", temp_path(dir, "consolidated.00.pth"));
    copy_file("tests/data/meta/one/params.json", params);
    return params;
}

/* Four heads instead of two, in place: the size stays as it is. */
static void change_heads(const char *params)
{
    char *text = temp_read(params, NULL);
    char *heads = strstr(text, "\"n_heads\": ");
    temp_dir_require(heads != NULL, "n_heads");
    char *digit = heads + strlen("\"n_heads\": ");
    EXPECT(*digit == '2');
    *digit = '4';
    temp_write_text(params, text);
    free(text);
}

/* The number of heads is in params.json alone. */
static void params_of_meta_count(void)
{
    struct temp_dir dir;
    struct scene *scene = make_scene();
    const char *params = make_meta(&dir);
    struct journal_key key = key_with_base(scene, dir.path);
    struct journal_key again = key_with_base(scene, dir.path);
    EXPECT(changed_parts(&key, &again) == 0);
    change_heads(params);
    struct journal_key other = key_with_base(scene, dir.path);
    EXPECT(changed_parts(&key, &other) == PART(BASE));
    temp_dir_remove(&dir);
    free_scene(scene);
}

/* Tiles are made with the heads of the opening, so the key has to be of these; and in the end the change is told. */
static void params_of_meta_are_those_of_the_opening(void)
{
    struct temp_dir dir;
    uint8_t scratch[4096];
    struct scene *scene = make_scene();
    struct run_key_input input = scene->input;
    const char *params = make_meta(&dir);
    set_modified(params, 1700000000, 5);
    struct source *source = open_source(dir.path);
    input.base = source;
    struct journal_key key = key_of(&input);
    EXPECT(source_finish(source, scratch, sizeof scratch, &error) == LLAVAMED_OK);
    change_heads(params);
    struct journal_key changed = key_of(&input);
    EXPECT(changed_parts(&key, &changed) == 0);
    EXPECT(source_finish(source, scratch, sizeof scratch, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(strstr(error.message, "params.json: the file changed while it was read") != NULL);
    temp_dir_require(remove(params) == 0, params);
    EXPECT(source_finish(source, scratch, sizeof scratch, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    source_close(source);
    temp_dir_remove(&dir);
    free_scene(scene);
}

int main(void)
{
    CASE(the_same_gives_the_same);
    CASE(each_change_of_tool_and_options);
    CASE(each_change_of_a_source);
    CASE(each_record_of_a_hash);
    CASE(texts_do_not_run_together);
    CASE(each_change_of_the_plan);
    CASE(files_are_known_by_size_and_time);
    CASE(files_of_one_size_and_time_are_sampled);
    CASE(small_files_are_sampled_as_a_whole);
    CASE(samples_end_as_reads_do);
    CASE(params_of_meta_count);
    CASE(params_of_meta_are_those_of_the_opening);
    return harness_end();
}
