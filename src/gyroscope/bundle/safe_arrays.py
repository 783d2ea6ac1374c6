"""A look at the header of a safetensors file before a library makes arrays of it.

The format: eight bytes with the length of a JSON header, the header with type, shape and place of
each array, the bytes of the arrays one after the other. Everything declared is held against what is
there, so that no declared size is ever believed.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from gyroscope.bundle.verified import each_name_once

_LARGEST_HEADER = 1 << 20  # bytes; ours have some hundred
_BYTES = {"BOOL": 1, "I32": 4, "I64": 8, "F64": 8, "F32": 4, "U8": 1, "I8": 1, "U32": 4}
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Array(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: Literal["BOOL", "I32", "I64", "F64", "F32", "U8", "I8", "U32"]
    shape: Annotated[tuple[_Count, ...], msgspec.Meta(max_length=4)]
    data_offsets: tuple[_Count, _Count]


def checked_arrays(content: bytes) -> bytes:
    """A safetensors file as it was given; raises ValueError if its header is not true."""
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(_LARGEST_HEADER, len(content) - 8):
        raise ValueError("the header of the arrays is longer than their file, or than any needed")
    header = each_name_once(content[8 : 8 + length])
    room = len(content) - 8 - length
    end = 0
    arrays = msgspec.json.decode(header, type=dict[str, _Array])
    for name, array in sorted(arrays.items(), key=lambda item: item[1].data_offsets):
        start, stop = array.data_offsets
        if start != end or stop - start != math.prod(array.shape) * _BYTES[array.dtype]:
            raise ValueError(f"array {name!r} is not where or as large as the header says")
        if max(array.shape, default=0) > len(content):  # none of whose rows is there
            raise ValueError(f"array {name!r} has a shape that no file of this size can have")
        end = stop
    if end != room:
        raise ValueError("there are bytes after the last array, or too few")
    return content
