/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack machine behind pickle.h. Only pickle*.c may include this.
 *
 * A value is a small tag. What does not fit a tag lives in arenas that only grow and are freed at once: children of
 * tuples, entries of dictionaries, storages and tensors as described. Values refer to arenas and to the input by index,
 * so a memo bomb (a tuple of the same tuple twice, sixty times over) costs sixty tags, and nothing is ever walked
 * recursively or freed one by one.
 */
#ifndef FORMAT_PICKLE_MACHINE_H
#define FORMAT_PICKLE_MACHINE_H

#include "format/pickle.h"

#define PICKLE_STORAGE_KEY_BYTES_MAX 20

enum pickle_kind {
    PICKLE_UNSET, /* a memo slot nobody has written */
    PICKLE_MARK,
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_LARGE_INT, /* does not fit int64_t */
    PICKLE_FLOAT, /* its value is forgotten */
    PICKLE_STRING,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
};

struct pickle_value {
    uint8_t kind;   /* enum pickle_kind */
    uint8_t depth;  /* TUPLE: how deep tuples nest, 1 for a tuple without tuples; otherwise 0 */
    uint32_t count; /* STRING: bytes; TUPLE: children */
    union {
        int64_t integer; /* INT */
        size_t at;       /* STRING: offset in the input; TUPLE: first child; GLOBAL: row of the table; otherwise the
                            index in its arena */
    } as;
};

struct pickle_values {
    struct pickle_value *items; /* owned */
    size_t n;
    size_t capacity;
};

struct pickle_dict {
    size_t first_entry; /* valid when n_entries > 0 */
    size_t n_entries;
    size_t n_plain;   /* of its first entries are known to be attributes that are ignored (pickle_torch.c) */
    bool ordered;     /* an OrderedDict */
    bool has_tensor;  /* among its values */
};

struct pickle_entry {
    size_t dict;
    struct pickle_value key; /* STRING or INT */
    struct pickle_value value;
};

/* The items of a list are chained, because several lists can grow by turns. */
struct pickle_list {
    size_t first_item; /* valid when n_items > 0 */
    size_t last_item;
    size_t n_items;
    bool taken; /* made into an OrderedDict, which is done once: else a short pickle could repeat a long list */
};

struct pickle_item {
    struct pickle_value value;
    size_t next; /* valid unless it is the last */
};

/* One persistent id: the same storage may be described many times. */
struct pickle_storage_use {
    struct pickle_value key;      /* STRING, 1 to 20 digits */
    struct pickle_value location; /* STRING, of a few bytes */
    enum dtype dtype;
    uint64_t n_elems;
    bool is_view; /* legacy form: a part of the storage that was a storage of its own */
    struct pickle_value view_key; /* STRING */
    uint64_t view_offset;         /* elements; the part lies inside the storage */
    uint64_t view_elems;
};

/* One call of _rebuild_tensor_v2. Types are checked, numbers are not. */
struct pickle_rebuilt {
    size_t storage_use;
    struct pickle_value offset;  /* INT or LARGE_INT */
    struct pickle_value sizes;   /* TUPLE */
    struct pickle_value strides; /* TUPLE */
};

struct pickle_machine {
    const char *path;     /* borrowed */
    const char *part;     /* what the pickle is called in errors: "data.pkl"; static */
    bool legacy;          /* one of several in a row, with what Python 2 wrote: see pickle_legacy.c */
    const uint8_t *bytes; /* borrowed */
    size_t n_bytes;
    size_t position;
    size_t n_ops;
    size_t n_marks; /* on the stack */
    uint8_t op;     /* the opcode being executed and where it stands: for errors */
    size_t op_offset;
    struct llavamed_error *error;
    enum llavamed_status failure; /* why pickle_grow() returned NULL */

    size_t arena_bytes; /* of all that follows, at most PICKLE_MEMORY_MAX */
    struct pickle_values stack;
    struct pickle_values memo;
    struct pickle_values children;
    struct pickle_dict *dicts; /* owned */
    size_t n_dicts;
    size_t dicts_capacity;
    struct pickle_entry *entries; /* owned */
    size_t n_entries;
    size_t entries_capacity;
    struct pickle_list *lists; /* owned */
    size_t n_lists;
    size_t lists_capacity;
    struct pickle_item *list_items; /* owned */
    size_t n_list_items;
    size_t list_items_capacity;
    struct pickle_storage_use *storage_uses; /* owned */
    size_t n_storage_uses;
    size_t storage_uses_capacity;
    struct pickle_rebuilt *rebuilt; /* owned */
    size_t n_rebuilt;
    size_t rebuilt_capacity;
};

/*
 * Runs the whole pickle; *result is what STOP returns. The machine's arenas stay until pickle_machine_deinit(). In zip
 * form the input ends with STOP; in legacy form machine->position is behind STOP, and INPUT_TRUNCATED tells that there
 * was no STOP yet.
 */
enum llavamed_status pickle_machine_run(struct pickle_machine *machine, struct pickle_value *result) LLAVAMED_CHECK;

/* ---- pickle_values.c ---- */

void pickle_machine_deinit(struct pickle_machine *machine);

/* "an integer", "a dictionary": for errors. Static. */
const char *pickle_kind_text(uint8_t kind);

/* The bytes of a STRING: not NUL-terminated, borrowed from the input; UTF-8. */
const char *pickle_text(const struct pickle_machine *machine, const struct pickle_value *string);
bool pickle_text_is(const struct pickle_machine *machine, const struct pickle_value *value, const char *text);
bool pickle_text_equal(const struct pickle_machine *machine, const struct pickle_value *a,
                       const struct pickle_value *b);

/*
 * Makes room for `need` (not 0) items in an owned array; returns it, moved or not, or NULL with the array unharmed and
 * the machine's error filled.
 */
void *pickle_grow(struct pickle_machine *machine, void *items, size_t *capacity, size_t need, size_t item_bytes);

/* Makes room for n values, which may be 0. */
enum llavamed_status pickle_values_reserve(struct pickle_machine *machine, struct pickle_values *values,
                                           size_t n) LLAVAMED_CHECK;

/* Adds a dictionary to the arena; *out is its value. */
enum llavamed_status pickle_new_dict(struct pickle_machine *machine, bool ordered,
                                     struct pickle_value *out) LLAVAMED_CHECK;

enum llavamed_status pickle_new_list(struct pickle_machine *machine, struct pickle_value *out) LLAVAMED_CHECK;

/* Adds one value to a LIST. */
enum llavamed_status pickle_list_append(struct pickle_machine *machine, const struct pickle_value *list,
                                        const struct pickle_value *value) LLAVAMED_CHECK;

/* Adds one entry to a DICT. That no key is there twice is checked at the end (pickle.c). PICKLE_MALFORMED. */
enum llavamed_status pickle_set_item(struct pickle_machine *machine, const struct pickle_value *dict,
                                     const struct pickle_value *key, const struct pickle_value *value) LLAVAMED_CHECK;

/* ---- pickle_torch.c: the objects that torch puts into a pickle ---- */

/* GLOBAL: finds module and name in the table of those allowed. PICKLE_GLOBAL. */
enum llavamed_status pickle_find_global(struct pickle_machine *machine, const char *module, const char *name,
                                        struct pickle_value *out) LLAVAMED_CHECK;

/* BINPERSID: what a persistent id stands for, REDUCE: what `callable` would make of `args`, BUILD: checks alone. */
enum llavamed_status pickle_persistent(struct pickle_machine *machine, const struct pickle_value *id,
                                       struct pickle_value *out) LLAVAMED_CHECK;
enum llavamed_status pickle_reduce(struct pickle_machine *machine, const struct pickle_value *callable,
                                   const struct pickle_value *args, struct pickle_value *out) LLAVAMED_CHECK;
enum llavamed_status pickle_build(struct pickle_machine *machine, const struct pickle_value *object,
                                  const struct pickle_value *state) LLAVAMED_CHECK;

/* ---- pickle_opcodes.c ---- */

/* "BINUNICODE", or NULL for a byte that is no opcode of protocols 0 to 5. Static. */
const char *pickle_opcode_name(uint8_t opcode);

/* PICKLE_MALFORMED "PATH: data.pkl: WHAT (opcode NAME at byte N)". */
enum llavamed_status pickle_fail(struct pickle_machine *machine, const char *what);

/* INPUT_LIMIT, worded likewise and with the limit. */
enum llavamed_status pickle_fail_limit(struct pickle_machine *machine, const char *what, size_t limit);

/* The input ends too early: INPUT_TRUNCATED in legacy form, where more may follow, else PICKLE_MALFORMED. */
enum llavamed_status pickle_fail_end(struct pickle_machine *machine, const char *what);

/* PICKLE_OPCODE: machine->op is outside the allow-list. */
enum llavamed_status pickle_fail_opcode(struct pickle_machine *machine);

/* ---- pickle.c ---- */

/* From the result of a machine that has run to a state dict. */
enum llavamed_status pickle_list_tensors(struct pickle_machine *machine, const struct pickle_value *result,
                                         struct pickle_state_dict *dict) LLAVAMED_CHECK;

#endif
