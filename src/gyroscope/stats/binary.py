"""Labels in {0, 1} and scores in [0, 1], checked at the door of every statistic of a classifier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def labels_and_scores(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return labels and scores as float64[n] after checking them.

    Args:
        y: labels[n], 0 or 1 (False or True).
        p: scores[n], probabilities of class 1, in [0, 1].

    Raises:
        DataError: a label or score is missing or out of range, or the lengths differ.
    """
    labels, probabilities = np.asarray(y, dtype=np.float64), scores(p)
    if labels.shape != probabilities.shape:
        raise DataError(
            f"every score needs one label, got {labels.shape} labels for {probabilities.shape} "
            "scores"
        )
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if wrong.size:
        raise DataError(f"labels must be 0 or 1, got {labels[wrong[0]]} at row {wrong[0]}")
    return labels, probabilities


def scores(p: npt.ArrayLike) -> FloatArray:
    """Return scores as float64[n] after checking that they lie in [0, 1].

    Raises:
        DataError: a score is missing or out of range, or ``p`` has not one dimension.
    """
    probabilities = np.asarray(p, dtype=np.float64)
    if probabilities.ndim != 1:
        raise DataError(f"scores must be an array of one dimension, got {probabilities.ndim}")
    wrong = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)))
    if wrong.size:
        raise DataError(
            f"scores must lie in [0, 1], got {probabilities[wrong[0]]} at row {wrong[0]}"
        )
    return probabilities


def cluster_codes(clusters: npt.ArrayLike, n: int) -> IntArray:
    """Number the clusters of n rows 0, 1, 2, ... whatever their ids.

    Raises:
        DataError: there is not one id for each row.
    """
    ids = np.asarray(clusters)
    if ids.shape != (n,):
        raise DataError(f"every row needs one cluster id, got {ids.shape} for {n} rows")
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)
