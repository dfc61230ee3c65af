# SPDX-License-Identifier: Apache-2.0
"""Today's transformers and huggingface_hub as readers of what llavamed-apply wrote, and as writers of what it reads.

A tiny LLaMA and its delta, with a tokenizer, are saved by save_pretrained; the merged directory must load without a
missing or unexpected weight, hold the sum made by hand, compute, and have a model card that parses.

Usage: readers.py --program PATH [--cases N]
Ends with "N passed, N failed".
"""

import argparse
import os
import subprocess
import sys
import tempfile
import traceback

import huggingface_hub
import tokenizers
import torch
import transformers

import checkpoints

HERE = os.path.dirname(os.path.abspath(__file__))


def make_tokenizer(directory, n_words):
    words = {"<unk>": 0, **{f"word{i}": i + 1 for i in range(n_words - 1)}}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    tokenizer.add_tokens(["<im_patch>", "<im_start>", "<im_end>"])
    tokenizer.save_pretrained(directory)
    return tokenizer


def make_models(seed, directory):
    """base/ and delta/; returns the tokenizer and the merged model, made by hand."""
    torch.manual_seed(seed)
    dtype = [torch.float16, torch.bfloat16, torch.float32][seed % 3]
    config = transformers.LlamaConfig(vocab_size=29, hidden_size=16, intermediate_size=24, num_attention_heads=2,
                                      num_key_value_heads=2, num_hidden_layers=1 + seed % 4, max_position_embeddings=32)
    base = transformers.LlamaForCausalLM(config).to(dtype)
    config.vocab_size = 32
    delta, merged = (transformers.LlamaForCausalLM(config).to(dtype) for _ in range(2))
    base_tensors, merged_tensors = base.state_dict(), merged.state_dict()
    with torch.no_grad():
        for name, tensor in delta.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape) * 0.01)
            total = tensor.clone()
            known = base_tensors[name]
            total[tuple(slice(n) for n in known.shape)] += known
            merged_tensors[name].copy_(total)
    base.save_pretrained(f"{directory}/base", max_shard_size=["50GB", "4KB"][seed & 1])
    delta.save_pretrained(f"{directory}/delta", max_shard_size=["50GB", "5KB"][seed >> 1 & 1])
    return make_tokenizer(f"{directory}/delta", 29), merged


def run_case(program, seed):
    """What went wrong, or None."""
    with tempfile.TemporaryDirectory() as directory:
        tokenizer, merged = make_models(seed, directory)
        out = f"{directory}/out"
        arguments = ["--base", f"{directory}/base", "--delta", f"{directory}/delta", "--out", out, "-q",
                     "--max-shard-size", ["5GB", "6KB"][seed % 2],
                     *[["--format", "safetensors"], ["--format", "torch"],
                       ["--format", "torch", "--torch-profile", "2.13"]][seed // 2 % 3]]
        result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if result.returncode != 0:
            return f"exit status {result.returncode}: {result.stderr.decode()[-2000:]}"

        model, info = transformers.AutoModelForCausalLM.from_pretrained(out, dtype="auto", output_loading_info=True)
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info[kind]:
                return f"{kind}: {info[kind]}"
        tensors = model.state_dict()
        for name, tensor in merged.state_dict().items():
            wrong = checkpoints.difference(tensors[name], tensor)
            if wrong:
                return f"{name} {wrong}"
        words = transformers.AutoTokenizer.from_pretrained(out)
        text = "word3 word1 <im_start> <im_patch> <im_end> nothing"
        if words(text)["input_ids"] != tokenizer(text)["input_ids"]:
            return "the tokenizer reads another text"
        tokens = torch.tensor([words(text)["input_ids"]])
        with torch.no_grad():
            if not bool(model(tokens).logits.isfinite().all()):
                return "the merged model computes no finite logits"
        card = huggingface_hub.ModelCard.load(os.path.join(out, "README.md"))
        if not card.data.to_dict():
            return "the model card has no metadata"
        documents = subprocess.run([sys.executable, os.path.join(HERE, "check_documents.py"), out], capture_output=True,
                                   check=False)
        if documents.returncode != 0:
            return f"check_documents: {(documents.stdout + documents.stderr).decode()[-2000:]}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--cases", type=int, default=12)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    program = os.path.abspath(options.program)
    n_passed = n_failed = 0
    for seed in range(options.cases):
        try:
            wrong = run_case(program, seed)
        except Exception:
            wrong = traceback.format_exc()
        n_passed += wrong is None
        n_failed += wrong is not None
        if wrong is not None:
            print(f"case {seed}: {wrong}", flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
