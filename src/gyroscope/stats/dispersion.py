"""How much more the parts of one sample differ than independent rows would.

Rows that arrive together resemble each other: one day, one campaign, one client. A batch of them is
then worth fewer rows than it has, and a test that takes them as independent cries wolf. The parts
of a reference, cut in order of time, say by how much: the variance between their means (or shares)
over the variance that independent rows would give. That ratio grows with the size of the parts if
each batch has a level of its own, and stays if only neighbouring rows resemble each other; so it is
measured at several sizes and read off at the size of the window that is to be judged.

Source: Rao and Scott (1981), The analysis of categorical data from complex sample surveys, JASA 76
(a mean generalised design effect divides the chi-square statistic); Kish (1965), Survey Sampling,
section 8.2 (design effect of clusters); Hartung, Knapp and Sinha (2008), Statistical Meta-Analysis
with Applications, chapter 7 (bounds on the variance between).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.batches import FloatArray
from gyroscope.stats.counts import MIN_EXPECTED
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.tails import chi_square_upper, student_quantile

GATE = (
    0.001  # chance that rows which are independent are taken for dependent, by all sizes of parts
)
FAR = 1e-6  # p-values about which windows are flagged, once they are corrected for all columns
FEWEST_PARTS = 8  # fewer say too little about the variance between them
_KINDS = 4  # of dispersions of a column: shift, spread, shares, missing
_FEW_CELLS = 60  # whose eigenvalues are found all at once; of more only the largest, step by step
_ROUNDING = 1e-24  # of squares: a variance below so much of the largest is none
_PRODUCTS = 250_000  # of numbers, in one product of matrices
_ITERATIONS = 20  # of the power method; the largest eigenvalue is known well enough


class Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    """The variance between parts of one size, over that of independent rows."""

    rows: float  # mean rows of a part
    ratio: float = 1.0  # about 1 if rows are independent
    df: float = 0  # ratio * df is about chi-square with so many degrees of freedom if they are
    worst: float = 1.0  # the ratio in the direction, over all cells, in which parts differ most
    parts: int = 1


def dispersion_of_scores(counts: npt.ArrayLike, scores: npt.ArrayLike) -> Dispersion:
    """Dispersion of the mean score of parts.

    Args:
        counts: counts[parts, cells] of an ordered column.
        scores: scores[cells], the number that stands for each cell.
    """
    held, of_cells = _batch_of_one(counts), np.asarray(scores, dtype=np.float64)[np.newaxis]
    return _of_scores(held, of_cells, sizes=1)[0][0]


def growing_dispersions_of_scores(
    counts: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[Dispersion, ...]:
    """The same of parts, and of those joined by twos and again, while there are enough of them."""
    of_cells = np.asarray(scores, dtype=np.float64)[np.newaxis]
    return growing_dispersions_of_scores_batch(_batch_of_one(counts), of_cells)[0]


def growing_dispersions_of_scores_batch(
    counts: npt.ArrayLike, scores: npt.ArrayLike
) -> list[tuple[Dispersion, ...]]:
    """The same for counts[columns, parts, cells] and scores[columns, cells]."""
    held = np.asarray(counts, dtype=np.float64)
    return _of_scores(held, np.asarray(scores, dtype=np.float64), sizes=_sizes(held.shape[1]))


def dispersion_of_shares(counts: npt.ArrayLike) -> Dispersion:
    """Dispersion of the shares of cells in parts: the largest over all cells and cell by cell.

    The mean over cells hides a batch effect that moves one share only, so each share is looked at
    by itself too; the largest counts, with its degrees of freedom, if chance does not explain it.
    Cells that are expected to hold fewer than five of a part say nothing and are left out.
    ``worst`` is the largest eigenvalue of the covariance between parts, without the part of it that
    chance makes of many cells and few parts: a batch that moves all shares a little, all at once,
    moves their chi-square by that much.

    Args:
        counts: counts[parts, cells].
    """
    return _of_shares(_batch_of_one(counts), sizes=1)[0][0]


def growing_dispersions_of_shares(counts: npt.ArrayLike) -> tuple[Dispersion, ...]:
    """The same of parts, and of those joined by twos and again, while there are enough of them."""
    return growing_dispersions_of_shares_batch(_batch_of_one(counts))[0]


def growing_dispersions_of_shares_batch(counts: npt.ArrayLike) -> list[tuple[Dispersion, ...]]:
    """The same for counts[columns, parts, cells]."""
    held = np.asarray(counts, dtype=np.float64)
    return _of_shares(held, sizes=_sizes(held.shape[1]))


def _batch_of_one(counts: npt.ArrayLike) -> FloatArray:
    return np.asarray(counts, dtype=np.float64)[np.newaxis]


def _of_scores(
    counts: FloatArray, scores: FloatArray, *, sizes: int
) -> list[tuple[Dispersion, ...]]:
    if sizes == 0:
        return [()] * len(counts)
    rows, total = counts.sum(axis=2), counts.sum(axis=1)
    middle = (total * scores).sum(axis=1) / np.maximum(rows.sum(axis=1), 1.0)
    scores = (scores - middle[:, np.newaxis])[:, :, np.newaxis]
    sums = np.concatenate([rows[:, :, np.newaxis], counts @ scores, counts @ scores**2], axis=2)
    stacked, starts = _joined_again(sums, sizes)
    whole = np.add.reduceat(stacked, starts, axis=1)
    some, parts = _parts_with_rows(stacked[:, :, 0], starts)
    n = np.maximum(whole[:, :, 0], 1.0)
    means = whole[:, :, 1] / n
    variances = np.maximum(whole[:, :, 2] / n - means**2, 0.0)
    largest = (scores**2).max(axis=(1, 2), initial=0.0)[:, np.newaxis]
    variances[variances <= _ROUNDING * largest] = 0.0
    of_part = np.repeat(means, np.diff(starts, append=stacked.shape[1]), axis=1)
    between = (stacked[:, :, 1] - stacked[:, :, 0] * of_part) ** 2 / some
    squares = np.add.reduceat(between, starts, axis=1)

    def found(column: int, size: int) -> Dispersion:
        held, df = float(whole[column, size, 0]), int(parts[column, size]) - 1
        variance = float(variances[column, size])
        if df < 1 or variance == 0:
            return Dispersion(rows=held / max(df + 1, 1))
        ratio = float(squares[column, size]) / (variance * df)
        return Dispersion(rows=held / (df + 1), ratio=ratio, df=df, worst=ratio, parts=df + 1)

    return [tuple(found(column, size) for size in range(sizes)) for column in range(len(counts))]


def _of_shares(counts: FloatArray, *, sizes: int) -> list[tuple[Dispersion, ...]]:
    if sizes == 0:
        return [()] * len(counts)
    rows, seen = counts.sum(axis=2), []
    for size in range(sizes):
        if size:
            counts, rows = joined(counts, axis=1), joined(rows, axis=1)
        seen.append(_shares_of_parts(counts, rows))
    n, df, cells, free, top, together, largest = np.stack(seen, axis=1)
    # Of several shares Bonferroni's largest, as it will be one of several dispersions itself.
    chance = tail(top / np.maximum(df, 1), df) * cells
    surprising = chance * sizes * _KINDS < GATE

    def found(size: int, column: int) -> Dispersion:
        at = size, column
        k, degrees, held = float(cells[at]), float(df[at]), float(n[at])
        if degrees < 1 or k == 0:
            return Dispersion(rows=held / max(degrees + 1, 1))
        worst = _without_noise(float(largest[at]) / degrees, k / degrees)
        ratio, of_all = float(top[at]) / degrees, degrees
        if surprising[at]:
            worst = max(ratio, worst)
        else:
            of_all = degrees * float(free[at])
            ratio = float(together[at]) / of_all
        parts = int(degrees) + 1
        return Dispersion(rows=held / parts, ratio=ratio, df=of_all, worst=worst, parts=parts)

    return [tuple(found(size, column) for size in range(sizes)) for column in range(len(n[0]))]


def _shares_of_parts(counts: FloatArray, rows: FloatArray) -> FloatArray:
    """What tells how shares differ among parts of one size, each [columns].

    Rows in all, degrees of freedom, cells looked at and those of them that are free, the largest
    chi-square of a cell, that of all of them, and the largest eigenvalue.
    """
    whole, n, parts = counts.sum(axis=1), rows.sum(axis=1), np.count_nonzero(rows, axis=1)
    share = whole / np.maximum(n, 1.0)[:, np.newaxis]
    enough = (whole >= MIN_EXPECTED * np.maximum(parts, 1)[:, np.newaxis]) & (share < 1)
    some = enough.any(axis=0)
    if not some.all():  # of many categories most are rare in small parts
        counts, share, enough = counts[:, :, some], share[:, some], enough[:, some]
    kept = np.where(enough, share, 1.0)  # of the others the gaps are set to zero
    gaps = counts - rows[:, :, np.newaxis] * share[:, np.newaxis]
    gaps /= np.sqrt(np.maximum(rows, 1.0))[:, :, np.newaxis]
    gaps *= (enough / np.sqrt(kept))[:, np.newaxis]
    squares = (gaps**2).sum(axis=1)
    cells = np.count_nonzero(enough, axis=1)
    free = np.maximum(cells - (kept.sum(axis=1, where=enough) > 1 - 1e-12), 1)
    # Independent rows give a chi-square with df for each share.
    top = (squares / np.where(enough, 1 - share, 1.0)).max(axis=1, initial=0.0)
    largest = _largest_eigenvalues(gaps)
    return np.stack([n, parts - 1, cells, free, top, squares.sum(axis=1), largest])


def _sizes(parts: int) -> int:
    """How often parts can be joined by twos, themselves included, before they are too few."""
    return max(parts // FEWEST_PARTS, 0).bit_length()


def _joined_again(counts: FloatArray, sizes: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Counts[columns, parts, ...] of so many sizes of parts, and where each size begins."""
    held = [counts]
    for _ in range(sizes - 1):
        held.append(joined(held[-1], axis=1))
    starts = np.cumsum([0, *(parts.shape[1] for parts in held[:-1])])
    return np.concatenate(held, axis=1), starts


def _parts_with_rows(
    rows: FloatArray, starts: npt.NDArray[np.int64]
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Rows of each part, 1 of an empty one, and how many parts of each size are not empty."""
    return np.maximum(rows, 1.0), np.add.reduceat((rows > 0).astype(np.int64), starts, axis=1)


def _without_noise(found: float, g: float) -> float:
    """The largest eigenvalue of a covariance, less what noise of variance 1 adds to it.

    Of one direction of variance v > 1 among noise it is about v (1 + g / (v - 1)), with g columns
    to a degree of freedom, if v > 1 + sqrt(g); a smaller one cannot be told from 1 + sqrt(g).

    Source:
        Baik and Silverstein (2006), Eigenvalues of large sample covariance matrices of spiked
        population models, Journal of Multivariate Analysis 97, theorem 1.1.
    """
    least = 1 + math.sqrt(g)
    if found <= least**2:
        return least
    half = (found + 1 - g) / 2
    return float(half + math.sqrt(max(half**2 - found, 0.0)))


def _largest_eigenvalues(x: FloatArray) -> FloatArray:
    """The largest eigenvalue of x'x, for x[columns, parts, cells]."""
    if min(x.shape) == 0:
        return np.zeros(len(x))
    if min(x.shape[1:]) > _FEW_CELLS:
        return np.array([_eigenvalue_by_power(one) for one in x])
    x = x if x.shape[2] <= x.shape[1] else x.transpose(0, 2, 1)  # of the same eigenvalues
    # In blocks so small that no library starts threads, which wait for one another for longer.
    products = np.zeros((len(x), x.shape[2], x.shape[2]))
    rows = max(1, _PRODUCTS // x.shape[2] ** 2)
    for first in range(0, x.shape[1], rows):
        block = x[:, first : first + rows]
        products += block.transpose(0, 2, 1) @ block
    return np.asarray(np.linalg.eigvalsh(products)[:, -1])


def _eigenvalue_by_power(x: FloatArray) -> float:
    at = np.ones(x.shape[1]) + 0.1 * np.arange(x.shape[1]) % 1
    turned = np.ascontiguousarray(x.T)
    for _ in range(_ITERATIONS):
        size = float(np.linalg.norm(at))
        if size == 0:
            return 0.0
        at = np.vecdot(turned, np.vecdot(x, at / size))  # row by row: no threads here either
    return float(np.linalg.norm(at))


def tail(ratio: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """The chance of ratios[...] so large or larger if rows are independent; 1 without any df."""
    some, degrees = np.asarray(ratio), np.asarray(df)
    known = degrees > 0
    return np.where(known, chi_square_upper(some * degrees, np.where(known, degrees, 1.0)), 1.0)


def is_dependent(found: Sequence[Dispersion]) -> bool:
    """Whether any of some dispersions, of all sizes and kinds, is more than chance explains."""
    return are_dependent([found])[0]


def are_dependent(several: Sequence[Sequence[Dispersion]]) -> list[bool]:
    """:func:`is_dependent` of each of several collections by itself."""
    held = [parts for found in several for parts in found]
    chances = tail([parts.ratio for parts in held], [parts.df for parts in held])
    ends = np.cumsum([len(found) for found in several])
    return [bool((own * own.size < GATE).any()) for own in np.split(chances, ends[:-1])]


def inflation(found: Sequence[Dispersion], n: npt.ArrayLike) -> FloatArray:
    """The factors, at least 1, by which variances of windows of ``n`` rows are to be multiplied.

    They are upper bounds, to be used once it is known that rows are not independent. Each size of
    parts bounds the factor of a window that is not smaller: the ratio there, extended in proportion
    to the size as if every batch had a level of its own; more is not possible, for parts resemble
    each other the less the further apart they are. A ratio is itself uncertain: it is raised so far
    that a normal deviate over its root has the tail of Student's t at ``FAR``, with no more degrees
    of freedom than windows of such a size have gone into the reference, for parts of one batch say
    the same (but not fewer than ``FEWEST_PARTS`` allow). The least of the bounds counts.

    Args:
        found: of one column, for parts of growing size; if empty, nothing is known: factors of 1.
        n: rows[windows].
    """
    sizes = np.asarray(n, dtype=np.float64)
    if not found:
        return np.ones(sizes.shape)
    bounds = np.full(sizes.shape, np.inf)
    for position, parts in enumerate(found):
        seen = parts.rows * parts.parts / np.maximum(sizes, 1.0)
        df = np.maximum(np.minimum(seen, parts.parts), FEWEST_PARTS) - 1
        bound = max(parts.worst, 1.0) * _uncertainty(df)
        extended = 1 + (bound - 1) * np.maximum(sizes / parts.rows, 1.0)
        fits = (sizes >= parts.rows) | (position == 0)
        bounds = np.where(fits, np.minimum(bounds, extended), bounds)
    return np.asarray(np.maximum(bounds, 1.0))


def pool(columns: Sequence[Sequence[Dispersion]], *, alike: float = 0.0) -> list[Dispersion]:
    """What all columns of a table show together, for parts of growing size.

    A batch effect too small to be seen in one column shows in many. Columns of which nothing is
    known are passed over; sizes are taken in order.

    Args:
        columns: for each column its dispersions; of equal number where there are any.
        alike: mean squared correlation between two columns, by which they tell the same.
    """
    known = [column for column in columns if column]
    pooled = []
    for parts in zip(*known, strict=True):
        df = sum(one.df for one in parts)
        rows = float(np.mean([one.rows for one in parts]))
        ratio = sum(one.ratio * one.df for one in parts) / df if df else 1.0
        # The variance of the sum of chi-squares grows by the squares of their correlations.
        df /= 1 + (len(parts) - 1) * alike
        fewest = min(one.parts for one in parts)
        pooled.append(Dispersion(rows=rows, ratio=ratio, df=df, worst=ratio, parts=fewest))
    return pooled


def joined(counts: FloatArray, axis: int = 0) -> FloatArray:
    """Parts of twice the size: neighbours along an axis added; an odd last one is left out."""
    parts = counts.shape[axis] // 2 * 2
    even, odd = (np.arange(first, parts, 2) for first in (0, 1))
    return np.asarray(counts.take(even, axis=axis) + counts.take(odd, axis=axis))


def _uncertainty(df: FloatArray) -> FloatArray:
    """The square of the quantile of Student's t over that of the normal distribution, at FAR."""
    return np.asarray((student_quantile(1 - FAR / 2, df) / normal_quantile(1 - FAR / 2)) ** 2)
