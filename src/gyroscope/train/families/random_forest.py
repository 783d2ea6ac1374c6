"""Random forest."""

from __future__ import annotations

from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.links import Link
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, within_float32
from gyroscope.train.families.node_table import NodeTable

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
            scorer=TreeScorer(forest_nodes(forest, ranks), base=0.0, single=True),
            link=Link(kind="identity"),
            probabilities=probabilities,
            parameters=settings,
        )


def forest_nodes(forest: Any, ranks: CategoryRanks) -> Nodes:
    """The trees of a fitted forest as one node table; its leaves add up to the mean."""
    table = NodeTable()
    for estimator in forest.estimators_:
        tree = estimator.tree_
        values = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1) / len(forest.estimators_)
        stack = [(0, table.add_root())]
        while stack:
            node, position = stack.pop()
            cover = float(tree.weighted_n_node_samples[node])
            if tree.children_left[node] < 0:
                table.leaf(position, value=float(values[node]), cover=cover)
                continue
            feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
            left, right = table.split(
                position,
                feature=feature,
                threshold=threshold,
                missing_left=bool(tree.missing_go_to_left[node]),
                cover=cover,
                left_codes=ranks.left_codes(feature, threshold),
            )
            stack += [
                (int(tree.children_left[node]), left),
                (int(tree.children_right[node]), right),
            ]
    return table.nodes()
