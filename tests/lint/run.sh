#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh basic: the house rules and the test of these rules; needs a shell and the compiler that builds the project.
# run.sh all:   also warnings as errors by gcc and clang, GCC's analyser, clang-tidy, cppcheck, shellcheck. A missing
#               tool is a failure.
# Ends with "N passed, N failed": one for each rule, and for each violation that selftest.sh planted.
set -u

cd "$(dirname "$0")/../.." || exit 1
export BUILD="${BUILD:-build}" MAKE="${MAKE:-make}"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
passed=0
failed=0

# check NAME COMMAND...
check()
{
    name=$1
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        printf 'PASS %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAIL %s\n' "$name"
        # What was compiled well says nothing.
        grep -vE '^ +(CC|LINK|AR) ' "$log" | head -n 200
    fi
}

compile()
{
    $MAKE --no-print-directory -j"$(nproc)" WERROR=1 CC="$1" BUILD="$BUILD/werror-$1" check-build
}

# Of the build that compile() has made: what make check asks of the release build.
hardening()
{
    $MAKE --no-print-directory WERROR=1 CC="$1" BUILD="$BUILD/werror-$1" COUNTS= hardening
}

# The flags of the Makefile that change what the compiler reads.
c_flags='-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc -Itests'

# The program's own files: tests are built by gcc and clang with warnings as errors. Intrinsics differ by machine.
tidy()
{
    export c_flags
    # shellcheck disable=SC2016
    tests/lint/files.sh c | grep '^src/.*\.c$' | grep -Ev '^src/kernel/(x86|arm)/' | xargs -P "$(nproc)" -n 3 sh -c '
        status=0
        for file in "$@"; do
            include="-include tests/lint/analyzer.h"
            [ "$file" != src/core/error.c ] || include=
            clang-tidy --quiet "$file" -- -std=c11 $include $c_flags || status=1
        done
        exit $status' tidy
}

check_with_cppcheck()
{
    # shellcheck disable=SC2086
    cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability -j "$(nproc)" \
        --std=c11 --suppress=missingIncludeSystem $c_flags src include
}

check_with_shellcheck()
{
    tests/lint/files.sh sh | xargs shellcheck
}

for rule in text deps size headers promises; do
    check "$rule" "tests/lint/check_$rule.sh"
done

tests/lint/selftest.sh >"$log" 2>&1
counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log")
grep -vE '^[0-9]+ passed' "$log"
case $counts in
*' '*)
    printf 'selftest: %d planted violations found, %d not\n' "${counts% *}" "${counts#* }"
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    ;;
*)
    printf 'FAIL selftest\n'
    failed=$((failed + 1))
    ;;
esac

if [ "${1:-basic}" = all ]; then
    check gcc compile gcc
    check clang compile clang
    check clang-hardening hardening clang
    check gcc-analyzer tests/lint/check_analyzer.sh
    check clang-tidy tidy
    check cppcheck check_with_cppcheck
    check shellcheck check_with_shellcheck
fi

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
