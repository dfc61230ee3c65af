/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unpickler on pickles made here: caps that need more bytes than a file is worth, every opcode that must be
 * refused, details of views. Real pickles, and hostile ones by name, are in test_torch.c.
 */
#include "harness.h"

#include <time.h>

#include "core/buffer.h"
#include "format/pickle.h"

#define ORDERED "ccollections\nOrderedDict\n)R"

static void add(struct buffer *pickle, const char *bytes, size_t n_bytes)
{
    buffer_append(pickle, bytes, n_bytes);
}

#define ADD(pickle, literal) add((pickle), (literal), sizeof(literal) - 1)

static void add_int(struct buffer *pickle, uint64_t value)
{
    char bytes[10] = {(char)0x8a, 8};
    for (int i = 0; i < 8; i++) {
        bytes[2 + i] = (char)(value >> (8 * i));
    }
    add(pickle, bytes, sizeof bytes);
}

static void add_text(struct buffer *pickle, const char *text)
{
    size_t n = strlen(text);
    char head[5] = {'X', (char)n, (char)(n >> 8), 0, 0};
    add(pickle, head, sizeof head);
    add(pickle, text, n);
}

struct view {
    uint64_t n_elems; /* of the storage */
    uint64_t offset;
    unsigned rank;
    uint64_t sizes[4];
    uint64_t strides[4];
};

static void add_tensor(struct buffer *pickle, const struct view *view)
{
    ADD(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_text(pickle, "storage");
    ADD(pickle, "ctorch\nFloatStorage\n");
    add_text(pickle, "0");
    add_text(pickle, "cpu");
    add_int(pickle, view->n_elems);
    ADD(pickle, "tQ");
    add_int(pickle, view->offset);
    ADD(pickle, "(");
    for (unsigned i = 0; i < view->rank; i++) {
        add_int(pickle, view->sizes[i]);
    }
    ADD(pickle, "t(");
    for (unsigned i = 0; i < view->rank; i++) {
        add_int(pickle, view->strides[i]);
    }
    ADD(pickle, "t\x89" ORDERED "tR");
}

static enum llavamed_status read_pickle(const struct buffer *pickle, struct pickle_state_dict *dict,
                                        struct llavamed_error *error)
{
    return pickle_read_state_dict("test.pt", (const uint8_t *)pickle->data, pickle->n_bytes, dict, error);
}

/* A dictionary with one tensor; frees what was read. Returns whether it was accepted, and then *contiguous. */
static bool accepts_view(const struct view *view, bool *contiguous)
{
    struct buffer pickle;
    struct pickle_state_dict dict = {0};
    buffer_init(&pickle, 65536);
    ADD(&pickle, "\x80\x02}");
    add_text(&pickle, "w");
    add_tensor(&pickle, view);
    ADD(&pickle, "s.");
    enum llavamed_status status = read_pickle(&pickle, &dict, NULL);
    if (status == LLAVAMED_OK) {
        *contiguous = dict.tensors[0].contiguous;
        EXPECT_U64(dict.tensors[0].offset_elems, view->offset);
        EXPECT_U64(dict.tensors[0].tensor.rank, view->rank);
    } else {
        EXPECT(status == LLAVAMED_STATUS_TORCH_VIEW || status == LLAVAMED_STATUS_SHAPE_INVALID);
    }
    pickle_state_dict_deinit(&dict);
    buffer_deinit(&pickle);
    return status == LLAVAMED_OK;
}

struct view_case {
    struct view view;
    bool accepted;
    bool contiguous;
};

/* The bounds and the contiguity that torch.Tensor.is_contiguous() gives for the same sizes and strides. */
static void views_stay_inside_their_storage(void)
{
    const uint64_t huge = (uint64_t)1 << 62;
    const struct view_case cases[] = {
        {{6, 0, 2, {2, 3}, {3, 1}}, true, true},
        {{5, 0, 2, {2, 3}, {3, 1}}, false, false},
        {{7, 1, 2, {2, 3}, {3, 1}}, true, true},
        {{6, 1, 2, {2, 3}, {3, 1}}, false, false},
        {{6, 0, 2, {3, 2}, {1, 3}}, true, false},
        {{6, 0, 2, {2, 2}, {3, 1}}, true, false},
        {{6, 0, 3, {1, 6, 1}, {huge, 1, huge}}, true, true},
        {{1, 0, 1, {1000}, {0}}, true, false},
        {{1, 0, 0, {0}, {0}}, true, true},
        {{1, 1, 0, {0}, {0}}, false, false},
        {{0, 0, 0, {0}, {0}}, false, false},
        {{0, 9, 1, {0}, {1}}, true, true},
        {{0, 0, 2, {0, huge}, {huge, huge}}, true, true},
        {{4, 0, 2, {huge, huge}, {0, 0}}, false, false},
        {{4, 0, 2, {2, 2}, {(uint64_t)INT64_MAX, (uint64_t)INT64_MAX}}, false, false},
        {{4, (uint64_t)INT64_MAX, 1, {1}, {1}}, false, false},
        {{4, UINT64_MAX, 1, {1}, {1}}, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool contiguous = false;
        bool accepted = accepts_view(&cases[i].view, &contiguous);
        if (!EXPECT(accepted == cases[i].accepted) || !EXPECT(!accepted || contiguous == cases[i].contiguous)) {
            printf("    view %zu\n", i);
        }
    }
}

/* Each of the 256 opcodes as the first thing in a dictionary's value; those of the allow-list get past the check. */
static void opcodes_outside_the_list_are_refused(void)
{
    static const char allowed[] = "\x80.}(Xqrchjt\x85\x86\x87)QKMJ\x8a\x88\x89RsubN]aeG";
    unsigned n_refused = 0;
    for (unsigned op = 0; op < 256; op++) {
        char bytes[] = {(char)0x80, 2, '}', (char)op, 0, 0, 0, 0, 0, 0, 0, 0};
        struct pickle_state_dict dict = {0};
        struct llavamed_error error = {0};
        enum llavamed_status status =
            pickle_read_state_dict("test.pt", (const uint8_t *)bytes, sizeof bytes, &dict, &error);
        bool is_allowed = op != 0 && memchr(allowed, (int)op, sizeof allowed - 1) != NULL;
        /* An allowed one may be followed by the zero bytes after it, which are no opcode. */
        bool refused = status == LLAVAMED_STATUS_PICKLE_OPCODE && strstr(error.message, "at byte 3 ") != NULL;
        if (!EXPECT(status != LLAVAMED_OK && refused == !is_allowed)) {
            printf("    opcode 0x%02x: %s\n", op, error.message);
        }
        n_refused += refused;
    }
    EXPECT_U64(n_refused, 256 - 31);
}

/* The same bytes n times between a head and a tail. */
static enum llavamed_status read_repeated(const char *head, const char *unit, size_t n, struct llavamed_error *error)
{
    struct buffer pickle;
    struct pickle_state_dict dict = {0};
    size_t unit_bytes = strlen(unit);
    buffer_init(&pickle, PICKLE_BYTES_MAX);
    ADD(&pickle, "\x80\x02");
    add(&pickle, head, strlen(head));
    for (size_t i = 0; i < n; i++) {
        add(&pickle, unit, unit_bytes);
    }
    ADD(&pickle, ".");
    enum llavamed_status status = read_pickle(&pickle, &dict, error);
    pickle_state_dict_deinit(&dict);
    buffer_deinit(&pickle);
    return status;
}

static void caps_hold(void)
{
    struct llavamed_error error = {0};
    EXPECT(read_repeated("", "N", PICKLE_STACK_MAX + 1, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many values on the stack") != NULL);
    EXPECT(read_repeated("", "N", PICKLE_STACK_MAX, &error) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    EXPECT(read_repeated("]", "(e", PICKLE_OPS_MAX / 2, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many opcodes") != NULL);
    EXPECT(read_repeated("", "(", PICKLE_DEPTH_MAX, &error) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    EXPECT(read_repeated("", "(", PICKLE_DEPTH_MAX + 1, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(read_repeated(")", "\x85", PICKLE_DEPTH_MAX - 1, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(read_repeated(")", "\x85", 1000000, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(read_repeated("]", "}a", 9000000, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many objects, reading them takes too much memory (want at most 268435456") !=
           NULL);
    static uint8_t byte = 0x80;
    struct pickle_state_dict dict = {0};
    EXPECT(pickle_read_state_dict("test.pt", &byte, (size_t)PICKLE_BYTES_MAX + 1, &dict, &error) ==
           LLAVAMED_STATUS_INPUT_LIMIT);
}

/* 10^6 lists in lists: `]` a million times, then as many APPENDs. */
static void deep_lists_cost_nothing(void)
{
    struct buffer pickle;
    struct pickle_state_dict dict = {0};
    struct llavamed_error error = {0};
    buffer_init(&pickle, PICKLE_BYTES_MAX);
    ADD(&pickle, "\x80\x02");
    for (int i = 0; i < 1000000; i++) {
        ADD(&pickle, "]");
    }
    for (int i = 0; i < 999999; i++) {
        ADD(&pickle, "a");
    }
    ADD(&pickle, ".");
    EXPECT(read_pickle(&pickle, &dict, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(strstr(error.message, "it holds a list, not a state dict") != NULL);
    buffer_deinit(&pickle);
}

/* 100,000 tensors of one storage: linear in the pickle, each with its own name. */
static void many_tensors_share_one_storage(void)
{
    struct buffer pickle;
    struct pickle_state_dict dict = {0};
    struct llavamed_error error = {0};
    char name[32];
    buffer_init(&pickle, PICKLE_BYTES_MAX);
    ADD(&pickle, "\x80\x02}(");
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof name, "layer.%u", i);
        add_text(&pickle, name);
        add_tensor(&pickle, &(struct view){100000, i, 1, {1}, {1}});
    }
    ADD(&pickle, "u.");
    clock_t start = clock();
    if (EXPECT(read_pickle(&pickle, &dict, &error) == LLAVAMED_OK)) {
        printf("100000 tensors, %zu bytes of pickle: %.3f s\n", pickle.n_bytes,
               (double)(clock() - start) / CLOCKS_PER_SEC);
        EXPECT_U64(dict.n_storages, 1);
        EXPECT_U64(dict.n_tensors, 100000);
        EXPECT_TEXT(dict.tensors[99999].tensor.name, "layer.99999");
        EXPECT_U64(dict.tensors[99999].offset_elems, 99999);
        EXPECT_U64(dict.tensors[99999].storage, 0);
    }
    pickle_state_dict_deinit(&dict);
    buffer_deinit(&pickle);
}

/* What comes of a pickle, and how many tensors it holds. */
static enum llavamed_status read_made(struct buffer *pickle, size_t *n_tensors, struct llavamed_error *error)
{
    struct pickle_state_dict dict = {0};
    enum llavamed_status status = read_pickle(pickle, &dict, error);
    *n_tensors = dict.n_tensors;
    pickle_state_dict_deinit(&dict);
    buffer_deinit(pickle);
    return status;
}

#define MADE(pickle, ...)                                                                                              \
    do {                                                                                                               \
        buffer_init(&(pickle), 65536);                                                                                 \
        ADD(&(pickle), "\x80\x02}(");                                                                                  \
        __VA_ARGS__;                                                                                                   \
        ADD(&(pickle), "u.");                                                                                          \
    } while (0)

/* No key twice in one dictionary, be it written out again or taken from the memo; in two it may be. */
static void keys_are_there_once(void)
{
    const struct view view = {1, 0, 1, {1}, {1}};
    struct buffer pickle;
    struct llavamed_error error = {0};
    size_t n = 0;
    MADE(pickle, add_text(&pickle, "w"), add_tensor(&pickle, &view), add_text(&pickle, "w"),
         add_tensor(&pickle, &view));
    EXPECT(read_made(&pickle, &n, &error) == LLAVAMED_STATUS_TENSOR_DUPLICATE);
    EXPECT_TEXT(error.message, "test.pt: data.pkl: tensor w is there twice");
    MADE(pickle, add_text(&pickle, "w"), ADD(&pickle, "q\1"), add_tensor(&pickle, &view), ADD(&pickle, "h\1N"));
    EXPECT(read_made(&pickle, &n, &error) == LLAVAMED_STATUS_TENSOR_DUPLICATE);

    /* {"state_dict": {v, w}, "x": {v, w, 1, "1"}} */
    MADE(pickle, add_text(&pickle, "state_dict"), ADD(&pickle, "}("), add_text(&pickle, "v"), ADD(&pickle, "q\1"),
         add_tensor(&pickle, &view), add_text(&pickle, "w"), ADD(&pickle, "q\2"), add_tensor(&pickle, &view),
         ADD(&pickle, "u"), add_text(&pickle, "x"), ADD(&pickle, "}(h\2Nh\1NK\1N"), add_text(&pickle, "1"),
         ADD(&pickle, "Nu"));
    EXPECT(read_made(&pickle, &n, &error) == LLAVAMED_OK);
    EXPECT_U64(n, 2);

    /* {"x": {w}, "y": {w}, "z": {w of x, w of y}} */
    MADE(pickle, add_text(&pickle, "x"), ADD(&pickle, "}"), add_text(&pickle, "w"), ADD(&pickle, "q\1Ns"),
         add_text(&pickle, "y"), ADD(&pickle, "}"), add_text(&pickle, "w"), ADD(&pickle, "q\2Ns"),
         add_text(&pickle, "z"), ADD(&pickle, "}(h\1Nh\2Nu"));
    EXPECT(read_made(&pickle, &n, &error) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    EXPECT_TEXT(error.message, "test.pt: data.pkl: dictionary key w is there twice");
    MADE(pickle, add_text(&pickle, "x"), ADD(&pickle, "}(K\1NK\2NK\1Nu"));
    EXPECT(read_made(&pickle, &n, &error) == LLAVAMED_STATUS_PICKLE_MALFORMED);
    EXPECT_TEXT(error.message, "test.pt: data.pkl: dictionary key 1 is there twice");
}

/* A location of n bytes, which are compared wherever the storage is used again. */
static enum llavamed_status read_location(size_t n_bytes, struct llavamed_error *error)
{
    char location[128] = {0};
    size_t n = 0;
    struct buffer pickle;
    memset(location, 'c', n_bytes);
    MADE(pickle, add_text(&pickle, "w"), ADD(&pickle, "ctorch._utils\n_rebuild_tensor_v2\n(("),
         add_text(&pickle, "storage"), ADD(&pickle, "ctorch\nFloatStorage\n"), add_text(&pickle, "0"),
         add_text(&pickle, location), ADD(&pickle, "K\1tQK\0K\1\x85K\1\x85\x89" ORDERED "tR"));
    return read_made(&pickle, &n, error);
}

static void locations_are_short(void)
{
    struct llavamed_error error = {0};
    EXPECT(read_location(64, &error) == LLAVAMED_OK);
    EXPECT(read_location(65, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "the location of a storage is too long (want at most 64") != NULL);
}

/* Two parameters with one dictionary of attributes, to which `key` is added in between. */
static enum llavamed_status read_parameters(const char *key, size_t *n)
{
    const struct view view = {1, 0, 1, {1}, {1}};
    struct buffer pickle;
    MADE(pickle, add_text(&pickle, "v"), ADD(&pickle, "ctorch._utils\n_rebuild_parameter_with_state\nq\1("),
         add_tensor(&pickle, &view), ADD(&pickle, "q\2\x89" ORDERED "q\3}q\4"), add_text(&pickle, "a"),
         ADD(&pickle, "NstR"), add_text(&pickle, "w"), ADD(&pickle, "h\1(h\2\x89h\3h\4"), add_text(&pickle, key),
         ADD(&pickle, "NstR"));
    return read_made(&pickle, n, NULL);
}

static void attributes_are_plain(void)
{
    size_t n = 0;
    EXPECT(read_parameters("b", &n) == LLAVAMED_OK);
    EXPECT_U64(n, 2);
    EXPECT(read_parameters("data", &n) == LLAVAMED_STATUS_PICKLE_MALFORMED);
}

/* No storage has a key of more than 20 digits, so neither has the list of the legacy form. */
static void listed_keys_are_short(void)
{
    static const char bytes[] = "\x80\x02](X\x15\0\0\0"
                                "012345678901234567890q\1h\1e.";
    const struct pickle_span span = {"test.pt", (const uint8_t *)bytes, sizeof bytes - 1};
    const struct pickle_state_dict dict = {0};
    struct llavamed_error error = {0};
    size_t order = 0;
    size_t used = 0;
    EXPECT(pickle_read_legacy_keys(&span, &dict, &order, &used, &error) == LLAVAMED_STATUS_TORCH_STORAGE);
    EXPECT_TEXT(error.message,
                "test.pt: its list of storages has what no tensor uses, storage 012345678901234567890");
}

/* Every beginning of a good pickle is an error, and none of them reads beyond its end (with a sanitizer watching). */
static void every_truncation_is_refused(void)
{
    struct buffer pickle;
    struct pickle_state_dict dict = {0};
    buffer_init(&pickle, 65536);
    ADD(&pickle, "\x80\x02}q\0(");
    add_text(&pickle, "w");
    add_tensor(&pickle, &(struct view){6, 0, 2, {2, 3}, {3, 1}});
    ADD(&pickle, "u.");
    for (size_t n = 0; n < pickle.n_bytes; n++) {
        uint8_t *exact = malloc(n + 1);
        if (!EXPECT(exact != NULL)) {
            break;
        }
        memcpy(exact, pickle.data, n);
        uint8_t *bytes = n > 0 ? realloc(exact, n) : exact;
        EXPECT(pickle_read_state_dict("test.pt", bytes, n, &dict, NULL) == LLAVAMED_STATUS_PICKLE_MALFORMED);
        free(bytes);
    }
    EXPECT(read_pickle(&pickle, &dict, NULL) == LLAVAMED_OK);
    EXPECT_U64(dict.n_tensors, 1);
    pickle_state_dict_deinit(&dict);
    buffer_deinit(&pickle);
}

int main(void)
{
    CASE(views_stay_inside_their_storage);
    CASE(opcodes_outside_the_list_are_refused);
    CASE(caps_hold);
    CASE(deep_lists_cost_nothing);
    CASE(many_tensors_share_one_storage);
    CASE(keys_are_there_once);
    CASE(locations_are_short);
    CASE(attributes_are_plain);
    CASE(listed_keys_are_short);
    CASE(every_truncation_is_refused);
    return harness_end();
}
