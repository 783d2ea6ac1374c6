"""The score from which a row is decided to be positive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.errors import UsageError
from gyroscope.stats.curves import precision_recall_curve


def f1_threshold(y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """The score at which the decisions ``p >= threshold`` have the highest F1.

    The highest of several equally good thresholds is taken: it selects the fewest rows.

    Args:
        y: labels[n] in {0, 1} of rows the model was not fitted on.
        p: scores[n] in [0, 1].

    Raises:
        DataError: labels or scores that cannot be used, or no positive row.
    """
    curve = precision_recall_curve(y, p)
    # Some row is always selected, and recall rises from above 0 or precision is 0 with it.
    total = np.where(curve.precision > 0, curve.precision + curve.recall, 1.0)
    return float(curve.thresholds[np.argmax(2 * curve.precision * curve.recall / total)])


def cost_threshold(*, false_positive: float, false_negative: float) -> float:
    """The score at which acting and not acting cost the same; needs calibrated scores.

    Args:
        false_positive: cost of acting on a negative row, above 0.
        false_negative: cost of missing a positive row in the same unit, above 0.

    Raises:
        UsageError: a cost is not above 0.

    Source:
        Elkan (2001), The foundations of cost-sensitive learning, IJCAI, equation 2, with right
        decisions costing nothing.
    """
    if not (false_positive > 0 and false_negative > 0):
        raise UsageError(
            f"both costs must be above 0, got {false_positive} for a false positive and "
            f"{false_negative} for a false negative"
        )
    return false_positive / (false_positive + false_negative)
