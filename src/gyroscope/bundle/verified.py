"""The files of a bundle, read only if each is what was signed.

Nothing is parsed before its bytes are known to be the right ones: the signature is checked on the
bytes of the manifest, then the manifest is read, then every other file is held against it. Files
are read once, so that what was verified is what is parsed; links and devices are never opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from gyroscope.bundle.signature import (
    LARGEST_SIGNATURE,
    SIGNATURE,
    Signature,
    is_valid,
    read_signature,
)
from gyroscope.errors import BundleError

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20  # bytes
_LARGEST_FILE = 8 << 30
_FORMAT = re.compile(rb'\s*\{\s*"format"\s*:\s*(\d{1,9})\s*[,}]')  # first in every manifest
_MAKER = re.compile(rb'"gyroscope"\s*:\s*"([\w.+-]{1,40})"')
_MALFORMED = (msgspec.MsgspecError, ValueError, RecursionError)


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of the bundle must be."""

    sha256: str
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a manifest first."""

    format: Annotated[int, msgspec.Meta(ge=1)]
    files: dict[str, FileEntry]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a bundle as they were signed."""

    contents: dict[str, bytes]  # by name; manifest and signature too
    signature: Signature | None  # None: unsigned, and nobody asked whose it is
    signer: str  # name of the trusted key; empty if it is not one, or nobody asked

    @property
    def digest(self) -> str:
        """Names the training result: sha256 of the manifest."""
        return hashlib.sha256(self.contents[MANIFEST]).hexdigest()


def read_verified(
    folder: Path,
    *,
    names: Collection[str],
    newest: int,
    trusted: Mapping[str, str] | None,
    anyone: bool = False,
) -> Verified:
    """Read the files of the bundle in ``folder``.

    Args:
        folder: of the bundle; it may be a link, its files may not.
        names: of the files a bundle has beside its manifest and signature.
        newest: format that this release can read.
        trusted: names of the keys that may have signed it, by key. None asks only that the files
            are those of the manifest, and the manifest that of the signature if there is one.
        anyone: whether one that none of these keys signed is read as well; its signer is empty.

    Raises:
        BundleError: it is absent, unsigned, signed by a key that is not trusted, of a later
            release, or a file was altered, added, removed, or is a link.
    """
    manifest = _manifest(folder, newest)
    wanted = None if anyone else trusted
    signed = _signature_file(folder, wanted)
    signature = None if signed is None else _signature(folder, manifest, signed, wanted)
    entries = _entries(folder, manifest, newest)
    for name in names:
        if name not in entries:
            raise BundleError(f"the manifest of bundle {folder} does not list {name}")
    for name in entries:
        if name not in names:
            raise BundleError(
                f"the manifest of bundle {folder} lists {name!r}, which is no file of a bundle"
            )
    _refuse_others(folder, {MANIFEST, SIGNATURE, *entries})
    contents = {name: _verified(folder, name, entry) for name, entry in entries.items()}
    signer = "" if signature is None else (trusted or {}).get(signature.key, "")
    contents[MANIFEST] = manifest
    if signed is not None:
        contents[SIGNATURE] = signed
    return Verified(contents=contents, signature=signature, signer=signer)


def each_name_once(content: bytes) -> bytes:
    """JSON as it was given, if no object in it has a name twice; raises ValueError otherwise.

    Readers differ in which of the two they take, so such a text has no meaning.
    """
    # Numbers are of no interest here: as true and false, millions of them take little memory.
    json.loads(content, object_pairs_hook=_object, parse_float=bool, parse_int=bool)
    return content


def _object(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice in an object")


def _manifest(folder: Path, newest: int) -> bytes:
    """The bytes of the manifest; refused here if a later release made it.

    Its format is searched for in the bytes, without reading the rest and before the signature is
    looked at, since later releases may arrange and sign otherwise. All it leads to is a message.
    """
    try:
        content = _read(folder / MANIFEST, _LARGEST_MANIFEST)
    except OSError as error:
        raise BundleError(f"no bundle in {folder}: {error.strerror}: {MANIFEST}") from None
    found = _FORMAT.match(content)
    if found is not None:
        _refuse_later(folder, content, int(found[1]), newest)
    return content


def _refuse_later(folder: Path, manifest: bytes, format: int, newest: int) -> None:
    if format <= newest:
        return
    maker = _MAKER.search(manifest)
    version = maker[1].decode() if maker else "of unknown version"
    raise BundleError(
        f"bundle {folder} has format {format}, made by a later release (gyroscope {version}); "
        f"this release reads up to {newest}: upgrade gyroscope"
    )


def _signature_file(folder: Path, trusted: Mapping[str, str] | None) -> bytes | None:
    try:
        return _read(folder / SIGNATURE, LARGEST_SIGNATURE)
    except FileNotFoundError:
        if trusted is None:
            return None
        raise BundleError(
            f"bundle {folder} is unsigned; if you know who made it, vouch for it with: "
            f"gyro bundle sign {folder}"
        ) from None
    except OSError as error:
        raise BundleError(f"{folder / SIGNATURE} cannot be read: {error.strerror}") from None


def _signature(
    folder: Path, manifest: bytes, content: bytes, trusted: Mapping[str, str] | None
) -> Signature:
    signature = read_signature(content, folder / SIGNATURE)
    if trusted is not None and signature.key not in trusted:
        raise BundleError(
            f"bundle {folder} is signed by an unknown key; if you trust its holder: "
            f"gyro keys add NAME {signature.key}"
        )
    if not is_valid(signature, manifest):
        raise BundleError(
            f"{folder / MANIFEST} was altered: it is not the manifest that was signed"
        )
    return signature


def _entries(folder: Path, manifest: bytes, newest: int) -> dict[str, FileEntry]:
    try:
        listing = msgspec.json.decode(each_name_once(manifest), type=_Listing)
    except _MALFORMED as error:
        raise BundleError(f"{folder / MANIFEST} is not a manifest: {error}") from None
    _refuse_later(folder, manifest, listing.format, newest)
    return listing.files


def _refuse_others(folder: Path, known: Collection[str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in known:
                raise BundleError(
                    f"bundle {folder} has a file that is not in its manifest: {entry.name!r}"
                )


def _verified(folder: Path, name: str, entry: FileEntry) -> bytes:
    """The bytes of a file, if they are those the manifest was made for."""
    path = folder / name
    try:
        content = _read(path, min(entry.bytes, _LARGEST_FILE))
    except OSError as error:
        raise BundleError(f"bundle {folder} lacks {name}: {error.strerror}") from None
    if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{path} was altered: it is not the file its manifest describes")
    return content


def _read(path: Path, most: int) -> bytes:
    """A regular file of at most so many bytes.

    Raises:
        BundleError: it is larger, or no regular file.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise BundleError(f"{path} was altered: it is a link, a folder or a device, not a file")
    # Should it become a link or a pipe meanwhile: neither followed nor waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise BundleError(f"{path} was altered: it has {size} bytes, expected at most {most}")
        return file.read(size)
