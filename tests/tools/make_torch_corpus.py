#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the seeds of tests/fuzz/corpus/{zip,torch,torch_stream,pickle,torch_legacy} from tests/data/torch, and those of
archive_source from tests/data/archive_torch and tests/data/cli_archives.

Small files and pickles. Files that a fuzzer found (named crash-* or slow-*) are left alone.
"""

import os
import zipfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(TESTS, "data", "torch")
CORPUS = os.path.join(TESTS, "fuzz", "corpus")

FILES = """good/1.13/emptydict.pt good/1.13/scalar0d.pt good/2.14/crc_off.pt good/handmade/version_1.pt
good/handmade/local_sizes.pt good/handmade/version_dotdata.pt good/handmade/extra_records.pt bad/zip_zip64_leftover.pt
bad/zip_duplicate_case.pt bad/zip_hole.pt bad/zip_descriptor_zero.pt""".split()
PICKLES = """good/1.13/scalar0d.pt good/1.13/mixed.pt good/1.13/od_metadata.pt good/1.13/parameter.pt good/1.13/tied.pt
good/1.13/transposed.pt good/1.13/rank5.pt good/1.13/many40.pt good/1.13/expanded.pt good/handmade/ordered.pt
good/handmade/empty_far_away.pt bad/pickle_memo_bomb.pt bad/pickle_holds_list.pt bad/pickle_deep_tuples.pt
bad/pickle_conflict_size.pt bad/pickle_build_two.pt good/handmade/nested.pt good/handmade/parameter_state.pt""".split()
STREAMS = """good/1.13/mixed.pt good/1.13/empty.pt good/2.14/crc_off.pt good/2.14/emptydict.pt good/handmade/nested.pt
good/rezipped/zipfile.pt good/rezipped/streamed.pt good/rezipped/infozip.pt bad/zip_count_less.pt
bad/pickle_numel_1000.pt""".split()
LEGACY = """good/handmade/legacy.pt good/legacy-1.13/od_metadata.pt good/legacy-1.13/mixed.pt good/legacy-1.13/empty.pt
good/legacy-1.13/transposed.pt good/legacy-2.13/nested.pt good/legacy-python2/metadata.pt good/legacy-python2/nested.pt
bad/legacy_order.pt bad/legacy_keys_twice.pt bad/legacy_view_twice.pt bad/legacy_view_small.pt
bad/legacy_pair_three.pt""".split()


ARCHIVES = """archive_torch/empty-2.13 archive_torch/rezip_zip64 archive_torch/rezip_pipe64 archive_torch/pickle_last
cli_archives/delta-safetensors-streamed cli_archives/no-weights cli_archives/leads-out cli_archives/meta
cli_archives/half""".split()


def put(folder, source, content):
    os.makedirs(os.path.join(CORPUS, folder), exist_ok=True)
    name = os.path.splitext(source.replace("/", "-"))[0]
    with open(os.path.join(CORPUS, folder, name), "wb") as file:
        file.write(content)


for source in FILES + STREAMS:
    with open(os.path.join(DATA, source), "rb") as file:
        content = file.read()
    put("torch_stream", source, content)
    if source in FILES:
        put("zip", source, content)
        put("torch", source, content)
for source in PICKLES:
    with zipfile.ZipFile(os.path.join(DATA, source)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
        put("pickle", source, archive.read(name))
for source in LEGACY + ["../forms/legacy_views.pt", "../forms/training_legacy.pt"]:
    with open(os.path.join(DATA, source), "rb") as file:
        put("torch_legacy", source.replace("../", ""), file.read())
for source in ARCHIVES:
    with open(os.path.join(TESTS, "data", source + ".zip"), "rb") as file:
        put("archive_source", os.path.basename(source) + ".zip", file.read())
