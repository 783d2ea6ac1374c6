"""Proof that a scorer answers what its training library answers."""

from __future__ import annotations

import numpy as np

from gyroscope.bundle.base import Matrix
from gyroscope.errors import BundleError
from gyroscope.train.families.base import Fitted

_SUM_TOLERANCE = 1e-6  # of the largest margin
_CONTRIBUTION_TOLERANCE = 1e-5  # of the largest margin; XGBoost's own are float32
_NEXT = "; take it out of the setting candidates until this is mended"
_MOST_ROWS, _MOST_EXPLAINED = 20_000, 20


def check_fidelity(name: str, fitted: Fitted, X: Matrix) -> float:
    """Compare a scorer with its library on encoded rows; returns the largest difference of scores.

    Values are compared in units of the largest, and of 1 at least.

    Raises:
        BundleError: a score or Shapley value differs by more than the tolerance, or Shapley
            values do not add up to the margin.
    """
    X = X[:_MOST_ROWS]
    margins = fitted.scorer.margins(X)
    ours = fitted.link.probability(fitted.link.margin(margins))
    worst = float(np.abs(ours - fitted.answers(X)).max(initial=0.0))
    if not worst <= fitted.tolerance * max(1.0, float(np.abs(ours).max(initial=0.0))):
        what = "values" if fitted.link.kind == "value" else "probabilities"
        raise BundleError(f"{name}: {what} differ from the library's by {worst:.2g}{_NEXT}")
    if not fitted.scorer.explains:
        return worst
    explained = X[:_MOST_EXPLAINED]
    found = fitted.scorer.contributions(explained)
    scale = 1 + float(np.abs(margins).max(initial=0.0))
    gap = np.abs(found.base + found.values.sum(axis=1) - margins[:_MOST_EXPLAINED])
    if not gap.max(initial=0.0) <= _SUM_TOLERANCE * scale:
        raise BundleError(f"{name}: contributions do not add up to the margin{_NEXT}")
    if fitted.contributions is not None:
        gap = np.abs(found.values - fitted.contributions(explained))
        if not gap.max(initial=0.0) <= _CONTRIBUTION_TOLERANCE * scale:
            raise BundleError(
                f"{name}: contributions differ from the library's by {gap.max():.2g}{_NEXT}"
            )
    return worst
