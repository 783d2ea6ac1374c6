"""CatBoost; needs the extra ``catboost``."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Scorer, Vector
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, threads, within_float32
from gyroscope.train.families.node_table import NodeTable, scorer_of_outputs

_MOST_TREES = 200
_PATIENCE = 20
_PARAMETERS: dict[str, float | int | str] = {
    "boosting_type": "Plain",
    "learning_rate": 0.1,
    "depth": 6,
}


class CatBoost:
    """Boosted oblivious trees, which ask one question a level, stopped early on later rows.

    Categories are split by their rank, as for the other libraries; its own encodings of categories
    are no trees.
    """

    name = "catboost"

    def __init__(self) -> None:
        """Raises ModuleNotFoundError if the library is not installed."""
        import catboost

        self._library = catboost

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit with at most 200 trees of 64 leaves."""
        ranks = CategoryRanks(sample)
        loss = sample.by_task(binary="Logloss", multiclass="MultiClass", regression="RMSE")
        settings = {"loss_function": loss, **_PARAMETERS}

        def seen(X: Matrix, **labels: Vector) -> Any:
            return self._library.Pool(ranks(within_float32(X)).astype(np.float32), **labels)

        model = self._library.CatBoost(
            {
                **settings,
                "iterations": _MOST_TREES,
                "random_seed": seed,
                "thread_count": threads(len(sample.y)),
                "allow_writing_files": False,
                "logging_level": "Silent",
            }
        )
        model.fit(
            seen(sample.X, label=sample.y, weight=sample.weight),
            eval_set=seen(sample.X_stop, label=sample.y_stop),
            early_stopping_rounds=_PATIENCE,
            use_best_model=True,
        )

        kind = sample.by_task(
            binary="Probability", multiclass="Probability", regression="RawFormulaVal"
        )

        def answers(X: Matrix) -> Vector:
            found: Vector = model.predict(seen(X), prediction_type=kind)
            return found[:, 1] if sample.task == "binary" else found

        def contributions(X: Matrix) -> Matrix:
            found: Matrix = model.get_feature_importance(seen(X), type="ShapValues")
            if sample.task == "multiclass":
                found = np.moveaxis(found, 1, 2)  # from [n, classes, p + 1]
            return found[:, :-1]

        return Fitted(
            scorer=catboost_scorer(_written(model), ranks),
            link=sample.log_odds_link(),
            answers=answers,
            contributions=contributions,
            parameters={**settings, "trees": model.tree_count_},
        )


def _written(model: Any) -> dict[str, Any]:
    """The model in the library's JSON."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.json")
        model.save_model(str(path), format="json")
        written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return written


def catboost_scorer(written: dict[str, Any], ranks: CategoryRanks) -> Scorer | ClassScorers:
    """The trees of ``CatBoost.save_model(format="json")``; all classes share their splits.

    Bit i of the position of a leaf says whether the row is above the border of split i. The last
    split is the root, as in the library's own Shapley values, which depend on it.
    """
    table = NodeTable()
    scale, bases = written["scale_and_bias"]
    features = written["features_info"]["float_features"]
    missing_left = [info["nan_value_treatment"] != "AsTrue" for info in features]
    leaves: list[Vector] = []  # of each leaf the values of all outputs
    for tree in written["oblivious_trees"]:
        values = scale * np.array(tree["leaf_values"]).reshape(-1, len(bases))
        weights = np.array(tree["leaf_weights"])
        splits = tree["splits"] or []
        stack = [(0, len(splits), table.add_root())]
        while stack:
            first, depth, position = stack.pop()  # of the leaves below, 2^depth of them
            if depth == 0:
                table.leaf(position, value=len(leaves), cover=float(weights[first]))
                leaves.append(values[first])
                continue
            split, half = splits[depth - 1], 1 << (depth - 1)
            feature = features[split["float_feature_index"]]["flat_feature_index"]
            left, right = table.split(
                position,
                feature=feature,
                threshold=float(np.float32(split["border"])),
                missing_left=missing_left[split["float_feature_index"]],
                cover=float(weights[first : first + 2 * half].sum()),
                left_codes=ranks.left_codes(feature, split["border"]),
            )
            stack += [(first, depth - 1, left), (first + half, depth - 1, right)]
    return scorer_of_outputs(table.nodes(), np.array(leaves), bases)
