#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A whole merge on one node, and its verification: BASE=... DELTA=... OUT=... sbatch node.sh
# Where the time is too short, or the job is preempted, it is requeued and goes on where it stopped.
#
#SBATCH --job-name=llavamed
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=1G
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
#SBATCH --signal=B:USR1@120
set -u

: "${BASE:?}" "${DELTA:?}" "${OUT:?}"
VERIFY=${LLAVAMED_VERIFY:-llavamed-verify}
read -r -a options <<<"${LLAVAMED_OPTIONS:-}"

# A job that was requeued after its OUT had been published has nothing left to do.
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -e "$OUT/llavamed-manifest.json" ] && [ ! -e "$OUT.partial" ]; then
    exec "$VERIFY" "$OUT"
fi

program='' signalled='' again=''
# shellcheck disable=SC2317
stop()
{
    signalled=1
    [ -z "$program" ] || kill -USR1 "$program" 2>/dev/null
}
trap 'again=1; stop' USR1
trap stop TERM # cancelled; or preempted or out of time, where Slurm itself decides whether the job comes again

"${LLAVAMED_APPLY:-llavamed-apply}" --base "$BASE" --delta "$DELTA" --out "$OUT" ${options[@]+"${options[@]}"} &
program=$!
[ -z "$signalled" ] || stop
wait "$program"
status=$?
while [ -n "$signalled" ]; do # a signal has ended the wait, not the program
    signalled=
    wait "$program"
    status=$?
done

# Stopped part-way (docs/batch.md): the same job goes on where it stopped.
# After a restart 5 may be that the run before, which died with its node, counts as alive for two minutes more.
restarts=${SLURM_RESTART_COUNT:-0}
if [ "$status" -eq 6 ] || { [ "$status" -eq 5 ] && [ "$restarts" -gt 0 ]; } ||
    { [ "$status" -gt 128 ] && [ -n "$again" ]; }; then
    if [ "$restarts" -lt "${LLAVAMED_RESTARTS:-10}" ]; then
        scontrol requeue "$SLURM_JOB_ID" && exit "$status"
    fi
fi
[ "$status" -eq 0 ] && exec "$VERIFY" "$OUT"
exit "$status"
