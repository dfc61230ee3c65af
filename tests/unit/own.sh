#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# own.sh LEAST PROGRAM...: those of the test programs that need no library but libc, for MemorySanitizer, which does not
# see what libcrypto, zlib and cJSON write. The library links into a test only what that uses, so a program's undefined
# names tell. Exit status 1, and an error in place of the list, when they are fewer than LEAST.
set -u

least=$1
shift
found=
n=0
for program in "$@"; do
    undefined=$(nm -u "$program") || exit 1
    # A program without a name to look for would be taken for one without libraries.
    [ -n "$undefined" ] || exit 1
    if ! printf '%s\n' "$undefined" | grep -qE ' U (EVP_|OpenSSL|inflate|crc32|zlib|cJSON_)'; then
        found="$found $program"
        n=$((n + 1))
    fi
done
if [ "$n" -lt "$least" ]; then
    echo "own.sh: $n programs without libraries (at least $least)" >&2
    exit 1
fi
printf '%s\n' "$found"
