# SPDX-License-Identifier: Apache-2.0
# Made by `make completions` from --help-all of the programs: not to be edited.
# shellcheck shell=bash
#
# Completions of the llavamed programs for bash: source this file, or install it as
# PREFIX/share/bash-completion/completions/llavamed-apply with a link to it for each other program.

# _llavamed_paths -d|-f: directories, or all paths, that begin with $cur
_llavamed_paths()
{
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        COMPREPLY+=("$path")
    done < <(compgen "$1" -- "$cur")
}

# _llavamed_words WORD...: those that begin with $cur
_llavamed_words()
{
    local word
    for word in "$@"; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

# Sets cur to the word that is completed and option to the option whose value it is, or to nothing. bash cuts words at
# '=', so that --format=x comes as three.
_llavamed_place()
{
    local i=$COMP_CWORD before
    cur=${COMP_WORDS[i]}
    option=
    if [[ $cur == = ]]; then
        cur=
        option=${COMP_WORDS[i - 1]}
    elif ((i > 1)); then
        before=${COMP_WORDS[i - 1]}
        [[ $before == = ]] && before=${COMP_WORDS[i - 2]}
        [[ $before == -* ]] && option=$before
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        # Behind "--" nothing is an option.
        [[ ${COMP_WORDS[i]} != -- ]] || option=--
    done
}

_llavamed_apply()
{
    local cur option
    COMPREPLY=()
    _llavamed_place
    case $option in
    --base | --delta | --log-json | --report | --sums | --sign) _llavamed_paths -f ;;
    --out) _llavamed_paths -d ;;
    --format) _llavamed_words safetensors torch ;;
    --torch-profile) _llavamed_words 1.13 2.13 ;;
    --dtype) _llavamed_words delta float16 bfloat16 float32 ;;
    --inv-freq) _llavamed_words keep drop ;;
    --max-shard-size | -j | --threads | --max-memory) : ;;
    --verify) _llavamed_words auto full none ;;
    --part) _llavamed_words auto ;;
    --cpu) _llavamed_words ref avx2 avx512 neon ;;
    --progress) _llavamed_words auto always never ;;
    *)
        if [[ $cur == -* && $option != -- ]]; then
            _llavamed_words \
                --base \
                --delta \
                --out \
                --format \
                --torch-profile \
                --dtype \
                --inv-freq \
                --max-shard-size \
                --verify \
                --digests \
                --allow-unknown-base \
                --force \
                --no-resume \
                --part \
                --finish \
                --no-finish \
                -n --dry-run \
                -j --threads \
                --max-memory \
                --cpu \
                --progress \
                -q --quiet \
                -v --verbose \
                --json \
                --log-json \
                --report \
                -h --help \
                --help-all \
                --version \
                --sums \
                --sign
        fi
        ;;
    esac
}
complete -F _llavamed_apply llavamed-apply

_llavamed_verify()
{
    local cur option
    COMPREPLY=()
    _llavamed_place
    case $option in
    --sums | --public-key | --base | --delta | --against | --identify | --report) _llavamed_paths -f ;;
    --dtype) _llavamed_words delta float16 bfloat16 float32 ;;
    --inv-freq) _llavamed_words keep drop ;;
    --cpu) _llavamed_words ref avx2 avx512 neon ;;
    -j | --threads | --max-memory) : ;;
    --progress) _llavamed_words auto always never ;;
    *)
        if [[ $cur == -* && $option != -- ]]; then
            _llavamed_words \
                --sums \
                --public-key \
                --ignore-extra \
                --base \
                --delta \
                --against \
                --dtype \
                --inv-freq \
                --cpu \
                --identify \
                -j --threads \
                --max-memory \
                --progress \
                -q --quiet \
                -v --verbose \
                --json \
                --report \
                -h --help \
                --help-all \
                --version
        else
            _llavamed_paths -d
        fi
        ;;
    esac
}
complete -F _llavamed_verify llavamed-verify

_llavamed_inspect()
{
    local cur option
    COMPREPLY=()
    _llavamed_place
    case $option in
    --diff | --report) _llavamed_paths -f ;;
    -j | --threads | --max-memory) : ;;
    --progress) _llavamed_words auto always never ;;
    *)
        if [[ $cur == -* && $option != -- ]]; then
            _llavamed_words \
                --tensors \
                --digests \
                --stats \
                --diff \
                -j --threads \
                --max-memory \
                --progress \
                -q --quiet \
                --json \
                --report \
                -h --help \
                --help-all \
                --version
        else
            _llavamed_paths -f
        fi
        ;;
    esac
}
complete -F _llavamed_inspect llavamed-inspect

_llavamed_make_delta()
{
    local cur option
    COMPREPLY=()
    _llavamed_place
    case $option in
    --base | --target | --sums | --log-json) _llavamed_paths -f ;;
    --out) _llavamed_paths -d ;;
    --format) _llavamed_words safetensors torch ;;
    --torch-profile) _llavamed_words 1.13 2.13 ;;
    --dtype) _llavamed_words target float16 bfloat16 float32 ;;
    --inv-freq) _llavamed_words keep drop ;;
    --max-shard-size | -j | --threads | --max-memory) : ;;
    --verify) _llavamed_words auto full none ;;
    --cpu) _llavamed_words ref avx2 avx512 neon ;;
    --progress) _llavamed_words auto always never ;;
    *)
        if [[ $cur == -* && $option != -- ]]; then
            _llavamed_words \
                --base \
                --target \
                --out \
                --format \
                --torch-profile \
                --dtype \
                --inv-freq \
                --exact \
                --max-shard-size \
                --verify \
                --sums \
                --force \
                --no-resume \
                -n --dry-run \
                -j --threads \
                --max-memory \
                --cpu \
                --progress \
                -q --quiet \
                -v --verbose \
                --json \
                --log-json \
                -h --help \
                --help-all \
                --version
        fi
        ;;
    esac
}
complete -F _llavamed_make_delta llavamed-make-delta
