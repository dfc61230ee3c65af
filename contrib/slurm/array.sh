#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One part of a merge for each task of a job array. BASE, DELTA and OUT come from the environment; submit.sh submits
# this with finish.sh behind it. Any task may be killed, requeued or run again, on any node, at any time.
#
#SBATCH --job-name=llavamed-part
#SBATCH --array=1-4
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=1G
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.out
#SBATCH --signal=B:USR1@120
set -u

: "${BASE:?}" "${DELTA:?}" "${OUT:?}"
APPLY=${LLAVAMED_APPLY:-llavamed-apply}
# One word for each option, in LLAVAMED_OPTIONS: they must be the same for all parts.
read -r -a options <<<"${LLAVAMED_OPTIONS:-}"

# A task that was put back after the last part had published OUT has nothing left to do.
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -e "$OUT/llavamed-manifest.json" ] && [ ! -e "$OUT.partial" ]; then
    exit 0
fi

# Two minutes before the time limit this shell gets USR1, and the program is to stop: what it has written is kept.
program='' signalled='' again=''
# shellcheck disable=SC2317
stop()
{
    signalled=1
    [ -z "$program" ] || kill -USR1 "$program" 2>/dev/null
}
trap 'again=1; stop' USR1
trap stop TERM # cancelled; or preempted or out of time, where Slurm itself decides whether the job comes again

"$APPLY" --base "$BASE" --delta "$DELTA" --out "$OUT" --part auto ${options[@]+"${options[@]}"} &
program=$!
[ -z "$signalled" ] || stop
wait "$program"
status=$?
while [ -n "$signalled" ]; do # a signal has ended the wait, not the program
    signalled=
    wait "$program"
    status=$?
done

# Stopped part-way (docs/batch.md): the same task goes on where it stopped.
# After a restart 5 may be that the run before, which died with its node, counts as alive for two minutes more.
restarts=${SLURM_RESTART_COUNT:-0}
if [ "$status" -eq 6 ] || { [ "$status" -eq 5 ] && [ "$restarts" -gt 0 ]; } ||
    { [ "$status" -gt 128 ] && [ -n "$again" ]; }; then
    if [ "$restarts" -lt "${LLAVAMED_RESTARTS:-10}" ]; then
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" && exit "$status"
    fi
fi
exit "$status"
