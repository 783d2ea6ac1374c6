"""Fixes the cells of each column by a reference: equal shares, heavy values by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gyroscope.data.cells import (
    BINS,
    SCORE,
    ColumnSpec,
    FloatArray,
    ProfileSpec,
    bin_edges,
    category_codes,
    cell_counts,
    checked_matrix,
)
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.variation import variation

FINE_CELLS = 250  # cells of equal reference share: a distribution function is known within 0.004


def profile_spec(
    X: FloatArray, features: Sequence[Column], *, in_time_order: bool = False
) -> ProfileSpec:
    """Fix the cells of all columns by a reference.

    Args:
        X: float64[n, p] as encoded: NaN is missing, a category is its code.
        features: the p columns, in order.
        in_time_order: whether the rows are sorted by time; only then is the variation within the
            reference measured, which tells season from drift and a slow column from a dead one.

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


def _levels(column: Column) -> int:
    """How many levels a column has, 0 if it is a number; false and true are levels 0 and 1."""
    if column.type is ColumnType.BOOLEAN:
        return 2
    return len(column.categories) if column.type is ColumnType.CATEGORY else 0


def _column_spec(name: str, levels: int, values: FloatArray, in_time_order: bool) -> ColumnSpec:
    edges = () if levels else _edges(values)
    bins = _bins(values, edges) if len(edges) else (0,)
    spec = ColumnSpec(name=name, levels=levels, edges=tuple(edges), bins=bins)
    if not in_time_order:
        return spec
    if levels:
        cells, unlisted = category_codes(values, levels), levels
    else:
        cells, unlisted = np.searchsorted(np.asarray(bin_edges(spec)), values), None
    return msgspec.structs.replace(spec, variation=variation(values, cells, unlisted=unlisted))


def _edges(values: FloatArray) -> Sequence[float]:
    """Ends of cells of equal share of the reference; a value that fills one has its own cell."""
    present = np.sort(values[np.isfinite(values)])
    if present.size == 0:
        return ()
    cuts = max(min(FINE_CELLS, present.size) - 1, 1)
    ranks = np.ceil(np.arange(1, cuts + 1) * (present.size / (cuts + 1))).astype(np.int64) - 1
    quantiles, repeats = np.unique(present[ranks], return_counts=True)
    heavy = quantiles[(repeats > 1) | (present[0] == present[-1])]
    with np.errstate(over="ignore"):  # below the lowest float there is minus infinity
        below = np.nextafter(heavy, -np.inf)
    edges = np.unique(np.concatenate([quantiles, below]))
    finite: list[float] = edges[np.isfinite(edges)].tolist()
    return finite


def _bins(values: FloatArray, edges: Sequence[float]) -> tuple[int, ...]:
    """Join cells to about BINS bins of equal share: each goes where its middle lies."""
    counts = cell_counts(np.sort(values[np.isfinite(values)]), np.asarray(edges))
    shares = counts / counts.sum()
    middles = np.cumsum(shares) - shares / 2
    bins = np.minimum((middles * BINS).astype(np.int64), BINS - 1)
    return (0, *(np.flatnonzero(np.diff(bins)) + 1).tolist())
