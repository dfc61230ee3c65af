/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>

#include "core/json.h"
#include "integrity/crc32.h"
#include "integrity/digest.h"
#include "kernel/kernel.h"

const char *llavamed_version(void)
{
    return LLAVAMED_VERSION;
}

const char *llavamed_cpu_best(void)
{
    return kernel_best()->name;
}

static char libraries[256];

static void write_libraries(void)
{
    (void)snprintf(libraries, sizeof libraries, "zlib %s, cJSON %s, OpenSSL %s", crc32_library_version(),
                   json_library_version(), digest_library_version());
}

const char *llavamed_libraries(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, write_libraries);
    return libraries;
}
