"""Two samples as counts over the same cells, checked and made fit for large-sample theory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError

FloatArray = npt.NDArray[np.float64]

MIN_EXPECTED = 5.0  # Cochran (1954): smallest expected count for chi-square theory
SURPRISING = 1e-6  # chance, over all rare cells, below which one of them is looked at by itself


def checked_counts(counts: npt.ArrayLike, name: str) -> FloatArray:
    """Return a count vector as float64[cells] after checking it.

    Raises:
        DataError: it is not a vector, or holds a negative or missing count.
    """
    held = np.asarray(counts, dtype=np.float64)
    if held.ndim != 1:
        raise DataError(f"{name} counts must be an array of one dimension, got {held.ndim}")
    wrong = np.flatnonzero(~(np.isfinite(held) & (held >= 0)))
    if wrong.size:
        raise DataError(f"{name} counts must be 0 or more, got {held[wrong[0]]} in cell {wrong[0]}")
    return held


def paired_counts(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return two count vectors as float64[cells] after checking them.

    Raises:
        DataError: they differ in length, are not vectors, or hold a negative or missing count.
    """
    a, b = checked_counts(reference, "reference"), checked_counts(current, "current")
    if a.shape != b.shape:
        raise DataError(
            "counts of the two samples must be over the same cells, got "
            f"{a.size} cells for the reference and {b.size} for the current sample"
        )
    return a, b


def pool_rare_cells(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    min_expected: float = MIN_EXPECTED,
    rare: Sequence[int] = (),
) -> tuple[FloatArray, FloatArray]:
    """Bin rare cells together so that every cell is large enough for chi-square theory.

    A cell is rare if, were both samples from one distribution, the smaller sample would be expected
    to hold fewer than ``min_expected`` of it, and if its split between the samples is no surprise:
    a rare level that becomes common must not vanish among the others. All rare cells become one
    cell, the last; if that is itself too small and no surprise, it joins the smallest other cell.
    Cells empty in both samples vanish. Rarity is judged by the counts of both samples together, so
    that pooling favours neither: given those totals, the split between the samples keeps its
    distribution under no change but for the surprises, of which the chance is about 2e-6.

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        min_expected: smallest expected count of a cell.
        rare: cells that count as rare whatever their size. A catch-all for levels that the
            reference did not list belongs here: such levels are missing from the reference by
            construction, but the union of rare and unlisted levels is not.

    Returns:
        The pooled counts of the two samples, at least one cell unless both are empty.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Cochran (1954), Some methods for strengthening the common chi-square tests, Biometrics 10.
    """
    a, b = paired_counts(reference, current)
    m, n = float(a.sum()), float(b.sum())
    if m + n == 0:
        return a[:0], b[:0]
    small = _small(a, b, m, n, min_expected)
    small[list(rare)] = True
    pooled = np.array([a[small].sum()]), np.array([b[small].sum()])
    a, b = a[~small], b[~small]
    if pooled[0] + pooled[1] == 0:
        return a, b
    if a.size and _small(*pooled, m, n, min_expected)[0]:
        smallest = int(np.argmin(a + b))
        a[smallest] += pooled[0][0]
        b[smallest] += pooled[1][0]
        return a, b
    return np.append(a, pooled[0]), np.append(b, pooled[1])


def _small(
    a: FloatArray, b: FloatArray, m: float, n: float, min_expected: float
) -> npt.NDArray[np.bool_]:
    """Which cells hold too little for chi-square theory and do not surprise by their split.

    Given its total, a cell's count in the current sample is binomial under no change.
    """
    from scipy.special import bdtr, bdtrc

    few = (a + b) * (min(m, n) / (m + n)) < min_expected
    if m == 0 or n == 0 or not few.any():
        return few
    total, share = (a + b).astype(np.int64), n / (m + n)
    above = np.where(b > 0, bdtrc(np.maximum(b - 1, 0), total, share), 1.0)
    tail = np.minimum(above, bdtr(b, total, share))
    return np.asarray(few & (tail * few.sum() >= SURPRISING))
