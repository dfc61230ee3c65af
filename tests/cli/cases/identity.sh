# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Recorded SHA-256 sums of inputs: verified before OUT exists, and looked up among the published releases.

VICUNA=5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1
LLAMA=0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0

# record HEX: base/model.safetensors and a SHA256SUMS that gives it this hash
record()
{
    rm -rf base out
    cp -r "$DATA/base" base
    printf '%s  model.safetensors\n' "$1" >base/SHA256SUMS
}

test_identity_known_wrong()
{
    record $VICUNA
    apply --base base --delta "$DATA/delta" --out out
    want_failure 4 '*the base is Vicuna 7B v1.1, not the original LLaMA*'
    apply --base base --delta "$DATA/delta" --out out --json -n
    want_status 4
    want_json 'r["code"] == "PAIR_KNOWN_WRONG"'
    apply --base "$DATA/base-bin" --delta base --out out
    want_failure 4 '*the delta is Vicuna 7B v1.1, not a delta*'
}

# That flag is for a base which nobody knows, not for one which is known to be another model.
test_identity_known_wrong_is_not_overruled()
{
    record $VICUNA
    apply --base base --delta "$DATA/delta" --out out --allow-unknown-base
    want_failure 4 '*the base is Vicuna 7B v1.1, not the original LLaMA*'
    apply --base base --delta "$DATA/delta" --out out --allow-unknown-base --verify none
    want_failure 4 '*the base is Vicuna 7B v1.1, not the original LLaMA*'
    want_stderr '*hint: *original LLaMA*'
    # By a list that was given, too.
    mv base/SHA256SUMS sums
    apply --base base --delta "$DATA/delta" --out out --allow-unknown-base --sums sums
    want_failure 4 '*the base is Vicuna 7B v1.1, not the original LLaMA*'
    apply --base base --delta "$DATA/delta" --out out --allow-unknown-base
    want_status 0
}

test_identity_known_llama()
{
    record $LLAMA
    apply --base base --delta "$DATA/delta" --out out -n -v
    want_status 0
    want_stderr '*the base is LLaMA-1 7B by its recorded SHA-256'
    want_lines stderr 0 'not identified'
    # It only claims to be: the bytes are checked before anything is written.
    apply --base base --delta "$DATA/delta" --out out
    want_failure 1 "*model.safetensors: the SHA-256 differs from the SHA256SUMS beside it*want $LLAMA*"
    # Nobody looks whether the claim is true: then nothing is told from it.
    apply --base base --delta "$DATA/delta" --out out --verify none
    want_status 0
    want_stderr '*the base is not identified*'
    want test "$(grep -c LLaMA-1 out/llavamed-manifest.json)" -eq 0
    rm -rf out
    # A list that went through another system, with CR LF.
    printf '%s  model.safetensors\r\n' "$LLAMA" >base/SHA256SUMS
    apply --base base --delta "$DATA/delta" --out out
    want_failure 1 "*model.safetensors: the SHA-256 differs from the SHA256SUMS beside it*want $LLAMA*"
}

test_identity_right_records()
{
    record "$(sha256sum <"$DATA/base/model.safetensors" | cut -d' ' -f1)"
    apply --base base --delta "$DATA/delta" --out out -v
    want_status 0
    want_stderr '*checking the hashes of 1 input files*'
    want grep -q '"sha256_is": "computed"' out/llavamed-manifest.json
}

test_identity_sums_option()
{
    cp -r "$DATA/base" base
    cp -r "$DATA/delta" delta
    (sha256sum base/* delta/*.bin) >all.txt
    apply --base base --delta delta --out out --sums all.txt
    want_status 0
    want_lines stderr 0 'not named'
    sed "s/^.\(.*base.model.safetensors\)/g\1/" all.txt >bad.txt
    apply --base base --delta delta --out out2 --sums bad.txt
    want_status 3
    sed "s/^.*\(  base.model.safetensors\)/$LLAMA\1/" all.txt >other.txt
    rm -rf out
    apply --base base --delta delta --out out --sums other.txt
    want_failure 1 "*differs from the file given by --sums*"
    mkdir away
    printf '%s  config.json\n' $LLAMA >away/sums
    apply --base base --delta delta --out out --sums away/sums
    want_failure 2 '*config.json fits a file of the base and one of the delta'
    printf '%s  nothing\n' $LLAMA >away/sums
    apply --base base --delta delta --out out --sums away/sums
    want_failure 3 '*no name in it fits an input file'
}

test_identity_verify_full()
{
    apply_pair base delta --verify full -v
    want_status 0
    want_expected delta
    want_stderr '*reading the output back from storage'
    want_lines stderr 1 'checking the hashes of'
    want sh -c "cd out && sha256sum -c SHA256SUMS"
}

# A disk that gives back other bytes than it was given: a library below the program's own plays it.
test_identity_read_back_finds_damage()
{
    local compiler=${CC:-cc}
    command -v "${compiler%% *}" >/dev/null || compiler=cc
    cat >disk.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static int open_file(const char *function, const char *path, int flags, unsigned mode)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, function);
    const char *name = "out.partial/model.safetensors";
    size_t n = strlen(path);
    if ((flags & O_ACCMODE) == O_RDONLY && n >= strlen(name) && strcmp(path + n - strlen(name), name) == 0) {
        int fd = real(path, O_RDWR);
        char byte;
        if (fd >= 0 && pread(fd, &byte, 1, 4000) == 1) {
            byte ^= 4;
            (void)!pwrite(fd, &byte, 1, 4000);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return real(path, flags, mode);
}

#define OPEN(function)                            \
    int function(const char *path, int flags, ...) \
    {                                             \
        va_list args;                             \
        va_start(args, flags);                    \
        unsigned mode = va_arg(args, unsigned);   \
        va_end(args);                             \
        return open_file(#function, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
END
    # shellcheck disable=SC2086
    want $compiler -shared -fPIC -o disk.so disk.c -ldl
    run env LD_PRELOAD="$PWD/disk.so" ASAN_OPTIONS=verify_asan_link_order=0 "$PROGRAM" --base "$DATA/base" \
        --delta "$DATA/delta" --out out --verify full
    want_failure 1 '*/model.safetensors: what was read back is not what was written (SHA-256: got *, want *)'
    want_stderr '*hint: storage or memory of this machine is faulty*'
    run env LD_PRELOAD="$PWD/disk.so" ASAN_OPTIONS=verify_asan_link_order=0 "$PROGRAM" --base "$DATA/base" \
        --delta "$DATA/delta" --out out -q
    want_status 0
    want_expected delta
}
