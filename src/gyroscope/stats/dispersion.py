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

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.batches import FloatArray
from gyroscope.stats.counts import MIN_EXPECTED

GATE = 0.001  # chance that rows which are independent are taken for dependent, each time asked
CONFIDENCE = 0.8  # of the upper bound on a ratio that chance alone does not explain
FEWEST_PARTS = 8  # fewer say too little about the variance between them


class Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    """The variance between parts of one size, over that of independent rows."""

    rows: float  # mean rows of a part
    ratio: float = 1.0  # about 1 if rows are independent
    df: int = 0  # ratio * df is about chi-square with so many degrees of freedom if they are


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
    return Dispersion(rows=n / rows.size, ratio=float(between.sum()) / (variance * df), df=df)


def dispersion_of_shares(counts: npt.ArrayLike) -> Dispersion:
    """Dispersion of the shares of cells in parts: the largest over all cells and cell by cell.

    The mean over cells hides a batch effect that moves one share only, so each share is looked at
    by itself too; the largest counts, with its degrees of freedom, if chance does not explain it.
    Cells that are expected to hold fewer than five of a part say nothing and are left out.

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
    squares = ((held - np.outer(rows, share)) ** 2 / rows[:, np.newaxis]).sum(axis=0)
    df = rows.size - 1
    each = squares / (share * (1 - share) * df)
    # Independent rows give a chi-square with df for each share; of several, Bonferroni's largest.
    top = float(each.max())
    if tail(top, df) * each.size < GATE:
        return Dispersion(rows=n / rows.size, ratio=top, df=df)
    free = max(each.size - (1 if share.sum() > 1 - 1e-12 else 0), 1)
    return Dispersion(
        rows=n / rows.size, ratio=float((squares / share).sum()) / (df * free), df=df * free
    )


def tail(ratio: float, df: int) -> float:
    """The chance of so large a ratio or a larger one if rows are independent."""
    from scipy.special import chdtrc

    return float(chdtrc(df, ratio * df)) if df else 1.0


def inflation(
    found: Sequence[Dispersion], n: npt.ArrayLike, pooled: Sequence[Dispersion] = ()
) -> FloatArray:
    """The factors, at least 1, by which variances of windows of ``n`` rows are to be multiplied.

    That of a window is the factor of the largest parts not larger than it, extended in proportion
    to its size as if every batch had a level of its own, or a larger one of smaller parts. A ratio
    that chance explains counts as 1; one that it does not explain counts with its upper confidence
    bound, for windows to come must not be judged by a bound that is right every other time. What
    the columns of a table show together (:func:`pool`) counts for each of them.

    Args:
        found: of one column, for parts of growing size; if empty, nothing is known: factors of 1.
        n: rows[windows].
        pooled: the same over all columns of the table.
    """
    sizes = np.asarray(n, dtype=np.float64)
    if not found:
        return np.ones(sizes.shape)
    levels = np.array(
        [max(_level(own), _shared(all_)) for own, all_ in zip(found, pooled or found, strict=True)]
    )
    rows = np.array([parts.rows for parts in found])
    at = np.maximum(np.searchsorted(rows, sizes, side="right") - 1, 0)
    extended = 1 + (levels[at] - 1) * np.maximum(sizes / rows[at], 1.0)
    return np.asarray(np.maximum(np.maximum.accumulate(levels)[at], extended))


def pool(columns: Sequence[Sequence[Dispersion]]) -> list[Dispersion]:
    """What all columns of a table show together, for parts of growing size.

    A batch effect too small to be seen in one column shows in many. Columns of which nothing is
    known are passed over; sizes are taken in order.

    Args:
        columns: for each column its dispersions; of equal number where there are any.
    """
    known = [column for column in columns if column]
    pooled = []
    for parts in zip(*known, strict=True):
        df = sum(one.df for one in parts)
        rows = float(np.mean([one.rows for one in parts]))
        ratio = sum(one.ratio * one.df for one in parts) / df if df else 1.0
        pooled.append(Dispersion(rows=rows, ratio=ratio, df=df))
    return pooled


def joined(counts: FloatArray) -> FloatArray:
    """Parts of twice the size: counts[parts // 2, cells] of neighbours added; an odd last is left.

    Args:
        counts: counts[parts, cells].
    """
    even = counts[: len(counts) // 2 * 2]
    return np.asarray(even[0::2] + even[1::2])


def _level(parts: Dispersion) -> float:
    """Upper confidence bound of a ratio that chance does not explain; else 1."""
    from scipy.special import chdtri

    if tail(parts.ratio, parts.df) >= GATE:
        return 1.0
    return max(parts.ratio * parts.df / float(chdtri(parts.df, CONFIDENCE)), 1.0)


def _shared(parts: Dispersion) -> float:
    """The ratio of all columns, if chance does not explain it; else 1."""
    return max(parts.ratio, 1.0) if tail(parts.ratio, parts.df) < GATE else 1.0
