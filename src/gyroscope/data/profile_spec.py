"""The cells in which the values of each column are counted, fixed once by a reference."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Column, ColumnType
from gyroscope.errors import DataError

FloatArray = NDArray[np.float64]

FINE_CELLS = 250  # cells of equal reference share: a distribution function is known within 0.004
BINS = 10  # coarse bins; the bands 0.10 and 0.25 of the PSI are customary for deciles
PARTS = 50  # consecutive parts of the reference in which missing values are counted ...
PART_ROWS = 100  # ... of at least so many rows
SCORE = "score"  # name of the one column of a profile of scores


class ColumnSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cells in which the values of one column are counted.

    The cells of a number are (-inf, edges[0]], (edges[0], edges[1]], ..., (edges[-1], inf). Those
    of a category are its codes 0 .. levels - 1 and a last one for every other code.
    """

    name: str
    levels: int = 0  # categories; 0 for a number
    edges: tuple[float, ...] = ()  # ascending and finite; numbers only
    bins: tuple[int, ...] = (0,)  # first cell of each coarse bin, ascending from 0; numbers only
    longest_run: int | None = None  # most consecutive reference rows of one value; None if unknown
    most_missing: float = 0.0  # largest share missing in any part of the reference, see PARTS

    @property
    def cells(self) -> int:
        """Number of cells."""
        return 1 + (self.levels or len(self.edges))


class ProfileSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The cells of all columns, made once from the reference and kept with the model."""

    columns: tuple[ColumnSpec, ...]


def profile_spec(
    X: FloatArray, features: Sequence[Column], *, in_time_order: bool = False
) -> ProfileSpec:
    """Fix the cells of all columns by a reference.

    Args:
        X: float64[n, p] as encoded: NaN is missing, a category is its code.
        features: the p columns, in order.
        in_time_order: whether the rows are sorted by time; only then are runs of equal values
            measured, which tell a column that stopped from one that changes slowly.

    Raises:
        DataError: ``X`` is not a matrix with a column for every feature.
    """
    X = checked_matrix(X, len(features))
    return ProfileSpec(
        columns=tuple(
            _column_spec(column.name, _levels(column), values, in_time_order)
            for column, values in zip(features, X.T, strict=True)
        )
    )


def score_spec(scores: FloatArray, *, in_time_order: bool = False) -> ProfileSpec:
    """Fix the cells of scores by a reference: those of one column called "score".

    Args:
        scores: scores[n] in [0, 1] of the reference.
        in_time_order: as for :func:`profile_spec`.
    """
    return ProfileSpec(columns=(_column_spec(SCORE, 0, np.asarray(scores), in_time_order),))


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


def _levels(column: Column) -> int:
    """How many levels a column has, 0 if it is a number; false and true are levels 0 and 1."""
    if column.type is ColumnType.BOOLEAN:
        return 2
    return len(column.categories) if column.type is ColumnType.CATEGORY else 0


def _column_spec(name: str, levels: int, values: FloatArray, in_time_order: bool) -> ColumnSpec:
    edges = () if levels else _edges(values)
    return ColumnSpec(
        name=name,
        levels=levels,
        edges=tuple(edges),
        bins=_bins(values, edges) if len(edges) else (0,),
        longest_run=_longest_run(values) if in_time_order else None,
        most_missing=_most_missing(values),
    )


def _edges(values: FloatArray) -> Sequence[float]:
    """Ends of cells of equal share of the reference; a value that fills one has its own cell."""
    present = np.sort(values[np.isfinite(values)])
    if present.size == 0:
        return ()
    cuts = max(min(FINE_CELLS, present.size) - 1, 1)
    ranks = np.ceil(np.arange(1, cuts + 1) * (present.size / (cuts + 1))).astype(np.int64) - 1
    quantiles, repeats = np.unique(present[ranks], return_counts=True)
    heavy = quantiles[(repeats > 1) | (present[0] == present[-1])]
    edges = np.unique(np.concatenate([quantiles, np.nextafter(heavy, -np.inf)]))
    finite: list[float] = edges[np.isfinite(edges)].tolist()
    return finite


def _bins(values: FloatArray, edges: Sequence[float]) -> tuple[int, ...]:
    """Join cells to about BINS bins of equal share: each goes where its middle lies."""
    counts = cell_counts(np.sort(values[np.isfinite(values)]), np.asarray(edges))
    shares = counts / counts.sum()
    middles = np.cumsum(shares) - shares / 2
    bins = np.minimum((middles * BINS).astype(np.int64), BINS - 1)
    return (0, *(np.flatnonzero(np.diff(bins)) + 1).tolist())


def _most_missing(values: FloatArray) -> float:
    """Largest share missing in any of the consecutive parts of the rows."""
    missing = np.isnan(values)
    parts = np.array_split(missing, min(PARTS, max(1, values.size // PART_ROWS)))
    return max((float(part.mean()) for part in parts if part.size), default=0.0)


def _longest_run(values: FloatArray) -> int:
    """Most consecutive rows with one value; a missing value ends a run."""
    values = np.asarray(values)
    if values.size == 0:
        return 0
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return int(np.diff(starts, append=values.size).max())
