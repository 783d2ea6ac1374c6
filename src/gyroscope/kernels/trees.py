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
_SPLITS_AT_ONCE = 160  # of trees that are explained as one: with all they need in the nearest cache
_LEAST_COVER = 1e-100  # of a split that no training row came to
_at: Any = ctypes.c_char.from_buffer  # where an array has its numbers
_CODE, _MEMORY = 1, 2  # what the kernels return if all is not well

_TEST: list[tuple[str, Any]] = [("threshold", "f8"), ("slot", "i4"), ("set", "i4")]
_NODE = np.dtype([*_TEST, ("child", "i4", 2)], align=True)
_WAY = np.dtype([("rest", "f8"), ("cold", "f8")])
_SPLIT = np.dtype([("way", _WAY, 2), ("child", "u4", 3), ("column", "u4")])
_AGAIN = np.dtype(
    [
        ("way", _WAY, 3),
        ("lost", "f8", 2),
        ("child", "u4", 4),
        ("column", "u4", 2),
        ("inverse", "u4", 2),
        ("before", "i4"),
        ("side", "i4"),
    ]
)
_TWIG = np.dtype([("column", "u4")])
_TWIG_AGAIN = np.dtype(
    [
        ("lost", "f8", 2),
        ("column", "u4"),
        ("inverse", "u4", 2),
        ("before", "i4"),
        ("side", "i4"),
    ],
    align=True,
)
_CODED = np.dtype([("place", "i4"), ("column", "i4"), ("set", "i4")])
_GROVE = np.dtype(
    [
        (name, "i4")
        for name in (
            *("first_test", "n_splits", "first_coded", "n_coded", "first_run", "n_runs", "n_roots"),
            *("first_split", "first_again", "first_twig", "n_twigs", "first_twig_again"),
            *("n_twigs_again", "first_ends", "first_ends_again", "first_leaf", "n_leaves"),
            *("quads", "first_output"),
        )
    ]
)
_ARRAYS = (
    *("nodes", "values", "roots", "first_output", "groves", "tests", "coded_splits", "runs"),
    *("splits", "agains", "twigs", "twigs_again", "ends", "ends_again", "leaves"),
    *("inverses", "points", "weights", "sets", "coded", "bases"),
)
_NUMBERS = (
    *("n_outputs", "width", "n_trees", "n_groves", "n_leaves", "n_coded", "n_codes", "single"),
    *("n_ends", "n_ends_again", "most_places", "most_splits"),
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
        self.base = base
        bases, self._outputs = np.atleast_1d(np.asarray(base, dtype=np.float64)), np.shape(base)
        first = np.zeros(roots.size, dtype=np.int32) if first_output is None else first_output
        paths = _Paths(feature, nodes["child"], cover, roots, first)
        values = np.require(value.reshape(feature.size, -1), np.float64, ("C", "A"))
        self.expected = paths.expected(values, bases.size).reshape(self._outputs)[()]
        g = paths.groves
        points, weights = _quadrature(int(g["quads"].max(initial=1)))
        laid = paths.laid_out(nodes, values, points)
        self._arrays = {  # kept alive: the kernels only hold their addresses
            "nodes": nodes,
            "values": values,
            "roots": np.require(roots, np.int32, ("C", "A")),
            "first_output": np.require(first, np.int32, ("C", "A")),
            **laid,
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
            n_groves=g.size - 1,
            n_leaves=laid["leaves"].shape[1],
            n_coded=self._arrays["coded"].size,
            n_codes=sets.shape[1] - 1,
            single=single,
            n_ends=2 * laid["twigs"].size,
            n_ends_again=3 * laid["twigs_again"].size,
            most_places=int(((g["n_splits"] + g["n_leaves"]) * g["quads"]).max(initial=0)),
            most_splits=int(g["n_splits"].max(initial=0)),
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


class _Paths:
    """What the way to each node says of it, worked out level by level, and where it is put.

    Trees of the same class and number of quadrature points are explained as one, a grove. Its
    splits come first: those with a split below them level by level, so that neighbours seldom
    wait for one another, then those with leaves only. Its leaves follow, in the order of the
    splits above them. All are in the order of the groves.
    """

    def __init__(
        self,
        feature: NDArray[np.int32],
        child: NDArray[np.int32],
        cover: Vector,
        roots: NDArray[np.int32],
        first_output: NDArray[np.int32],
    ) -> None:
        n = feature.size
        self._feature, self._child = feature, child
        self._ratio = cover[child] / np.maximum(cover, _LEAST_COVER)[:, None]
        self._parent = np.full(n, -1)
        self._side = np.zeros(n, dtype=np.int32)  # of the parent, 1 for left
        self._before = np.full(n, -1)  # the last earlier split on the same feature
        self._before_side = np.zeros(n, dtype=np.int32)
        self._share = np.ones(n)
        tree = np.full(n, -1)
        tree[roots] = np.arange(roots.size)
        self.reach = np.zeros(n)  # share of the training rows of the tree that came to the node
        self.reach[roots] = 1.0
        level, phase = np.zeros((2, n), dtype=np.intp)
        distinct = np.zeros(n, dtype=np.intp)  # features split on above the node
        at = roots.astype(np.intp)
        while (at := at[feature[at] >= 0]).size:
            self._look_back(at)
            met = self._before[at] >= 0
            phase[at] += phase[at] % 2 != met
            for side in (0, 1):
                below = child[at, side]
                self._parent[below], self._side[below] = at, side
                tree[below] = tree[at]
                self.reach[below] = self.reach[at] * self._ratio[at, side]
                level[below], phase[below] = level[at] + 1, phase[at]
                distinct[below] = distinct[at] + ~met
            at = child[at].astype(np.intp).ravel()
        there = np.flatnonzero(tree >= 0)
        most, n_splits = np.zeros((2, roots.size), dtype=np.intp)
        np.maximum.at(most, tree[there], distinct[there])
        np.add.at(n_splits, tree[there], feature[there] >= 0)
        quads = np.maximum(1, -(-most // 8))  # of points, ceil(d / 2) suffice
        of_tree = _groves(n_splits, first_output, quads)
        self._grove = np.where(tree >= 0, of_tree[tree], -1)
        self._first_output = first_output
        self._tree = tree
        self.groves = np.zeros(int(of_tree.max(initial=-1)) + 2, dtype=_GROVE)
        self.groves["quads"][of_tree] = quads
        self.groves["first_output"][of_tree] = first_output
        self._put(there, level, phase)

    def expected(self, values: Matrix, n_outputs: int) -> Vector:
        expected = np.zeros(n_outputs)
        leaves = np.flatnonzero((self._tree >= 0) & (self._feature < 0))
        first = self._first_output[self._tree[leaves]]
        for k in np.unique(first).tolist():
            there = leaves[first == k]
            expected[k : k + values.shape[1]] += self.reach[there] @ values[there]
        return expected

    def laid_out(
        self, nodes: NDArray[np.void], values: Matrix, points: Vector
    ) -> dict[str, NDArray[Any]]:
        split, again, twig, twig_again = self._kinds
        unit = 64 * self.groves["quads"].astype(np.int64)[self._grove]
        position = self._place * unit
        column = 32 * (self._feature + 1)
        splits = np.zeros(split.size, dtype=_SPLIT)
        ways = self._ways(self._order)
        right, left = position[self._child].T
        which = np.zeros(self._feature.size, dtype=np.intp)
        which[self._order] = np.arange(self._order.size)
        splits["way"] = ways[which[split], :2]
        splits["child"] = np.column_stack([right, left, right])[split]
        splits["column"] = column[split]
        inverse, inverses = self._inverses(np.concatenate([again, twig_again]), points)
        agains = np.zeros(again.size, dtype=_AGAIN)
        agains["way"] = ways[which[again]]
        agains["child"] = np.column_stack([right, left, right, left])[again]
        agains["column"][:, 0] = column[again]
        agains["inverse"][:, 0] = inverse[: again.size]
        twigs = np.zeros(twig.size, dtype=_TWIG)
        twigs["column"] = column[twig]
        twigs_again = np.zeros(twig_again.size, dtype=_TWIG_AGAIN)
        twigs_again["column"] = column[twig_again]
        twigs_again["inverse"][:, 0] = inverse[again.size :]
        for records, of in ((agains, again), (twigs_again, twig_again)):
            records["lost"][:, 0] = 1.0 - self._share[of]
            records["before"] = self._place[self._before[of]]
            records["side"] = self._before_side[of]
        coded = self._order[nodes["set"][self._order] > 0]
        coded_splits = np.zeros(coded.size, dtype=_CODED)
        coded_splits["place"] = self._place[coded]
        coded_splits["column"] = self._feature[coded]
        coded_splits["set"] = nodes["set"][coded]
        n_groves = self.groves.size
        self.groves["n_coded"], self.groves["first_coded"] = _counts(self._grove[coded], n_groves)
        tests = np.zeros(self._order.size, dtype=np.dtype(_TEST))
        for name in ("threshold", "slot", "set"):
            tests[name] = nodes[name][self._order]
        return {
            "groves": self.groves,
            "tests": tests,
            "coded_splits": coded_splits,
            "runs": self._runs,
            "splits": splits,
            "agains": agains,
            "twigs": twigs,
            "twigs_again": twigs_again,
            "ends": self._ends(twig, ways[which[twig]], values)[:, :, :2].copy(),
            "ends_again": self._ends(twig_again, ways[which[twig_again]], values),
            "leaves": np.ascontiguousarray(values[self._leaves].T),
            "inverses": inverses,
        }

    def _ends(self, twigs, ways, values):
        right, left = (values[self._child[twigs, side]].T for side in (0, 1))
        ends = np.zeros((values.shape[1], twigs.size, 3, 2))
        ends[:, :, 0, 0], ends[:, :, 1, 0] = right, left
        ends[:, :, 0, 1] = right * ways["rest"][:, 0] - left * ways["cold"][:, 0]
        ends[:, :, 1, 1] = left * ways["rest"][:, 1] - right * ways["cold"][:, 1]
        ratio = self._ratio[twigs]
        ends[:, :, 2, 0] = right * ratio[:, 0] + left * ratio[:, 1]
        return ends

    def _ways(self, splits: Integers) -> NDArray[np.void]:
        ways = np.zeros((splits.size, 3), dtype=_WAY)
        ratio = self._ratio[splits]
        share = ratio * self._share[splits, None]
        ways["rest"][:, :2], ways["cold"][:, :2] = 1.0 - share, share[:, ::-1]
        ways["rest"][:, 2], ways["cold"][:, 2] = 1.0 - ratio[:, 0], ratio[:, 1]
        return ways

    def _inverses(self, splits: Integers, points: Vector) -> tuple[Integers, Matrix]:
        """Where the inverse of the factor of each is, in bytes, and all, ``[quads, 4]``; the
        first are ones."""
        quads = self.groves["quads"].astype(np.intp)[self._grove[splits]]
        most = int(self.groves["quads"].max(initial=1))
        ends = np.cumsum(quads)
        which = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - quads, quads)
        points = points.reshape(-1, 4)[np.repeat(quads * (quads - 1) // 2, quads) + which]
        share = np.repeat(self._share[splits], quads)[:, None]
        inverses = np.concatenate([np.ones((most, 4)), 1.0 / (1.0 - points * (1.0 - share))])
        return 32 * (most + ends - quads), inverses

    def _put(self, there: Integers, level: Integers, phase: Integers) -> None:
        """Give each node its place in its grove."""
        grove, is_leaf, again = self._grove, self._feature < 0, self._before >= 0
        last = is_leaf[self._child].all(axis=1) & (level > 0)
        level, phase = np.where(last, 0, level), np.where(last, again, phase)
        nodes = there[~is_leaf[there]]
        keys = (level[nodes], phase[nodes], last[nodes], grove[nodes])
        self._order = order = nodes[np.lexsort(keys)]
        self._place = place = np.zeros(grove.size, dtype=np.int64)
        groves, n_groves = self.groves, self.groves.size
        groves["n_splits"], groves["first_test"] = _counts(grove[order], n_groves)
        place[order] = np.arange(order.size) - groves["first_test"][grove[order]]
        inner, twigs = order[~last[order]], order[last[order]]
        self._kinds = inner[~again[inner]], inner[again[inner]], twigs[~again[twigs]], twigs[again[twigs]]
        n_of_kind = [_counts(grove[kind], n_groves) for kind in self._kinds]
        groves["first_split"], groves["first_again"] = n_of_kind[0][1], n_of_kind[1][1]
        groves["n_twigs"], groves["first_twig"] = n_of_kind[2]
        groves["n_twigs_again"], groves["first_twig_again"] = n_of_kind[3]
        groves["first_ends"] = 2 * groves["first_twig"]
        groves["first_ends_again"] = 3 * groves["first_twig_again"]
        groves["n_roots"] = _counts(grove[order[self._parent[order] < 0]], n_groves)[0]
        run = np.column_stack([grove[inner], phase[inner]])
        ends = np.flatnonzero((run[1:] != run[:-1]).any(axis=1))
        ends = inner[np.append(ends, inner.size - 1)] if inner.size else inner
        self._runs = (place[ends] + 1).astype(np.int32)
        groves["n_runs"], groves["first_run"] = _counts(grove[ends], n_groves)
        leaves = self._child[inner].ravel()
        leaves = self._leaves = leaves[is_leaf[leaves]]
        groves["n_leaves"], groves["first_leaf"] = _counts(grove[leaves], n_groves)
        place[leaves] = np.arange(leaves.size) - groves["first_leaf"][grove[leaves]]
        place[leaves] += groves["n_splits"][grove[leaves]]

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


def _groves(n_splits: Integers, first_output: NDArray[np.int32], quads: Integers) -> Integers:
    """The grove of each tree."""
    groves = np.zeros(n_splits.size, dtype=np.intp)
    grove, held, kind = -1, 0, (-1, -1)
    for tree in np.lexsort((quads, first_output)).tolist():
        its_kind = (int(first_output[tree]), int(quads[tree]))
        held += int(n_splits[tree])
        if its_kind != kind or held > _SPLITS_AT_ONCE:
            grove, held, kind = grove + 1, int(n_splits[tree]), its_kind
        groves[tree] = grove
    return groves


def _counts(grove: Integers, n_groves: int) -> tuple[Integers, Integers]:
    """How many there are of each grove, in the order of the groves, and where each begins."""
    counts = np.bincount(grove, minlength=n_groves)
    return counts, np.cumsum(counts) - counts
