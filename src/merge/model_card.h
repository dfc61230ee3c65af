/* SPDX-License-Identifier: Apache-2.0 */
/* README.md of a result: a model card, whose front matter (YAML) huggingface_hub reads. */
#ifndef MERGE_MODEL_CARD_H
#define MERGE_MODEL_CARD_H

#include "merge/documents.h"

/* Appends the card. Memory is checked with buffer_status(). */
void model_card_append(struct buffer *out, const struct plan *plan, const struct documents_job *job);

#endif
