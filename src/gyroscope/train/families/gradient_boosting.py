"""Gradient boosting that looks at every value, not at bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import answer
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import (
    CategoryRanks,
    Fitted,
    Sample,
    one_scorer,
    within_float32,
)
from gyroscope.train.families.node_table import NodeTable
from gyroscope.train.families.sklearn_trees import add_tree

_MOST_TREES = 200
_PATIENCE = 10  # trees without improvement on the stopping rows
_MOST_SAMPLES = 50_000  # rows a tree is grown on; the next tree draws others
_PARAMETERS = {"learning_rate": 0.1, "max_depth": None, "max_leaf_nodes": 31}
# Below every threshold: they lie halfway between two numbers that were seen, or between this one
# and one that was, and never on it.
_LOWEST = float(np.finfo(np.float32).min)


class GradientBoosting:
    """Boosted trees (Friedman 2001), stopped early on later rows.

    The library takes no missing values: they count as lower than every number.
    """

    name = "gradient_boosting"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit with at most 200 trees of 31 leaves."""
        from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

        ranks = CategoryRanks(sample)

        def seen(X: Matrix) -> Matrix:
            return np.nan_to_num(ranks(within_float32(X)), nan=_LOWEST)

        settings: dict[str, Any] = {
            **_PARAMETERS,
            "n_estimators": _MOST_TREES,
            "min_samples_leaf": min(40, max(2, len(sample.y) // 50)),
            "subsample": min(1.0, _MOST_SAMPLES / len(sample.y)),
        }
        regression = sample.task == "regression"
        make = GradientBoostingRegressor if regression else GradientBoostingClassifier
        model = make(random_state=seed, **settings)
        stop = _Stop(seen(sample.X_stop), sample)
        with np.errstate(over="ignore", invalid="ignore"):  # in its sums of very large numbers
            model.fit(seen(sample.X), sample.y, sample_weight=sample.weight, monitor=stop)
        trees = stop.trees
        model.estimators_ = model.estimators_[:trees]

        def answers(X: Matrix) -> Vector:
            with np.errstate(over="ignore", invalid="ignore"):  # in the same sums
                return answer(model, sample.task, seen(X))

        parts = []
        for base, estimators in zip(_start(model, sample), model.estimators_.T, strict=True):
            table = NodeTable()
            for estimator in estimators:
                values = model.learning_rate * estimator.tree_.value[:, 0, 0]
                add_tree(table, estimator.tree_, values, ranks, missing_lowest=True)
            parts.append(TreeScorer(table.nodes(), base=float(base), single=True))
        return Fitted(
            scorer=one_scorer(parts),
            link=sample.log_odds_link(),
            answers=answers,
            parameters={**settings, "max_depth": "none", "trees": trees},
        )


def _start(model: Any, sample: Sample) -> Vector:
    """The margins that the library starts from, one for each output."""
    if sample.task == "binary":
        rate = model.init_.class_prior_[1]
        return np.array([np.log(rate / (1 - rate))])
    started: Vector = model._raw_predict_init(sample.X[:1])[0]
    return started


class _Stop:
    """Told after each tree; says when the loss on the stopping rows has not fallen for long."""

    def __init__(self, X: Matrix, sample: Sample) -> None:
        self._X, self._sample = X, sample
        self._margins = np.zeros((len(X), sample.outputs))
        self._best = np.inf
        self.trees = 1  # with the lowest loss

    def __call__(self, i: int, model: Any, _: object) -> bool:
        if i == 0:
            self._margins += _start(model, self._sample)
        for k, estimator in enumerate(model.estimators_[i]):
            self._margins[:, k] += model.learning_rate * estimator.predict(self._X)
        loss = self._sample.stopping_loss(self._margins)
        if loss < self._best:
            self._best, self.trees = loss, i + 1
        return bool(i + 1 - self.trees >= _PATIENCE)
