#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# count.sh NAME PASSED FAILED: leaves what a test counted in $COUNTS, for the table of promises (tests/fault/promises.py
# says more); nothing when there is no $COUNTS.
[ -n "${COUNTS:-}" ] || exit 0
mkdir -p "$(dirname "$COUNTS/$1")" && echo "$2 $3" >"$COUNTS/$1"
