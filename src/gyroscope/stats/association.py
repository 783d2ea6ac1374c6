"""Change of the association of a feature with the label, from mergeable tables of counts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.intervals import normal_interval, upper_tail
from gyroscope.stats.rank_scores import normal_scores

_ROUNDING = 1e-12  # a correlation this close to 1 is one whose z is made of rounding errors


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
    table = _table(counts)
    n = float(table.sum())
    if n == 0:
        return Association(value=0.0, standard_error=math.inf, n=0)
    p = table / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    held = p > 0
    logs = np.log(p[held] / np.outer(rows, columns)[held])
    plug_in = float(p[held] @ logs)
    r, c = np.count_nonzero(rows), np.count_nonzero(columns)
    bias = (np.count_nonzero(held) - r - c + 1) / (2 * n)
    df = (r - 1) * (c - 1)
    variance = (float(p[held] @ logs**2) - plug_in**2) / n
    variance = max(variance - df / n**2, 0.0) + df / (2 * n**2)
    return Association(value=float(plug_in - bias), standard_error=math.sqrt(variance), n=round(n))


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
        to hold about five. The variance grows with the information, so that a sample that happens
        to show little would look sure of it: the p-value takes that of both samples together, if
        it is larger. Nothing can be said with an empty sample (0, the whole line, 1).

    Raises:
        DataError: the counts cannot be used.

    Source:
        As :func:`mutual_information`.
    """
    a, b = _tables(reference, current)
    old, new, pooled = (mutual_information(table) for table in (a, b, a + b))
    change = _change(old, new, old.value, new.value, alpha)
    if not math.isfinite(change.standard_error):
        return change
    error = pooled.standard_error * math.sqrt(pooled.n * (1 / old.n + 1 / new.n))
    error = max(error, change.standard_error)
    p_value = 2 * upper_tail(abs(change.value) / error) if error > 0 else change.p_value
    return msgspec.structs.replace(change, p_value=p_value)


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
    return _change(old, new, r_old, r_new, alpha)


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
    old: Association, new: Association, reference: float, current: float, alpha: float
) -> AssociationChange:
    error = math.hypot(old.standard_error, new.standard_error)
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
