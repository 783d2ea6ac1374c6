"""Two proportions in two streams, compared as often as one likes."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, UsageError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray

_PRIOR = 0.18  # weight of the first guess of 1/2, as in Turner, Ly and Grunwald (2024)
_HALVINGS = 60


class SequentialProportionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far two proportions are apart, by evidence that may be looked at at any time."""

    value: float  # share in the current stream less share in the reference, nan if one is empty
    interval: Interval  # of a confidence sequence: holds the difference at all times at once
    log_e: float  # log e-value of no difference after the last batch
    p_value: float  # 1 over the largest e-value so far, valid at any time
    n_reference: int
    n_current: int


def sequential_proportions(
    successes_reference: npt.ArrayLike,
    n_reference: npt.ArrayLike,
    successes_current: npt.ArrayLike,
    n_current: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    resolution: float = 0.005,
) -> SequentialProportionsResult:
    """Compare two streams of outcomes that arrive in batches.

    The interval holds those differences, on a grid, whose e-value has not passed 1/alpha so far,
    widened by a step of the grid on either side; where all have, because the truth lies between
    two of them, the one with the least e-value.

    Args:
        successes_reference: successes[batches] in the reference stream, in order of arrival.
        n_reference: sizes[batches] of its batches, possibly 0; a size may depend on what came
            before, not on the outcomes of its own batch.
        successes_current: successes[batches] in the current stream.
        n_current: sizes[batches] of its batches.
        alpha: the error of the whole confidence sequence, in (0, 1).
        resolution: step of the grid of differences, in (0, 1).

    Raises:
        DataError: unequal numbers of batches, or successes outside [0, n].
        UsageError: the resolution is out of range.

    Source:
        Turner and Grunwald (2023), Exact anytime-valid confidence intervals for contingency tables
        and beyond, Statistics and Probability Letters 198.
    """
    if not 0 < resolution < 1:
        raise UsageError(f"resolution must lie in (0, 1), got {resolution}")
    batches = successes_reference, n_reference, successes_current, n_current
    steps = math.ceil(1 / resolution)
    differences = np.arange(-steps, steps + 1) / steps
    largest = two_stream_log_e(*batches, difference=differences[:, None]).max(axis=-1, initial=0.0)
    left = differences[(largest < math.log(1 / alpha)) | (largest == largest.min())]
    a, m, b, n = (float(np.sum(x)) for x in batches)
    path = two_stream_log_e(*batches)
    return SequentialProportionsResult(
        value=b / n - a / m if m and n else math.nan,
        interval=Interval(
            max(float(left[0]) - 1 / steps, -1.0), min(float(left[-1]) + 1 / steps, 1.0)
        ),
        log_e=float(path[-1]) if path.size else 0.0,
        p_value=math.exp(-float(path.max(initial=0.0))),
        n_reference=round(m),
        n_current=round(n),
    )


def two_stream_log_e(
    successes_reference: npt.ArrayLike,
    n_reference: npt.ArrayLike,
    successes_current: npt.ArrayLike,
    n_current: npt.ArrayLike,
    *,
    difference: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Path of the log e-value against "the proportions differ by exactly ``difference``".

    Each batch multiplies the e-value by the likelihood ratio of the proportions learned from the
    batches before it to those of the null that are nearest to them, in Kullback-Leibler divergence
    with the sizes of this batch as weights. The mean of such a factor is at most 1 under every
    member of the null: as a function of the step s along the null it is (1 + u s)^m (1 + v s)^n
    with m u + n v = 0 at the nearest point (or pointing outward at an end), and log(1 + x) <= x.

    Args:
        successes_reference: successes[batches] in the reference stream, in order of arrival.
        n_reference: sizes[batches] of its batches.
        successes_current: successes[batches] in the current stream.
        n_current: sizes[batches] of its batches.
        difference: current less reference under the null, in [-1, 1]; broadcasts against [batches].

    Returns:
        The natural logarithms after each batch.

    Raises:
        DataError: unequal numbers of batches, or successes outside [0, n].

    Source:
        Turner, Ly and Grunwald (2024), Generic E-variables for exact sequential k-sample tests that
        allow for optional stopping, Journal of Statistical Planning and Inference 230, section 2.
    """
    a, m, b, n = (
        np.asarray(x, dtype=np.float64)
        for x in (successes_reference, n_reference, successes_current, n_current)
    )
    if not (a.ndim == 1 and a.shape == m.shape == b.shape == n.shape):
        raise DataError(
            f"every batch needs four counts, got {a.shape}, {m.shape}, {b.shape}, {n.shape}"
        )
    if not all(np.all((x >= 0) & (x <= size)) for x, size in ((a, m), (b, n))):
        raise DataError("successes of a batch must lie in [0, n]")
    learned = _learned(a, m), _learned(b, n)
    null = _nearest(*learned, m, n, np.asarray(difference, dtype=np.float64))
    factors = sum(
        _log_ratio(x, p, q) + _log_ratio(size - x, 1 - p, 1 - q)
        for x, size, p, q in zip((a, b), (m, n), learned, null, strict=True)
    )
    return np.cumsum(factors, axis=-1)


def _learned(successes: FloatArray, n: FloatArray) -> FloatArray:
    """The share before each batch, with the prior weight for either outcome."""
    before = np.cumsum(successes) - successes
    return np.asarray((before + _PRIOR) / (np.cumsum(n) - n + 2 * _PRIOR))


def _nearest(
    p: FloatArray, q: FloatArray, m: FloatArray, n: FloatArray, difference: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The pair (t, t + difference) nearest to (p, q): bisection of the divergence's derivative."""
    low, high = np.broadcast_arrays(
        np.maximum(0.0, -difference) + 0 * p, np.minimum(1.0, 1 - difference) + 0 * p
    )
    for _ in range(_HALVINGS):
        t = (low + high) / 2
        u = np.clip(t + difference, 0.0, 1.0)
        # The derivative times t (1 - t) u (1 - u), which is above 0 within.
        slope = m * (t - p) * u * (1 - u) + n * (u - q) * t * (1 - t)
        low, high = np.where(slope < 0, t, low), np.where(slope < 0, high, t)
    t = (low + high) / 2
    return t, np.clip(t + difference, 0.0, 1.0)


def _log_ratio(count: FloatArray, share: FloatArray, null: FloatArray) -> FloatArray:
    """count log(share / null); infinite where the null excludes what was seen."""
    seen = count > 0
    excluded = seen & (null <= 0)
    ratio = np.where(seen & ~excluded, share, 1.0) / np.where(seen & ~excluded, null, 1.0)
    return np.where(excluded, np.inf, count * np.log(ratio))
