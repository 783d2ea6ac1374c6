"""Who vouches for a bundle: an ed25519 signature over its manifest, kept beside it.

The manifest has the digest of every other file, so one signature covers all of them. The run that
made the bundle is signed too but stands here, not in the manifest: equal training results have
equal manifests, whichever run they come from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from gyroscope.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "manifest.sig"
LARGEST_SIGNATURE = 1024  # bytes

_HEAD = b"gyroscope-signature "
_TEXT = re.compile(
    rb"gyroscope-signature 1\nkey ([0-9a-f]{64})\nrun ([!-~]{0,128})\ned25519 ([0-9a-f]{128})\n"
)


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature file says: whose it is, and which run made the bundle."""

    key: str  # ed25519 public key, 64 hexadecimal digits
    run: str  # id of the MLflow run; empty if none made the bundle
    value: bytes  # 64 bytes


class Signer(Protocol):
    """Holds a private key."""

    key: str  # its public half, 64 hexadecimal digits

    def sign(self, message: bytes) -> bytes:
        """The ed25519 signature of a message (RFC 8032), 64 bytes; always the same."""
        ...


def signature_file(manifest: bytes, signer: Signer, run: str = "") -> bytes:
    """The content of the signature file for the bytes of a manifest."""
    value = signer.sign(_message(manifest, run))
    head = f"gyroscope-signature 1\nkey {signer.key}\nrun {run}\ned25519 {value.hex()}\n"
    return head.encode("ascii")


def read_signature(content: bytes, path: Path) -> Signature:
    """Read a signature file; nothing but its exact form is one.

    Raises:
        BundleError: it is damaged, or made by a later release.
    """
    found = _TEXT.fullmatch(content)
    if found is None:
        if content.startswith(_HEAD) and not content.startswith(_HEAD + b"1\n"):
            raise BundleError(f"{path} may be made by a later release of gyroscope: upgrade it")
        raise BundleError(f"{path} was altered: it is no signature")
    return Signature(
        key=found[1].decode(), run=found[2].decode(), value=bytes.fromhex(str(found[3], "ascii"))
    )


def is_valid(signature: Signature, manifest: bytes) -> bool:
    """Whether the holder of the key signed exactly these bytes (RFC 8032, section 5.1.7)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.key))
    try:
        public.verify(signature.value, _message(manifest, signature.run))
    except InvalidSignature:
        return False
    return True


def _message(manifest: bytes, run: str) -> bytes:
    """What is signed; its first line keeps the signature from meaning anything elsewhere."""
    return b"gyroscope bundle 1\nrun " + run.encode("ascii") + b"\n" + manifest
