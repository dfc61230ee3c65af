#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_format.sh: tells which sources clang-format (15 or later) would change.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "${LINT_ROOT:-.}" || exit 2
for tool in "${CLANG_FORMAT:-clang-format}" clang-format-19 clang-format-16 clang-format-15; do
    if "$tool" --dump-config >/dev/null 2>&1; then
        # shellcheck disable=SC2046
        exec "$tool" --dry-run --Werror $(LINT_ROOT=. "$here/files.sh" c)
    fi
done
echo "check_format.sh: no clang-format that understands .clang-format" >&2
exit 2
