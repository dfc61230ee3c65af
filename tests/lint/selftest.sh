#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# selftest.sh: plants one violation at a time in a small tree and expects the lint in question to find it, there.
# Ends with "N passed, N failed".
# The "" inside of words keep this file from being a violation itself.
# shellcheck disable=SC1078,SC1079
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
passed=0
failed=0
spdx='/* SPDX-License-Identifier: Apache-2.0 */'
tab=$(printf '\t')

# The tree that is in order.
plant()
{
    mkdir -p "$root/$(dirname "$1")"
    printf '%s\n' "$2" >"$root/$1"
}

fresh()
{
    rm -rf "$root"
    plant include/llavamed.h "$spdx
#ifndef LLAVAMED_H
#define LLAVAMED_H
enum llavamed_status { LLAVAMED_OK };
#endif"
    plant src/core/json.c "$spdx
#include <cjson/cJSON.h>"
    plant src/integrity/zlib.c "$spdx
#include \"core/error.h\"
#include <zlib.h>"
    plant src/integrity/digest.c "$spdx
#include <openssl/evp.h>"
    plant src/integrity/ec_key.c "$spdx
#include <openssl/pem.h>"
    plant src/core/error.h "$spdx
#ifndef CORE_ERROR_H
#define CORE_ERROR_H
#include \"llavamed.h\"
#endif"
}

# expect CHECK WHAT FILE: check_CHECK.sh must fail and name FILE; FILE "-": must pass.
expect()
{
    output=$(LINT_ROOT=$root "$here/check_$1.sh" 2>&1)
    status=$?
    case $3 in
    -) [ "$status" -eq 0 ] ;;
    *) [ "$status" -eq 1 ] && printf '%s\n' "$output" | grep -q "^$3" ;;
    esac
    # shellcheck disable=SC2181
    if [ $? -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'selftest: check_%s does not do right by: %s (exit status %d)\n%s\n' "$1" "$2" "$status" "$output"
    fi
}

# planted CHECK WHAT FILE TEXT: the same for one file planted in a fresh tree.
planted()
{
    fresh
    plant "$3" "$4"
    expect "$1" "$2" "$3"
}

fresh
for check in text deps size headers; do
    expect $check 'a tree in order' -
done

planted text 'a tab' src/core/a.c "$spdx
${tab}int a;"
planted text 'trailing space' src/core/a.c "$spdx
int a; "
planted text 'a carriage return' docs/a.md "$(printf 'text\r')"
planted text 'no SPDX line' src/core/a.c 'int a;'
planted text 'no SPDX line in a script' tests/a.sh '#!/bin/sh'
planted text 'a line too long' src/core/a.c "$spdx
/* $(printf '%0120d' 0) */"
planted text 'a banned function' src/core/a.c "$spdx
static void f(char *a) { str""cpy(a, a); }"
planted text 'a banned function in a test' tests/unit/a.c "$spdx
int f(char *a) { return (ato""i(a)); }"
planted text 'a note to self' src/core/a.c "$spdx
/* TO""DO: mend */"
planted text 'a path of one machine' docs/a.md "see /wo""rk/shared"
fresh
printf '%s\nint a;' "$spdx" >"$root/src/core/a.c"
expect text 'no newline at the end' src/core/a.c

planted deps 'core including format' src/core/a.c "$spdx
#include \"format/zip.h\""
planted deps 'format including kernel' src/format/a.c "$spdx
#include \"kernel/kernel.h\""
planted deps 'kernel including tensor.h' src/kernel/a.c "$spdx
#include \"tensor/tensor.h\""
planted deps 'cli including merge' src/cli/a.c "$spdx
#include \"merge/plan.h\""
planted deps 'a program including core' src/a.c "$spdx
#include \"core/error.h\""
planted deps 'a path upwards' src/core/a.c "$spdx
#include \"../core/error.h\""
planted deps 'zlib in a second file' src/format/a.c "$spdx
#include <zlib.h>"
planted deps 'intrinsics outside the kernels' src/core/a.c "$spdx
#include <immintrin.h>"
planted deps 'a name used twice' src/tensor/error.h "$spdx"
planted deps 'a folder nobody knows' src/util/a.c "$spdx"
planted deps 'printing below cli' src/merge/a.c "$spdx
void f(void) { printf(\"x\"); }"
planted deps 'exit below cli' src/merge/a.c "$spdx
void f(void) { exit(1); }"
fresh
plant src/cli/a.c "$spdx
void f(void) { printf(\"x\"); }"
expect deps 'printing in cli' -
fresh
plant src/core/json.c "$spdx"
expect deps 'a library that nothing includes' src

planted size 'a long function' src/core/a.c "$spdx
static void f(void)
{
$(yes '    f();' | head -n 71)
}"
fresh
plant src/core/a.c "$spdx
static void f(void)
{
$(yes '    f();' | head -n 70)
}"
expect size 'a function just within' -
planted size 'a long file' src/core/a.c "$spdx
$(yes 'extern int a;' | head -n 600)"

planted headers 'a header that needs another' src/core/a.h "$spdx
#ifndef CORE_A_H
#define CORE_A_H
size_t f(void);
#endif"
planted headers 'no include guard' src/core/a.h "$spdx
void f(void);"
fresh
plant src/core/a.h "$spdx
#ifndef CORE_ERROR_H
#define CORE_ERROR_H
#endif"
expect headers 'a guard used twice' 'include guard used twice'

promises='<!-- promises -->
| promise | test | in make check | longer | result |
|---|---|---|---|---|'
planted promises 'a promise whose test is not there' docs/reliability.md "$promises
| a | \`tests/unit/a.c:part\` | | | |
<!-- end of promises -->"
planted promises 'a promise without a test' docs/reliability.md "$promises
| a | later | | | |
<!-- end of promises -->"
planted promises 'no table' docs/reliability.md 'nothing'
fresh
plant tests/unit/a.c "$spdx"
plant docs/reliability.md "$promises
| a | \`tests/unit/a.c:part\` | | | |
<!-- end of promises -->"
expect promises 'a promise with its test' -

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
