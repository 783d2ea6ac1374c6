"""Weights that make labelled reference rows stand for the rows of a window (covariate shift)."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.binary import FloatArray, scores
from gyroscope.stats.domain_classifier import MOST_ROWS, checked_samples, cross_fitted, thinned

LARGEST_RATIO = 20.0  # a row that stands for more would decide everything by itself


class ImportanceWeights(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How many times more common a row like each reference row is in the window."""

    weights: FloatArray  # of the reference rows, mean 1
    effective_rows: float  # as many equally weighted rows would have the same variance
    clipped: float  # share of the reference rows whose weight was cut to 20 before scaling


def importance_weights(
    probability: npt.ArrayLike, *, n_reference: int, n_current: int
) -> ImportanceWeights:
    """Density ratios of current to reference at the reference rows, by a domain classifier.

    If the classifier says a row is current with chance d, the ratio is d / (1 - d) times
    n_reference / n_current. Ratios above 20 are cut, which lowers the variance at the price of a
    bias where the window leaves the reference; ``clipped`` says how often. A calibration fitted
    with the weights (:func:`~gyroscope.stats.calibration_map.calibration_map`) holds for the window
    under covariate shift, if no part of the window lies where the reference has no rows; its
    intervals take the effective rows. The error of the ratios themselves is not in them, and
    concept drift is invisible here too.

    Args:
        probability: chance[k] that each reference row is a current one, from classifiers that were
            not fitted on it (cross-fitted).
        n_reference: reference rows that the classifier was fitted on.
        n_current: current rows that the classifier was fitted on.

    Raises:
        DataError: no chances, chances outside [0, 1], or all 0.

    Source:
        Białek, Kuberski, Perrakis and Bifet (2024), arXiv 2401.08348, section 4 (PAPE); Bickel,
        Brückner and Scheffer (2009), Discriminative learning under covariate shift, JMLR 10; Kish
        (1965), Survey Sampling, for the effective rows.
    """
    d = scores(probability)
    if not d.size or n_reference < 1 or n_current < 1 or not d.any():
        raise DataError(
            "importance weights need rows of both samples and a chance above 0, got "
            f"{d.size} chances for {n_reference} reference and {n_current} current rows"
        )
    odds = np.divide(d, 1 - d, out=np.full(d.shape, math.inf), where=d < 1)
    ratio = odds * (n_reference / n_current)
    weights = np.minimum(ratio, LARGEST_RATIO)
    weights /= weights.mean()
    return ImportanceWeights(
        weights=weights,
        effective_rows=float(weights.sum() ** 2 / (weights @ weights)),
        clipped=float((ratio > LARGEST_RATIO).mean()),
    )


def fitted_importance_weights(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, seed: int = 0
) -> ImportanceWeights:
    """:func:`importance_weights` of all reference rows, by boosted trees fitted here.

    The classifier is cross-fitted in halves on all reference rows and evenly taken current ones, at
    most as many as there are reference rows, or 20,000 if that is more.

    Args:
        reference: float[n, columns], nan where missing; categories as codes.
        current: float[m, columns], the same columns.
        seed: of the halves and the classifier.

    Raises:
        DataError: matrices of unequal columns, or fewer than 50 rows in one of them.
    """
    a, b = checked_samples(reference, current)
    b = thinned(b, max(MOST_ROWS, len(a)))
    y = np.repeat([0.0, 1.0], [len(a), len(b)])
    fits = cross_fitted(np.concatenate([a, b]), y, seed=seed)
    return importance_weights(fits.probability[: len(a)], n_reference=len(a), n_current=len(b))
