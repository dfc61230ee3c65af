# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034
# What says that models are for research only, and that nothing is ever asked.

MAKE_DELTA=$SCRATCH/llavamed-make-delta
NOTICE=': notice: LLaVA-Med is for research only, not for clinical use: see NOTICE-research-only.md$'

test_notice_is_one_line_of_a_run()
{
    apply_pair base delta
    want_status 0
    want_lines stderr 1 "^llavamed-apply$NOTICE"
    want_lines stderr 1 'notice'
    apply_pair base delta --force --json -v
    want_status 0
    want_lines stderr 1 "^llavamed-apply$NOTICE"
    want_lines stdout 0 "$NOTICE"
    apply --base "$DATA/base" --delta "$DATA/delta" --out one --delta "$DATA/delta" --out two
    want_status 0
    want_lines stderr 1 "^llavamed-apply$NOTICE"
    want_same one/NOTICE-research-only.md out/NOTICE-research-only.md
    want_same two/NOTICE-research-only.md out/NOTICE-research-only.md
    want grep -q 'must not be used in clinical care' out/NOTICE-research-only.md
    want grep -q '^[0-9a-f]*  NOTICE-research-only.md$' out/SHA256SUMS
    synth m --base --target
    run "$MAKE_DELTA" --base m/base --target m/target --out made
    want_status 0
    want_lines stderr 1 "^llavamed-make-delta$NOTICE"
    want grep -q 'must not be used in clinical care' made/NOTICE-research-only.md
}

# -q prints errors alone, and what wrote nothing has nothing to say.
test_notice_not_without_output()
{
    apply_pair base delta -n
    want_status 0
    want_lines stderr 0 notice
    apply_pair base delta -q
    want_status 0
    want_empty stderr
    want test -s out/NOTICE-research-only.md
    apply_pair base delta
    want_status 5
    want_lines stderr 0 notice
    verify out
    want_status 0
    want_lines stderr 0 notice
}

# with_stdin STATUS COMMAND...: it ends by itself with that status, whatever standard input is: closed, a pipe from
# which nothing comes and that never ends (fd 9), a terminal's line that waits there and is left alone.
with_stdin()
{
    local want=$1 line=
    shift
    timeout 60 "$@" >.checks/stdout 2>.checks/stderr <&-
    status=$?
    want_status "$want"
    rm -rf out.partial
    echo y >&9
    timeout 60 "$@" >.checks/stdout 2>.checks/stderr <&9
    status=$?
    want_status "$want"
    IFS= read -r -t 60 line <&9
    note_check "$([ "$line" = y ] && echo 1 || echo 0)" "$1 read from standard input"
}

test_notice_nothing_is_asked()
{
    mkfifo pipe
    exec 9<>pipe
    synth m --base --target
    with_stdin 0 "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out --force
    # Where other programs would ask: a directory that is there, base and delta exchanged, no such model.
    with_stdin 5 "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out
    with_stdin 4 "$PROGRAM" --base "$DATA/delta" --delta "$DATA/base" --out new
    with_stdin 3 "$PROGRAM" --base some/model --delta "$DATA/delta" --out new
    with_stdin 0 "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out new -n
    with_stdin 0 "$VERIFY" out
    with_stdin 0 "$SCRATCH/llavamed-inspect" out
    with_stdin 0 "$MAKE_DELTA" --base m/base --target m/target --out made --force
    with_stdin 5 "$MAKE_DELTA" --base m/base --target m/target --out made
    exec 9>&-
}
