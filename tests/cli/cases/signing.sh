# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# --sign and --public-key. What a signature is over, and whether it is, the openssl command and Python tell; the real
# package model_signing, whose bundles and keys are in $KEYS, is in tests/interop/signing.py.

KEYS=$DATA/../signature

# sign_pair KEY OPTION...: a small merge to ./out, signed
sign_pair()
{
    local key=$1
    shift
    apply_pair base delta -q --sign "$KEYS/$key" "$@"
}

# unpack DIR: DIR/model.sig as ./payload, ./pae and ./sig, by Python
unpack()
{
    want python3 -c 'import base64, json, sys
envelope = json.load(open(sys.argv[1] + "/model.sig"))["dsseEnvelope"]
payload = base64.b64decode(envelope["payload"])
kind = envelope["payloadType"].encode()
open("payload", "wb").write(payload)
open("pae", "wb").write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
open("sig", "wb").write(base64.b64decode(envelope["signatures"][0]["sig"]))' "$1"
}

# want_signed DIR PUBLIC HASH: openssl says so, and the payload names all files of DIR with the digests of sha256sum
want_signed()
{
    unpack "$1"
    want openssl dgst "-$3" -verify "$KEYS/$2" -signature sig pae
    # Nothing is taken for a signature of something else.
    printf 'x' >>pae
    want bash -c "! openssl dgst -$3 -verify '$KEYS/$2' -signature sig pae"
    want python3 -c 'import hashlib, json, os, sys
top = sys.argv[1]
names = sorted(n for n in os.listdir(top) if n != "model.sig")
files = {n: hashlib.sha256(open(os.path.join(top, n), "rb").read()) for n in names}
r = json.load(open("payload"))
assert r["predicate"]["resources"] == [
    {"algorithm": "sha256", "digest": h.hexdigest(), "name": n} for n, h in files.items()]
root = hashlib.sha256(b"".join(h.digest() for h in files.values())).hexdigest()
assert r["subject"] == [{"name": os.path.basename(os.path.realpath(top)), "digest": {"sha256": root}}]
assert "SHA256SUMS" in files and "llavamed-manifest.json" in files' "$1"
}

# change EXPRESSION: runs Python on the bundle b and its payload p, and writes out/model.sig anew
change()
{
    want python3 -c 'import base64, json, sys
b = json.load(open("out/model.sig"))
e = b["dsseEnvelope"]
p = json.loads(base64.b64decode(e["payload"]))
before = json.dumps(p)
exec(sys.argv[1])
if json.dumps(p) != before:
    e["payload"] = base64.b64encode(json.dumps(p).encode()).decode()
json.dump(b, open("out/model.sig", "w"))' "$1"
}

want_finding_line()
{
    local line holds=0
    while IFS= read -r line; do
        # shellcheck disable=SC2053
        [[ $line == $1 ]] && holds=1
    done <.checks/stdout
    note_check $holds "no finding '$1': $(head -n 4 .checks/stdout | tr '\n' ' ')"
}

# want_refused GLOB: verified with the key, out is not intact, and a finding matches
want_refused()
{
    verify out -q --public-key "$KEYS/p256.pub"
    want_status 1
    want_finding_line "$1"
}

test_signing_every_curve()
{
    local pair
    for pair in p256:sha256 p384:sha384 p521:sha512; do
        rm -rf out
        sign_pair "${pair%:*}.pem" --json
        want_status 0
        want_json 'r["result"]["signing_key_sha256"] ==
            json.load(open("out/model.sig"))["verificationMaterial"]["publicKey"]["hint"]'
        want_signed out "${pair%:*}.pub" "${pair#*:}"
        want_json 'r["result"]["signed_sha256"] == json.load(open("payload"))["subject"][0]["digest"]["sha256"]' \
            "r['result']['signing_key_sha256'] ==
                hashlib.sha256(open('$KEYS/${pair%:*}.pub', 'rb').read()).hexdigest()"
        verify out --public-key "$KEYS/${pair%:*}.pub"
        want_status 0
        want_empty stdout
        want_stderr 'llavamed-verify: signed: model.sig over * files, with the key of SHA-256 *'
    done
}

# Nothing else in OUT depends on it, whatever its form; and none of its lists names it.
test_signing_changes_no_other_byte()
{
    local options
    for options in '' '--format torch --max-shard-size 4KB' '--max-shard-size 2KB --verify full'; do
        rm -rf out plain
        # shellcheck disable=SC2086
        apply_pair base delta -q $options
        mv out plain
        # shellcheck disable=SC2086
        sign_pair p256.pem $options
        want_status 0
        want_signed out p256.pub sha256
        want bash -c 'cd out && sha256sum -c --quiet SHA256SUMS'
        want bash -c '! grep -q model.sig out/SHA256SUMS out/llavamed-manifest.json'
        rm out/model.sig
        want diff -r out plain
    done
}

test_signing_keys_in_other_spellings()
{
    sign_pair pkcs8.pem
    want_status 0
    want_signed out p256.pub sha256
    verify out -q --public-key "$KEYS/compressed.pub"
    want_status 0
    openssl ecparam -name prime256v1 -genkey -out with-parameters.pem 2>/dev/null
    rm -rf out
    apply_pair base delta -q --sign with-parameters.pem
    want_status 0
    openssl pkey -in with-parameters.pem -pubout -out own.pub
    verify out -q --public-key own.pub
    want_status 0
}

# What is no key for signing is said before anything is read, and nothing is left; so by a dry run.
test_signing_wrong_keys()
{
    local one option
    for one in 'encrypted.pem:the key is encrypted*' 'encrypted-old.pem:the key is encrypted*' \
        'rsa.pem:*[(]got RSA, *' \
        'ed25519.pem:*[(]got ED25519, *' 'secp256k1.pem:*[(]got EC on secp256k1, *' 'p256.der:no private key in PEM' \
        'p256.pub:a public key (want the private one)' 'two-halves.pem:*of two keys' 'flat/empty:no private key*' \
        'none.pem:*No such file or directory' 'flat:not a regular file*'; do
        for option in -q -n; do
            apply --base missing --delta missing --out out --sign "$KEYS/${one%%:*}" $option
            want_failure 3 "$KEYS/${one%%:*}: ${one#*:}"
        done
    done
    apply_pair base delta --sign "$KEYS/rsa.pem" --json -q
    want_status 3
    want_json 'r["code"] == "KEY_INVALID" and r["result"]["signing_key_sha256"] is None'
    apply_pair base delta --sign
    want_failure 2 '*--sign*'
    apply_pair base delta --sign "$KEYS/p256.pem" --sign "$KEYS/p384.pem"
    want_failure 2 '*--sign*'
}

test_signing_unreadable_key()
{
    cp "$KEYS/p256.pem" key.pem
    chmod 0 key.pem
    run_unprivileged "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -q --sign key.pem
    want_failure 3 'key.pem: *Permission denied'
}

test_signing_dry_run()
{
    sign_pair p256.pem -n --json
    want_status 0
    want_json 'len(r["result"]["signing_key_sha256"]) == 64 and r["result"]["signed_sha256"] is None'
    want_nothing_left
}

# An OUT with a signature is this program's; a new one without --sign has none, and none of an old one is left.
test_signing_force()
{
    sign_pair p256.pem
    apply_pair base delta -q
    want_status 5
    sign_pair p384.pem --force
    want_status 0
    want_signed out p384.pub sha384
    apply_pair base delta -q --force
    want_status 0
    want test ! -e out/model.sig
    sign_pair p256.pem --force
    want_status 0
    rm out/model.sig
    mkdir out/model.sig
    apply_pair base delta -q --force
    want_status 5
    want_error "out: not replaced, because 'model.sig' in it is not what this program wrote*"
    want_lines stderr 1 error
}

# kill_in_the_middle OPTION...: a run that is killed once it has written something
kill_in_the_middle()
{
    local i=0 pid
    "$PROGRAM" --base m/base --delta m/delta --out out --cpu ref --max-memory 2MiB -q "$@" &
    pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt 12000 ] && [ ! -e out ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test ! -e out
    want test -s out.partial/.llavamed-journal
}

# Killed without a signature and continued with one, and the other way round: whether there is one determines no byte.
test_signing_resume()
{
    synth m --scale 0.006
    kill_in_the_middle
    apply --base m/base --delta m/delta --out out -q --json --sign "$KEYS/p521.pem"
    want_status 0
    want_json 'r["bytes"]["reused"] > 1000000'
    want_signed out p521.pub sha512
    mv out signed
    kill_in_the_middle --sign "$KEYS/p256.pem"
    apply --base m/base --delta m/delta --out out -q --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 1000000'
    rm signed/model.sig
    want diff -r signed out
}

test_signing_several_outputs()
{
    apply --base "$DATA/base" --delta "$DATA/delta" --out one --delta "$DATA/delta" --out two -q --json \
        --sign "$KEYS/p256.pem"
    want_status 0
    want_signed one p256.pub sha256
    want_signed two p256.pub sha256
    want_json 'all(len(o["result"]["signed_sha256"]) == 64 for o in r["outputs"])'
}

# Read with a system call tracer: no shard is opened for reading once it was written.
test_signing_reads_no_shard_again()
{
    run strace -f -e trace=openat,open -o trace "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out out -q \
        --sign "$KEYS/p256.pem"
    # Leaks cannot be looked for under a tracer.
    grep -q LeakSanitizer .checks/stderr || want_status 0
    want grep -q 'out.partial/model.safetensors' trace
    want bash -c '! grep "out.partial/model.safetensors" trace | grep -v O_CREAT | grep -q O_RDONLY'
}

# ---- Verifying ----

test_signing_without_a_key_is_a_note()
{
    sign_pair p256.pem
    verify out
    want_status 0
    want_empty stdout
    want_stderr '*the signature model.sig is not verified: --public-key does that'
    change 'e["signatures"][0]["sig"] = "AAAA"'
    verify out -q
    want_status 0
}

test_signing_tampered_bundles()
{
    sign_pair p256.pem
    cp out/model.sig good
    local one
    for one in 'p["subject"][0]["name"] = "other"|*the signature is not this key*over the payload*' \
        'p["predicate"]["resources"].pop()|*the signature is not this key*' \
        'p["predicate"]["resources"][0]["digest"] = "0" * 64|*the signature is not this key*' \
        'p["predicate"]["serialization"]["ignore_paths"].append("README.md")|*the signature is not this key*' \
        's = e["signatures"][0]; s["sig"] = base64.b64encode(base64.b64decode(s["sig"])[:-1]).decode()|*not this key*' \
        'e["signatures"][0]["sig"] = ""|*the signature is not this key*' \
        'e["signatures"] = []|*no signature in it' \
        'e["payloadType"] = "text/plain"|*a signature over something else [(]got text/plain, want *' \
        'e["payload"] = "?"|*missing or not base64' \
        'b["mediaType"] = "application/x"|*a bundle of another kind [(]got application/x, want *' \
        'b["verificationMaterial"]["publicKey"]["hint"] = "00"|*signed with another key (got *' \
        'b["verificationMaterial"] = {"certificate": {}}|*made with a certificate*' \
        'b.clear()|*not a Sigstore bundle*'; do
        cp good out/model.sig
        change "${one%%|*}"
        want_refused "model.sig: ${one#*|}"
    done
    printf '{' >out/model.sig
    want_refused 'model.sig: *'
    : >out/model.sig
    want_refused 'model.sig: *'
    rm out/model.sig
    want_refused 'model.sig: is missing: nothing is signed'
    ln -s "$PWD/good" out/model.sig
    want_refused 'model.sig: is a symbolic link (want a plain file)'
}

test_signing_other_key()
{
    sign_pair p256.pem
    verify out -q --public-key "$KEYS/p384.pub"
    want_status 1
    want_finding_line 'model.sig: signed with another key (got the one with SHA-256 *, want *'
    # Whoever changes the hint too has still not signed it.
    change "b['verificationMaterial']['publicKey']['hint'] = __import__('hashlib').sha256(
        open('$KEYS/p384.pub', 'rb').read()).hexdigest()"
    verify out -q --public-key "$KEYS/p384.pub"
    want_status 1
    want_finding_line 'model.sig: the signature is not this key*'
    change 'del b["verificationMaterial"]["publicKey"]["hint"]'
    verify out -q --public-key "$KEYS/p256.pub"
    want_status 0
}

# Every file in turn changed, with its records written anew as anybody can: only the signature tells.
test_signing_tampered_files()
{
    sign_pair p256.pem
    cp -r out good
    local name
    for name in $(cd good && ls); do
        [ "$name" != model.sig ] || continue
        rm -rf out
        cp -r good out
        printf ' ' >>"out/$name"
        # shellcheck disable=SC2094
        [ "$name" = SHA256SUMS ] || (cd out && find . -type f ! -name SHA256SUMS ! -name model.sig -printf '%P\n' |
            sort | xargs sha256sum >SHA256SUMS)
        want_refused "$name: its SHA-256 is not the signed one (got $(sha256sum "out/$name" | cut -c 1-64), want *"
    done
}

test_signing_file_set()
{
    sign_pair p256.pem
    cp -r out good
    echo x >out/extra.py
    want_refused 'extra.py: is extra*'
    (cd out && sha256sum extra.py >>SHA256SUMS)
    want_refused 'extra.py: is not signed: not named by model.sig'
    rm -rf out
    cp -r good out
    rm out/config.json
    want_refused 'config.json: is missing*'
    sed -i '/config.json/d' out/SHA256SUMS
    want_refused 'config.json: is missing*'
    rm out/SHA256SUMS out/llavamed-manifest.json
    want_refused 'config.json: is missing, named by model.sig'
    want_finding_line 'SHA256SUMS: is missing, named by model.sig'
    want_finding_line 'llavamed-manifest.json: is missing, named by model.sig'
}

# A directory that the package signed, and that has no other record.
test_signing_package_signature()
{
    cp -r "$KEYS/flat" out
    cp "$KEYS/flat.sig" out/model.sig
    verify out -q --public-key "$KEYS/p256.pub" --json
    want_status 0
    want_json 'r["intact"] is True and r["files_signed"] == 6 and r["tensors_checked"] == 0' \
        "r['signing_key_sha256'] == hashlib.sha256(open('$KEYS/p256.pub', 'rb').read()).hexdigest()" \
        'any("the signature alone says" in note for note in r["notes"])'
    echo x >>out/a.txt
    want_refused 'a.txt: its SHA-256 is not the signed one*'
    rm out/a.txt
    want_refused 'a.txt: is missing, named by model.sig'
    cp "$KEYS/flat/a.txt" out
    echo x >out/b.txt
    want_refused 'b.txt: is not signed*'
    verify out -q --public-key "$KEYS/p256.pub" --ignore-extra
    want_status 0
    for kind in shards:'*[(]got shards, want files)' blake2:'*[(]got blake2b, want sha256)' \
        old:'*before 1.0*'; do
        cp "$KEYS/${kind%%:*}.sig" out/model.sig
        want_refused "model.sig: ${kind#*:}"
    done
}

test_signing_wrong_public_keys()
{
    sign_pair p256.pem
    local one
    for one in 'p256.pem:a private key (want the public one)' 'flat/a.txt:no public key in PEM' \
        'none.pub:*No such file or directory'; do
        verify out --public-key "$KEYS/${one%%:*}"
        want_status 3
        want_stderr "llavamed-verify: error: $KEYS/${one%%:*}: ${one#*:}"
    done
}
