# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A Slurm of one's own below $SCRATCH: munged, slurmctld and NODES slurmd on this machine, as whoever runs this.
# cluster_start, cluster_stop; node_start and node_kill for one of them. SLURM_CONF is set for sbatch and the like.
# Partitions: usual (n1 to n4); low and high, which share n5 and of which high takes it from low; fragile (n6 and n7).

NODES=7
cluster_pids=()

# port: one that nobody listens at
port()
{
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

write_configuration()
{
    local user host i
    user=$(id -un) host=$(hostname -s)
    # By its number alone: whatever the name of this machine leads to.
    cat >"$SCRATCH/slurm.conf" <<CONF
ClusterName=llavamed
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(port)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$SCRATCH/munge/socket
CredType=cred/munge
StateSaveLocation=$SCRATCH/state
SlurmdSpoolDir=$SCRATCH/spool-%n
SlurmctldPidFile=$SCRATCH/slurmctld.pid
SlurmdPidFile=$SCRATCH/slurmd-%n.pid
SlurmctldLogFile=$SCRATCH/slurmctld.log
SlurmdLogFile=$SCRATCH/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=200000
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MpiDefault=none
JobRequeue=1
MinJobAge=3600
KillWait=3
OverTimeLimit=0
ReturnToService=1
SlurmdTimeout=30
PartitionName=usual Nodes=n[1-4] Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=low Nodes=n5 MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=n5 MaxTime=INFINITE PriorityTier=10
PartitionName=fragile Nodes=n[6-7] MaxTime=INFINITE PriorityTier=1
CONF
    for ((i = 1; i <= NODES; i++)); do
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$(port) CPUs=8 RealMemory=4000" \
            >>"$SCRATCH/slurm.conf"
    done
    export SLURM_CONF=$SCRATCH/slurm.conf
}

start_munge()
{
    mkdir -m 700 "$SCRATCH/munge" || return 1
    dd if=/dev/urandom of="$SCRATCH/munge/key" bs=128 count=1 2>/dev/null && chmod 400 "$SCRATCH/munge/key"
    munged --foreground --force --key-file="$SCRATCH/munge/key" --socket="$SCRATCH/munge/socket" \
        --pid-file="$SCRATCH/munge/pid" --log-file="$SCRATCH/munge/log" --seed-file="$SCRATCH/munge/seed" \
        >"$SCRATCH/munge/out" 2>&1 &
    cluster_pids+=($!)
    until munge --socket="$SCRATCH/munge/socket" --no-input >/dev/null 2>&1; do
        kill -0 "${cluster_pids[0]}" 2>/dev/null || return 1
        sleep 0.1
    done
}

# node_start N
node_start()
{
    mkdir -p "$SCRATCH/spool-n$1"
    slurmd -D -N "n$1" -f "$SLURM_CONF" >"$SCRATCH/slurmd-n$1.out" 2>&1 &
    echo $! >"$SCRATCH/slurmd-n$1.started"
    disown # nobody is to be told that it was killed
}

# processes_of N: what runs for jobs on a node, and the step daemons above it
processes_of()
{
    local environ pid
    for environ in /proc/[0-9]*/environ; do
        pid=${environ//[!0-9]/}
        if grep -qzx "SLURMD_NODENAME=n$1" "$environ" && grep -qzx "SLURM_CONF=$SLURM_CONF" "$environ"; then
            ps -o ppid=,pid= -p "$pid"
        fi
    done 2>/dev/null | tr -s ' ' '\n' | grep -v '^$' | sort -un | while read -r pid; do
        [ "$pid" -gt 1 ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != slurmd ] && echo "$pid"
    done
}

# node_kill N: as when its power goes away: the daemon, the steps that it started, and what they run
node_kill()
{
    local pids
    pids=$(processes_of "$1")
    # shellcheck disable=SC2046,SC2086
    kill -KILL $(cat "$SCRATCH/slurmd-n$1.started") $pids 2>/dev/null
}

cluster_start()
{
    local i
    mkdir "$SCRATCH/state" && write_configuration && start_munge || return 1
    slurmctld -D -f "$SLURM_CONF" >"$SCRATCH/slurmctld.out" 2>&1 &
    cluster_pids+=($!)
    for ((i = 1; i <= NODES; i++)); do
        node_start "$i"
    done
    for ((i = 0; i < 300; i++)); do
        [ "$(sinfo -h -N -t idle -p usual,low,fragile -o %N 2>/dev/null | sort -u | wc -l)" = "$NODES" ] && return 0
        sleep 0.1
    done
    sinfo -N -l >&2
    tail -n 5 "$SCRATCH"/slurm*.out "$SCRATCH"/slurm*.log >&2
    return 1
}

cluster_stop()
{
    local pid i
    scancel -u "$(id -un)" 2>/dev/null
    for ((i = 0; i < 50; i++)); do
        [ -n "$(squeue -h -t R,CG 2>/dev/null)" ] || break
        sleep 0.1
    done
    # Nodes may have been started again since, by a test.
    for pid in $(cat "$SCRATCH"/slurmd-n*.started 2>/dev/null) "${cluster_pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null
    done
    sleep 1
    for pid in $(cat "$SCRATCH"/slurmd-n*.started 2>/dev/null) "${cluster_pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null
    done
    wait 2>/dev/null
}
