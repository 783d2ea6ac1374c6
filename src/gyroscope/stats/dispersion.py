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
from collections.abc import Callable, Sequence

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
_FEW_CELLS = 60  # whose eigenvalues are found all at once; of more only the largest, step by step
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
    held, of_cell = np.asarray(counts, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    rows = held.sum(axis=1)
    held, rows = held[rows > 0], rows[rows > 0]
    total = held.sum(axis=0)
    n = float(total.sum())
    if rows.size < 2:
        return Dispersion(rows=n)
    mean = float(total @ of_cell) / n
    variance = float(total @ (of_cell - mean) ** 2) / n
    if variance == 0:
        return Dispersion(rows=n / rows.size)
    between = rows * ((held @ of_cell) / rows - mean) ** 2
    df = rows.size - 1
    ratio = float(between.sum()) / (variance * df)
    return Dispersion(rows=n / rows.size, ratio=ratio, df=df, worst=ratio, parts=rows.size)


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
    held = np.asarray(counts, dtype=np.float64)
    rows = held.sum(axis=1)
    held, rows = held[rows > 0], rows[rows > 0]
    n = float(rows.sum())
    if rows.size < 2:
        return Dispersion(rows=n)
    share = held.sum(axis=0) / n
    enough = share * rows.mean() >= MIN_EXPECTED
    enough &= share < 1
    if not enough.any():
        return Dispersion(rows=n / rows.size)
    held, share = held[:, enough], share[enough]
    gaps = (held - np.outer(rows, share)) / np.sqrt(rows)[:, np.newaxis]
    squares = (gaps**2).sum(axis=0)
    df = rows.size - 1
    worst = _largest_eigenvalue(gaps / np.sqrt(share), df)
    each = squares / (share * (1 - share) * df)
    # Independent rows give a chi-square with df for each share; of several, Bonferroni's largest.
    top = float(each.max())
    if tail(top, df) * each.size < GATE:
        return Dispersion(
            rows=n / rows.size, ratio=top, df=df, worst=max(top, worst), parts=rows.size
        )
    free = max(each.size - (1 if share.sum() > 1 - 1e-12 else 0), 1)
    return Dispersion(
        rows=n / rows.size,
        ratio=float((squares / share).sum()) / (df * free),
        df=df * free,
        worst=worst,
        parts=rows.size,
    )


def _largest_eigenvalue(x: FloatArray, df: int) -> float:
    """The largest eigenvalue of x'x / df, less what noise of variance 1 adds to it.

    Of k columns of noise and one direction of variance v > 1 it is about v (1 + g / (v - 1)) with
    g = k / df, if v > 1 + sqrt(g); a smaller one cannot be told from 1 + sqrt(g) at most.

    Source:
        Baik and Silverstein (2006), Eigenvalues of large sample covariance matrices of spiked
        population models, Journal of Multivariate Analysis 97, theorem 1.1.
    """
    g = x.shape[1] / df
    found = (_eigenvalue(x) if x.shape[1] <= _FEW_CELLS else _eigenvalue_by_power(x)) / df
    least = 1 + math.sqrt(g)
    if found <= least**2:
        return least
    half = (found + 1 - g) / 2
    return float(half + math.sqrt(max(half**2 - found, 0.0)))


def _eigenvalue(x: FloatArray) -> float:
    return float(np.linalg.eigvalsh(x.T @ x)[-1])


def _eigenvalue_by_power(x: FloatArray) -> float:
    at = np.ones(x.shape[1]) + 0.1 * np.arange(x.shape[1]) % 1
    for _ in range(_ITERATIONS):
        size = float(np.linalg.norm(at))
        if size == 0:
            return 0.0
        at = x.T @ (x @ (at / size))
    return float(np.linalg.norm(at))


def growing_dispersions(
    counts: npt.ArrayLike, measure: Callable[[FloatArray], Dispersion]
) -> tuple[Dispersion, ...]:
    """Measure parts, and those joined by twos and again, as long as there are enough of them.

    Args:
        counts: counts[parts, cells] of consecutive parts.
        measure: gives the dispersion of such counts.
    """
    held, found = np.asarray(counts, dtype=np.float64), []
    while len(held) >= FEWEST_PARTS:
        found.append(measure(held))
        held = joined(held)
    return tuple(found)


def tail(ratio: float, df: float) -> float:
    """The chance of so large a ratio or a larger one if rows are independent."""
    return float(chi_square_upper(ratio * df, df)) if df else 1.0


def is_dependent(found: Sequence[Dispersion]) -> bool:
    """Whether any of some dispersions, of all sizes and kinds, is more than chance explains."""
    return any(tail(parts.ratio, parts.df) * len(found) < GATE for parts in found)


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


def joined(counts: FloatArray) -> FloatArray:
    """Parts of twice the size: counts[parts // 2, cells] of neighbours added; an odd last is left.

    Args:
        counts: counts[parts, cells].
    """
    even = counts[: len(counts) // 2 * 2]
    return np.asarray(even[0::2] + even[1::2])


def _uncertainty(df: FloatArray) -> FloatArray:
    """The square of the quantile of Student's t over that of the normal distribution, at FAR."""
    return np.asarray((student_quantile(1 - FAR / 2, df) / normal_quantile(1 - FAR / 2)) ** 2)
