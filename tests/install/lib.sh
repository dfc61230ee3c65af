# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of installation, static programs and packages call. They end with counted, which prints
# "N passed, N failed". What cannot be had is named with its reason, and counts as nothing; what
# tests/tools/install_deps.sh brings and is missing all the same is a failure.

passed=0
failed=0
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

# not_run NAME REASON: it cannot be had here
not_run()
{
    printf 'NOT RUN %s: %s\n' "$1" "$2"
}

# missing NAME REASON: it should be here
missing()
{
    failed=$((failed + 1))
    printf 'FAILED %s: %s\n' "$1" "$2"
}

counted()
{
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
