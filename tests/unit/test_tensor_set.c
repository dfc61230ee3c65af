/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sort.h"
#include "tensor/tensor.h"

#include "unit/harness.h"
#include "unit/make_set.h"

static void fill(struct tensor_set *set, const char *const *names, size_t n)
{
    tensor_set_init(set);
    for (size_t i = 0; i < n; i++) {
        set_put(set, names[i], DTYPE_F16, 1, 1, 0);
    }
}

static void expect_found_one_by_one(const struct tensor_set *set, const struct tensor_set *wanted)
{
    size_t found[16];
    if (!EXPECT(wanted->n_tensors <= 16)) {
        return;
    }
    tensor_set_find_all(set, wanted, found);
    for (size_t i = 0; i < wanted->n_tensors; i++) {
        EXPECT_U64(found[i], tensor_set_find(set, wanted->tensors[i].name));
    }
}

static void all_are_found_at_once(void)
{
    static const char *const some[] = {"m", "c", "a", "z", "b"};
    static const char *const others[] = {"z", "y", "b", "bb", "A", "m", "zz"};
    struct tensor_set a;
    struct tensor_set b;
    struct tensor_set none;
    fill(&a, some, 5);
    fill(&b, others, 7);
    fill(&none, NULL, 0);
    EXPECT(tensor_set_seal(&a, "a", NULL) == LLAVAMED_OK && tensor_set_seal(&b, "b", NULL) == LLAVAMED_OK &&
           tensor_set_seal(&none, "none", NULL) == LLAVAMED_OK);
    expect_found_one_by_one(&a, &b);
    expect_found_one_by_one(&b, &a);
    expect_found_one_by_one(&a, &a);
    expect_found_one_by_one(&none, &a);
    expect_found_one_by_one(&a, &none);
    EXPECT_U64(tensor_set_find(&b, "m"), 5);
    EXPECT_U64(tensor_set_find(&b, "a"), TENSOR_NOT_FOUND);
    tensor_set_deinit(&a);
    tensor_set_deinit(&b);
    tensor_set_deinit(&none);
}

static void sets_are_joined(void)
{
    static const char *const names[] = {"b", "a", "d", "c"};
    struct tensor_set whole;
    struct tensor_set part;
    struct llavamed_error error;
    fill(&whole, NULL, 0);
    for (size_t i = 0; i < 4; i += 2) {
        fill(&part, names + i, 2);
        EXPECT(tensor_set_append(&whole, &part, &error) == LLAVAMED_OK);
        EXPECT_U64(part.n_tensors, 0);
        tensor_set_deinit(&part);
        EXPECT(tensor_set_append(&whole, &part, &error) == LLAVAMED_OK); /* nothing */
    }
    EXPECT_U64(whole.n_tensors, 4);
    for (size_t i = 0; i < whole.n_tensors; i++) {
        EXPECT_TEXT(whole.tensors[i].name, names[i]);
    }
    fill(&part, names, 2);
    part.n_tensors = TENSOR_COUNT_MAX - 3; /* of which the call must not look at any */
    EXPECT_U64(tensor_set_append(&whole, &part, &error), LLAVAMED_STATUS_INPUT_LIMIT);
    part.n_tensors = 2;
    EXPECT_U64(whole.n_tensors, 4);
    tensor_set_deinit(&part);
    tensor_set_deinit(&whole);
}

static int compare_chars(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static void arrays_are_sorted(void)
{
    static const char *const wanted[][2] = {{"", ""},       {"b", "b"},     {"ab", "ab"},         {"ba", "ab"},
                                            {"abc", "abc"}, {"abb", "abb"}, {"abcdea", "aabcde"}, {"bacde", "abcde"}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "%s", wanted[i][0]);
        sort_array(text, strlen(text), 1, compare_chars);
        EXPECT_TEXT(text, wanted[i][1]);
    }
}

int main(void)
{
    CASE(all_are_found_at_once);
    CASE(sets_are_joined);
    CASE(arrays_are_sorted);
    return harness_end();
}
