/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead Simple Signing Envelope, version 1 (github.com/secure-systems-lab/dsse, protocol.md): what is signed is neither
 * the payload nor the envelope, but the pre-authentication encoding (PAE) of the payload with its type:
 *
 *     "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body        LEN in decimal, of bytes
 */
#ifndef INTEGRITY_DSSE_H
#define INTEGRITY_DSSE_H

#include "core/buffer.h"

#define DSSE_PAE_OVERHEAD_BYTES 64 /* at most, beside type and body */

void dsse_append_pae(struct buffer *out, const char *type, const void *body, size_t n_bytes);

#endif
