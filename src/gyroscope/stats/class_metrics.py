"""The metrics of a classifier of several classes on one set of rows, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gyroscope.stats.auc import logit_interval, structural_components
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.calibration_error import calibration_error
from gyroscope.stats.class_losses import class_log_losses, classes_and_scores
from gyroscope.stats.intervals import Estimate, mean, proportion, undefined


def class_metrics(
    y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """Accuracy, macro ROC AUC, log-loss, Brier score and calibration of the class chosen, by name.

    Args:
        y: classes[n] from 0 on.
        p: scores[n, classes] in [0, 1].
        alpha: the two-sided error of each interval.

    Returns:
        Name to estimate, undefined where the rows do not determine it. The calibration error is
        that of the highest score against whether its class is the right one (Guo, Pleiss, Sun and
        Weinberger 2017, On calibration of modern neural networks).

    Raises:
        DataError: classes or scores that cannot be used.
    """
    labels, scores = classes_and_scores(y, p)
    right, confidence = chosen_class(labels, scores)
    truth = labels[:, None] == np.arange(scores.shape[1])
    return {
        "accuracy": proportion(float(right.sum()), len(labels), alpha=alpha),
        "roc_auc": macro_roc_auc(labels, scores, alpha=alpha),
        "log_loss": mean(class_log_losses(labels, scores), alpha=alpha),
        "brier": mean(np.square(scores - truth).sum(axis=1), alpha=alpha),
        "calibration_error": calibration_error(right, confidence, alpha=alpha).error,
    }


def chosen_class(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Whether the class with the highest score, the first of equals, is the right one,
    float64[n] in {0, 1}, and that score, float64[n] in [0, 1].

    Args and errors are those of :func:`class_metrics`.
    """
    labels, scores = classes_and_scores(y, p)
    chosen = scores.argmax(axis=1) if len(labels) else labels
    return (chosen == labels).astype(np.float64), scores[np.arange(len(labels)), chosen]


def macro_roc_auc(y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """The mean, over the classes that some rows have and some have not, of the ROC AUC of the class
    against all others.

    The standard error is that of the mean over rows of what each adds to the AUCs (their influence,
    of which DeLong's structural components are the parts); the interval is made on the logit scale.

    Args and errors are those of :func:`class_metrics`; undefined when all rows are of one class.

    Source:
        Provost and Domingos (2001), Well-trained PETs, unweighted as in Hand and Till (2001),
        Machine Learning 45; variance as :func:`gyroscope.stats.auc.roc_auc`.
    """
    labels, scores = classes_and_scores(y, p)
    found = macro_auc_influence(labels, scores)
    if found is None:
        return undefined()
    value, influence = found
    error = float(influence.std(ddof=1)) / math.sqrt(len(labels))
    of_class = np.bincount(labels, minlength=scores.shape[1])
    both = of_class[(of_class > 0) & (of_class < len(labels))]
    rarest = int(np.minimum(both, len(labels) - both).min())
    return Estimate(
        value=value,
        standard_error=error,
        interval=logit_interval(value, error, rarest, alpha),
        n=len(labels),
    )


def macro_auc_influence(
    labels: npt.NDArray[np.intp], scores: FloatArray
) -> tuple[float, FloatArray] | None:
    """The macro ROC AUC and what each row adds to it beyond the mean, float64[n] of mean 0; None if
    all rows are of one class.

    Args:
        labels: classes[n] from 0 on.
        scores: scores[n, classes].
    """
    values, influence = [], np.zeros(len(labels))
    for k in range(scores.shape[1]):
        own = labels == k
        components = structural_components(own.astype(np.float64), scores[:, k])
        if components is None:
            continue
        of_own, of_others = components
        value, n_own = float(of_own.mean()), int(own.sum())
        values.append(value)
        influence[own] += (of_own - value) * len(labels) / n_own
        influence[~own] += (of_others - value) * len(labels) / (len(labels) - n_own)
    if not values:
        return None
    return float(np.mean(values)), influence / len(values)
