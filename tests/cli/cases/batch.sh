# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Where nobody watches: lines instead of a meter, --log-json, limits of memory, files only beside OUT, exit statuses.

# events FILE EXPRESSION...: each is true of e, the list of events, and named(NAME), those with this name
events()
{
    local file=$1 expression holds
    shift
    for expression in "$@"; do
        holds=0
        python3 - "$file" "$expression" <<'PYTHON' 2>/dev/null && holds=1
import hashlib, json, re, sys
e = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
names = [event["event"] for event in e]
def named(name):
    return [event for event in e if event["event"] == name]
sys.exit(not eval("(" + sys.argv[2] + ")"))
PYTHON
        note_check $holds "events of $file: not true: $expression"
    done
}

# want_documented FILE: every event has the members that docs/log-json.md says, and no others
want_documented()
{
    want python3 - "$1" "$DATA/../../../docs/log-json.md" <<'PYTHON'
import json, re, sys
rows = {}
common = set()
for line in open(sys.argv[2], encoding="utf-8"):
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    names = re.findall(r"`([a-z_0-9]+)`", cells[0])
    if len(cells) == 3 and len(names) == 1:
        rows[names[0]] = set(re.findall(r"`([a-z_0-9]+)`", cells[1]))
    elif len(cells) == 2 and names and line.startswith("|"):
        common.update(names)
assert common == {"time", "event", "program", "host", "pid", "seq"}, common
optional = {"start": {"slurm"}}
n_events = 0
for line in open(sys.argv[1], encoding="utf-8"):
    event = json.loads(line)
    own = set(event) - common
    assert common <= set(event), event
    assert own <= rows[event["event"]], event
    assert rows[event["event"]] - own <= optional.get(event["event"], set()), event
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event
    n_events += 1
assert n_events > 0
PYTHON
}

test_batch_lines_without_a_terminal()
{
    apply_pair base delta --max-shard-size 3KB -j 1
    want_status 0
    want_lines stderr 2 ': shard: '
    want_lines stderr 0 "$(printf '[\r\033]')"
    cp .checks/stderr plain
    rm -rf out
    NO_COLOR=1 TERM=xterm-256color CLICOLOR_FORCE=1 FORCE_COLOR=1 apply_pair base delta --max-shard-size 3KB -j 1
    want_status 0
    want_lines stderr 0 "$(printf '[\r\033]')"
    want cmp <(sed 's/, [0-9.]* s,.*//' plain) <(sed 's/, [0-9.]* s,.*//' .checks/stderr)
}

test_batch_log_of_a_run()
{
    unset "${!SLURM_@}"
    apply_pair base delta --max-shard-size 3KB -j 2 --log-json log.jsonl
    want_status 0
    want_expected sharded
    want_documented log.jsonl
    events log.jsonl 'names[0] == "start" and names[-1] == "done"' '[x["seq"] for x in e] == list(range(len(e)))' \
        'len({(x["host"], x["pid"], x["program"]) for x in e}) == 1' \
        'sorted(x["time"] for x in e) == [x["time"] for x in e]' \
        'e[0]["arguments"][-2:] == ["--log-json", "log.jsonl"] and "slurm" not in e[0]' \
        "e[0]['directory'] == '$(pwd -P)'" \
        'len(named("plan")) == 1 and named("plan")[0]["shards"] == 2 and named("plan")[0]["tensors"] == 25' \
        'named("begin")[-1]["what"] == "merge"' \
        '{x["name"] for x in named("shard_begun")} == {x["name"] for x in named("shard_done")} and
            len(named("shard_begun")) == 2' \
        'all(names.index("plan") < i for i, n in enumerate(names) if n == "shard_begun")' \
        'all(x["sha256"] == hashlib.sha256(open("out/" + x["name"], "rb").read()).hexdigest()
            for x in named("shard_done"))' \
        '[x["done"] for x in named("shard_done")] == [1, 2]' \
        'named("published")[0]["manifest_sha256"] ==
            hashlib.sha256(open("out/llavamed-manifest.json", "rb").read()).hexdigest()' \
        'e[-1]["status"] == 0 and e[-1]["code"] == "ok" and e[-1]["written_bytes"] > 5000' \
        'len(named("warning")) >= 1'
    # What is on stderr and in OUT does not depend on it.
    want_lines stderr "$(grep -c '"event": "warning"' log.jsonl)" ': warning: '
    want_lines stderr 0 ': note: '
}

test_batch_log_of_failures()
{
    local lines
    apply --base nowhere --delta "$DATA/delta" --out out --log-json log.jsonl
    want_failure 3 '*nowhere*'
    want_documented log.jsonl
    events log.jsonl 'names == ["start", "error"]' 'e[-1]["status"] == 3 and e[-1]["code"] == "INPUT_MISSING"' \
        '"nowhere" in e[-1]["message"]'
    lines=$(wc -l <log.jsonl)
    # The next run goes on in the same file.
    apply --base "$DATA/base" --delta "$DATA/base" --out out --log-json=log.jsonl -q
    want_status 4
    want test "$(wc -l <log.jsonl)" -gt "$lines"
    want_documented log.jsonl
    events log.jsonl 'e[-1]["status"] == 4 and names.count("start") == 2 and names[-1] == "error"'
    apply_pair base delta -n --log-json dry.jsonl
    want_status 0
    events dry.jsonl 'names[-1] == "done" and "plan" in names' '"published" not in names and "begin" not in names'
    apply_pair base delta --nonsense --log-json none.jsonl
    want_status 2
    want test ! -e none.jsonl
}

test_batch_log_of_several_outputs_and_of_make_delta()
{
    apply --base "$DATA/base" --delta "$DATA/delta" --out one --delta "$DATA/delta" --out two --log-json log.jsonl
    want_status 0
    want_documented log.jsonl
    events log.jsonl '[x["out"] for x in named("plan")] == ["one", "two"]' \
        '[x["out"] for x in named("published")] == ["one", "two"]' \
        '{x["name"] for x in named("shard_done")} == {"one/model.safetensors", "two/model.safetensors"}' \
        '{x["name"] for x in named("shard_begun")} == {x["name"] for x in named("shard_done")}'
    run "$SCRATCH/llavamed-make-delta" --base "$DATA/base" --target one --out back --log-json log.jsonl
    want_status 0
    want_documented log.jsonl
    events log.jsonl 'e[-1]["program"] == "llavamed-make-delta" and e[-1]["event"] == "done"' \
        'named("published")[-1]["out"] == "back"'
}

test_batch_log_of_a_job()
{
    SLURM_JOB_ID=77 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=1 apply_pair base delta -q --log-json log.jsonl
    want_status 0
    want_documented log.jsonl
    events log.jsonl 'e[0]["slurm"]["job_id"] == "77" and e[0]["slurm"]["array_task_id"] == "3"' \
        'e[0]["slurm"]["restart_count"] == "1"'
}

# Interrupted by USR1, as a batch system announces the end of a job, then gone on with.
test_batch_log_of_an_interrupted_run()
{
    local i=0 pid
    synth m --scale 0.006
    "$PROGRAM" --base m/base --delta m/delta --out want -q
    "$PROGRAM" --base m/base --delta m/delta --out out -q --cpu ref -j 1 --max-memory 1MiB --log-json log.jsonl \
        2>.checks/stderr &
    pid=$!
    while ! grep -q '"begin".*"merge"' log.jsonl 2>/dev/null && [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    while [ ! -s out.partial/.llavamed-journal ] && [ ! -e out ] && [ $i -lt 6000 ]; do
        i=$((i + 1))
    done
    kill -USR1 "$pid"
    wait "$pid"
    status=$?
    want_status 138
    want test ! -e out
    want_documented log.jsonl
    events log.jsonl 'names[-1] == "error" and e[-1]["status"] == 138 and e[-1]["code"] == "INTERRUPTED"' \
        '[x["name"] for x in named("signal")] == ["USR1"]' '"published" not in names'
    apply --base m/base --delta m/delta --out out -q --log-json log.jsonl
    want_status 0
    want diff -r out want
    want_documented log.jsonl
    events log.jsonl 'len(named("resume")) == 1 and named("resume")[0]["tiles"] >= 0' \
        'names.index("error") < names.index("resume") < names.index("published")' 'names[-1] == "done"'
}

# By a system call tracer: appended, one write a line.
test_batch_log_is_one_write_a_line()
{
    run strace -f -e trace=openat,write,pwrite64,writev -s 40 -o trace "$PROGRAM" --base "$DATA/base" \
        --delta "$DATA/delta" --out out -q --log-json log.jsonl
    grep -q LeakSanitizer .checks/stderr || want_status 0
    want grep -q 'log.jsonl", O_WRONLY|O_CREAT|O_NOCTTY|O_APPEND|O_NONBLOCK|O_CLOEXEC' trace
    want test "$(grep -c 'write(.*"{\\"time\\": ' trace)" = "$(wc -l <log.jsonl)"
    want test "$(wc -l <log.jsonl)" -gt 5
}

test_batch_log_is_shared()
{
    local i
    for i in 1 2 3 4; do
        "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out "out$i" -q --log-json log.jsonl &
    done
    wait
    want_documented log.jsonl
    events log.jsonl 'names.count("done") == 4 and len({x["pid"] for x in e}) == 4' \
        'all([x["seq"] for x in e if x["pid"] == pid] == list(range(sum(x["pid"] == pid for x in e)))
            for pid in {x["pid"] for x in e})'
}

# One warning, and the merge is what it is.
test_batch_log_that_cannot_be_written()
{
    local log
    mkfifo fifo
    cp "$DATA/base/config.json" kept.json
    cp kept.json other.json
    for log in no/log.jsonl /dev/full . fifo other.json; do
        apply_pair base delta --log-json "$log"
        want_status 0
        want_lines stderr 1 ': warning: .*the log .*; the run goes on$'
        want_expected delta
        rm -rf out
    done
    want cmp kept.json other.json
    cp "$DATA/base/model.safetensors" weights.safetensors
    apply_pair base delta -q --log-json weights.safetensors
    want_status 0
    want_empty stderr
    want cmp weights.safetensors "$DATA/base/model.safetensors"
}

test_batch_log_to_stderr_and_a_fifo()
{
    apply_pair base delta -q --log-json /dev/stderr
    want_status 0
    want_documented .checks/stderr
    events .checks/stderr 'names[-1] == "done"'
    rm -rf out
    mkfifo fifo
    run python3 -c 'import os, subprocess, sys
fd = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK) # the reader is there before the run
status = subprocess.run(sys.argv[1:]).returncode
open("log.jsonl", "wb").write(os.read(fd, 65536))
sys.exit(status)' "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -q --log-json fifo
    want_status 0
    want_documented log.jsonl
    events log.jsonl 'names[-1] == "done"'
}

# ---- Memory ---------------------------------------------------------------------------------------------------

test_batch_memory_too_small()
{
    SLURM_MEM_PER_NODE=200 apply_pair base delta --max-memory 512MiB -j 64 --json
    want_status 2
    want_error 'this run does not fit its memory: SLURM_MEM_PER_NODE (got 200 MiB, want at least * of buffers, *'
    want_stderr 'llavamed-apply: hint: --max-memory 1*MiB fits; or allow the job more memory'
    want_json 'r["code"] == "MEMORY_TOO_SMALL" and r["status"] == 2'
    want_nothing_left
    SLURM_MEM_PER_CPU=5 SLURM_CPUS_ON_NODE=2 apply_pair base delta
    want_failure 2 'this run does not fit its memory: SLURM_MEM_PER_CPU (got 10 MiB, *'
    SLURM_MEM_PER_NODE=5 apply_pair base delta -n
    want_failure 2 'this run does not fit its memory: SLURM_MEM_PER_NODE (got 5 MiB, *'
    # As the hint says; and what two workers never take need not be there.
    SLURM_MEM_PER_NODE=200 apply_pair base delta --max-memory 128MiB -j 64
    want_status 0
    want_expected delta
    rm -rf out
    SLURM_MEM_PER_NODE=200 apply_pair base delta --max-memory 512MiB -j 2
    want_status 0
    want_expected delta
}

# The buffers shrink, the bytes do not change, and what is taken is less than the limit.
test_batch_memory_shrinks_to_fit()
{
    synth m --scale 0.006
    "$PROGRAM" --base m/base --delta m/delta --out want -q
    SLURM_MEM_PER_NODE=64 apply --base m/base --delta m/delta --out out -v --json
    want_status 0
    want_stderr '*note: * bytes of buffers, which is what SLURM_MEM_PER_NODE leaves'
    want_json '1 << 20 <= r["memory"]["pool"] < 64 << 20'
    grep -q 'SANITIZE\|sanitize' "$BUILD/.configuration" 2>/dev/null || case $BUILD in
    *asan* | *tsan*) ;;
    *) want_json 'r["memory"]["peak_rss"] < 64 << 20' ;;
    esac
    want diff -r out want
    SLURM_MEM_PER_NODE=0 apply_pair base delta -n --json -j 64
    want_json 'r["memory"]["pool"] > 200 << 20'
}

test_batch_memory_of_the_process()
{
    SLURM_MEM_PER_NODE=5 apply_pair base delta
    want_failure 2 '*SLURM_MEM_PER_NODE*'
    case $BUILD in
    *asan* | *tsan*) return ;; # whose address space has no end
    esac
    run bash -c 'ulimit -v 400000; exec "$@"' bash "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out \
        --max-memory 512MiB -j 64
    want_failure 2 'this run does not fit its memory: the limit of address space (ulimit -v) (got 390 MiB, *'
    run bash -c 'ulimit -v 400000; exec "$@"' bash "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -j 8
    want_status 0
    want_expected delta
}

# A real control group, where this user may make one (version 1 or 2); elsewhere the unit tests stand for it.
test_batch_memory_of_a_control_group()
{
    local group own file
    own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    if [ -n "$own" ]; then
        group=/sys/fs/cgroup/memory$own/llavamed-test-$$ file=memory.limit_in_bytes
    else
        group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/llavamed-test-$$ file=memory.max
    fi
    SLURM_MEM_PER_NODE=5 apply_pair base delta
    want_failure 2 '*SLURM_MEM_PER_NODE*'
    case $BUILD in
    *asan* | *tsan*) return ;; # who take more than they are told
    esac
    mkdir "$group" 2>/dev/null && [ -w "$group/$file" ] || return
    echo $((100 << 20)) >"$group/$file"
    run bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$PROGRAM" --base "$DATA/base" \
        --delta "$DATA/delta" --out out --max-memory 256MiB -j 64
    want_failure 2 "this run does not fit its memory: $file of the cgroup */llavamed-test-$$ (got 100 MiB, *"
    synth m --scale 0.02
    run bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$PROGRAM" --base m/base --delta m/delta \
        --out out --json
    want_status 0
    want_json '1 << 20 <= r["memory"]["pool"] < 100 << 20'
    rmdir "$group"
}

# ---- Files ----------------------------------------------------------------------------------------------------

# trace_files ENV-OPTION: by a system call tracer, whatever is created, written or renamed is in OUT's parent
trace_files()
{
    rm -rf parent/out
    run env "$@" "TMPDIR=$PWD/missing" strace -f -e trace=%file -o trace "$PROGRAM" --base "$DATA/base" \
        --delta "$DATA/delta" --out parent/out -q --max-shard-size 3KB --verify full --digests
    grep -q LeakSanitizer .checks/stderr || want_status 0
    want grep -q 'parent/out.partial.*O_CREAT' trace
    # ThreadSanitizer has a file of its own for a moment.
    grep -E 'O_CREAT|O_WRONLY|O_RDWR|mkdir|rename|link|mknod|truncate|chmod|chown|utime' trace |
        grep '"' | grep -Ev "readlink|\"/dev/null\"|\"($PWD/)?parent/|/tsan\.rodata\.[0-9]+\"" >elsewhere
    want test ! -s elsewhere
    want test -z "$(ls -A home)"
    want test "$(ls parent)" = out
}

# $TMPDIR is not there, $HOME is an empty directory or unset.
test_batch_files_beside_out_alone()
{
    mkdir home parent
    trace_files "HOME=$PWD/home"
    trace_files -u HOME
}

test_batch_read_only_inputs()
{
    mkdir place
    cp -r "$DATA/base" "$DATA/delta" .
    chmod -R a-w base delta
    run_unprivileged "$PROGRAM" --base base --delta delta --out place/out
    want_status 0
    want test "$(cd place/out && sha256sum model.safetensors | cut -c 1-64)" = \
        "$(sed -n 's#  delta/model.safetensors##p' "$DATA/expected.sha256")"
    want test "$(ls place)" = out
    want diff -r base "$DATA/base"
}

test_batch_umask()
{
    local mask
    for mask in 077 027 002; do
        rm -rf out
        (umask $mask && "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -q --log-json log.$mask)
        want test "$(stat -c %a out)" = "$(printf %o $((0777 & ~mask)))"
        want test "$(find out -type f -printf '%m\n' | sort -u)" = "$(printf %o $((0666 & ~mask)))"
        want test "$(stat -c %a log.$mask)" = "$(printf %o $((0666 & ~mask)))"
    done
}

# A setgid directory: its group, and the bit, in OUT and all that is in it, after a replacement too.
test_batch_setgid_directory()
{
    local group
    mkdir team
    # As root a group that nobody has; else one of those that this user is in beside the first.
    group=$(if [ "$(id -u)" = 0 ]; then echo 54321; else id -G | tr ' ' '\n' | tail -n 1; fi)
    chgrp "$group" team && chmod 2775 team
    (umask 002 && "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out team/out -q)
    want test "$(stat -c '%g %a' team/out)" = "$group 2775"
    want test "$(find team/out -type f -printf '%G %m\n' | sort -u)" = "$group 664"
    (umask 002 && "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out team/out -q --force)
    want test "$(stat -c '%g %a' team/out)" = "$group 2775"
    want test "$(find team/out -type f -printf '%G %m\n' | sort -u)" = "$group 664"
    want test "$(ls team)" = out
}

# ---- The example of docs/batch.md -----------------------------------------------------------------------------

# llavamed-apply as the example finds it: it ends with the statuses in ./statuses, one after the other, and then runs.
make_example()
{
    mkdir bin
    sed -n '/^<!-- example: retry.sh -->$/,/^```$/p' "$DATA/../../../docs/batch.md" | sed '1,2d;$d' >retry.sh
    cp "$VERIFY" bin/llavamed-verify
    cat >bin/llavamed-apply <<SCRIPT
#!/bin/sh
status=\$(head -n 1 statuses)
sed -i 1d statuses
echo called >>calls
[ -z "\$status" ] || exit "\$status"
exec "$PROGRAM" "\$@"
SCRIPT
    chmod +x bin/llavamed-apply
}

# try TIMES STATUS...: the example's merge()
try()
{
    local times=$1
    shift
    printf '%s\n' "$@" >statuses
    rm -f calls
    run env MERGE_PAUSE=0 "PATH=$PWD/bin:$PATH" sh -c \
        '. ./retry.sh; merge "$@"' sh "$times" out --base "$DATA/base" --delta "$DATA/delta" -q
}

test_batch_example_of_exit_statuses()
{
    local code
    make_example
    want grep -q '^merge()' retry.sh
    for code in 1 2 3 4 70; do
        try 5 $code
        want_status $code
        want test "$(wc -l <calls)" = 1
    done
    for code in 5 6 138 137 143; do
        try 2 $code $code
        want_status $code
        want test "$(wc -l <calls)" = 2
    done
    try 3 6 138
    want_status 0
    want test "$(wc -l <calls)" = 3
    want_expected delta
    # What is there and verified is as good; what is not, is not.
    try 1
    want_status 0
    echo damage >>out/model.safetensors
    try 1
    want_status 5
}
