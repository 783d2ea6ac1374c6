"""scikit-learn's histogram gradient boosting with its native category splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import answer
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import (
    CategoryRanks,
    Fitted,
    Sample,
    categorical,
    n_codes,
    one_scorer,
    threads,
)
from gyroscope.train.families.node_table import NodeTable

_MOST_CODES = 255  # that the library splits on by itself; with more, by their ranks
_LARGEST = 1e299  # the library cuts its thresholds off at 1e300
_PARAMETERS: dict[str, float | int | str] = {
    "learning_rate": 0.1,
    "max_iter": 200,
    "max_leaf_nodes": 31,
    "l2_regularization": 1.0,
    "n_iter_no_change": 10,
    "tol": 1e-4,  # nats
}


class HistGradientBoosting:
    """Gradient boosting on binned values, stopped early on later rows."""

    name = "hist_gradient_boosting"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit with at most 200 trees of 31 leaves."""
        from sklearn.ensemble import (
            HistGradientBoostingClassifier,
            HistGradientBoostingRegressor,
        )
        from threadpoolctl import threadpool_limits

        view = _View(sample)
        settings = {**_PARAMETERS, "min_samples_leaf": min(40, max(2, len(sample.y) // 100))}
        regression = sample.task == "regression"
        make = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        model = make(
            random_state=seed,
            categorical_features=view.native or None,
            early_stopping=True,
            **settings,
        )
        with threadpool_limits(threads(len(sample.y)), "openmp"):
            model.fit(
                view(sample.X),
                sample.y,
                sample_weight=sample.weight,
                X_val=view(sample.X_stop),
                y_val=sample.y_stop,
            )
        # The first score is that without a tree; one tree is kept even if none helps.
        trees = max(1, int(np.argmax(model.validation_score_)))
        model._predictors = model._predictors[:trees]

        def answers(X: Matrix) -> Vector:
            return answer(model, sample.task, view(X))

        parts = [
            TreeScorer(hist_nodes(model, view, k), base=float(base), single=False)
            for k, base in enumerate(model._baseline_prediction[0])
        ]
        return Fitted(
            scorer=one_scorer(parts),
            link=sample.log_odds_link(),
            answers=answers,
            parameters={**settings, "trees": trees},
        )


class _View:
    """Rows as the library is given them."""

    def __init__(self, sample: Sample) -> None:
        coded = categorical(sample.columns)
        self.n_codes = {j: n_codes(sample.columns[j]) for j in coded}
        # Columns that the library cannot bin.
        self.empty: NDArray[np.bool_] = np.asarray(np.isnan(sample.X).all(axis=0))
        self.native = [j for j in coded if self.n_codes[j] <= _MOST_CODES and not self.empty[j]]
        self.ranks = CategoryRanks(sample, [j for j in coded if j not in self.native])

    def __call__(self, X: Matrix) -> Matrix:
        seen = np.clip(self.ranks(X), -_LARGEST, _LARGEST)
        seen[:, self.empty] = 0.0
        return seen


def hist_nodes(model: Any, view: _View, output: int) -> Nodes:
    """The trees for one output of a fitted ``HistGradientBoosting...`` as one node table."""
    columns, categories = _inside(model, len(view.empty))
    table = NodeTable()
    for predictors in model._predictors:
        predictor = predictors[output]
        stack = [(0, table.add_root())]
        while stack:
            at, position = stack.pop()
            node = predictor.nodes[at]
            cover = float(node["count"])
            if node["is_leaf"]:
                table.leaf(position, value=float(node["value"]), cover=cover)
                continue
            feature, threshold = columns[node["feature_idx"]], float(node["num_threshold"])
            if node["is_categorical"]:
                left_codes: NDArray[np.bool_] | None = _left_codes(
                    predictor.raw_left_cat_bitsets[node["bitset_idx"]],
                    categories[feature],
                    size=view.n_codes[feature],
                    unseen=bool(node["missing_go_to_left"]),
                )
            else:
                left_codes = view.ranks.left_codes(feature, threshold)
            left, right = table.split(
                position,
                feature=feature,
                threshold=threshold,
                missing_left=bool(node["missing_go_to_left"]),
                cover=cover,
                left_codes=left_codes,
            )
            stack += [(int(node["left"]), left), (int(node["right"]), right)]
    return table.nodes()


def _inside(model: Any, n_columns: int) -> tuple[list[int], dict[int, NDArray[np.intp]]]:
    """Which of our columns each of the library's is, and the codes behind its categories.

    It puts native categories first, and numbers the codes that it met from 0 on.
    """
    if model.is_categorical_ is None:
        return list(range(n_columns)), {}
    native = np.flatnonzero(model.is_categorical_).tolist()
    others = np.flatnonzero(~model.is_categorical_).tolist()
    encoder = model._preprocessor.named_transformers_["encoder"]
    met = [codes[~np.isnan(codes)].astype(np.intp) for codes in encoder.categories_]
    return native + others, dict(zip(native, met, strict=True))


def _left_codes(
    bitset: NDArray[np.uint32], met: NDArray[np.intp], *, size: int, unseen: bool
) -> NDArray[np.bool_]:
    """The codes that go left, ``bool[size]``; those that were never met go as missing ones do."""
    bits = np.unpackbits(np.ascontiguousarray(bitset).view(np.uint8), bitorder="little")
    codes = np.full(size, unseen)
    codes[met] = bits[: len(met)] == 1
    return codes
