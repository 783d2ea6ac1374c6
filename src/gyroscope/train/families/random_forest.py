"""Random forest."""

from __future__ import annotations

from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import answer
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, within_float32
from gyroscope.train.families.sklearn_trees import mean_scorer

_PARAMETERS = {"n_estimators": 100, "max_leaf_nodes": 256, "max_features": "sqrt"}
_MOST_SAMPLES = 50_000  # rows a tree is grown on; with a hundred trees every row is in some


class RandomForest:
    """The mean of a hundred trees, each on a bootstrap of the rows."""

    name = "random_forest"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; a leaf holds a 2000th of its tree's rows at least, or its share says little."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        ranks = CategoryRanks(sample)

        def seen(X: Matrix) -> Matrix:
            return ranks(within_float32(X))

        rows = min(len(sample.y), _MOST_SAMPLES)
        settings: dict[str, Any] = {
            **_PARAMETERS,
            "min_samples_leaf": max(3, rows // 2000),
            "max_samples": rows,
        }
        regression = sample.task == "regression"
        make = RandomForestRegressor if regression else RandomForestClassifier
        forest = make(random_state=seed, n_jobs=-1, **settings)
        with np.errstate(over="ignore", invalid="ignore"):  # in its sums of very large numbers
            forest.fit(seen(sample.X), sample.y, sample_weight=sample.weight)

        def answers(X: Matrix) -> Vector:
            with np.errstate(over="ignore", invalid="ignore"):  # in the same sums
                return answer(forest, sample.task, seen(X))

        return Fitted(
            scorer=mean_scorer(forest.estimators_, ranks, sample),
            link=sample.share_link(),
            answers=answers,
            parameters=settings,
        )
