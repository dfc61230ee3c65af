#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Called by conda build at the top of the source, with the compiler and its flags in the environment, and libraries in
# $PREFIX.
set -eu

make -j"${CPU_COUNT:-1}" all libs
make install PREFIX="$PREFIX"
