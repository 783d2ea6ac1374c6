"""Profiles: mergeable summaries of encoded columns over a window, on cells fixed by a reference.

Everything the monitor asks of a window without labels it asks of two profiles, so that the cost of
a check does not depend on how much history there is. Counts of merged profiles are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import (
    ColumnSpec,
    FloatArray,
    ProfileSpec,
    category_codes,
    cell_counts,
    checked_matrix,
)
from gyroscope.errors import DataError


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of one column. Moments and extremes are of finite numbers only."""

    counts: tuple[int, ...]  # values in each cell of the spec; infinite ones in the outer cells
    missing: int = 0  # rows without a value
    infinite: int = 0  # values that are plus or minus infinity
    mean: float = 0.0
    m2: float = 0.0  # sum of squared deviations from the mean; at most the largest float
    low: float | None = None  # None if there is no finite number
    high: float | None = None
    magnitudes: tuple[tuple[int, int], ...] = ()  # (cell of |x|, count), ascending; nonzero only

    @property
    def n(self) -> int:
        """Values that are not missing."""
        return sum(self.counts)

    @property
    def standard_deviation(self) -> float:
        """Sample standard deviation of the finite numbers; 0 with fewer than two."""
        finite = self.n - self.infinite
        return math.sqrt(self.m2 / (finite - 1)) if finite > 1 else 0.0

    def magnitude_quantile(self, share: float) -> float | None:
        """The value that a ``share`` in (0, 1] of all finite nonzero |x| do not exceed.

        Exact to a factor of 1.125 either way; None if there is no such number.
        """
        total = sum(count for _, count in self.magnitudes)
        seen = 0
        for cell, count in self.magnitudes:
            seen += count
            if seen >= share * total:
                low, high = magnitude_bounds(cell)
                return (low + high) / 2
        return None

    def merged(self, other: ColumnProfile) -> ColumnProfile:
        """The profile of the rows of both, which must be on the same cells.

        Moments are combined as in Chan, Golub and LeVeque (1983), The American Statistician 37.
        """
        n, m = self.n - self.infinite, other.n - other.infinite
        gap = other.mean - self.mean
        magnitudes = dict(self.magnitudes)
        for cell, count in other.magnitudes:
            magnitudes[cell] = magnitudes.get(cell, 0) + count
        return ColumnProfile(
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            mean=self.mean * (n / (n + m)) + other.mean * (m / (n + m)) if n + m else 0.0,
            m2=_bounded(self.m2 + other.m2 + (gap * (n * m / (n + m)) * gap if n + m else 0.0)),
            low=min((x for x in (self.low, other.low) if x is not None), default=None),
            high=max((x for x in (self.high, other.high) if x is not None), default=None),
            magnitudes=tuple(sorted(magnitudes.items())),
        )


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of ``n`` rows; ``columns`` are in the order of the spec."""

    spec: ProfileSpec
    n: int
    columns: tuple[ColumnProfile, ...]

    def merged(self, other: Profile) -> Profile:
        """The profile of the rows of both.

        Raises:
            DataError: the two were counted on different cells.
        """
        if self.spec != other.spec:
            raise DataError(
                "profiles counted on different cells cannot be merged; "
                "profile both with the spec of one reference"
            )
        return Profile(
            spec=self.spec,
            n=self.n + other.n,
            columns=tuple(
                mine.merged(theirs)
                for mine, theirs in zip(self.columns, other.columns, strict=True)
            ),
        )


def profile(X: FloatArray, spec: ProfileSpec) -> Profile:
    """Summarise the rows of ``X`` (float64[n, p], or scores[n]) on the cells of ``spec``.

    Raises:
        DataError: ``X`` does not have the columns of ``spec``.
    """
    X = np.asarray(X, dtype=np.float64)
    X = checked_matrix(X[:, np.newaxis] if X.ndim == 1 else X, len(spec.columns))
    return Profile(
        spec=spec,
        n=len(X),
        columns=tuple(
            _category_profile(values, column) if column.levels else _number_profile(values, column)
            for values, column in zip(X.T, spec.columns, strict=True)
        ),
    )


def binned_counts(counts: Sequence[int], spec: ColumnSpec) -> NDArray[np.int64]:
    """The counts of a column in its coarse bins; those of a category as they are."""
    fine = np.asarray(counts, dtype=np.int64)
    return fine if spec.levels else np.add.reduceat(fine, spec.bins)


def quantile(column: ColumnProfile, spec: ColumnSpec, share: float) -> float | None:
    """The value that a ``share`` in [0, 1] of a number's values do not exceed, from the cells.

    Interpolated within a cell, of which the outermost are closed by the extremes; None if the
    column has no finite number.
    """
    if column.low is None or column.high is None:
        return None
    target, below = share * column.n, 0
    bounds = (column.low, *spec.edges, column.high)
    for cell, count in enumerate(column.counts):
        if count and below + count >= target:
            low, high = max(bounds[cell], column.low), min(bounds[cell + 1], column.high)
            return low + (high - low) * (target - below) / count if high > low else low
        below += count
    return column.high


def magnitude_bounds(cell: int) -> tuple[float, float]:
    """Lower and upper end of a cell of |x|."""
    low, high = (np.array([cell, cell + 1], dtype=np.int64) << _MAGNITUDE_SHIFT).view(np.float64)
    return float(low), float(min(high, np.finfo(np.float64).max))


# A float64 without its sign is ordered as the integer with the same bits. Keeping its exponent and
# the first two bits of its fraction cuts every octave into four cells: a histogram of |x| over all
# magnitudes that needs no reference, so that a change of unit cannot leave its range.
_MAGNITUDE_SHIFT = 50


def _magnitudes(finite: FloatArray) -> tuple[tuple[int, int], ...]:
    """Cells of |x| that hold something, with counts, of the nonzero among finite values."""
    size = np.abs(finite)
    cells = size.view(np.int64) >> _MAGNITUDE_SHIFT
    counts = np.bincount(cells[size > 0])
    held = np.flatnonzero(counts)
    return tuple(zip(held.tolist(), counts[held].tolist(), strict=True))


def _number_profile(values: FloatArray, spec: ColumnSpec) -> ColumnProfile:
    ascending = np.sort(values)
    present = ascending[: np.searchsorted(ascending, np.nan)]  # NaN sorts last
    counts = cell_counts(present, np.asarray(spec.edges))
    finite = present[np.isfinite(present)] if present.size else present
    mean, m2 = _moments(finite)
    return ColumnProfile(
        counts=tuple(counts.tolist()),
        missing=values.size - present.size,
        infinite=present.size - finite.size,
        mean=mean,
        m2=m2,
        low=float(finite[0]) if finite.size else None,
        high=float(finite[-1]) if finite.size else None,
        magnitudes=_magnitudes(finite),
    )


def _category_profile(values: FloatArray, spec: ColumnSpec) -> ColumnProfile:
    present = values[~np.isnan(values)]
    counts = np.bincount(category_codes(present, spec.levels), minlength=spec.cells)
    return ColumnProfile(counts=tuple(counts.tolist()), missing=values.size - present.size)


def _moments(finite: FloatArray) -> tuple[float, float]:
    """Mean and sum of squared deviations, without overflow on the way to the mean."""
    if finite.size == 0:
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        mean = float(finite.mean())
        if math.isinf(mean):
            mean = float((finite / finite.size).sum())
        deviations = finite - mean
        return mean, _bounded(float(deviations @ deviations))


def _bounded(m2: float) -> float:
    """Keep an overflown sum of squares in what JSON can carry."""
    return min(m2, float(np.finfo(np.float64).max))
