# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC1091,SC2016
# What is written about the programs, against what they are: --help, manual pages, completions, tables of messages.

PROGRAMS='llavamed-apply llavamed-verify llavamed-inspect llavamed-make-delta'
ROOT=${DATA%/tests/data/cli}

# A script of tests/texts, from the root of the project; it says "N passed, 0 failed" with an N above 0.
texts()
{
    local script=$1 checks=$PWD/.checks
    shift
    (cd "$ROOT" && python3 -B "tests/texts/$script" "$@") >"$checks/stdout" 2>"$checks/stderr" </dev/null
    status=$?
}

want_all_passed()
{
    want_status 0
    want_lines stdout 1 '^[1-9][0-9]* passed, 0 failed$'
    [ "$status" = 0 ] || note_check 0 "$(grep -h -v ' passed, ' .checks/stdout .checks/stderr | head -n 5)"
}

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

test_texts_manual_pages_hold_every_option()
{
    apply_pair base delta --digests -q
    want_status 0
    synth m --base --target
    run "$SCRATCH/llavamed-make-delta" --base m/base --target m/target --out made -q
    want_status 0
    texts check_pages.py "$SCRATCH" "$PWD/out/llavamed-manifest.json" "$PWD/made/llavamed-manifest.json"
    want_all_passed
}

# The check finds an option that a page lacks, one that is no more, and a value that is no more.
test_texts_manual_pages_check_can_fail()
{
    apply_pair base delta -q
    mkdir copy
    cp -r "$ROOT/docs" "$ROOT/README.md" copy/
    mkdir copy/tests
    cp -r "$ROOT/tests/texts" copy/tests/
    sed -i -e '/^\.It Fl -digests$/d' -e 's/^\.It Fl -force$/.It Fl -fierce/' copy/docs/man/llavamed-apply.1
    sed -i 's/^\.It Fl -inv-freq Cm keep | drop$/.It Fl -inv-freq Cm keep/' copy/docs/man/llavamed-verify.1
    sed -i 's/^\.It Li delta_zero$/.It Li delta_nought/' copy/docs/man/llavamed-manifest.5
    ROOT=$PWD/copy texts check_pages.py "$SCRATCH" "$PWD/out/llavamed-manifest.json"
    want_status 1
    want_lines stdout 1 'llavamed-apply.1: OPTIONS must have this line once: .It Fl -digests$'
    want_lines stdout 1 'llavamed-apply.1: OPTIONS has what --help-all has not: .It Fl -fierce$'
    want_lines stdout 1 'llavamed-verify.1: OPTIONS must have this line once: .It Fl -inv-freq Cm keep | drop$'
    want_lines stdout 1 'manifest: A tensor: delta_zero: 1 times in docs/manifest.md, 0 times in the page$'
}

# Whoever formats manual pages finds nothing to complain about, and all of them show the options.
test_texts_manual_pages_lint()
{
    local page n=0
    for page in "$ROOT"/docs/man/*.[15]; do
        n=$((n + 1))
        # That other pages are not installed, or not indexed, is not the page's fault.
        run mandoc -T lint -W style "$page"
        grep -h -v -e 'STYLE: referenced manual not found' -e 'outdated mandoc.db' .checks/std* >complaints
        want cmp /dev/null complaints
        run env MANROFFSEQ= LC_ALL=C.UTF-8 man --warnings=w -E UTF-8 -l -Z "$page"
        want_status 0
        want_empty stderr
        run groff -mandoc -T utf8 -ww -z "$page"
        want_status 0
        want_empty stderr
        run env LC_ALL=C.UTF-8 MANWIDTH=80 man -l "$page"
        want test "$(LC_ALL=C.UTF-8 grep -c '^.\{81\}' .checks/stdout)" -eq 0
        want grep -q 'SEE ALSO' .checks/stdout
    done
    want test "$n" -eq 5
}

test_texts_completions_are_those_of_the_programs()
{
    local name
    texts make_completions.py "$SCRATCH" "$PWD/made"
    want_status 0
    want_empty stderr
    for name in llavamed.bash _llavamed llavamed.fish; do
        want_same "made/$name" "$ROOT/contrib/completions/$name"
    done
}

# zsh and fish are asked by `make check-shells`.
test_texts_completion_in_bash()
{
    run "$ROOT/tests/texts/check_shells.sh" "$SCRATCH" bash
    want_all_passed
}

test_texts_messages_are_real()
{
    texts check_messages.py
    want_all_passed
    sed 's/a Git LFS pointer, not/a Git LFS pointer and not/' "$ROOT/README.md" >changed.md
    texts check_messages.py "$PWD/changed.md"
    want_status 1
    want_lines stdout 1 '^failed: .*a Git LFS pointer and not the weights themselves$'
}

test_texts_links_lead_somewhere()
{
    texts check_links.py
    want_all_passed
    mkdir -p copy/tests copy/docs
    cp -r "$ROOT/tests/texts" copy/tests/
    printf '# A `heading`: here\n[one](docs/a.md#b) [two](#a-heading-here) [three](docs/a.md) [four](docs/b.md)\n' \
        >copy/README.md
    printf '# A\n' >copy/docs/a.md
    ROOT=$PWD/copy texts check_links.py
    want_status 1
    want_lines stdout 1 '^failed: README.md: leads nowhere: docs/a.md#b$'
    want_lines stdout 1 '^failed: README.md: leads nowhere: docs/b.md$'
    want_lines stdout 1 '^2 passed, 2 failed$'
}
