"""Many tests at once: adjusted p-values and rejections that keep an overall error rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError

FloatArray = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's adjusted p-values: rejecting those <= alpha keeps the chance of any false rejection.

    Valid however the tests depend on each other.

    Args:
        p_values: p-values[k] in [0, 1], in any order.

    Returns:
        Adjusted p-values[k], in the order given.

    Raises:
        DataError: a p-value is missing or outside [0, 1].

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal
        of Statistics 6.
    """
    p = _checked(p_values, "p-values", 1.0)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _unsorted(np.minimum(adjusted, 1.0), order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Benjamini and Hochberg's adjusted p-values, for the false discovery rate.

    Rejecting those <= alpha keeps the expected share of false rejections among all at alpha.
    Valid for independent and positively dependent tests. Where nothing has changed at all, the
    chance of any rejection is at most alpha.

    Args:
        p_values: p-values[k] in [0, 1], in any order.

    Returns:
        Adjusted p-values[k], in the order given.

    Raises:
        DataError: a p-value is missing or outside [0, 1].

    Source:
        Benjamini and Hochberg (1995), Controlling the false discovery rate, JRSS B 57; adjusted
        values as in Yekutieli and Benjamini (1999).
    """
    p = _checked(p_values, "p-values", 1.0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    return _unsorted(np.minimum(adjusted, 1.0), order)


def e_benjamini_hochberg(e_values: npt.ArrayLike, alpha: float) -> npt.NDArray[np.bool_]:
    """The e-BH procedure: which of k e-values to reject at a false discovery rate of alpha.

    Valid however the e-values depend on each other.

    Args:
        e_values: e-values[k], >= 0 and possibly infinite, in any order.
        alpha: the false discovery rate, in (0, 1).

    Returns:
        bool[k], true where the hypothesis is rejected.

    Raises:
        DataError: an e-value is missing or negative.

    Source:
        Wang and Ramdas (2022), False discovery rate control with e-values, JRSS B 84, section 3.
    """
    e = _checked(e_values, "e-values", np.inf)
    descending = np.sort(e)[::-1]
    ranks = np.arange(1, e.size + 1)
    passing = np.flatnonzero(descending * ranks >= e.size / alpha)
    if passing.size == 0:
        return np.zeros(e.size, dtype=np.bool_)
    return np.asarray(e >= descending[passing[-1]])


def _checked(values: npt.ArrayLike, name: str, high: float) -> FloatArray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise DataError(f"{name} must be an array of one dimension, got {x.ndim}")
    wrong = np.flatnonzero(~((x >= 0) & (x <= high)))
    if wrong.size:
        raise DataError(f"{name} must lie in [0, {high:g}], got {x[wrong[0]]} at {wrong[0]}")
    return x


def _unsorted(values: FloatArray, order: npt.NDArray[np.intp]) -> FloatArray:
    result = np.empty_like(values)
    result[order] = values
    return result
