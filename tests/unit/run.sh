#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh TEST: one unit test below its name, by $EMULATOR if that is set.
set -u

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
name=$(basename "$1")
echo "== $name"
# shellcheck disable=SC2086
${EMULATOR:-} "$1" >"$log" 2>&1
status=$?
cat "$log"
# shellcheck disable=SC2046
tests/count.sh "tests/unit/$name.c" $(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log")
exit $status
