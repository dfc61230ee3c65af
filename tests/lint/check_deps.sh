#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_deps.sh: who may include whom, in src/ and include/.
# - Data flows one way: core <- io, integrity, tensor <- format <- source <- merge <- verify, and source <- inspect.
#   kernel sees core and tensor/dtype.h.
# - The programs and cli see llavamed.h (with llavamed_diff.h, llavamed_reports.h) and cli, nothing internal.
# - Each third-party header belongs to one .c (OpenSSL to two: digests, keys); intrinsics to the kernels of their
#   architecture.
# - Below cli nothing prints and nothing exits. File names are unique.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "${LINT_ROOT:-.}" || exit 2
files=$(LINT_ROOT=. "$here/files.sh" c | grep -E '^(src|include)/') || exit 2

{
    # shellcheck disable=SC2086
    LC_ALL=C awk '
    function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
    BEGIN {
        allowed["include"] = ""
        allowed["core"] = "core/"
        allowed["io"] = "core/ io/"
        allowed["integrity"] = "core/ integrity/"
        allowed["tensor"] = "core/ tensor/"
        allowed["kernel"] = "core/ tensor/dtype.h kernel/"
        allowed["format"] = "core/ io/ integrity/ tensor/ format/"
        allowed["source"] = "core/ io/ integrity/ tensor/ format/ source/"
        allowed["inspect"] = "core/ io/ integrity/ tensor/ format/ source/ kernel/ inspect/"
        allowed["merge"] = "core/ io/ integrity/ tensor/ format/ source/ kernel/ merge/"
        allowed["verify"] = "core/ io/ integrity/ tensor/ format/ source/ merge/ verify/"
        allowed["cli"] = "cli/"
        allowed["program"] = "cli/"
        loud = "printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|exit|_exit|abort"
        owner["zlib.h"] = "src/integrity/zlib.c"
        owner["cjson/cJSON.h"] = "src/core/json.c"
        owner["openssl/"] = "src/integrity/digest.c src/integrity/ec_key.c"
        owner["immintrin.h"] = "src/kernel/x86/ src/integrity/crc32_vpclmul.c"
        owner["arm_neon.h"] = "src/kernel/arm/"
        owner["cpuid.h"] = "src/kernel/"
    }
    FNR == 1 {
        n = split(FILENAME, part, "/")
        folder = part[1] == "include" ? "include" : n == 2 ? "program" : part[2]
        if (!(folder in allowed)) {
            bad("folder " folder " is not in ARCHITECTURE; say in check_deps.sh what it may include")
        }
        if (part[n] in seen) {
            bad("file name already used by " seen[part[n]])
        }
        seen[part[n]] = FILENAME
        in_comment = 0
    }
    /^[ ]*#[ ]*include[ ]*"/ {
        split($0, quoted, "\"")
        header = quoted[2]
        ok = header == "llavamed.h" || header == "llavamed_diff.h" || header == "llavamed_reports.h"
        n_allowed = split(allowed[folder], prefix, " ")
        for (i = 1; i <= n_allowed; i++) {
            ok = ok || index(header, prefix[i]) == 1
        }
        if (!ok) { bad(folder " may not include \"" header "\"") }
        next
    }
    /^[ ]*#[ ]*include[ ]*</ {
        split($0, angled, /[<>]/)
        header = angled[2]
        for (name in owner) {
            if (index(header, name) != 1) { continue }
            is_owned = 0
            n_owners = split(owner[name], place, " ")
            for (i = 1; i <= n_owners; i++) {
                is_owned = is_owned || index(FILENAME, place[i]) == 1
            }
            if (!is_owned) { bad("<" header "> belongs to " owner[name]) }
        }
        next
    }
    {
        # Code without comments and strings.
        line = $0
        gsub(/\\"/, "", line)
        gsub(/"[^"]*"/, "\"\"", line)
        if (in_comment) {
            if (!sub(/^.*\*\//, "", line)) { next }
            in_comment = 0
        }
        gsub(/\/\*[^*]*\*\//, "", line)
        if (sub(/\/\*.*$/, "", line)) { in_comment = 1 }
        if (folder == "cli" || folder == "program" || folder == "include") { next }
        if (match(line, "(^|[^A-Za-z0-9_>.])(" loud ")[ ]*\\(")) {
            bad("below cli nothing prints or exits: " substr(line, RSTART, RLENGTH))
        }
    }' $files

    # A library that nothing includes any more, or that another file includes, is a broken promise too.
    for pair in zlib.h=1 cjson/cJSON.h=1 openssl/=2; do
        header=${pair%=*}
        n=$(printf '%s\n' "$files" | xargs grep -lE "^[ ]*#[ ]*include[ ]*<$header" | wc -l)
        if [ "$n" -ne "${pair#*=}" ]; then
            printf 'src: <%s> is included by %d files (want %d)\n' "$header" "$n" "${pair#*=}"
        fi
    done
} | {
    if grep . >&2; then
        exit 1
    fi
}
