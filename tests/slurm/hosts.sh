#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# hosts.sh --can | hosts.sh SCRATCH
# Parts of one merge on several hosts that share a directory. A host is a network, a process table, a name and mounts of
# its own (namespaces); the directory is each one's own mount of a file server in another network (sshfs, by TCP to
# sftp-server), with caches and attributes of its own. SCRATCH has the models m/ and the sums of one run. Wants root.
# --can: exit status 0 when this machine can, else one line says what it lacks. Prints "ok NAME" or "FAILED NAME".
set -u

BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
SHARD=2MB
PORT=7000
sftp=/usr/lib/openssh/sftp-server

can()
{
    local program
    [ "$(id -u)" = 0 ] || { echo 'they want root' && return 1; }
    for program in ip sshfs socat unshare "$sftp"; do
        command -v "$program" >/dev/null || { echo "$program is missing" && return 1; }
    done
    [ -c /dev/fuse ] || { echo 'no /dev/fuse' && return 1; }
    ip netns add "llt$$" 2>/dev/null || { echo 'no network namespaces' && return 1; }
    ip netns del "llt$$"
}

if [ "${1:-}" = --can ]; then
    can
    exit
fi
SCRATCH=$1
shared=$SCRATCH/shared
spaces=()
pids=()
stop()
{
    local space
    kill "${pids[@]}" 2>/dev/null
    sleep 0.5
    for space in "${spaces[@]}"; do
        ip netns del "$space"
    done
}
trap stop EXIT
trap 'exit 143' TERM INT

add_space()
{
    ip netns add "$1" && spaces+=("$1") && ip netns exec "$1" ip link set lo up
}

start_server()
{
    add_space "lls$$" && ip netns exec "lls$$" ip link add br0 type bridge &&
        ip netns exec "lls$$" ip addr add 10.99.0.1/24 dev br0 && ip netns exec "lls$$" ip link set br0 up || return 1
    ip netns exec "lls$$" socat "TCP-LISTEN:$PORT,fork,reuseaddr" "EXEC:$sftp" &
    pids+=($!)
}

# add_host N
add_host()
{
    mkdir "$SCRATCH/host$1"
    add_space "llh$$-$1" && ip link add "v$$-$1" type veth peer name "p$$-$1" &&
        ip link set "v$$-$1" netns "lls$$" && ip link set "p$$-$1" netns "llh$$-$1" &&
        ip netns exec "lls$$" ip link set "v$$-$1" master br0 up &&
        ip netns exec "llh$$-$1" ip addr add "10.99.0.1$1/24" dev "p$$-$1" &&
        ip netns exec "llh$$-$1" ip link set "p$$-$1" up
}

# on N COMMAND...: on that host, in the shared directory. Who kills it takes the power from all that runs there.
on()
{
    local n=$1
    shift
    # shellcheck disable=SC2016
    exec ip netns exec "llh$$-$n" unshare --uts --mount --pid --fork --kill-child --mount-proc sh -c '
        hostname "node$1" && sshfs -o "directport=$2,cache=yes" "10.99.0.1:$3" "$4" && cd "$4" || exit 99
        shift 4
        "$@"' sh "$n" "$PORT" "$shared" "$SCRATCH/host$n" "$@"
}

merge=("$BUILD/llavamed-apply" -q --base m/base --delta m/delta --max-shard-size "$SHARD")

tell()
{
    if [ "$2" = 0 ]; then echo "ok     hosts_$1"; else echo "FAILED hosts_$1 ($3)"; fi
}

is_right()
{
    (cd "$shared/$1" && sha256sum -- *) | cmp -s - "$SCRATCH/sums" && [ ! -e "$shared/$1.partial" ]
}

# Three parts at a time on three hosts, finished on a fourth.
each_a_part()
{
    local i workers=()
    for i in 1 2 3; do
        (on "$i" "${merge[@]}" --out each --part "$i/3") &
        workers+=($!)
    done
    for i in "${workers[@]}"; do
        wait "$i" || return 1
    done
    (on 4 "$BUILD/llavamed-apply" -q --finish --out each) && is_right each
}

# A host dies in the middle of its part. Another one is told whose it is, and has it two minutes later.
one_dies()
{
    local i=0 status victim
    (on 1 env "LD_PRELOAD=$BUILD/slurm/throttle.so" THROTTLE_BYTES_PER_SECOND=100000 "${merge[@]}" --out dies \
        --part 1/2 --max-memory 512KiB -j 1) &
    victim=$!
    while [ $i -lt 300 ] && [ -z "$(find "$shared/dies.partial" -name '*journal*' -size +0 2>/dev/null)" ]; do
        sleep 0.1
        i=$((i + 1))
    done
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null
    (on 2 "${merge[@]}" --out dies --part 2/2) || return 1
    (on 3 "${merge[@]}" --out dies --part 1/2) 2>"$SCRATCH/dies.err"
    [ $? = 5 ] && grep -q "on host 'node1'" "$SCRATCH/dies.err" || return 1
    for ((i = 0; i < 20; i++)); do
        sleep 10
        (on 3 "${merge[@]}" --out dies --part 1/2) 2>"$SCRATCH/dies.err"
        status=$?
        [ $status = 5 ] || break
    done
    [ $status = 0 ] && [ $i -ge 9 ] && (on 4 "$BUILD/llavamed-apply" -q --finish --out dies) && is_right dies
}

if ! { mkdir "$shared" && cp -r "$SCRATCH/m" "$shared/m" && start_server && add_host 1 && add_host 2 && add_host 3 &&
    add_host 4; }; then
    echo 'FAILED hosts (no network between them)'
    exit 1
fi
one_dies &
dying=$!
each_a_part
tell each_a_part $? 'three parts on three hosts'
wait "$dying"
tell one_dies $? "$(tail -n 1 "$SCRATCH/dies.err" 2>/dev/null)"
