#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# one.sh CASES.sh:TEST: one test for run.sh, which exports what it needs. Leaves TEST in $SCRATCH/passed/, or tells what
# failed.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
file=${1%:*}
name=${1##*:}
# shellcheck source=tests/cli/lib.sh
. "$here/lib.sh"
# shellcheck source=/dev/null
. "$here/cases/$file"

T=$SCRATCH/$name
log=$SCRATCH/$name.log
mkdir "$T"
chmod 755 "$T"
(
    cd "$T" || exit 1
    mkdir .checks
    "$name"
    exit 0
) >"$log" 2>&1
# A test that checked nothing, or that ended before its last line, has failed too.
if [ -s "$T/.checks/ok" ] && [ ! -e "$T/.checks/bad" ] && [ ! -s "$log" ]; then
    : >"$SCRATCH/passed/$name"
else
    printf 'FAILED %s (%s)\n' "$name" "$file"
    sed 's/^/    /' "$log"
    cat "$T/.checks/bad" 2>/dev/null
    if [ "$VERBOSE" = 1 ]; then
        for stream in stdout stderr; do
            sed "s/^/    $stream: /" "$T/.checks/$stream" 2>/dev/null
        done
    fi
fi
chmod -R u+rwx "$T" 2>/dev/null
rm -rf "$T" "$log"
