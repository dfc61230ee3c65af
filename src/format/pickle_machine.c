/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opcodes of protocol 2 that state dicts need, and those of the plain values (None, floats, lists) that lie beside
 * a state dict in a training checkpoint and are skipped. In legacy form also BINSTRING and SHORT_BINSTRING, which
 * Python 2 wrote for str. Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */
#include "format/pickle_machine.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"

#define GLOBAL_LINE_BYTES_MAX 256

enum opcode {
    OP_MARK = 0x28,
    OP_EMPTY_TUPLE = 0x29,
    OP_STOP = 0x2e,
    OP_BINFLOAT = 0x47,
    OP_BININT = 0x4a,
    OP_BININT1 = 0x4b,
    OP_BININT2 = 0x4d,
    OP_NONE = 0x4e,
    OP_BINPERSID = 0x51,
    OP_REDUCE = 0x52,
    OP_BINSTRING = 0x54,
    OP_SHORT_BINSTRING = 0x55,
    OP_BINUNICODE = 0x58,
    OP_EMPTY_LIST = 0x5d,
    OP_APPEND = 0x61,
    OP_BUILD = 0x62,
    OP_GLOBAL = 0x63,
    OP_APPENDS = 0x65,
    OP_BINGET = 0x68,
    OP_LONG_BINGET = 0x6a,
    OP_BINPUT = 0x71,
    OP_LONG_BINPUT = 0x72,
    OP_SETITEM = 0x73,
    OP_TUPLE = 0x74,
    OP_SETITEMS = 0x75,
    OP_EMPTY_DICT = 0x7d,
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
};

/* ---- Input and stack ---- */

/* The next n_bytes of the input, which stay where they are. */
static enum llavamed_status take(struct pickle_machine *machine, size_t n_bytes, const uint8_t **out)
{
    if (n_bytes > machine->n_bytes - machine->position) {
        enum llavamed_status status = pickle_fail_end(machine, "the pickle ends inside an opcode");
        assert(status != LLAVAMED_OK);
        return status;
    }
    *out = machine->bytes + machine->position;
    machine->position += n_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status push(struct pickle_machine *machine, struct pickle_value value)
{
    if (machine->stack.n == PICKLE_STACK_MAX) {
        return pickle_fail_limit(machine, "too many values on the stack", PICKLE_STACK_MAX);
    }
    enum llavamed_status status = pickle_values_reserve(machine, &machine->stack, machine->stack.n + 1);
    if (status == LLAVAMED_OK) {
        machine->stack.items[machine->stack.n++] = value;
    }
    return status;
}

/* The value on top; NULL, with the error filled, when there is none or it is a mark. */
static struct pickle_value *top(struct pickle_machine *machine)
{
    size_t n = machine->stack.n;
    if (n == 0 || machine->stack.items[n - 1].kind == PICKLE_MARK) {
        (void)pickle_fail(machine, "there is no value on the stack to work on");
        return NULL;
    }
    return &machine->stack.items[n - 1];
}

static enum llavamed_status pop(struct pickle_machine *machine, struct pickle_value *out)
{
    const struct pickle_value *value = top(machine);
    if (value == NULL) {
        return LLAVAMED_STATUS_PICKLE_MALFORMED;
    }
    *out = *value;
    machine->stack.n--;
    return LLAVAMED_OK;
}

/*
 * Takes the last mark off the stack together with the values above it: these are *n values from *first on, still in
 * stack.items until the next push. Each value is looked at once before it is gone, so the search is linear in total.
 */
static enum llavamed_status pop_to_mark(struct pickle_machine *machine, size_t *first, size_t *n)
{
    if (machine->n_marks == 0) {
        return pickle_fail(machine, "there is no mark on the stack");
    }
    size_t at = machine->stack.n;
    while (machine->stack.items[at - 1].kind != PICKLE_MARK) {
        at--;
    }
    *first = at;
    *n = machine->stack.n - at;
    machine->stack.n = at - 1;
    machine->n_marks--;
    return LLAVAMED_OK;
}

/* ---- Opcodes ---- */

static enum llavamed_status op_mark(struct pickle_machine *machine)
{
    if (machine->n_marks == PICKLE_DEPTH_MAX) {
        return pickle_fail_limit(machine, "too many open marks", PICKLE_DEPTH_MAX);
    }
    machine->n_marks++;
    return push(machine, (struct pickle_value){.kind = PICKLE_MARK});
}

/* Little-endian two's complement in n_bytes bytes, as BININT1 (unsigned), BININT2 (unsigned), BININT and LONG1 use. */
static enum llavamed_status op_int(struct pickle_machine *machine, size_t n_bytes, bool is_signed)
{
    const uint8_t *bytes = NULL;
    enum llavamed_status status = take(machine, n_bytes, &bytes);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (n_bytes > 8) {
        return push(machine, (struct pickle_value){.kind = PICKLE_LARGE_INT});
    }
    bool negative = is_signed && n_bytes > 0 && bytes[n_bytes - 1] >= 0x80;
    uint64_t bits = negative ? UINT64_MAX : 0;
    for (size_t i = n_bytes; i > 0; i--) {
        bits = (bits << 8) | bytes[i - 1];
    }
    /* Wraps as two's complement does on every compiler this is built with. */
    return push(machine, (struct pickle_value){.kind = PICKLE_INT, .as.integer = (int64_t)bits});
}

static enum llavamed_status op_long1(struct pickle_machine *machine)
{
    const uint8_t *length = NULL;
    enum llavamed_status status = take(machine, 1, &length);
    return status == LLAVAMED_OK ? op_int(machine, *length, true) : status;
}

/* A string behind its length of length_bytes bytes. Python 2 had str where torch now has text: UTF-8 all the same. */
static enum llavamed_status op_string(struct pickle_machine *machine, size_t length_bytes)
{
    const uint8_t *bytes = NULL;
    enum llavamed_status status = take(machine, length_bytes, &bytes);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint32_t n_bytes = length_bytes == 1 ? bytes[0] : load_le32(bytes);
    status = take(machine, n_bytes, &bytes);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (!text_is_utf8((const char *)bytes, n_bytes)) {
        return pickle_fail(machine, "a string is not UTF-8");
    }
    size_t at = (size_t)(bytes - machine->bytes);
    return push(machine, (struct pickle_value){.kind = PICKLE_STRING, .count = n_bytes, .as.at = at});
}

static enum llavamed_status op_float(struct pickle_machine *machine)
{
    const uint8_t *bytes = NULL;
    enum llavamed_status status = take(machine, 8, &bytes);
    return status == LLAVAMED_OK ? push(machine, (struct pickle_value){.kind = PICKLE_FLOAT}) : status;
}

/* One line of GLOBAL into text, without its newline. */
static enum llavamed_status take_line(struct pickle_machine *machine, char text[GLOBAL_LINE_BYTES_MAX + 1])
{
    const uint8_t *line = machine->bytes + machine->position;
    size_t room = machine->n_bytes - machine->position;
    const uint8_t *newline = memchr(line, '\n', room > GLOBAL_LINE_BYTES_MAX ? GLOBAL_LINE_BYTES_MAX + 1 : room);
    if (newline == NULL && room <= GLOBAL_LINE_BYTES_MAX && machine->legacy) {
        return pickle_fail_end(machine, "the pickle ends inside an opcode");
    }
    if (newline == NULL || memchr(line, '\0', (size_t)(newline - line)) != NULL) {
        return pickle_fail(machine, "a global name does not end, is too long or holds a NUL");
    }
    size_t n_bytes = (size_t)(newline - line);
    memcpy(text, line, n_bytes);
    text[n_bytes] = '\0';
    machine->position += n_bytes + 1;
    return LLAVAMED_OK;
}

static enum llavamed_status op_global(struct pickle_machine *machine)
{
    char module[GLOBAL_LINE_BYTES_MAX + 1];
    char name[GLOBAL_LINE_BYTES_MAX + 1];
    struct pickle_value value;
    enum llavamed_status status = take_line(machine, module);
    if (status == LLAVAMED_OK) {
        status = take_line(machine, name);
    }
    if (status == LLAVAMED_OK) {
        status = pickle_find_global(machine, module, name, &value);
    }
    return status == LLAVAMED_OK ? push(machine, value) : status;
}

/* The memo index after BINGET, BINPUT (1 byte) or their LONG_ forms (4 bytes). */
static enum llavamed_status take_memo_index(struct pickle_machine *machine, size_t n_bytes, size_t *out)
{
    const uint8_t *bytes = NULL;
    enum llavamed_status status = take(machine, n_bytes, &bytes);
    if (status == LLAVAMED_OK) {
        *out = n_bytes == 1 ? bytes[0] : load_le32(bytes);
    }
    return status;
}

static enum llavamed_status op_put(struct pickle_machine *machine, size_t index_bytes)
{
    size_t index = 0;
    enum llavamed_status status = take_memo_index(machine, index_bytes, &index);
    if (status != LLAVAMED_OK) {
        return status;
    }
    /* Picklers count from 0 or 1. An index beyond the opcodes so far would only make us allocate. */
    size_t limit = machine->n_ops < PICKLE_MEMO_MAX ? machine->n_ops : PICKLE_MEMO_MAX;
    if (index > limit) {
        return pickle_fail_limit(machine, "memo index too large", limit);
    }
    const struct pickle_value *value = top(machine);
    if (value == NULL) {
        return LLAVAMED_STATUS_PICKLE_MALFORMED;
    }
    status = pickle_values_reserve(machine, &machine->memo, index + 1);
    if (status != LLAVAMED_OK) {
        return status;
    }
    for (; machine->memo.n <= index; machine->memo.n++) {
        machine->memo.items[machine->memo.n] = (struct pickle_value){.kind = PICKLE_UNSET};
    }
    machine->memo.items[index] = *value;
    return LLAVAMED_OK;
}

static enum llavamed_status op_get(struct pickle_machine *machine, size_t index_bytes)
{
    size_t index = 0;
    enum llavamed_status status = take_memo_index(machine, index_bytes, &index);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (index >= machine->memo.n || machine->memo.items[index].kind == PICKLE_UNSET) {
        return pickle_fail(machine, "a memo index was never written");
    }
    return push(machine, machine->memo.items[index]);
}

/* Pushes a tuple of the n values from stack.items[first] on, which are already off the stack. */
static enum llavamed_status make_tuple(struct pickle_machine *machine, size_t first, size_t n)
{
    size_t at = machine->children.n;
    uint8_t depth = 0;
    enum llavamed_status status = pickle_values_reserve(machine, &machine->children, at + n);
    if (status != LLAVAMED_OK) {
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        const struct pickle_value *child = &machine->stack.items[first + i];
        depth = child->depth > depth ? child->depth : depth;
        machine->children.items[machine->children.n++] = *child;
    }
    if (depth == PICKLE_DEPTH_MAX) {
        return pickle_fail_limit(machine, "tuples nest too deep", PICKLE_DEPTH_MAX);
    }
    /* PICKLE_STACK_MAX bounds n. */
    return push(machine, (struct pickle_value){
                             .kind = PICKLE_TUPLE, .depth = (uint8_t)(depth + 1), .count = (uint32_t)n, .as.at = at});
}

static enum llavamed_status op_tuple(struct pickle_machine *machine)
{
    size_t first = 0;
    size_t n = 0;
    enum llavamed_status status = pop_to_mark(machine, &first, &n);
    return status == LLAVAMED_OK ? make_tuple(machine, first, n) : status;
}

/* TUPLE1, TUPLE2, TUPLE3. */
static enum llavamed_status op_small_tuple(struct pickle_machine *machine, size_t n)
{
    struct pickle_value popped;
    for (size_t i = 0; i < n; i++) {
        enum llavamed_status status = pop(machine, &popped);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return make_tuple(machine, machine->stack.n, n);
}

static enum llavamed_status op_empty_dict(struct pickle_machine *machine)
{
    struct pickle_value value;
    enum llavamed_status status = pickle_new_dict(machine, false, &value);
    return status == LLAVAMED_OK ? push(machine, value) : status;
}

static enum llavamed_status op_empty_list(struct pickle_machine *machine)
{
    struct pickle_value value;
    enum llavamed_status status = pickle_new_list(machine, &value);
    return status == LLAVAMED_OK ? push(machine, value) : status;
}

/* SETITEM has one key and value above the dictionary, SETITEMS any number of pairs above a mark. */
static enum llavamed_status op_set_items(struct pickle_machine *machine, bool single)
{
    size_t first = 0;
    size_t n = 2;
    enum llavamed_status status = LLAVAMED_OK;
    if (single) {
        struct pickle_value popped;
        status = pop(machine, &popped);
        if (status == LLAVAMED_OK) {
            status = pop(machine, &popped);
        }
        first = machine->stack.n;
    } else {
        status = pop_to_mark(machine, &first, &n);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct pickle_value *dict = top(machine);
    if (dict == NULL) {
        return LLAVAMED_STATUS_PICKLE_MALFORMED;
    }
    if (dict->kind != PICKLE_DICT || n % 2 != 0) {
        return pickle_fail(machine, dict->kind != PICKLE_DICT ? "items are set on something that is not a dictionary"
                                                              : "a key has no value");
    }
    for (size_t i = 0; i < n && status == LLAVAMED_OK; i += 2) {
        status = pickle_set_item(machine, dict, &machine->stack.items[first + i], &machine->stack.items[first + i + 1]);
    }
    return status;
}

static enum llavamed_status op_append(struct pickle_machine *machine, bool single)
{
    size_t first = machine->stack.n - 1;
    size_t n = 1;
    struct pickle_value popped;
    enum llavamed_status status = single ? pop(machine, &popped) : pop_to_mark(machine, &first, &n);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct pickle_value *list = top(machine);
    if (list == NULL) {
        return LLAVAMED_STATUS_PICKLE_MALFORMED;
    }
    if (list->kind != PICKLE_LIST) {
        return pickle_fail(machine, "a value is appended to no list");
    }
    for (size_t i = 0; i < n && status == LLAVAMED_OK; i++) {
        status = pickle_list_append(machine, list, &machine->stack.items[first + i]);
    }
    return status;
}

static enum llavamed_status op_persistent(struct pickle_machine *machine)
{
    struct pickle_value id;
    struct pickle_value value;
    enum llavamed_status status = pop(machine, &id);
    if (status == LLAVAMED_OK) {
        status = pickle_persistent(machine, &id, &value);
    }
    return status == LLAVAMED_OK ? push(machine, value) : status;
}

static enum llavamed_status op_reduce(struct pickle_machine *machine)
{
    struct pickle_value args;
    struct pickle_value callable;
    struct pickle_value value;
    enum llavamed_status status = pop(machine, &args);
    if (status == LLAVAMED_OK) {
        status = pop(machine, &callable);
    }
    if (status == LLAVAMED_OK) {
        status = pickle_reduce(machine, &callable, &args, &value);
    }
    return status == LLAVAMED_OK ? push(machine, value) : status;
}

static enum llavamed_status op_build(struct pickle_machine *machine)
{
    struct pickle_value state;
    enum llavamed_status status = pop(machine, &state);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct pickle_value *object = top(machine);
    return object == NULL ? LLAVAMED_STATUS_PICKLE_MALFORMED : pickle_build(machine, object, &state);
}

/* Executes machine->op, which is not STOP. */
static enum llavamed_status step(struct pickle_machine *machine)
{
    switch (machine->op) {
    case OP_MARK:
        return op_mark(machine);
    case OP_EMPTY_TUPLE:
        return make_tuple(machine, machine->stack.n, 0);
    case OP_TUPLE:
        return op_tuple(machine);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return op_small_tuple(machine, machine->op - OP_TUPLE1 + 1u);
    case OP_EMPTY_DICT:
        return op_empty_dict(machine);
    case OP_SETITEM:
    case OP_SETITEMS:
        return op_set_items(machine, machine->op == OP_SETITEM);
    case OP_EMPTY_LIST:
        return op_empty_list(machine);
    case OP_APPEND:
    case OP_APPENDS:
        return op_append(machine, machine->op == OP_APPEND);
    case OP_NONE:
        return push(machine, (struct pickle_value){.kind = PICKLE_NONE});
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push(machine, (struct pickle_value){.kind = PICKLE_BOOL, .as.integer = machine->op == OP_NEWTRUE});
    case OP_BINFLOAT:
        return op_float(machine);
    case OP_BININT:
        return op_int(machine, 4, true);
    case OP_BININT1:
        return op_int(machine, 1, false);
    case OP_BININT2:
        return op_int(machine, 2, false);
    case OP_LONG1:
        return op_long1(machine);
    case OP_BINUNICODE:
        return op_string(machine, 4);
    case OP_BINSTRING:
    case OP_SHORT_BINSTRING:
        return machine->legacy ? op_string(machine, machine->op == OP_BINSTRING ? 4 : 1) : pickle_fail_opcode(machine);
    case OP_GLOBAL:
        return op_global(machine);
    case OP_BINPUT:
        return op_put(machine, 1);
    case OP_LONG_BINPUT:
        return op_put(machine, 4);
    case OP_BINGET:
        return op_get(machine, 1);
    case OP_LONG_BINGET:
        return op_get(machine, 4);
    case OP_BINPERSID:
        return op_persistent(machine);
    case OP_REDUCE:
        return op_reduce(machine);
    case OP_BUILD:
        return op_build(machine);
    case OP_PROTO:
        return pickle_fail(machine, "the protocol is stated twice");
    default:
        return pickle_fail_opcode(machine);
    }
}

/* The first opcode. */
static enum llavamed_status read_protocol(struct pickle_machine *machine)
{
    const uint8_t *bytes = NULL;
    machine->op = machine->n_bytes > 0 ? machine->bytes[0] : OP_STOP;
    if (machine->n_bytes < 2 && machine->legacy) {
        return pickle_fail_end(machine, "the pickle has no end");
    }
    if (machine->n_bytes < 2 || machine->op != OP_PROTO) {
        return pickle_fail(machine, "it does not begin with a protocol: not a binary pickle");
    }
    enum llavamed_status status = take(machine, 2, &bytes);
    if (status == LLAVAMED_OK && bytes[1] != 2 && bytes[1] != 3) {
        status = llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_OPCODE,
                               "%s: %s: pickle protocol %u is not supported (want 2, the default of torch.save)",
                               machine->path, machine->part, bytes[1]);
    }
    return status;
}

enum llavamed_status pickle_machine_run(struct pickle_machine *machine, struct pickle_value *result)
{
    enum llavamed_status status = read_protocol(machine);
    while (status == LLAVAMED_OK) {
        machine->op_offset = machine->position;
        if (machine->position == machine->n_bytes) {
            return pickle_fail_end(machine, "the pickle has no end");
        }
        machine->op = machine->bytes[machine->position++];
        if (machine->op == OP_STOP) {
            break;
        }
        if (++machine->n_ops > PICKLE_OPS_MAX) {
            return pickle_fail_limit(machine, "too many opcodes", PICKLE_OPS_MAX);
        }
        status = step(machine);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (machine->stack.n != 1 || machine->n_marks != 0) {
        return pickle_fail(machine, "the stack does not hold one value at the end");
    }
    if (!machine->legacy && machine->position != machine->n_bytes) {
        return pickle_fail(machine, "bytes follow the end of the pickle");
    }
    *result = machine->stack.items[0];
    return LLAVAMED_OK;
}
