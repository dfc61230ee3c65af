/* SPDX-License-Identifier: Apache-2.0 */
/* Opcodes: Lib/pickletools.py of CPython; which of them is taken when: Modules/_pickle.c. */
#include "format/pickle_write.h"

#include <string.h>

#include "core/bytes.h"

#define PROTOCOL "\x80\x02"

void pickle_writer_init(struct pickle_writer *writer, size_t max_bytes)
{
    buffer_init(&writer->bytes, max_bytes);
    writer->n_memo = 0;
    buffer_append_text(&writer->bytes, PROTOCOL);
}

void pickle_writer_deinit(struct pickle_writer *writer)
{
    buffer_deinit(&writer->bytes);
}

/* An opcode and the first n_bytes of its little-endian operand. */
static void append_op(struct pickle_writer *writer, uint8_t opcode, uint64_t operand, size_t n_bytes)
{
    uint8_t bytes[1 + 8];
    bytes[0] = opcode;
    store_le64(bytes + 1, operand);
    buffer_append(&writer->bytes, bytes, 1 + n_bytes);
}

void pickle_write_op(struct pickle_writer *writer, enum pickle_write_opcode opcode)
{
    append_op(writer, (uint8_t)opcode, 0, 0);
}

/* BINPUT and BINGET have a byte for the index, their LONG_ forms four. */
static void append_memo_op(struct pickle_writer *writer, uint8_t short_opcode, uint8_t long_opcode, uint32_t memo)
{
    if (memo <= UINT8_MAX) {
        append_op(writer, short_opcode, memo, 1);
    } else {
        append_op(writer, long_opcode, memo, 4);
    }
}

uint32_t pickle_write_put(struct pickle_writer *writer)
{
    uint32_t memo = writer->n_memo++;
    append_memo_op(writer, 'q', 'r', memo);
    return memo;
}

void pickle_write_get(struct pickle_writer *writer, uint32_t memo)
{
    append_memo_op(writer, 'h', 'j', memo);
}

void pickle_write_integer(struct pickle_writer *writer, uint64_t value)
{
    if (value <= UINT8_MAX) {
        append_op(writer, 'K', value, 1);
    } else if (value <= UINT16_MAX) {
        append_op(writer, 'M', value, 2);
    } else if (value <= INT32_MAX) {
        append_op(writer, 'J', value, 4);
    } else {
        /* Two's complement, so the highest bit must be free: 2^31 takes five bytes, 2^63 nine. */
        uint8_t bytes[2 + 8 + 1] = {0x8a};
        uint8_t n_bytes = 1;
        for (uint64_t rest = value >> 7; rest > 0; rest >>= 8) {
            n_bytes++;
        }
        bytes[1] = n_bytes;
        store_le64(bytes + 2, value);
        buffer_append(&writer->bytes, bytes, 2 + (size_t)n_bytes);
    }
}

uint32_t pickle_write_text(struct pickle_writer *writer, const char *text, size_t n_bytes)
{
    append_op(writer, 'X', n_bytes, 4);
    buffer_append(&writer->bytes, text, n_bytes);
    return pickle_write_put(writer);
}

void pickle_write_shared_text(struct pickle_writer *writer, const char *text, uint32_t *memo)
{
    if (*memo == PICKLE_NO_MEMO) {
        *memo = pickle_write_text(writer, text, strlen(text));
    } else {
        pickle_write_get(writer, *memo);
    }
}

void pickle_write_shared_global(struct pickle_writer *writer, const char *module, const char *name, uint32_t *memo)
{
    if (*memo == PICKLE_NO_MEMO) {
        append_op(writer, 'c', 0, 0);
        buffer_append_text(&writer->bytes, module);
        buffer_append(&writer->bytes, "\n", 1);
        buffer_append_text(&writer->bytes, name);
        buffer_append(&writer->bytes, "\n", 1);
        *memo = pickle_write_put(writer);
    } else {
        pickle_write_get(writer, *memo);
    }
}

void pickle_write_integers(struct pickle_writer *writer, const uint64_t *values, unsigned n_values)
{
    static const enum pickle_write_opcode short_tuples[] = {PICKLE_OP_EMPTY_TUPLE, PICKLE_OP_TUPLE1, PICKLE_OP_TUPLE2,
                                                            PICKLE_OP_TUPLE3};
    bool is_short = n_values < sizeof short_tuples / sizeof short_tuples[0];
    if (!is_short) {
        pickle_write_op(writer, PICKLE_OP_MARK);
    }
    for (unsigned i = 0; i < n_values; i++) {
        pickle_write_integer(writer, values[i]);
    }
    pickle_write_op(writer, is_short ? short_tuples[n_values] : PICKLE_OP_TUPLE);
    if (n_values > 0) {
        (void)pickle_write_put(writer);
    }
}
