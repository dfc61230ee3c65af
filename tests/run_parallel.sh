#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_parallel.sh COMMAND NAME...
# Runs `COMMAND NAME` for every NAME, JOBS at a time (one per processor), and shows the output of each whole, in the
# order in which they end. COMMAND is split at spaces. Exit status 1 when any failed.
# (By xargs, whose children can be interrupted: a shell has what it starts with & ignore SIGINT, and tests send it.)
set -u

command=$1
shift
[ "$#" -gt 0 ] || exit 1
PARALLEL_SCRATCH=$(mktemp -d) || exit 1
export PARALLEL_SCRATCH
trap 'rm -rf "$PARALLEL_SCRATCH"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck disable=SC2016,SC2086
printf '%s\n' "$@" | xargs -d '\n' -n 1 -P "${JOBS:-$(nproc)}" sh -c '
    log=$PARALLEL_SCRATCH/$$
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    flock "$PARALLEL_SCRATCH" cat "$log"
    rm -f "$log"
    [ "$status" -eq 0 ]' run_parallel $command
