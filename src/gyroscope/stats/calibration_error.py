"""How far scores are from the frequencies they promise."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.kernels.special import gammaincc
from gyroscope.stats.binary import FloatArray, IntArray, labels_and_scores
from gyroscope.stats.intervals import (
    Estimate,
    normal_interval,
    normal_quantile,
    undefined,
    upper_tail,
)

_FOLDED_SKEWNESS = (4 / math.pi - 1) * math.sqrt(2 / math.pi) / (1 - 2 / math.pi) ** 1.5  # of |Z|


class Calibration(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The points of a calibration curve: one bin of equally many rows each, by rising score."""

    mean_score: FloatArray
    positive_rate: FloatArray
    rows: FloatArray  # in each bin
    standard_error: FloatArray  # of positive_rate - mean_score
    promised_error: FloatArray  # the same if the scores are right


class CalibrationTest(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration error beside what chance alone would give a perfect model."""

    error: Estimate
    expected: float  # mean of the estimate for a perfectly calibrated model on so many rows
    p_value: float  # of "perfectly calibrated", one-sided


class SpiegelhalterTest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the Brier score is the one that the scores promise."""

    z: float  # standard normal if the scores are right; positive if they are too extreme
    p_value: float  # of "the scores are right", two-sided


def calibration_curve(y: npt.ArrayLike, p: npt.ArrayLike, *, bins: int = 15) -> Calibration:
    """Mean score and share of positives in bins that hold equally many rows.

    Rows with equal scores share a bin, so that there may be fewer bins than asked for.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        bins: most bins wanted, at least 1.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, probabilities = labels_and_scores(y, p)
    codes = _bins(probabilities, bins)
    rows = np.bincount(codes).astype(np.float64)
    mean_score = np.bincount(codes, probabilities) / rows
    positive_rate = np.bincount(codes, labels) / rows
    promised = np.bincount(codes, probabilities * (1 - probabilities)) / rows
    residual = np.bincount(codes, (labels - probabilities) ** 2) / rows
    realised = residual - (positive_rate - mean_score) ** 2
    return Calibration(
        mean_score=mean_score,
        positive_rate=positive_rate,
        rows=rows,
        # The larger of the two: a small bin of one class has no realised variance at all.
        standard_error=np.sqrt(np.maximum(promised, realised) / rows),
        promised_error=np.sqrt(promised / rows),
    )


def _bins(p: FloatArray, bins: int) -> IntArray:
    """The bin of each row, numbered by rising score; equal scores share one."""
    if not p.size:
        return np.empty(0, dtype=np.int64)
    ends = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="lower")
    codes = np.searchsorted(np.unique(ends), p, side="left")
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def calibration_error(
    y: npt.ArrayLike, p: npt.ArrayLike, *, bins: int = 15, alpha: float = 0.05
) -> CalibrationTest:
    """Expected calibration error: the mean distance of score and frequency over the bins.

    The estimate is never below the truth on average: even a perfect model has the error
    ``expected``. So the interval is not centred on it: by the triangle inequality estimate and
    truth (of these bins) differ by at most the mean absolute noise, whose 1 - alpha quantile is
    taken on either side. The noise of a bin is taken for normal: where the whole sample is expected
    to hold fewer than about ten positives, small p-values come too often.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        bins: most bins of equally many rows.
        alpha: the error of the interval, conservative.

    Returns:
        The error in [0, 1]; undefined without rows, with a p-value of 1.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
        binning, AAAI, with equal-mass bins as in Roelofs et al. (2022), AISTATS; the noise is that
        of a sum of folded normal variables, whose tail is taken for that of a gamma distribution of
        the same mean, variance and skewness (exact moments in Leone, Nelson and Nottingham (1961),
        The folded normal distribution, Technometrics 3).
    """
    curve = calibration_curve(y, p, bins=bins)
    n = curve.rows.sum()
    if n == 0:
        return CalibrationTest(error=undefined(), expected=0.0, p_value=1.0)
    weights = curve.rows / n
    value = float(np.sum(weights * np.abs(curve.positive_rate - curve.mean_score)))
    margin_mean, margin_spread = _mean_of_folded(weights * curve.standard_error)
    margin = margin_mean + normal_quantile(1 - alpha) * margin_spread
    expected, _ = _mean_of_folded(weights * curve.promised_error)
    return CalibrationTest(
        error=Estimate(
            value=value,
            standard_error=margin_spread,
            interval=Interval(max(0.0, value - margin), min(1.0, value + margin)),
            n=int(n),
        ),
        expected=expected,
        p_value=_tail_of_folded(value, weights * curve.promised_error),
    )


def squared_calibration_error(
    y: npt.ArrayLike, p: npt.ArrayLike, *, bins: int = 15, alpha: float = 0.05
) -> Estimate:
    """Mean squared distance of score and frequency over the bins, without the bias of chance.

    From each bin's squared distance the variance of its noise is taken off, so that the estimate of
    a perfectly calibrated model is zero on average and may fall below. Its root
    is comparable to :func:`calibration_error`, the mean distance itself.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        bins: most bins of equally many rows.
        alpha: the two-sided error of the normal-theory interval.

    Returns:
        The debiased mean square; undefined without a bin of two rows or more.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        Kumar, Liang and Ma (2019), Verified uncertainty calibration, NeurIPS, section 5, with the
        noise of label minus score in place of that of the label.
    """
    labels, probabilities = labels_and_scores(y, p)
    codes = _bins(probabilities, bins)
    rows = np.bincount(codes).astype(np.float64)
    large = rows > 1
    n = float(rows[large].sum())
    if n == 0:
        return undefined(low=-1.0)
    rows_held = rows[large]
    gaps = labels - probabilities
    gap = (np.bincount(codes, gaps) / rows)[large]
    square = (np.bincount(codes, gaps**2) / rows)[large]
    noise = np.maximum(square - gap**2, 0.0) / (rows_held - 1)  # variance of the gap
    share = rows_held / n
    value = float(share @ (gap**2 - noise))
    # Of the square of a normal variable; the gap's own square is less what noise adds to it.
    variance = 2 * noise**2 + 4 * np.maximum(gap**2 - noise, 0.0) * noise
    error = math.sqrt(float(share**2 @ variance))
    interval = normal_interval(value, error, alpha=alpha, low=-1.0, high=1.0)
    return Estimate(value=value, standard_error=error, interval=interval, n=int(n))


def spiegelhalter(y: npt.ArrayLike, p: npt.ArrayLike) -> SpiegelhalterTest:
    """Spiegelhalter's test of calibration, without bins: is the Brier score what scores promise?

    z = sum (y - p)(1 - 2 p) / sqrt(sum (1 - 2 p)^2 p (1 - p)) is standard normal if each label is
    1 with the chance p. It sees scores that are too extreme (positive) or too timid (negative), but
    not errors that leave the expected Brier score as it is. The normal law needs some positives:
    where fewer than about ten are expected, small p-values come too often.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].

    Returns:
        The statistic and its two-sided p-value. Where scores leave the statistic no variance, it is
        0 with a p-value of 1, or infinite with 0 if a certain score was wrong.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        Spiegelhalter (1986), Probabilistic prediction in patient management and clinical trials,
        Statistics in Medicine 5.
    """
    labels, q = labels_and_scores(y, p)
    lean = 1 - 2 * q
    total = float((labels - q) @ lean)
    variance = float(lean**2 @ (q * (1 - q)))
    if variance == 0:
        wrong = total > 0
        return SpiegelhalterTest(z=math.inf if wrong else 0.0, p_value=float(not wrong))
    z = total / math.sqrt(variance)
    return SpiegelhalterTest(z=z, p_value=2 * upper_tail(abs(z)))


def _mean_of_folded(errors: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of a sum of |Z_b| for normal Z_b of mean 0 with these errors."""
    mean = float(errors.sum()) * math.sqrt(2 / math.pi)
    return mean, math.sqrt(float(errors @ errors) * (1 - 2 / math.pi))


def _tail_of_folded(value: float, errors: FloatArray) -> float:
    """The chance that the sum of |Z_b| is so large or larger, by a gamma distribution."""
    mean, spread = _mean_of_folded(errors)
    if spread == 0:
        return float(value <= 0)
    size = errors / np.linalg.norm(errors)
    skewness = _FOLDED_SKEWNESS * float((size**3).sum())
    shape = 4 / skewness**2
    at = shape + (value - mean) / spread * math.sqrt(shape)
    return float(gammaincc(shape, max(at, 0.0)))
