"""One node table for the trees of every library."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of all trees, one array element a node.

    A row goes left at a numeric split if ``x <= threshold``, at a category split if its code is
    in the set; a missing value goes where ``missing_left`` says. A leaf is its own child.
    """

    feature: NDArray[np.int32]  # column of the encoded row; -1 at a leaf
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]  # added to the margin at a leaf; 0 elsewhere
    cover: NDArray[np.float64]  # training rows (or weight) that reached the node
    category_set: NDArray[np.int32]  # row of ``category_sets``; -1 at a numeric split
    category_sets: NDArray[np.bool_]  # bool[sets, codes]: goes left
    roots: NDArray[np.int32]  # int32[trees]


def depth(nodes: Nodes) -> int:
    """The largest number of splits from a root to a leaf."""
    splits, at = 0, nodes.roots
    while True:
        at = at[nodes.feature[at] >= 0]
        if at.size == 0:
            return splits
        at = np.concatenate([nodes.left[at], nodes.right[at]])
        splits += 1
