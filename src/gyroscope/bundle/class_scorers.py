"""The scorer of a model with several classes: one scorer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Matrix, Scorer, Vector
from gyroscope.bundle.trees import TreeScorer
from gyroscope.kernels.trees import CompiledTrees

Integers = NDArray[np.intp]


class ClassContributions(msgspec.Struct, frozen=True, kw_only=True):
    """Exact Shapley values of rows: base and the sum over features are what is explained.

    Of all classes at once, or of one class of each row.
    """

    values: Matrix  # float64[n, p, classes], or float64[n, p]
    base: Vector  # float64[classes], or float64[n]: before anything is known of a row


class ClassScorers:
    """Scorers of one kind, which give the margin of one class each.

    Arrays that all of them have in common, such as the splits of a forest, are stored once. Trees
    of all classes are handed to the kernels together.
    """

    explains = True

    def __init__(self, parts: Sequence[Scorer]) -> None:
        self._parts = tuple(parts)
        self.kind = self._parts[0].kind

    def margins(self, X: Matrix) -> Matrix:
        """Raw margins, ``float64[n, classes]``, of encoded rows ``float64[n, p]``."""
        if self._trees is not None:
            return self._trees.margins(X)
        return np.stack([part.margins(X) for part in self._parts], axis=1)

    def contributions(self, X: Matrix) -> ClassContributions:
        """Contributions to the margins of all classes."""
        if self._trees is not None:
            values = np.moveaxis(self._trees.shapley_values(X), 1, 2)
            return ClassContributions(values=values, base=self._trees.base + self._trees.expected)
        found = [part.contributions(X) for part in self._parts]
        return ClassContributions(
            values=np.stack([one.values for one in found], axis=2),
            base=np.array([one.base for one in found]),
        )

    def contributions_to(self, X: Matrix, classes: Integers) -> ClassContributions:
        """Contributions to the margin of one class of each row, ``intp[n]``."""
        if self._trees is not None:
            values = self._trees.shapley_values_of(X, classes)
            base = self._trees.base + self._trees.expected
            return ClassContributions(values=values, base=base[classes])
        values, base = np.empty(X.shape), np.empty(len(X))
        for k in np.unique(classes).tolist():
            rows = classes == k
            found = self._parts[k].contributions(X[rows])
            values[rows], base[rows] = found.values, found.base
        return ClassContributions(values=values, base=base)

    @cached_property
    def _trees(self) -> CompiledTrees | None:
        """The trees of all classes, if that is what all have and there are kernels."""
        trees = [part for part in self._parts if isinstance(part, TreeScorer)]
        return TreeScorer.joint(trees) if len(trees) == len(self._parts) else None

    def arrays(self) -> Arrays:
        """All that is needed to build the scorer again."""
        each = [part.arrays() for part in self._parts]
        common = {
            name: array
            for name, array in each[0].items()
            if all(_same(array, other.get(name)) for other in each[1:])
        }
        return common | {
            f"{k}.{name}": array
            for k, arrays in enumerate(each)
            for name, array in arrays.items()
            if name not in common
        }

    @classmethod
    def from_arrays(
        cls, part: type[Scorer], arrays: Mapping[str, NDArray[np.generic]], n_classes: int
    ) -> Self:
        """Build the scorer from what :meth:`arrays` gave; ``part`` is the type of its scorers."""
        common = {name: array for name, array in arrays.items() if "." not in name}
        of_class: list[Arrays] = [dict(common) for _ in range(n_classes)]
        for name, array in arrays.items():
            k, dot, own = name.partition(".")
            if dot:
                of_class[int(k)][own] = array
        return cls([part.from_arrays(each) for each in of_class])


def _same(one: NDArray[np.generic], other: NDArray[np.generic] | None) -> bool:
    return (
        other is not None
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == other.tobytes()
    )
