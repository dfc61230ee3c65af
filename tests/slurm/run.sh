#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [PATTERN...]
# contrib/slurm against a real Slurm that runs as long as this does (cluster.sh): single node, arrays of 1, 4 and 9,
# tasks that are cancelled, meet their time limit, are requeued, are preempted, a node that goes down. In each case what
# is published is what one run makes. A shim that slows writes (throttle.c) makes jobs last. The tests run all at a
# time, as their jobs share the nodes; those whose name matches a PATTERN when there are any. Needs slurm-wlm and munge;
# $BUILD (build) with the programs, tools and slurm/throttle.so. Parts on several hosts are in hosts.sh, beside it all.
# Ends with what could not be run here, and "N passed, N failed".
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$root/$BUILD
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
unset "${!SLURM_@}" "${!SBATCH_@}"
# shellcheck source=tests/slurm/cluster.sh
. "$here/cluster.sh"

# Short: sockets have paths of at most 107 bytes.
SCRATCH=$(mktemp -d "/tmp/llavamed-slurm-XXXXXX") || exit 1
chmod 755 "$SCRATCH"
stop()
{
    cluster_stop
    if [ "${KEEP:-}" = 1 ]; then
        echo "run.sh: kept $SCRATCH" >&2
    else
        rm -rf "$SCRATCH"
    fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- What tests call ------------------------------------------------------------------------------------------------

# check TEXT COMMAND...: it succeeds
check()
{
    local text=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "$text" >>"$RESULT.ok"
    else
        echo "  $text" >>"$RESULT.bad"
    fi
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for()
{
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.5
    done
}

# value JOB FIELD: what scontrol says of a job or an array's task
value()
{
    scontrol -o show job "$1" 2>/dev/null | head -n 1 | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}

state_is()
{
    [[ " $2 " == *" $(value "$1" JobState) "* ]]
}

# ended JOB: no task of it is to come or at work
ended()
{
    ! scontrol -o show job "$1" 2>/dev/null | grep -Eq 'JobState=(PENDING|RUNNING|COMPLETING|REQUEUED|SUSPENDED)'
}

# is_written OUT: some tiles are in the partial directory
is_written()
{
    [ -n "$(find "$1.partial" -name '*journal*' -size +0 2>/dev/null)" ]
}

submit_node()
{
    BASE=$SCRATCH/m/base DELTA=$SCRATCH/m/delta OUT=$PWD/out sbatch --parsable --export=ALL --cpus-per-task=1 \
        "$@" "$root/contrib/slurm/node.sh"
}

# submit PARTS OPTION...: sets array and finish
submit()
{
    local parts=$1
    shift
    read -r array finish < <("$root/contrib/slurm/submit.sh" "$parts" "$SCRATCH/m/base" "$SCRATCH/m/delta" "$PWD/out" \
        --export=ALL --cpus-per-task=1 "$@" | sed 's/parts: \([0-9]*\), finish: \([0-9]*\)/\1 \2/')
    [ -n "${finish:-}" ]
}

# The same bytes as of one run, nothing beside them, and no meter in what the jobs printed.
check_published()
{
    check 'OUT is that of one run' cmp "$SCRATCH/sums" <(cd out && sha256sum -- *)
    check 'SHA256SUMS holds' bash -c 'cd out && sha256sum --quiet -c SHA256SUMS'
    check "nothing is left beside OUT" test "$(find . -maxdepth 1 -name 'out*' | wc -l)" = 1
    check 'no carriage return in what jobs print' bash -c "! grep -q $'\r' ./*-*.out"
}

# slowly SECONDS PARTS OPTIONS: in jobs that are submitted from here on, each of as many parts takes so long to write
slowly()
{
    export THROTTLE_BYTES_PER_SECOND=$(($1 == 0 ? 0 : TOTAL_BYTES / $2 / ($1 == 0 ? 1 : $1)))
    # Small tiles: a signal waits for those at work.
    export LLAVAMED_OPTIONS="--max-shard-size $SHARD --max-memory 512KiB -j 1 $3"
}

restarted()
{
    [ "$(value "$1" Restarts)" -ge 1 ]
}

# release JOB: it is to come again now, which Slurm puts off for two minutes. Not in the second in which it was stopped:
# then its credential is taken for the old one, which is revoked.
release()
{
    sleep 4
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        state_is "$1" 'RUNNING COMPLETING COMPLETED' && return
        scontrol update JobId="$1" StartTime=now 2>/dev/null
        sleep 1
    done
}

# ---- Tests ----------------------------------------------------------------------------------------------------------

test_node()
{
    job=$(submit_node)
    check 'submitted' test -n "$job"
    wait_for 60 ended "$job"
    check 'completed' state_is "$job" COMPLETED
    check_published
    check 'a line for each shard' test "$(grep -c ': shard: ' "llavamed-$job.out")" -gt 1
    check 'verified' grep -q 'llavamed-verify: done: ' "llavamed-$job.out"
}

# Told by Slurm half a minute before its limit of a minute, it stops, is requeued, and goes on where it stopped.
test_node_meets_its_time_limit()
{
    slowly 75 1 "--log-json $PWD/log.jsonl"
    job=$(submit_node --time=1 --signal=B:USR1@20)
    wait_for 100 grep -q '"signal"' log.jsonl
    wait_for 60 restarted "$job"
    scontrol update JobId="$job" TimeLimit=10
    release "$job"
    wait_for 120 ended "$job"
    check 'completed' state_is "$job" COMPLETED
    check 'restarted once' test "$(value "$job" Restarts)" = 1
    check 'USR1 came' grep -q '"event": "signal".*"USR1"' log.jsonl
    check 'it ended with 138' grep -q '"event": "error".*"status": 138' log.jsonl
    check 'it went on' grep -q '"event": "resume".*"tiles": [1-9]' log.jsonl
    check 'what was written was kept' grep -q '"event": "done".*"reused_bytes": [1-9][0-9]\{5\}' log.jsonl
    check 'the log knows the job' grep -q "\"job_id\": \"$job\".*\"restart_count\": \"1\"" log.jsonl
    check 'every 30 seconds a line' grep -q ': progress: [0-9]*%, .* left$' "llavamed-$job.out"
    check 'every 30 seconds an event' grep -q '"event": "progress"' log.jsonl
    check_published
}

# Without a signal before it: TERM, then KILL. Submitted again it goes on.
test_node_is_killed_at_its_time_limit()
{
    slowly 120 1 "--log-json $PWD/log.jsonl"
    job=$(LLAVAMED_RESTARTS=0 submit_node --time=1 --signal=B:URG@1)
    wait_for 130 ended "$job"
    check 'timed out' state_is "$job" 'TIMEOUT'
    check 'no OUT' test ! -e out
    export THROTTLE_BYTES_PER_SECOND=0
    job=$(submit_node)
    wait_for 60 ended "$job"
    check 'completed' state_is "$job" COMPLETED
    check 'it went on' grep -q '"event": "resume".*"tiles": [1-9]' log.jsonl
    check_published
}

test_node_is_preempted()
{
    slowly 20 1 "--log-json $PWD/log.jsonl"
    job=$(submit_node --partition=low)
    wait_for 60 is_written out
    high=$(sbatch --parsable --partition=high --exclusive --time=1 --output=high-%j.out \
        --wrap='sleep 3')
    wait_for 60 ended "$high"
    check 'the other job ran' state_is "$high" COMPLETED
    release "$job"
    wait_for 120 ended "$job"
    check 'completed' state_is "$job" COMPLETED
    check 'restarted' test "$(value "$job" Restarts)" -ge 1
    check 'it went on' grep -q '"event": "resume"' log.jsonl
    check_published
}

# Its memory limit is known to the program: too little is said at once.
test_node_has_too_little_memory()
{
    export LLAVAMED_OPTIONS='--max-memory 512MiB -j 64'
    job=$(submit_node --mem=200M)
    wait_for 60 ended "$job"
    check 'failed' state_is "$job" FAILED
    check 'with exit status 2' test "$(value "$job" ExitCode)" = 2:0
    check 'the message names the limit' grep -q 'error: this run does not fit its memory: SLURM_MEM_PER_NODE (got 200' \
        "llavamed-$job.out"
    check 'nothing is there' test ! -e out -a ! -e out.partial
}

# The tasks of a step have the memory of their node together; what runs in the script of the job has it alone.
test_node_memory_is_shared_by_tasks()
{
    job=$(sbatch --parsable --ntasks=2 --mem=400M --time=1 --output=%j.out --wrap "
        set -- llavamed-apply --base $SCRATCH/m/base --delta $SCRATCH/m/delta --out out -n -q -j 64 \\
            --max-memory 256MiB
        \"\$@\" && echo fits
        srun -n 2 \"\$@\"")
    wait_for 60 ended "$job"
    check 'alone it fits' grep -q '^fits' "$job.out"
    check 'two do not' test "$(grep -c 'does not fit its memory: SLURM_MEM_PER_NODE, for 2 tasks, (got 200 MiB' \
        "$job.out")" = 2
}

# array_of N
array_of()
{
    slowly 0 1 ''
    submit "$1"
    check 'submitted' test -n "${finish:-}"
    wait_for 150 ended "$finish"
    check 'tasks completed' test "$(scontrol -o show job "$array" | grep -c JobState=COMPLETED)" = "$1"
    check 'finish completed' state_is "$finish" COMPLETED
    check 'verified' grep -q 'llavamed-verify: done: ' "llavamed-finish-$finish.out"
    check_published
}

test_array_of_1() { array_of 1; }
test_array_of_4() { array_of 4; }
test_array_of_9() { array_of 9; }

# One of four tasks is cancelled while it writes: no OUT, no finish. Submitted again, done parts end at once.
test_array_task_is_cancelled()
{
    slowly 15 4 ''
    submit 4
    wait_for 60 state_is "${array}_2" RUNNING
    wait_for 60 is_written out
    scancel "${array}_2"
    wait_for 120 ended "$array"
    wait_for 30 ended "$finish"
    check 'cancelled, and not put back' test "$(value "${array}_2" Restarts)" = 0
    check 'one is cancelled' state_is "${array}_2" CANCELLED
    check 'three completed' test "$(scontrol -o show job "$array" | grep -c JobState=COMPLETED)" = 3
    check 'finish did not run' test ! -e "llavamed-finish-$finish.out"
    check 'no OUT' test ! -e out
    slowly 0 1 ''
    submit 4
    wait_for 60 ended "$finish"
    check 'finish completed' state_is "$finish" COMPLETED
    check_published
}

test_array_task_meets_its_time_limit()
{
    slowly 120 2 ''
    export LLAVAMED_RESTARTS=0
    submit 2 --time=1 --signal=B:URG@1
    wait_for 150 ended "$array"
    check 'timed out' test "$(scontrol -o show job "$array" | grep -c JobState=TIMEOUT)" -ge 1
    check 'no OUT' test ! -e out
    slowly 0 1 ''
    submit 2
    wait_for 60 ended "$finish"
    check 'finish completed' state_is "$finish" COMPLETED
    check_published
}

test_array_task_is_requeued()
{
    slowly 15 3 ''
    submit 3
    wait_for 60 state_is "${array}_1" RUNNING
    wait_for 60 is_written out
    scontrol requeue "${array}_1"
    wait_for 60 restarted "${array}_1"
    release "${array}_1"
    wait_for 150 ended "$finish"
    check 'restarted' test "$(value "${array}_1" Restarts)" = 1
    check 'finish completed' state_is "$finish" COMPLETED
    check_published
}

# A node dies with all that runs on it: Slurm puts its task back, and another node does it.
test_array_node_goes_down()
{
    local node
    slowly 15 3 ''
    submit 3 --partition=fragile
    wait_for 60 state_is "${array}_3" RUNNING
    wait_for 60 is_written out
    node=$(value "${array}_3" NodeList)
    node_kill "${node#n}"
    scontrol update NodeName="$node" State=DOWN Reason=test
    wait_for 60 restarted "${array}_3"
    release "${array}_3"
    wait_for 150 ended "$finish"
    check 'restarted' test "$(value "${array}_3" Restarts)" -ge 1
    check 'on another node' test "$(value "${array}_3" NodeList)" != "$node"
    check 'finish completed' state_is "$finish" COMPLETED
    check_published
    node_start "${node#n}"
    scontrol update NodeName="$node" State=RESUME
}

# ---- All of it ------------------------------------------------------------------------------------------------------

for program in munged slurmctld slurmd sbatch; do
    if ! command -v "$program" >/dev/null; then
        echo "run.sh: $program is missing: tests/tools/install_deps.sh slurm" >&2
        echo '0 passed, 1 failed'
        exit 1
    fi
done

# The programs as jobs find them, slowed as their environment says.
mkdir "$SCRATCH/bin" "$SCRATCH/tests"
for program in apply verify; do
    cat >"$SCRATCH/bin/llavamed-$program" <<SCRIPT
#!/bin/sh
LD_PRELOAD=$BUILD/slurm/throttle.so exec "$BUILD/llavamed-$program" "\$@"
SCRIPT
done
chmod 755 "$SCRATCH"/bin/*
PATH=$SCRATCH/bin:$PATH
# Some 18 MB in a dozen shards.
SHARD=2MB
export LLAVAMED_OPTIONS="--max-shard-size $SHARD"
"$BUILD/tools/synth" --out "$SCRATCH/m" --scale 0.001 >/dev/null &&
    "$BUILD/llavamed-apply" --base "$SCRATCH/m/base" --delta "$SCRATCH/m/delta" --out "$SCRATCH/want" \
        --max-shard-size $SHARD -q && (cd "$SCRATCH/want" && sha256sum -- * >"$SCRATCH/sums") || exit 1
TOTAL_BYTES=$(cat "$SCRATCH"/want/model-*.safetensors | wc -c)
cluster_start || {
    echo 'run.sh: Slurm did not start' >&2
    echo '0 passed, 1 failed'
    exit 1
}
sinfo --version
lacking=$("$here/hosts.sh" --can)
hosts=
if [ -z "$lacking" ] && [ $# -eq 0 ]; then
    "$here/hosts.sh" "$SCRATCH" >"$SCRATCH/hosts.log" 2>&1 &
    hosts=$!
    disown
fi
tests=()
for name in $(declare -F | sed -n 's/^declare -f test_//p'); do
    if [ $# -eq 0 ]; then
        tests+=("$name")
    fi
    for pattern in "$@"; do
        # shellcheck disable=SC2053
        [[ $name == $pattern ]] && tests+=("$name")
    done
done
pids=()
for name in "${tests[@]}"; do
    (
        trap - EXIT
        mkdir "$SCRATCH/tests/$name" && cd "$SCRATCH/tests/$name" || exit 1
        RESULT=$SCRATCH/tests/$name.result
        "test_$name"
    ) &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid"
done

passed=0
failed=0
if [ -n "$hosts" ]; then
    wait_for 240 sh -c "! kill -0 $hosts"
    cat "$SCRATCH/hosts.log"
    passed=$(grep -c '^ok ' "$SCRATCH/hosts.log")
    failed=$((2 - passed))
fi
for name in "${tests[@]}"; do
    if [ -s "$SCRATCH/tests/$name.result.ok" ] && [ ! -e "$SCRATCH/tests/$name.result.bad" ]; then
        passed=$((passed + 1))
        echo "ok     $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        cat "$SCRATCH/tests/$name.result.bad" 2>/dev/null
        tail -n 5 "$SCRATCH/tests/$name"/*.out 2>/dev/null | sed 's/^/    /'
    fi
done
[ -n "$hosts" ] || echo "not run: parts on several hosts (hosts.sh): ${lacking:-not asked for}"
cat <<'TEXT'
not run here:
  NFS between those hosts: there are servers that need no kernel (nfs-ganesha), but no client, and a kernel that was
  built without network file systems mounts none (hosts.sh has sshfs instead); a cluster file system needs a cluster
  Slurm's plugin for control groups: it needs to be root on a host with systemd; tests/cli/cases/batch.sh makes a group
  itself where it may, and tests/unit/test_memory_limit.c has the files of both versions
  a job store (slurmdbd) and federation: the scripts do not use them
TEXT
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
