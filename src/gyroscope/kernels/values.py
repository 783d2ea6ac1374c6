"""The values of a column as kernels read them: in stretches, each where it is."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

# What the kernels call the types of numbers that they read where they are.
NUMBER_TYPES = {np.dtype(kind): code for code, kind in enumerate(("f8", "f4", "i8", "i4"))}


class Stretch(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Consecutive numbers of a column."""

    values: NDArray[np.generic]  # values[n] of any type of number; NaN is missing
    valid: memoryview | None = None  # bitmap of those that are not missing, as in Arrow; or all are
    offset: int = 0  # the bit of the first of them

    def present(self) -> NDArray[np.bool_]:
        """Whether the bitmap says of each value that it is not missing."""
        n = self.values.size
        if self.valid is None:
            return np.ones(n, dtype=bool)
        held = np.frombuffer(self.valid, dtype=np.uint8)
        held = held[self.offset // 8 : (self.offset + n + 7) // 8]
        bits = np.unpackbits(held, bitorder="little")[self.offset % 8 : self.offset % 8 + n]
        return bits.astype(bool)

    def floats(self) -> NDArray[np.float64]:
        """float64[n]: the numbers, NaN where missing; a copy."""
        numbers = self.values.astype(np.float64)
        if self.valid is not None:
            numbers[~self.present()] = np.nan
        return numbers

    def taken(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64[k]: the numbers of some rows, NaN where missing."""
        numbers = self.values[rows].astype(np.float64)
        if self.valid is not None:
            bits = rows + self.offset
            held = np.frombuffer(self.valid, dtype=np.uint8)[bits >> 3] >> (bits & 7)
            numbers[(held & 1) == 0] = np.nan
        return numbers

    def readable(self) -> Stretch:
        """The same numbers, one after the other, where the processor can read them and of a type
        that kernels read; copied if need be."""
        known = self.values
        if known.dtype not in NUMBER_TYPES:
            known = known.astype(np.float64)
        known = np.require(known, requirements=("C", "A"))
        return self if known is self.values else msgspec.structs.replace(self, values=known)


def floats_of(stretches: Sequence[Stretch]) -> NDArray[np.float64]:
    """All numbers, NaN where missing."""
    held = [stretch.floats() for stretch in stretches]
    if len(held) == 1:
        return held[0]
    return np.concatenate(held) if held else np.zeros(0)


class _Numbers(ctypes.Structure):
    """``struct numbers`` of ``profile.c``."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("offset", ctypes.c_int64),
        ("n", ctypes.c_int64),
    )


def handed_over(stretches: Sequence[Stretch]) -> Any:
    """Readable stretches as an array of C structs, which the stretches must outlive."""
    array = (_Numbers * max(len(stretches), 1))()
    for there, stretch in zip(array, stretches, strict=False):
        there.values = stretch.values.ctypes.data
        if stretch.valid is not None:
            there.valid = np.frombuffer(stretch.valid, dtype=np.uint8).ctypes.data
        there.offset, there.n = stretch.offset, stretch.values.size
    return array
