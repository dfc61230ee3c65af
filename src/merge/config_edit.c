/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/config_edit.h"

#include <string.h>

/* A value to replace: [begin, end) of the text. Empty when there is none. */
struct span {
    size_t begin;
    size_t end;
};

static struct span find_span(const char *text, size_t n_bytes, const struct json_value *root, const char *key,
                             const char *dtype)
{
    struct span span = {0, 0};
    const struct json_value *member = json_member(root, key);
    const char *value = member == NULL ? NULL : json_string(member);
    if (value != NULL && strcmp(value, dtype) != 0) {
        (void)json_find_root_value(text, n_bytes, key, &span.begin, &span.end);
    }
    return span;
}

void config_edit_dtype(const char *text, size_t n_bytes, const struct json_value *root, const char *dtype,
                       struct buffer *out, bool *changed)
{
    struct span spans[2] = {
        find_span(text, n_bytes, root, "torch_dtype", dtype),
        find_span(text, n_bytes, root, "dtype", dtype),
    };
    if (spans[1].begin < spans[0].begin) {
        struct span first = spans[1];
        spans[1] = spans[0];
        spans[0] = first;
    }
    size_t done = 0;
    *changed = false;
    for (size_t i = 0; i < 2; i++) {
        if (spans[i].end > spans[i].begin) {
            buffer_append(out, text + done, spans[i].begin - done);
            buffer_printf(out, "\"%s\"", dtype);
            done = spans[i].end;
            *changed = true;
        }
    }
    buffer_append(out, text + done, n_bytes - done);
}
