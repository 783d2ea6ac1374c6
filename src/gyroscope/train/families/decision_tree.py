"""A single decision tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import answer
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, within_float32
from gyroscope.train.families.sklearn_trees import mean_scorer

_MOST_LEAVES = 64  # as many rules as a person still reads


class DecisionTree:
    """One tree of at most 64 leaves: the model that can be drawn."""

    name = "decision_tree"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; a leaf holds a hundredth of the rows at least, or 50, or its share says little."""
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        ranks = CategoryRanks(sample)

        def seen(X: Matrix) -> Matrix:
            return ranks(within_float32(X))

        settings: dict[str, Any] = {
            "max_leaf_nodes": _MOST_LEAVES,
            "min_samples_leaf": min(50, max(3, len(sample.y) // 100)),
        }
        regression = sample.task == "regression"
        make = DecisionTreeRegressor if regression else DecisionTreeClassifier
        tree = make(random_state=seed, **settings)
        with np.errstate(over="ignore", invalid="ignore"):  # in its sums of very large numbers
            tree.fit(seen(sample.X), sample.y, sample_weight=sample.weight)

        def answers(X: Matrix) -> Vector:
            with np.errstate(over="ignore", invalid="ignore"):  # in the same sums
                return answer(tree, sample.task, seen(X))

        return Fitted(
            scorer=mean_scorer([tree], ranks, sample),
            link=sample.share_link(),
            answers=answers,
            parameters=settings,
        )
