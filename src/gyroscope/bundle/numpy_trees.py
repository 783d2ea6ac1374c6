"""Margins and exact Shapley values of tree ensembles in NumPy, where there is no compiler."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix, Vector, ordered_sum
from gyroscope.bundle.nodes import Nodes, depth
from gyroscope.bundle.shapley import LeafPaths, leaf_paths

_CHUNK = 1 << 16  # row-tree pairs walked at once: their arrays stay in the cache
_LARGEST_SINGLE = float(np.finfo(np.float32).max)  # where training cut larger numbers off
_FEW = 1 << 15  # row-split pairs up to which deciding every split at once beats walking


class NumpyTrees:
    """Does what ``gyroscope.kernels.trees.CompiledTrees`` does; margins have the same bits."""

    def __init__(self, nodes: Nodes, *, base: float, single: bool) -> None:
        self._nodes = nodes
        self._base = base
        self._single = single
        self._depth = depth(nodes)
        self._decisions = _Decisions(nodes)
        self._numeric_only = not (nodes.category_set >= 0).any()
        # A leaf reads column 0 and is its own child on both sides: no branch in the walk.
        self._column = np.maximum(nodes.feature, 0).astype(np.intp)
        self._children = np.column_stack([nodes.right, nodes.left]).astype(np.intp).ravel()

    def margins(self, X: Matrix) -> Vector:
        """See :meth:`CompiledTrees.margins`."""
        X = self._seen(X)
        if len(X) * self._decisions.n_splits <= _FEW:
            leaves = np.empty((len(X), len(self._nodes.roots)), dtype=np.intp)
            for i, row in enumerate(X):
                leaves[i] = self._leaves(row)
            return self._summed(leaves)
        step = max(1, _CHUNK // max(1, len(self._nodes.roots)))
        return np.concatenate(
            [self._summed(self._walk(X[i : i + step])) for i in range(0, len(X), step)]
        )

    def _summed(self, leaves: NDArray[np.intp]) -> Vector:
        terms = np.empty((leaves.shape[0], leaves.shape[1] + 1))
        terms[:, 0] = self._base
        terms[:, 1:] = self._nodes.value[leaves]
        return ordered_sum(terms)

    def _leaves(self, row: Vector) -> NDArray[np.int32]:
        """The leaf that one row reaches in each tree, ``int32[trees]``."""
        following = self._decisions.following(row)
        at = self._nodes.roots
        for _ in range(self._depth):
            at = following[at]
        return at

    def _walk(self, X: Matrix) -> NDArray[np.intp]:
        """The leaf that each row reaches in each tree, ``intp[n, trees]``."""
        nodes = self._nodes
        flat, start = X.ravel(), np.arange(X.shape[0])[:, None] * X.shape[1]
        some_missing = bool(np.isnan(flat).any())
        at = np.broadcast_to(nodes.roots.astype(np.intp), (X.shape[0], len(nodes.roots)))
        for _ in range(self._depth):
            x = flat.take(start + self._column.take(at))
            left = x <= nodes.threshold.take(at)
            if some_missing:
                left |= np.isnan(x) & nodes.missing_left.take(at)
            if not self._numeric_only:
                self._categories(x, at, left)
            at = self._children.take(2 * at + left)
        return at

    def _categories(self, x: Matrix, at: NDArray[np.intp], left: NDArray[np.bool_]) -> None:
        """Set ``left`` where the split is on a category that is not missing."""
        sets = self._nodes.category_set.take(at)
        by_set = np.nonzero((sets >= 0) & ~np.isnan(x))
        left[by_set] = self._nodes.category_sets[sets[by_set], x[by_set].astype(np.intp)]

    def shapley_values(self, X: Matrix) -> Matrix:
        """See :meth:`CompiledTrees.shapley_values`."""
        values = np.empty(X.shape)
        for i, row in enumerate(self._seen(X)):
            values[i] = self._paths.shapley_values(row)
        return values

    @property
    def expected(self) -> float:
        """See :class:`CompiledTrees`."""
        return self._paths.expected

    @cached_property
    def _paths(self) -> LeafPaths:
        return leaf_paths(self._nodes)

    def _seen(self, X: Matrix) -> Matrix:
        """The rows as the training library saw them."""
        if not self._single:
            return X
        held = np.minimum(np.maximum(X, -_LARGEST_SINGLE), _LARGEST_SINGLE)
        return held.astype(np.float32).astype(np.float64)


class _Decisions:
    """All splits of an ensemble, to be decided for one row at once.

    Walking one row down costs a dozen small array operations a level; deciding also the splits
    that the row never meets costs as many in all.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._splits = np.flatnonzero(nodes.feature >= 0)
        self._feature = nodes.feature[self._splits].astype(np.intp)
        self._threshold = nodes.threshold[self._splits]
        self._missing_left = nodes.missing_left[self._splits]
        self._left, self._right = nodes.left[self._splits], nodes.right[self._splits]
        self._itself = np.arange(len(nodes.feature), dtype=np.int32)
        sets = nodes.category_set[self._splits]
        self._by_set = np.flatnonzero(sets >= 0)
        self._set, self._sets = sets[self._by_set], nodes.category_sets

    @property
    def n_splits(self) -> int:
        """How many splits there are."""
        return len(self._splits)

    def following(self, row: Vector) -> NDArray[np.int32]:
        """The node that the row goes to from each node, ``int32[nodes]``."""
        x = row.take(self._feature)
        left = x <= self._threshold
        absent = np.isnan(row)
        if self._by_set.size:
            codes = np.where(absent, 0.0, row).take(self._feature[self._by_set]).astype(np.intp)
            left[self._by_set] = self._sets[self._set, codes]
        if absent.any():
            left = np.where(absent.take(self._feature), self._missing_left, left)
        following = self._itself.copy()
        following[self._splits] = np.where(left, self._left, self._right)
        return following
