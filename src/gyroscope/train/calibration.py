"""Choosing the link from margins to probabilities, or to values."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import msgspec
import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.class_link import ClassLink, softmax
from gyroscope.bundle.links import Link
from gyroscope.data.contract import Task
from gyroscope.data.performance import losses
from gyroscope.stats.class_losses import class_log_losses
from gyroscope.stats.losses import log_losses

_FOLDS = 5
_ENOUGH_FOR_ISOTONIC = 1000  # rows of the rarer class; below it a step function is mostly noise
_ROUNDING = 1e-9  # of the mean margin: a smaller standard deviation counts as none
_SHARE = 0.01  # of the squared error: the line must take off so much
_SCALE_PRIOR, _SHIFT_PRIOR = 1e-2, 1.0  # inverse variances
_MARGIN = 1e-4  # nats: a more complex link must be better by this much


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A link and how it did on rows it was not fitted on."""

    link: Link | ClassLink
    method: str  # "none", "sigmoid", "isotonic", "temperature" or "line"
    loss: float  # mean over cross-fitted rows: nats, or squared units of the target
    scores: Vector  # cross-fitted, float64[n] or float64[n, classes]


def calibrate(task: Task, link: Link | ClassLink, raw: Vector, y: Vector) -> Calibration:
    """Choose a link by cross-fitting.

    Args:
        task: of the contract.
        link: what the family says its margins mean.
        raw: raw margins ``float64[n]``, or ``float64[n, classes]``, of rows the model was not
            fitted on.
        y: their labels, ``float64[n]``.
    """
    if isinstance(link, ClassLink):
        return _of_classes(link, raw, y)
    if task == "regression":
        return _of_values(link, raw, y)
    return _of_two_classes(link, raw, y)


def _of_values(link: Link, raw: Vector, y: Vector) -> Calibration:
    """Choose between the link as it is and the line of least squares."""
    tried = []
    for method, fit in {"none": lambda raw, y: link, "line": _line}.items():
        values = _cross_fitted(fit, raw, y, np.zeros(len(y)))
        loss = float(losses("regression", y, values).mean())
        tried.append(Calibration(link=fit(raw, y), method=method, loss=loss, scores=values))
    simple, line = tried
    return line if line.loss < simple.loss * (1 - _SHARE) else simple


def _line(raw: Vector, y: Vector) -> Link:
    centre = float(raw.mean())
    spread = float(np.square(raw - centre).sum())
    scale = float((raw - centre) @ y) / spread if spread > 0 else 0.0
    return Link(kind="value", scale=scale, shift=float(y.mean()) - scale * centre)


def _of_two_classes(link: Link, raw: Vector, y: Vector) -> Calibration:
    """Choose between the link as it is, Platt scaling and isotonic regression by cross-fitting.

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
        tried.append(Calibration(link=fit(raw, y), method=method, loss=loss, scores=p))
    return reduce(_better, tried)


def _better(simpler: Calibration, other: Calibration) -> Calibration:
    return other if other.loss < simpler.loss - _MARGIN else simpler


def _of_classes(link: ClassLink, raw: Matrix, y: Vector) -> Calibration:
    """Choose between the link as it is and :func:`_temperature`."""
    fits: dict[str, Callable[[Matrix, Vector], ClassLink]] = {
        "none": lambda raw, y: link,
        "temperature": _temperature,
    }
    tried = []
    for method, fit in fits.items():
        p = _cross_fitted(fit, raw, y)
        loss = float(class_log_losses(y, p).mean())
        tried.append(Calibration(link=fit(raw, y), method=method, loss=loss, scores=p))
    return reduce(_better, tried)


def _cross_fitted(
    fit: Callable[[Vector, Vector], Link | ClassLink],
    raw: Vector,
    y: Vector,
    classes: Vector | None = None,
) -> Vector:
    """Scores of each row by a link fitted on the others; ``classes`` are those of y by default."""
    p = np.empty(raw.shape)
    fold = np.empty(len(y), dtype=np.intp)
    classes = y if classes is None else classes
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
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


def _temperature(raw: Matrix, y: Vector) -> ClassLink:
    """Softmax of the margins times one scale, plus a shift of each class.

    The shifts, and the scale in standard deviations of the margins, are drawn to zero a little, so
    that a class that few or none of the rows have keeps a probability.

    Source:
        Temperature scaling of Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern
        neural networks, with the bias of Alexandari, Kundaje and Shrikumar (2020), Maximum
        likelihood with bias-corrected calibration is hard-to-beat at label shift adaptation.
    """
    from scipy.optimize import minimize

    n, rows = len(y), np.arange(len(y))
    classes = y.astype(np.intp)
    spread = float(raw.std())
    if spread <= _ROUNDING * float(np.abs(raw).max(initial=0.0)):
        spread = 1.0  # the margins are all the same: there is nothing to scale by
    z = raw / spread
    prior = np.array([_SCALE_PRIOR] + [_SHIFT_PRIOR] * raw.shape[1]) / n

    def loss(at: Vector) -> tuple[float, Vector]:
        p = softmax(at[0] * z + at[1:])
        off = p.copy()
        off[rows, classes] -= 1
        slope = np.append((off * z).sum() / n, off.sum(axis=0) / n)
        value = -np.log(np.maximum(p[rows, classes], np.finfo(np.float64).tiny)).mean()
        return float(value + prior @ np.square(at) / 2), slope + prior * at

    found = minimize(loss, np.append(1.0, np.zeros(raw.shape[1])), jac=True, method="L-BFGS-B")
    return ClassLink(
        kind="softmax", scale=float(found.x[0]) / spread, shifts=tuple(found.x[1:].tolist())
    )


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
