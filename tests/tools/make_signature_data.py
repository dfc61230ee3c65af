#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/signature: models signed by the real package model_signing, and keys of many kinds.

    make_signature_data.py

Needs the packages of tests/interop/requirements-signing.txt. model/ and flat/ are the models. CURVE.pem and CURVE.pub
are a pair of keys each, CURVE.sig the package's signature of model/ with it, flat.sig that of flat/ with the first
pair. statement.json is what its payload says, in the order of the specification: json.dumps() of what the package
wrote, whose own order differs from run to run. shards.sig and blake2.sig are signed in ways that are not SHA-256 of
whole files, old.sig states what model_signing 0.2 did. The other keys are such that nothing is signed with.

These keys are worth nothing. They and the signatures are new ones in each run, but for those keys that are there.
"""
import base64
import json
import os
import pathlib
import shutil
import tempfile

import model_signing
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

DATA = pathlib.Path(os.path.dirname(os.path.abspath(__file__))) / ".." / "data" / "signature"
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
FILES = {"README.md": b"# A model\n", "a.txt": b"hello\n", "Zebra.json": b"{}\n", "empty": b"",
         "sub/weights.bin": bytes(range(256)), "sub-text": b"sorts differently as a path\n",
         "na\u00efve \u65e5\u672c.txt": "\u00fc\n".encode()}
FLAT = {name: content for name, content in FILES.items() if "/" not in name}
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
OPEN = serialization.NoEncryption()
INFO = serialization.PublicFormat.SubjectPublicKeyInfo


def write_model(name, files):
    top = DATA / name
    shutil.rmtree(top, ignore_errors=True)
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
    return top


def write_keys():
    """The private keys, and what their files hold."""
    for name, curve in CURVES.items():
        path = DATA / f"{name}.pem"
        if not path.exists():
            path.write_bytes(ec.generate_private_key(curve).private_bytes(PEM, TRADITIONAL, OPEN))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        (DATA / f"{name}.pub").write_bytes(key.public_key().public_bytes(PEM, INFO))
    first = serialization.load_pem_private_key((DATA / "p256.pem").read_bytes(), None)
    password = serialization.BestAvailableEncryption(b"secret")
    others = {
        "pkcs8.pem": lambda: first.private_bytes(PEM, PKCS8, OPEN),
        "encrypted.pem": lambda: first.private_bytes(PEM, PKCS8, password),
        "encrypted-old.pem": lambda: first.private_bytes(PEM, TRADITIONAL, password),
        "compressed.pub": lambda: compressed(first),
        "rsa.pem": lambda: rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, OPEN),
        "ed25519.pem": lambda: ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, OPEN),
        "secp256k1.pem": lambda: ec.generate_private_key(ec.SECP256K1()).private_bytes(PEM, TRADITIONAL, OPEN),
        "two-halves.pem": lambda: two_halves(first),
        "p256.der": lambda: first.private_bytes(DER, PKCS8, OPEN),
    }
    for name, make in others.items():
        if not (DATA / name).exists():
            (DATA / name).write_bytes(make())


def compressed(key):
    """The public key with its point in the short form."""
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    bits = b"\x03" + bytes([len(point) + 1]) + b"\0" + point
    der = b"\x30" + bytes([len(algorithm) + len(bits)]) + algorithm + bits
    text = base64.b64encode(der).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return ("-----BEGIN PUBLIC KEY-----\n" + "\n".join(lines) + "\n-----END PUBLIC KEY-----\n").encode()


def two_halves(key):
    """A private key whose file holds the public half of another."""
    def point(which):
        return which.public_key().public_bytes(serialization.Encoding.X962,
                                               serialization.PublicFormat.UncompressedPoint)
    der = key.private_bytes(DER, TRADITIONAL, OPEN)
    other = ec.generate_private_key(ec.SECP256R1())
    assert point(key) in der
    text = base64.b64encode(der.replace(point(key), point(other))).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return ("-----BEGIN EC PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END EC PRIVATE KEY-----\n").encode()


def sign(model, curve, name, hashing=None):
    config = hashing or model_signing.hashing.Config()
    config.set_ignored_paths(paths=[pathlib.Path("model.sig")])
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=DATA / f"{curve}.pem")
    with tempfile.TemporaryDirectory() as scratch:  # its name is what the signature calls the model
        copy = pathlib.Path(scratch) / model.name
        shutil.copytree(model, copy)
        signer.set_hashing_config(config).sign(copy, DATA / f"{name}.sig")
    return json.loads((DATA / f"{name}.sig").read_text())


def payload_of(bundle):
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def in_order(payload):
    """The same in the order of the specification's example, ignored paths sorted behind the signature's own."""
    way = payload["predicate"]["serialization"]
    ignored = sorted(way["ignore_paths"], key=lambda path: (path != "model.sig", path))
    return {
        "_type": payload["_type"],
        "subject": [{"name": one["name"], "digest": one["digest"]} for one in payload["subject"]],
        "predicateType": payload["predicateType"],
        "predicate": {
            "serialization": {"method": way["method"], "hash_type": way["hash_type"],
                              "allow_symlinks": way["allow_symlinks"], "ignore_paths": ignored},
            "resources": [{"algorithm": one["algorithm"], "digest": one["digest"], "name": one["name"]}
                          for one in payload["predicate"]["resources"]],
        },
    }


def sign_text(bundle, payload, key):
    """A bundle with another payload, signed with the key as the package does."""
    text = json.dumps(payload).encode()
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(text), text)
    bundle = json.loads(json.dumps(bundle))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(text).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(key.sign(pae, ec.ECDSA(hashes.SHA256()))).decode()
    return bundle


def main():
    DATA.mkdir(parents=True, exist_ok=True)
    write_keys()
    model = write_model("model", FILES)
    bundles = {curve: sign(model, curve, curve) for curve in CURVES}
    orders = [in_order(payload_of(bundle)) for bundle in bundles.values()]
    assert orders[0] == orders[1] == orders[2]
    flat = sign(write_model("flat", FLAT), "p256", "flat")
    (DATA / "statement.json").write_text(json.dumps(in_order(payload_of(flat)), indent=2))
    sign(model, "p256", "shards", model_signing.hashing.Config().use_shard_serialization(shard_size=100))
    sign(model, "p256", "blake2", model_signing.hashing.Config().use_file_serialization(hashing_algorithm="blake2"))
    key = serialization.load_pem_private_key((DATA / "p256.pem").read_bytes(), None)
    old = {"_type": orders[0]["_type"], "predicateType": "https://model_signing/Digests/v0.1",
           "subject": [{"name": one["name"], "digest": {"sha256": one["digest"]}}
                       for one in orders[0]["predicate"]["resources"]]}
    (DATA / "old.sig").write_text(json.dumps(sign_text(bundles["p256"], old, key)))


if __name__ == "__main__":
    main()
