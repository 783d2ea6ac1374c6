"""McNemar's test: do two classifiers err equally often on the same rows?"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.tails import binomial_lower


class McNemar(msgspec.Struct, frozen=True, kw_only=True):
    """The discordant rows of two classifiers, and two-sided p-values of "equally often"."""

    only_first_right: int
    only_second_right: int
    exact: float
    mid_p: float  # the one to use: near the nominal level, where ``exact`` is far below it
    chi_square: float


def mcnemar(only_first_right: int, only_second_right: int) -> McNemar:
    """Compare two counts of discordant rows; under the null each row falls to either side alike.

    Args:
        only_first_right: rows that only the first classifier decided rightly, at least 0.
        only_second_right: rows that only the second did.

    Returns:
        The p-values; all 1 when the classifiers never differ.

    Raises:
        DataError: a count is negative.

    Example:
        >>> round(mcnemar(1, 7).mid_p, 3)
        0.039

    Source:
        McNemar (1947), Psychometrika 12; mid-p after Fagerland, Lydersen and Laake (2013), BMC
        Medical Research Methodology 13:91, whose table 1 is the example, and for equal counts its
        additional file 1.
    """
    if only_first_right < 0 or only_second_right < 0:
        raise DataError(
            f"counts of rows cannot be negative, got {only_first_right} and {only_second_right}"
        )
    n = only_first_right + only_second_right
    low = min(only_first_right, only_second_right)
    if n == 0:
        exact = mid_p = chi_square = 1.0
    else:
        at_most, below = (
            float(binomial_lower(low, n, 0.5)),
            float(binomial_lower(low - 1, n, 0.5)) if low else 0.0,
        )
        exact = min(1.0, 2 * at_most)
        mid_p = at_most + below if low < n - low else 1.0 - (at_most - below) / 2
        chi_square = math.erfc(abs(only_first_right - only_second_right) / math.sqrt(2 * n))
    return McNemar(
        only_first_right=only_first_right,
        only_second_right=only_second_right,
        exact=exact,
        mid_p=mid_p,
        chi_square=chi_square,
    )


def mcnemar_of_decisions(y: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """McNemar's test on labels[n] and two decisions[n], all in {0, 1}; see :func:`mcnemar`.

    Raises:
        DataError: the arrays differ in shape.
    """
    labels, one, two = (np.asarray(a, dtype=np.float64) for a in (y, first, second))
    if not labels.shape == one.shape == two.shape:
        raise DataError(
            f"labels and decisions differ in shape: {labels.shape}, {one.shape}, {two.shape}"
        )
    right_1, right_2 = one == labels, two == labels
    return mcnemar(
        int(np.count_nonzero(right_1 & ~right_2)), int(np.count_nonzero(right_2 & ~right_1))
    )
