#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# static.sh: `make check-static`. Builds the static programs for this machine and for aarch64, looks at what they say
# they need, and does the same work with them as with the ordinary build: in a directory that is all there is of a
# system, with the system calls of ten years ago, on an old processor, in an old Debian, and for aarch64 under an
# emulator.
# Ends with "N passed, N failed"; what could not be run is named before, with the reason.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export LC_ALL=C BUILD=${BUILD:-build}
make=${MAKE:-make}
mkdir -p "$BUILD"
build=$(cd "$BUILD" && pwd) || exit 1
data=$PWD/tests/data
. tests/install/lib.sh
chmod 755 "$scratch"
programs='llavamed-apply llavamed-inspect llavamed-make-delta llavamed-verify'
machine=$(uname -m)

builds()
{
    # shellcheck disable=SC2086 # $make is a list of words
    $make --no-print-directory -j"$(nproc)" "$@"
}
check 'the ordinary build' builds all
check 'the static build' builds static
if [ ! -x "$build/static/llavamed-apply" ] || [ ! -x "$build/llavamed-apply" ]; then
    counted
    exit 1
fi

# ---- What they need

# is_static PROGRAM: no loader, no library; protected as the ordinary programs are
is_static()
{
    readelf -Wl "$1" >"$scratch/segments" && readelf -Wd "$1" >"$scratch/dynamic" || return 1
    cat "$scratch/segments" "$scratch/dynamic"
    ! grep -q INTERP "$scratch/segments" && ! grep -Eq 'NEEDED|RPATH|RUNPATH|TEXTREL' "$scratch/dynamic" || return 1
    file "$1" | tee "$scratch/kind" && grep -Eq 'static-pie linked|statically linked' "$scratch/kind" || return 1
    readelf -Wh "$1" | grep -Eq '^ *Type: +DYN ' && grep -Eq '^ *GNU_RELRO ' "$scratch/segments" &&
        grep -Eq '^ *GNU_STACK .* RW +0x' "$scratch/segments" && ! grep -Eq '^ *LOAD .* RWE ' "$scratch/segments"
}

# The oldest kernel that its C library runs on, as it was built: of January 2016, or before.
is_for_old_kernels()
{
    readelf -n "$1" | tee "$scratch/notes"
    local version
    version=$(sed -n 's/.*OS: Linux, ABI: \([0-9]*\)\.\([0-9]*\)\..*/\1 \2/p' "$scratch/notes")
    [ -n "$version" ] && [ "$((${version% *} * 1000 + ${version#* }))" -le 4004 ]
}

for program in $programs; do
    check "$program is static" is_static "$build/static/$program"
    check "$program is for kernels of 2016 and before" is_for_old_kernels "$build/static/$program"
done

# ---- What they do

# A place with programs and inputs, by relative paths alone, so that it can be anywhere.
# furnish DIRECTORY PROGRAMS
furnish()
{
    # shellcheck disable=SC2086
    mkdir -p "$1/tmp" && (cd "$2" && cp $programs "$1/") || return 1
    local name
    for name in base base-wrong delta; do
        cp -r "$data/cli/$name" "$1/$name" || return 1
    done
    cp "$data/cli_archives/delta-deflated.zip" "$1/" || return 1
    cp "$scratch/key.pem" "$scratch/key.pub" "$1/"
    # With its checklists in MD5.
    cp -r "$data/meta/two" "$1/meta" && cp -r "$data/meta/delta" "$1/meta-delta"
}

# work DIRECTORY COMMAND...: does all that the programs do there, each with COMMAND before it. What can be compared
# stays in DIRECTORY/made.
work()
{
    local place=$1 status
    shift
    cd "$place" || return 1
    rm -rf made && mkdir made || return 1
    "$@" ./llavamed-apply --base base --delta delta --out made/merged -q || return 1
    "$@" ./llavamed-apply --base base --delta delta-deflated.zip --out made/torch --format torch -q || return 1
    "$@" ./llavamed-apply --base meta --delta meta-delta --out made/meta -q || return 1
    "$@" ./llavamed-inspect delta --digests >made/digests || return 1
    "$@" ./llavamed-inspect delta --stats >made/stats || return 1
    "$@" ./llavamed-verify made/merged -q || return 1
    "$@" ./llavamed-make-delta --base base --target made/merged --out made/delta -q || return 1
    # Two signatures of one thing differ.
    "$@" ./llavamed-apply --base base --delta delta --out signed -q --sign key.pem || return 1
    "$@" ./llavamed-verify signed --public-key key.pub -q
    status=$?
    rm -rf signed
    [ "$status" -eq 0 ] || return 1
    "$@" ./llavamed-apply --base base-wrong --delta delta --out made/wrong -q 2>made/refusal
    [ $? -eq 4 ] && [ ! -e made/wrong ]
}

if ! openssl ecparam -name prime256v1 -genkey -noout -out "$scratch/key.pem" ||
    ! openssl pkey -in "$scratch/key.pem" -pubout -out "$scratch/key.pub"; then
    exit 1
fi
chmod 644 "$scratch/key.pem"
ordinary() { furnish "$scratch/ordinary" "$build" && (work "$scratch/ordinary"); }
check 'what the ordinary programs make' ordinary

# same DIRECTORY COMMAND...: the same bytes from there
same()
{
    (work "$@") && diff -r "$scratch/ordinary/made" "$1/made" &&
        (cd "$1/made/merged" && sha256sum --quiet -c SHA256SUMS)
}

furnish "$scratch/static" "$build/static"
check 'the same, here' same "$scratch/static"

# An openssl.cnf that wants a module of this machine's own libcrypto loaded: it is not, and nothing else is different.
printf '%s\n' 'openssl_conf = init' '[init]' 'providers = providers' '[providers]' 'default = on' 'legacy = on' \
    '[on]' 'activate = 1' >"$scratch/static/openssl.cnf"
check 'the same, with an openssl.cnf that wants modules' same "$scratch/static" \
    env "OPENSSL_CONF=$scratch/static/openssl.cnf"

# Without /proc, /dev, /etc, libraries, anything.
if [ "$(id -u)" -eq 0 ]; then
    check 'the same, where nothing else is' same "$scratch/static" chroot "$scratch/static"
elif unshare -r true 2>/dev/null; then
    check 'the same, where nothing else is' same "$scratch/static" unshare -r chroot "$scratch/static"
else
    not_run 'the same, where nothing else is' 'not root, and no user namespaces for others'
fi

# All calls that Linux got after 4.4, of January 2016.
new='copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq pidfd_send_signal
    io_uring_setup io_uring_enter io_uring_register pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
    process_madvise epoll_pwait2 mount_setattr landlock_create_ruleset memfd_secret process_mrelease futex_waitv
    set_mempolicy_home_node'
known=
for call in $new; do
    # strace refuses names that it does not know yet.
    ! strace -o /dev/null -e "trace=$call" true 2>/dev/null || known="$known,$call"
done
if [ -n "$known" ]; then
    check "the same, without the system calls of after Linux 4.4 ($(printf %s "$known" | tr -dc , | wc -c))" \
        same "$scratch/static" strace -f -qq -o /dev/null -e "trace=${known#,}" \
        -e "inject=${known#,}:error=ENOSYS"
else
    missing 'the same, without the system calls of after Linux 4.4' 'strace is not to be had, or may not trace here'
fi

# The first processors with 64 bits had SSE2.
if [ "$machine" = x86_64 ] && command -v qemu-x86_64 >/dev/null; then
    check 'the same, on the plainest x86-64, told that the kernel is 4.4' \
        same "$scratch/static" qemu-x86_64 -cpu qemu64 -r 4.4.0
else
    not_run 'the same, on the plainest x86-64' "no qemu-x86_64, or the machine is $machine"
fi

# ---- For aarch64

if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    missing 'static programs for aarch64' 'no aarch64-linux-gnu-gcc or no qemu-aarch64'
else
    arm=$build/aarch64/static
    # The flags of check-aarch64, whose objects will do.
    check 'the static build for aarch64' builds static CROSS=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc WERROR=1 \
        "BUILD=$BUILD/aarch64" "CJSON=$BUILD/cjson"
    for program in $programs; do
        check "$program for aarch64 is static" is_static "$arm/$program"
        check "$program for aarch64 is for kernels of 2016 and before" is_for_old_kernels "$arm/$program"
    done
    furnish "$scratch/arm" "$arm"
    check 'the same, by aarch64 under qemu-user' same "$scratch/arm" qemu-aarch64 -cpu cortex-a53 -r 4.4.0
fi

# ---- In an old Debian

# debian SUITE: its smallest form, unpacked; the packages' scripts are not run, nothing of them is needed
debian()
{
    rm -rf "$scratch/debian"
    debootstrap --foreign --variant=minbase "$1" "$scratch/debian" "$mirror"
}

in_debian()
{
    (
        cd "$scratch/debian" && sed -n 's/^PRETTY_NAME=//p' etc/os-release && ls -d lib/*/libc-* lib/*/libc.so.6
    )
    furnish "$scratch/debian/place" "$build/static" || return 1
    # shellcheck disable=SC2016
    same "$scratch/debian/place" chroot "$scratch/debian" /bin/sh -c 'cd /place && exec "$@"' sh || return 1
    chroot "$scratch/debian" /bin/sh -c 'cd /place/made/merged && sha256sum --quiet -c SHA256SUMS'
}

name='the same, in an old Debian'
mirror=$(apt-cache policy libc6 2>/dev/null | sed -nE 's#^ +-?[0-9]+ (http[^ ]*) [^ ]+/main .*#\1#p' |
    grep -v security | head -n 1)
if [ "$(id -u)" -ne 0 ]; then
    not_run "$name" 'debootstrap and chroot want root'
elif ! command -v debootstrap >/dev/null || [ -z "$mirror" ]; then
    not_run "$name" 'no debootstrap, or apt knows no mirror of Debian'
else
    found=
    for suite in stretch buster bullseye; do
        if debian "$suite" >"$scratch/debootstrap.log" 2>&1; then
            found=$suite
            break
        fi
        not_run "the same, in Debian's $suite" \
            "debootstrap: $(sed -nE 's#^E: ##; T; s# [a-z]+://.*##; p' "$scratch/debootstrap.log" | tail -n 1)"
    done
    [ -z "$found" ] || check "$name ($found)" in_debian
fi
not_run 'the same, on a kernel of 2016' \
    "the kernel is this machine's: system calls that are refused, and what the programs note, stand for it"

counted
