# SPDX-License-Identifier: Apache-2.0
"""make_meta.py DIR: one layer in the forms that tests/bench/meta.sh compares: hf, one and two (shards). Needs torch."""
import os
import sys

from safetensors.torch import save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import make_meta_data as maker


def main():
    root = sys.argv[1]
    maker.LAYERS, maker.MULTIPLE_OF = 1, 256
    for name, shards in (("one", 1), ("two", 2)):
        whole = maker.write_model(root, maker.Form(name, shards, 2048, 16, vocab=8000, views=shards > 1), 1)
        # The MD5 of shards is not what is measured.
        os.remove(f"{root}/{name}/checklist.chk")
    os.makedirs(f"{root}/hf")
    save_file(whole, f"{root}/hf/model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
