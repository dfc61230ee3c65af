# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Where OUT may be, full volumes, signals, closed descriptors: after any failure there is no OUT.

test_output_exists()
{
    mkdir taken
    echo precious >taken/file
    apply --base "$DATA/base" --delta "$DATA/delta" --out taken
    want_failure 5 '*taken*'
    apply --base "$DATA/base" --delta "$DATA/delta" --out taken --force
    want_failure 5 '*taken*'
    want test "$(cat taken/file)" = precious
    echo file >plain
    apply --base "$DATA/base" --delta "$DATA/delta" --out plain --force
    want_failure 5 '*plain*'
    want test "$(cat plain)" = file
    want test ! -e taken.partial -a ! -e plain.partial
}

# want_kept_by_force GLOB: OUT is refused, --force or not, and stays as it is
want_kept_by_force()
{
    cp -a out before
    apply_pair base delta --force
    want_status 5
    want_error "$1"
    want diff -r before out
    want test -z "$(find . -path ./.checks -prune -o -name 'out?*' -print)"
    rm -r before
}

# What --force replaces, it tells by the manifest: a list of sums can be anybody's.
test_output_force_goes_by_the_manifest()
{
    apply_pair base delta -q
    want_status 0
    cp -a out good
    echo precious >out/notes.txt
    (cd out && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
    want_kept_by_force "*out: not replaced, because it holds 'notes.txt', which this program did not write"
    rm -r out && cp -a good out
    echo more >>out/model.safetensors
    want_kept_by_force "*'model.safetensors' in it is not what this program wrote*"
    rm -r out && cp -a good out
    mkdir out/sub
    want_kept_by_force "*it holds 'sub'*"
    rm -r out && cp -a good out
    ln -sf ../good/config.json out/config.json
    want_kept_by_force "*'config.json' in it is not what this program wrote*"
    rm -r out && cp -a good out
    rm out/llavamed-manifest.json
    want_kept_by_force '*holds no valid llavamed-manifest.json*'
    rm -r out && cp -a good out
    sed -i 's/"version": 1/"version": 9/' out/llavamed-manifest.json
    want_kept_by_force '*holds no valid llavamed-manifest.json*'
    rm -r out && cp -a good out
    rm out/SHA256SUMS out/tokenizer.model out/model.safetensors
    apply_pair base delta --force -q
    want_status 0
    want diff -r good out
    rm -r out && mkdir out
    apply_pair base delta --force -q
    want_status 0
    want diff -r good out
}

test_output_foreign_partial()
{
    mkdir out.partial
    echo precious >out.partial/file
    apply_pair base delta
    want_status 5
    want test "$(cat out.partial/file)" = precious -a ! -e out
}

test_output_overlaps_input()
{
    cp -r "$DATA/base" "$DATA/delta" .
    mkdir above
    mv base delta above
    local out
    for out in above/base above/delta above/base/merged above/delta/sub/../merged above above/base/../delta/x; do
        apply --base above/base --delta above/delta --out "$out" --force
        want_status 5
        want_error '*'
    done
    ln -s above/base link
    apply --base above/base --delta above/delta --out link/merged
    want_status 5
    want diff -r above/base "$DATA/base"
    want diff -r above/delta "$DATA/delta"
}

test_output_parent_missing()
{
    apply --base "$DATA/base" --delta "$DATA/delta" --out no/such/parent
    want_failure 5 '*'
    want test ! -e no
}

test_output_parent_is_a_file()
{
    : >file
    apply --base "$DATA/base" --delta "$DATA/delta" --out file/merged
    want_failure 5 '*'
    want test ! -s file
}

test_output_parent_read_only()
{
    cp -r "$DATA/base" "$DATA/delta" .
    mkdir closed
    chown 65534 closed 2>/dev/null
    chmod 555 closed
    run_unprivileged "$PROGRAM" --base base --delta delta --out closed/merged
    want_failure 5 '*closed*'
    want test -z "$(ls -A closed)"
    run_unprivileged "$PROGRAM" --base base --delta delta --out closed/merged -n
    want_status 5
}

# Sparse inputs, larger than what is free where OUT shall be: they take no space themselves.
test_output_no_space_foreseen()
{
    # 8 TiB with holes: more than is free, however much others give back meanwhile.
    make_large base.safetensors 8388608
    make_large delta.safetensors 8388608
    want test -s delta.safetensors
    apply --base base.safetensors --delta delta.safetensors --out out
    want_failure 5 '*'
    want_stderr '*[0-9]*'
    apply --base base.safetensors --delta delta.safetensors --out out -n --json
    want_status 5
    want_json 'r["code"] == "OUT_SPACE"' 'r["dry_run"]'
    want_nothing_left
}

# No OUT, and the rerun of the same command goes on from what is there.
want_can_continue()
{
    want test ! -e out
    want test -s out.partial/.llavamed-journal
    apply --base base.safetensors --delta delta.safetensors --out out -v
    want_status 0
    want_stderr '*note: going on with an interrupted run: *'
    want test ! -e out.partial
    want test ! -e out/.llavamed-journal
    want bash -c 'cd out && sha256sum -c --quiet SHA256SUMS'
}

# A limit on the size of files stands for a volume that fills after all.
test_output_write_fails()
{
    make_large base.safetensors 64
    make_large delta.safetensors 64
    run bash -c 'ulimit -f 32768; exec "$@"' bash \
        "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out
    want_status 5
    want_error '*'
    want_can_continue
}

# Waits until OUT.partial has appeared, stops the program, sends the signal, lets it go on: it cannot have ended before.
interrupted()
{
    local signal=$1 want=$2 pid i
    make_large base.safetensors 512
    make_large delta.safetensors 512
    "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out --cpu ref -j 1 --json \
        >.checks/stdout 2>.checks/stderr &
    pid=$!
    i=0
    while [ ! -e out.partial ] && [ ! -e out ] && [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -STOP "$pid"
    want test -e out.partial
    kill "-$signal" "$pid"
    kill -CONT "$pid"
    wait "$pid"
    status=$?
    want_status "$want"
    want_error '*'
    want_json "r['status'] == $want" 'r["code"] == "INTERRUPTED"'
    want_can_continue
}

test_output_interrupted_by_term()
{
    interrupted TERM 143
}

test_output_interrupted_by_hup()
{
    interrupted HUP 129
}

test_output_interrupted_by_usr1()
{
    interrupted USR1 138
}

# Bash starts background jobs with SIGINT ignored, and what is ignored stays ignored: Python starts this one.
test_output_interrupted_by_int()
{
    make_large base.safetensors 512
    make_large delta.safetensors 512
    run python3 -c 'import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
process = subprocess.Popen(sys.argv[1:])
for _ in range(3000):
    if os.path.exists("out.partial") or os.path.exists("out"):
        break
    time.sleep(0.01)
process.send_signal(signal.SIGSTOP)
process.send_signal(signal.SIGINT)
process.send_signal(signal.SIGCONT)
sys.exit(process.wait())' "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out --cpu ref -j 1
    want_status 130
    want_error '*'
    want_can_continue
}

test_output_rerun_after_kill()
{
    make_large base.safetensors 512
    make_large delta.safetensors 512
    "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out --cpu ref -j 1 \
        >.checks/stdout 2>.checks/stderr &
    local pid=$! i=0
    while [ ! -e out.partial ] && [ ! -e out ] && [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test -e out.partial
    want test ! -e out
    apply_pair base delta -q
    want_status 0
    want_expected delta
    want test ! -e out.partial
}

want_busy_elsewhere()
{
    want_status 5
    want_stderr "*out: another run may be writing it (process 4711 on host 'else.where', $1"
    want_stderr "*hint: * it can be taken over *rm -r -- '*out.partial'*"
    want test "$(cat out.partial/half)" = half -a ! -e out
}

# What a run of another host has left: only its heartbeat tells whether it lives.
test_output_claim_of_another_host()
{
    local claim=out.partial/.llavamed-claim-1-of-1.json
    mkdir out.partial
    echo half >out.partial/half
    printf '{"format": "llavamed-claim", "version": 1, "host": "else.where", "boot_id": "b", %s}\n' \
        '"pid_namespace": "n", "pid": 4711, "start_time": 17, "nonce": "0123"' >$claim
    apply_pair base delta
    want_busy_elsewhere '*its heartbeat is [0-9]* s old*'
    apply_pair base delta -n
    want_busy_elsewhere '*'
    want test "$(find out.partial -type f | wc -l)" = 2
    touch -d '3 minutes ago' $claim
    apply_pair base delta -n
    want_status 0
    want test -e out.partial/half
    apply_pair base delta -q
    want_status 0
    want_expected delta
    want test ! -e out.partial
}

test_output_ignored_signal_stays_ignored()
{
    make_large base.safetensors 128
    make_large delta.safetensors 128
    (
        trap '' HUP
        exec "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out -q
    ) >.checks/stdout 2>.checks/stderr &
    local pid=$!
    while [ ! -e out.partial ] && [ ! -e out ] && kill -0 "$pid"; do
        sleep 0.01
    done 2>/dev/null
    kill -HUP "$pid"
    wait "$pid"
    status=$?
    want_status 0
    want test -e out/model.safetensors
}

test_output_stdout_full()
{
    apply --help
    "$PROGRAM" --help >/dev/full 2>.checks/stderr
    status=$?
    want_status 5
    want_error 'standard output: cannot write*'
    "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out --json >/dev/full 2>.checks/stderr
    status=$?
    want_status 5
    want_error 'standard output: cannot write*'
    "$PROGRAM" --base "$DATA/base-wrong" --delta "$DATA/delta" --out other --json >/dev/full 2>.checks/stderr
    status=$?
    want_status 4
}

test_output_stdout_is_a_closed_pipe()
{
    run python3 -c 'import os, subprocess, sys
read_end, write_end = os.pipe()
os.close(read_end)
sys.exit(subprocess.run(sys.argv[1:], stdout=write_end).returncode)' \
        "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -n
    want_status 5
    want_error 'standard output: cannot write*'
    want_nothing_left
}

test_output_descriptors_closed()
{
    "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out <&- >&- 2>&-
    status=$?
    : >.checks/stderr
    want_status 0
    want_expected delta
    (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
    "$PROGRAM" --base "$DATA/base-wrong" --delta "$DATA/delta" --out other <&- >&- 2>&-
    status=$?
    want_status 4
    "$PROGRAM" --version >&- 2>.checks/stderr
    status=$?
    want_status 5
}

test_output_name_needs_quotes()
{
    apply --base "$DATA/base" --delta "$DATA/delta" --out "it's out"
    want_status 0
    local command
    command=$(sed -n 's/^llavamed-apply: next: //p' .checks/stderr)
    bash -c "$command" >sums 2>&1
    want test $? -eq 0
    want grep -q 'model.safetensors: OK' sums
}
