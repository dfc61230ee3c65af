#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# packaging.sh: `make check-packaging`. What contrib/ has for packages, containers and modules: each is built, or at
# least read, by its own tool where there is one; what its own tool does not do here is named with the reason, and
# looked at by other means (tests/install/recipes.py).
# Ends with "N passed, N failed"; what could not be run is named before.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export LC_ALL=C BUILD=${BUILD:-build} PYTHONDONTWRITEBYTECODE=1
make=${MAKE:-make}
mkdir -p "$BUILD"
build=$(cd "$BUILD" && pwd) || exit 1
data=$PWD/tests/data/cli
. tests/install/lib.sh
programs='llavamed-apply llavamed-inspect llavamed-make-delta llavamed-verify'
version=$(sed -n 's/^#define LLAVAMED_VERSION "\(.*\)"$/\1/p' include/llavamed.h)
export jobs
jobs=$(nproc)

# merges PROGRAM: the fixtures, as they should be
merges()
{
    local out=$scratch/merged
    rm -rf "$out"
    "$1" --base "$data/base" --delta "$data/delta" --out "$out" -q && (cd "$out" && sha256sum --quiet -c SHA256SUMS)
}

# ---- Debian

debs=$scratch/debs
debian_builds()
{
    DEB_BUILD_OPTIONS="noautodbgsym parallel=$jobs" contrib/debian/build.sh "$debs"
}

# What is in each, by what dpkg says of it.
debian_holds()
{
    local deb root=$scratch/root
    for deb in llavamed-apply libllavamed0 libllavamed-dev; do
        [ "$(dpkg-deb -f "$debs/$deb"_*.deb Version)" = "$version" ] && dpkg -x "$debs/$deb"_*.deb "$root" || return 1
        dpkg-deb -f "$debs/$deb"_*.deb Package Depends
    done
    for deb in libc6 libcjson1 libssl3 zlib1g; do
        dpkg-deb -f "$debs"/llavamed-apply_*.deb Depends | grep -qw "$deb" || return 1
    done
    dpkg-deb -f "$debs"/libllavamed-dev_*.deb Depends | grep -qw 'libllavamed0' || return 1
    for deb in $programs; do
        [ -x "$root/usr/bin/$deb" ] || return 1
    done
    merges "$root/usr/bin/llavamed-apply"
}

debian_serves()
{
    local root=$scratch/root lib
    lib=$(cd "$root/usr/lib" && echo */libllavamed.so) && lib=$root/usr/lib/${lib%/*}
    export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$lib/pkgconfig
    eval "cc docs/examples/merge.c $(pkg-config --cflags --libs llavamed) -o $scratch/example" || return 1
    rm -rf "$scratch/out"
    LD_LIBRARY_PATH=$lib "$scratch/example" "$data/base" "$data/delta" "$scratch/out" &&
        diff -r "$scratch/merged" "$scratch/out"
}

if command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then
    check 'Debian packages are built, and tested there' debian_builds
    check 'they hold what they should, and depend on what they need' debian_holds
    check 'a program is built with them' debian_serves
    if command -v lintian >/dev/null; then
        # It is no upload to Debian.
        suppressed=initial-upload-closes-no-bugs
        [ -d docs/man ] || suppressed=$suppressed,no-manual-page
        check 'lintian has no error and no warning' lintian --allow-root --fail-on error,warning \
            --suppress-tags "$suppressed" "$debs"/llavamed-apply_*.changes
    else
        missing lintian 'it is not here'
    fi
else
    missing 'Debian packages' 'no dpkg-buildpackage or no debhelper here'
fi

# ---- Modules

# shellcheck disable=SC2086 # a list of words
check 'a place to load modules from' $make --no-print-directory -s install "PREFIX=$scratch/prefix" "BUILD=$BUILD"

# unpacked PACKAGE: prints where a Debian package is unpacked: lmod and environment-modules cannot both be installed
unpacked()
{
    local place=$build/packaging/$1
    if [ ! -d "$place" ]; then
        rm -rf "$place.new"
        mkdir -p "$place.new" && (cd "$place.new" && apt-get download -q "$1" >&2 && dpkg -x "$1"_*.deb . >&2) &&
            mv "$place.new" "$place" || return 1
    fi
    printf '%s\n' "$place"
}

# loads MODULECMD...: MODULECMD bash load and unload, as module() of a shell has it evaluated
loads()
{
    # Lmod leaves out what is there twice.
    PATH=/usr/bin:/bin
    export MODULEPATH=$scratch/prefix/share/modulefiles
    "$@" bash whatis llavamed-apply 2>&1 | tee "$scratch/whatis"
    grep -q "$version" "$scratch/whatis" && grep -q 'delta weights' "$scratch/whatis" || return 1
    "$@" bash help llavamed-apply 2>&1 | tee "$scratch/help"
    grep -q 'for research only' "$scratch/help" || return 1
    "$@" bash load llavamed-apply | tee "$scratch/load"
    eval "$(cat "$scratch/load")"
    [ "$(command -v llavamed-apply)" = "$scratch/prefix/bin/llavamed-apply" ] || return 1
    [ "$LLAVAMED_ROOT" = "$scratch/prefix" ] && [ "$(pkg-config --modversion llavamed)" = "$version" ] || return 1
    merges llavamed-apply || return 1
    eval "$("$@" bash unload llavamed-apply)"
    [ "$PATH" = /usr/bin:/bin ] && [ -z "${LLAVAMED_ROOT:-}" ] && [ -z "${LD_LIBRARY_PATH:-}" ]
}
# In a shell of its own, which forgets what was loaded.
loads_apart() { (loads "$@"); }

lmod=
if command -v lua5.3 >/dev/null && lmod=$(unpacked lmod); then
    export LMOD_DIR=$lmod/usr/share/lmod/lmod/libexec
    check 'Lmod loads and unloads the module' loads_apart lua5.3 "$LMOD_DIR/lmod"
else
    missing 'Lmod' "no lua5.3, or Debian's package lmod is not to be had"
fi
if command -v tclsh >/dev/null && modules=$(unpacked environment-modules); then
    check 'Environment Modules load and unload the module' \
        loads_apart tclsh "$(find "$modules/usr" -name modulecmd.tcl | head -n 1)"
else
    missing 'Environment Modules' "no tclsh, or Debian's package environment-modules is not to be had"
fi

# ---- Recipes

recipes()
{
    PYTHONPATH='' /usr/bin/python3 -B tests/install/recipes.py "$@"
}

spack_builds()
{
    spack repo add contrib/spack && spack spec llavamed-apply && spack install --fail-fast llavamed-apply
}
if command -v spack >/dev/null; then
    check 'Spack installs its recipe' spack_builds
else
    not_run 'Spack itself' 'it is in no package of Debian or of Python; its recipe is run with a stand-in'
fi
check "the Spack recipe's steps" recipes spack contrib/spack/packages/llavamed-apply/package.py "$scratch/spack"

if command -v conda-build >/dev/null; then
    check 'conda builds its recipe' conda-build contrib/conda
else
    not_run 'conda itself' 'conda-build is in no package of Debian or of Python; its recipe is read by Jinja and YAML'
fi
check 'the conda recipe' recipes conda contrib/conda/meta.yaml
conda_steps()
{
    PREFIX=$scratch/conda CPU_COUNT=$jobs sh contrib/conda/build.sh && merges "$scratch/conda/bin/llavamed-apply"
}
check "the conda recipe's build.sh" conda_steps

apptainer=$(command -v apptainer || command -v singularity)
if [ -n "$apptainer" ]; then
    check 'Apptainer builds its image' "$apptainer" build "$scratch/image.sif" contrib/apptainer/llavamed-apply.def
else
    not_run 'Apptainer itself' 'no package of it here, and no registry of images to start from'
fi
venv=$build/venv-packaging
if [ -x "$venv/bin/spython" ] || { python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet \
    --disable-pip-version-check spython==0.3.14; } >"$scratch/log" 2>&1; then
    check 'Singularity Python reads the definition' \
        "$venv/bin/python" -B tests/install/recipes.py apptainer contrib/apptainer/llavamed-apply.def
else
    missing 'Singularity Python' "pip does not bring it: $(tail -n 1 "$scratch/log")"
fi

counted
