/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/identity.h"

#include <assert.h>
#include <string.h>

struct judging {
    const struct identity_file *files;
    size_t n_files;
    struct identity *identity;
};

static bool ends_with(const char *text, const char *suffix)
{
    size_t n_text = strlen(text);
    size_t n_suffix = strlen(suffix);
    return n_text >= n_suffix && strcmp(text + n_text - n_suffix, suffix) == 0;
}

static bool is_named_like_weights(const char *name)
{
    return ends_with(name, ".safetensors") || ends_with(name, ".bin") || ends_with(name, ".pth") ||
           ends_with(name, ".pt") || ends_with(name, ".gguf");
}

static bool is_weights(const struct identity_file *file)
{
    return file->row != NULL ? file->row->is_weights : is_named_like_weights(file->name);
}

/* Whether a word stands in a text of words separated by blanks. */
static bool has_word(const char *text, const char *word, size_t n_word)
{
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (n == n_word && memcmp(text, word, n) == 0) {
            return true;
        }
        text += n + (text[n] == ' ');
    }
    return false;
}

/* "Vicuna v1.1" is no contradiction to "Vicuna 7B v1.1", but "Vicuna 13B v1.1" is. */
static bool fits_release(const struct known_file *row, const char *release)
{
    if (row->kind == KNOWN_SHARED) {
        return true;
    }
    for (const char *word = row->release; *word != '\0';) {
        size_t n = strcspn(word, " ");
        if (!has_word(release, word, n)) {
            return false;
        }
        word += n + (word[n] == ' ');
    }
    return true;
}

/* The release of the first weights file that has one; NULL: none. */
static const char *find_release(const struct judging *judging)
{
    for (size_t i = 0; i < judging->n_files; i++) {
        if (judging->files[i].row != NULL && judging->files[i].row->is_weights) {
            return judging->files[i].row->release;
        }
    }
    return NULL;
}

static bool is_there(const struct judging *judging, const struct known_file *row)
{
    for (size_t i = 0; i < judging->n_files; i++) {
        if (judging->files[i].row == row) {
            return true;
        }
    }
    return false;
}

static const struct identity_file *find_unknown(const struct judging *judging, const char *name)
{
    for (size_t i = 0; i < judging->n_files; i++) {
        if (judging->files[i].row == NULL && strcmp(judging->files[i].name, name) == 0) {
            return &judging->files[i];
        }
    }
    return NULL;
}

/* ---- Forms of a release ---- */

static bool is_of_form(const struct known_file *row, const struct known_file *form)
{
    return row->is_weights && strcmp(row->release, form->release) == 0 && strcmp(row->source, form->source) == 0;
}

/* Weights files of the form that `form` is one of, in all and those that are there. */
static void count_form(const struct judging *judging, const struct known_file *form, size_t *n_found, size_t *n_wanted)
{
    const struct known_file *rows;
    size_t n_rows = known_release_rows(&rows);
    *n_found = 0;
    *n_wanted = 0;
    for (size_t i = 0; i < n_rows; i++) {
        if (is_of_form(&rows[i], form)) {
            ++*n_wanted;
            *n_found += is_there(judging, &rows[i]);
        }
    }
}

/* The form of which least is missing, by a file of it that is there. */
static const struct known_file *find_form(struct judging *judging, const char *release)
{
    struct identity *identity = judging->identity;
    const struct known_file *best = NULL;
    for (size_t i = 0; i < judging->n_files; i++) {
        const struct known_file *row = judging->files[i].row;
        size_t n_found;
        size_t n_wanted;
        if (row == NULL || !row->is_weights || strcmp(row->release, release) != 0) {
            continue;
        }
        count_form(judging, row, &n_found, &n_wanted);
        if (best == NULL || n_wanted - n_found < identity->n_wanted - identity->n_found) {
            best = row;
            identity->n_found = n_found;
            identity->n_wanted = n_wanted;
        }
    }
    return best;
}

static void tell_missing(struct judging *judging, const struct known_file *form)
{
    const struct known_file *rows;
    size_t n_rows = known_release_rows(&rows);
    for (size_t i = 0; i < n_rows; i++) {
        if (is_of_form(&rows[i], form) && !is_there(judging, &rows[i])) {
            bool is_altered = find_unknown(judging, rows[i].name) != NULL;
            warnings_add(&judging->identity->remarks, "%s: %s %s", rows[i].name,
                         is_altered ? "is not the file of" : "is missing: a file of", form->release);
        }
    }
}

/* ---- What does not belong to it ---- */

/* An unknown file in the place of one that is missing is that one, altered. */
static bool is_altered(const struct judging *judging, const struct identity_file *file, const struct known_file *form)
{
    const struct known_file *rows;
    size_t n_rows = known_release_rows(&rows);
    for (size_t i = 0; i < n_rows; i++) {
        if (is_of_form(&rows[i], form) && strcmp(rows[i].name, file->name) == 0 && !is_there(judging, &rows[i])) {
            return true;
        }
    }
    return false;
}

static size_t tell_foreign(struct judging *judging, const struct known_file *form)
{
    struct warnings *remarks = &judging->identity->remarks;
    size_t n = 0;
    for (size_t i = 0; i < judging->n_files; i++) {
        const struct identity_file *file = &judging->files[i];
        if (file->row != NULL && !fits_release(file->row, form->release)) {
            warnings_add(remarks, "%.300s: is of %s, not of %s", file->name, file->row->release, form->release);
            n++;
        } else if (file->row == NULL && is_weights(file) && !is_altered(judging, file, form)) {
            warnings_add(remarks, "%.300s: is not known, beside the weights of %s", file->name, form->release);
            n++;
        }
    }
    return n;
}

void identity_judge(const struct identity_file *files, size_t n_files, bool is_single, struct identity *identity)
{
    struct judging judging = {files, n_files, identity};
    *identity = (struct identity){0};
    if (is_single && n_files == 1 && files[0].row != NULL) {
        identity->release = files[0].row->release;
        identity->verdict = LLAVAMED_IDENTITY_FILE;
    }
    const char *release = find_release(&judging);
    if (release == NULL) {
        return;
    }
    const struct known_file *form = find_form(&judging, release);
    assert(form != NULL); /* the file that the release is from has one */
    identity->release = release;
    size_t n_foreign = tell_foreign(&judging, form);
    bool is_complete = identity->n_found == identity->n_wanted;
    if (n_foreign > 0) {
        identity->verdict = LLAVAMED_IDENTITY_MIXED;
        identity->release = NULL;
    } else if (is_complete) {
        identity->verdict = LLAVAMED_IDENTITY_COMPLETE;
    } else if (identity->verdict != LLAVAMED_IDENTITY_FILE) {
        identity->verdict = LLAVAMED_IDENTITY_INCOMPLETE;
        tell_missing(&judging, form);
    }
}
