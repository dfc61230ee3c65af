/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_MEMORY_H
#define CORE_MEMORY_H

#include <stdint.h>

/* Memory of the machine that nobody uses, not even as a cache; 0 when that is not known. */
uint64_t memory_free_bytes(void);

#endif
