"""What every scorer can do, and what its explanation looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]


class Contributions(msgspec.Struct, frozen=True, kw_only=True):
    """Exact Shapley values of rows: ``base + values.sum(axis=1)`` is the margin."""

    values: Matrix  # float64[n, p], in the unit of the margin
    base: float  # margin expected before anything is known of the row


class Scorer(Protocol):
    """Turns encoded rows into raw margins and explains them.

    The margin of a row must not depend, to the last bit, on the rows scored with it.
    """

    kind: str  # name in the bundle
    explains: bool  # whether it has contributions

    def margins(self, X: Matrix) -> Vector:
        """Raw margins, ``float64[n]``, of encoded rows ``float64[n, p]``."""
        ...

    def contributions(self, X: Matrix) -> Contributions:
        """Exact Shapley values of the margins; NotImplementedError unless it explains."""
        ...

    def arrays(self) -> Arrays:
        """All that is needed to build the scorer again."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Build the scorer from what :meth:`arrays` gave."""
        ...


def ordered_sum(terms: Matrix) -> Vector:
    """Sum each row of ``float64[n, k]`` strictly from left to right.

    ``np.sum`` picks an order by the shape of the whole array, so that the same row could get
    another last bit in another batch; a cumulative sum has only one order.
    """
    total: Vector = np.cumsum(terms, axis=1)[:, -1]
    return total
