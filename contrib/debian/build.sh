#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh [OUT]
# Builds the Debian packages of this source in a copy of it, where debian/ is at the top as dpkg-buildpackage wants it,
# and leaves them in OUT (build/debian). Needs no root, and what debian/control names: dpkg-buildpackage says what is
# missing. DEB_BUILD_OPTIONS as usual (nocheck, parallel=N).
set -eu

out=${1:-}
cd "$(dirname "$0")/../.."
out=${out:-build/debian}
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What is tracked, or would be; without git all but what was built.
if git rev-parse >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
        [ ! -e "$file" ] || printf '%s\n' "$file"
    done >"$scratch/files"
else
    find . \( -name build -o -name .git \) -prune -o \( -type f -o -type l \) -print >"$scratch/files"
fi
tree=$scratch/llavamed-apply
mkdir "$tree"
tar -cf "$scratch/tree.tar" -T "$scratch/files"
tar -xf "$scratch/tree.tar" -C "$tree"
cp -r contrib/debian "$tree/debian"
rm "$tree/debian/build.sh"

# The version is the program's.
version=$(sed -n 's/^#define LLAVAMED_VERSION "\(.*\)"$/\1/p' include/llavamed.h)
sed -i "1s/(.*)/($version)/" "$tree/debian/changelog"

cd "$tree"
dpkg-buildpackage -us -uc -b
cp "$scratch"/*.deb "$scratch"/*.buildinfo "$scratch"/*.changes "$out/"
