/* SPDX-License-Identifier: Apache-2.0 */
/* The room in public settings that later versions will use (docs/api.md). */
#ifndef CORE_RESERVED_H
#define CORE_RESERVED_H

#include "core/error.h"

/*
 * USAGE unless all is 0: a program that was built with a later header asks for something that this library does not
 * know, or one of its structs was never initialised.
 */
enum llavamed_status reserved_check(const uint64_t reserved[LLAVAMED_RESERVED], struct llavamed_error *error)
    LLAVAMED_CHECK;

#endif
