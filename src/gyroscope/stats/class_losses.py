"""The losses of probabilities of several classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.losses import EPSILON


def classes_and_scores(
    y: npt.ArrayLike, p: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Check classes ``y[n]`` in {0, ..., classes - 1} and scores ``p[n, classes]`` in [0, 1].

    Raises:
        DataError: they do not fit together, or leave their range.
    """
    labels, scores = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise DataError(
            f"expected a class for each row of scores, got shapes {labels.shape} and {scores.shape}"
        )
    if not ((labels >= 0) & (labels < scores.shape[1]) & (labels == np.floor(labels))).all():
        raise DataError(f"classes must be whole numbers from 0 to {scores.shape[1] - 1}")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise DataError("scores must lie in [0, 1]")
    return labels.astype(np.intp), scores


def class_log_losses(y: npt.ArrayLike, p: npt.ArrayLike, *, floor: float = EPSILON) -> FloatArray:
    """The log-loss of each row in nats, float64[n]: that of the score of its class, which is held
    in [floor, 1].

    Args:
        y: classes[n] from 0 on.
        p: scores[n, classes] in [0, 1].
        floor: keeps a sure error finite.

    Raises:
        DataError: classes or scores that cannot be used.

    Example:
        >>> class_log_losses([0, 2], [[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]).round(3).tolist()
        [0.693, 0.511]
    """
    labels, scores = classes_and_scores(y, p)
    return -np.log(np.maximum(scores[np.arange(len(labels)), labels], floor))
