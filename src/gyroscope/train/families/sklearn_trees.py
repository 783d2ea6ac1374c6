"""The trees of scikit-learn's ``tree`` module as one node table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gyroscope.bundle.base import Vector
from gyroscope.bundle.nodes import Nodes
from gyroscope.train.families.base import CategoryRanks
from gyroscope.train.families.node_table import NodeTable


def share_nodes(trees: Sequence[Any], ranks: CategoryRanks) -> Nodes:
    """Fitted classification trees; their leaves add up to the mean share of class 1."""
    table = NodeTable()
    for estimator in trees:
        tree = estimator.tree_
        shares = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
        add_tree(table, tree, shares / len(trees), ranks)
    return table.nodes()


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
