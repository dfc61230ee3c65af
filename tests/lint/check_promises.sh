#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_promises.sh: every row of the table of docs/reliability.md names its tests, and these exist. A test is a path in
# backquotes, with the part of it behind a colon where it counts in parts.
set -u

cd "${LINT_ROOT:-.}" || exit 2
doc=docs/reliability.md
[ -f "$doc" ] || exit 0
failed=0
rows=$(sed -n '/^<!-- promises -->$/,/^<!-- end of promises -->$/p' "$doc" | sed -n '4,$p' | grep '^|')
if [ -z "$rows" ]; then
    echo "$doc: no table of promises between its marks" >&2
    exit 1
fi
while IFS= read -r row; do
    # shellcheck disable=SC2016
    tests=$(printf '%s\n' "$row" | cut -d '|' -f 3 | grep -o '`tests/[^`:]*' | tr -d '`')
    [ -n "$tests" ] || { failed=1 && echo "$doc: a promise without a test: $row" >&2; }
    for test in $tests; do
        [ -f "$test" ] || { failed=1 && echo "$doc: no such test: $test" >&2; }
    done
done <<END
$rows
END
exit $failed
