#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# aarch64.sh
# Builds everything for aarch64 below $BUILD/aarch64 (build/aarch64) with Debian's cross compiler and libraries, runs
# the kernel test and the unit tests under qemu-user, looks how the program is protected, and holds merges against those
# of this machine's own build. Ends with "N passed, N failed". tests/tools/install_deps.sh aarch64 tells what it needs.
set -eu

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export BUILD=${BUILD:-build} MAKE=${MAKE:-make}
jobs=$(nproc)
emulator=qemu-aarch64
# The plainest ARMv8.0: an instruction that not every aarch64 has ends a test here.
export QEMU_CPU=${QEMU_CPU:-cortex-a53}

cross="CROSS=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc BUILD=$BUILD/aarch64 EMULATOR=$emulator WERROR=1"
# shellcheck disable=SC2086 # $MAKE and $cross are lists of words
$MAKE --no-print-directory -j"$jobs" all tools
# shellcheck disable=SC2086
$MAKE --no-print-directory -j"$jobs" check-build $cross

# The two that take longest first, so that they run side by side. -O keeps each test's lines together.
targets='kernel unit-safetensors'
for source in tests/unit/test_*.c; do
    name=${source##*/test_}
    name=${name%.c}
    [ "$name" = safetensors ] || targets="$targets unit-$name"
done
exec tests/run_check.sh \
    "aarch64-tests=$MAKE --no-print-directory -s -k -O -j$jobs $targets $cross" \
    "aarch64-hardening=$MAKE --no-print-directory -s hardening $cross" \
    "aarch64-merges=tests/cross/merges.sh $BUILD $emulator $BUILD/aarch64/llavamed-apply"
