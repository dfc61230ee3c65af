/* SPDX-License-Identifier: Apache-2.0 */
/* That small files go into the result only as they were while planning, and that a signal stops copying them. */
#include "merge/documents.h"

#include <fcntl.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;
static volatile int stop_signal;
static const struct plan plan = {.model_dtype = DTYPE_F16};

struct small_list {
    struct source_small_file files[4];
    char names[4][64];
    char paths[4][512];
    size_t n_files;
};

static void list_add(struct small_list *list, const char *name, const char *path)
{
    size_t i = list->n_files++;
    (void)snprintf(list->names[i], sizeof list->names[i], "%s", name);
    (void)snprintf(list->paths[i], sizeof list->paths[i], "%s", path);
    list->files[i] = (struct source_small_file){.name = list->names[i], .path = list->paths[i]};
}

static enum llavamed_status prepare(const struct small_list *list, const volatile int *stop,
                                    struct documents **documents)
{
    return documents_prepare(list->files, list->n_files, &plan, stop, documents, &error);
}

/* To dir/out. */
static enum llavamed_status copy_all(const struct documents *documents, const struct run_guard *guard,
                                     struct document_list *made)
{
    char directory[300];
    (void)snprintf(directory, sizeof directory, "%s/out", dir.path);
    const struct document_place place = {directory, guard, &stop_signal};
    if (!temp_exists(directory)) {
        temp_mkdir(directory);
    }
    return documents_write_copies(documents, &place, NULL, made, &error);
}

/* Another file takes the name, of the same size, at the same time. */
static void replace_file(const char *name, const char *text)
{
    static const struct timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    temp_write_text(temp_path(&dir, "new"), text);
    EXPECT(utimensat(AT_FDCWD, temp_path(&dir, "new"), times, 0) == 0);
    EXPECT(rename(temp_path(&dir, "new"), temp_path(&dir, "%s", name)) == 0);
}

static void files_are_taken_only_as_they_were(void)
{
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    struct document_list made = {0};
    temp_dir_make(&dir);
    replace_file("tokenizer.model", "first");
    replace_file("config.json", "{\"a\": 1}");
    list_add(&list, "tokenizer.model", temp_path(&dir, "tokenizer.model"));
    list_add(&list, "config.json", temp_path(&dir, "config.json"));
    EXPECT(prepare(&list, NULL, &documents) == LLAVAMED_OK);
    EXPECT(documents_check_inputs(documents, &error) == LLAVAMED_OK);
    EXPECT(copy_all(documents, NULL, &made) == LLAVAMED_OK);
    EXPECT_U64(made.n_entries, 2);
    replace_file("config.json", "{\"a\": 2}");
    EXPECT(documents_check_inputs(documents, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(strstr(error.message, "/config.json: the file changed during the run") != NULL);
    EXPECT(unlink(temp_path(&dir, "out/tokenizer.model")) == 0);
    replace_file("tokenizer.model", "other");
    EXPECT(copy_all(documents, NULL, &made) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(strstr(error.message, "/tokenizer.model: the file changed during the run") != NULL);
    document_list_deinit(&made);
    documents_free(documents);
    temp_dir_remove(&dir);
}

/* Of the record of a part: what was copied against what is there. */
static void copies_are_compared_with_a_record(void)
{
    static const struct hash_files_options options = {.n_threads = 1};
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    struct document_list made = {0};
    const char *differs = "?";
    temp_dir_make(&dir);
    replace_file("tokenizer.model", "first");
    replace_file("config.json", "{\"a\": 1}");
    list_add(&list, "tokenizer.model", temp_path(&dir, "tokenizer.model"));
    list_add(&list, "config.json", temp_path(&dir, "config.json"));
    EXPECT(prepare(&list, NULL, &documents) == LLAVAMED_OK);
    EXPECT(copy_all(documents, NULL, &made) == LLAVAMED_OK);
    documents_free(documents);
    replace_file("tokenizer.model", "first");
    EXPECT(prepare(&list, NULL, &documents) == LLAVAMED_OK);
    EXPECT(documents_compare_copies(documents, &made, &options, &differs, &error) == LLAVAMED_OK && differs == NULL);
    replace_file("tokenizer.model", "other");
    EXPECT(documents_compare_copies(documents, &made, &options, &differs, &error) == LLAVAMED_OK);
    EXPECT_TEXT(differs, "tokenizer.model");
    documents_free(documents);
    replace_file("tokenizer.model", "first");
    replace_file("config.json", "{\"a\": 2}");
    EXPECT(prepare(&list, NULL, &documents) == LLAVAMED_OK);
    EXPECT(documents_compare_copies(documents, &made, &options, &differs, &error) == LLAVAMED_OK);
    EXPECT_TEXT(differs, "config.json");
    documents_free(documents);
    document_list_deinit(&made);
    temp_dir_remove(&dir);
}

/* It comes while the first file is created. */
static enum llavamed_status stop_at_creation(void *context, bool now, struct llavamed_error *into)
{
    (void)context, (void)now, (void)into;
    stop_signal = 15;
    return LLAVAMED_OK;
}

static void a_signal_stops_the_copies(void)
{
    static const struct run_guard guard = {NULL, stop_at_creation};
    struct small_list list = {.n_files = 0};
    struct documents *documents = NULL;
    struct document_list made = {0};
    temp_dir_make(&dir);
    temp_write_text(temp_path(&dir, "tokenizer.model"), "text");
    temp_write_text(temp_path(&dir, "vocab.json"), "text");
    list_add(&list, "tokenizer.model", temp_path(&dir, "tokenizer.model"));
    list_add(&list, "vocab.json", temp_path(&dir, "vocab.json"));
    EXPECT(prepare(&list, NULL, &documents) == LLAVAMED_OK);
    stop_signal = 0;
    EXPECT(copy_all(documents, &guard, &made) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_U64(error.signal_number, 15);
    EXPECT(temp_file_is(temp_path(&dir, "out/tokenizer.model"), "")); /* not a piece of it */
    EXPECT(unlink(temp_path(&dir, "out/tokenizer.model")) == 0);
    EXPECT(copy_all(documents, &guard, &made) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(!temp_exists(temp_path(&dir, "out/tokenizer.model")));
    EXPECT_U64(made.n_entries, 0);
    documents_free(documents);
    documents = NULL;
    EXPECT(prepare(&list, &stop_signal, &documents) == LLAVAMED_STATUS_INTERRUPTED);
    document_list_deinit(&made);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(files_are_taken_only_as_they_were);
    CASE(copies_are_compared_with_a_record);
    CASE(a_signal_stops_the_copies);
    return harness_end();
}
