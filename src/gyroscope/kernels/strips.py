"""How trees are laid out for many rows side by side (see ``strips.h``)."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.groves import Integers, Matrix, Paths, Records, Vector

_MOST_LEAVES = 128  # of a tree, as in strips.h: rows walk through larger ones sooner
_MOST_RANKS = 256  # of the values of a column, or its codes: a byte
_MOST_LINES = 2**16
_CODES_OF_FORK = 50  # listed, on average: to compare with more takes longer than to walk
_FEWEST, _FORKS_OF_ROW = 8, 3  # rows that are worth it; with larger trees one more for so many

_SCALE = np.dtype([("column", "i4"), ("first", "i4"), ("steps", "i4")])
_CHOICE = np.dtype([("column", "i4"), ("first", "i4"), ("end", "i4")])
_FORK = np.dtype([("line", "u2"), ("most", "u2"), ("below", "u2"), ("above", "u2")])
_TREE = np.dtype([("forks", "i4"), ("leaves", "i4")])

_ARRAYS = ("cuts", "scales", "codes", "choices", "forks", "trees", "leaves")


class _Strips(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        *((name, ctypes.c_int32) for name in ("n_scales", "n_lines", "few")),
    ]


class Strips:
    """The trees of ``paths``, with ``value``, ``float64[nodes, width]``, in their leaves.

    ``test`` holds one element a node. ``by_code`` are the splits on codes, and ``sets``,
    ``[splits, codes]``, says which codes each of them sends left; the last is a missing value.

    Attributes:
        address: where the kernels find them while this object lives; None if a tree or a column is
            too large for bytes, or if walks are faster.
    """

    def __init__(
        self, paths: Paths, test: Records, value: Matrix, by_code: Integers, sets: NDArray[np.uint8]
    ) -> None:
        self.address: int | None = None
        n_trees, there = int(paths.tree.max(initial=-1)) + 1, paths.tree >= 0
        leaves = np.flatnonzero(there & (paths.feature < 0))
        most_leaves = np.bincount(paths.tree[leaves], minlength=1).max()
        if most_leaves > _MOST_LEAVES or sets.shape[1] > _MOST_RANKS:
            return
        leaves = leaves[np.argsort(paths.tree[leaves], kind="stable")]
        forks = np.flatnonzero(there & (paths.feature >= 0))[::-1]
        forks = forks[np.argsort(paths.tree[forks], kind="stable")]  # children before parents
        trees = np.zeros(n_trees + 1, dtype=_TREE)  # the last says where all ends
        for name, nodes in (("forks", forks), ("leaves", leaves)):
            trees[name][1:] = np.bincount(paths.tree[nodes], minlength=n_trees).cumsum()
        is_choice = np.isin(forks, by_code)
        choices, numeric = forks[is_choice], forks[~is_choice]
        scales, cuts, line, most = _scales(paths.feature[numeric], test[numeric])
        asked, codes, of_choice, listed_left = _choices(
            np.unique(paths.feature[by_code]).searchsorted(paths.feature[choices]),
            sets[np.searchsorted(by_code, choices)].astype(np.bool_),
        )
        n_lines = 2 * scales.size + asked.size
        if (
            most.max(initial=0) >= _MOST_RANKS - 1
            or n_lines > _MOST_LINES
            or codes.size > _CODES_OF_FORK * forks.size
        ):
            return
        result = np.zeros(paths.tree.size, dtype=np.intp)
        result[leaves] = np.arange(leaves.size) - trees["leaves"][paths.tree[leaves]]
        result[forks] = np.arange(forks.size) - trees["forks"][paths.tree[forks]] + _MOST_LEAVES
        above, below = result[paths.child[forks]].T
        turned = np.flatnonzero(is_choice)[listed_left]
        above[turned], below[turned] = below[turned], above[turned]
        records = np.zeros(forks.size, dtype=_FORK)
        records["line"][~is_choice], records["most"][~is_choice] = line, most
        records["line"][is_choice] = 2 * scales.size + of_choice
        records["above"], records["below"] = above, below
        self._arrays = {  # kept alive: the kernels only hold their addresses
            "cuts": cuts,
            "scales": scales,
            "codes": codes,
            "choices": asked,
            "forks": records,
            "trees": trees,
            "leaves": value[leaves],
        }
        self._described = _Strips(
            **{name: array.ctypes.data for name, array in self._arrays.items()},
            n_scales=scales.size,
            n_lines=n_lines,
            few=max(_FEWEST, forks.size // (_FORKS_OF_ROW * max(n_trees, 1))),
        )
        self.address = ctypes.addressof(self._described)


def _scales(
    columns: NDArray[np.int32], test: Records
) -> tuple[Records, Vector, Integers, Integers]:
    """The thresholds of each column with numeric splits, end to end in ascending order.

    And of each split the line that it reads, and the rank of its threshold.
    """
    used = np.unique(columns)
    scales = np.zeros(used.size, dtype=_SCALE)
    line, most = np.zeros((2, columns.size), dtype=np.intp)
    cuts: list[float] = []
    for k, column in enumerate(used.tolist()):
        here = columns == column
        ascending, most[here] = np.unique(test["threshold"][here], return_inverse=True)
        line[here] = 2 * k + test["slot"][here] % 2
        steps = ascending.size.bit_length()
        scales[k] = column, len(cuts), steps
        cuts += [*ascending.tolist(), *[np.inf] * (2**steps - 1 - ascending.size)]
    return scales, np.array(cuts), line, most


def _choices(
    columns: Integers, left: NDArray[np.bool_]
) -> tuple[Records, NDArray[np.uint8], Integers, NDArray[np.bool_]]:
    """What splits on codes ask, each choice once, and the codes listed, end to end.

    ``left``, ``bool[splits, codes]``, are the codes that each split sends left. And of each split
    its choice, and whether the codes listed are those: else they are the others, which are fewer.
    """
    listed_left = 2 * left.sum(axis=1) <= left.shape[1]
    rows = np.column_stack([columns, left == listed_left[:, None]])
    asked, of_split = np.unique(rows, axis=0, return_inverse=True)
    which, codes = np.nonzero(asked[:, 1:])
    ends = np.bincount(which, minlength=len(asked)).cumsum()
    choices = np.zeros(len(asked), dtype=_CHOICE)
    choices["column"], choices["end"] = asked[:, 0], ends
    choices["first"][1:] = ends[:-1]
    return choices, codes.astype(np.uint8), of_split.ravel(), listed_left
