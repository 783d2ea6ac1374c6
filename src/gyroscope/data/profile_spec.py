"""Fixes the cells of each column by a reference: equal shares, heavy values by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import (
    BINS,
    FALSE_TRUE,
    SAMPLED,
    SCORE,
    ColumnSpec,
    FloatArray,
    ProfileSpec,
    bin_edges,
    category_codes,
    cell_counts,
    checked_matrix,
    even_rows,
)
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.variation import variation

_CATEGORICAL = (ColumnType.CATEGORY, ColumnType.BOOLEAN)

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
            _with_variation(
                number_spec(column.name, values, column.type, unit=column.unit)
                if column.type not in _CATEGORICAL
                else ColumnSpec(
                    name=column.name,
                    type=column.type,
                    categories=column.categories
                    if column.type is ColumnType.CATEGORY
                    else FALSE_TRUE,
                ),
                values,
                in_time_order,
            )
            for column, values in zip(features, X.T, strict=True)
        )
    )


def score_spec(
    scores: FloatArray, *, name: str = SCORE, in_time_order: bool = False
) -> ProfileSpec:
    """Fix the cells of scores by a reference: those of one column.

    Args:
        scores: scores[n] of the reference.
        name: of the column.
        in_time_order: as for :func:`profile_spec`.
    """
    scores = np.asarray(scores)
    spec = number_spec(name, scores, ColumnType.NUMBER)
    return ProfileSpec(columns=(_with_variation(spec, scores, in_time_order),))


def number_spec(
    name: str, values: FloatArray, type: ColumnType, *, unit: str = "", format: str | None = None
) -> ColumnSpec:
    """Fix the cells of a number or datetime by values[n] of the reference; NaN is missing.

    Of more than ``SAMPLED`` values so many, evenly taken, are looked at.
    """
    sample = values if values.size <= SAMPLED else values[even_rows(values.size, SAMPLED)]
    present = sample[np.isfinite(sample)]
    present.sort()
    edges = _edges(present)
    bins = _bins(present, edges) if len(edges) else (0,)
    return ColumnSpec(name=name, type=type, unit=unit, format=format, edges=tuple(edges), bins=bins)


def _with_variation(spec: ColumnSpec, values: FloatArray, in_time_order: bool) -> ColumnSpec:
    if not in_time_order:
        return spec
    if spec.categorical:
        cells, unlisted = category_codes(values, spec.levels), spec.levels
    else:
        cells, unlisted = np.searchsorted(np.asarray(bin_edges(spec)), values), None
    return msgspec.structs.replace(spec, variation=variation(values, cells, unlisted=unlisted))


def _edges(present: FloatArray) -> Sequence[float]:
    """Ends of cells of equal share of the reference; a value that fills one has its own cell.

    The outermost cells are empty: they are for values beyond all that the reference holds.
    """
    if present.size == 0:
        return ()
    cuts = max(min(FINE_CELLS, present.size) - 1, 1)
    ranks = np.ceil(np.arange(1, cuts + 1) * (present.size / (cuts + 1))).astype(np.int64) - 1
    quantiles = present[ranks]
    starts = _starts(quantiles)
    repeats = np.diff(starts, append=quantiles.size)
    quantiles = quantiles[starts]
    heavy = quantiles[(repeats > 1) | (present[0] == present[-1])]
    with np.errstate(over="ignore"):  # below the lowest float there is minus infinity
        below = np.nextafter(np.append(heavy, present[0]), -np.inf)
    edges = np.sort(np.concatenate([quantiles, below, present[-1:]]))
    edges = edges[_starts(edges)]
    finite: list[float] = edges[np.isfinite(edges)].tolist()
    return finite


def _starts(ascending: FloatArray) -> NDArray[np.intp]:
    """Where each distinct value begins. NumPy's unique imports its masked arrays, a long wait."""
    return np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))


def _bins(present: FloatArray, edges: Sequence[float]) -> tuple[int, ...]:
    """Join cells to about BINS bins of equal share: each goes where its middle lies."""
    counts = cell_counts(present, np.asarray(edges))
    shares = counts / counts.sum()
    middles = np.cumsum(shares) - shares / 2
    bins = np.minimum((middles * BINS).astype(np.int64), BINS - 1)
    return (0, *(np.flatnonzero(np.diff(bins)) + 1).tolist())
