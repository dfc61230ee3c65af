#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh: `make check-install`. Installs what is built below a directory of its own, holds what is there against what
# should be, uses the library as somebody else's program would, and uninstalls. Needs no root. Seconds.
# Ends with "N passed, N failed"; what could not be run is named before.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export LC_ALL=C
build=$(cd "${BUILD:-build}" && pwd) || exit 1
make=${MAKE:-make}
export CC=${CC:-cc}
here=tests/install
data=tests/data/cli
. tests/install/lib.sh
programs='llavamed-apply llavamed-inspect llavamed-make-delta llavamed-verify'
version=$(sed -n 's/^#define LLAVAMED_VERSION "\(.*\)"$/\1/p' include/llavamed.h)

# What this run was called with (CFLAGS...) reaches make through its own variables; places are given anew.
run_make()
{
    $make --no-print-directory -s "BUILD=$build" "$@"
}

# files_of DIRECTORY: all files and links below it, and with them nothing of how they came there
files_of()
{
    (cd "$1" && find . ! -type d | sort)
}

# ---- Where things go

prefix="$scratch/a prefix"
installs()
{
    # Whoever is at work keeps files to himself; what is installed is for all.
    (umask 077 && run_make install "PREFIX=$prefix") || return 1
    local name
    for name in $programs; do
        [ "$(stat -c %a "$prefix/bin/$name")" = 755 ] || return 1
        [ "$("$prefix/bin/$name" --version | head -n 1)" = "$name $version" ] || return 1
    done
    for name in include/llavamed.h include/llavamed_diff.h include/llavamed_reports.h lib/libllavamed.a \
        lib/pkgconfig/llavamed.pc share/doc/llavamed-apply/LICENSE share/doc/llavamed-apply/NOTICE-research-only.md \
        share/doc/llavamed-apply/README.md share/doc/llavamed-apply/docs/api.md \
        share/doc/llavamed-apply/docs/examples/merge.c "share/modulefiles/llavamed-apply/$version.lua" \
        "share/modulefiles/llavamed-apply/$version"; do
        [ "$(stat -c %a "$prefix/$name")" = 644 ] || return 1
    done
    [ "$(readlink "$prefix/lib/libllavamed.so")" = libllavamed.so.0 ] || return 1
    [ "$(readlink "$prefix/lib/libllavamed.so.0")" = "libllavamed.so.$version" ] || return 1
    # Directories are for all, too.
    [ -z "$(find "$prefix" -type d ! -perm 755)" ]
}
check 'make install PREFIX=DIR, a path with a space, umask 077' installs

# Pages and completions come with the files that are in the source.
installs_what_is_there()
{
    local page n=0
    for page in docs/man/*.[1-8]; do
        [ -f "$page" ] || continue
        cmp "$page" "$prefix/share/man/man${page##*.}/${page##*/}" || return 1
        n=$((n + 1))
    done
    [ "$n" -eq "$(find "$prefix/share" -path '*/man/man[1-8]/*' -type f | wc -l)" ] || return 1
    local program
    for program in $programs; do
        [ ! -f contrib/completions/llavamed.bash ] ||
            cmp contrib/completions/llavamed.bash "$prefix/share/bash-completion/completions/$program" || return 1
        [ ! -f contrib/completions/llavamed.fish ] ||
            cmp contrib/completions/llavamed.fish "$prefix/share/fish/vendor_completions.d/$program.fish" || return 1
    done
    [ ! -f contrib/completions/_llavamed ] ||
        cmp contrib/completions/_llavamed "$prefix/share/zsh/site-functions/_llavamed"
}
check 'pages and completions' installs_what_is_there

lists()
{
    run_make install-list "PREFIX=$prefix" | sed "s|^$prefix|.|" | sort >"$scratch/listed" || return 1
    files_of "$prefix" | diff "$scratch/listed" - || return 1
    [ "$(sort -u "$scratch/listed" | wc -l)" -eq "$(wc -l <"$scratch/listed")" ]
}
check 'make install-list names what is there' lists

stages()
{
    local stage=$scratch/stage
    run_make install "DESTDIR=$stage" PREFIX=/usr LIBDIR=/usr/lib/machine MANDIR=/pages BINDIR=/programs \
        INCLUDEDIR=/usr/include/llavamed DATADIR=/data || return 1
    [ -x "$stage/programs/llavamed-apply" ] && [ -f "$stage/usr/lib/machine/libllavamed.so.$version" ] &&
        [ -f "$stage/usr/include/llavamed/llavamed.h" ] && [ -f "$stage/data/doc/llavamed-apply/LICENSE" ] || return 1
    # Nothing in the files tells of the stage, the places are those that will be.
    ! grep -rIl "$scratch" "$stage" || return 1
    local pc=$stage/usr/lib/machine/pkgconfig/llavamed.pc
    # shellcheck disable=SC2016
    grep -qx 'prefix=/usr' "$pc" && grep -Fqx 'libdir=${prefix}/lib/machine' "$pc" || return 1
    grep -q 'prepend_path("PATH", "/programs")' "$stage/data/modulefiles/llavamed-apply/$version.lua" || return 1
    run_make uninstall "DESTDIR=$stage" PREFIX=/usr LIBDIR=/usr/lib/machine MANDIR=/pages BINDIR=/programs \
        INCLUDEDIR=/usr/include/llavamed DATADIR=/data || return 1
    [ -z "$(files_of "$stage")" ]
}
check 'DESTDIR, and each directory elsewhere' stages

refuses_relative()
{
    ! run_make install PREFIX=somewhere || return 1
    [ ! -e somewhere ]
}
check 'a relative PREFIX is refused' refuses_relative

# ---- What the library exports

shared="$prefix/lib/libllavamed.so"
python3 -B $here/abi.py functions >"$scratch/functions" || exit 1

exports()
{
    nm -D --defined-only "$shared" | sed 's/^[0-9a-f]* //' | sort >"$scratch/exported" || return 1
    sed 's/^/T /' "$scratch/functions" | diff - "$scratch/exported"
}
check 'the shared library exports the functions of the headers, and nothing else' exports

exports_static()
{
    nm --defined-only --extern-only "$prefix/lib/libllavamed.a" | sed -n 's/^[0-9a-f]* //p' | sort >"$scratch/global"
    sed 's/^/T /' "$scratch/functions" | diff - "$scratch/global"
}
check 'so does the static library' exports_static

is_protected()
{
    readelf -Wd "$shared" | tee "$scratch/dynamic" || return 1
    grep -Eq 'SONAME.*\[libllavamed\.so\.0\]' "$scratch/dynamic" || return 1
    grep -Eq 'BIND_NOW|Flags:.* NOW' "$scratch/dynamic" || return 1
    ! grep -Eq 'RPATH|RUNPATH|TEXTREL' "$scratch/dynamic" || return 1
    readelf -Wl "$shared" | tee "$scratch/segments" || return 1
    grep -Eq '^ *GNU_RELRO ' "$scratch/segments" && grep -Eq '^ *GNU_STACK .* RW +0x' "$scratch/segments" &&
        ! grep -Eq '^ *LOAD .* RWE ' "$scratch/segments"
}
check 'its soname, and how it is protected' is_protected

has_layout()
{
    python3 -B $here/abi.py layout | diff $here/abi-0.txt - && return 0
    echo 'structs or enumerators are not those that programs with libllavamed.so.0 were built for: see docs/api.md'
    return 1
}
check 'sizes, offsets and values are the recorded ones' has_layout

# ---- Programs that use it

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
"$prefix/bin/llavamed-apply" --base $data/base --delta $data/delta --out "$scratch/want" -q >"$scratch/log" 2>&1 ||
    cat "$scratch/log"

# build_example STATIC-OPTION SED-SCRIPT NAME: as the example's own comment says
build_example()
{
    local flags
    # shellcheck disable=SC2086 # no option, or one
    flags=$(pkg-config --cflags $1 --libs llavamed | sed "$2") || return 1
    eval "$CC -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE docs/examples/merge.c $flags -o '$scratch/$3'"
}

# example_merges NAME: it makes the bytes of the program, says so, and fails as the program fails
example_merges()
{
    local out=$scratch/$1.out
    "$scratch/$1" $data/base $data/delta "$out" >"$scratch/stdout" 2>"$scratch/stderr" || return 1
    diff -r "$scratch/want" "$out" || return 1
    sed -n 's/^\([0-9a-f]*  model.*\)$/\1/p' "$scratch/stdout" >"$scratch/sums"
    [ -s "$scratch/sums" ] && grep -Fxf "$scratch/sums" "$out/SHA256SUMS" || return 1
    grep -q '^merging: 100 %$' "$scratch/stderr" && grep -q '^warning: ' "$scratch/stderr" || return 1
    "$scratch/$1" $data/base-wrong $data/delta "$out.2" >"$scratch/stdout" 2>"$scratch/stderr"
    [ $? -eq 4 ] && grep -q '^error (PAIR_' "$scratch/stderr" && [ ! -e "$out.2" ]
}

with_shared()
{
    build_example '' '' shared || return 1
    readelf -Wd "$scratch/shared" | grep -Eq 'NEEDED.*\[libllavamed\.so\.0\]' || return 1
    LD_LIBRARY_PATH="$prefix/lib" example_merges shared
}
check 'docs/examples/merge.c with the shared library' with_shared

with_static()
{
    build_example --static 's/-lllavamed/-l:libllavamed.a/' static || return 1
    ! readelf -Wd "$scratch/static" | grep libllavamed || return 1
    example_merges static
}
check 'docs/examples/merge.c with the static library' with_static

# A name that the library has inside is free for a program's own function.
keeps_names()
{
    printf '%s\n' '#include <llavamed.h>' '#include <llavamed_diff.h>' '#include <llavamed_reports.h>' \
        'int source_open(void); int source_open(void) { return 0; }' \
        'int main(void) { return source_open() + (llavamed_version()[0] == 0); }' >"$scratch/names.c"
    nm "$build"/obj/*/libllavamed.a 2>/dev/null | grep -q ' T source_open$' || return 1
    eval "$CC '$scratch/names.c' $(pkg-config --cflags --static --libs llavamed |
        sed 's/-lllavamed/-l:libllavamed.a/') -o '$scratch/names'" && "$scratch/names"
}
check 'its own names are not in the way of a program' keeps_names

headers_in_cxx()
{
    printf '%s\n' '#include <llavamed.h>' '#include <llavamed_diff.h>' '#include <llavamed_reports.h>' \
        'int main() { llavamed_settings s; llavamed_settings_init(&s); return s.reserved[0] != 0; }' \
        >"$scratch/names.cc"
    eval "$1 -Wall -Wextra -Werror '$scratch/names.cc' $(pkg-config --cflags --libs llavamed) \
        -o '$scratch/names-cxx'" &&
        LD_LIBRARY_PATH="$prefix/lib" "$scratch/names-cxx"
}
cxx=$(command -v "${CXX:-g++}" || command -v clang++)
if [ -n "$cxx" ]; then
    check 'the headers in C++' headers_in_cxx "$cxx"
else
    not_run 'the headers in C++' 'no C++ compiler here (g++, clang++, CXX)'
fi

# ---- And away again

uninstalls()
{
    local mine
    for mine in bin/mine lib/libmine.so include/mine.h share/doc/mine; do
        echo mine >"$prefix/$mine"
    done
    run_make uninstall "PREFIX=$prefix" || return 1
    files_of "$prefix" | tee "$scratch/left"
    printf './%s\n' bin/mine include/mine.h lib/libmine.so share/doc/mine | diff - "$scratch/left" || return 1
    [ ! -e "$prefix/share/doc/llavamed-apply" ] && [ ! -e "$prefix/share/modulefiles/llavamed-apply" ] || return 1
    # What is gone already is nothing to complain of.
    run_make uninstall "PREFIX=$prefix"
}
check 'make uninstall takes its own files, and no other' uninstalls

tests/count.sh tests/install/run.sh "$passed" "$failed"
counted
