"""Codes for texts, so that what is asked of each text is asked of the distinct ones only."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.library import address, library


def encode_texts(array: Any) -> tuple[NDArray[np.int32], Any]:
    """The distinct texts of a ``pyarrow.StringArray`` or ``LargeStringArray``, and where they are.

    Returns:
        codes[n], the position of each text among the distinct ones, -1 for a missing one; and
        these, an array of the same type, in order of first appearance.
    """
    import pyarrow as pa

    compiled_library = library()
    valid, offsets, data = array.buffers()
    if compiled_library is None or offsets is None:
        encoded = array.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes, encoded.dictionary
    wide = pa.types.is_large_string(array.type)
    ends = np.frombuffer(offsets, dtype=np.int64 if wide else np.int32)[array.offset :]
    held = np.frombuffer(data or b"\0", dtype=np.uint8)
    bitmap = np.frombuffer(valid, dtype=np.uint8) if valid and array.null_count else None
    codes, rows = np.empty(len(array), np.int32), np.empty(len(array), np.int64)
    encode = compiled_library.gyro_encode_texts
    encode.restype = ctypes.c_int64
    distinct = encode(
        address(held),
        address(ends),
        ctypes.c_int32(wide),
        None if bitmap is None else address(bitmap),
        ctypes.c_int64(array.offset),
        ctypes.c_int64(len(array)),
        address(codes),
        address(rows),
    )
    if distinct < 0:
        raise MemoryError
    return codes, array.take(pa.array(rows[:distinct]))
