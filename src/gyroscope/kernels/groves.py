"""How the splits and leaves of trees are laid out to be explained (see ``shapley.c``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Integers = NDArray[np.intp]
Records = NDArray[np.void]

_SPLITS_AT_ONCE = 160  # of a grove of small trees: all that it needs stays in the nearest cache
_LEAST_COVER = 1e-100  # of a split that no training row came to
_PAIR = 16  # bytes of two quadrature points
_MOST_BYTES = 2**32  # of the numbers of one grove, or of one row

TEST = np.dtype([("threshold", "f8"), ("slot", "i4"), ("set", "i4")])
_CODED = np.dtype([("place", "i4"), ("column", "i4"), ("set", "i4")])
_WAY = np.dtype([("rest", "f8"), ("cold", "f8")])
_SPLIT = np.dtype([("way", _WAY, 2), ("child", "u4", 3), ("column", "u4")])
_EARLIER = [("lost", "f8", 2), ("inverse", "u4", 2), ("before", "i4"), ("side", "i4")]
_AGAIN = np.dtype([("way", _WAY, 3), *_EARLIER, ("child", "u4", 4), ("column", "u4", 2)])
_TWIG = np.dtype([("column", "u4")])
_TWIG_AGAIN = np.dtype([*_EARLIER, ("column", "u4")], align=True)
_GROVE = np.dtype(
    [
        (name, "i4")
        for name in (
            *("tests", "coded", "runs", "splits", "agains", "twigs", "twigs_again", "leaves"),
            *("n_roots", "pairs", "first_output"),
        )
    ]
)


class Paths:
    """What the way to each node says of it, worked out level by level.

    ``child`` holds the right and the left one of each split; ``feature`` is below 0 at leaves.
    """

    def __init__(
        self,
        feature: NDArray[np.int32],
        child: NDArray[np.int32],
        cover: Vector,
        roots: NDArray[np.int32],
    ) -> None:
        n = feature.size
        self.feature, self.child = feature, child.astype(np.intp)
        self.ratio = cover[child] / np.maximum(cover, _LEAST_COVER)[:, None]
        self.parent = np.full(n, -1)
        self.side = np.zeros(n, dtype=np.intp)  # of the parent, 1 for left
        self.before = np.full(n, -1)  # the last earlier split on the same feature
        self.before_side = np.zeros(n, dtype=np.intp)
        self.share = np.ones(n)  # product of the ratios of all earlier splits on the feature
        self.tree = np.full(n, -1)
        self.tree[roots] = np.arange(roots.size)
        self.reach = np.zeros(n)  # share of the training rows of the tree that came to the node
        self.reach[roots] = 1.0
        # Splits above the node; how often these go over from features that are new to ones that
        # are not, or back; distinct features among them.
        self.level, self.run, self.distinct = np.zeros((3, n), dtype=np.intp)
        at = roots.astype(np.intp)
        while (at := at[feature[at] >= 0]).size:
            self._look_back(at)
            met = self.before[at] >= 0
            self.run[at] += self.run[at] % 2 != met
            for side in (0, 1):
                below = self.child[at, side]
                self.parent[below], self.side[below] = at, side
                self.tree[below] = self.tree[at]
                self.reach[below] = self.reach[at] * self.ratio[at, side]
                self.level[below], self.run[below] = self.level[at] + 1, self.run[at]
                self.distinct[below] = self.distinct[at] + ~met
            at = self.child[at].ravel()

    def _look_back(self, at: Integers) -> None:
        """Find the last earlier split on the feature of each of these."""
        here = at
        while here.size:
            above = self.parent[here]
            here, at, above = (nodes[above >= 0] for nodes in (here, at, above))
            same = self.feature[above] == self.feature[at]
            found, split, side = at[same], above[same], self.side[here[same]]
            self.before[found], self.before_side[found] = split, side
            self.share[found] = self.share[split] * self.ratio[split, side]
            at, here = at[~same], above[~same]


class Groves:
    """The splits and leaves of all trees, in the order in which the kernels go over them.

    ``test`` holds one element a node, ``value`` is ``float64[nodes, width]``, and ``first_output``
    the class of each tree that its first value is for.

    Attributes:
        arrays: what the kernels read, by the names that it has there.
        most_places: of a grove, splits and leaves whose numbers are kept, times its pairs.
        most_splits: of a grove.

    Raises:
        OverflowError: a tree, or a row, needs more than 4 GiB to be explained.
    """

    def __init__(
        self, paths: Paths, test: Records, value: Matrix, first_output: NDArray[np.int32]
    ) -> None:
        self._paths = paths
        there = np.flatnonzero(paths.tree >= 0)
        most, n_splits = np.zeros((2, first_output.size), dtype=np.intp)
        np.maximum.at(most, paths.tree[there], paths.distinct[there])
        np.add.at(n_splits, paths.tree[there], paths.feature[there] >= 0)
        pairs = np.maximum(1, -(-most // 4))  # ceil(d / 2) points suffice
        of_tree = _groves(n_splits, first_output, pairs)
        self._grove = np.append(of_tree, -1)[paths.tree]
        self._n_groves = int(of_tree.max(initial=-1)) + 1
        self._groves = np.zeros(self._n_groves + 1, dtype=_GROVE)  # the last says where all ends
        self._groves["pairs"][of_tree] = pairs
        self._groves["first_output"][of_tree] = first_output
        self._pairs = self._groves["pairs"].astype(np.intp)[self._grove]  # of each node
        self._sort(there)
        self.arrays = {"groves": self._groves, **self._records(test, value)}

    def _sort(self, there: Integers) -> None:
        """Give each node its place in its grove."""
        paths, grove = self._paths, self._grove
        is_leaf, again = paths.feature < 0, paths.before >= 0
        is_twig = is_leaf[paths.child].all(axis=1) & (paths.level > 0)
        level = np.where(is_twig, 0, paths.level)
        run = np.where(is_twig, again, paths.run)
        order = there[~is_leaf[there]]
        order = order[np.lexsort([key[order] for key in (level, run, is_twig, grove)])]
        inner, twigs = order[~is_twig[order]], order[is_twig[order]]
        leaves = paths.child[inner].ravel()
        leaves = leaves[is_leaf[leaves]]
        self._order, self._leaves = order, leaves
        self._splits, self._agains = inner[~again[inner]], inner[again[inner]]
        self._twigs, self._twigs_again = twigs[~again[twigs]], twigs[again[twigs]]
        ends = np.flatnonzero(np.diff(grove[inner] * inner.size + run[inner]))
        ends = (
            inner[np.append(ends, inner.size - 1)] if inner.size else inner
        )  # the last of each run
        firsts = {
            "tests": order,
            "runs": ends,
            "splits": self._splits,
            "agains": self._agains,
            "twigs": self._twigs,
            "twigs_again": self._twigs_again,
            "leaves": leaves,
        }
        for name, nodes in firsts.items():
            self._groves[name] = self._firsts(nodes)
        roots = grove[order[paths.level[order] == 0]]
        self._groves["n_roots"] = np.bincount(roots, minlength=self._n_groves + 1)
        self._place = place = np.zeros(grove.size, dtype=np.intp)
        place[order] = np.arange(order.size) - self._groves["tests"][grove[order]]
        place[leaves] = np.arange(leaves.size) - self._groves["leaves"][grove[leaves]]
        n_splits, n_leaves = (np.diff(self._groves[name]) for name in ("tests", "leaves"))
        place[leaves] += n_splits[grove[leaves]]
        self._run_ends = (place[ends] + 1).astype(np.int32)
        places = (n_splits + n_leaves).astype(np.intp) * self._groves["pairs"][:-1]
        self.most_places = int(places.max(initial=0))
        self.most_splits = int(n_splits.max(initial=0))
        needed = _PAIR * max(2 * self.most_places, int(paths.feature.max(initial=0)) + 2)
        if needed >= _MOST_BYTES:
            raise OverflowError(f"to explain a row of these trees takes {needed} bytes at once")

    def _firsts(self, nodes: Integers) -> Integers:
        """Where those of each grove begin, and where all end."""
        counts = np.bincount(self._grove[nodes], minlength=self._n_groves)
        return np.concatenate([[0], np.cumsum(counts)])

    def _records(self, test: Records, value: Matrix) -> dict[str, NDArray[Any]]:
        paths = self._paths
        points, weights = _quadrature(int(self._pairs.max(initial=1)))
        again = np.concatenate([self._agains, self._twigs_again])
        inverse, inverses = self._inverses(again, points)
        right, left = (2 * _PAIR * self._pairs * self._place)[paths.child].T
        column = _PAIR * (paths.feature + 1)
        splits = np.zeros(self._splits.size, dtype=_SPLIT)
        splits["way"] = self._ways(self._splits)[:, :2]
        splits["child"] = np.column_stack([right, left, right])[self._splits]
        splits["column"] = column[self._splits]
        agains = np.zeros(self._agains.size, dtype=_AGAIN)
        agains["way"] = self._ways(self._agains)
        agains["child"] = np.column_stack([right, left, right, left])[self._agains]
        agains["column"][:, 0] = column[self._agains]
        self._look_back(agains, self._agains, inverse[: agains.size])
        twigs = np.zeros(self._twigs.size, dtype=_TWIG)
        twigs["column"] = column[self._twigs]
        twigs_again = np.zeros(self._twigs_again.size, dtype=_TWIG_AGAIN)
        twigs_again["column"] = column[self._twigs_again]
        self._look_back(twigs_again, self._twigs_again, inverse[agains.size :])
        coded = self._order[test["set"][self._order] > 0]
        self._groves["coded"] = self._firsts(coded)
        coded_splits = np.zeros(coded.size, dtype=_CODED)
        coded_splits["place"], coded_splits["set"] = self._place[coded], test["set"][coded]
        coded_splits["column"] = paths.feature[coded]
        return {
            "tests": test[self._order],
            "coded_splits": coded_splits,
            "runs": self._run_ends,
            "splits": splits,
            "agains": agains,
            "twigs": twigs,
            "twigs_again": twigs_again,
            "ends": np.ascontiguousarray(self._ends(self._twigs, value)[:, :, :2]),
            "ends_again": self._ends(self._twigs_again, value),
            "leaves": np.ascontiguousarray(value[self._leaves].T),
            "inverses": inverses,
            "points": points,
            "weights": weights,
        }

    def _ways(self, splits: Integers) -> Records:
        """What the factors of each split are made of: by side, and away from both."""
        ways, ratio = np.zeros((splits.size, 3), dtype=_WAY), self._paths.ratio[splits]
        share = ratio * self._paths.share[splits, None]
        ways["rest"] = 1.0 - np.column_stack([share, ratio[:, 0]])
        ways["cold"] = np.column_stack([share[:, ::-1], ratio[:, 1]])
        return ways

    def _ends(self, twigs: Integers, value: Matrix) -> NDArray[np.float64]:
        """Value and gain of each twig by output and way, ``float64[width, twigs, 3, 2]``."""
        ways, ratio = self._ways(twigs), self._paths.ratio[twigs]
        right, left = (value[self._paths.child[twigs, side]].T for side in (0, 1))
        ends = np.zeros((value.shape[1], twigs.size, 3, 2))
        for way, taken, other in ((0, right, left), (1, left, right)):
            ends[:, :, way, 0] = taken
            ends[:, :, way, 1] = taken * ways["rest"][:, way] - other * ways["cold"][:, way]
        ends[:, :, 2, 0] = right * ratio[:, 0] + left * ratio[:, 1]
        return ends

    def _look_back(self, records: Records, splits: Integers, inverse: Integers) -> None:
        paths = self._paths
        records["lost"][:, 0] = 1.0 - paths.share[splits]
        records["inverse"][:, 0] = inverse
        records["before"] = self._place[paths.before[splits]]
        records["side"] = paths.before_side[splits]

    def _inverses(self, splits: Integers, points: Vector) -> tuple[Integers, Matrix]:
        """The inverses of the factors that the features of these have already, ``[pairs, 2]``, and
        where those of each begin, in bytes. The first are ones, for as many points as there may be.
        """
        pairs, most = self._pairs[splits], int(self._pairs.max(initial=1))
        firsts = np.cumsum(pairs) - pairs
        own = np.arange(int(pairs.sum())) - np.repeat(firsts, pairs)
        u = points.reshape(-1, 2)[np.repeat(pairs * (pairs - 1) // 2, pairs) + own]
        share = np.repeat(self._paths.share[splits], pairs)[:, None]
        inverses = np.concatenate([np.ones((most, 2)), 1.0 / (1.0 - u * (1.0 - share))])
        return _PAIR * (most + firsts), inverses


def _groves(n_splits: Integers, first_output: NDArray[np.int32], pairs: Integers) -> Integers:
    """The grove of each tree: those for the same outputs, and with as many pairs, go together."""
    groves = np.zeros(n_splits.size, dtype=np.intp)
    grove, held, kind = -1, 0, (-1, -1)
    for tree in np.lexsort((pairs, first_output)).tolist():
        its_kind = (int(first_output[tree]), int(pairs[tree]))
        held += int(n_splits[tree])
        if its_kind != kind or held > _SPLITS_AT_ONCE:
            grove, held, kind = grove + 1, int(n_splits[tree]), its_kind
        groves[tree] = grove
    return groves


def _quadrature(most_pairs: int) -> tuple[Vector, Vector]:
    """Gauss-Legendre points and weights on [0, 1] for 1, 2, ... pairs of points, end to end."""
    rules = [np.polynomial.legendre.leggauss(2 * pairs) for pairs in range(1, most_pairs + 1)]
    points = np.concatenate([(points + 1) / 2 for points, _ in rules])
    return points, np.concatenate([weights / 2 for _, weights in rules])
