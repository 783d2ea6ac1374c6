"""Collects the nodes of a library's trees into one table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Scorer
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.base import one_scorer


class NodeTable:
    """Grows node by node; positions are those in the finished table."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, bool, float, float, int]] = []
        self._children: list[tuple[int, int]] = []
        self._sets: list[NDArray[np.bool_]] = []
        self._roots: list[int] = []

    def add_root(self) -> int:
        """Begin a tree; returns the position of its root, to be filled by split or leaf."""
        position = self._reserve()
        self._roots.append(position)
        return position

    def split(
        self,
        position: int,
        *,
        feature: int,
        threshold: float,
        missing_left: bool,
        cover: float,
        left_codes: NDArray[np.bool_] | None = None,
    ) -> tuple[int, int]:
        """Make ``position`` a split; returns the positions of its children."""
        category_set = -1
        if left_codes is not None:
            category_set = len(self._sets)
            self._sets.append(left_codes)
        self._rows[position] = (feature, threshold, missing_left, 0.0, cover, category_set)
        self._children[position] = (self._reserve(), self._reserve())
        return self._children[position]

    def leaf(self, position: int, *, value: float, cover: float) -> None:
        """Make ``position`` a leaf."""
        self._rows[position] = (-1, 0.0, False, value, cover, -1)
        self._children[position] = (position, position)

    def nodes(self) -> Nodes:
        """The finished table."""
        feature, threshold, missing_left, value, cover, category_set = zip(*self._rows, strict=True)
        left, right = zip(*self._children, strict=True)
        width = max((len(codes) for codes in self._sets), default=1)
        sets = np.zeros((len(self._sets), width), dtype=bool)
        for row, codes in zip(sets, self._sets, strict=True):
            row[: len(codes)] = codes
        return Nodes(
            feature=np.array(feature, dtype=np.int32),
            threshold=np.array(threshold, dtype=np.float64),
            missing_left=np.array(missing_left, dtype=bool),
            left=np.array(left, dtype=np.int32),
            right=np.array(right, dtype=np.int32),
            value=np.array(value, dtype=np.float64),
            cover=np.array(cover, dtype=np.float64),
            category_set=np.array(category_set, dtype=np.int32),
            category_sets=sets,
            roots=np.array(self._roots, dtype=np.int32),
        )

    def _reserve(self) -> int:
        self._rows.append((-1, 0.0, False, 0.0, 0.0, -1))
        self._children.append((0, 0))
        return len(self._rows) - 1


def scorer_of_outputs(
    nodes: Nodes, leaves: Matrix, bases: Sequence[float]
) -> Scorer | ClassScorers:
    """The scorer of trees with a value for each output in every leaf, compared as float32.

    ``nodes`` have the numbers of their leaves for values: rows of ``leaves``, ``float64[leaves,
    outputs]``.
    """
    found = np.where((nodes.feature < 0)[:, None], leaves[nodes.value.astype(np.intp)], 0.0)
    return one_scorer(
        [
            TreeScorer(
                msgspec.structs.replace(nodes, value=values.copy()), base=float(base), single=True
            )
            for values, base in zip(found.T, bases, strict=True)
        ]
    )
