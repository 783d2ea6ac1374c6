"""Exact Shapley values of tree ensembles by quadrature over leaf paths."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.nodes import Nodes

Vector = NDArray[np.float64]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a path to a leaf demands of one feature, over all its splits on that feature."""

    feature: int
    low: float = -np.inf  # the path wants low < x <= high
    high: float = np.inf
    missing: bool = True  # a missing value follows the path
    codes: NDArray[np.bool_] | None = None  # category codes that follow the path
    share: float = 1.0  # product of the cover ratios of the splits


class LeafGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Leaves whose paths split on the same number d of distinct features."""

    value: Vector  # float64[leaves]
    feature: NDArray[np.intp]  # intp[leaves, d]
    low: NDArray[np.float64]  # float64[leaves, d]
    high: NDArray[np.float64]
    missing: NDArray[np.bool_]
    share: NDArray[np.float64]
    code_set: NDArray[np.intp]  # row of ``code_sets`` for a category; -1 for a number
    code_sets: NDArray[np.bool_]
    points: Vector  # Gauss-Legendre nodes on [0, 1]
    weights: Vector


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
    expected: float  # mean of the ensemble under the game, without the constant

    def shapley_values(self, row: Vector) -> Vector:
        """Shapley values ``float64[p]`` of one encoded row ``float64[p]``."""
        values = np.zeros(len(row))
        for group in self.groups:
            follows = _follows(group, row)
            t = group.points[:, None, None]
            factors = group.share * (1 - t) + t * follows  # > 0: shares are and t lies inside
            products = factors.prod(axis=2, keepdims=True) / factors
            integrals = np.einsum("q,qld->ld", group.weights, products)
            terms = group.value[:, None] * (follows - group.share) * integrals
            values += np.bincount(group.feature.ravel(), terms.ravel(), minlength=len(row))
        return values


def _follows(group: LeafGroup, row: Vector) -> NDArray[np.float64]:
    """1.0 where the row satisfies the step of the path, else 0.0; ``float64[leaves, d]``."""
    x = row[group.feature]
    follows = (x > group.low) & (x <= group.high)
    absent = np.isnan(x)
    by_code = (group.code_set >= 0) & ~absent
    follows[by_code] = group.code_sets[group.code_set[by_code], x[by_code].astype(np.intp)]
    follows[absent] = group.missing[absent]
    return follows.astype(np.float64)


def leaf_paths(nodes: Nodes) -> LeafPaths:
    """Collect the paths of all leaves of an ensemble."""
    by_length: dict[int, list[tuple[float, list[Step]]]] = {}
    expected = 0.0
    for root in nodes.roots.tolist():
        stack: list[tuple[int, dict[int, Step]]] = [(root, {})]
        while stack:
            node, steps = stack.pop()
            if nodes.feature[node] < 0:
                value = float(nodes.value[node])
                expected += value * float(np.prod([step.share for step in steps.values()]))
                by_length.setdefault(len(steps), []).append((value, list(steps.values())))
                continue
            for child, left in ((nodes.left[node], True), (nodes.right[node], False)):
                step = _narrowed(nodes, node, int(child), left, steps)
                if step.share > 0:
                    stack.append((int(child), {**steps, step.feature: step}))
    groups = tuple(_group(d, leaves) for d, leaves in sorted(by_length.items()) if d > 0)
    return LeafPaths(groups=groups, expected=expected)


def _narrowed(nodes: Nodes, node: int, child: int, left: bool, steps: dict[int, Step]) -> Step:
    """The step for the feature of a split, after going to one of its children."""
    feature = int(nodes.feature[node])
    step = steps.get(feature, Step(feature=feature))
    changes: dict[str, Any] = {
        "share": step.share * float(nodes.cover[child] / nodes.cover[node]),
        "missing": step.missing and bool(nodes.missing_left[node]) == left,
    }
    if nodes.category_set[node] >= 0:
        codes = nodes.category_sets[nodes.category_set[node]]
        codes = codes if left else ~codes
        changes["codes"] = codes if step.codes is None else step.codes & codes
    elif left:
        changes["high"] = min(step.high, float(nodes.threshold[node]))
    else:
        changes["low"] = max(step.low, float(nodes.threshold[node]))
    return msgspec.structs.replace(step, **changes)


def _group(d: int, leaves: list[tuple[float, list[Step]]]) -> LeafGroup:
    steps = [step for _, path in leaves for step in path]
    sets = [step.codes for step in steps if step.codes is not None]
    has_set = np.array([step.codes is not None for step in steps])
    code_set = np.where(has_set, np.cumsum(has_set) - 1, -1)
    points, weights = np.polynomial.legendre.leggauss((d + 1) // 2)
    shape = (len(leaves), d)
    return LeafGroup(
        value=np.array([value for value, _ in leaves]),
        feature=np.array([step.feature for step in steps], dtype=np.intp).reshape(shape),
        low=np.array([step.low for step in steps]).reshape(shape),
        high=np.array([step.high for step in steps]).reshape(shape),
        missing=np.array([step.missing for step in steps]).reshape(shape),
        share=np.array([step.share for step in steps]).reshape(shape),
        code_set=code_set.astype(np.intp).reshape(shape),
        code_sets=np.array(sets) if sets else np.zeros((0, 1), dtype=bool),
        points=(points + 1) / 2,
        weights=weights / 2,
    )
