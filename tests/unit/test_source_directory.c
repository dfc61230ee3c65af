/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of a directory are taken for the checkpoint, and whether its index tells the truth. */
#include "source/source.h"

#include <fcntl.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/source/"

static void copy_file(struct temp_dir *dir, const char *from, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, DATA "%s", from);
    size_t n_bytes = 0;
    char *bytes = temp_read(path, &n_bytes);
    temp_dir_require(bytes != NULL, path);
    temp_write(temp_path(dir, "%s", name), bytes, n_bytes);
    free(bytes);
}

/* A directory with files of the data under new names: pairs of FROM, NAME up to a NULL. "" makes a file of one byte. */
static void fill(struct temp_dir *dir, const char *const *pairs)
{
    temp_dir_make(dir);
    for (; pairs[0] != NULL; pairs += 2) {
        if (pairs[0][0] == '\0') {
            temp_write_text(temp_path(dir, "%s", pairs[1]), "x");
        } else {
            copy_file(dir, pairs[0], pairs[1]);
        }
    }
}

static enum llavamed_status open_dir(const char *path, struct source **source, struct llavamed_error *error)
{
    const struct source_options options = {.role = "delta", .check_crc = true};
    *source = NULL;
    memset(error, 0, sizeof *error);
    return source_open(path, &options, source, error);
}

/* The directory opens and its only weights file, or first shard, is `file`; the note ends like this, NULL: no note. */
static void expect_choice(const char *const *pairs, const char *file, const char *note)
{
    struct temp_dir dir;
    fill(&dir, pairs);
    struct source *source;
    struct llavamed_error error;
    if (!EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_OK)) {
        printf("%s\n", error.message);
        temp_dir_remove(&dir);
        return;
    }
    const struct source_file *files;
    EXPECT(source_files(source, &files) >= 1);
    EXPECT_TEXT(files[0].name, file);
    const struct source_remark *remarks;
    if (EXPECT_U64(source_remarks(source, &remarks), note == NULL ? 0 : 1) && note != NULL) {
        EXPECT(!remarks[0].is_warning);
        char wanted[1024];
        (void)snprintf(wanted, sizeof wanted, "%s: several sets of weights: using %s", dir.path, note);
        EXPECT_TEXT(remarks[0].text, wanted);
    }
    source_close(source);
    temp_dir_remove(&dir);
}

/* The directory is refused with this status; message and hint hold these. */
static void expect_refused(const char *const *pairs, enum llavamed_status status, const char *message, const char *hint)
{
    struct temp_dir dir;
    fill(&dir, pairs);
    struct source *source;
    struct llavamed_error error;
    EXPECT_TEXT(llavamed_status_name(open_dir(dir.path, &source, &error)), llavamed_status_name(status));
    EXPECT(source == NULL);
    EXPECT(strncmp(error.message, dir.path, strlen(dir.path)) == 0);
    if (!EXPECT(strstr(error.message, message) != NULL && strstr(error.hint, hint) != NULL)) {
        printf("    got  %s\n    hint %s\n", error.message, error.hint);
    }
    temp_dir_remove(&dir);
}

#define ST "safetensors-sharded/"
#define ST_SHARDS                                                                                                      \
    ST "model-00001-of-00003.safetensors", "model-00001-of-00003.safetensors", ST "model-00002-of-00003.safetensors",  \
        "model-00002-of-00003.safetensors", ST "model-00003-of-00003.safetensors", "model-00003-of-00003.safetensors"
#define ST_SET ST_SHARDS, ST "model.safetensors.index.json", "model.safetensors.index.json"
#define PT "torch-sharded/"
#define PT_SHARDS                                                                                                      \
    PT "pytorch_model-00001-of-00003.bin", "pytorch_model-00001-of-00003.bin", PT "pytorch_model-00002-of-00003.bin",  \
        "pytorch_model-00002-of-00003.bin", PT "pytorch_model-00003-of-00003.bin", "pytorch_model-00003-of-00003.bin"
#define PT_SET PT_SHARDS, PT "pytorch_model.bin.index.json", "pytorch_model.bin.index.json"
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void order_of_preference(void)
{
    expect_choice(LIST(ST_SET), "model-00001-of-00003.safetensors", NULL);
    expect_choice(LIST(PT_SET), "pytorch_model-00001-of-00003.bin", NULL);
    expect_choice(LIST("single.safetensors", "model.safetensors"), "model.safetensors", NULL);
    expect_choice(LIST("single.bin", "pytorch_model.bin"), "pytorch_model.bin", NULL);
    expect_choice(LIST(ST_SET, PT_SET, "single.safetensors", "model.safetensors", "single.bin", "pytorch_model.bin"),
                  "model-00001-of-00003.safetensors",
                  "model.safetensors.index.json, ignoring model.safetensors, pytorch_model.bin.index.json, "
                  "pytorch_model.bin");
    expect_choice(LIST(PT_SET, "single.safetensors", "model.safetensors", "single.bin", "pytorch_model.bin"),
                  "model.safetensors", "model.safetensors, ignoring pytorch_model.bin.index.json, pytorch_model.bin");
    expect_choice(LIST(PT_SET, "single.bin", "pytorch_model.bin"), "pytorch_model-00001-of-00003.bin",
                  "pytorch_model.bin.index.json, ignoring pytorch_model.bin");
    expect_choice(LIST("single.safetensors", "model.safetensors", "single.bin", "mm_projector.bin"),
                  "model.safetensors", "model.safetensors, ignoring mm_projector.bin");
    expect_choice(LIST("single.safetensors", "model.safetensors", "single.safetensors", "other.safetensors"),
                  "model.safetensors", "model.safetensors, ignoring other .safetensors files");
    expect_choice(LIST("single.bin", "pytorch_model.bin", "single.bin", "other.pt"), "pytorch_model.bin",
                  "pytorch_model.bin, ignoring other .bin, .pth or .pt files");
    expect_choice(LIST(PT_SET, "single.safetensors", "stray.safetensors"), "pytorch_model-00001-of-00003.bin",
                  "pytorch_model.bin.index.json, ignoring stray.safetensors");
}

static void single_files_of_any_name(void)
{
    expect_choice(LIST("single.safetensors", "x.safetensors"), "x.safetensors", NULL);
    expect_choice(LIST("single.bin", "x.bin"), "x.bin", NULL);
    expect_choice(LIST("single.bin", "x.pth"), "x.pth", NULL);
    expect_choice(LIST("single.bin", "x.pt", "", "optimizer.pt", "", "scheduler.bin", "", "rng_state_0.pth", "",
                       "training_args.bin", "", ".hidden.bin"),
                  "x.pt", NULL);
    expect_choice(LIST("single.safetensors", "x.safetensors", "single.bin", "y.bin", "single.bin", "z.bin"),
                  "x.safetensors", "x.safetensors, ignoring other .bin, .pth or .pt files");
}

static void nothing_usable(void)
{
    expect_refused(LIST("", "config.json", "", "notes", "", ".hidden"), LLAVAMED_STATUS_INPUT_MISSING,
                   ": no weights for the delta in this directory (got config.json, notes)",
                   "give the directory that holds model.safetensors, pytorch_model.bin or their sharded form");
    expect_refused(LIST("", "config.json", "", "tokenizer.model"), LLAVAMED_STATUS_INPUT_MISSING,
                   ": a tokenizer without weights for the delta (got tokenizer.model and no weights file)",
                   "complete the download");
    expect_refused(LIST("", ".hidden"), LLAVAMED_STATUS_INPUT_MISSING, "in this directory (got nothing)", "");
    expect_refused(LIST("", "a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g"), LLAVAMED_STATUS_INPUT_MISSING,
                   "(got a, b, c, d, e and 2 more)", "");
    expect_refused(LIST(ST_SHARDS), LLAVAMED_STATUS_INPUT_MISSING,
                   ": several weights files and no index that joins them (got model-00001-of-00003.safetensors, "
                   "model-00002-of-00003.safetensors, model-00003-of-00003.safetensors)",
                   "add the index of the shards");
    expect_refused(LIST("single.bin", "a.bin", "single.bin", "b.pth"), LLAVAMED_STATUS_INPUT_MISSING,
                   "(got a.bin, b.pth)", "");
}

static void metas_layout(void)
{
    expect_refused(LIST("", "tokenizer.model", "", "7B"), LLAVAMED_STATUS_INPUT_MISSING,
                   ": no shards of Meta's original release in it (wanted for the delta)", "consolidated.00.pth");
    expect_choice(LIST("single.safetensors", "model.safetensors", "single.bin", "consolidated.00.pth"),
                  "model.safetensors", "model.safetensors, ignoring consolidated.00.pth");
}

/* ---- The index ---- */

static void missing_shards_are_named(void)
{
    expect_refused(LIST(ST "model-00002-of-00003.safetensors", "model-00002-of-00003.safetensors",
                        ST "model.safetensors.index.json", "model.safetensors.index.json"),
                   LLAVAMED_STATUS_INPUT_MISSING,
                   "/model.safetensors.index.json: 2 of the 3 files that the index names are missing "
                   "(model-00001-of-00003.safetensors, model-00003-of-00003.safetensors)",
                   "complete the download");
}

/* The first shard of the real set beside an index made up here. */
static void expect_index(const char *shard, const char *name, const char *index, enum llavamed_status status,
                         const char *message)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    copy_file(&dir, shard, name);
    copy_file(&dir, "tied.bin", "tied.bin");
    temp_write_text(temp_path(&dir, "model.safetensors.index.json"), index);
    struct source *source;
    struct llavamed_error error;
    EXPECT_TEXT(llavamed_status_name(open_dir(dir.path, &source, &error)), llavamed_status_name(status));
    if (!EXPECT(strstr(error.message, message) != NULL)) {
        printf("    got  %s\n", error.message);
    }
    source_close(source);
    temp_dir_remove(&dir);
}

#define MAP(text) "{\"weight_map\": {" text "}}"
#define AT(name, file) "\"" name "\": \"" file "\""

static void index_and_shards_must_agree(void)
{
    expect_index("tied.bin", "a.bin", MAP(AT("lm_head.weight", "a.bin") ", " AT("model.embed_tokens.weight", "a.bin")),
                 LLAVAMED_OK, "");
    expect_index("tied.bin", "a.bin", MAP(AT("lm_head.weight", "a.bin")), LLAVAMED_STATUS_INDEX_DISAGREES,
                 "/model.safetensors.index.json: the index lacks tensor model.embed_tokens.weight, which is in a.bin");
    expect_index("tied.bin", "a.bin",
                 MAP(AT("lm_head.weight", "a.bin") ", " AT("model.embed_tokens.weight", "a.bin") ", " AT("x", "a.bin")),
                 LLAVAMED_STATUS_INDEX_DISAGREES, ": tensor x is not in a.bin, where the index says it is");
    /* The same tensors in two shards: whichever the index names, the other one is wrong. */
    expect_index(
        "tied.bin", "a.bin", MAP(AT("lm_head.weight", "a.bin") ", " AT("model.embed_tokens.weight", "tied.bin")),
        LLAVAMED_STATUS_INDEX_DISAGREES,
        ": tensor model.embed_tokens.weight is in another file than the index says (got a.bin, want tied.bin)");
    expect_index("tied.bin", "a.bin", MAP(AT("lm_head.weight", "a.bin") ", " AT("x", "tied.bin")),
                 LLAVAMED_STATUS_INDEX_DISAGREES, ": the index lacks tensor model.embed_tokens.weight");
    expect_index("tied.bin", "a.bin", MAP(""), LLAVAMED_STATUS_INDEX_INVALID, ": the weight_map is empty");
    expect_index("tied.bin", "a.bin", "[]", LLAVAMED_STATUS_INDEX_INVALID, "model.safetensors.index.json");
    expect_index("tied.bin", "a.bin", "{", LLAVAMED_STATUS_JSON_INVALID, "model.safetensors.index.json");
}

/* total_size is what some tools get wrong; the data's index says 1 and is read all the same. */
static void total_size_is_not_trusted(void)
{
    struct temp_dir dir;
    fill(&dir, LIST(PT_SET));
    size_t n_bytes = 0;
    char *index = temp_read(temp_path(&dir, "pytorch_model.bin.index.json"), &n_bytes);
    EXPECT(index != NULL && strstr(index, "\"total_size\": 1\n") != NULL);
    free(index);
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_OK);
    EXPECT_U64(source_tensors(source)->n_tensors, 10);
    source_close(source);
    temp_dir_remove(&dir);
}

/* ---- Links, and files that are not what their name says ---- */

static void links_are_followed(void)
{
    struct temp_dir blobs;
    struct temp_dir dir;
    fill(&blobs, LIST(ST_SET, ST "config.json", "config.json"));
    temp_dir_make(&dir);
    static const char *const names[] = {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors", "model.safetensors.index.json",
                                        "config.json"};
    for (size_t i = 0; i < 5; i++) {
        temp_dir_require(symlink(temp_path(&blobs, "%s", names[i]), temp_path(&dir, "%s", names[i])) == 0, "symlink");
    }
    temp_dir_require(symlink("nowhere", temp_path(&dir, "dangling.json")) == 0, "symlink");
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_OK);
    const struct source_small_file *files;
    if (EXPECT(source != NULL && source_small_files(source, &files) == 2)) {
        EXPECT_TEXT(files[0].name, "config.json");
        EXPECT_U64(files[0].n_bytes, 28);
        /* Whoever needs it is told. */
        char *bytes = NULL;
        size_t n_bytes = 0;
        EXPECT_TEXT(files[1].name, "dangling.json");
        EXPECT_U64(files[1].n_bytes, 0);
        EXPECT(source_small_file_read(&files[1], 100, &bytes, &n_bytes, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    }
    source_close(source);
    temp_dir_remove(&dir);
    temp_dir_remove(&blobs);
}

#define POINTER "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9876543210\n"

/* `file` of the directory becomes a pointer; then it opens as `first`, or is refused as pointers where that is NULL. */
static void expect_with_pointer(const char *const *pairs, const char *file, const char *first)
{
    struct temp_dir dir;
    fill(&dir, pairs);
    temp_write_text(temp_path(&dir, "%s", file), POINTER);
    struct source *source;
    struct llavamed_error error;
    enum llavamed_status status = open_dir(dir.path, &source, &error);
    const struct source_file *files;
    const struct source_remark *remarks;
    if (first == NULL) {
        EXPECT_TEXT(llavamed_status_name(status), "INPUT_UNSUPPORTED");
        EXPECT(strstr(error.message, ": a Git LFS pointer, not the weights themselves") != NULL);
    } else if (EXPECT(status == LLAVAMED_OK) && EXPECT(source_remarks(source, &remarks) == 2)) {
        EXPECT(source_files(source, &files) >= 1);
        EXPECT_TEXT(files[0].name, first);
        EXPECT(!remarks[0].is_warning && strstr(remarks[0].text, " stands for Git LFS pointers, not weights") != NULL);
        EXPECT(!remarks[1].is_warning && strstr(remarks[1].text, ": several sets of weights: using ") != NULL);
    }
    source_close(source);
    temp_dir_remove(&dir);
}

/* A clone without Git LFS, beside which somebody downloaded the other form. */
static void pointers_are_passed_over(void)
{
    const char *single = "model.safetensors";
    const char *shard = "model-00002-of-00003.safetensors";
    expect_with_pointer(LIST("single.bin", "pytorch_model.bin"), single, "pytorch_model.bin");
    expect_with_pointer(LIST(PT_SET), single, "pytorch_model-00001-of-00003.bin");
    expect_with_pointer(LIST(ST_SET, "single.bin", "pytorch_model.bin"), shard, "pytorch_model.bin");
    expect_with_pointer(LIST(ST_SET, PT_SET), shard, "pytorch_model-00001-of-00003.bin");
    expect_with_pointer(LIST(ST_SET, PT_SET), "model.safetensors.index.json", "pytorch_model-00001-of-00003.bin");
    expect_with_pointer(LIST(ST_SET, PT_SET, "single.safetensors", single), shard, single);
    expect_with_pointer(LIST(PT_SET, "single.bin", "pytorch_model.bin"), "pytorch_model-00003-of-00003.bin",
                        "pytorch_model.bin");
    /* The other set is no better, or not all there: the first is refused as what it is. */
    expect_with_pointer(LIST(ST_SET), shard, NULL);
    expect_with_pointer(LIST("single.bin", "other.bin"), single, NULL);
    expect_with_pointer(LIST(PT "pytorch_model-00001-of-00003.bin", "pytorch_model-00001-of-00003.bin",
                             PT "pytorch_model.bin.index.json", "pytorch_model.bin.index.json"),
                        single, NULL);
    /* A text that begins so and is too long for a pointer is what the reader makes of it. */
    struct temp_dir dir;
    fill(&dir, LIST("single.bin", "pytorch_model.bin"));
    char text[2000];
    memset(text, 'x', sizeof text);
    memcpy(text, POINTER, sizeof POINTER - 1);
    temp_write(temp_path(&dir, "%s", single), text, sizeof text);
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) != LLAVAMED_OK);
    temp_dir_remove(&dir);
}

static void a_directory_is_no_weights_file(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    temp_mkdir(temp_path(&dir, "model.safetensors"));
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    EXPECT(strstr(error.message, "/model.safetensors: ") != NULL);
    temp_dir_remove(&dir);
}

static void a_bad_shard_is_named(void)
{
    expect_refused(LIST(ST "model-00001-of-00003.safetensors", "model-00001-of-00003.safetensors", "",
                        "model-00002-of-00003.safetensors", ST "model-00003-of-00003.safetensors",
                        "model-00003-of-00003.safetensors", ST "model.safetensors.index.json",
                        "model.safetensors.index.json"),
                   LLAVAMED_STATUS_INPUT_TRUNCATED, "/model-00002-of-00003.safetensors: ", "");
}

static void small_files_are_what_is_left(void)
{
    struct temp_dir dir;
    fill(&dir, LIST("single.safetensors", "model.safetensors", "single.bin", "pytorch_model.bin", "", "a.json", "",
                    "b.txt", "", "chat_template.jinja", "", "x.index.json", "", "y.py", "", "z.gguf", "", ".git", "",
                    "optimizer.json", "", "tokenizer.model", "", "LICENSE", "", "Research License.docx"));
    temp_mkdir(temp_path(&dir, "checkpoint-1"));
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_OK);
    static const char *const wanted[] = {"LICENSE", "Research License.docx", "a.json",
                                         "b.txt",   "chat_template.jinja",   "tokenizer.model"};
    const struct source_small_file *files;
    if (EXPECT(source != NULL && source_small_files(source, &files) == 6)) {
        for (size_t i = 0; i < 6; i++) {
            EXPECT_TEXT(files[i].name, wanted[i]);
            EXPECT_TEXT(files[i].path, temp_path(&dir, "%s", wanted[i]));
            EXPECT_U64(files[i].n_bytes, 1);
        }
    }
    source_close(source);
    temp_dir_remove(&dir);
}

/* One that takes the name of another, of the same size and time, is not what was seen. */
static void a_small_file_stays_the_one_that_was_seen(void)
{
    static const struct timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    struct temp_dir dir;
    fill(&dir, LIST("single.safetensors", "model.safetensors"));
    temp_write_text(temp_path(&dir, "config.json"), "{}");
    temp_dir_require(utimensat(AT_FDCWD, temp_path(&dir, "config.json"), times, 0) == 0, "utimensat");
    struct source *source;
    struct llavamed_error error;
    EXPECT(open_dir(dir.path, &source, &error) == LLAVAMED_OK);
    const struct source_small_file *files;
    if (EXPECT(source != NULL && source_small_files(source, &files) == 1)) {
        char *bytes = NULL;
        size_t n_bytes = 0;
        EXPECT(source_small_file_read(files, 100, &bytes, &n_bytes, &error) == LLAVAMED_OK && n_bytes == 2);
        free(bytes);
        bytes = NULL;
        temp_write_text(temp_path(&dir, "new"), "[]");
        temp_dir_require(utimensat(AT_FDCWD, temp_path(&dir, "new"), times, 0) == 0, "utimensat");
        temp_dir_require(rename(temp_path(&dir, "new"), temp_path(&dir, "config.json")) == 0, "rename");
        EXPECT(source_small_file_read(files, 100, &bytes, &n_bytes, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
        EXPECT(bytes == NULL && strstr(error.message, "/config.json: the file changed during the run") != NULL);
    }
    source_close(source);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(order_of_preference);
    CASE(single_files_of_any_name);
    CASE(nothing_usable);
    CASE(metas_layout);
    CASE(missing_shards_are_named);
    CASE(index_and_shards_must_agree);
    CASE(total_size_is_not_trusted);
    CASE(links_are_followed);
    CASE(pointers_are_passed_over);
    CASE(a_directory_is_no_weights_file);
    CASE(a_bad_shard_is_named);
    CASE(small_files_are_what_is_left);
    CASE(a_small_file_stays_the_one_that_was_seen);
    return harness_end();
}
