"""One node table for the trees of every library."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of all trees, one array element a node; children stand after their one parent.

    A row goes left at a numeric split if ``x <= threshold``, at a category split if its code is
    in the set; a missing value goes where ``missing_left`` says. A leaf is its own child.

    Raises ValueError for a table that is none, so that a walk surely ends.
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

    def __post_init__(self) -> None:
        per_node = [getattr(self, name) for name in _PER_NODE]
        if not all(array.shape == (len(self.feature),) for array in per_node):
            raise ValueError("the arrays of the node table differ in length")
        if not all(getattr(self, name).dtype == kind for name, kind in _DTYPES.items()):
            raise ValueError("the arrays of the node table are of wrong types")
        if self.category_sets.ndim != 2 or self.roots.ndim != 1:
            raise ValueError("the arrays of the node table are of wrong shapes")
        self._check_links()
        if np.isnan(self.threshold).any():
            raise ValueError("a threshold of the node table is no number")
        if not (np.isfinite(self.value).all() and (self.cover >= 0).all()):
            raise ValueError("a leaf of the node table is not finite, or a cover below 0")

    def _check_links(self) -> None:
        n, here = len(self.feature), np.arange(len(self.feature))
        leaf = self.feature < 0
        for child in (self.left, self.right):
            if not np.where(leaf, child == here, (child > here) & (child < n)).all():
                raise ValueError("a node of the table leads back or nowhere")
        if ((self.roots < 0) | (self.roots >= n)).any():
            raise ValueError("a tree of the node table has no root")
        below = np.concatenate([self.left[~leaf], self.right[~leaf], self.roots])
        if np.bincount(below, minlength=1).max() > 1:
            raise ValueError("a node of the table has two parents")
        if (self.category_set >= len(self.category_sets)).any():
            raise ValueError("a category split of the node table has no set")


_DTYPES = {
    "feature": np.int32,
    "threshold": np.float64,
    "missing_left": np.bool_,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
    "cover": np.float64,
    "category_set": np.int32,
    "category_sets": np.bool_,
    "roots": np.int32,
}
_PER_NODE = tuple(name for name in _DTYPES if name not in ("category_sets", "roots"))


def depth(nodes: Nodes) -> int:
    """The largest number of splits from a root to a leaf."""
    splits, at = 0, nodes.roots
    while True:
        at = at[nodes.feature[at] >= 0]
        if at.size == 0:
            return splits
        at = np.concatenate([nodes.left[at], nodes.right[at]])
        splits += 1
