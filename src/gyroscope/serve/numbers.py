"""What a version makes of encoded rows: scores, and what they are explained by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Contributions, Matrix
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.class_scorers import ClassContributions, Integers
from gyroscope.bundle.explanation import Space, in_probability
from gyroscope.bundle.links import Link


class Wish(NamedTuple):
    """What is to be explained of each row."""

    space: Space = "margin"  # what contributions add up to
    of_class: int | None = None  # which of several classes; the most probable one if None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What one version makes of n encoded rows."""

    X: Matrix  # these, float64[n, p]
    scores: list[float] | list[tuple[float, ...]]
    overflow: tuple[int, ...] = ()  # rows whose score or explanation is not finite
    margins: list[float] = []  # that are explained
    contributions: Contributions | ClassContributions | None = None
    bases: Sequence[float] = ()  # of the values of each row
    classes: list[int] = []  # that each row is explained for, if there are several
    values: list[list[float]] = []  # contributions of each row, in the space asked for: by size
    order: list[list[int]] = []  # whose they are: features by absolute contribution, largest first


def numbers_of(bundle: Bundle, X: Matrix, wish: Wish | None) -> Numbers:
    """Score encoded rows ``float64[n, p]``, and explain them if there is a wish.

    Pure: the numbers of a row do not depend, to the last bit, on the rows scored with it.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        margins = bundle.margins(X)
        scores = bundle.link.probability(margins)
        if bundle.contract.classes:
            return _numbers_of_classes(bundle, X, margins, scores, wish)
        finite = np.isfinite(margins)
        if wish is None:
            return Numbers(X=X, scores=scores.tolist(), overflow=_overflow(finite))
        contributions = bundle.contributions(X)
        finite &= np.isfinite(contributions.values).all(axis=1)
        shown = contributions
        if wish.space == "probability":
            assert isinstance(bundle.link, Link)
            shown = in_probability(contributions, margins, bundle.link)
        order = _by_size(shown.values)
    return Numbers(
        X=X,
        scores=scores.tolist(),
        overflow=_overflow(finite),
        margins=margins.tolist(),
        contributions=contributions,
        bases=[shown.base] * len(X),
        values=_in_order(shown.values, order),
        order=order.tolist(),
    )


def _numbers_of_classes(
    bundle: Bundle, X: Matrix, margins: Matrix, scores: Matrix, wish: Wish | None
) -> Numbers:
    finite = np.asarray(np.isfinite(margins).all(axis=1))
    of_rows = list(map(tuple, scores.tolist()))
    if wish is None:
        return Numbers(X=X, scores=of_rows, overflow=_overflow(finite))
    classes: Integers = scores.argmax(axis=1)
    if wish.of_class is not None:
        classes = np.full(len(X), wish.of_class)
    found = bundle.class_contributions(X, classes, space=wish.space)
    finite &= np.isfinite(found.values).all(axis=1)
    order = _by_size(found.values)
    return Numbers(
        X=X,
        scores=of_rows,
        overflow=_overflow(finite),
        margins=margins[np.arange(len(X)), classes].tolist(),
        contributions=found,
        bases=found.base.tolist(),
        classes=classes.tolist(),
        values=_in_order(found.values, order),
        order=order.tolist(),
    )


def _by_size(values: Matrix) -> Integers:
    """The features of each row by absolute contribution, largest first."""
    order: Integers = np.argsort(-np.abs(values), axis=1, kind="stable")
    return order


def _in_order(values: Matrix, order: Integers) -> list[list[float]]:
    """The values of each row in the order of its own."""
    if len(values) == 1:
        sorted_values: Matrix = values.take(order)
    else:
        sorted_values = values[np.arange(len(values))[:, None], order]
    in_order: list[list[float]] = sorted_values.tolist()
    return in_order


def _overflow(finite: NDArray[np.bool_]) -> tuple[int, ...]:
    return () if finite.all() else tuple(np.flatnonzero(~finite).tolist())
