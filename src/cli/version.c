/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/version.h"

#include "cli/messages.h"

#if defined(__clang__)
#define BUILD_COMPILER __VERSION__ /* names itself: "Clang 14.0.6" */
#elif defined(__GNUC__)
#define BUILD_COMPILER "gcc " __VERSION__
#else
#define BUILD_COMPILER "unknown compiler"
#endif

#if defined(__x86_64__)
#define BUILD_TARGET "x86-64"
#elif defined(__aarch64__)
#define BUILD_TARGET "aarch64"
#else
#define BUILD_TARGET "other processor"
#endif

#if defined(__GLIBC__)
#define BUILD_LIBC "glibc"
#else
#define BUILD_LIBC "other libc"
#endif

#if defined(__OPTIMIZE__)
#define BUILD_KIND "optimised"
#else
#define BUILD_KIND "not optimised"
#endif

void version_print(FILE *stream)
{
    (void)fprintf(stream, "%s %s\n", program_name, LLAVAMED_VERSION);
    (void)fputs("build: " BUILD_COMPILER ", " BUILD_TARGET ", " BUILD_LIBC ", " BUILD_KIND "\n", stream);
    (void)fprintf(stream, "cpu: %s\n", llavamed_cpu_best());
    (void)fprintf(stream, "libraries: %s\n", llavamed_libraries());
    (void)fputs("licence: Apache-2.0; merged weights are for research only\n", stream);
}
