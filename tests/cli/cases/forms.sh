# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The forms that torch.save can give to weights: each one works, or is refused by name with nothing left behind.

# merge_form BASE DELTA: of tests/data/cli_forms; the sum is that of the plain files
merge_form()
{
    rm -rf out
    apply --base "$DATA/../cli_forms/$1" --delta "$DATA/../cli_forms/$2" --out out
    want_status 0
    want_expected delta
}

test_forms_legacy()
{
    merge_form base-legacy.bin delta-legacy.bin
    want_stderr '*warning: base: base-legacy.bin: * carry no CRC-32 and cannot be checked*'
    mkdir base
    cp "$DATA/../cli_forms/base-legacy.bin" base/pytorch_model.bin
    rm -rf out
    apply --base base --delta "$DATA/delta" --out out
    want_status 0
    want_expected delta
}

test_forms_views_with_strides()
{
    merge_form base-transposed.bin delta-transposed.bin
    merge_form base-transposed.bin delta-transposed-legacy.bin
    merge_form base-legacy.bin delta-transposed.bin
}

test_forms_nested()
{
    merge_form base-nested.bin delta-nested-legacy.bin
}

test_forms_parameters()
{
    merge_form base-parameters.bin delta-legacy.bin
}

# refuse_form BASE GLOB: exit 3, the message, the path
refuse_form()
{
    apply --base "$1" --delta "$DATA/delta" --out out
    want_failure 3 "*$(basename "$1"): $2"
}

test_forms_refused()
{
    local bad=$DATA/../torch/bad size
    refuse_form "$DATA/../forms/bomb.pt" 'tensor bomb repeats its storage too often*'
    refuse_form "$DATA/../forms/bomb_together.pt" 'its tensors repeat their storages too often*'
    refuse_form "$bad/pickle_nested_two.pt" "it holds two state dicts, under 'state_dict' and under 'model'"
    refuse_form "$bad/pickle_nested_other_name.pt" 'entry module is a dictionary*'
    refuse_form "$bad/pickle_nested_global.pt" '*numpy.core.multiarray.scalar, *nothing was executed'
    refuse_form "$bad/pickle_untyped.pt" '*torch.storage.UntypedStorage: a tensor of a newer dtype*'
    refuse_form "$bad/pickle_rebuild_v3.pt" '*torch._utils._rebuild_tensor_v3: a tensor of a newer dtype*'
    refuse_form "$bad/torch_tensor_attr.pt" '*_rebuild_from_type_v2: a tensor with Python attributes*'
    refuse_form "$bad/legacy_global.pt" 'its pickle names os.system, *nothing was executed'
    refuse_form "$bad/legacy_order.pt" 'storage 8 does not have the size*'
    for size in 15 30 200 5000; do
        head -c "$size" "$DATA/../cli_forms/base-legacy.bin" >cut.bin
        refuse_form cut.bin 'the file ends inside *'
    done
    cp "$DATA/../cli_forms/base-legacy.bin" longer.bin
    echo >>longer.bin
    refuse_form longer.bin 'bytes follow the last storage*'
    : >sys_info
    tar -cf archive.pt sys_info
    refuse_form archive.pt 'written by torch.save before version 0.1.10 (a tar archive)*'
}
