/* SPDX-License-Identifier: Apache-2.0 */
#include "core/memory.h"

#include <unistd.h>

#include "core/checked.h"

uint64_t memory_free_bytes(void)
{
    long n_pages = sysconf(_SC_AVPHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t n_bytes;
    bool known = n_pages > 0 && page_bytes > 0 && checked_mul_u64((uint64_t)n_pages, (uint64_t)page_bytes, &n_bytes);
    return known ? n_bytes : 0;
}
