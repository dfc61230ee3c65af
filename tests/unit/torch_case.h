/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions of files that torch.save writes, as text, and the files that format/torch_layout.h makes of them; shared
 * by the unit test and tests/tools/render_torch.c. tests/tools/make_torch_layout_data.py is the other side. Fields are
 * separated by tabs; in names "%09" and the like stand for bytes:
 *
 *     file    NAME  BYTES  SHA256           what torch wrote, "-" when that is not known
 *     tensor  NAME  DTYPE  OWNER  SHAPE     OWNER: the tensor whose storage it shares, by number, or "-"; SHAPE "2,3"
 *     many    N  DTYPE                      N tensors k0, k1, ... of one element each
 *     end
 *
 * Byte k of the data of tensor i is 7 k + 31 (k / 256) + 13 i modulo 256; where the name begins with "PK", the first
 * four are 50 4b 07 08, as a zip's descriptors begin. Data above TORCH_CASE_HOLE_BYTES is all zeros and is left out of
 * the bytes made and compared: a hole.
 */
#ifndef UNIT_TORCH_CASE_H
#define UNIT_TORCH_CASE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/torch_layout.h"
#include "integrity/crc32.h"

#define TORCH_CASE_HOLE_BYTES 1048576

struct torch_case {
    char *file_name; /* owned */
    char sha256[65]; /* "-" when not known */
    uint64_t file_bytes;
    struct tensor *tensors;         /* owned, with their names */
    const struct tensor **pointers; /* owned: to each of tensors */
    size_t *owners;                 /* owned */
    size_t n_tensors;
};

static inline void torch_case_deinit(struct torch_case *all)
{
    for (size_t i = 0; i < all->n_tensors; i++) {
        free(all->tensors[i].name);
    }
    free(all->file_name);
    free(all->tensors);
    free(all->pointers);
    free(all->owners);
    memset(all, 0, sizeof *all);
}

static inline void *torch_case_memory(void *old, size_t n_bytes)
{
    void *memory = realloc(old, n_bytes == 0 ? 1 : n_bytes);
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static inline char *torch_case_unescape(const char *text)
{
    char *out = torch_case_memory(NULL, strlen(text) + 1);
    size_t n = 0;
    while (*text != '\0') {
        char digits[3] = {0};
        if (*text == '%') {
            memcpy(digits, text + 1, 2);
            out[n++] = (char)strtoul(digits, NULL, 16);
            text += 3;
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
    return out;
}

/* Takes over `name`. Sizes that overflow are left to wrap: tests of refusals want them. */
static inline void torch_case_add(struct torch_case *all, char *name, const char *dtype, const char *owner,
                                  const char *shape)
{
    size_t i = all->n_tensors;
    if ((i & (i - 1)) == 0) {
        size_t room = i == 0 ? 1 : 2 * i;
        all->tensors = torch_case_memory(all->tensors, room * sizeof *all->tensors);
        all->owners = torch_case_memory(all->owners, room * sizeof *all->owners);
    }
    struct tensor made = {.name = name, .n_elems = 1};
    if (!dtype_from_name(dtype, strlen(dtype), &made.dtype)) {
        fprintf(stderr, "unknown dtype '%s'\n", dtype);
        exit(1);
    }
    while (*shape >= '0' && *shape <= '9' && made.rank < TENSOR_RANK_MAX) {
        char *end;
        made.shape[made.rank] = strtoull(shape, &end, 10);
        made.n_elems *= made.shape[made.rank++];
        shape = *end == ',' ? end + 1 : end;
    }
    made.n_bytes = made.n_elems * dtype_bytes(made.dtype);
    all->tensors[i] = made;
    all->owners[i] = *owner == '-' ? i : strtoul(owner, NULL, 10);
    all->n_tensors++;
}

/* The next description of the stream; false at its end. Exits on what is not one. */
static inline bool torch_case_read(FILE *stream, struct torch_case *all)
{
    memset(all, 0, sizeof *all);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    bool ended = false;
    while (!ended && (n = getline(&line, &capacity, stream)) > 0) {
        line[n - 1] = '\0';
        char *rest = NULL;
        const char *words[5] = {0};
        size_t n_words = 0;
        for (char *word = strtok_r(line, "\t", &rest); word != NULL && n_words < 5;
             word = strtok_r(NULL, "\t", &rest)) {
            words[n_words++] = word;
        }
        if (n_words == 4 && strcmp(words[0], "file") == 0) {
            all->file_name = torch_case_unescape(words[1]);
            all->file_bytes = strtoull(words[2], NULL, 10);
            (void)snprintf(all->sha256, sizeof all->sha256, "%s", words[3]);
        } else if (n_words == 5 && strcmp(words[0], "tensor") == 0) {
            torch_case_add(all, torch_case_unescape(words[1]), words[2], words[3], words[4]);
        } else if (n_words == 3 && strcmp(words[0], "many") == 0) {
            size_t n_tensors = strtoul(words[1], NULL, 10);
            for (size_t i = 0; i < n_tensors; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "k%zu", i);
                torch_case_add(all, torch_case_unescape(name), words[2], "-", "1");
            }
        } else if (n_words == 1 && strcmp(words[0], "end") == 0) {
            ended = true;
        } else {
            fprintf(stderr, "not a description: %s\n", line);
            exit(1);
        }
    }
    free(line);
    all->pointers = torch_case_memory(NULL, all->n_tensors * sizeof *all->pointers);
    for (size_t i = 0; i < all->n_tensors; i++) {
        all->pointers[i] = &all->tensors[i];
    }
    return ended;
}

/* The whole data of a tensor. */
static inline void torch_case_data(const struct torch_case *all, size_t tensor, uint8_t *out)
{
    static const uint8_t signature[] = {0x50, 0x4b, 0x07, 0x08};
    bool is_signed = strncmp(all->tensors[tensor].name, "PK", 2) == 0;
    for (size_t k = 0; k < all->tensors[tensor].n_bytes; k++) {
        out[k] = is_signed && k < 4 ? signature[k] : (uint8_t)(7 * k + 31 * (k >> 8) + 13 * tensor);
    }
}

static inline struct torch_dict torch_case_dict(const struct torch_case *all)
{
    return (struct torch_dict){.tensors = all->pointers, .owners = all->owners, .n_tensors = all->n_tensors};
}

static inline struct torch_layout_sum torch_case_sum(const uint8_t *data, uint64_t n_bytes)
{
    struct torch_layout_sum sum = {.crc32 = crc32_update(0, data, (size_t)n_bytes)};
    for (size_t k = 0; k < n_bytes && k < 8; k++) {
        sum.front |= (uint64_t)data[k] << (8 * k);
    }
    return sum;
}

/* CRC-32 of n_bytes zeros, by doubling. */
static inline uint32_t torch_case_crc32_of_zeros(uint64_t n_bytes)
{
    uint32_t crc32 = 0;
    uint32_t power = crc32_update(0, "", 1); /* of 2^i zeros */
    for (uint64_t bytes = 1; bytes <= n_bytes; bytes *= 2) {
        if ((n_bytes & bytes) != 0) {
            crc32 = crc32_join(crc32, power, bytes);
        }
        power = crc32_join(power, power, bytes);
    }
    return crc32;
}

/*
 * The file without its holes; free() it. Written backwards, data first: what a segment needs of later data, it cannot
 * have. *holes_bytes is what was left out.
 */
static inline uint8_t *torch_case_render(const struct torch_case *all, const struct torch_layout *layout,
                                         size_t *n_bytes, uint64_t *holes_bytes)
{
    struct torch_layout_sum *sums = torch_case_memory(NULL, layout->n_stored * sizeof *sums);
    *holes_bytes = 0;
    for (size_t i = 0; i < layout->n_stored; i++) {
        uint64_t bytes = all->tensors[layout->order[i]].n_bytes;
        *holes_bytes += bytes > TORCH_CASE_HOLE_BYTES ? bytes : 0;
    }
    *n_bytes = (size_t)(layout->file_bytes - *holes_bytes);
    uint8_t *bytes = torch_case_memory(NULL, *n_bytes);
    memset(bytes, 0xee, *n_bytes);
    uint64_t hole = 0;
    for (size_t i = 0; i < layout->n_stored; i++) {
        const struct tensor *tensor = &all->tensors[layout->order[i]];
        if (tensor->n_bytes > TORCH_CASE_HOLE_BYTES) {
            sums[i] = (struct torch_layout_sum){.crc32 = torch_case_crc32_of_zeros(tensor->n_bytes)};
            hole += tensor->n_bytes;
            continue;
        }
        uint8_t *data = bytes + (layout->file_offsets[i] - hole);
        torch_case_data(all, layout->order[i], data);
        sums[i] = torch_case_sum(data, tensor->n_bytes);
    }
    for (size_t i = layout->n_stored + 1; i-- > 0;) {
        torch_layout_render(layout, i, sums, bytes + (torch_layout_segment_offset(layout, i) - hole));
        if (i > 0 && all->tensors[layout->order[i - 1]].n_bytes > TORCH_CASE_HOLE_BYTES) {
            hole -= all->tensors[layout->order[i - 1]].n_bytes;
        }
    }
    free(sums);
    return bytes;
}

#endif
