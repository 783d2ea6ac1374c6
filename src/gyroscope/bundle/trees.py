"""Tree ensembles of every library in one node table, scored and explained by the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Contributions, Matrix, Vector
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.numpy_trees import NumpyTrees
from gyroscope.kernels.trees import CompiledTrees, compiled_trees


class TreeScorer:
    """The sum of the leaves that a row reaches, plus a constant.

    ``single`` says that the training library compared values as float32.
    """

    kind = "trees"
    explains = True

    def __init__(self, nodes: Nodes, *, base: float, single: bool) -> None:
        self._nodes = nodes
        self._base = base
        self._single = single
        fields = msgspec.structs.asdict(nodes)
        self._trees: CompiledTrees | NumpyTrees = compiled_trees(
            **fields, base=base, single=single
        ) or NumpyTrees(nodes, base=base, single=single)

    def margins(self, X: Matrix) -> Vector:
        return self._trees.margins(X)

    def contributions(self, X: Matrix) -> Contributions:
        values = self._trees.shapley_values(X)
        return Contributions(values=values, base=self._base + self._trees.expected)

    def arrays(self) -> Arrays:
        arrays: Arrays = dict(msgspec.structs.asdict(self._nodes))
        arrays["base"] = np.array([self._base])
        arrays["single"] = np.array([self._single])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        fields = {name: arrays[name] for name in Nodes.__struct_fields__}
        nodes = Nodes(**fields)  # type: ignore[arg-type]  # it checks its types itself
        return cls(
            nodes,
            base=float(np.asarray(arrays["base"], dtype=np.float64)[0]),
            single=bool(arrays["single"][0]),
        )
