"""Records with arrays as JSON and as compact bytes."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec
import numpy as np

from gyroscope.errors import DataError

FORMAT = 1
_MAGIC = b"gyro"

Record = TypeVar("Record")


def array_out(value: Any) -> Any:
    """How msgspec writes an array: its shape and its little-endian bytes."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"cannot write {type(value)}")
    return value.shape, value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def array_in(kind: Any, value: Any) -> Any:
    """What :func:`array_out` wrote, as the array of the type that msgspec expects."""
    dtype = _dtype_of(kind)
    shape, content = value
    if isinstance(content, str):  # bytes in JSON
        content = base64.b64decode(content, validate=True)
    return np.frombuffer(content, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)


@cache  # a profile has hundreds of arrays, of a few kinds
def _dtype_of(kind: Any) -> np.dtype[Any]:
    if getattr(kind, "__origin__", None) is not np.ndarray:
        raise NotImplementedError(f"cannot read {kind}")
    dtype: np.dtype[Any] = np.dtype(get_args(get_args(kind)[1])[0])
    return dtype


def framed(kind: bytes, record: object) -> bytes:
    """A record as compressed MessagePack behind the kind (four bytes) and format of the content."""
    content = zlib.compress(msgspec.msgpack.encode(record, enc_hook=array_out), level=1)
    return _MAGIC + kind + bytes([FORMAT]) + content


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
        unpacked = zlib.decompress(content[len(start) + 1 :])
        return msgspec.msgpack.decode(unpacked, type=record, dec_hook=array_in)
    except (zlib.error, msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"the bytes of this {name} are damaged: {error}") from None
