"""The exported signature, read as the OpenSSF Model Signing specification 1.0 says."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from gyroscope.bundle.bundle import read_bundle
from gyroscope.bundle.keys import Keys
from gyroscope.bundle.model_signing import model_signature
from gyroscope.testing.worlds import tiny_bundle


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    tiny_bundle().save(tmp_path / "bundle", signer=keys.signer())
    return tmp_path / "bundle"


@pytest.fixture
def exported(folder: Path, keys: Keys) -> bytes:
    return model_signature("churn", read_bundle(folder).contents, keys.export_key())


def payload(exported: bytes) -> bytes:
    return base64.b64decode(json.loads(exported)["dsseEnvelope"]["payload"], validate=True)


def check(exported: bytes, keys: Keys, signed: bytes) -> None:
    """Verify the envelope's signature over this payload with the public key as a file."""
    envelope = json.loads(exported)["dsseEnvelope"]
    kind = envelope["payloadType"]
    message = f"DSSEv1 {len(kind)} {kind} {len(signed)} ".encode() + signed
    public = serialization.load_pem_public_key((keys.folder / "model-signing.pub").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    [signature] = envelope["signatures"]
    public.verify(base64.b64decode(signature["sig"]), message, ec.ECDSA(SHA256()))


def test_the_envelope_is_signed_by_the_export_key(exported: bytes, keys: Keys) -> None:
    check(exported, keys, payload(exported))
    with pytest.raises(InvalidSignature):
        check(exported, keys, payload(exported) + b" ")


def test_the_bundle_names_its_parts_as_specified(exported: bytes, keys: Keys) -> None:
    bundle = json.loads(exported)
    pem = (keys.folder / "model-signing.pub").read_bytes()
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == hashlib.sha256(pem).hexdigest()
    assert bundle["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"


def test_the_statement_lists_every_file_in_order_with_its_digest(
    exported: bytes, folder: Path
) -> None:
    statement: dict[str, Any] = json.loads(payload(exported))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert statement["predicate"]["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
    }
    files = sorted(folder.iterdir())
    digests = [hashlib.sha256(file.read_bytes()) for file in files]
    assert statement["predicate"]["resources"] == [
        {"name": file.name, "algorithm": "sha256", "digest": digest.hexdigest()}
        for file, digest in zip(files, digests, strict=True)
    ]
    root = hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()
    assert statement["subject"] == [{"name": "churn", "digest": {"sha256": root}}]


def test_the_same_files_give_the_same_export(exported: bytes, folder: Path, keys: Keys) -> None:
    again = model_signature("churn", read_bundle(folder).contents, Keys(keys.folder).export_key())
    assert again == exported


@pytest.mark.skipif(find_spec("model_signing") is None, reason="model-signing is not installed")
def test_the_tool_of_openssf_verifies_the_export_and_finds_a_change(
    exported: bytes, folder: Path, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "churn.sig").write_bytes(exported)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature",
               str(tmp_path / "churn.sig"), "--public_key",
               str(keys.folder / "model-signing.pub")]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == 0
    (folder / "contract.json").write_bytes(b"{}")
    assert subprocess.run(command, check=False).returncode != 0
