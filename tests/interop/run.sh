#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh: the programs against the real libraries, in virtual environments below $BUILD, made when they are not
# there: venv (today's torch, safetensors, huggingface_hub, transformers) and venv-reference (Debian's torch 1.13 with
# transformers 4.28.1, what LLaVA's own script ran on). What is missing is a failure.
# INTEROP_LARGE=1 also merges above 4 GiB and 65,600 records (the writer's tests always write files of those sizes).
# INTEROP_CASES sets the number of random pairs (400), INTEROP_TORCH_CASES that of files laid out as torch does (2000),
# INTEROP_SAFETENSORS_CASES that of files laid out as safetensors does (3000). INTEROP_JOBS sets how
# many parts run at a time (one per processor).
# Ends with "N passed, N failed".
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
program=$build/llavamed-apply
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false TRANSFORMERS_NO_ADVISORY_WARNINGS=1

# environment NAME PYTHON REQUIREMENTS [OPTION]: made anew when the requirements changed.
environment()
{
    venv=$build/$1
    if cmp -s "$3" "$venv/made-from"; then
        return 0
    fi
    rm -rf "$venv"
    "$2" -m venv ${4:+"$4"} "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$3" &&
        cp "$3" "$venv/made-from"
}

mkdir -p "$build"
environment venv "${PYTHON:-python3}" tests/interop/requirements.txt || exit 1
# Debian's own python3 is the one that sees Debian's torch.
environment venv-reference /usr/bin/python3 tests/interop/requirements-reference.txt --system-site-packages || exit 1

environment venv-signing "${PYTHON:-python3}" tests/interop/requirements-signing.txt || exit 1

# Each is one process of Python on one core, or nearly: the longest first, two at a time on two cores.
exec tests/run_check.sh -j "${INTEROP_JOBS:-$(nproc)}" \
    "torch-output=$build/venv-reference/bin/python tests/interop/torch_output.py --program $program \
        ${INTEROP_LARGE:+--large} --newer $build/venv/bin/python --cases ${INTEROP_CASES:-400} --bools 100" \
    "torch-writer=$build/venv-reference/bin/python tests/interop/torch_writer.py --program $build/tools/render_torch \
        --cases ${INTEROP_TORCH_CASES:-2000} --save-pretrained" \
    "torch-writer-today=$build/venv/bin/python tests/interop/torch_writer.py --program $build/tools/render_torch \
        --cases ${INTEROP_TORCH_CASES:-2000}" \
    "safetensors-writer=$build/venv/bin/python tests/interop/safetensors_writer.py \
        --program $build/tools/render_safetensors --cases ${INTEROP_SAFETENSORS_CASES:-3000}" \
    "reference=$build/venv-reference/bin/python tests/interop/reference.py --program $program" \
    "shared-storage=$build/venv-reference/bin/python tests/interop/shared_storage.py --program $program" \
    "meta=$build/venv-reference/bin/python tests/interop/meta_layout.py --program $program" \
    "random=$build/venv/bin/python tests/interop/random_models.py --program $program --cases ${INTEROP_CASES:-400}" \
    "forms=$build/venv/bin/python tests/interop/forms.py --program $program --older $build/venv-reference/bin/python" \
    "archives=$build/venv/bin/python tests/interop/archives.py --program $program --large \
        --older $build/venv-reference/bin/python" \
    "subtracted=$build/venv/bin/python tests/interop/subtracted.py --program $program \
        --older $build/venv-reference/bin/python" \
    "inspect-tensors=$build/venv/bin/python tests/interop/inspect_tensors.py --program $build/llavamed-inspect" \
    "gguf-digests=$build/venv/bin/python tests/interop/gguf_digests.py --program $build/llavamed-inspect" \
    "merge-digests=$build/venv/bin/python tests/interop/merge_digests.py --program $program" \
    "report=$build/venv/bin/python tests/interop/report.py --programs $build" \
    "made-deltas=$build/venv/bin/python tests/interop/made_deltas.py --program $program --cases ${INTEROP_CASES:-400}" \
    "signing=$build/venv-signing/bin/python tests/interop/signing.py --program $program \
        --verify $build/llavamed-verify" \
    "hub=$build/venv/bin/python tests/interop/hub_cache.py --program $program" \
    "records=$build/venv/bin/python tests/interop/hub_records.py --program $program" \
    "attacks=$build/venv/bin/python tests/interop/attacks.py --program $program --packages $build/attacks" \
    "readers=$build/venv/bin/python tests/interop/readers.py --program $program"
