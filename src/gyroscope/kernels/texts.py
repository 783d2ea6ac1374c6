"""Codes for texts, so that what is asked of each text is asked of the distinct ones only."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.library import address, library


class _Texts(ctypes.Structure):
    """``struct texts`` of ``texts.c``."""

    _fields_ = (
        ("bytes", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("offset", ctypes.c_int64),
        ("n", ctypes.c_int64),
    )


def encode_texts(stretches: Sequence[Any]) -> tuple[NDArray[np.int32], Any]:
    """The distinct ones of some texts, and where they are. Other threads run meanwhile.

    Args:
        stretches: the texts, one stretch after the other: at least one ``pyarrow.StringArray``, or
            ``LargeStringArray``, all of one type.

    Returns:
        codes[n], the position of each text among the distinct ones, -1 for a missing one; and
        these, an array of the same type, in order of first appearance.
    """
    import pyarrow as pa

    compiled_library = library()
    if compiled_library is None:
        encoded = pa.chunked_array(stretches).combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes.copy(), encoded.dictionary
    array = (_Texts * len(stretches))()
    wide = pa.types.is_large_string(stretches[0].type)
    for there, stretch in zip(array, stretches, strict=True):
        valid, offsets, data = stretch.buffers()
        there.n, there.offset = len(stretch), stretch.offset
        there.valid = valid.address if valid and stretch.null_count else None
        there.bytes = data.address if data else None
        there.offsets = offsets.address + stretch.offset * (8 if wide else 4) if offsets else None
    ends = np.cumsum([0, *map(len, stretches)])
    codes, rows = np.empty(ends[-1], np.int32), np.empty(ends[-1], np.int64)
    encode = compiled_library.gyro_encode_texts
    encode.restype = ctypes.c_int64
    distinct = encode(
        array, ctypes.c_int32(len(array)), ctypes.c_int32(wide), address(codes), address(rows)
    )
    if distinct < 0:
        raise MemoryError
    rows = rows[:distinct]
    cuts = np.searchsorted(rows, ends)
    taken = [
        stretch.take(pa.array(rows[low:high] - first))
        for stretch, first, low, high in zip(stretches, ends, cuts, cuts[1:], strict=False)
    ]
    return codes, pa.concat_arrays(taken)
