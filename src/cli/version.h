/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

#include <stdio.h>

/*
 * The text of --version: program, compiler and target, kernels that this machine would use, libraries, licence. Write
 * errors are left on the stream.
 */
void version_print(FILE *stream);

#endif
