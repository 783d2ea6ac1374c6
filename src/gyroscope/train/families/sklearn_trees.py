"""The trees of scikit-learn's ``tree`` module as one node table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gyroscope.bundle.base import Scorer, Vector
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.train.families.base import CategoryRanks, Sample
from gyroscope.train.families.node_table import NodeTable, scorer_of_outputs


def mean_scorer(
    trees: Sequence[Any], ranks: CategoryRanks, sample: Sample
) -> Scorer | ClassScorers:
    """Fitted trees; their leaves add up to the mean share of class 1, to those of all classes, or
    to the mean of the values."""
    table, leaves, n = NodeTable(), [], 0
    for estimator in trees:
        tree = estimator.tree_
        values = tree.value[:, 0, :]
        if sample.task != "regression":
            values = values / values.sum(axis=1)[:, None]
        leaves.append((values[:, 1:] if sample.task == "binary" else values) / len(trees))
        add_tree(table, tree, np.arange(n, n + len(values), dtype=np.float64), ranks)
        n += len(values)
    found = np.concatenate(leaves)
    return scorer_of_outputs(table.nodes(), found, [0.0] * found.shape[1])


def add_tree(
    table: NodeTable,
    tree: Any,
    values: Vector,
    ranks: CategoryRanks,
    *,
    missing_lowest: bool = False,
) -> None:
    """Add one ``tree_`` with a value for each of its nodes, ``float64[nodes]``.

    ``missing_lowest`` says that missing values were replaced by a number below all thresholds.
    """
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
            missing_left=missing_lowest or bool(tree.missing_go_to_left[node]),
            cover=cover,
            left_codes=ranks.left_codes(feature, threshold),
        )
        stack += [(int(tree.children_left[node]), left), (int(tree.children_right[node]), right)]
