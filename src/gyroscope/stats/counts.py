"""Two samples as counts over the same cells, checked and made fit for large-sample theory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.batches import FloatArray, IntArray
from gyroscope.stats.tails import binomial_lower, binomial_upper

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
    return _checked_batch(held, name)


def paired_counts(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return two count vectors as float64[cells] after checking them.

    Raises:
        DataError: they differ in length, are not vectors, or hold a negative or missing count.
    """
    a, b = checked_counts(reference, "reference"), checked_counts(current, "current")
    return paired_count_batches(a, b)


def paired_count_batches(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return counts[..., cells] of two samples as float64 after checking them.

    The leading axes are those of a batch of pairs and need only broadcast: one reference[cells]
    serves windows[windows, cells], and reference[columns, 1, cells] windows[columns, windows,
    cells].

    Raises:
        DataError: they are over different numbers of cells, do not broadcast, or hold a negative or
            missing count.
    """
    a, b = (_checked_batch(x, name) for x, name in ((reference, "reference"), (current, "current")))
    if a.shape[-1] != b.shape[-1]:
        raise DataError(
            "counts of the two samples must be over the same cells, got "
            f"{a.shape[-1]} cells for the reference and {b.shape[-1]} for the current sample"
        )
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise DataError(
            "the leading axes of the two samples must broadcast, got counts of shape "
            f"{a.shape} for the reference and {b.shape} for the current sample"
        ) from None
    return a, b


def _checked_batch(counts: npt.ArrayLike, name: str) -> FloatArray:
    held = np.asarray(counts, dtype=np.float64)
    if held.ndim == 0:
        raise DataError(f"{name} counts must be an array over cells, got the number {held}")
    # Two reductions without temporaries; NaN makes both comparisons false.
    if held.size and not (held.min() >= 0 and held.max() < np.inf):
        wrong = np.argwhere(~(np.isfinite(held) & (held >= 0)))[0]
        where = f"cell {wrong[-1]}" + (f" of row {wrong[:-1].tolist()}" if held.ndim > 1 else "")
        raise DataError(f"{name} counts must be 0 or more, got {held[tuple(wrong)]} in {where}")
    return held


def sizes(totals: FloatArray, shape: tuple[int, ...]) -> IntArray:
    """Sample sizes as int64 of the shape of a batch."""
    return np.broadcast_to(np.rint(totals).astype(np.int64), shape)


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
    pooling = _pool(*paired_counts(reference, current), min_expected, rare)
    kept = ~pooling.small
    a, b = pooling.reference[kept], pooling.current[kept]
    if pooling.rest_reference + pooling.rest_current == 0:
        return a, b
    return np.append(a, pooling.rest_reference), np.append(b, pooling.rest_current)


def pool_rare_cells_batch(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    min_expected: float = MIN_EXPECTED,
    rare: Sequence[int] = (),
) -> tuple[FloatArray, FloatArray]:
    """Pool the rare cells of each pair of samples; see :func:`pool_rare_cells`.

    Args:
        reference: counts[..., cells] of the reference samples.
        current: counts[..., cells] of the current samples; leading axes broadcast.
        min_expected: smallest expected count of a cell.
        rare: cells that count as rare in every pair.

    Returns:
        Two arrays of the broadcast shape. Pooled cells are 0 but for the first of a pair, which
        holds the pool.

    Raises:
        DataError: the counts cannot be used.
    """
    pair = paired_count_batches(reference, current)
    if not rare and not _few(*pair, min_expected).any():
        one, other = np.broadcast_arrays(*pair)
        return one, other
    pooling = _pool(*pair, min_expected, rare)
    if not pooling.small.shape[-1]:
        return pooling.reference, pooling.current
    slot = np.argmax(pooling.small, axis=-1)[..., None]
    for counts, rest in (
        (pooling.reference, pooling.rest_reference),
        (pooling.current, pooling.rest_current),
    ):
        # Without a rest nothing is added, whatever the slot.
        held = np.take_along_axis(counts, slot, axis=-1)
        np.put_along_axis(counts, slot, held + rest[..., None], axis=-1)
    return pooling.reference, pooling.current


class _Pooling(msgspec.Struct, frozen=True):
    """Counts whose small cells are 0, and what these held."""

    reference: FloatArray  # [..., cells]
    current: FloatArray
    small: npt.NDArray[np.bool_]  # [..., cells]
    rest_reference: FloatArray  # [...]; 0 where it was too small and joined another cell
    rest_current: FloatArray


def _few(a: FloatArray, b: FloatArray, min_expected: float) -> npt.NDArray[np.bool_]:
    """Which cells are expected to hold few of the smaller sample."""
    m, n = a.sum(axis=-1, keepdims=True), b.sum(axis=-1, keepdims=True)
    smaller = np.minimum(m, n) / np.maximum(m + n, 1.0)
    return np.asarray((a + b) * smaller < min_expected)


def _pool(a: FloatArray, b: FloatArray, min_expected: float, rare: Sequence[int]) -> _Pooling:
    m, n = a.sum(axis=-1, keepdims=True), b.sum(axis=-1, keepdims=True)
    small = _small(a, b, m, n, min_expected)
    small[..., list(rare)] = True
    rests = [np.sum(np.where(small, x, 0.0), axis=-1, keepdims=True) for x in (a, b)]
    kept = [np.where(small, 0.0, x) for x in (a, b)]
    joins = _small(rests[0], rests[1], m, n, min_expected) & ~small.all(axis=-1, keepdims=True)
    if joins.any():
        smallest = np.argmin(np.where(small, np.inf, a + b), axis=-1)[..., None]
        for x, rest in zip(kept, rests, strict=True):
            held = np.take_along_axis(x, smallest, axis=-1)
            np.put_along_axis(x, smallest, held + np.where(joins, rest, 0.0), axis=-1)
    left = [np.where(joins, 0.0, rest)[..., 0] for rest in rests]
    return _Pooling(kept[0], kept[1], small, left[0], left[1])


def _small(
    a: FloatArray, b: FloatArray, m: FloatArray, n: FloatArray, min_expected: float
) -> npt.NDArray[np.bool_]:
    """Which cells hold too little for chi-square theory and do not surprise by their split.

    Given its total, a cell's count in the current sample is binomial under no change.
    """
    share = n / np.where(m + n > 0, m + n, 1.0)
    few = (a + b) * np.minimum(share, 1 - share) < min_expected
    looked_at = few & (a + b > 0) & (m > 0) & (n > 0)
    total, held, q = (np.broadcast_to(x, few.shape)[looked_at] for x in (a + b, b, share))
    total = total.astype(np.int64)
    above = np.where(held > 0, binomial_upper(np.maximum(held - 1, 0), total, q), 1.0)
    tail = np.ones(few.shape)
    tail[looked_at] = np.minimum(above, binomial_lower(held, total, q))
    return np.asarray(few & (tail * few.sum(axis=-1, keepdims=True) >= SURPRISING))
