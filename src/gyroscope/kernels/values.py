"""The values of a column as kernels read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What the kernels call the types of numbers that they read where they are.
NUMBER_TYPES = {np.dtype(kind): code for code, kind in enumerate(("f8", "f4", "i8", "i4"))}


def readable(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Numbers of any type as contiguous ones of a type that kernels read, copied if need be."""
    known = values if values.dtype in NUMBER_TYPES else values.astype(np.float64)
    return np.ascontiguousarray(known)


def valid_rows(valid: memoryview | None, offset: int, n: int) -> NDArray[np.bool_]:
    """Which of n values a bitmap, as in Arrow, says are not missing; all without one."""
    if valid is None:
        return np.ones(n, dtype=bool)
    held = np.frombuffer(valid, dtype=np.uint8)[offset // 8 : (offset + n + 7) // 8]
    bits = np.unpackbits(held, bitorder="little")[offset % 8 : offset % 8 + n]
    return bits.astype(bool)
