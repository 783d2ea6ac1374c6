"""How many rows would be enough to see a change, and how small a change so many rows can show.

Seen means that the two-sided p-value falls to alpha or below with probability ``power``. All tests
compare a reference of m rows with a window of n, whose errors go with 1/m + 1/n: no window makes up
for a reference that is too small, and then the answer is None. The rows that let the lower end of
a PSI pass a threshold are in :func:`gyroscope.stats.psi.rows_needed`.

Source: Lehmann and Romano (2005), Testing Statistical Hypotheses, chapter 11, for normal limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gyroscope.stats.intervals import normal_quantile


def rows_for_shift(
    d: float, *, n_reference: int, alpha: float = 0.05, power: float = 0.9
) -> int | None:
    """Rows for a shift of ``d`` standard deviations, by van der Waerden's or Student's test.

    Args:
        d: the shift, in standard deviations; not 0.
        n_reference: rows of the reference.
        alpha: the two-sided level of the test, in (0, 1).
        power: the chance of seeing it, in (alpha, 1).

    Returns:
        The number of rows, or None if no window is large enough for so small a reference.
    """
    return _rows(_square(d / _gap(alpha, power)), n_reference)


def smallest_shift(
    *, n_reference: int, n_current: int, alpha: float = 0.05, power: float = 0.9
) -> float:
    """The smallest shift, in standard deviations, that n rows show; see :func:`rows_for_shift`.

    It is infinite, as all the smallest effects are, with a sample that has no rows (for
    correlations, no more than three).
    """
    return _gap(alpha, power) * math.sqrt(_unit(n_reference, n_current))


def rows_for_correlation(
    reference: float, current: float, *, n_reference: int, alpha: float = 0.05, power: float = 0.9
) -> int | None:
    """Rows for a change between two correlations in (-1, 1), by Fisher's z with variance 1/(n - 3).

    Arguments and result are those of :func:`rows_for_shift`.
    """
    change = math.atanh(current) - math.atanh(reference)
    rows = _rows(_square(change / _gap(alpha, power)), n_reference - 3)
    return None if rows is None else rows + 3


def smallest_correlation_change(
    *, n_reference: int, n_current: int, alpha: float = 0.05, power: float = 0.9
) -> float:
    """The smallest change of Fisher's z that n rows show; from no correlation it is atanh(r)."""
    return smallest_shift(
        n_reference=n_reference - 3, n_current=n_current - 3, alpha=alpha, power=power
    )


def rows_for_proportions(
    reference: float, current: float, *, n_reference: int, alpha: float = 0.05, power: float = 0.9
) -> int | None:
    """Rows for a change between two proportions, by the score test.

    Arguments and result are those of :func:`rows_for_shift`, with the two proportions in [0, 1].

    Source:
        Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, chapter 4.
    """

    def seen(n: float) -> bool:
        return _power_of_proportions(reference, current, n_reference, n, alpha) >= power

    return _fewest(seen)


def smallest_proportion_change(
    reference: float, *, n_reference: int, n_current: int, alpha: float = 0.05, power: float = 0.9
) -> float | None:
    """The smallest rise of a proportion above ``reference`` that n rows show.

    The smallest fall is that of the complement, 1 - ``reference``.

    Returns:
        The difference of the proportions, or None if even a rise to 1 does not show.
    """

    def seen(rise: float) -> bool:
        found = _power_of_proportions(reference, reference + rise, n_reference, n_current, alpha)
        return found >= power

    return _smallest(seen, 1 - reference)


def rows_for_psi(
    effect: float, *, cells: int, n_reference: int, alpha: float = 0.05, power: float = 0.9
) -> int | None:
    """Rows for a PSI (or 8 times a Jensen-Shannon divergence) to differ from none at all.

    Args:
        effect: the PSI of the populations, above 0.
        cells: number of cells, 2 or more.
        n_reference: rows of the reference.
        alpha: the level of the test, in (0, 1).
        power: the chance of seeing it, in (alpha, 1).

    Returns:
        The number of rows, or None if no window is large enough for so small a reference.

    Source:
        Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 7.
    """
    return _rows(effect / _noncentrality(cells - 1, alpha, power), n_reference)


def smallest_psi(
    *, cells: int, n_reference: int, n_current: int, alpha: float = 0.05, power: float = 0.9
) -> float:
    """The smallest PSI of the populations that n rows tell from none; see :func:`rows_for_psi`."""
    return _noncentrality(cells - 1, alpha, power) * _unit(n_reference, n_current)


def _gap(alpha: float, power: float) -> float:
    """How many standard errors an effect must have."""
    return normal_quantile(1 - alpha / 2) + normal_quantile(power)


def _unit(m: int, n: int) -> float:
    """What errors go with; without rows no effect is large enough to be seen."""
    return 1 / m + 1 / n if min(m, n) > 0 else math.inf


def _square(x: float) -> float:
    return x * x  # infinite where a power of x raises an error


def _rows(unit: float, n_reference: int) -> int | None:
    """The smallest n with 1/n + 1/m at most ``unit``."""
    left = unit - 1 / n_reference if n_reference > 0 else 0.0
    return max(1, math.ceil(1 / left)) if left > 0 else None


def _noncentrality(df: int, alpha: float, power: float) -> float:
    """The noncentrality at which a chi-square test of level alpha has this power."""
    from scipy.special import chdtri, chndtrinc

    return float(chndtrinc(chdtri(df, alpha), df, 1 - power))


def _power_of_proportions(p: float, q: float, m: float, n: float, alpha: float) -> float:
    if min(m, n) <= 0:
        return 0.0
    pooled = (m * p + n * q) / (m + n)
    under_null = math.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    error = math.sqrt(p * (1 - p) / m + q * (1 - q) / n)
    beyond = abs(q - p) - normal_quantile(1 - alpha / 2) * under_null
    if error == 0:
        return float(beyond > 0)
    return math.erfc(-beyond / error / math.sqrt(2)) / 2


def _fewest(seen: Callable[[float], bool]) -> int | None:
    """The smallest number of rows that is enough, by bisection; None if 10^15 are not."""
    low, high = 0, 10**15
    if not seen(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _smallest(seen: Callable[[float], bool], largest: float) -> float | None:
    low, high = 0.0, largest
    if not seen(high):
        return None
    while high - low > 1e-9 * largest:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
