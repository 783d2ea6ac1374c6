"""Records that hold arrays."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np


class ArrayRecord(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A record whose fields may be arrays; two are equal if all their fields are.

    NumPy compares arrays element by element, so that the comparison that msgspec makes has no
    answer for them.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            _equal(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__
        )

    def __hash__(self) -> int:
        return hash(tuple(_digest(getattr(self, name)) for name in self.__struct_fields__))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _digest(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return tuple(map(_digest, value)) if isinstance(value, tuple) else value
