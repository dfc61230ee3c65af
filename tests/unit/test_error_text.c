/* SPDX-License-Identifier: Apache-2.0 */
/* core/error.c, core/buffer.c, tensor/dtype.c and tensor/tensor.c: words and small structures under all else. */
#include <errno.h>

#include "core/buffer.h"
#include "core/error.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"
#include "unit/harness.h"

static struct llavamed_error error;

static void messages_are_filled(void)
{
    memset(&error, 'x', sizeof error);
    EXPECT_U64(llavamed_fail(&error, LLAVAMED_STATUS_OUT_SPACE, "%s: full (got %d, want %d)", "a", 1, 2),
               LLAVAMED_STATUS_OUT_SPACE);
    EXPECT_U64(error.status, LLAVAMED_STATUS_OUT_SPACE);
    EXPECT_TEXT(error.message, "a: full (got 1, want 2)");
    EXPECT_TEXT(error.hint, "");
    EXPECT_U64(error.n_problems, 0);
    EXPECT_U64(error.signal_number, 0);
    llavamed_hint(&error, "try %s", "--force\n");
    EXPECT_TEXT(error.hint, "try --force?");
    EXPECT_TEXT(error.message, "a: full (got 1, want 2)");
    EXPECT_U64(llavamed_fail_errno(&error, LLAVAMED_STATUS_IO, ENOENT, "%s: cannot be read", "b"), LLAVAMED_STATUS_IO);
    char want[128];
    (void)snprintf(want, sizeof want, "b: cannot be read: %s", strerror(ENOENT));
    EXPECT_TEXT(error.message, want);
    EXPECT_TEXT(error.hint, "");
    EXPECT_U64(llavamed_fail_memory(&error, 18446744073709551615u, "a test"), LLAVAMED_STATUS_NO_MEMORY);
    EXPECT_TEXT(error.message, "out of memory (wanted 18446744073709551615 bytes for a test)");
}

static void nothing_happens_without_an_error_to_fill(void)
{
    EXPECT_U64(llavamed_fail(NULL, LLAVAMED_STATUS_USAGE, "%d", 1), LLAVAMED_STATUS_USAGE);
    EXPECT_U64(llavamed_fail_errno(NULL, LLAVAMED_STATUS_IO, EIO, "%d", 1), LLAVAMED_STATUS_IO);
    EXPECT_U64(llavamed_fail_memory(NULL, 1, "x"), LLAVAMED_STATUS_NO_MEMORY);
    llavamed_hint(NULL, "x");
    llavamed_problem(NULL, "x");
}

static void long_messages_are_cut(void)
{
    char text[2 * LLAVAMED_MESSAGE_BYTES];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)llavamed_fail(&error, LLAVAMED_STATUS_USAGE, "%s", text);
    EXPECT_U64(strlen(error.message), LLAVAMED_MESSAGE_BYTES - 1);
    (void)llavamed_fail_errno(&error, LLAVAMED_STATUS_USAGE, EIO, "%s", text);
    EXPECT_U64(strlen(error.message), LLAVAMED_MESSAGE_BYTES - 1);
    /* A character that the cut splits is not left half. */
    memcpy(text + LLAVAMED_MESSAGE_BYTES - 2, "\xc3\xa9", 2);
    (void)llavamed_fail(&error, LLAVAMED_STATUS_USAGE, "%s", text);
    EXPECT(text_is_utf8(error.message, strlen(error.message)));
    EXPECT(error.message[LLAVAMED_MESSAGE_BYTES - 2] == '?');
}

static void problems_are_counted_beyond_the_list(void)
{
    memset(&error, 0, sizeof error);
    for (int i = 0; i < LLAVAMED_PROBLEMS_MAX + 5; i++) {
        llavamed_problem(&error, "tensor\x01%d", i);
    }
    EXPECT_U64(error.n_problems, LLAVAMED_PROBLEMS_MAX + 5);
    EXPECT_TEXT(error.problems[0], "tensor?0");
    EXPECT_TEXT(error.problems[LLAVAMED_PROBLEMS_MAX - 1], "tensor?19");
    (void)llavamed_fail(&error, LLAVAMED_STATUS_USAGE, "x");
    EXPECT_U64(error.n_problems, 0);
}

struct text_pair {
    const char *text;
    const char *printable;
    bool is_utf8;
};

static const struct text_pair text_pairs[] = {
    {"", "", true},
    {"plain ~", "plain ~", true},
    {"\x01\t\n\r\x1b[0m\x7f", "?????[0m?", true},
    {"\xc2\x80\xc2\x9f\xc2\xa0", "????\xc2\xa0", true},
    {"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80", true},
    {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", true},
    {"a\xe2\x80\xaez\xf3\xa0\x81\x81", "a???z????", true},
    {"a\xffz", "a?z", false},
    {"\x80", "?", false},
    {"\xc3", "?", false},
    {"\xc3(", "?(", false},
    {"\xc0\x80", "??", false},
    {"\xc1\xbf", "??", false},
    {"\xe0\x9f\xbf", "???", false},
    {"\xed\xa0\x80", "???", false},
    {"\xed\xbf\xbf", "???", false},
    {"\xf0\x8f\xbf\xbf", "????", false},
    {"\xf4\x90\x80\x80", "????", false},
    {"\xf5\x80\x80\x80", "????", false},
    {"\xe4\xb8", "??", false},
    {"\xe4\xb8\xe4\xb8\xad", "??\xe4\xb8\xad", false},
};

static void text_is_made_printable(void)
{
    for (size_t i = 0; i < sizeof text_pairs / sizeof text_pairs[0]; i++) {
        const struct text_pair *pair = &text_pairs[i];
        char text[32];
        (void)snprintf(text, sizeof text, "%s", pair->text);
        EXPECT(text_is_utf8(text, strlen(text)) == pair->is_utf8);
        llavamed_make_printable(text);
        EXPECT_TEXT(text, pair->printable);
    }
    EXPECT(text_is_utf8("a\0b", 3));
    EXPECT(!text_is_utf8("a\0\xff", 3));
    /* The sequence is whole in memory and cut by the length. */
    EXPECT(!text_is_utf8("\xe4\xb8\xad", 2));
}

/* The first and the last of each range of what is not seen, and their neighbours, which are: of Unicode's own files. */
static const struct {
    uint32_t first;
    uint32_t last;
} unseen_characters[] = {
    {0x01, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},
    {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static bool is_replaced(uint32_t character)
{
    char sequence[8] = "";
    if (character < 0x80) {
        sequence[0] = (char)character;
    } else if (character < 0x800) {
        (void)snprintf(sequence, sizeof sequence, "%c%c", 0xc0 | character >> 6, 0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        (void)snprintf(sequence, sizeof sequence, "%c%c%c", 0xe0 | character >> 12, 0x80 | (character >> 6 & 0x3f),
                       0x80 | (character & 0x3f));
    } else {
        (void)snprintf(sequence, sizeof sequence, "%c%c%c%c", 0xf0 | character >> 18, 0x80 | (character >> 12 & 0x3f),
                       0x80 | (character >> 6 & 0x3f), 0x80 | (character & 0x3f));
    }
    char text[16];
    (void)snprintf(text, sizeof text, "a%sz", sequence);
    EXPECT(text_is_utf8(text, strlen(text)));
    llavamed_make_printable(text);
    bool same = strncmp(text + 1, sequence, strlen(sequence)) == 0;
    EXPECT(same || strspn(text + 1, "?") == strlen(sequence));
    EXPECT(text[0] == 'a' && text[strlen(text) - 1] == 'z' && strlen(text) == strlen(sequence) + 2);
    return !same;
}

static void what_is_not_seen_is_replaced(void)
{
    for (size_t i = 0; i < sizeof unseen_characters / sizeof unseen_characters[0]; i++) {
        uint32_t first = unseen_characters[i].first;
        uint32_t last = unseen_characters[i].last;
        EXPECT(is_replaced(first) && is_replaced((first + last) / 2) && is_replaced(last));
        EXPECT(first == 1 || !is_replaced(first - 1));
        EXPECT(!is_replaced(last + 1));
    }
    EXPECT(!is_replaced(0x3053) && !is_replaced(0xe000) && !is_replaced(0x1f600) && !is_replaced(0x10ffff));
}

struct status_case {
    const char *name;
    enum llavamed_status status;
    int exit_status;
};

static void statuses_have_names_and_exit_statuses(void)
{
    static const struct status_case cases[] = {
        {"ok", LLAVAMED_OK, 0},
        {"CRC_MISMATCH", LLAVAMED_STATUS_CRC_MISMATCH, 1},
        {"USAGE", LLAVAMED_STATUS_USAGE, 2},
        {"JSON_INVALID", LLAVAMED_STATUS_JSON_INVALID, 3},
        {"PAIR_MISMATCH", LLAVAMED_STATUS_PAIR_MISMATCH, 4},
        {"OUT_SPACE", LLAVAMED_STATUS_OUT_SPACE, 5},
        {"NO_MEMORY", LLAVAMED_STATUS_NO_MEMORY, 6},
        {"INTERNAL", LLAVAMED_STATUS_INTERNAL, 70},
        {"unknown", (enum llavamed_status)1000, 70},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        error.status = cases[i].status;
        error.signal_number = 0;
        EXPECT_TEXT(llavamed_status_name(cases[i].status), cases[i].name);
        EXPECT_U64(llavamed_exit_status(&error), cases[i].exit_status);
    }
    error.status = LLAVAMED_STATUS_INTERRUPTED;
    error.signal_number = 15;
    EXPECT_U64(llavamed_exit_status(&error), 143);
}

static void buffers_grow_to_their_maximum(void)
{
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_STATUS_NO_MEMORY);
    buffer_append(&buffer, "", 0);
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_OK);
    EXPECT_TEXT(buffer.data, "");
    for (int i = 0; i < 250; i++) {
        buffer_printf(&buffer, "%03d", i);
        buffer_append(&buffer, ".", 1);
    }
    EXPECT_U64(buffer.n_bytes, 1000);
    EXPECT(strncmp(buffer.data + 996, "249.", 5) == 0);
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_OK);
    buffer_append_text(&buffer, "");
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_OK);
    buffer_append_text(&buffer, "y");
    EXPECT_U64(buffer_status(&buffer, "a text", &error), LLAVAMED_STATUS_NO_MEMORY);
    EXPECT(strstr(error.message, "a text") != NULL);
    EXPECT_U64(buffer.n_bytes, 1000);
    /* Sticky: what would still fit fails too. */
    buffer_append_text(&buffer, "");
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_STATUS_NO_MEMORY);
    buffer_deinit(&buffer);
    buffer_append_text(&buffer, "again");
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_OK);
    char *taken = buffer_take(&buffer);
    EXPECT_TEXT(taken, "again");
    EXPECT(buffer.data == NULL && buffer.n_bytes == 0);
    free(taken);
    buffer_append(&buffer, "z", 1001);
    EXPECT_U64(buffer_status(&buffer, "x", &error), LLAVAMED_STATUS_NO_MEMORY);
    buffer_deinit(&buffer);
}

static void dtypes_have_names_and_sizes(void)
{
    /* Rank, name and bits as in the safetensors library 0.8.0 (tensor.rs, enum Dtype and bitsize). */
    static const char order[] = "BOOL 8,F4 4,F6_E2M3 6,F6_E3M2 6,U8 8,I8 8,F8_E5M2 8,F8_E4M3 8,F8_E8M0 8,"
                                "F8_E4M3FNUZ 8,F8_E5M2FNUZ 8,I16 16,U16 16,F16 16,BF16 16,I32 32,U32 32,F32 32,C64 64,"
                                "F64 64,I64 64,U64 64,";
    struct buffer text;
    buffer_init(&text, 1000);
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype dtype = DTYPE_COUNT;
        const char *name = dtype_name((enum dtype)i);
        buffer_printf(&text, "%s %u,", name, dtype_bits((enum dtype)i));
        EXPECT(dtype_from_name(name, strlen(name), &dtype) && dtype == (enum dtype)i);
        EXPECT(!dtype_from_name(name, strlen(name) - 1, &dtype) || dtype != (enum dtype)i);
        EXPECT_U64(dtype_bytes((enum dtype)i), dtype_bits((enum dtype)i) / 8);
    }
    EXPECT_TEXT(text.data, order);
    buffer_deinit(&text);
    enum dtype dtype = DTYPE_COUNT;
    EXPECT(!dtype_from_name("f16", 3, &dtype));
    EXPECT(!dtype_from_name("F16 ", 4, &dtype));
    EXPECT(!dtype_from_name("", 0, &dtype));
    EXPECT_U64(dtype, DTYPE_COUNT);
    EXPECT_TEXT(dtype_torch_name(DTYPE_BF16), "bfloat16");
    EXPECT(dtype_is_addable(DTYPE_F16) && dtype_is_addable(DTYPE_BF16) && dtype_is_addable(DTYPE_F32) &&
           dtype_is_addable(DTYPE_F64));
    EXPECT(!dtype_is_addable(DTYPE_F8_E4M3) && !dtype_is_addable(DTYPE_I64) && !dtype_is_addable(DTYPE_C64));
    EXPECT(dtype_is_integral(DTYPE_BOOL) && dtype_is_integral(DTYPE_U64) && !dtype_is_integral(DTYPE_F16) &&
           !dtype_is_integral(DTYPE_F4) && !dtype_is_integral(DTYPE_C64));
}

struct tensor_case {
    const char *name;
    size_t name_bytes;
    enum dtype dtype;
    unsigned rank;
    uint64_t shape[TENSOR_RANK_MAX + 1];
    enum llavamed_status status;
    uint64_t n_elems;
    uint64_t n_bytes;
};

static void tensors_are_measured(void)
{
    static const struct tensor_case cases[] = {
        {"a", 1, DTYPE_F16, 2, {3, 5}, LLAVAMED_OK, 15, 30},
        {"a", 1, DTYPE_F64, 0, {0}, LLAVAMED_OK, 1, 8},
        {"a", 1, DTYPE_F64, 3, {7, 0, 9}, LLAVAMED_OK, 0, 0},
        {"a", 1, DTYPE_F4, 1, {6}, LLAVAMED_OK, 6, 3},
        {"a", 1, DTYPE_F4, 1, {5}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"a", 1, DTYPE_F6_E2M3, 1, {4}, LLAVAMED_OK, 4, 3},
        {"a", 1, DTYPE_F6_E2M3, 1, {2}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"a", 1, DTYPE_U8, 2, {4294967296, 536870911}, LLAVAMED_OK, 2305843004918726656, 2305843004918726656},
        {"a", 1, DTYPE_U8, 2, {4294967296, 536870912}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"a", 1, DTYPE_U8, 2, {4294967296, 4294967296}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"a", 1, DTYPE_U8, 3, {4294967296, 4294967296, 0}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"a", 1, DTYPE_U8, 3, {0, 4294967296, 4294967296}, LLAVAMED_OK, 0, 0},
        {"a", 1, DTYPE_U8, TENSOR_RANK_MAX, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, LLAVAMED_OK, 2, 2},
        {"a", 1, DTYPE_U8, TENSOR_RANK_MAX + 1, {1}, LLAVAMED_STATUS_SHAPE_INVALID, 0, 0},
        {"", 0, DTYPE_U8, 0, {0}, LLAVAMED_STATUS_TENSOR_NAME, 0, 0},
        {"a\0b", 3, DTYPE_U8, 0, {0}, LLAVAMED_STATUS_TENSOR_NAME, 0, 0},
        {"a\xff", 2, DTYPE_U8, 0, {0}, LLAVAMED_STATUS_TENSOR_NAME, 0, 0},
        {"abc", 2, DTYPE_U8, 0, {0}, LLAVAMED_OK, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tensor_case *c = &cases[i];
        struct tensor tensor = {0};
        EXPECT_U64(tensor_init(&tensor, "x.bin", c->name, c->name_bytes, c->dtype, c->shape, c->rank, &error),
                   c->status);
        EXPECT_U64(tensor.n_elems, c->n_elems);
        EXPECT_U64(tensor.n_bytes, c->n_bytes);
        EXPECT((tensor.name != NULL) == (c->status == LLAVAMED_OK));
        EXPECT(tensor.name == NULL || strlen(tensor.name) == c->name_bytes);
        tensor_deinit(&tensor);
    }
    char name[TENSOR_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    struct tensor tensor = {0};
    EXPECT_U64(tensor_init(&tensor, "x.bin", name, TENSOR_NAME_BYTES_MAX + 1, DTYPE_U8, NULL, 0, &error),
               LLAVAMED_STATUS_TENSOR_NAME);
    EXPECT_U64(tensor_init(&tensor, "x.bin", name, TENSOR_NAME_BYTES_MAX, DTYPE_U8, NULL, 0, &error), LLAVAMED_OK);
    tensor_deinit(&tensor);
}

static void shapes_are_shown_and_compared(void)
{
    char text[TENSOR_SHAPE_TEXT_BYTES];
    struct tensor scalar = {.rank = 0};
    struct tensor matrix = {.rank = 2, .shape = {32000, 4096}};
    struct tensor vector = {.rank = 1, .shape = {32000}};
    struct tensor large = {.rank = TENSOR_RANK_MAX};
    EXPECT_TEXT(tensor_shape_text(&scalar, text), "[]");
    EXPECT_TEXT(tensor_shape_text(&matrix, text), "[32000, 4096]");
    for (size_t i = 0; i < TENSOR_RANK_MAX; i++) {
        large.shape[i] = UINT64_MAX;
    }
    EXPECT_U64(strlen(tensor_shape_text(&large, text)), 16 * 22);
    EXPECT(tensor_same_shape(&matrix, &matrix));
    EXPECT(!tensor_same_shape(&matrix, &vector));
    EXPECT(tensor_same_shape(&scalar, &scalar));
    matrix.rank = 1;
    EXPECT(tensor_same_shape(&matrix, &vector));
}

static bool add(struct tensor_set *set, const char *name)
{
    struct tensor tensor = {0};
    enum llavamed_status status = tensor_init(&tensor, "x", name, strlen(name), DTYPE_U8, NULL, 0, &error);
    if (status == LLAVAMED_OK) {
        status = tensor_set_add(set, &tensor, &error);
    }
    bool taken = tensor.name == NULL;
    tensor_deinit(&tensor);
    return status == LLAVAMED_OK && taken;
}

static void sets_find_what_was_added(void)
{
    struct tensor_set set;
    tensor_set_init(&set);
    EXPECT_U64(tensor_set_seal(&set, "x", &error), LLAVAMED_OK);
    EXPECT_U64(tensor_set_find(&set, "n"), TENSOR_NOT_FOUND);
    char name[32];
    size_t n_wrong = 0;
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "n.%u", (i * 7919) % 500);
        n_wrong += add(&set, name) ? 0 : 1;
    }
    EXPECT_U64(tensor_set_seal(&set, "x", &error), LLAVAMED_OK);
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "n.%u", (i * 7919) % 500);
        n_wrong += tensor_set_find(&set, name) == i ? 0 : 1;
    }
    EXPECT_U64(n_wrong, 0);
    EXPECT_U64(tensor_set_find(&set, "n.500"), TENSOR_NOT_FOUND);
    EXPECT_U64(tensor_set_find(&set, ""), TENSOR_NOT_FOUND);
    EXPECT_U64(tensor_set_find(&set, "\xff"), TENSOR_NOT_FOUND);
    EXPECT(add(&set, "n.250"));
    EXPECT_U64(tensor_set_seal(&set, "x", &error), LLAVAMED_STATUS_TENSOR_DUPLICATE);
    EXPECT_TEXT(error.message, "x: tensor n.250 is there twice");
    tensor_set_deinit(&set);
    EXPECT_U64(set.n_tensors, 0);
}

int main(void)
{
    CASE(messages_are_filled);
    CASE(nothing_happens_without_an_error_to_fill);
    CASE(long_messages_are_cut);
    CASE(problems_are_counted_beyond_the_list);
    CASE(text_is_made_printable);
    CASE(what_is_not_seen_is_replaced);
    CASE(statuses_have_names_and_exit_statuses);
    CASE(buffers_grow_to_their_maximum);
    CASE(dtypes_have_names_and_sizes);
    CASE(tensors_are_measured);
    CASE(shapes_are_shown_and_compared);
    CASE(sets_find_what_was_added);
    return harness_end();
}
