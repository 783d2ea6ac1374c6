"""Exact Shapley values of tree ensembles by quadrature over leaf paths."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.nodes import Nodes, depth

Vector = NDArray[np.float64]

_LEAST_SHARE = 1e-100  # of rows on a side that no training row took: keeps factors above 0
_ANY_CODE = 0  # row of ``code_sets`` that lets every code pass: the step is on a number

# What a path to a leaf demands of one feature, over all its splits on that feature.
_STEP = np.dtype(
    [
        ("feature", np.intp),  # -1 for no step
        ("low", np.float64),  # the path wants low < x <= high
        ("high", np.float64),
        ("missing", np.bool_),  # a missing value follows the path
        ("code_set", np.intp),  # row of ``code_sets``: category codes that follow the path
        ("share", np.float64),  # product of the cover ratios of the splits
    ]
)
Steps = np.ndarray  # of _STEP
_NO_STEP = np.array((-1, -np.inf, np.inf, True, _ANY_CODE, 1.0), dtype=_STEP)


class LeafGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Leaves whose paths have steps on the same number d of features."""

    steps: slice  # of the arrays of :class:`LeafPaths`, as [d, leaves]
    d: int
    points: NDArray[np.float64]  # float64[1, q, 1]: Gauss-Legendre nodes on [0, 1]
    weights: NDArray[np.float64]  # float64[q, 1]


class LeafPaths(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble as its leaves, each with the conditions on the way to it.

    A leaf with value v, and for each distinct feature j on its path o_j in {0, 1} (does the row
    follow the path on j) and share p_j, adds to the path-dependent game of Lundberg et al. (2020,
    Nature Machine Intelligence 2, algorithm 1) the multilinear extension
    ``v prod_j (p_j + t (o_j - p_j))``. By Owen (1972) the Shapley value of j is
    ``v (o_j - p_j)`` times the integral over t in [0, 1] of the product over the other features:
    a polynomial of degree d - 1, which Gauss-Legendre with ceil(d / 2) nodes integrates exactly.
    """

    groups: tuple[LeafGroup, ...]
    feature: NDArray[np.intp]  # one element a step, like all that follow
    low: Vector
    high: Vector
    missing: NDArray[np.bool_]
    share: Vector
    value: Vector  # of the leaf
    by_code: NDArray[np.intp]  # steps on categories
    code_set: NDArray[np.intp]  # of those steps
    code_sets: NDArray[np.bool_]  # bool[sets, codes]
    expected: float  # mean of the ensemble under the game, without the constant

    def shapley_values(self, row: Vector) -> Vector:
        """Shapley values ``float64[p]`` of one encoded row ``float64[p]``."""
        surplus = self._follows(row) - self.share
        integrals = np.empty(len(surplus))
        for group in self.groups:
            shape = (group.d, 1, -1)
            factors = group.points * surplus[group.steps].reshape(shape)
            factors += self.share[group.steps].reshape(shape)  # > 0: shares are and t < 1
            products = np.multiply.reduce(factors, axis=0) * group.weights
            np.divide(products, factors, out=factors)  # without the factor of each feature
            integrals[group.steps] = factors.sum(axis=1).ravel()
        terms: Vector = self.value * surplus * integrals
        return np.bincount(self.feature, weights=terms, minlength=len(row)).astype(np.float64)

    def _follows(self, row: Vector) -> NDArray[np.bool_]:
        """Whether the row does what each step demands, ``bool[steps]``."""
        x = row.take(self.feature)
        follows: NDArray[np.bool_] = (x > self.low) & (x <= self.high)
        absent = np.isnan(x)
        codes = np.where(absent, 0.0, x).take(self.by_code).astype(np.intp)
        follows[self.by_code] = self.code_sets[self.code_set, codes]
        return np.where(absent, self.missing, follows)


def leaf_paths(nodes: Nodes) -> LeafPaths:
    """Collect the paths of all leaves of an ensemble, going down all trees level by level."""
    at = nodes.roots.astype(np.intp)
    steps = np.full((len(at), depth(nodes) + 1), _NO_STEP, dtype=_STEP)
    code_sets = np.ones((1, nodes.category_sets.shape[1]), dtype=bool)
    leaves, paths = [], []
    while at.size:
        is_leaf = nodes.feature[at] < 0
        leaves.append(at[is_leaf])
        paths.append(steps[is_leaf])
        at, steps, code_sets = _descend(nodes, at[~is_leaf], steps[~is_leaf], code_sets)
    return _collected(nodes.value[np.concatenate(leaves)], np.concatenate(paths), code_sets)


def _descend(
    nodes: Nodes, at: NDArray[np.intp], steps: Steps, code_sets: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Steps, NDArray[np.bool_]]:
    """The children of splits with the paths to them, and the code sets with those added."""
    here = np.arange(len(at))
    same = steps["feature"] == nodes.feature[at, None]
    slot = np.where(same.any(axis=1), same.argmax(axis=1), (steps["feature"] >= 0).sum(axis=1))
    children, narrowed = [], []
    for left in (True, False):
        child = (nodes.left if left else nodes.right)[at].astype(np.intp)
        step = steps[here, slot]
        step["feature"] = nodes.feature[at]
        step["missing"] &= nodes.missing_left[at] == left
        cover = np.maximum(nodes.cover[at], _LEAST_SHARE)
        step["share"] = np.maximum(step["share"] * nodes.cover[child] / cover, _LEAST_SHARE)
        by_code = np.flatnonzero(nodes.category_set[at] >= 0)
        by_number = np.flatnonzero(nodes.category_set[at] < 0)
        side, narrower = ("high", np.minimum) if left else ("low", np.maximum)
        step[side][by_number] = narrower(step[side], nodes.threshold[at])[by_number]
        codes = nodes.category_sets[nodes.category_set[at[by_code]]] == left
        codes &= code_sets[step["code_set"][by_code]]
        step["code_set"][by_code] = len(code_sets) + np.arange(len(by_code))
        code_sets = np.concatenate([code_sets, codes])
        path = steps.copy()
        path[here, slot] = step
        children.append(child)
        narrowed.append(path)
    return np.concatenate(children), np.concatenate(narrowed), code_sets


def _collected(value: Vector, paths: Steps, code_sets: NDArray[np.bool_]) -> LeafPaths:
    """Paths ``[leaves, longest]`` in groups of the same number of steps."""
    length = (paths["feature"] >= 0).sum(axis=1)
    groups, steps, values = [], [np.empty(0, dtype=_STEP)], [np.empty(0)]
    start = 0
    for d in np.unique(length[length > 0]).tolist():
        mine = length == d
        steps.append(paths[mine, :d].T.ravel())
        values.append(np.tile(value[mine], d))
        points, weights = np.polynomial.legendre.leggauss((d + 1) // 2)
        groups.append(
            LeafGroup(
                steps=slice(start, start + len(steps[-1])),
                d=d,
                points=(points[None, :, None] + 1) / 2,
                weights=weights[:, None] / 2,
            )
        )
        start += len(steps[-1])
    flat = np.concatenate(steps)
    by_code = np.flatnonzero(flat["code_set"] != _ANY_CODE)
    return LeafPaths(
        groups=tuple(groups),
        feature=flat["feature"].copy(),
        low=flat["low"].copy(),
        high=flat["high"].copy(),
        missing=flat["missing"].copy(),
        share=flat["share"].copy(),
        value=np.concatenate(values),
        by_code=by_code,
        code_set=flat["code_set"][by_code],
        code_sets=code_sets,
        expected=float(value @ paths["share"].prod(axis=1)),
    )
