# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The command line itself. test_args.c has every refusal by text; here is what the program does with them.

refused()
{
    apply "${@:3}"
    want_failure "$1" "$2"
}

test_usage_missing_options()
{
    refused 2 'option missing (want --base, --delta, --out)'
    want_stderr 'llavamed-apply: hint: *--help*'
    refused 2 'option missing (want --out)' --base a --delta b
    refused 2 'option missing (want --delta)' --base a --out out
}

test_usage_unknown_option()
{
    refused 2 "unknown option (got '--bsae')" --bsae a
    want_stderr 'llavamed-apply: hint: did you mean --base?'
    refused 2 "unknown option (got '-x')" -x
    refused 2 "unknown option (got '-nx')" -nx
}

test_usage_repeated_option()
{
    refused 2 '--base-model-path: option --base given twice' --base a --base-model-path a
    refused 2 '-n: option --dry-run given twice' -nn
}

test_usage_values()
{
    refused 2 '--base: value missing (want SOURCE)' --delta a --out out --base
    refused 2 "--base: value missing (got the option '--delta', want SOURCE)" --base --delta b --out out
    refused 2 '--base: value is empty (want SOURCE)' --base '' --delta b --out out
    refused 2 '--out: value is empty (want DIR)' --base a --delta b --out=
    refused 2 '--json: takes no value (got *' --json=1
    refused 2 "--dtype: unknown value (got 'fp16', want one of delta, float16, bfloat16, float32)" --dtype fp16
    refused 2 "--max-memory: not a size * (got '1G')" --max-memory 1G
    refused 2 "--max-shard-size: not a size * (got '0')" --max-shard-size=0
    refused 2 "--max-shard-size: not a size * (got '99999999999TB')" --max-shard-size 99999999999TB
    refused 2 "-j: not a number of threads (got 'all', *" -j all
    refused 2 '-q contradicts -v' --base a --delta b --out out -qv
}

test_usage_stray_arguments()
{
    refused 2 "unexpected argument (got 'out')" out
    refused 2 "unexpected argument (got '--force')" --base a --delta b --out out -- --force
}

test_usage_not_supported_yet()
{
    refused 2 '--against is not supported yet' --base "$DATA/base" --delta "$DATA/delta" --out out --against x
    want_stderr 'llavamed-apply: hint: *'
}

test_usage_cpu_not_here()
{
    case $(uname -m) in
    x86_64) cpu=neon ;;
    *) cpu=avx2 ;;
    esac
    refused 2 '*' --base "$DATA/base" --delta "$DATA/delta" --out out --cpu "$cpu"
}

test_usage_too_little_memory()
{
    refused 2 '*' --base "$DATA/base" --delta "$DATA/delta" --out out --max-memory 1000
    want_stderr '*[0-9]*'
    refused 2 '*' --base "$DATA/base" --delta "$DATA/delta" --out out --max-memory 1 -n
}

test_usage_hostile_arguments()
{
    refused 2 "unknown option (got '--?[2J?x')" "$(printf -- '--\033[2J\377x')"
    want_lines stderr 0 "$(printf '\033')"
}

test_usage_help()
{
    apply --help
    want_status 0
    want_empty stderr
    want_lines stdout 1 '^Usage: llavamed-apply '
    want_lines stdout 0 '................................................................................'
    want_lines stdout 1 '--max-memory SIZE'
    want_lines stdout 0 '--digests'
    cp .checks/stdout long
    apply -h
    want_status 0
    want_same long .checks/stdout
    apply --help-all
    want_status 0
    want_lines stdout 1 '--digests'
    want_lines stdout 0 '--against'
}

test_usage_version()
{
    apply --version
    want_status 0
    want_empty stderr
    want_lines stdout 1 '^llavamed-apply [0-9]*\.[0-9]*\.[0-9]*$'
    want_lines stdout 1 '^build: .*, .*'
    want_lines stdout 1 '^cpu: [a-z]'
    want_lines stdout 1 '^libraries: .*zlib.*cJSON.*OpenSSL'
    want_lines stdout 1 '^licence: Apache-2.0'
}

test_usage_error_as_json()
{
    apply --json --nonsense
    want_status 2
    want_error 'unknown option*'
    want_json 'r["status"] == 2' 'r["code"] == "USAGE"' 'r["out"] is None' \
        'r["message"] == "unknown option (got '"'--nonsense'"')"' '"--help" in r["hint"]' 'r["problems"] == []'
    apply --against x --json
    want_status 2
    want_json 'r["code"] == "NOT_SUPPORTED_YET"'
}
