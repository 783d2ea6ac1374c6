"""What a model family is, and the table of those we ship."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Scorer, Vector
from gyroscope.bundle.links import Link
from gyroscope.config import Settings
from gyroscope.data.contract import Column, ColumnType
from gyroscope.errors import ConfigError, MissingExtraError

FAMILIES = {
    "base_rate": "gyroscope.train.families.base_rate:BaseRate",
    "logistic_regression": "gyroscope.train.families.logistic_regression:LogisticRegression",
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


_ROWS_A_THREAD = 100_000


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to fit on, and later rows that only tell when to stop."""

    X: Matrix  # float64[n, p], encoded
    y: Vector  # float64[n] in {0, 1}
    weight: Vector  # float64[n], positive
    X_stop: Matrix  # float64[m, p]
    y_stop: Vector  # float64[m] in {0, 1}
    columns: tuple[Column, ...]  # of X, in order


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model as arrays, with the library's own answers to hold them against."""

    scorer: Scorer
    link: Link
    probabilities: Callable[[Matrix], Vector]  # the library's, of encoded rows
    contributions: Callable[[Matrix], Matrix] | None = None  # the library's, if it has any
    tolerance: float = 1e-6  # of probabilities: how far the library's own arithmetic may be off
    parameters: dict[str, float | int | str]


class ModelFamily(Protocol):
    """A way to fit a model. Fitting the same sample with the same seed gives the same arrays."""

    name: str

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit on a sample with both classes in it."""
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


def families_to_try(settings: Settings) -> list[str]:
    """The names in the setting ``candidates``; of the default only those whose library is there."""
    names: list[str] = settings["candidates"]
    if settings.sources["candidates"] != "default":
        return names
    return [name for name in names if name not in EXTRAS or find_spec(name) is not None]


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
    """Category codes in order of their share of positives.

    A tree that splits on this rank finds the best two-way grouping of the categories (Breiman et
    al. 1984, Classification and Regression Trees, theorem 4.5), so libraries without category
    splits can use them; the split is stored as the set of codes on its left side.

    ``ranked`` are the positions of the categories to rank; all if not given.
    """

    def __init__(self, sample: Sample, ranked: Sequence[int] | None = None) -> None:
        self._ranks: dict[int, NDArray[np.int64]] = {}
        prior = float(np.average(sample.y, weights=sample.weight))
        for j in categorical(sample.columns) if ranked is None else ranked:
            size = n_codes(sample.columns[j])
            here = ~np.isnan(sample.X[:, j])
            codes = sample.X[here, j].astype(np.intp)
            weight = sample.weight[here]
            total = np.bincount(codes, weight, minlength=size)
            positive = np.bincount(codes, weight * sample.y[here], minlength=size)
            share = (positive + 10 * prior) / (total + 10)  # ten rows' worth of the base rate
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
