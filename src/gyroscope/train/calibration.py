"""Choosing the link from margins to probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import msgspec
import numpy as np

from gyroscope.bundle.base import Vector
from gyroscope.bundle.links import Link
from gyroscope.stats.losses import log_losses

_FOLDS = 5
_ENOUGH_FOR_ISOTONIC = 1000  # rows of the rarer class; below it a step function is mostly noise
_ROUNDING = 1e-9  # of the mean margin: a smaller standard deviation counts as none
_MARGIN = 1e-4  # nats: a more complex link must be better by this much


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A link and how it did on rows it was not fitted on."""

    link: Link
    method: str  # "none", "sigmoid" or "isotonic"
    log_loss: float  # mean over cross-fitted rows, nats
    probabilities: Vector  # cross-fitted, float64[n]


def calibrate(link: Link, raw: Vector, y: Vector) -> Calibration:
    """Choose between the link as it is, Platt scaling and isotonic regression by cross-fitting.

    Args:
        link: what the family says its margins mean.
        raw: raw margins ``float64[n]`` of rows the model was not fitted on.
        y: their labels, ``float64[n]`` in {0, 1}.

    Platt (1999), "Probabilistic outputs for support vector machines"; isotonic regression after
    Zadrozny and Elkan (2002). Folds are every fifth row of each class, so that each has every
    stretch of time and both classes; there must be at least 2 rows of each.
    """
    fits: dict[str, Callable[[Vector, Vector], Link]] = {
        "none": lambda raw, y: link,
        "sigmoid": _sigmoid,
    }
    if min(y.sum(), len(y) - y.sum()) >= _ENOUGH_FOR_ISOTONIC:
        fits["isotonic"] = _isotonic
    tried = []
    for method, fit in fits.items():
        p = _cross_fitted(fit, raw, y)
        loss = float(log_losses(y, p).mean())
        tried.append(Calibration(link=fit(raw, y), method=method, log_loss=loss, probabilities=p))
    return reduce(_better, tried)


def _better(simpler: Calibration, other: Calibration) -> Calibration:
    return other if other.log_loss < simpler.log_loss - _MARGIN else simpler


def _cross_fitted(fit: Callable[[Vector, Vector], Link], raw: Vector, y: Vector) -> Vector:
    p = np.empty(len(y))
    fold = np.empty(len(y), dtype=np.intp)
    for label in (0, 1):
        members = np.flatnonzero(y == label)
        fold[members] = np.arange(len(members)) % _FOLDS
    for k in range(_FOLDS):
        here = fold == k
        link = fit(raw[~here], y[~here])
        p[here] = link.probability(link.margin(raw[here]))
    return p


def _sigmoid(raw: Vector, y: Vector) -> Link:
    from sklearn.linear_model import LogisticRegression

    spread, centre = float(raw.std()), float(raw.mean())
    if spread <= _ROUNDING * abs(centre):  # one margin for all rows: only the shift is fitted
        spread = 1.0
    fitted = LogisticRegression(C=1e6).fit(((raw - centre) / spread)[:, None], y)
    scale = float(fitted.coef_[0, 0]) / spread
    return Link(kind="logistic", scale=scale, shift=float(fitted.intercept_[0]) - scale * centre)


def _isotonic(raw: Vector, y: Vector) -> Link:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(raw, y)
    floor = 1 / (len(y) + 2)  # a step with one class in it is no certainty
    p = np.clip(fitted.y_thresholds_, floor, 1 - floor)
    return Link(
        kind="isotonic",
        margins=tuple(fitted.X_thresholds_.tolist()),
        probabilities=tuple(p.tolist()),
    )
