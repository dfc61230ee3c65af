/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/dsse.h"

#include <string.h>

void dsse_append_pae(struct buffer *out, const char *type, const void *body, size_t n_bytes)
{
    buffer_append_text(out, "DSSEv1 ");
    buffer_append_decimal(out, strlen(type));
    buffer_append_text(out, " ");
    buffer_append_text(out, type);
    buffer_append_text(out, " ");
    buffer_append_decimal(out, n_bytes);
    buffer_append_text(out, " ");
    buffer_append(out, body, n_bytes);
}
