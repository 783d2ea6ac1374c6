"""Records with arrays as JSON and as compact bytes."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec
import numpy as np

from gyroscope.errors import DataError

FORMAT = 2  # 1 was compressed by zlib, which takes twice as long to read
_MAGIC = b"gyro"
_SIZE_BYTES, _MOST_BYTES = 4, 1 << 31  # of the content before it was compressed

Record = TypeVar("Record")


def array_out(value: Any) -> Any:
    """How msgspec writes an array: its shape and its little-endian bytes."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"cannot write {type(value)}")
    return value.shape, value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def array_in(kind: Any, value: Any) -> Any:
    """What :func:`array_out` wrote, as the array of the type that msgspec expects."""
    dtype, little_endian = _dtypes_of(kind)
    shape, content = value
    if isinstance(content, str):  # bytes in JSON
        content = base64.b64decode(content, validate=True)
    array: np.ndarray[Any, Any] = np.ndarray(shape, little_endian, content)
    if array.nbytes != len(content):
        raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
    return array.astype(dtype)  # a copy, which owns its numbers


@cache  # a profile has hundreds of arrays, of a few kinds
def _dtypes_of(kind: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """How numbers lie in memory here, and in bytes."""
    if getattr(kind, "__origin__", None) is not np.ndarray:
        raise NotImplementedError(f"cannot read {kind}")
    dtype: np.dtype[Any] = np.dtype(get_args(get_args(kind)[1])[0])
    return dtype, dtype.newbyteorder("<")


def framed(kind: bytes, record: object) -> bytes:
    """A record as compressed MessagePack behind the kind (four bytes) and format of the content.

    Raises:
        OverflowError: it has 2 GB or more.
    """
    content = msgspec.msgpack.encode(record, enc_hook=array_out)
    if len(content) >= _MOST_BYTES:
        raise OverflowError(f"a {kind.decode()} of {len(content):,} bytes is too large to be kept")
    size = len(content).to_bytes(_SIZE_BYTES, "little")
    packed: bytes = _codec().compress(content, asbytes=True)
    return _MAGIC + kind + bytes([FORMAT]) + size + packed


def unframed(kind: bytes, content: bytes, record: type[Record]) -> Record:
    """The record that :func:`framed` wrote.

    Raises:
        DataError: the content is something else, damaged, or of a later release.
    """
    start = _MAGIC + kind
    name = kind.decode()
    if content[: len(start)] != start or len(content) == len(start):
        raise DataError(f"expected the bytes of a {name}, got other ones")
    if content[len(start)] > FORMAT:
        raise DataError(
            f"this {name} has format {content[len(start)]}, this release reads up to {FORMAT}: "
            "upgrade gyroscope"
        )
    try:
        unpacked = _unpacked(content[len(start)], content[len(start) + 1 :])
        return msgspec.msgpack.decode(unpacked, type=record, dec_hook=array_in)
    except (zlib.error, msgspec.MsgspecError, ValueError, OSError, MemoryError) as error:
        raise DataError(f"the bytes of this {name} are damaged: {error}") from None


def _unpacked(form: int, packed: bytes) -> bytes:
    if form == 1:
        return zlib.decompress(packed)
    size = int.from_bytes(packed[:_SIZE_BYTES], "little")
    if size >= _MOST_BYTES:
        raise ValueError(f"a size of {size:,} bytes")
    unpacked: bytes = _codec().decompress(packed[_SIZE_BYTES:], size, asbytes=True)
    return unpacked


@cache
def _codec() -> Any:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)
