"""Random forest."""

from __future__ import annotations

from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.links import Link
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, within_float32
from gyroscope.train.families.sklearn_trees import share_nodes

_PARAMETERS = {"n_estimators": 100, "max_leaf_nodes": 256, "max_features": "sqrt"}
_MOST_SAMPLES = 50_000  # rows a tree is grown on; with a hundred trees every row is in some


class RandomForest:
    """The mean of a hundred trees, each on a bootstrap of the rows."""

    name = "random_forest"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; a leaf holds a 2000th of its tree's rows at least, or its share says little."""
        from sklearn.ensemble import RandomForestClassifier

        ranks = CategoryRanks(sample)

        def seen(X: Matrix) -> Matrix:
            return ranks(within_float32(X))

        rows = min(len(sample.y), _MOST_SAMPLES)
        settings: dict[str, Any] = {
            **_PARAMETERS,
            "min_samples_leaf": max(3, rows // 2000),
            "max_samples": rows,
        }
        forest = RandomForestClassifier(random_state=seed, n_jobs=-1, **settings)
        with np.errstate(over="ignore", invalid="ignore"):  # in its sums of very large numbers
            forest.fit(seen(sample.X), sample.y, sample_weight=sample.weight)

        def probabilities(X: Matrix) -> Vector:
            with np.errstate(over="ignore", invalid="ignore"):  # in the same sums
                found: Vector = forest.predict_proba(seen(X))[:, 1]
            return found

        return Fitted(
            scorer=TreeScorer(share_nodes(forest.estimators_, ranks), base=0.0, single=True),
            link=Link(kind="identity"),
            probabilities=probabilities,
            parameters=settings,
        )
