"""How a column varies within its own reference, which windows to come may do too.

Rows that arrive together resemble each other: seasons, week-ends, campaigns, groups. A window is
therefore never a fresh random sample of the reference, and is measured against what the parts of
the reference were among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import FloatArray, Variation
from gyroscope.stats.counts import pool_rare_cells
from gyroscope.stats.psi import psi

PARTS = 50  # consecutive parts into which the reference is cut ...
PART_ROWS = 100  # ... of at least so many rows


def variation(values: FloatArray, cells: NDArray[np.int64], *, unlisted: int | None) -> Variation:
    """Measure the variation of a column.

    Args:
        values: float64[n] in time order; NaN is missing.
        cells: int[n], the bin or category of each value; whatever it is where that is missing.
        unlisted: the cell of categories that are not in the contract; None for numbers.
    """
    parts = np.array_split(np.arange(values.size), _parts(values.size))
    absent = np.isnan(values)
    counts = np.array(
        [np.bincount(cells[p][~absent[p]], minlength=int(cells.max(initial=0)) + 1) for p in parts]
    )
    return Variation(
        longest_run=_longest_run(values),
        missing=max(float(absent[p].mean()) if p.size else 0.0 for p in parts),
        psi=_largest_psi(counts, () if unlisted is None else (unlisted,)),
        magnitudes=_magnitudes([values[p] for p in parts]) if unlisted is None else None,
    )


def _parts(rows: int) -> int:
    return min(PARTS, max(1, rows // PART_ROWS))


def _longest_run(values: FloatArray) -> int:
    """Most consecutive rows with one value; a missing value ends a run."""
    if values.size == 0:
        return 0
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return int(np.diff(starts, append=values.size).max())


def _largest_psi(counts: NDArray[np.int64], rare: Sequence[int]) -> float:
    """The largest PSI of a part against all the others, among the parts that surely differ.

    Surely means that all intervals together hold with 99.9 %: a reference without any variation in
    time shows none for being cut into many parts.
    """
    total = counts.sum(axis=0)
    present = [cell for cell in rare if cell < total.size]
    pairs = (pool_rare_cells(total - part, part, rare=present) for part in counts)
    found = [psi(*pair, alpha=0.001 / len(counts)) for pair in pairs]
    return max((part.effect for part in found if part.interval.low > 0), default=0.0)


def _magnitudes(parts: Sequence[FloatArray]) -> tuple[float, float] | None:
    sizes = (np.abs(part[np.isfinite(part) & (part != 0)]) for part in parts)
    # The lower median: the mean of the middle two of very large numbers overflows.
    medians = [
        float(np.partition(s, (s.size - 1) // 2)[(s.size - 1) // 2]) for s in sizes if s.size
    ]
    return (min(medians), max(medians)) if medians else None
