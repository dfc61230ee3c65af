#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signatures of llavamed-apply under the real package model_signing, and that package's under llavamed-verify.

For each curve (P-256, P-384, P-521): OUT is made with --sign and verified by the package, by its API and by its command.
The same OUT and a directory of other files, with no records, are signed by the package in both ways and verified with
llavamed-verify --public-key. Then payload, signature, key, set of files and the contents of each file are tampered with
one at a time, and both must refuse it, llavamed-verify with exit status 1 and a line that begins with the file's name.

Usage: signing.py --program PATH --verify PATH [--seed N]
Needs the packages of requirements-signing.txt and the openssl command. Ends with "N passed, N failed".
"""

import argparse
import base64
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import model_signing

DATA = pathlib.Path(os.path.dirname(os.path.abspath(__file__))) / ".." / "data" / "cli"
CURVES = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}


class Count:
    passed = 0
    failed = 0


def check(holds, what, detail=""):
    if holds:
        Count.passed += 1
    else:
        Count.failed += 1
        print(f"FAILED {what}: {detail}")


def make_keys(top, curve):
    secret, public = top / "key.pem", top / "key.pub"
    subprocess.run(["openssl", "ecparam", "-name", CURVES[curve], "-genkey", "-noout", "-out", secret], check=True)
    subprocess.run(["openssl", "pkey", "-in", secret, "-pubout", "-out", public], check=True)
    return secret, public


# ---- The package ----

def command(*args):
    done = subprocess.run([sys.executable, "-m", "model_signing", *map(str, args)], capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def package_verifies(model, public):
    """By API, the answer of the command beside it."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(
                model, model / "model.sig")
        return True, ""
    except Exception as error:  # each way to fail has a class of its own
        return False, repr(error)


def package_signs(model, secret, by_command):
    (model / "model.sig").unlink(missing_ok=True)
    if by_command:
        return command("sign", "key", model, "--signature", model / "model.sig", "--private_key", secret)
    model_signing.signing.Config().use_elliptic_key_signer(private_key=secret).set_hashing_config(
        model_signing.hashing.Config().set_ignored_paths(paths=[pathlib.Path("model.sig")])).sign(
            model, model / "model.sig")
    return True, ""


# ---- Ours ----

def ours_verifies(args, model, public):
    done = subprocess.run([args.verify, model, "-q", "--public-key", public], capture_output=True, text=True)
    return done.returncode, done.stdout


def refused_by_both(args, model, public, name, what, wants_command):
    """`name`: of which file llavamed-verify must speak."""
    status, lines = ours_verifies(args, model, public)
    check(status == 1 and any(line.startswith(f"{name}: ") for line in lines.splitlines()), f"{what}: llavamed-verify",
          f"{status} {lines}")
    good, detail = package_verifies(model, public)
    check(not good, f"{what}: model_signing accepts it", detail)
    if wants_command:
        good, detail = command("verify", "key", model, "--signature", model / "model.sig", "--public_key", public)
        check(not good and "Verification failed" in detail, f"{what}: the command accepts it", detail)


# ---- Tampering ----

def edit_bundle(model, edit):
    bundle = json.loads((model / "model.sig").read_text())
    edit(bundle)
    (model / "model.sig").write_text(json.dumps(bundle))


def edit_payload(change):
    def edit(bundle):
        envelope = bundle["dsseEnvelope"]
        payload = json.loads(base64.b64decode(envelope["payload"]))
        change(payload)
        envelope["payload"] = base64.b64encode(json.dumps(payload, indent=2).encode()).decode()
    return edit


def flip_signature(random_source):
    def edit(bundle):
        one = bundle["dsseEnvelope"]["signatures"][0]
        raw = bytearray(base64.b64decode(one["sig"]))
        raw[random_source.randrange(len(raw) // 2, len(raw))] ^= 1 << random_source.randrange(8)
        one["sig"] = base64.b64encode(raw).decode()
    return edit


def bundle_edits(random_source):
    yield "signature", flip_signature(random_source)
    yield "no signature", lambda bundle: bundle["dsseEnvelope"]["signatures"].clear()
    yield "payload type", lambda bundle: bundle["dsseEnvelope"].update(payloadType="application/json")
    yield "media type", lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v0.2+json")
    yield "hint", lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint="0" * 64)
    yield "model name", edit_payload(lambda payload: payload["subject"][0].update(name="other"))
    yield "type of the statement", edit_payload(lambda payload: payload.update(_type=payload["_type"] + " "))
    yield "resource left out", edit_payload(lambda payload: payload["predicate"]["resources"].pop())
    yield "resource changed", edit_payload(lambda payload: payload["predicate"]["resources"][0].update(digest="0" * 64))
    yield "ignored path added", edit_payload(
        lambda payload: payload["predicate"]["serialization"]["ignore_paths"].append("a"))


def tampered(args, good, public, other, random_source, top, what):
    """Every way to tamper with a directory that both accept."""
    bad = top / "bad"

    @contextlib.contextmanager
    def copy():
        shutil.copytree(good, bad)
        yield bad
        shutil.rmtree(bad)

    for name, edit in bundle_edits(random_source):
        with copy():
            edit_bundle(bad, edit)
            refused_by_both(args, bad, public, "model.sig", f"{what}, {name}", name == "signature")
    with copy():
        refused_by_both(args, bad, other, "model.sig", f"{what}, another key", True)
    with copy():
        (bad / "added.py").write_text("import os\n")
        refused_by_both(args, bad, public, "added.py", f"{what}, a file added", True)
    names = sorted(path.name for path in good.iterdir() if path.name != "model.sig")
    for name in names:
        with copy():
            (bad / name).unlink()
            refused_by_both(args, bad, public, name, f"{what}, {name} missing", name == names[0])
        content = bytearray((good / name).read_bytes())
        if content:
            content[random_source.randrange(len(content))] ^= 1 << random_source.randrange(8)
        else:
            content += b"x"
        with copy():
            (bad / name).write_bytes(content)
            refused_by_both(args, bad, public, name, f"{what}, {name} changed", name == names[0])
    first, second = names[0], names[-1]
    with copy():
        (bad / first).write_bytes((good / second).read_bytes())
        (bad / second).write_bytes((good / first).read_bytes())
        refused_by_both(args, bad, public, first, f"{what}, two files exchanged", False)


# ---- The whole ----

def make_plain(top):
    model = top / "plain"
    model.mkdir()
    for name, content in {"b": b"", "a.bin": bytes(range(256)) * 5000, "\u00e9t\u00e9 \"x\".txt": b"y\n",
                          "Z": b"z"}.items():
        (model / name).write_bytes(content)
    return model


def both_accept(args, model, public, what):
    for by, (good, detail) in {
            "API": package_verifies(model, public),
            "command": command("verify", "key", model, "--signature", model / "model.sig", "--public_key", public),
    }.items():
        check(good, f"{what}: the {by} of model_signing refuses it", detail)
    status, lines = ours_verifies(args, model, public)
    check(status == 0 and lines == "", f"{what}: llavamed-verify refuses it", lines)


def test_curve(args, curve, top, random_source):
    secret, public = make_keys(top, curve)
    (top / "other").mkdir()
    other = make_keys(top / "other", curve)[1]
    out = top / "out"
    for options in ([], ["--format", "torch", "--max-shard-size", "4KB"]):
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([args.program, "--base", DATA / "base", "--delta", DATA / "delta", "--out", out, "-q", "--sign",
                        secret, *options], check=True)
        both_accept(args, out, public, f"{curve}, made by llavamed-apply {' '.join(options)}")
    tampered(args, out, public, other, random_source, top, f"{curve}, ours")
    plain = make_plain(top)
    for model in (out, plain):
        for by_command in (False, True):
            good, detail = package_signs(model, secret, by_command)
            check(good, f"{curve}: model_signing does not sign", detail)
            both_accept(args, model, public, f"{curve}, {model.name} signed by model_signing")
        tampered(args, model, public, other, random_source, top, f"{curve}, {model.name} of model_signing")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--verify", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.program, args.verify = os.path.abspath(args.program), os.path.abspath(args.verify)
    random_source = random.Random(args.seed)
    for curve in CURVES:
        with tempfile.TemporaryDirectory() as top:
            test_curve(args, curve, pathlib.Path(top), random_source)
    print(f"{Count.passed} passed, {Count.failed} failed")
    return Count.failed > 0 or Count.passed == 0


if __name__ == "__main__":
    sys.exit(main())
