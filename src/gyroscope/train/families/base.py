"""What a model family is, and the table of those we ship."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Scorer, Vector
from gyroscope.bundle.class_link import ClassLink
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.bundle.links import Link
from gyroscope.config import Settings
from gyroscope.data.contract import Column, ColumnType, Task
from gyroscope.errors import ConfigError, MissingExtraError
from gyroscope.stats.class_losses import class_log_losses
from gyroscope.stats.losses import log_losses

FAMILIES = {
    "base_rate": "gyroscope.train.families.base_rate:BaseRate",
    "logistic_regression": "gyroscope.train.families.logistic_regression:LogisticRegression",
    "linear_regression": "gyroscope.train.families.logistic_regression:LinearRegression",
    "decision_tree": "gyroscope.train.families.decision_tree:DecisionTree",
    "random_forest": "gyroscope.train.families.random_forest:RandomForest",
    "gradient_boosting": "gyroscope.train.families.gradient_boosting:GradientBoosting",
    "hist_gradient_boosting": (
        "gyroscope.train.families.hist_gradient_boosting:HistGradientBoosting"
    ),
    "lightgbm": "gyroscope.train.families.lightgbm:LightGBM",
    "xgboost": "gyroscope.train.families.xgboost:XGBoost",
    "catboost": "gyroscope.train.families.catboost:CatBoost",
}
EXTRAS = {"xgboost": "XGBoost", "catboost": "CatBoost"}  # families that need an extra
_LINEAR = {"regression": "linear_regression"}  # the linear family of a task

_ROWS_A_THREAD = 100_000

_T = TypeVar("_T")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to fit on, and later rows that only tell when to stop."""

    X: Matrix  # float64[n, p], encoded
    y: Vector  # float64[n] in {0, 1}, or classes from 0 on, each of them there, or numbers
    weight: Vector  # float64[n], positive
    X_stop: Matrix  # float64[m, p]
    y_stop: Vector  # float64[m], as y
    columns: tuple[Column, ...]  # of X, in order
    task: Task = "binary"
    n_classes: int = 2  # of a task with classes

    @property
    def outputs(self) -> int:
        """How many margins a row gets: one, or one for each of several classes."""
        return self.n_classes if self.task == "multiclass" else 1

    def by_task(self, *, binary: _T, multiclass: _T, regression: _T) -> _T:
        """The one of these that is for the task."""
        return {"binary": binary, "multiclass": multiclass, "regression": regression}[self.task]

    def stopping_loss(self, margins: Matrix) -> float:
        """The mean loss of margins ``float64[m, outputs]`` on the rows that tell when to stop."""
        link = self.log_odds_link()
        if self.task == "regression":
            return float(np.square(margins[:, 0] - self.y_stop).mean())
        if self.task == "multiclass":
            return float(class_log_losses(self.y_stop, link.probability(margins)).mean())
        return float(log_losses(self.y_stop, link.probability(margins[:, 0])).mean())

    def log_odds_link(self) -> Link | ClassLink:
        """The link of margins in log-odds, or in units of y."""
        if self.task == "multiclass":
            return ClassLink(kind="softmax", shifts=(0.0,) * self.n_classes)
        return Link(kind="logistic" if self.task == "binary" else "value")

    def share_link(self) -> Link | ClassLink:
        """The link of margins that are probabilities, or in units of y."""
        if self.task == "multiclass":
            return ClassLink(kind="shares", shifts=(0.0,) * self.n_classes)
        return Link(kind="identity" if self.task == "binary" else "value")


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model as arrays, with the library's own answers to hold them against."""

    scorer: Scorer | ClassScorers
    link: Link | ClassLink
    answers: Callable[[Matrix], Vector]  # the library's, of encoded rows: its scores
    contributions: Callable[[Matrix], Matrix] | None = None  # the library's, if it has any:
    # float64[n, p], or float64[n, p, classes]
    tolerance: float = 1e-6  # of scores: how far the library's own arithmetic may be off
    parameters: dict[str, float | int | str]


def one_scorer(parts: Sequence[Scorer]) -> Scorer | ClassScorers:
    """The scorer of a model whose outputs have these."""
    return parts[0] if len(parts) == 1 else ClassScorers(parts)


def by_output(found: Matrix, sample: Sample) -> Matrix:
    """Contributions of a library, ``float64[n, outputs * (p + 1)]`` with a base after those of each
    output, as ``float64[n, p]`` or ``float64[n, p, classes]``."""
    if sample.outputs == 1:
        return found[:, :-1]
    each = found.reshape(len(found), sample.outputs, -1)
    return np.moveaxis(each[:, :, :-1], 1, 2)


class ModelFamily(Protocol):
    """A way to fit a model. Fitting the same sample with the same seed gives the same arrays."""

    name: str

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit on a sample with every class in it."""
        ...


def family(name: str) -> ModelFamily:
    """The family called ``name``.

    Raises:
        ConfigError: there is none of that name.
        MissingExtraError: its library is not installed.
    """
    if name not in FAMILIES:
        raise ConfigError(f"no model family {name!r}; known: {', '.join(FAMILIES)}")
    module, _, attribute = FAMILIES[name].partition(":")
    try:
        made: ModelFamily = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        if name in EXTRAS and error.name == name:
            raise MissingExtraError(EXTRAS[name], name) from None
        raise
    return made


def families_to_try(settings: Settings, task: Task) -> list[str]:
    """The names in the setting ``candidates``; of the default only those whose library is there.

    Raises:
        ConfigError: a family named in the file is unknown, or not for the task.
        MissingExtraError: the library of a family named in the file is not installed.
    """
    names: list[str] = settings["candidates"]
    linear = _LINEAR.get(task, "logistic_regression")
    if settings.sources["candidates"] != "default":
        for name in names:
            family(name)  # raises
            if name in ("logistic_regression", "linear_regression") and name != linear:
                raise ConfigError(
                    f"setting candidates: {name} is not for a {task} target; use {linear}"
                )
        return names
    return [
        linear if name == "logistic_regression" else name
        for name in names
        if name not in EXTRAS or find_spec(name) is not None
    ]


def categorical(columns: tuple[Column, ...]) -> list[int]:
    """Positions of the columns whose encoded values are category codes."""
    return [j for j, column in enumerate(columns) if column.type is ColumnType.CATEGORY]


def n_codes(column: Column) -> int:
    """How many codes a category column can have: its categories and "other"."""
    return len(column.categories) + 1


def threads(n_rows: int) -> int:
    """How many threads a boosting library should use.

    Its threads wait for each other in a busy loop after every split. Beside anything else that
    wants a core, a second thread was measured to make fitting 50,000 rows 3 to 12 times slower;
    alone it gains little until there are many rows. Half of the cores are left to others.
    """
    return max(1, min((os.cpu_count() or 1) // 2, n_rows // _ROWS_A_THREAD))


def within_float32(X: Matrix) -> Matrix:
    """Rows with numbers beyond float32 at its ends, for libraries that would take them for inf.

    No split can tell the difference: its threshold lies between two numbers that were seen.
    """
    largest = float(np.finfo(np.float32).max)
    return np.clip(X, -largest, largest)


class CategoryRanks:
    """Category codes in order of their share of positives, or of their mean.

    A tree that splits on this rank finds the best two-way grouping of the categories (Breiman et
    al. 1984, Classification and Regression Trees, theorem 4.5), so libraries without category
    splits can use them; the split is stored as the set of codes on its left side. With several
    classes the order is that along the first principal component of the shares of the classes,
    which is near the best (Coppersmith, Hong and Hosking 1999, Partitioning nominal attributes in
    decision trees, Data Mining and Knowledge Discovery 3).

    ``ranked`` are the positions of the categories to rank; all if not given.
    """

    def __init__(self, sample: Sample, ranked: Sequence[int] | None = None) -> None:
        self._ranks: dict[int, NDArray[np.int64]] = {}
        y = sample.y[:, None]
        if sample.task == "multiclass":
            y = (y == np.arange(sample.n_classes)).astype(np.float64)
        prior = np.average(y, weights=sample.weight, axis=0)
        for j in categorical(sample.columns) if ranked is None else ranked:
            size = n_codes(sample.columns[j])
            here = ~np.isnan(sample.X[:, j])
            codes = sample.X[here, j].astype(np.intp)
            weight = sample.weight[here]
            total = np.asarray(np.bincount(codes, weight, minlength=size), dtype=np.float64)
            sums = [np.bincount(codes, weight * one[here], minlength=size) for one in y.T]
            # Ten rows' worth of the mean of all.
            shares = (np.array(sums) + 10 * prior[:, None]) / (total + 10)
            share = shares[0] if len(shares) == 1 else _first_component(shares, total)
            self._ranks[j] = np.argsort(np.argsort(share, kind="stable"), kind="stable")

    def __call__(self, X: Matrix) -> Matrix:
        """Encoded rows with ranks in place of category codes."""
        ranked = X.copy()
        for j, ranks in self._ranks.items():
            here = ~np.isnan(X[:, j])
            ranked[here, j] = ranks[X[here, j].astype(np.intp)]
        return ranked

    def left_codes(self, feature: int, threshold: float) -> NDArray[np.bool_] | None:
        """The codes with rank at most ``threshold``; None if the feature is no category."""
        ranks = self._ranks.get(feature)
        return None if ranks is None else ranks <= threshold


def _first_component(shares: Matrix, weight: Vector) -> Vector:
    """Where each column of shares ``float64[classes, codes]`` lies along the first principal
    component of all, ``float64[codes]``."""
    centred = shares - np.average(shares, weights=weight + 1, axis=1)[:, None]
    axis = np.linalg.svd(centred * np.sqrt(weight + 1), full_matrices=False)[0][:, 0]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])  # of two directions always the same
    along: Vector = axis @ centred
    return along
