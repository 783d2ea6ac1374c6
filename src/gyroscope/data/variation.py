"""How a column varies within its own reference, which windows to come may do too.

Rows that arrive together resemble each other: seasons, week-ends, campaigns, groups. A window is
therefore never a fresh random sample of the reference, and is measured against what the parts of
the reference were among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import Dispersions, FloatArray, Variation
from gyroscope.kernels import runs_of
from gyroscope.stats.dispersion import (
    growing_dispersions_of_scores,
    growing_dispersions_of_shares,
)
from gyroscope.stats.rank_scores import normal_scores

# Consecutive parts into which the reference is cut, and joined by twos. So many that a day is not
# lost in a part, nor the days of the week: a year of days and more.
PARTS = 1024
PART_ROWS = 100  # of a part at least
LARGE_PARTS = 64  # in which missing values and magnitudes are looked at: single parts are noisy


def variation(values: FloatArray, cells: NDArray[np.int64], *, unlisted: int | None) -> Variation:
    """Measure the variation of a column.

    Args:
        values: float64[n] in time order; NaN is missing.
        cells: int[n], the bin or category of each value; whatever it is where that is missing.
        unlisted: the cell of categories that are not in the contract; None for numbers.
    """
    bounds = part_bounds(values.size)
    parts = [slice(*ends) for ends in pairwise(bounds.tolist())]
    absent = np.isnan(values)
    counts = np.array(
        [np.bincount(cells[p][~absent[p]], minlength=int(cells.max(initial=0)) + 1) for p in parts]
    )
    return variation_of_parts(
        counts,
        missing=np.array([np.count_nonzero(absent[p]) for p in parts]),
        rows=np.diff(bounds),
        longest_run=runs_of(values).longest if values.size else 0,
        medians=_medians([values[a:b] for a, b in pairwise(_large_bounds(bounds))])
        if unlisted is None
        else [],
        unlisted=unlisted,
    )


def variation_of_parts(
    counts: NDArray[np.int64],
    *,
    missing: NDArray[np.int64],
    rows: NDArray[np.int64],
    longest_run: int,
    medians: Sequence[float],
    unlisted: int | None,
) -> Variation:
    """The variation of a column whose consecutive parts have been counted.

    Args:
        counts: int64[parts, bins or categories].
        missing: int64[parts]: rows without a value.
        rows: int64[parts].
        longest_run: most consecutive rows with one value.
        medians: of the nonzero |x| of the large parts that have any; none for categories.
        unlisted: as above.
    """
    return Variation(
        longest_run=longest_run,
        missing=float((_in_large_parts(missing) / np.maximum(_in_large_parts(rows), 1)).max()),
        dispersions=_dispersions(counts, missing, ordered=unlisted is None),
        magnitudes=(min(medians), max(medians)) if medians else None,
    )


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


def _dispersions(
    counts: NDArray[np.int64], missing: NDArray[np.int64], *, ordered: bool
) -> Dispersions:
    """How the parts differ, for parts of growing size."""
    scores = normal_scores(counts.sum(axis=0).astype(np.float64))
    present = np.stack([missing, counts.sum(axis=1)], axis=1)
    return Dispersions(
        shift=growing_dispersions_of_scores(counts, scores) if ordered else (),
        spread=growing_dispersions_of_scores(counts, scores**2) if ordered else (),
        shares=growing_dispersions_of_shares(counts),
        missing=growing_dispersions_of_shares(present) if missing.any() else (),
    )


def _medians(parts: Sequence[FloatArray]) -> list[float]:
    sizes = (np.abs(part[np.isfinite(part) & (part != 0)]) for part in parts)
    # The lower median: the mean of the middle two of very large numbers overflows.
    return [float(np.partition(s, (s.size - 1) // 2)[(s.size - 1) // 2]) for s in sizes if s.size]
