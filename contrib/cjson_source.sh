#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cjson_source.sh DIR
# Leaves cJSON.c and cJSON.h in DIR, for `make static`: Debian and Ubuntu package no static library of cJSON. They are
# those of the distribution's own source package, its security fixes applied, which apt finds where the binary package
# comes from and whose signature it checks. Needs no root; changes nothing of the system. Elsewhere: unpack cJSON
# yourself, and `make static CJSON=DIR`.
set -eu

out=$1
fail()
{
    echo "cjson_source.sh: error: $1" >&2
    echo 'cjson_source.sh: hint: make static CJSON=DIR, where DIR holds cJSON.c and cJSON.h of cJSON 1.7' >&2
    exit 1
}

for tool in apt-get dpkg-source; do
    command -v "$tool" >/dev/null || fail "no $tool here to get the source of cJSON with"
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# "500 URI SUITE/COMPONENT ARCHITECTURE Packages", for each place that has the binary package
LC_ALL=C apt-cache policy libcjson-dev |
    sed -nE 's#^ +-?[0-9]+ ([^ ]+) ([^ ]+)/([^ /]+) [^ ]+ Packages$#deb-src \1 \2 \3#p' |
    sort -u >"$scratch/sources.list"
[ -s "$scratch/sources.list" ] || fail 'apt knows no place that has libcjson-dev (apt-get update?)'

mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/source"
get()
{
    apt-get -q -o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User= \
        -o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=- "$@"
}
get update >&2 || fail "apt-get update failed for: $(cat "$scratch/sources.list")"
(cd "$scratch/source" && get source cjson >&2) || fail 'apt-get source cjson failed'
mkdir -p "$out"
cp "$scratch"/source/cjson-*/cJSON.h "$scratch"/source/cjson-*/cJSON.c "$out/" || fail 'the source holds no cJSON.c'
