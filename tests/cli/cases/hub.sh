# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ORG/NAME[@REVISION] and snapshot directories of a local Hugging Face cache, made here as huggingface_hub makes it.

META=$DATA/../meta
COMMIT=0123456789abcdef0123456789abcdef01234567

# git_blob FILE: what `git hash-object` says
git_blob()
{
    { printf 'blob %d\0' "$(wc -c <"$1")" && cat "$1"; } | sha1sum | cut -d' ' -f1
}

# blob_name FILE: as the hub names it, weights by their SHA-256 and small files by their git blob
blob_name()
{
    case $1 in
    *.safetensors | *.bin | *.model) sha256sum <"$1" | cut -d' ' -f1 ;;
    *) git_blob "$1" ;;
    esac
}

# make_repository ROOT ORG--NAME FOLDER REVISION COMMIT: blobs, links to them, a ref
make_repository()
{
    local repository=$1/models--$2 file hash
    mkdir -p "$repository/blobs" "$repository/snapshots/$5" "$(dirname "$repository/refs/$4")"
    printf '%s' "$5" >"$repository/refs/$4"
    for file in "$3"/*; do
        hash=$(blob_name "$file")
        cp "$file" "$repository/blobs/$hash"
        ln -sf "../../blobs/$hash" "$repository/snapshots/$5/${file##*/}"
    done
}

make_cache()
{
    unset HF_HOME HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME
    export HF_HUB_CACHE=$PWD/hub
    make_repository hub org--base "$DATA/base" main $COMMIT
    rm -rf delta
    cp -r "$DATA/delta" delta
    rm delta/SHA256SUMS
    make_repository hub org--delta-1.0 delta refs/pr/4 ${COMMIT//0/f}
}

test_hub_name_and_revision()
{
    make_cache
    apply --base org/base --delta org/delta-1.0@refs/pr/4 --out out -v
    want_status 0
    want_expected delta
    want_stderr "*base: org/base found in the Hugging Face cache: */snapshots/$COMMIT"
    apply --base org/base@$COMMIT --delta org/delta-1.0@${COMMIT//0/f} --out out2
    want_status 0
    want cmp out/llavamed-manifest.json out2/llavamed-manifest.json
}

test_hub_places()
{
    make_cache
    unset HF_HUB_CACHE
    mkdir -p home/.cache/huggingface
    export HOME=$PWD/home
    ln -s "$PWD/hub" home/.cache/huggingface/hub
    apply --base org/base --delta delta --out out1
    want_status 0
    rm home/.cache/huggingface/hub
    XDG_CACHE_HOME=$PWD/xdg
    export XDG_CACHE_HOME
    mkdir -p xdg/huggingface
    ln -s "$PWD/hub" xdg/huggingface/hub
    apply --base org/base --delta delta --out out2
    want_status 0
    mv hub home/hub
    run env HF_HOME='~' "$PROGRAM" --base org/base --delta delta --out out3
    want_status 0
    # The program itself expands these.
    # shellcheck disable=SC2016
    run env HF_HOME=/nowhere HUGGINGFACE_HUB_CACHE='$HOME/hub' "$PROGRAM" --base org/base --delta delta --out out4
    want_status 0
    export HUGGINGFACE_HUB_CACHE=/nowhere
    # shellcheck disable=SC2016
    run env HF_HUB_CACHE='${HOME}/hub' "$PROGRAM" --base org/base --delta delta --out out5
    want_status 0
}

test_hub_absent()
{
    make_cache
    apply --base org/nothing --delta delta --out out
    want_failure 3 'org/nothing: no such file or directory (wanted for the base)*Hugging Face cache*'
    want_stderr 'llavamed-apply: hint: hf download org/nothing'
    apply --base org/base@v2 --delta delta --out out
    want_failure 3 'org/base@v2: *'
    want_stderr 'llavamed-apply: hint: hf download org/base --revision v2'
    apply --base "$DATA/base" --delta org/delta-1.0 --out out --json
    want_status 3
    want_json 'r["code"] == "INPUT_MISSING"' 'r["hint"] == "hf download org/delta-1.0"'
    apply --base org/base@../../x --delta delta --out out
    want_failure 3 'org/base@../../x: *'
}

# The cache knows the name too, but a path is a path.
test_hub_existing_path_wins()
{
    make_cache
    mkdir org
    cp -r "$DATA/base-with-projector" org/base
    apply --base org/base --delta delta --out out
    want_failure 4 '*mm_projector*'
}

test_hub_snapshot_directory_given()
{
    make_cache
    apply --base "hub/models--org--base/snapshots/$COMMIT" --delta delta --out out
    want_status 0
    apply --base "hub/models--org--base/snapshots/$COMMIT/model.safetensors" --delta delta --out out2
    want_status 0
    ln -s "hub/models--org--base/snapshots/$COMMIT" short
    apply --base short --delta delta --out out3
    want_status 0
}

test_hub_half_downloaded()
{
    make_cache
    local snapshot=hub/models--org--delta-1.0/snapshots/${COMMIT//0/f} name
    for name in config.json tokenizer.model tokenizer_config.json; do
        mv "$(readlink -f "$snapshot/$name")" kept
        apply --base org/base --delta org/delta-1.0@refs/pr/4 --out out
        want_failure 3 "*$name: cannot open for reading: *"
        want_stderr '*hint: complete the download with: hf download org/delta-1.0'
        mv kept "hub/models--org--delta-1.0/blobs/$(basename "$(readlink "$snapshot/$name")")"
    done
    rm "$(readlink -f "$snapshot/pytorch_model-00002-of-00002.bin")"
    apply --base org/base --delta org/delta-1.0@refs/pr/4 --out out
    want_failure 3 '*pytorch_model-00002-of-00002.bin*'
    want_stderr '*hint: complete the download with: hf download org/delta-1.0'
    rm "$snapshot/pytorch_model-00002-of-00002.bin"
    apply --base org/base --delta "$snapshot" --out out
    want_failure 3 '*pytorch_model-00002-of-00002.bin*'
    want_stderr '*hint: complete the download with: hf download org/delta-1.0'
}

test_hub_links_must_stay_inside()
{
    make_cache
    local snapshot=hub/models--org--base/snapshots/$COMMIT
    cp "$snapshot/model.safetensors" secret
    ln -sf "$PWD/secret" "$snapshot/model.safetensors"
    apply --base org/base --delta delta --out out
    want_failure 3 '*model.safetensors: a link that leaves its repository*'
    apply --base "$snapshot/model.safetensors" --delta delta --out out --json
    want_status 3
    want_json 'r["code"] == "INPUT_UNSAFE"'
    # A neighbour of the same cache is outside too.
    local neighbour
    neighbour=$(blob_name delta/config.json)
    ln -sf "../../../models--org--delta-1.0/blobs/$neighbour" "$snapshot/config.json"
    ln -sf "../../blobs/$(sha256sum <secret | cut -d' ' -f1)" "$snapshot/model.safetensors"
    apply --base org/base --delta delta --out out
    want_failure 3 '*config.json: a link that leaves its repository*'
    printf '../../x' >hub/models--org--base/refs/main
    apply --base org/base --delta delta --out out
    want_failure 3 '*refs/main: does not hold a commit*'
}

# make_meta_repository: Meta's layout, a folder in the snapshot with links of its own
make_meta_repository()
{
    local repository=hub/models--org--meta file
    local snapshot=$repository/snapshots/$COMMIT
    mkdir -p "$repository/blobs" "$repository/refs" "$snapshot/13B"
    printf '%s' $COMMIT >"$repository/refs/main"
    for file in "$META"/two/*.* "$META"/two/13B/*; do
        local name=${file#"$META"/two/}
        cp "$file" "$repository/blobs/$(git_blob "$file")"
        case $name in
        13B/*) ln -sf "../../../blobs/$(git_blob "$file")" "$snapshot/$name" ;;
        *) ln -sf "../../blobs/$(git_blob "$file")" "$snapshot/$name" ;;
        esac
    done
}

test_hub_links_in_a_folder_must_stay_inside()
{
    make_cache
    make_meta_repository
    local snapshot=hub/models--org--meta/snapshots/$COMMIT name kept
    apply --base org/meta --delta "$META/delta" --out out -q
    want_status 0
    rm -rf out
    for name in consolidated.00.pth consolidated.01.pth params.json checklist.chk LICENSE tokenizer_config.json; do
        kept=$(readlink "$snapshot/13B/$name")
        cp "$META/two/13B/$name" secret 2>/dev/null || echo secret >secret
        ln -sfn "$PWD/secret" "$snapshot/13B/$name"
        apply --base org/meta --delta "$META/delta" --out out
        want_failure 3 "*13B/$name: a link that leaves its repository*"
        # As the delta, whose small files are copied.
        apply --base "$META/hf-base" --delta org/meta --out out --allow-unknown-base
        want_failure 3 "*13B/$name: a link that leaves its repository*"
        run "$VERIFY" --identify org/meta
        want_status 3
        want_stderr "*13B/$name: a link that leaves its repository*"
        rm "$snapshot/13B/$name"
        [ -z "$kept" ] || ln -s "$kept" "$snapshot/13B/$name"
    done
}

# Where "../.." leads from a folder that is a link itself is told by the file system alone: not to the decoy.
test_hub_folder_that_is_a_link()
{
    make_cache
    make_meta_repository
    local repository=hub/models--org--meta name=consolidated.00.pth
    local snapshot=$repository/snapshots/$COMMIT
    mkdir -p "$repository/d1/d2" "$repository/d1/blobs"
    mv "$snapshot/13B" "$repository/d1/d2/d3"
    ln -s ../../d1/d2/d3 "$snapshot/13B"
    rm "$repository/d1/d2/d3/"*
    cp "$META"/two/13B/* "$repository/d1/d2/d3"
    run "$VERIFY" --identify org/meta@$COMMIT
    want_status 4
    mv "$repository/d1/d2/d3/$name" secret
    ln -s ../../blobs/abc "$repository/d1/d2/d3/$name"
    echo decoy >"$repository/blobs/abc"
    ln -s "$PWD/secret" "$repository/d1/blobs/abc"
    run "$VERIFY" --identify org/meta@$COMMIT --json
    want_status 3
    want_json 'r["code"] == "INPUT_UNSAFE"'
    want test "$(grep -c "$(sha256sum <secret | cut -d' ' -f1)" .checks/stdout)" -eq 0
    apply --base org/meta --delta "$META/delta" --out out
    want_failure 3 "*13B/$name: a link that leaves its repository*"
    apply --base "$snapshot/13B" --delta "$META/delta" --out out
    want_failure 3 "*13B/$name: a link that leaves its repository*"
}

# The repository may lie on another volume; no part of what is given inside it may lead out of it.
test_hub_snapshot_that_is_a_link()
{
    make_cache
    local snapshot=hub/models--org--base/snapshots/$COMMIT spec
    cp -rL "$snapshot" elsewhere
    ln -s "$PWD/elsewhere" hub/models--org--base/snapshots/main
    # The cache need not be in the words of the path.
    spec=$PWD
    run sh -c 'cd hub/models--org--base/snapshots && exec "$@"' sh "$PROGRAM" --base main --delta "$spec/delta" \
        --out "$spec/out"
    want_failure 3 '*: a link that leaves its repository in the Hugging Face cache (to *elsewhere)'
    rm hub/models--org--base/snapshots/main
    mkdir volume
    mv hub/models--org--base volume/llama
    ln -s ../volume/llama hub/models--org--base
    apply --base org/base --delta delta --out out -q
    want_status 0
    rm -rf out
    mv "volume/llama/snapshots/$COMMIT" kept
    ln -s "$PWD/elsewhere" "volume/llama/snapshots/$COMMIT"
    for spec in org/base "org/base@$COMMIT" "$snapshot" "$snapshot/" "$snapshot/model.safetensors"; do
        apply --base "$spec" --delta delta --out out
        want_failure 3 '*: a link that leaves its repository in the Hugging Face cache (to *elsewhere)'
        run "$VERIFY" --identify "$spec"
        want_status 3
        want_stderr '*: a link that leaves its repository*'
    done
    # Links of a repository behind a link are looked at like those of any other one.
    rm "volume/llama/snapshots/$COMMIT"
    mv kept "volume/llama/snapshots/$COMMIT"
    ln -sf "$PWD/elsewhere/model.safetensors" "$snapshot/model.safetensors"
    for spec in org/base "$snapshot/model.safetensors"; do
        apply --base "$spec" --delta delta --out out
        want_failure 3 '*model.safetensors: a link that leaves its repository*'
        run "$VERIFY" --identify "$spec"
        want_status 3
        want_stderr '*model.safetensors: a link that leaves its repository*'
    done
    rm "$snapshot/model.safetensors"
    apply --base org/base --delta delta --out out
    want_failure 3 '*'
}

# Records of hashes are looked for beside a single file, too, and deeper than the names of the snapshot go.
test_hub_records_must_stay_inside()
{
    make_cache
    local snapshot=hub/models--org--base/snapshots/$COMMIT name spec
    mkdir -p "$snapshot/.cache/huggingface/download"
    printf '%s\n%064d\n9999999999.5\n' $COMMIT 0 >secret
    for name in SHA256SUMS model.safetensors.lfs .cache/huggingface/download/model.safetensors.metadata; do
        ln -s "$PWD/secret" "$snapshot/$name"
        for spec in org/base "$snapshot/model.safetensors"; do
            apply --base "$spec" --delta delta --out out
            want_failure 3 "*$name: a link that leaves its repository*"
            apply --base "$spec" --delta delta --out out --verify none
            want_failure 3 "*$name: a link that leaves its repository*"
        done
        rm "$snapshot/$name"
    done
    apply --base org/base --delta delta --out out -q
    want_status 0
}

# What stands in a file elsewhere is neither followed nor shown.
test_hub_refs_that_are_links()
{
    make_cache
    printf 'secret of another file' >secret
    ln -sf "$PWD/secret" hub/models--org--base/refs/main
    apply --base org/base --delta delta --out out
    want_failure 3 '*refs/main: cannot open for reading: *'
    printf '%s' $COMMIT >secret
    apply --base org/base --delta delta --out out
    want_failure 3 '*refs/main: cannot open for reading: *'
    rm hub/models--org--base/refs/main
    printf 'secret' >hub/models--org--base/refs/main
    apply --base org/base --delta delta --out out
    want_failure 3 '*refs/main: does not hold a commit (got 6 bytes, want 40 hex digits)'
}

# A download that leaves the .safetensors files out brings their index all the same.
test_hub_orphan_index()
{
    cp -r "$DATA/base-bin" base
    printf '{"metadata": {}, "weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}' \
        >base/model.safetensors.index.json
    apply --base base --delta "$DATA/delta" --out out -q
    want_status 0
}

# Small files are in the repository's own git, so their blobs are named as git names them: those are checked too.
test_hub_damaged_small_files()
{
    make_cache
    local base=hub/models--org--base/snapshots/$COMMIT delta=hub/models--org--delta-1.0/snapshots/${COMMIT//0/f}
    local name
    for name in "$base/config.json" "$delta/config.json" "$delta/tokenizer_config.json"; do
        want test -s "$name"
        cp "$(readlink -f "$name")" whole
        printf ' ' >>"$name"
        apply --base org/base --delta "$delta" --out out
        want_failure 1 "*/${name##*/}: the SHA-1 of its git blob differs from the name of its blob*$(git_blob "$name")*"
        apply --base org/base --delta "$delta" --out out -q --verify none
        want_status 0
        rm -rf out
        cat whole >"$name"
    done
    # What the merge does not use may be anything.
    printf 'x' >"$(dirname "$(readlink -f "$base/config.json")")/$COMMIT"
    ln -s "../../blobs/$COMMIT" "$base/tokenizer_config.json"
    apply --base org/base --delta "$delta" --out out -q
    want_status 0
}

# hf download --local-dir: three lines per file, the second its ETag
test_hub_metadata_of_small_files()
{
    local hash
    cp -r "$DATA/delta" delta
    rm delta/SHA256SUMS
    mkdir -p delta/.cache/huggingface/download
    hash=$(git_blob delta/config.json)
    printf '%s\n%s\n%s\n' "$COMMIT" "$hash" 9999999999.5 >delta/.cache/huggingface/download/config.json.metadata
    apply --base "$DATA/base" --delta delta --out out -q
    want_status 0
    rm -rf out
    sed -i 's/}$/ }/' delta/config.json
    apply --base "$DATA/base" --delta delta --out out
    want_failure 1 "delta/config.json: the SHA-1 of its git blob differs from the record of its download*want $hash)"
    apply --base "$DATA/base" --delta delta --out out --verify full
    want_failure 1 "delta/config.json: the SHA-1 of its git blob differs*"
    # Changed after the download: the record is of another file, as huggingface_hub sees it too.
    printf '%s\n%s\n%s\n' "$COMMIT" "$hash" 1000000000.5 >delta/.cache/huggingface/download/config.json.metadata
    apply --base "$DATA/base" --delta delta --out out -q
    want_status 0
}
