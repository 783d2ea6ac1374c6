"""A signature of a bundle that tools for the OpenSSF Model Signing specification can verify.

OpenSSF Model Signing (OMS) 1.0 puts the digests of all files into an in-toto statement, signs it as
a DSSE envelope and wraps that into a Sigstore bundle. Its registry of algorithms has ECDSA on the
curves P-256, P-384 and P-521 for signing with a key, and no ed25519. So an export is signed with a
P-256 key of its own, which the workspace makes at its first export; servers of ours look only at
the ed25519 signature inside the bundle.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"


def model_signature(
    name: str, contents: Mapping[str, bytes], private: EllipticCurvePrivateKey
) -> bytes:
    """The signature file (OMS 1.0, sections 4 to 6) for a folder with these files.

    Args:
        name: of the model.
        contents: of all files of the folder, by name.
        private: key on P-256.

    Returns:
        JSON; the same for the same files and key (RFC 6979).
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    payload = msgspec.json.encode(_statement(name, contents))
    algorithm = ec.ECDSA(SHA256(), deterministic_signing=True)
    signature = private.sign(_pre_authentication(payload), algorithm)
    return msgspec.json.encode(
        {
            "mediaType": _BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": _hint(private)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": _base64(payload),
                "payloadType": _PAYLOAD,
                "signatures": [{"sig": _base64(signature), "keyid": ""}],
            },
        }
    )


def _statement(name: str, contents: Mapping[str, bytes]) -> dict[str, object]:
    digests = {file: hashlib.sha256(contents[file]) for file in sorted(contents)}
    root = hashlib.sha256(b"".join(digest.digest() for digest in digests.values()))
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": file, "algorithm": "sha256", "digest": digest.hexdigest()}
                for file, digest in digests.items()
            ],
        },
    }


def _pre_authentication(payload: bytes) -> bytes:
    """What a DSSE envelope signs (DSSE 1.0.2, protocol, PAE)."""
    return b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _hint(private: EllipticCurvePrivateKey) -> str:
    """The fingerprint that verifiers compare: sha256 of the public key's PEM file."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
