/* SPDX-License-Identifier: Apache-2.0 */
/* What oms_statement.c and oms_statement_read.c share. */
#ifndef INTEGRITY_OMS_STATEMENT_PARTS_H
#define INTEGRITY_OMS_STATEMENT_PARTS_H

#include "integrity/oms_statement.h"

#define OMS_STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define OMS_PREDICATE_TYPE "https://model_signing/signature/v1.0"
#define OMS_PREDICATE_TYPE_OLD "https://model_signing/Digests/v0.1"

/* SHA-256 over the raw digests in this order; they are 64 lower-case digits each. */
enum llavamed_status oms_root_of(const struct oms_file *files, size_t n_files, char hex[SHA256_HEX_BYTES],
                                 struct llavamed_error *error) LLAVAMED_CHECK;

#endif
