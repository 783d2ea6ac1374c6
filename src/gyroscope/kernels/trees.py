"""Margins and exact Shapley values of tree ensembles, in C."""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.library import address, library

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Integers = NDArray[np.intp]

_ROWS_AT_ONCE = 1 << 12  # handed over as one copy
_FLOAT64 = np.dtype(np.float64)
_LEAST_COVER = 1e-100  # of a split that no training row came to
_at: Any = ctypes.c_char.from_buffer  # where an array has its numbers
_CODE, _MEMORY = 1, 2  # what the kernels return if all is not well

_TEST: list[tuple[str, Any]] = [("threshold", "f8"), ("slot", "i4"), ("set", "i4")]
_NODE = np.dtype([*_TEST, ("child", "i4", 2)], align=True)
_SPLIT = np.dtype(
    [
        *_TEST,
        ("ratio", "f8", 2),
        ("share", "f8"),
        ("child", "i4", 2),
        ("before", "i4"),
        ("side", "i4"),
    ],
    align=True,
)
_ARRAYS = (
    *("nodes", "values", "roots", "first_output", "splits", "leaves", "first_split", "first_leaf"),
    *("quads", "points", "weights", "sets", "coded", "bases"),
)
_NUMBERS = (
    *("n_outputs", "width", "n_trees", "n_coded", "n_codes", "single", "most_splits"),
    "most_quads",
)


class _Trees(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        *((name, ctypes.c_int32) for name in _NUMBERS),
    ]


class CompiledTrees:
    """An ensemble laid out for the kernels.

    The arguments are the fields of the node table (``gyroscope.bundle.nodes.Nodes``): each node but
    the roots has one parent, which stands before it. ``base`` is added to each margin; ``single``
    says that the training library compared values as float32.

    A row has one margin, or one for each of several classes if ``base`` is ``float64[classes]``.
    Then ``value`` is ``float64[nodes, width]``, and ``first_output``, ``int32[trees]``, says the
    class that the first value in the leaves of a tree is for: ``width`` is the number of classes if
    these share their splits, or 1.

    Attributes:
        base: as given.
        expected: the margins expected before anything is known of a row, without ``base``: float64,
            or ``float64[classes]``.

    Raises:
        OverflowError: more than 2^31 codes in all category sets.

    Source:
        Owen (1972), Multilinear extensions of games, Management Science 18: the Shapley value is an
        integral of a polynomial, which Gauss-Legendre quadrature integrates exactly.
    """

    def __init__(
        self,
        *,
        feature: NDArray[np.int32],
        threshold: Vector,
        missing_left: NDArray[np.bool_],
        left: NDArray[np.int32],
        right: NDArray[np.int32],
        value: Vector,
        cover: Vector,
        category_set: NDArray[np.int32],
        category_sets: NDArray[np.bool_],
        roots: NDArray[np.int32],
        base: float | Vector,
        single: bool,
        first_output: NDArray[np.int32] | None = None,
    ) -> None:
        by_code = np.flatnonzero((feature >= 0) & (category_set >= 0))
        sets = _sets(category_sets, category_set[by_code], missing_left[by_code])
        self._columns = int(feature.max(initial=-1)) + 1  # that a row must have
        nodes = np.zeros(feature.size, dtype=_NODE)
        nodes["threshold"] = threshold
        nodes["slot"] = np.where(feature >= 0, 2 * feature.astype(np.int64) + missing_left, 0)
        nodes["child"] = np.column_stack([right, left])
        nodes["set"][by_code] = sets.shape[1] * np.arange(1, by_code.size + 1)
        paths = _Paths(feature, nodes["child"], cover, roots)
        self.base = base
        bases, self._outputs = np.atleast_1d(np.asarray(base, dtype=np.float64)), np.shape(base)
        first = np.zeros(roots.size, dtype=np.int32) if first_output is None else first_output
        values = np.require(value.reshape(feature.size, -1), np.float64, ("C", "A"))
        leaves = np.ascontiguousarray(values[paths.leaves].T)
        self.expected = _expected(leaves, paths, first, bases.size).reshape(self._outputs)[()]
        most_quads = int(paths.quads.max(initial=1))
        points, weights = _quadrature(most_quads)
        self._arrays = {  # kept alive: the kernels only hold their addresses
            "nodes": nodes,
            "values": values,
            "roots": np.require(roots, np.int32, ("C", "A")),
            "first_output": np.require(first, np.int32, ("C", "A")),
            "splits": paths.splits(nodes),
            "leaves": leaves,
            "first_split": paths.first_split,
            "first_leaf": paths.first_leaf,
            "quads": paths.quads,
            "points": points,
            "weights": weights,
            "sets": sets,
            "coded": np.unique(feature[by_code]),
            "bases": bases,
        }
        described = _Trees(
            **{name: array.ctypes.data for name, array in self._arrays.items()},
            n_outputs=bases.size,
            width=values.shape[1],
            n_trees=roots.size,
            n_coded=self._arrays["coded"].size,
            n_codes=sets.shape[1] - 1,
            single=single,
            most_splits=int(np.diff(paths.first_split).max(initial=0)),
            most_quads=most_quads,
        )
        compiled_library = library()
        assert compiled_library is not None  # the caller has asked
        self._margins = compiled_library.gyro_tree_margins
        self._shapley = compiled_library.gyro_tree_shapley
        self._shapley_of = compiled_library.gyro_tree_shapley_of
        self._trees = byref(described)

    def margins(self, X: Matrix) -> Vector:
        """Margins ``float64[n]``, or ``float64[n, classes]``, of rows ``float64[n, p]``; other
        threads run meanwhile.

        Raises:
            IndexError: a column is not there, or holds a code that no split knows.
        """
        return self._run(self._margins, X, (len(X), *self._outputs))

    def shapley_values(self, X: Matrix) -> Matrix:
        """Shapley values of the margins, ``float64[n, p]`` or ``float64[n, classes, p]``; raises
        like :meth:`margins`."""
        return self._run(self._shapley, X, (len(X), *self._outputs, X.shape[1]))

    def shapley_values_of(self, X: Matrix, classes: Integers) -> Matrix:
        """Those ``float64[n, p]`` of the margin of one class of each row, ``intp[n]``; raises like
        :meth:`margins`."""
        wanted = np.require(classes, np.int32, ("C", "A"))
        return self._run(self._shapley_of, X, X.shape, wanted)

    def _run(
        self,
        kernel: Any,
        X: Matrix,
        shape: tuple[int, ...],
        wanted: NDArray[np.int32] | None = None,
    ) -> NDArray[np.float64]:
        n, p = X.shape
        if p < self._columns:
            raise IndexError(f"the trees split on {self._columns} columns, got {p}")
        if n > _ROWS_AT_ONCE:
            parts = [slice(first, first + _ROWS_AT_ONCE) for first in range(0, n, _ROWS_AT_ONCE)]
            return np.concatenate(
                [
                    self._run(
                        kernel,
                        X[part],
                        (len(X[part]), *shape[1:]),
                        None if wanted is None else wanted[part],
                    )
                    for part in parts
                ]
            )
        out = np.empty(shape)
        if not out.size:
            return out
        if X.dtype is not _FLOAT64:
            X = X.astype(np.float64)
        # Of all ways to hand over rows, a copy costs the least when there is one.
        if wanted is None:
            status = kernel(self._trees, X.tobytes(), n, p, byref(_at(out)))
        else:
            status = kernel(self._trees, X.tobytes(), n, p, address(wanted), byref(_at(out)))
        if status == _CODE:
            raise IndexError("a row holds a category code that no split of the trees knows")
        if status == _MEMORY:
            raise MemoryError
        return out


def compiled_trees(**arguments: Any) -> CompiledTrees | None:
    """The trees for the kernels in C; None where there are none (see :class:`CompiledTrees`)."""
    return None if library() is None else CompiledTrees(**arguments)


def _sets(
    sets: NDArray[np.bool_], used: NDArray[np.int32], missing_left: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """uint8[splits + 1, codes + 1]: which codes, and last a missing one, go left at each split.

    The first row is empty: that of numeric splits.
    """
    table = np.zeros((used.size + 1, sets.shape[1] + 1), dtype=np.uint8)
    if table.size >= 2**31:
        raise OverflowError(f"the category sets have {table.size} codes, at most 2^31 are possible")
    table[1:, :-1] = sets[used]
    table[1:, -1] = missing_left
    return table


def _quadrature(most_quads: int) -> tuple[Vector, Vector]:
    """Gauss-Legendre points and weights on [0, 1] for 1, 2, ... quads of points, end to end."""
    rules = [np.polynomial.legendre.leggauss(4 * quads) for quads in range(1, most_quads + 1)]
    points = np.concatenate([(points + 1) / 2 for points, _ in rules])
    return points, np.concatenate([weights / 2 for _, weights in rules])


def _expected(
    leaves: Matrix, paths: _Paths, first_output: NDArray[np.int32], n_outputs: int
) -> Vector:
    """float64[outputs]: the mean of the values ``float64[width, leaves]`` by the rows there."""
    expected, first = np.zeros(n_outputs), np.repeat(first_output, np.diff(paths.first_leaf))
    for k in np.unique(first_output).tolist():
        there = first == k
        expected[k : k + len(leaves)] += leaves[:, there] @ paths.reach[paths.leaves[there]]
    return expected


class _Paths:
    """What the way to each node says of it, worked out level by level."""

    def __init__(
        self,
        feature: NDArray[np.int32],
        child: NDArray[np.int32],
        cover: Vector,
        roots: NDArray[np.int32],
    ) -> None:
        n = feature.size
        self._feature, self._child = feature, child
        self._ratio = cover[child] / np.maximum(cover, _LEAST_COVER)[:, None]
        self._parent = np.full(n, -1)
        self._side = np.zeros(n, dtype=np.int32)  # of the parent, 1 for left
        self._before = np.full(n, -1)  # the last earlier split on the same feature
        self._before_side = np.zeros(n, dtype=np.int32)
        self._share = np.ones(n)
        self._tree = np.full(n, -1)
        self._tree[roots] = np.arange(roots.size)
        self.reach = np.zeros(n)  # share of the training rows of the tree that came to the node
        self.reach[roots] = 1.0
        distinct = np.zeros(n, dtype=np.intp)  # features split on above the node
        at = roots.astype(np.intp)
        while (at := at[feature[at] >= 0]).size:
            self._look_back(at)
            met = self._before[at] >= 0
            for side in (0, 1):
                below = child[at, side]
                self._parent[below], self._side[below] = at, side
                self._tree[below] = self._tree[at]
                self.reach[below] = self.reach[at] * self._ratio[at, side]
                distinct[below] = distinct[at] + ~met
            at = child[at].astype(np.intp).ravel()
        self._order, self.leaves = self._by_tree(feature >= 0), self._by_tree(feature < 0)
        self.first_split = self._firsts(self._order, roots.size)
        self.first_leaf = self._firsts(self.leaves, roots.size)
        most = np.zeros(roots.size, dtype=np.intp)
        np.maximum.at(most, self._tree[self.leaves], distinct[self.leaves])
        self.quads = np.maximum(1, -(-most // 8)).astype(np.int32)  # of points, ceil(d / 2) suffice

    def splits(self, nodes: NDArray[np.void]) -> NDArray[np.void]:
        """The splits of all trees, with positions in their own tree."""
        tree = self._tree
        place = np.zeros(self._feature.size, dtype=np.int32)
        place[self._order] = np.arange(self._order.size) - self.first_split[tree[self._order]]
        n_splits = np.diff(self.first_split)
        place[self.leaves] = np.arange(self.leaves.size) - self.first_leaf[tree[self.leaves]]
        place[self.leaves] += n_splits[tree[self.leaves]]
        order, splits = self._order, np.zeros(self._order.size, dtype=_SPLIT)
        for name in ("threshold", "slot", "set"):
            splits[name] = nodes[name][order]
        before = self._before[order]
        splits["ratio"] = self._ratio[order]
        splits["share"] = self._share[order]
        splits["child"] = place[self._child[order]]
        splits["before"] = np.where(before >= 0, place[before], -1)
        splits["side"] = self._before_side[order]
        return splits

    def _look_back(self, at: Integers) -> None:
        """Find the last earlier split on the feature of each of these."""
        here = at
        while here.size:
            above = self._parent[here]
            here, at, above = (nodes[above >= 0] for nodes in (here, at, above))
            same = self._feature[above] == self._feature[at]
            found, split, side = at[same], above[same], self._side[here[same]]
            self._before[found], self._before_side[found] = split, side
            self._share[found] = self._share[split] * self._ratio[split, side]
            at, here = at[~same], above[~same]

    def _by_tree(self, chosen: NDArray[np.bool_]) -> Integers:
        nodes = np.flatnonzero(chosen & (self._tree >= 0))
        return nodes[np.argsort(self._tree[nodes], kind="stable")]

    def _firsts(self, order: Integers, n_trees: int) -> NDArray[np.int32]:
        counts = np.bincount(self._tree[order], minlength=n_trees)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
