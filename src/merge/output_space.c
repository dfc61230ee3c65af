/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs that are made together, and the room that they need on one volume. */
#include <sys/stat.h>

#include "core/checked.h"
#include "merge/output_dir_parts.h"

uint64_t output_dir_growth_on(const struct output_dir *dir, const struct output_dir *other, uint64_t n_bytes)
{
    struct stat mine;
    struct stat its;
    if (stat(dir->place.parent, &mine) != 0 || stat(other->place.parent, &its) != 0 || mine.st_dev != its.st_dev) {
        return 0;
    }
    uint64_t needed = UINT64_MAX;
    (void)checked_add_u64(n_bytes, OUTPUT_DIR_MARGIN_BYTES, &needed);
    return needed - min_u64(needed, dir->leftover_bytes);
}
