# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC1091
# What is written about the programs, against what they are: --help, manual pages, completions, tables of messages.

PROGRAMS='llavamed-apply llavamed-verify llavamed-inspect llavamed-make-delta'

# 24 lines, of which one is for the prompt.
test_texts_help_fits_a_screen()
{
    local program n
    for program in $PROGRAMS; do
        run "$SCRATCH/$program" --help
        want_status 0
        want_empty stderr
        want_lines stdout 1 "^Usage: $program "
        want_lines stdout 1 '^  --help-all  *print all options'
        want_lines stdout 0 '................................................................................'
        n=$(wc -l <.checks/stdout)
        want test "$n" -le 23
        want test "$n" -ge 15
        mv .checks/stdout short
        run "$SCRATCH/$program" -h
        want_same short .checks/stdout
        run "$SCRATCH/$program" --help-all
        want_status 0
        want_empty stderr
        want_lines stdout 0 '................................................................................'
        # Nothing of --help is missing there, and something is added.
        want test "$(grep -c -v -x -F -f .checks/stdout short)" -eq 0
        want test "$(wc -l <.checks/stdout)" -gt "$n"
    done
}
