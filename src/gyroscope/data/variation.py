"""How a column varies within its own reference, which windows to come may do too.

Rows that arrive together resemble each other: seasons, week-ends, campaigns, groups. A window is
therefore never a fresh random sample of the reference, and is measured against what the parts of
the reference were among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import Dispersions, FloatArray, Variation
from gyroscope.kernels import Runs, Stretch, read_runs
from gyroscope.stats.dispersion import (
    Dispersion,
    growing_dispersions_of_scores_batch,
    growing_dispersions_of_shares_batch,
)
from gyroscope.stats.rank_scores import normal_scores

# Consecutive parts into which the reference is cut, and joined by twos. So many that a day is not
# lost in a part, nor the days of the week: a year of days and more.
PARTS = 1024
PART_ROWS = 100  # of a part at least
_AT_ONCE = 500_000  # counts of several columns, so that what is made of them stays small
LARGE_PARTS = 64  # in which missing values and magnitudes are looked at: single parts are noisy


class Parts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A column of which the consecutive parts have been counted."""

    counts: NDArray[np.int64]  # int64[parts, bins or categories]
    missing: NDArray[np.int64]  # int64[parts]: rows without a value
    rows: NDArray[np.int64]  # int64[parts]
    longest_run: int  # most consecutive rows with one value
    # Smallest and largest median of nonzero |x| of the large parts; None if no part has any.
    magnitudes: tuple[float, float] | None
    unlisted: int | None  # the cell of categories that are not listed; None for numbers


def variation(values: FloatArray, cells: NDArray[np.int64], *, unlisted: int | None) -> Variation:
    """Measure the variation of a column.

    Args:
        values: float64[n] in time order; NaN is missing.
        cells: int[n], the bin or category of each value; whatever it is where that is missing.
        unlisted: the cell of categories that are not in the contract; None for numbers.
    """
    runs = Runs()
    read_runs(Stretch(values=values), runs)
    bounds = part_bounds(values.size)
    parts = [slice(*ends) for ends in pairwise(bounds.tolist())]
    absent = np.isnan(values)
    counts = np.array(
        [np.bincount(cells[p][~absent[p]], minlength=int(cells.max(initial=0)) + 1) for p in parts]
    )
    held = Parts(
        counts=counts,
        missing=np.array([np.count_nonzero(absent[p]) for p in parts]),
        rows=np.diff(bounds),
        longest_run=runs.longest,
        magnitudes=_extreme_medians([values[a:b] for a, b in pairwise(_large_bounds(bounds))])
        if unlisted is None
        else None,
        unlisted=unlisted,
    )
    return variations([held])[0]


def variations(columns: Sequence[Parts]) -> list[Variation]:
    """The variation of each column of a table; those of as many cells are measured together."""
    rows = _in_large_parts(columns[0].rows)[:, np.newaxis]
    missing = _in_large_parts(np.stack([held.missing for held in columns], axis=1))
    return [
        Variation(
            longest_run=held.longest_run,
            missing=most_missing,
            dispersions=dispersions,
            magnitudes=held.magnitudes,
        )
        for held, most_missing, dispersions in zip(
            columns,
            (missing / np.maximum(rows, 1)).max(axis=0).tolist(),
            _dispersions(columns),
            strict=True,
        )
    ]


@lru_cache(maxsize=8)  # of a table, once for all its columns
def part_bounds(rows: int) -> NDArray[np.int64]:
    """Where the parts of a reference begin, and the last one ends; the longer ones come first.

    Their number is a power of two, so that none is left out when they are joined.
    """
    parts = min(PARTS, 1 << (max(1, rows // PART_ROWS).bit_length() - 1))
    each, longer = divmod(rows, parts)
    return np.arange(parts + 1) * each + np.minimum(np.arange(parts + 1), longer)


def large_part_of(parts: int) -> NDArray[np.int64]:
    """Which of the large parts, ``LARGE_PARTS`` at most, each of some consecutive parts is in."""
    return np.arange(parts) // math.ceil(parts / LARGE_PARTS)


def _in_large_parts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts[parts, ...] of consecutive parts, summed in large parts."""
    first = np.flatnonzero(np.diff(large_part_of(len(counts)), prepend=-1))
    return np.asarray(np.add.reduceat(counts, first, axis=0))


def _large_bounds(bounds: NDArray[np.int64]) -> list[int]:
    ends = np.cumsum(_in_large_parts(np.diff(bounds)))
    return [0, *ends.tolist()]


def _dispersions(columns: Sequence[Parts]) -> list[Dispersions]:
    """How the parts differ, for parts of growing size."""
    ordered = [held.counts if held.unlisted is None else None for held in columns]
    present = [
        np.stack([held.missing, held.counts.sum(axis=1)], axis=1) if held.missing.any() else None
        for held in columns
    ]
    measured = (
        _of_alike(ordered, lambda counts: _of_scores(counts, 1)),
        _of_alike(ordered, lambda counts: _of_scores(counts, 2)),
        _of_alike([held.counts for held in columns], growing_dispersions_of_shares_batch),
        _of_alike(present, growing_dispersions_of_shares_batch),
    )
    return [
        Dispersions(shift=shift, spread=spread, shares=shares, missing=missing)
        for shift, spread, shares, missing in zip(*measured, strict=True)
    ]


def _of_scores(counts: NDArray[np.int64], power: int) -> list[tuple[Dispersion, ...]]:
    scores = normal_scores(counts.sum(axis=1).astype(np.float64))
    return growing_dispersions_of_scores_batch(counts, scores**power)


def _of_alike(
    columns: Sequence[NDArray[np.int64] | None],
    measure: Callable[[NDArray[np.int64]], list[tuple[Dispersion, ...]]],
) -> list[tuple[Dispersion, ...]]:
    """What is measured of counts[columns, parts, cells], of columns as large at once, where any."""
    found: list[tuple[Dispersion, ...]] = [()] * len(columns)
    alike: dict[tuple[int, ...], list[int]] = {}
    for position, counts in enumerate(columns):
        if counts is not None:
            alike.setdefault(counts.shape, []).append(position)
    for shape, positions in alike.items():
        step = max(1, _AT_ONCE // math.prod(shape))
        for first in range(0, len(positions), step):
            some = positions[first : first + step]
            counts = np.stack([held for p in some if (held := columns[p]) is not None])
            for position, dispersions in zip(some, measure(counts), strict=True):
                found[position] = dispersions
    return found


def _extreme_medians(parts: Sequence[FloatArray]) -> tuple[float, float] | None:
    sizes = (np.abs(part[np.isfinite(part) & (part != 0)]) for part in parts)
    # The lower median: the mean of the middle two of very large numbers overflows.
    medians = [np.partition(s, (s.size - 1) // 2)[(s.size - 1) // 2] for s in sizes if s.size]
    return (float(min(medians)), float(max(medians))) if medians else None
