"""The error of a mean when rows of one cluster (a day, a customer) err together."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.binary import FloatArray, cluster_codes
from gyroscope.stats.intervals import normal_quantile, upper_tail
from gyroscope.stats.tails import student_lower, student_quantile


class ClusteredMean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with two standard errors: rows independent, and only clusters independent."""

    value: float
    n: int  # rows
    clusters: int
    row_error: float  # standard error if all rows are independent
    cluster_error: float  # standard error from cluster totals; nan with fewer than two clusters

    @property
    def design_effect(self) -> float:
        """How many times larger the variance is than that of independent rows, at least 1."""
        if not self.cluster_error > self.row_error:
            return 1.0
        return math.inf if self.row_error == 0 else (self.cluster_error / self.row_error) ** 2

    def p_above(self, limit: float) -> float:
        """One-sided p-value of "the mean is at most ``limit``": the larger of the two errors' own.

        The clusters' own is from Student's t with one degree of freedom less than clusters.
        """
        gain = self.value - limit
        by_rows = _p(gain, self.row_error)
        if math.isnan(self.cluster_error):
            return by_rows
        return max(by_rows, _p(gain, self.cluster_error, self.clusters - 1))

    def half_width(self, alpha: float) -> float:
        """Half of the two-sided interval of level 1 - alpha: the wider of the two errors' own."""
        by_rows = normal_quantile(1 - alpha / 2) * self.row_error
        if math.isnan(self.cluster_error):
            return by_rows
        return max(
            by_rows, float(student_quantile(1 - alpha / 2, self.clusters - 1)) * self.cluster_error
        )


def clustered_mean(
    values: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> ClusteredMean | None:
    """The mean of values[n] whose rows may depend on each other within clusters.

    Args:
        values: numbers[n].
        clusters: the cluster id of each row; None takes all rows for independent.

    Returns:
        The mean and its errors; None with fewer than two rows, where there is no error.

    Raises:
        DataError: there is not one cluster id for each row.

    Source:
        Liang and Zeger (1986), Biometrika 73, for a mean, with the factor W / (W - 1) for W
        clusters; t with W - 1 degrees of freedom after Cameron and Miller (2015), Journal of Human
        Resources 50, section VI.
    """
    x: FloatArray = np.asarray(values, dtype=np.float64)
    codes = np.arange(x.size) if clusters is None else cluster_codes(clusters, x.size)
    if x.size < 2:
        return None
    # From the first value, so that equal ones leave no error of rounding.
    away = x - x[0]
    middle = float(away.mean())
    value = float(x[0]) + middle
    row_error = float(away.std(ddof=1)) / math.sqrt(x.size)
    totals = np.bincount(codes, away - middle)
    if clusters is None or totals.size < 2:
        cluster_error = math.nan
    else:
        factor = totals.size / (totals.size - 1)
        cluster_error = math.sqrt(factor * float(totals @ totals)) / x.size
    return ClusteredMean(
        value=value,
        n=x.size,
        clusters=totals.size,
        row_error=row_error,
        cluster_error=cluster_error,
    )


def _p(gain: float, error: float, degrees_of_freedom: int | None = None) -> float:
    if error == 0:
        return 0.5 if gain == 0 else float(gain < 0)
    if degrees_of_freedom is None:
        return upper_tail(gain / error)
    return float(student_lower(-gain / error, degrees_of_freedom))
