"""Change of the association of a feature with the label, from mergeable tables of counts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray
from gyroscope.stats.counts import MIN_EXPECTED
from gyroscope.stats.intervals import normal_interval, upper_tail
from gyroscope.stats.rank_scores import normal_scores

_ROUNDING = 1e-12  # a correlation this close to 1 is one whose z is made of rounding errors
_LABEL_ROWS = 4 * MIN_EXPECTED
_HALVINGS = 80  # of the range of the saddle point, down to rounding
_AT_THE_MEAN = 1e-4  # standard deviations; nearer the tail is a half, up to its skewness


class Association(msgspec.Struct, frozen=True, kw_only=True):
    """How strongly two variables hang together in one sample."""

    value: float
    standard_error: float
    n: int


class AssociationChange(msgspec.Struct, frozen=True, kw_only=True):
    """An association in the current sample less that in the reference."""

    value: float
    standard_error: float
    interval: Interval  # for the change in the populations
    p_value: float  # of no change, two-sided
    reference: float  # the association in the reference
    current: float
    n_reference: int
    n_current: int


def mutual_information(counts: npt.ArrayLike) -> Association:
    """Mutual information in nats of the rows and columns of a table, less its first-order bias.

    The plug-in value is too large by (R C - R - C + 1) / (2 n) on average for R rows and C columns,
    which Miller and Madow's correction of the entropies takes away (R C as the cells that hold
    anything). The variance is that of the delta method, which estimates df / n^2 with df =
    (R - 1)(C - 1) where there is no association and it should vanish; in place of that comes
    df / (2 n^2), what the limit, a chi-square over 2 n, has there.

    Args:
        counts: counts[cells, labels] of one sample.

    Returns:
        The information, which may fall below 0; 0 with infinite error for an empty table.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Miller (1955), Note on the bias of information estimates, in Information Theory in
        Psychology; Roulston (1999), Estimating the errors on measured entropy and mutual
        information, Physica D 125.
    """
    return _information(_table(counts)).association


class _Information(msgspec.Struct, frozen=True, kw_only=True):
    """An information, and what its distribution is made of: n times it is about that of half a
    noncentral chi-square."""

    association: Association
    df: int
    spread: float  # variance of the log ratio of one row, without what chance adds to it


def _information(table: FloatArray) -> _Information:
    n = float(table.sum())
    if n == 0:
        nothing = Association(value=0.0, standard_error=math.inf, n=0)
        return _Information(association=nothing, df=0, spread=0.0)
    p = table / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    held = p > 0
    logs = np.log(p[held] / np.outer(rows, columns)[held])
    plug_in = float(p[held] @ logs)
    r, c = np.count_nonzero(rows), np.count_nonzero(columns)
    bias = (np.count_nonzero(held) - r - c + 1) / (2 * n)
    df = int((r - 1) * (c - 1))
    spread = max(float(p[held] @ logs**2) - plug_in**2 - df / n, 0.0)
    error = math.sqrt(spread / n + df / (2 * n**2))
    association = Association(value=float(plug_in - bias), standard_error=error, n=round(n))
    return _Information(association=association, df=df, spread=spread)


def mutual_information_change(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> AssociationChange:
    """Change of the mutual information between a feature and the label, in nats.

    Args:
        reference: counts[cells, labels] of the reference sample.
        current: counts[cells, labels] of the current sample, over the same cells and labels.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The change with its normal-theory interval and p-value, good as long as cells are expected
        to hold about five (:func:`pooled_tables` sees to that). The p-value is that of a difference
        of two noncentral chi-squares, which have far longer tails than a normal one. They grow with
        the information, so that a sample that happens to show little would look sure of it: the
        p-value takes the information of both samples for that of each. ``reference`` and
        ``current`` are 0 where the correction of the bias outruns the information, which ``value``
        does not hide. Nothing can be said with an empty sample (0, the whole line, 1).

    Raises:
        DataError: the counts cannot be used.

    Source:
        As :func:`mutual_information`; the tails by Lugannani and Rice (1980), Saddle point
        approximation for the distribution of the sum of independent random variables, Advances in
        Applied Probability 12, as Kuonen (1999) for quadratic forms, Biometrika 86.
    """
    a, b = _tables(reference, current)
    old, new, pooled = (_information(table) for table in (a, b, a + b))
    then, now = old.association, new.association
    change = _change(then, now, max(then.value, 0.0), max(now.value, 0.0), alpha)
    if not 0 < change.standard_error < math.inf:
        return change
    m, n = float(a.sum()), float(b.sum())
    together = (m * old.spread + n * new.spread) / (m + n)
    tail = _far_tail(
        abs(change.value),
        *((n, m) if change.value > 0 else (m, n)),
        df=max(old.df, new.df, pooled.df),
        spread=max(together, pooled.spread),
    )
    return msgspec.structs.replace(change, p_value=min(1.0, 2 * tail))


def _far_tail(d: float, n: float, m: float, *, df: int, spread: float) -> float:
    """The chance that the information of ``n`` rows exceeds that of ``m`` by ``d`` or more, if they
    are of one population."""

    # Of X the noncentral chi-square over 2 n about its mean, E exp(t X) is exp of this.
    def cumulants(t: float, n: float) -> tuple[float, float, float]:
        left = n - t
        return (
            spread / 2 * t**2 / left - df / 2 * (math.log1p(-t / n) + t / n),
            spread / 2 * t * (n + left) / left**2 + df / 2 * t / (n * left),
            spread * n**2 / left**3 + df / 2 / left**2,
        )

    def both(t: float) -> tuple[float, float, float]:
        (k, slope, bend), (k_less, slope_less, bend_less) = cumulants(t, n), cumulants(-t, m)
        return k + k_less, slope - slope_less, bend + bend_less

    low, high = 0.0, n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if both(middle)[1] < d else (low, middle)
    k, _, bend = both(low)
    w, u = math.sqrt(max(2 * (low * d - k), 0.0)), low * math.sqrt(bend)
    if w < _AT_THE_MEAN:
        return 0.5
    density = math.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)
    return min(max(upper_tail(w) + density * (1 / u - 1 / w), 0.0), 1.0)


def pooled_tables(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    ordered: tuple[bool, bool] = (False, False),
) -> tuple[FloatArray, FloatArray]:
    """The tables of two samples with cells and labels put together until each is large enough.

    Were both of one population, the smaller sample is expected to hold five of each cell with each
    label that remains, and twenty of each label: rarer ones would leave hardly two cells.
    Neighbours are put together where there is an order, and elsewhere all that are rare. It is
    judged by both samples together, so that it favours neither.

    Args:
        reference: counts[cells, labels] of the reference sample.
        current: counts[cells, labels] of the current sample.
        ordered: whether the cells, and whether the labels, stand in an order.

    Returns:
        Tables of as many cells and labels as are left; of a single one nothing can be told.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Cochran (1954), Some methods for strengthening the common chi-square tests, Biometrics 10.
    """
    a, b = _tables(reference, current)
    total = float(a.sum() + b.sum())
    expected = (a + b) * (min(float(a.sum()), float(b.sum())) / max(total, 1.0))
    rows = float(expected.sum())
    labels = _groups(expected.sum(axis=0), _LABEL_ROWS, ordered=ordered[1])
    rarest = np.bincount(labels, expected.sum(axis=0)).min(initial=rows)
    least = MIN_EXPECTED * rows / rarest if rarest > 0 else math.inf
    cells = _groups(expected.sum(axis=1), least, ordered=ordered[0])
    onto_cells, onto_labels = (np.eye(int(of.max(initial=0)) + 1)[of] for of in (cells, labels))
    return onto_cells.T @ a @ onto_labels, onto_cells.T @ b @ onto_labels


def _groups(expected: FloatArray, least: float, *, ordered: bool) -> IntArray:
    """The group of each of expected counts[cells], numbered from 0, each of at least ``least``
    rows if there is more than one."""
    if ordered:
        group = np.zeros(expected.size, dtype=np.int64)
        held, last = 0.0, 0
        for cell, rows in enumerate(expected):
            if held >= least and expected[cell:].sum() >= least:
                held, last = 0.0, last + 1
            group[cell] = last
            held += rows
        return group
    rare = expected < least
    rest = float(expected[rare].sum())
    group = np.cumsum(~rare) - 1
    many = int(np.count_nonzero(~rare))
    # Too little for a group of its own joins the smallest.
    joins = many > 0 and rest < least
    smallest = group[np.argmin(np.where(rare, math.inf, expected))] if many else 0
    return np.where(rare, smallest if joins else many, group)


def correlation_change(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> AssociationChange:
    """Change of the correlation of an ordered feature with the label, on Fisher's z scale.

    Cells and labels are scored by normal scores of their mid-ranks in both samples together; with
    two labels it is the point-biserial correlation of the normal scores of the feature. The error
    is that of the delta method for any distribution of the scores, which for normal ones is
    1 / sqrt(n).

    Args:
        reference: counts[cells, labels] of the reference sample, both in ascending order.
        current: counts[cells, labels] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        ``value`` and interval are differences of atanh(r), ``reference`` and ``current`` the
        correlations r; nothing can be said (0, the whole line, 1) with a sample in which feature or
        label does not vary.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Fisher (1921), On the probable error of a coefficient of correlation, Metron 1; Steiger and
        Hakstian (1982), The asymptotic distribution of elements of a correlation matrix, British
        Journal of Mathematical and Statistical Psychology 35, for any distribution.
    """
    a, b = _tables(reference, current)
    pooled = a + b
    scores = normal_scores(pooled.sum(axis=1)), normal_scores(pooled.sum(axis=0))
    (r_old, old), (r_new, new) = (_correlation(table, *scores) for table in (a, b))
    return _change(old, new, r_old, r_new, alpha, error=_shared_error(old, new))


def _shared_error(old: Association, new: Association) -> float:
    """The error if the rows of both samples vary as those of the two together do, and not below
    that of normals: few rows of a rare label must not make it look sure."""
    if not (math.isfinite(old.standard_error) and math.isfinite(new.standard_error)):
        return math.inf
    shared = (
        old.standard_error * math.sqrt(old.n / new.n),
        new.standard_error * math.sqrt(new.n / old.n),
    )
    of_normals = (max(one.n - 3, 1) ** -0.5 for one in (old, new))
    return max(math.hypot(*shared), math.hypot(*of_normals))


def _correlation(table: FloatArray, x: FloatArray, y: FloatArray) -> tuple[float, Association]:
    """The correlation of scored cells and labels, and its Fisher z."""
    n = float(table.sum())
    nothing = 0.0, Association(value=0.0, standard_error=math.inf, n=round(n))
    if n < 2:
        return nothing
    p = table / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    x, y = x - rows @ x, y - columns @ y
    spread_x, spread_y = math.sqrt(rows @ x**2), math.sqrt(columns @ y**2)
    if min(spread_x, spread_y) < 1e-9:
        return nothing
    x, y = (x / spread_x)[:, None], (y / spread_y)[None, :]
    r = float((p * x * y).sum())
    if not abs(r) < 1 - _ROUNDING:
        return r, nothing[1]
    variance = float((p * (x * y - r / 2 * (x**2 + y**2)) ** 2).sum()) / n
    error = math.sqrt(variance) / (1 - r**2)
    return r, Association(value=math.atanh(r), standard_error=error, n=round(n))


def _change(
    old: Association,
    new: Association,
    reference: float,
    current: float,
    alpha: float,
    *,
    error: float = 0.0,
) -> AssociationChange:
    """The change with the error of the two, but not below ``error``."""
    error = max(math.hypot(old.standard_error, new.standard_error), error)
    value = float(new.value - old.value) if math.isfinite(error) else 0.0
    return AssociationChange(
        value=value,
        standard_error=error,
        interval=normal_interval(value, error, alpha=alpha),
        p_value=2 * upper_tail(abs(value) / error) if error > 0 else float(value == 0),
        reference=reference,
        current=current,
        n_reference=old.n,
        n_current=new.n,
    )


def _tables(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, b = _table(reference), _table(current)
    if a.shape != b.shape:
        raise DataError(f"tables must be over the same cells and labels, got {a.shape}, {b.shape}")
    return a, b


def _table(counts: npt.ArrayLike) -> FloatArray:
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"a table of counts must have two dimensions, got {table.ndim}")
    if not np.all((table >= 0) & np.isfinite(table)):
        raise DataError("counts of a table must be 0 or more and finite")
    return table
