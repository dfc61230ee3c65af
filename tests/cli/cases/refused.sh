# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What people give instead of weights (tests/data/refused): exit 3, told by name, with the remedy, and nothing is left.

REFUSED=$DATA/../refused

# refused_as SOURCE MESSAGE HINT: as base and as delta; SOURCE is below tests/data/refused
refused_as()
{
    apply --base "$REFUSED/$1" --delta "$DATA/delta" --out out
    want_failure 3 "*$1*: $2"
    want_stderr "llavamed-apply: hint: $3"
    apply --base "$DATA/base" --delta "$REFUSED/$1" --out out
    want_failure 3 "*$1*: ${2//for the base/for the delta}"
    want_stderr "llavamed-apply: hint: $3"
}

test_refused_downloads()
{
    refused_as downloads/lfs.safetensors 'a Git LFS pointer*' '*git lfs pull*'
    refused_as lfs-pointers 'a Git LFS pointer*' '*git lfs pull*'
    refused_as downloads/html.bin 'an HTML page*' '*download the file again*'
    refused_as downloads/json.bin "a JSON text*Access to model*" '*download it again*'
    refused_as downloads/xml.safetensors 'an XML text*' '*download it again*'
    refused_as downloads/text.safetensors "a text, not weights (it begins 'Entry not found')" '*download it again*'
    refused_as downloads/empty.bin 'an empty file' '*again*'
    refused_as downloads/zeros.bin 'begins with 512 zero bytes*' '*interrupted*'
    refused_as downloads/model.safetensors.incomplete 'a download that has not ended' '*download again*'
    refused_as incomplete '*for the base*a download has not ended*' '*download again*'
    refused_as downloads/truncated.safetensors '*ends before*' '*download or copy the file again*'
    refused_as downloads/truncated.bin '*cut short*' '*download or copy the file again*'
}

# Both forms in one directory, of which a clone without Git LFS has only one.
test_refused_pointers_beside_real_weights()
{
    cp -r "$DATA/base-bin" base
    cp "$REFUSED/downloads/lfs.safetensors" base/model.safetensors
    apply --base base --delta "$DATA/delta" --out out -v
    want_status 0
    want_expected delta
    want_stderr '*: note: base: model.safetensors stands for Git LFS pointers, not weights'
    want_stderr '*: note: base: several sets of weights: using *, ignoring model.safetensors'
    rm -rf out base/*.bin
    apply --base base --delta "$DATA/delta" --out out
    want_failure 3 'base*: a Git LFS pointer*'
}

test_refused_llama_cpp()
{
    refused_as gguf '*but GGUF files*' '*safetensors or .bin*'
    refused_as gguf/model.gguf 'a GGUF file*' '*safetensors or .bin*'
    refused_as ggml/ggml-ggml.bin 'a GGML file*' '*safetensors or .bin*'
    refused_as ggml/ggml-ggmf.bin 'a GGML file (ggmf*' '*safetensors or .bin*'
    refused_as ggml/ggml-ggjt.bin 'a GGML file (ggjt*' '*safetensors or .bin*'
    refused_as ggml/ggml-ggla.bin 'a GGML adapter (ggla*' '*safetensors or .bin*'
    mkdir base
    cp "$REFUSED/ggml/ggml-ggjt.bin" base/ggml-model-f16.bin
    apply --base base --delta "$DATA/delta" --out out
    want_failure 3 '*ggml-model-f16.bin: a GGML file*'
}

test_refused_other_frameworks()
{
    refused_as tensorflow '*but TensorFlow weights*tf_model.h5*' '*PyTorch*'
    refused_as tensorflow/tf_model.h5 'an HDF5 file*TensorFlow*' '*PyTorch*'
    refused_as tensorflow-ckpt '*but a TensorFlow checkpoint*' '*PyTorch*'
    refused_as tensorflow-ckpt/model.ckpt.index 'a TensorFlow checkpoint*' '*PyTorch*'
    refused_as flax '*but Flax weights*' '*PyTorch*'
    refused_as flax/flax_model.msgpack 'a Flax file*' '*PyTorch*'
    refused_as onnx '*but an ONNX model*' '*PyTorch*'
    refused_as onnx/model.onnx 'an ONNX model*' '*PyTorch*'
}

test_refused_quantised()
{
    refused_as gptq 'a GPTQ-quantised checkpoint (*g_idx*gptq)' '*float16*'
    refused_as gptq/model.safetensors 'a GPTQ-quantised checkpoint*' '*float16*'
    refused_as awq 'an AWQ-quantised checkpoint (*qweight*awq)' '*float16*'
    refused_as bitsandbytes-8bit 'a checkpoint quantised to 8 bits by bitsandbytes (*SCB*' '*float16*'
    refused_as bitsandbytes-4bit 'a checkpoint quantised to 4 bits by bitsandbytes (*absmax*' '*float16*'
}

# The config alone is doubt, not proof: who merged a quantised fine-tune back often left it there.
test_refused_quantised_config_alone_warns()
{
    cp -r "$DATA/base" base
    cp "$REFUSED/gptq/config.json" base/config.json
    apply --base base --delta "$DATA/delta" --out out
    want_status 0
    want_stderr '*warning: base: config.json has a quantization_config*'
    want_expected delta
}

test_refused_adapters_and_tokenizers()
{
    refused_as lora '*but a LoRA adapter*' '*merge_and_unload*'
    refused_as lora-bin '*but a LoRA adapter*' '*merge_and_unload*'
    refused_as lora/adapter_model.safetensors 'a LoRA adapter*lora_A*' '*merge_and_unload*'
    refused_as lora-bin/adapter_model.bin 'a LoRA adapter*lora_A*' '*merge_and_unload*'
    refused_as tokenizer 'a tokenizer without weights for the base*' '*complete the download*'
    refused_as tokenizer/tokenizer.model 'a tokenizer*' '*directory*'
}

# Beside real weights all of these are only neighbours.
test_refused_things_as_neighbours()
{
    cp -r "$DATA/base" base
    cp "$REFUSED"/{lora/*,lora-bin/*,gguf/*,tensorflow/tf_model.h5,flax/*.msgpack,onnx/*} base/
    cp "$REFUSED/downloads/model.safetensors.incomplete" base/
    head -c 100 /dev/zero >base/training_args.bin
    head -c 100 /dev/zero >base/optimizer.pt
    apply --base base --delta "$DATA/delta" --out out
    want_status 0
    want_expected delta
}
