"""Normal scores: ranks as quantiles of the normal distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normal_scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The normal score of each cell of a reference, and a last one, 0, for missing values.

    That of a cell is the normal quantile of the middle of its ranks among the reference's
    ``counts`` (int64[cells]); all are 0 if the reference has no value.

    Source:
        van der Waerden (1952), Order tests for the two-sample problem and their power,
        Indagationes Mathematicae 14.
    """
    from scipy.special import ndtri

    n = int(counts.sum())
    scores = np.zeros(counts.size + 1)
    if n:
        middles = (np.cumsum(counts) - counts / 2) / n
        # Cells beyond the reference: half a rank from the end, not at infinity.
        scores[:-1] = ndtri(np.clip(middles, 0.5 / n, 1 - 0.5 / n))
    return scores
