"""LightGBM with its native category splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.data.contract import Column
from gyroscope.train.families.base import (
    Fitted,
    Sample,
    by_output,
    categorical,
    n_codes,
    one_scorer,
    threads,
)
from gyroscope.train.families.node_table import NodeTable

_MOST_TREES = 400
_PATIENCE = 20  # trees without improvement on the stopping rows
_LARGEST = 1e299  # the library cuts its thresholds off at 1e300
_PARAMETERS: dict[str, float | int | str] = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 40,
    "cat_smooth": 20.0,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class LightGBM:
    """Gradient boosting, stopped early on later rows."""

    name = "lightgbm"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit with at most 400 trees of 31 leaves."""
        import lightgbm

        objective = sample.by_task(
            binary="binary", multiclass="multiclass", regression="regression"
        )
        settings = {"objective": objective, **_PARAMETERS, "seed": seed}
        settings["num_threads"] = threads(len(sample.y))
        if sample.task == "multiclass":
            settings["num_class"] = sample.n_classes
        settings["min_data_in_leaf"] = int(min(40, max(2, len(sample.y) // 100)))
        data = lightgbm.Dataset(
            _seen(sample.X),
            sample.y,
            weight=sample.weight,
            categorical_feature=categorical(sample.columns),
            params=settings,
        )
        booster = lightgbm.train(
            settings,
            data,
            num_boost_round=_MOST_TREES,
            valid_sets=[data.create_valid(_seen(sample.X_stop), sample.y_stop)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        trees = booster.best_iteration or booster.current_iteration()

        def answers(X: Matrix) -> Vector:
            found: Vector = booster.predict(_seen(X), num_iteration=trees)
            return found

        def contributions(X: Matrix) -> Matrix:
            found: Matrix = booster.predict(_seen(X), num_iteration=trees, pred_contrib=True)
            return by_output(found, sample)

        grown = booster.dump_model(num_iteration=trees)["tree_info"]
        parts = [
            TreeScorer(
                lightgbm_nodes(grown[k :: sample.outputs], sample.columns), base=0.0, single=False
            )
            for k in range(sample.outputs)
        ]
        return Fitted(
            scorer=one_scorer(parts),
            link=sample.log_odds_link(),
            answers=answers,
            contributions=contributions,
            parameters={**settings, "trees": trees},
        )


def _seen(X: Matrix) -> Matrix:
    """Rows with numbers that the library can tell apart: no split is needed beyond them."""
    return np.clip(X, -_LARGEST, _LARGEST)


def lightgbm_nodes(trees: Sequence[dict[str, Any]], columns: tuple[Column, ...]) -> Nodes:
    """Trees of ``Booster.dump_model()`` as one node table."""
    table = NodeTable()
    for tree in trees:
        stack = [(tree["tree_structure"], table.add_root())]
        while stack:
            node, position = stack.pop()
            if "split_feature" not in node:
                cover = float(node.get("leaf_count", node.get("leaf_weight", 1.0)))
                table.leaf(position, value=float(node["leaf_value"]), cover=cover)
                continue
            left, right = _split(table, node, position, columns)
            stack += [(node["left_child"], left), (node["right_child"], right)]
    return table.nodes()


def _split(
    table: NodeTable, node: dict[str, Any], position: int, columns: tuple[Column, ...]
) -> tuple[int, int]:
    feature, cover = int(node["split_feature"]), float(node["internal_count"])
    if node["decision_type"] == "==":
        return table.split(
            position,
            feature=feature,
            threshold=0.0,
            missing_left=False,  # missing is in no set, so it goes right
            cover=cover,
            left_codes=_codes(node["threshold"], n_codes(columns[feature])),
        )
    threshold = float(node["threshold"])
    # Where training saw no missing value the library reads a missing one as 0.
    missing_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
    return table.split(
        position,
        feature=feature,
        threshold=threshold,
        missing_left=bool(missing_left),
        cover=cover,
    )


def _codes(text: str, size: int) -> NDArray[np.bool_]:
    codes = np.zeros(size, dtype=bool)
    codes[[int(code) for code in text.split("||")]] = True
    return codes
