"""How many rows repeat others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def duplicate_share(X: npt.NDArray[np.float64]) -> float:
    """The share of the rows of ``X`` (float64[n, p]) that repeat another; 0 without rows.

    Missing values equal each other.
    """
    if len(X) == 0:
        return 0.0
    rows = np.ascontiguousarray(np.where(np.isnan(X), np.inf, X) + 0.0)  # + 0.0: no -0.0
    distinct = np.unique(rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))).size
    return 1 - distinct / len(X)
