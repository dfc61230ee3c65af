#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install_deps.sh build|check|shells|interop|aarch64|static|packaging|slurm|ci
# Looks whether this machine has what `make`, `make check`, the targets called so or .ci/run need. What is missing is
# installed on Debian and Ubuntu when this runs as root; elsewhere it is named and the exit status is 1. Silent when all
# is there.
#
# need() calls its probes by name:
# shellcheck disable=SC2317
set -u

cd "$(dirname "$0")/../.." || exit 2
compiler=${CC:-gcc}
packages=
things=

# need PACKAGE THING COMMAND...: the thing is there when the command succeeds.
need()
{
    package=$1
    thing=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        packages="$packages $package"
        things="$things, $thing"
    fi
}

has_header()
{
    # shellcheck disable=SC2086
    printf '#include <%s>\n' "$1" | $compiler -x c -fsyntax-only -
}

need_to_build()
{
    if ! command -v "${compiler%% *}" >/dev/null; then
        need "${compiler%% *} libc6-dev" "a C compiler ($compiler)" false
        # Without a compiler nobody can ask for headers; a package that is there already does not matter.
        need libcjson-dev cJSON test -e /usr/include/cjson/cJSON.h
        need libssl-dev OpenSSL test -e /usr/include/openssl/evp.h
        need zlib1g-dev zlib test -e /usr/include/zlib.h
    else
        need libc6-dev 'the C library with its headers' has_header stdio.h
        need libcjson-dev 'cJSON with its header' has_header cjson/cJSON.h
        need libssl-dev 'OpenSSL with its headers' has_header openssl/evp.h
        need zlib1g-dev 'zlib with its header' has_header zlib.h
    fi
    need make make command -v make
    need pkg-config pkg-config command -v pkg-config
}

formats_pages()
{
    command -v man && command -v groff
}

need_to_check()
{
    need python3 'Python 3' command -v python3
    need bash bash command -v bash
    need strace strace command -v strace
    need openssl 'the openssl command' command -v openssl
    # What manual pages are read by, and with.
    need mandoc mandoc command -v mandoc
    need 'man-db groff-base' 'man with groff' formats_pages
}

need_for_shells()
{
    need bash bash command -v bash
    need zsh zsh command -v zsh
    need fish fish command -v fish
    need python3 'Python 3' command -v python3
}

need_for_interop()
{
    need python3-venv 'Python virtual environments' "${PYTHON:-python3}" -c 'import ensurepip, venv'
    # The reference is Debian's torch 1.13, which only Debian's own Python sees.
    need python3-venv 'virtual environments of /usr/bin/python3' /usr/bin/python3 -c 'import ensurepip, venv'
    need python3-torch 'torch for /usr/bin/python3' /usr/bin/python3 -c 'import torch'
    # What people pack deltas with.
    need zip zip command -v zip
    need p7zip-full 7z command -v 7z
    need libarchive-tools bsdtar command -v bsdtar
    # What pages of --report are looked at in, with a font that has their signs.
    need chromium 'the browser Chromium' command -v chromium
    need fonts-dejavu-core 'the fonts DejaVu' test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
}

# The runtime of the sanitizers has the version of clang in its name.
clang_runtime()
{
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/^  Depends: clang-\([0-9]*\)$/\1/p')
    printf 'libclang-rt-%s-dev\n' "${version:-14}"
}

# .clang-format may have options that the default clang-format does not know.
formats()
{
    for tool in clang-format clang-format-19 clang-format-16 clang-format-15; do
        "$tool" --dump-config && return 0
    done
    return 1
}

new_clang_format()
{
    for version in 19 16 15; do
        if [ -n "$(apt-cache search --names-only "^clang-format-$version\$" 2>/dev/null)" ]; then
            printf 'clang-format-%s\n' "$version"
            return
        fi
    done
    echo clang-format
}

clang_sanitizes()
{
    out=$(mktemp) &&
        printf 'int main(void) { return 0; }\n' | clang -fsanitize=address,undefined,fuzzer-no-link -x c -o "$out" -
    result=$?
    rm -f "$out"
    return "$result"
}

is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

need_for_aarch64()
{
    need qemu-user 'qemu-user for aarch64' command -v qemu-aarch64
    need 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' 'a compiler for aarch64' command -v aarch64-linux-gnu-gcc
    if [ "$(dpkg --print-architecture 2>/dev/null)" != arm64 ]; then
        for library in libcjson-dev libssl-dev zlib1g-dev; do
            need "$library:arm64" "$library for aarch64" is_installed "$library:arm64"
        done
    fi
}

need_for_static()
{
    need strace strace command -v strace
    need openssl 'the openssl command' command -v openssl
    need file 'the command file' command -v file
    # The source of cJSON, of which there is no static library.
    need dpkg-dev 'dpkg-source' command -v dpkg-source
    need qemu-user 'qemu-user for x86-64' command -v qemu-x86_64
    need debootstrap debootstrap command -v debootstrap
}

need_for_slurm()
{
    # Daemons are in directories that not everybody has in PATH.
    PATH=$PATH:/usr/sbin:/sbin
    need slurm-wlm 'the daemons of Slurm' command -v slurmctld
    need slurm-wlm 'the daemons of Slurm' command -v slurmd
    need slurm-client 'the commands of Slurm' command -v sbatch
    need munge munge command -v munged
    # Several hosts that share a directory.
    need iproute2 ip command -v ip
    need sshfs sshfs command -v sshfs
    need socat socat command -v socat
    need openssh-sftp-server sftp-server test -x /usr/lib/openssh/sftp-server
}

need_for_packaging()
{
    need dpkg-dev dpkg-buildpackage command -v dpkg-buildpackage
    need debhelper debhelper command -v dh
    need lintian lintian command -v lintian
    need python3-venv 'Python virtual environments' "${PYTHON:-python3}" -c 'import ensurepip, venv'
    need 'python3-yaml python3-jinja2' 'YAML and Jinja for /usr/bin/python3' /usr/bin/python3 -c 'import jinja2, yaml'
    # What Lmod and Environment Modules run with. They cannot both be installed: the test unpacks them.
    need tcl Tcl command -v tclsh
    for library in lua5.3 lua-posix lua-filesystem lua-term lua-json; do
        need "$library" "$library" is_installed "$library"
    done
}

need_for_ci()
{
    for tool in clang clang-tidy cppcheck shellcheck valgrind; do
        need "$tool" "$tool" command -v "$tool"
    done
    need "$(new_clang_format)" 'a clang-format that knows .clang-format' formats
    need "$(clang_runtime)" "clang's sanitizers" clang_sanitizes
    need afl++ 'AFL++ with its compiler' command -v afl-clang-fast
}

install_packages()
{
    export DEBIAN_FRONTEND=noninteractive
    case $packages in
    *:arm64*) dpkg --add-architecture arm64 || return 1 ;;
    esac
    apt-get update -q -o DPkg::Lock::Timeout=300 ||
        echo 'install_deps.sh: apt-get update failed; trying all the same' >&2
    # Whatever another architecture's libraries ask for, nothing that is here may go.
    # shellcheck disable=SC2086
    apt-get install -y -q --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 $packages
}

look()
{
    packages=
    things=
    case $1 in
    build)
        need_to_build
        ;;
    check)
        need_to_build
        need_to_check
        ;;
    shells)
        need_to_build
        need_for_shells
        ;;
    interop)
        need_to_build
        need_for_interop
        ;;
    aarch64)
        need_to_build
        need_for_aarch64
        ;;
    static)
        need_to_build
        need_for_aarch64
        need_for_static
        ;;
    slurm)
        need_to_build
        need_to_check
        need_for_slurm
        ;;
    packaging)
        need_to_build
        need_for_packaging
        ;;
    ci)
        need_to_build
        need_to_check
        need_for_aarch64
        need_for_ci
        ;;
    *)
        echo 'usage: install_deps.sh build|check|shells|interop|aarch64|static|packaging|slurm|ci' >&2
        exit 2
        ;;
    esac
    [ -z "$packages" ]
}

what=${1:-}
look "$what" && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "install_deps.sh: installing$packages" >&2
    if install_packages >&2; then
        # A Python that sees no more than before, a header that is still not found: better known now than later.
        look "$what" && exit 0
    fi
fi
echo "install_deps.sh: missing: ${things#, }" >&2
if command -v apt-get >/dev/null; then
    case $packages in
    *:arm64*) echo 'install_deps.sh: install it: dpkg --add-architecture arm64 && apt-get update &&' >&2 ;;
    esac
    echo "install_deps.sh: install it: apt-get install$packages" >&2
else
    echo "install_deps.sh: install these (Debian calls them:$packages)" >&2
fi
exit 1
