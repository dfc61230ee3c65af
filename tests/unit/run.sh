#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh TEST: one unit test below its name, by $EMULATOR if that is set.
echo "== $(basename "$1")"
# shellcheck disable=SC2086
exec ${EMULATOR:-} "$1"
