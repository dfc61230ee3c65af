#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh: the main job on a synthetic model of tens of MB, and the proof that its result is right. Called by
# `make demo`, which has built everything; alone it builds first. Leaves nothing behind.
set -eu

cd "$(dirname "$0")/../.."
build=${BUILD:-build}
if [ ! -x "$build/llavamed-apply" ] || [ ! -x "$build/tools/synth" ]; then
    tests/tools/install_deps.sh build
    ${MAKE:-make} --no-print-directory BUILD="$build" all tools
fi
apply=$(cd "$build" && pwd)/llavamed-apply
synth=$(cd "$build" && pwd)/tools/synth

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$scratch"
# A small model with everything that the real one has: LLaMA's tensors, four new tokens, a projector, several shards.
model='--scale 0.003'
options='--base base --delta delta --out merged --max-shard-size 25MB'

say()
{
    printf '\n==== %s\n' "$*"
}

say 'A synthetic base and its delta'
# shellcheck disable=SC2086
"$synth" $model --max-shard-size 25MB --out .
ls -sh base delta

say "The plan: llavamed-apply $options --dry-run"
# shellcheck disable=SC2086
"$apply" $options --dry-run

say "The merge: llavamed-apply $options"
# shellcheck disable=SC2086
"$apply" $options

say 'The result'
ls -lh merged
printf '\nllavamed-manifest.json begins:\n'
head -n 12 merged/llavamed-manifest.json

say 'Its files: sha256sum -c SHA256SUMS'
(cd merged && sha256sum -c SHA256SUMS)

say 'Its values: made again from the seed, base + delta, bit by bit'
# shellcheck disable=SC2086
"$synth" $model --check merged

say "done; $scratch is removed"
