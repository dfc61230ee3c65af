/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opcodes of protocol 2 as CPython's C pickler (3.6 to 3.14) chooses them, for what torch.save pickles: the
 * shortest integer, BINUNICODE for text of any length, GLOBAL, tuples, and a memo that every object but integers, bools
 * and the empty tuple enters in the order of writing. Which object was met before is for the caller to know: it keeps
 * the memo index and writes pickle_write_get() in the object's place. What pickle.h reads back. No I/O.
 */
#ifndef FORMAT_PICKLE_WRITE_H
#define FORMAT_PICKLE_WRITE_H

#include "core/buffer.h"

/* An object not written yet. */
#define PICKLE_NO_MEMO UINT32_MAX

enum pickle_write_opcode {
    PICKLE_OP_EMPTY_TUPLE = ')',
    PICKLE_OP_MARK = '(',
    PICKLE_OP_BINPERSID = 'Q',
    PICKLE_OP_REDUCE = 'R',
    PICKLE_OP_SETITEM = 's',
    PICKLE_OP_TUPLE = 't',
    PICKLE_OP_SETITEMS = 'u',
    PICKLE_OP_EMPTY_DICT = '}',
    PICKLE_OP_STOP = '.',
    PICKLE_OP_TUPLE1 = 0x85,
    PICKLE_OP_TUPLE2 = 0x86,
    PICKLE_OP_TUPLE3 = 0x87,
    PICKLE_OP_NEWFALSE = 0x89,
};

struct pickle_writer {
    struct buffer bytes; /* its sticky error speaks for all of the writing */
    uint32_t n_memo;     /* objects memoised so far; the caller keeps it below PICKLE_NO_MEMO */
};

/* Writes the protocol. max_bytes is the most that the pickle may become; end with pickle_writer_deinit(). */
void pickle_writer_init(struct pickle_writer *writer, size_t max_bytes);
void pickle_writer_deinit(struct pickle_writer *writer);

/* One opcode without an operand. */
void pickle_write_op(struct pickle_writer *writer, enum pickle_write_opcode opcode);

/* Memoises the object just written and returns its index. */
uint32_t pickle_write_put(struct pickle_writer *writer);

/* The memoised object once more. */
void pickle_write_get(struct pickle_writer *writer, uint32_t memo);

/* BININT1, BININT2, BININT or LONG1. Not memoised. */
void pickle_write_integer(struct pickle_writer *writer, uint64_t value);

/* UTF-8 text of n_bytes (below 2^32), memoised; returns its index. */
uint32_t pickle_write_text(struct pickle_writer *writer, const char *text, size_t n_bytes);

/* The same for what may have been written before: *memo is PICKLE_NO_MEMO the first time, and set then. */
void pickle_write_shared_text(struct pickle_writer *writer, const char *text, uint32_t *memo);
void pickle_write_shared_global(struct pickle_writer *writer, const char *module, const char *name, uint32_t *memo);

/* A tuple of integers, memoised unless it is empty. */
void pickle_write_integers(struct pickle_writer *writer, const uint64_t *values, unsigned n_values);

#endif
