"""Margins and exact Shapley values of tree ensembles, in C."""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.groves import TEST, Groves, Integers, Matrix, Paths, Vector
from gyroscope.kernels.library import address, library
from gyroscope.kernels.strips import Strips

_ROWS_AT_ONCE = 1 << 12  # handed over as one copy
_FLOAT64 = np.dtype(np.float64)
_at: Any = ctypes.c_char.from_buffer  # where an array has its numbers
_CODE, _MEMORY = 1, 2  # what the kernels return if all is not well

_NODE = np.dtype([("test", TEST), ("child", "i4", 2)], align=True)
_ARRAYS = (
    *("nodes", "values", "roots", "first_output", "groves", "tests", "coded_splits", "runs"),
    *("splits", "agains", "twigs", "twigs_again", "ends", "ends_again", "leaves"),
    *("inverses", "points", "weights", "sets", "coded", "bases", "strips"),
)
_NUMBERS = (
    *("n_outputs", "width", "n_trees", "n_groves", "n_coded", "n_codes", "single"),
    *("most_places", "most_splits"),
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
        OverflowError: more than 2^31 codes in all category sets, or trees, or rows, that are too
            large to be explained.

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
        test = nodes["test"]
        test["threshold"] = threshold
        test["slot"] = np.where(feature >= 0, 2 * feature.astype(np.int64) + missing_left, 0)
        test["set"][by_code] = sets.shape[1] * np.arange(1, by_code.size + 1)
        nodes["child"] = np.column_stack([right, left])
        self.base = base
        bases, self._outputs = np.atleast_1d(np.asarray(base, dtype=np.float64)), np.shape(base)
        first = np.zeros(roots.size, dtype=np.int32) if first_output is None else first_output
        first = np.require(first, np.int32, ("C", "A"))
        values = np.require(value.reshape(feature.size, -1), np.float64, ("C", "A"))
        paths = Paths(feature, nodes["child"], cover, roots)
        groves = Groves(paths, test, values, first)
        self.expected = _expected(values, paths, first, bases.size).reshape(self._outputs)[()]
        self._arrays = {  # kept alive: the kernels only hold their addresses
            "nodes": nodes,
            "values": values,
            "roots": np.require(roots, np.int32, ("C", "A")),
            "first_output": first,
            **groves.arrays,
            "sets": sets,
            "coded": np.unique(feature[by_code]),
            "bases": bases,
        }
        self._strips = Strips(paths, test, values, by_code, sets[1:])
        described = _Trees(
            **{name: array.ctypes.data for name, array in self._arrays.items()},
            strips=self._strips.address,
            n_outputs=bases.size,
            width=values.shape[1],
            n_trees=roots.size,
            n_groves=groves.arrays["groves"].size - 1,
            n_coded=self._arrays["coded"].size,
            n_codes=sets.shape[1] - 1,
            single=single,
            most_places=groves.most_places,
            most_splits=groves.most_splits,
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


def _expected(
    values: Matrix, paths: Paths, first_output: NDArray[np.int32], n_outputs: int
) -> Vector:
    """float64[outputs]: the mean of the values ``float64[nodes, width]`` by the rows there."""
    expected = np.zeros(n_outputs)
    leaves = np.flatnonzero((paths.tree >= 0) & (paths.feature < 0))
    first = first_output[paths.tree[leaves]]
    for k in np.unique(first).tolist():
        there = leaves[first == k]
        expected[k : k + values.shape[1]] += paths.reach[there] @ values[there]
    return expected
