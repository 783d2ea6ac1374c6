"""Results for many pairs of samples at once: structs of arrays, and one row of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_BLOCK = 60_000  # counts worked on at once, so that they stay in the processor's cache

Result = TypeVar("Result", bound=msgspec.Struct)


class Intervals(msgspec.Struct, frozen=True):
    """Confidence intervals of a batch: the arrays of their ends."""

    low: FloatArray
    high: FloatArray


def row(batch: msgspec.Struct, kind: type[Result], index: tuple[int, ...] = ()) -> Result:
    """One row of a struct of arrays as the struct of numbers with the same field names.

    Args:
        batch: a struct whose fields are arrays of one shape, or such structs.
        kind: the class of the result.
        index: which row; () for a batch of one pair without leading axes.
    """
    values: dict[str, Any] = {}
    for name, struct in _fields(kind):
        field = getattr(batch, name)
        values[name] = row(field, struct, index) if struct else np.asarray(field)[index].item()
    return kind(**values)


def row_blocks(a: FloatArray, b: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Pairs of counts[..., cells] of one shape, a few rows at a time as [rows, cells].

    Yields:
        Which rows, counted over all leading axes together, and the two blocks.
    """
    cells = a.shape[-1]
    one, other = (x.reshape(math.prod(x.shape[:-1]), cells) for x in (a, b))
    step = max(1, _BLOCK // max(cells, 1))
    for first in range(0, len(one), step):
        rows = slice(first, first + step)
        yield rows, one[rows], other[rows]


@lru_cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, type[msgspec.Struct] | None], ...]:
    """The fields of a result and, of those that are structs themselves, their class."""
    return tuple(
        (f.name, f.type if issubclass(f.type, msgspec.Struct) else None)
        for f in msgspec.structs.fields(kind)
    )
