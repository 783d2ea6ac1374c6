"""The keys of a workspace: the one it signs bundles with, and those whose bundles it trusts."""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyroscope.data.files import write_atomically
from gyroscope.errors import ConfigError, ConflictError, NotFoundError
from gyroscope.model import checked_model_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWN = "this workspace"  # name of the key that the workspace signs with
_HEX = re.compile(r"[0-9a-f]{64}")
_LARGEST_FILE = 10_000  # bytes


def keys_folder(state: Path) -> Path:
    """Where the keys of a workspace lie in its state folder."""
    return state / "keys"


class WorkspaceSigner:
    """Signs with a private key in memory."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


class Keys:
    """Key files in ``folder``.

    ``signing.key`` (PEM, mode 0600) and ``signing.pub`` are the workspace's own pair,
    ``trusted/NAME.pub`` the public keys of others. ``model-signing.key`` and ``.pub`` are made
    only for exports, see :mod:`gyroscope.bundle.model_signing`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public = folder / "signing.pub"

    def signer(self) -> WorkspaceSigner:
        """The workspace's own key; made if there is none yet.

        Raises:
            ConfigError: the file holds no ed25519 key, others can read it, or the public key beside
                it belongs to another.
            OSError: it cannot be read or written.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = self._private("signing", Ed25519PrivateKey.generate)
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"{self.folder / 'signing.key'} holds no ed25519 key")
        return WorkspaceSigner(private)

    def export_key(self) -> EllipticCurvePrivateKey:
        """The ECDSA key (P-256) for signatures that other tools verify; made if there is none."""
        from cryptography.hazmat.primitives.asymmetric import ec

        private = self._private("model-signing", lambda: ec.generate_private_key(ec.SECP256R1()))
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{self.folder / 'model-signing.key'} holds no ECDSA key")
        return private

    def trusted(self) -> dict[str, str]:
        """Names of all keys whose bundles may serve, by key (64 hexadecimal digits).

        Raises:
            ConfigError: a file holds no ed25519 public key.
        """
        files = {path.stem: path for path in sorted((self.folder / "trusted").glob("*.pub"))}
        named = {_key_of(path): name for name, path in files.items()}
        return named | ({_key_of(self.public): OWN} if self.public.is_file() else {})

    def add(self, name: str, given: str) -> str:
        """Trust a key, given as 64 hexadecimal digits or as the path of a PEM file; returns it.

        Raises:
            UsageError: the name cannot be one, or nothing is given that is a key.
            ConflictError: another key has the name.
        """
        checked_model_name(name)
        key = public_key(given)
        path = self.folder / "trusted" / f"{name}.pub"
        if path.is_file() and _key_of(path) != key:
            raise ConflictError(
                f"another key is called {name}; choose another name, or first: "
                f"gyro keys remove {name}"
            )
        write_atomically(path, _pem(key))
        return key

    def remove(self, name: str) -> None:
        """Trust a key no more; raises NotFoundError."""
        try:
            (self.folder / "trusted" / f"{checked_model_name(name)}.pub").unlink()
        except FileNotFoundError:
            raise NotFoundError(f"no trusted key is called {name}; see: gyro keys list") from None

    def _private(self, name: str, generate: Callable[[], Any]) -> Any:
        """The private key in NAME.key, made if need be; its public half is written beside it."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization as to

        path, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        if not path.exists():
            pem = generate().private_bytes(
                to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption()
            )
            self.folder.mkdir(parents=True, exist_ok=True)
            _create(path, pem)
        try:
            private = to.load_pem_private_key(_secret(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{path} holds no private key: {error}") from None
        form = to.PublicFormat.SubjectPublicKeyInfo
        pem = private.public_key().public_bytes(to.Encoding.PEM, form)
        if not public.exists():
            write_atomically(public, pem)
        elif public.read_bytes().split() != pem.split():
            # Not written anew: it may be the only copy of a key whose bundles still serve.
            raise ConfigError(
                f"{public} is not the public key of {path}: move it away, and it is made anew; if "
                "bundles of its key are to serve on: gyro keys add FORMER FILE"
            )
        return private


def public_key(given: str) -> str:
    """An ed25519 public key, given as 64 hexadecimal digits or as the path of a PEM file.

    Raises:
        ConfigError: it is neither.
    """
    key = given.strip().lower()
    return key if _HEX.fullmatch(key) else _key_of(Path(given))


def _secret(path: Path) -> bytes:
    """The content of a file, if only its owner can read it; raises ConfigError."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"others than its owner can read or change the private key {path} (mode {mode:o}): "
                f"chmod 600 {path}; if one of them may have read it, move it away for a new one"
            )
        return file.read()


def _create(path: Path, content: bytes) -> None:
    """Make a file that only its owner can read, whole or not at all; one that exists stays."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it replaces nothing
    except FileExistsError:
        pass  # another process was faster
    finally:
        temporary.unlink()


def _key_of(path: Path) -> str:
    """The ed25519 public key in a PEM file, as 64 hexadecimal digits; raises ConfigError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    expected = "expected an ed25519 public key: 64 hexadecimal digits, or a PEM file with one"
    try:
        with path.open("rb") as file:
            key = to.load_pem_public_key(file.read(_LARGEST_FILE))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; {expected}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{path} holds no public key; {expected}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds a key of another kind; {expected}")
    return key.public_bytes_raw().hex()


def _pem(key: str) -> bytes:
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    return public.public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
