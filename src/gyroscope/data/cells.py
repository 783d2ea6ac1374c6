"""The cells in which the values of each column are counted, and what counting needs of them."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.errors import DataError

FloatArray = NDArray[np.float64]

BINS = 10  # coarse bins; the bands 0.10 and 0.25 of the PSI are customary for deciles
SCORE = "score"  # name of the one column of a profile of scores


class Variation(msgspec.Struct, frozen=True, kw_only=True):
    """What the consecutive parts of a reference in time order were at most, for one column."""

    longest_run: int  # most consecutive rows with one value
    missing: float  # largest share missing in a part
    psi: float  # largest PSI of a part against the others, of those that surely differ
    magnitudes: tuple[float, float] | None  # smallest and largest median of nonzero |x| of a part


class ColumnSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cells in which the values of one column are counted.

    The cells of a number are (-inf, edges[0]], (edges[0], edges[1]], ..., (edges[-1], inf). Those
    of a category are its codes 0 .. levels - 1 and a last one for every other code.
    """

    name: str
    levels: int = 0  # categories; 0 for a number
    edges: tuple[float, ...] = ()  # ascending and finite; numbers only
    bins: tuple[int, ...] = (0,)  # first cell of each coarse bin, ascending from 0; numbers only
    variation: Variation | None = None  # within the reference; None if its order is not known

    @property
    def cells(self) -> int:
        """Number of cells."""
        return 1 + (self.levels or len(self.edges))


class ProfileSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The cells of all columns, made once from the reference and kept with the model."""

    columns: tuple[ColumnSpec, ...]


def checked_matrix(X: FloatArray, columns: int) -> FloatArray:
    """Return ``X`` as float64[n, columns]; raises DataError for any other shape."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != columns:
        raise DataError(f"expected a matrix with {columns} columns, got shape {X.shape}")
    return X


def cell_counts(ascending: FloatArray, edges: FloatArray) -> NDArray[np.int64]:
    """Counts of sorted values: looking up edges among values beats values among edges."""
    upto = np.searchsorted(ascending, edges, side="right")
    return np.diff(upto, prepend=0, append=ascending.size)


def category_codes(values: FloatArray, levels: int) -> NDArray[np.int64]:
    """Codes in 0 .. levels, where every other code is ``levels``, and a missing one too."""
    return np.where((values >= 0) & (values < levels), values, levels).astype(np.int64)


def bin_edges(spec: ColumnSpec) -> tuple[float, ...]:
    """The upper ends of all coarse bins of a number but the last."""
    return tuple(spec.edges[first - 1] for first in spec.bins[1:])
