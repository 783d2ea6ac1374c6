"""XGBoost; needs the extra ``xgboost``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xgboost

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import (
    CategoryRanks,
    Fitted,
    Sample,
    by_output,
    one_scorer,
    threads,
    within_float32,
)
from gyroscope.train.families.node_table import NodeTable

_MOST_TREES = 400
_PATIENCE = 20
_PARAMETERS = {
    "tree_method": "hist",
    "learning_rate": 0.05,
    "max_leaves": 31,
    "max_depth": 0,
    "grow_policy": "lossguide",
    "min_child_weight": 5.0,
    "verbosity": 0,
}


class XGBoost:
    """Gradient boosting, stopped early on later rows."""

    name = "xgboost"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit with at most 400 trees of 31 leaves."""
        ranks = CategoryRanks(sample)
        objective = sample.by_task(
            binary="binary:logistic", multiclass="multi:softprob", regression="reg:squarederror"
        )
        settings: dict[str, Any] = {"objective": objective, **_PARAMETERS, "seed": seed}
        settings["nthread"] = threads(len(sample.y))
        if sample.task == "multiclass":
            settings["num_class"] = sample.n_classes

        def seen(X: Matrix, **labels: Vector) -> Any:
            rows = ranks(within_float32(X))
            return xgboost.DMatrix(rows, nthread=settings["nthread"], **labels)

        booster = xgboost.train(
            settings,
            seen(sample.X, label=sample.y, weight=sample.weight),
            num_boost_round=_MOST_TREES,
            evals=[(seen(sample.X_stop, label=sample.y_stop), "stop")],
            early_stopping_rounds=_PATIENCE,
            verbose_eval=False,
        )
        trees = booster.best_iteration + 1

        def answers(X: Matrix) -> Vector:
            return np.asarray(booster.predict(seen(X), iteration_range=(0, trees)), np.float64)

        def contributions(X: Matrix) -> Matrix:
            found = booster.predict(seen(X), pred_contribs=True, iteration_range=(0, trees))
            return by_output(np.asarray(found, np.float64).reshape(len(X), -1), sample)

        model = json.loads(booster.save_raw("json"))["learner"]
        grown = model["gradient_booster"]["model"]["trees"][: trees * sample.outputs]
        parts = [
            TreeScorer(xgboost_nodes(grown[k :: sample.outputs], ranks), base=base, single=True)
            for k, base in enumerate(_bases(model, sample))
        ]
        return Fitted(
            scorer=one_scorer(parts),
            link=sample.log_odds_link(),
            answers=answers,
            contributions=contributions,
            tolerance=1e-5,  # it adds up hundreds of leaves in float32
            parameters={**settings, "trees": trees},
        )


def _bases(model: dict[str, Any], sample: Sample) -> list[float]:
    """The constant of each output; that in log-odds is stored as a probability."""
    stored = model["learner_model_param"]["base_score"].strip("[]")
    bases = [float(number) for number in stored.split(",")]
    if sample.task == "binary":
        return [math.log(rate / (1 - rate)) for rate in bases]
    return bases * (sample.outputs // len(bases))


def xgboost_nodes(trees: Sequence[dict[str, Any]], ranks: CategoryRanks) -> Nodes:
    """Trees of ``Booster.save_raw("json")`` as one node table.

    The library goes left if ``x < t`` in float32: that is ``x <=`` the float32 before ``t``.
    """
    table = NodeTable()
    for tree in trees:
        thresholds = np.array(tree["split_conditions"], dtype=np.float32)
        stack = [(0, table.add_root())]
        while stack:
            node, position = stack.pop()
            cover = float(tree["sum_hessian"][node])
            if tree["left_children"][node] < 0:
                table.leaf(position, value=float(thresholds[node]), cover=cover)
                continue
            feature = int(tree["split_indices"][node])
            threshold = float(np.nextafter(thresholds[node], np.float32(-np.inf)))
            left, right = table.split(
                position,
                feature=feature,
                threshold=threshold,
                missing_left=bool(tree["default_left"][node]),
                cover=cover,
                left_codes=ranks.left_codes(feature, threshold),
            )
            stack += [(tree["left_children"][node], left), (tree["right_children"][node], right)]
    return table.nodes()
