#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_documents.py OUT_DIR: judges the documents of a merged directory, or of a made delta, with other people's libraries.

huggingface_hub parses the model card, hashlib checks SHA256SUMS, json reads the manifest, and zlib computes the CRC-32 of
every tensor as safetensors, or torch in .bin shards, finds it. Ends with "N passed, N failed"; exit status 1 when anything failed.
"""

import hashlib
import json
import pathlib
import re
import sys
import zlib

import safetensors
from huggingface_hub import ModelCard

passed = 0
failed = 0


def check(holds, what):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print("failed:", what)


def sha256_of(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Names on the Hub of what hashes can name.
HUB_NAMES = {f"LLaMA-1 {size}": f"huggyllama/llama-{size.lower()}" for size in ("7B", "13B", "30B", "65B")}
HUB_NAMES["LLaVA-Med v1 7B delta"] = "microsoft/llava-med-7b-delta"


def check_origin(data, manifest):
    """Base, delta (or target) and digest, as the front matter gives them to programs."""
    inputs = manifest["inputs"]
    roles = [role for role in inputs if role != "base"]
    told = data.get("llavamed", {})
    check(told.get("version") == manifest["tool"]["version"], "README.md: llavamed: version")
    for role, facts in inputs.items():
        check(told.get(role) == facts["identity"], f"README.md: llavamed: {role}")
    check(told.get("model_sha256") == manifest["result"].get("model_sha256"), "README.md: llavamed: model_sha256")
    base = HUB_NAMES.get(inputs["base"]["identity"])
    delta = HUB_NAMES.get(inputs["delta"]["identity"]) if roles == ["delta"] else None
    want = [base, delta] if base and delta else base
    check(data.get("base_model") == want, "README.md: base_model")


def check_tables(text, manifest):
    """The rows of "Inputs" and "Weights" are what the manifest says, digests included."""
    rows = [tuple(re.sub(r"\\(.)", r"\1", cell) for cell in line[2:-2].split(" | "))
            for line in text.splitlines() if line.startswith("| ") and line.endswith(" |")]
    for role, facts in manifest["inputs"].items():
        for row in facts["files"]:
            digest = row.get("sha256", "not computed") + (" (recorded)" if row.get("sha256_is") == "recorded" else "")
            found = [r for r in rows if r[0] == role and r[-1] == digest and r[-2] == str(row["bytes"])]
            check(found, f"README.md: no row of {role}: {row}")
    for shard in manifest["shards"]:
        check((shard["name"], str(shard["bytes"]), shard["sha256"]) in rows, f"README.md: no row of {shard['name']}")


def check_card(out, manifest):
    text = (out / "README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    data = card.data.to_dict()
    check(text.startswith("---\n") and data, "README.md: no front matter")
    check(data.get("license") == "other", "README.md: license")
    check(data.get("license_name"), "README.md: license_name")
    check((out / str(data.get("license_link"))).is_file(), "README.md: license_link names no file")
    check(data.get("language") in ("en", ["en"]), "README.md: language")
    check(data.get("pipeline_tag") in ("image-text-to-text", "text-generation"), "README.md: pipeline_tag")
    check("research-only" in data.get("tags", []), "README.md: tags")
    check("research only" in card.text.lower(), "README.md: the notice is missing")
    check("never for clinical care" in card.text.lower(), "README.md: the notice says nothing of patients")
    check("(NOTICE-research-only.md)" in card.text, "README.md: does not point to the notice")
    notice = (out / "NOTICE-research-only.md").read_text(encoding="utf-8")
    check("must not be used in clinical care" in notice and "research only" in notice, "the notice does not say it")
    check_origin(data, manifest)
    check_tables(card.text, manifest)
    is_merge = "delta" in manifest["inputs"]
    check(("## Loading\n\n" if is_merge else "## Applying\n\n") in card.text, "README.md: what to do with it")
    check(not is_merge or "from_pretrained(" in card.text, "README.md: how to load it")
    # What is parsed and written again parses to the same: nothing in it was lost on YAML.
    check(ModelCard(str(card)).data.to_dict() == data, "README.md: front matter does not round-trip")


def check_sums(out):
    lines = (out / "SHA256SUMS").read_bytes().decode("utf-8").split("\n")
    check(lines[-1] == "", "SHA256SUMS: no newline at the end")
    sums = {}
    for line in lines[:-1]:
        escaped = line.startswith("\\")
        digest, name = line.lstrip("\\")[:64], line[66 + escaped:]
        if escaped:
            name = name.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace("\0", "\\")
        sums[name] = digest
    names = sorted(p.name for p in out.iterdir())
    check(sorted([*sums, "SHA256SUMS"]) == names, "SHA256SUMS: lists other files than there are")
    check(list(sums) == sorted(sums, key=lambda n: n.encode()), "SHA256SUMS: not sorted")
    for name, digest in sums.items():
        check(sha256_of(out / name) == digest, f"SHA256SUMS: {name}")
    return sums


def tensors_of(path):
    """Name, dtype, shape and bytes of each tensor of a shard."""
    if path.suffix != ".bin":
        for name, found in safetensors.deserialize(path.read_bytes()):
            yield name, found["dtype"], list(found["shape"]), found["data"]
        return
    import torch  # not needed for the other form

    names = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
             torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
             torch.int64: "I64"}
    for name, tensor in torch.load(path, weights_only=True).items():
        yield name, names[tensor.dtype], list(tensor.shape), bytes(tensor.untyped_storage())


def check_tensors(out, manifest):
    listed = {}
    for tensor in manifest["tensors"]:
        check(tensor["name"] not in listed, f"manifest: {tensor['name']} is there twice")
        listed[tensor["name"]] = tensor
    seen = set()
    for shard in manifest["shards"]:
        path = out / shard["name"]
        check(path.stat().st_size == shard["bytes"], f"manifest: bytes of {shard['name']}")
        for name, dtype, shape, data in tensors_of(path):
            tensor = listed.get(name)
            check(tensor is not None, f"manifest: {name} is missing")
            if tensor is None:
                continue
            seen.add(name)
            check(tensor["shard"] == shard["name"], f"manifest: shard of {name}")
            check(tensor["dtype"] == dtype, f"manifest: dtype of {name}")
            check(tensor["shape"] == shape, f"manifest: shape of {name}")
            check(tensor["crc32"] == f"{zlib.crc32(data):08x}", f"manifest: crc32 of {name}")
    check(seen == set(listed), "manifest: tensors that no shard holds")
    return listed


def check_manifest(out, sums):
    raw = (out / "llavamed-manifest.json").read_bytes()
    check(raw.isascii(), "manifest: not ASCII")
    manifest = json.loads(raw)
    check((manifest["format"], manifest["version"]) == ("llavamed-manifest", 1), "manifest: format")
    listed = check_tensors(out, manifest)
    files = manifest["shards"] + manifest["documents"]
    for row in files:
        check(sums.get(row["name"]) == row["sha256"], f"manifest: sha256 of {row['name']}")
        check((out / row["name"]).stat().st_size == row["bytes"], f"manifest: bytes of {row['name']}")
    named = {row["name"] for row in files} | {"llavamed-manifest.json", "SHA256SUMS"}
    check(named == {p.name for p in out.iterdir()}, "manifest: lists other files than there are")
    result = manifest["result"]
    check(result["tensors"] == len(listed), "manifest: number of tensors")
    check(result["shard_bytes"] == sum(row["bytes"] for row in manifest["shards"]), "manifest: shard_bytes")
    for key in ("nan", "infinite", "rounded", "overflowed"):
        check(result[key] == sum(t.get(key, 0) for t in listed.values()), f"manifest: sum of {key}")
    for role in manifest["inputs"]:
        for row in manifest["inputs"][role]["files"]:
            check("/" not in row["name"] and row["bytes"] > 0, f"manifest: files of {role}")
    check(str(out.resolve()).encode() not in raw, "manifest: holds an absolute path")
    return manifest


def check_index(out):
    bins = sorted(p.name for p in out.glob("*.bin"))
    shards = bins or sorted(p.name for p in out.glob("*.safetensors"))
    index = out / ("pytorch_model.bin.index.json" if bins else "model.safetensors.index.json")
    check(index.exists() == (len(shards) > 1), "index: there only with several shards")
    if index.exists():
        mapped = json.loads(index.read_text())["weight_map"]
        check(sorted(set(mapped.values())) == shards, "index: names other shards")


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} OUT_DIR")
    out = pathlib.Path(sys.argv[1])
    check_card(out, check_manifest(out, check_sums(out)))
    check_index(out)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
