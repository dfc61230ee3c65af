/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "core/json.h"
#include "integrity/crc32.h"
#include "integrity/digest.h"
#include "kernel/kernel.h"

const char *llavamed_cpu_best(void)
{
    return kernel_best()->name;
}

const char *llavamed_libraries(void)
{
    static char text[256];
    if (text[0] == '\0') {
        (void)snprintf(text, sizeof text, "zlib %s, cJSON %s, OpenSSL %s", crc32_library_version(),
                       json_library_version(), digest_library_version());
    }
    return text;
}
