#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# files.sh KIND: the project's own files, one a line, sorted, relative to $LINT_ROOT (default: here).
# KIND: c (.c and .h), sh (shell scripts), py, text (all of these, the Makefile and the documents).
# In a git work tree: what is tracked or would be; else whatever lies there.
set -eu

kind=$1
cd "${LINT_ROOT:-.}"

list()
{
    if [ -e .git ] && git rev-parse >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard
    else
        find . -type f ! -path './.git/*' ! -path './build/*' | sed 's#^\./##'
    fi | while IFS= read -r file; do
        # A file that was removed but not yet committed is still listed by git.
        if [ -f "$file" ]; then
            printf '%s\n' "$file"
        fi
    done | LC_ALL=C sort -u
}

# Fixtures and corpora are bytes, not sources; the notes beside them are sources.
sources()
{
    list | grep -Ev '^LICENSE$|^tests/(fuzz/corpus/|data/.+/|cli/cases/.+[.](out|err|txt)$)' | grep -E "$1" || true
}

case $kind in
c) sources '\.[ch]$' ;;
sh) sources '\.(sh|bash)$|^\.ci/run$' ;;
py) sources '\.py$' ;;
text)
    sources '\.([ch]|sh|bash|fish|py|md|txt|[1-8]|yml|yaml|toml|cfg|supp|dict)$|^\.ci/run$|(^|/)Makefile$|^\.[a-z-]+$'
    ;;
*)
    echo "files.sh: unknown kind: $kind" >&2
    exit 2
    ;;
esac
