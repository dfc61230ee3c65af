# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A base that is not LLaMA-1 by its config.json and shapes, and other wrong pairs: exit 4, or a warning when in doubt.
# The values are those of the published config.json of each model.

# with_config JSON: ./base is the good base with these members in its config.json
with_config()
{
    rm -rf base out
    cp -r "$DATA/base" base
    python3 -c 'import json, sys
config = json.load(open("base/config.json"))
config.update(json.loads(sys.argv[1]))
json.dump(config, open("base/config.json", "w"))' "$1"
    apply --base base --delta "$DATA/delta" --out out
}

# wrong_config JSON MESSAGE
wrong_config()
{
    with_config "$1"
    want_failure 4 "base: the base $2"
    want_stderr '*hint: *'
}

# doubtful_config JSON WARNING
doubtful_config()
{
    with_config "$1"
    want_status 0
    want_stderr "llavamed-apply: warning: base: $2"
    want grep -q 'base: its config.json' out/llavamed-manifest.json
}

test_signs_llama2()
{
    wrong_config '{"hidden_size": 4096, "rms_norm_eps": 1e-05, "max_position_embeddings": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rope_scaling": null}' \
        'is not LLaMA-1 but looks like Llama-2: it has a norm epsilon of 1e-05 at width 4096*, 4096 positions*'
    want_stderr '*hint: *original LLaMA*'
    apply --base base --delta "$DATA/delta" --out out --json
    want_json 'r["code"] == "PAIR_BASE_OTHER"' 'r["status"] == 4'
    apply --base base --delta "$DATA/delta" --out out -n
    want_failure 4 '*looks like Llama-2*'
    wrong_config '{"hidden_size": 8192, "rms_norm_eps": 1e-05, "num_attention_heads": 64, "num_key_value_heads": 8}' \
        '*8 key and value heads for 64 heads*'
    wrong_config '{"hidden_size": 4096, "rms_norm_eps": 1e-05, "rope_theta": 1000000}' '*rope_theta 1e+06*'
    wrong_config '{"model_type": "mistral", "architectures": ["MistralForCausalLM"]}' '*looks like mistral*'
}

test_signs_llama1_passes()
{
    with_config '{"hidden_size": 4096, "rms_norm_eps": 1e-06, "max_position_embeddings": 2048}'
    want_status 0
    want_lines stderr 0 'warning: base: '
    with_config '{"hidden_size": 8192, "rms_norm_eps": 1e-05, "max_position_embeddings": 2048, "rope_scaling": null,
        "num_attention_heads": 64, "num_key_value_heads": 64, "pretraining_tp": 1, "max_sequence_length": 2048}'
    want_status 0
    want_lines stderr 0 'warning: base: '
    want_expected delta
}

# decapoda-research/llama-7b-hf: the weights are right, the tokenizer is not and comes from the delta anyway.
test_signs_decapoda()
{
    rm -rf base
    cp -r "$DATA/base" base
    echo '{"architectures": ["LLaMAForCausalLM"], "model_type": "llama", "hidden_size": 4096, "rms_norm_eps": 1e-06}' \
        >base/config.json
    apply --base base --delta "$DATA/delta" --out out -v
    want_status 0
    want_stderr '*base: converted by a very early script*tokenizer is wrong and not used'
    want cmp out/tokenizer.model "$DATA/delta/tokenizer.model"
}

test_signs_doubtful()
{
    doubtful_config '{"max_position_embeddings": 4096}' '*max_position_embeddings 4096*'
    doubtful_config '{"rope_scaling": {"type": "linear", "factor": 4.0}}' '*rope_scaling*'
    doubtful_config '{"_name_or_path": "lmsys/vicuna-7b-v1.1"}' '*vicuna-7b-v1.1*'
    with_config '{}'
    echo '{"[PAD]": 32000}' >base/added_tokens.json
    apply --base base --delta "$DATA/delta" --out out --force
    want_status 0
    want_stderr '*warning: base: its added_tokens.json has [[]PAD]*'
}

# What the delta says too is no sign against the base; one for another kind of model is not judged.
test_signs_delta_decides()
{
    cp -r "$DATA/delta" delta
    python3 -c 'import json
for folder in "delta", "base":
    config = json.load(open(folder + "/config.json")) if folder == "delta" else {"model_type": "llama"}
    config.update({"hidden_size": 4096, "rms_norm_eps": 1e-05, "max_position_embeddings": 4096})
    if folder == "delta":
        json.dump(config, open(folder + "/config.json", "w"))
    else:
        json.dump(config, open("config.json", "w"))'
    cp -r "$DATA/base" base
    cp config.json base/
    apply --base base --delta delta --out out
    want_status 0
    want_lines stderr 0 'warning: base: '
}

test_signs_already_llava()
{
    wrong_config '{"mm_vision_tower": "openai/clip-vit-large-patch14"}' 'already is a LLaVA model*mm_vision_tower*'
    wrong_config '{"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]}' 'already is a LLaVA model*llava*'
    wrong_config '{"mm_projector_type": "mlp2x_gelu", "max_position_embeddings": 4096}' 'already is a LLaVA model*'
    apply_pair delta-safetensors base
    want_failure 4 '*already is a LLaVA model*'
    want_stderr '*hint: *exchanged*'
    # The delta served as if it were the model.
    apply_pair delta-safetensors delta
    want_failure 4 '*already is a LLaVA model*'
}

# Of the real width, headers alone: the data is a hole.
test_signs_rows()
{
    python3 -c 'import json, os, struct
for name, rows in ("base", 32001), ("delta", 32004), ("right", 32000), ("later", 32016):
    os.makedirs(name)
    size = rows * 4096 * 2
    header = {"model.embed_tokens.weight": {"dtype": "F16", "shape": [rows, 4096], "data_offsets": [0, size]}}
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(name + "/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)'
    apply --base base --delta delta --out out -n
    want_failure 4 '*looks like Vicuna v0 or Alpaca: it has 32001 rows of embeddings (LLaMA-1: 32000)'
    want_stderr '*hint: give the original LLaMA*'
    apply --base later --delta delta --out out -n
    want_failure 4 '*32016 rows of embeddings*'
    apply --base right --delta delta --out out -n
    want_status 0
    apply --base delta --delta right --out out -n
    want_failure 4 '*32004 rows of embeddings*'
    want_stderr "*hint: the delta has fewer rows of embeddings (32000) than the base (32004): were base and delta exch*"
}

test_signs_delta_of_another_size()
{
    mkdir base
    python3 -c 'import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + n])
header = {name: row for name, row in header.items() if not name.startswith("model.layers.1.")}
body, offset = b"", 0
for name, row in header.items():
    if name != "__metadata__":
        begin, end = row["data_offsets"]
        body += data[8 + n + begin:8 + n + end]
        row["data_offsets"] = [offset, offset + end - begin]
        offset += end - begin
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open("base/model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)' \
        "$DATA/base/model.safetensors"
    apply --base base --delta "$DATA/delta" --out out
    want_failure 4 '*do not belong together*'
    want_stderr "*hint: the base has 1 layers, the delta 2: take the base of the delta's size"
}
