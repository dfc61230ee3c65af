#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# hardening.sh OBJECT PROGRAM...: what the release build is protected with, by readelf. $HARDENING has the compiler's
# flags.
# Ends with "N passed, N failed".
set -u

object=$1
shift
passed=0
failed=0

# want NAME PATTERN READELF-OPTIONS... : a line of readelf's output matches
want()
{
    name=$1
    pattern=$2
    shift 2
    if LC_ALL=C readelf -W "$@" 2>/dev/null | grep -Eq -- "$pattern"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: nothing like "%s" in readelf %s\n' "$name" "$pattern" "$*"
    fi
}

# want_none NAME PATTERN READELF-OPTIONS... : readelf has output, and no line of it matches
want_none()
{
    name=$1
    pattern=$2
    shift 2
    output=$(LC_ALL=C readelf -W "$@" 2>/dev/null)
    if [ -n "$output" ] && ! printf '%s\n' "$output" | grep -Eq -- "$pattern"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: something like "%s" in readelf %s\n' "$name" "$pattern" "$*"
    fi
}

for program in "$@"; do
    want 'position-independent' '^ *Type: +DYN ' -h "$program"
    want 'position-independent executable' 'Flags:.* PIE' -d "$program"
    want 'read-only relocations' '^ *GNU_RELRO ' -l "$program"
    want 'bound at start' '(Flags:.* NOW|BIND_NOW)' -d "$program"
    want 'stack not executable' '^ *GNU_STACK .* RW +0x' -l "$program"
    want_none 'no segment writable and executable' '^ *LOAD .* RWE ' -l "$program"
    want_none 'no text relocations' 'TEXTREL' -d "$program"
    want_none 'no path of libraries' '(RPATH|RUNPATH)' -d "$program"
    want 'stack protector' '__stack_chk_fail' --dyn-syms "$program"

    case $HARDENING in
    *_FORTIFY_SOURCE=*)
        # musl has no checked functions.
        if LC_ALL=C readelf -W -l "$program" | grep -q 'interpreter: .*/ld-musl'; then
            echo 'C library without checked functions'
        else
            want 'checked functions' '__[a-z]+_chk' --dyn-syms "$program"
        fi
        ;;
    *)
        failed=$((failed + 1))
        echo "FAILED checked functions: the compiler was not asked for them ($HARDENING)"
        ;;
    esac
done

case $HARDENING in
*-fcf-protection=*) want 'branch targets' 'x86 feature: IBT, SHSTK' -n "$object" ;;
*-mbranch-protection=*) want 'branch targets' 'AArch64 feature: BTI, PAC' -n "$object" ;;
*) echo 'compiler without protection of branches' ;;
esac

tests/count.sh tests/fault/hardening.sh "$passed" "$failed"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
