#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_shells.sh BUILD SHELL...: the completions of contrib/completions in these shells (shells.py), and that copies
# with a wrong option and a wrong value are found to be wrong in each. Ends with "N passed, N failed".
set -u

cd "$(dirname "$0")/../.." || exit 1
build=$1
shift
python=${PYTHON:-python3}
copies=$(mktemp -d) || exit 1
trap 'rm -rf "$copies"' EXIT

"$python" -B tests/texts/shells.py "$build" "$@" >"$copies/report"
status=$?
counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$copies/report")
sed '$d' "$copies/report"
passed=${counts% *}
failed=${counts#* }
case $counts in
*' '*) ;;
*) echo "shells.py ended with exit status $status" && passed=0 failed=1 ;;
esac

mkdir "$copies/wrong"
for name in llavamed.bash _llavamed llavamed.fish; do
    sed -e 's/--digests/--digestz/g' -e 's/-l digests/-l digestz/' -e 's/keep drop/keep drip/' \
        "contrib/completions/$name" >"$copies/wrong/$name"
done
"$python" -B tests/texts/shells.py --completions "$copies/wrong" "$build" "$@" >"$copies/report"
for shell in "$@"; do
    for wrong in "'llavamed-apply --': .*not offered: \['--digests'\]" \
        "'llavamed-verify --inv-freq ': .*not offered: \['drop'\]"; do
        if grep -q "^failed: $shell: $wrong" "$copies/report"; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "failed: $shell: planted, and not found: $wrong"
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
