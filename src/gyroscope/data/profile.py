"""Profiles: mergeable summaries of columns over a window, on cells fixed by a reference.

Everything the monitor asks of a window without labels it asks of two profiles, so that the cost of
a check does not depend on how much history there is. Counts, extremes and sketches of merged
profiles are exact, moments but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import (
    ColumnSpec,
    FloatArray,
    ProfileSpec,
    category_codes,
    cells_of,
    checked_matrix,
    even_rows,
)
from gyroscope.data.framing import framed, unframed
from gyroscope.data.joint import JOINT_COLUMNS, JOINT_ROWS, joint_of_cells
from gyroscope.data.parallel import in_threads
from gyroscope.errors import DataError
from gyroscope.kernels import REGISTERS, NumberTally, Stretch, tally_numbers
from gyroscope.records import ArrayRecord
from gyroscope.stats.dependence import CrossProducts
from gyroscope.stats.heavy_hitters import HeavyHitters, merged_hitters
from gyroscope.stats.hyperloglog import distinct_estimate

Counts = NDArray[np.int64]
Sketch = NDArray[np.uint8]

NO_OTHERS = HeavyHitters()

_LARGEST = float(np.finfo(np.float64).max)


class ColumnProfile(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """What is kept of one column. Moments and extremes are of finite numbers only."""

    counts: Counts  # int64[cells]: values in each cell of the spec; infinite ones in the outer ones
    missing: int = 0  # rows without a value
    unreadable: int = 0  # rows whose value is not of the column's type; in no cell, not missing
    infinite: int = 0  # values that are plus or minus infinity
    mean: float = 0.0
    m2: float = 0.0  # sum of squared deviations from the mean; at most the largest float
    low: float | None = None  # None if there is no finite number
    high: float | None = None
    magnitude_cells: Counts  # int64[k]: cells of |x| that hold something, ascending; nonzero only
    magnitude_counts: Counts  # int64[k]: how many values each of them holds
    sketch: Sketch  # uint8[REGISTERS]: HyperLogLog of numbers, or of categories that are not listed
    others: HeavyHitters = NO_OTHERS  # categories that are not listed, the most frequent ones

    @property
    def n(self) -> int:
        """Values that are neither missing nor unreadable."""
        return int(self.counts.sum())

    @property
    def zeros(self) -> int:
        """How many numbers are 0; of categories, all values."""
        return self.n - self.infinite - int(self.magnitude_counts.sum())

    @property
    def standard_deviation(self) -> float:
        """Sample standard deviation of the finite numbers; 0 with fewer than two."""
        finite = self.n - self.infinite
        return math.sqrt(self.m2 / (finite - 1)) if finite > 1 else 0.0

    @property
    def unlisted_distinct(self) -> float:
        """Distinct values in the sketch: numbers, or categories that are not listed."""
        return distinct_estimate(self.sketch)

    def magnitude_quantile(self, share: float) -> float | None:
        """The value that a ``share`` in (0, 1] of all finite nonzero |x| do not exceed.

        Exact to a factor of 1.125 either way; None if there is no such number.
        """
        seen = np.cumsum(self.magnitude_counts)
        if seen.size == 0:
            return None
        at = int(np.argmax(seen >= share * seen[-1]))
        low, high = magnitude_bounds(int(self.magnitude_cells[at]))
        return (low + high) / 2


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of ``n`` rows; ``columns`` are in the order of the spec."""

    spec: ProfileSpec
    n: int
    columns: tuple[ColumnProfile, ...]
    joint: CrossProducts | None = None
    absent: tuple[
        str, ...
    ] = ()  # columns of the spec that the table did not have, in whole or part
    extra: tuple[str, ...] = ()  # columns of the table that are not profiled

    def merged(self, other: Profile) -> Profile:
        """The profile of the rows of both; raises as :func:`merge_all`."""
        return merge_all([self, other])

    def to_bytes(self) -> bytes:
        """The profile without its spec, in a compact form that :meth:`from_bytes` reads."""
        return framed(
            b"prof",
            _Stored(
                spec=self.spec.digest,
                n=self.n,
                columns=self.columns,
                joint=self.joint,
                absent=self.absent,
                extra=self.extra,
            ),
        )

    @classmethod
    def from_bytes(cls, content: bytes, spec: ProfileSpec) -> Profile:
        """Read what :meth:`to_bytes` wrote of a profile with this spec.

        Raises:
            DataError: the content is something else, damaged, or of a profile with another spec.
        """
        stored = unframed(b"prof", content, _Stored)
        if stored.spec != spec.digest:
            raise DataError(
                "this profile was counted on other cells; read it with the spec it was made with"
            )
        return cls(
            spec=spec,
            n=stored.n,
            columns=stored.columns,
            joint=stored.joint,
            absent=stored.absent,
            extra=stored.extra,
        )


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A profile as it is written: the spec, which many profiles share, by its digest."""

    spec: bytes
    n: int
    columns: tuple[ColumnProfile, ...]
    joint: CrossProducts | None
    absent: tuple[str, ...]
    extra: tuple[str, ...]


def profile(X: FloatArray, spec: ProfileSpec) -> Profile:
    """Summarise the rows of ``X`` (float64[n, p], or scores[n]) on the cells of ``spec``.

    Raises:
        DataError: ``X`` does not have the columns of ``spec``.
    """
    X = np.asarray(X, dtype=np.float64)
    X = checked_matrix(X[:, np.newaxis] if X.ndim == 1 else X, len(spec.columns))

    def column(position: int) -> ColumnProfile:
        return encoded_profile(X[:, position], spec.columns[position])

    done = in_threads(column, range(len(spec.columns)), values=X.size)
    return Profile(spec=spec, n=len(X), columns=tuple(done))


def joint_summary(X: FloatArray, reference: Profile) -> CrossProducts:
    """How the columns of encoded rows ``X`` (float64[n, p]) move together.

    ``reference`` gives cells and ranks. At most ``JOINT_ROWS`` rows, evenly taken, are looked at.

    Raises:
        DataError: ``X`` does not have the columns of the reference.
    """
    X = checked_matrix(X, len(reference.spec.columns))
    rows = even_rows(len(X), JOINT_ROWS)
    specs = reference.spec.columns[:JOINT_COLUMNS]
    cells = [cells_of(X[rows, position], spec) for position, spec in enumerate(specs)]
    return joint_of_cells(cells, [column.counts for column in reference.columns[:JOINT_COLUMNS]])


def merge_all(profiles: Sequence[Profile]) -> Profile:
    """The profile of the rows of all, at least one.

    Raises:
        DataError: there is none, or not all were counted on the same cells.
    """
    if not profiles:
        raise DataError("expected profiles to merge, got none")
    first = profiles[0]
    if any(other.spec is not first.spec and other.spec != first.spec for other in profiles):
        raise DataError(
            "profiles counted on different cells cannot be merged; "
            "profile all with the spec of one reference"
        )
    joint = first.joint
    for other in profiles[1:]:
        joint = joint + other.joint if joint and other.joint else None
    return Profile(
        spec=first.spec,
        n=sum(part.n for part in profiles),
        columns=tuple(
            merged_columns([part.columns[position] for part in profiles])
            for position in range(len(first.columns))
        ),
        joint=joint,
        absent=_all_names([part.absent for part in profiles]),
        extra=_all_names([part.extra for part in profiles]),
    )


def merged_columns(parts: Sequence[ColumnProfile]) -> ColumnProfile:
    """The profile of one column over the rows of all parts, which are on the same cells.

    Moments are combined as in Chan, Golub and LeVeque (1983), The American Statistician 37.
    """
    counts = np.array([part.counts for part in parts])
    infinite = [part.infinite for part in parts]
    mean, m2 = _merged_moments(
        counts.sum(axis=1) - infinite,
        np.array([part.mean for part in parts]),
        np.array([part.m2 for part in parts]),
    )
    cells = np.concatenate([part.magnitude_cells for part in parts])
    held_counts = np.concatenate([part.magnitude_counts for part in parts])
    magnitudes = np.bincount(cells, weights=held_counts).astype(np.int64)  # exact below 2^53
    held = np.flatnonzero(magnitudes)
    return ColumnProfile(
        counts=counts.sum(axis=0),
        missing=sum(part.missing for part in parts),
        unreadable=sum(part.unreadable for part in parts),
        infinite=sum(infinite),
        mean=mean,
        m2=m2,
        low=min((part.low for part in parts if part.low is not None), default=None),
        high=max((part.high for part in parts if part.high is not None), default=None),
        magnitude_cells=held,
        magnitude_counts=magnitudes[held],
        sketch=np.max([part.sketch for part in parts], axis=0),
        others=merged_hitters(part.others for part in parts),
    )


def _merged_moments(n: Counts, mean: FloatArray, m2: FloatArray) -> tuple[float, float]:
    total = n.sum()
    if total == 0:
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        whole = float((mean * (n / total)).sum().clip(-_LARGEST, _LARGEST))  # it may round up
        gaps = mean[n > 0] - whole
        return whole, min(float(m2.sum() + (gaps * n[n > 0] * gaps).sum()), _LARGEST)


def _all_names(given: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in given for name in names))


def binned_counts(counts: Counts, spec: ColumnSpec) -> NDArray[np.int64]:
    """The counts (int64[..., cells]) of a column in its coarse bins; those of a category as is."""
    return counts if spec.categorical else np.add.reduceat(counts, spec.bins, axis=-1)


def quantile(column: ColumnProfile, spec: ColumnSpec, share: float) -> float | None:
    """The value that a ``share`` in [0, 1] of a number's values do not exceed, from the cells.

    Interpolated within a cell, of which the outermost are closed by the extremes; None if the
    column has no finite number.
    """
    if column.low is None or column.high is None:
        return None
    target, below = share * column.n, 0
    bounds = (column.low, *spec.edges, column.high)
    for cell, count in enumerate(column.counts.tolist()):
        if count and below + count >= target:
            low, high = max(bounds[cell], column.low), min(bounds[cell + 1], column.high)
            return low + (high - low) * (target - below) / count if high > low else low
        below += count
    return column.high


@cache
def magnitude_bounds(cell: int) -> tuple[float, float]:
    """Lower and upper end of a cell of |x|."""
    low, high = (np.array([cell, cell + 1], dtype=np.int64) << _MAGNITUDE_SHIFT).view(np.float64)
    return float(low), float(min(high, np.finfo(np.float64).max))


# A float64 without its sign is ordered as the integer with the same bits. Keeping its exponent and
# the first two bits of its fraction cuts every octave into four cells: a histogram of |x| over all
# magnitudes that needs no reference, so that a change of unit cannot leave its range.
_MAGNITUDE_SHIFT = 50


def encoded_profile(values: FloatArray, spec: ColumnSpec) -> ColumnProfile:
    """The profile of one encoded column: float64[n], NaN for missing, the code of a category."""
    if not spec.categorical:
        return number_profile(tally_numbers([Stretch(values=values)], np.asarray(spec.edges)))
    present = values[~np.isnan(values)]
    counts = np.bincount(category_codes(present, spec.levels), minlength=spec.cells)
    return category_profile(counts, missing=values.size - present.size)


def number_profile(tally: NumberTally, *, unreadable: int = 0) -> ColumnProfile:
    """The profile of a column of numbers, from the tally of its values.

    ``unreadable`` of the values that are missing there were none that could be read.
    """
    magnitudes = tally.magnitudes.sum(axis=0)
    held = np.flatnonzero(magnitudes)
    return ColumnProfile(
        counts=tally.counts,
        missing=int(tally.missing.sum()) - unreadable,
        unreadable=unreadable,
        infinite=tally.infinite,
        mean=tally.mean,
        m2=tally.m2,
        low=tally.low if tally.finite else None,
        high=tally.high if tally.finite else None,
        magnitude_cells=held + tally.first_magnitude,
        magnitude_counts=magnitudes[held],
        sketch=tally.sketch,
    )


def category_profile(
    counts: Counts,
    *,
    missing: int,
    unreadable: int = 0,
    sketch: Sketch | None = None,
    others: HeavyHitters = NO_OTHERS,
) -> ColumnProfile:
    """The profile of a column of categories, from the counts int64[levels + 1] of its codes."""
    nothing = np.zeros(0, dtype=np.int64)
    return ColumnProfile(
        counts=counts,
        missing=missing,
        unreadable=unreadable,
        magnitude_cells=nothing,
        magnitude_counts=nothing,
        sketch=np.zeros(REGISTERS, dtype=np.uint8) if sketch is None else sketch,
        others=others,
    )
