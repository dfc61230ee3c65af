# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of installation, static programs and packages call. They end with counted, which prints
# "N passed, N failed[, N skipped]"; what could not be run is one of the skipped, and named with its reason.

passed=0
failed=0
skipped=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# check NAME COMMAND...: one test, with the output shown when it fails
check()
{
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then
        passed=$((passed + 1))
        printf 'PASS %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n' "$name"
        sed 's/^/    /' "$scratch/log"
    fi
}

# not_run NAME REASON
not_run()
{
    skipped=$((skipped + 1))
    printf 'NOT RUN %s: %s\n' "$1" "$2"
}

counted()
{
    if [ "$skipped" -gt 0 ]; then
        printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    else
        printf '%d passed, %d failed\n' "$passed" "$failed"
    fi
    [ "$failed" -eq 0 ]
}
