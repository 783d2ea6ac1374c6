"""Tree ensembles of every library in one node table, scored and explained by the kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
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

    @cached_property
    def _trees(self) -> CompiledTrees | NumpyTrees:
        fields = msgspec.structs.asdict(self._nodes)
        compiled = compiled_trees(**fields, base=self._base, single=self._single)
        return compiled or NumpyTrees(self._nodes, base=self._base, single=self._single)

    def margins(self, X: Matrix) -> Vector:
        return self._trees.margins(X)

    def contributions(self, X: Matrix) -> Contributions:
        values = self._trees.shapley_values(X)
        return Contributions(values=values, base=self._base + float(self._trees.expected))

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

    @classmethod
    def joint(cls, parts: Sequence[Self]) -> CompiledTrees | None:
        """The trees of several scorers for the kernels, which then give the margins of all.

        Splits that all have in common are walked once. None without a compiler.
        """
        nodes, single = [part._nodes for part in parts], parts[0]._single
        if any(part._single != single for part in parts):
            return None
        trees = [len(each.roots) for each in nodes]
        if all(_same_splits(nodes[0], other) for other in nodes[1:]):
            fields = msgspec.structs.asdict(nodes[0])
            fields["value"] = np.column_stack([each.value for each in nodes])
            first = np.zeros(trees[0], dtype=np.int32)
        else:
            fields = _end_to_end(nodes)
            first = np.repeat(np.arange(len(nodes), dtype=np.int32), trees)
        bases = np.array([part._base for part in parts])
        return compiled_trees(**fields, base=bases, single=single, first_output=first)


def _same_splits(one: Nodes, other: Nodes) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in Nodes.__struct_fields__
        if name != "value"
    )


def _end_to_end(tables: Sequence[Nodes]) -> dict[str, NDArray[np.generic]]:
    """The fields of one table with the trees of all."""
    fields = {}
    starts = np.cumsum([0, *(len(table.feature) for table in tables)]).tolist()
    sets = np.cumsum([0, *(len(table.category_sets) for table in tables)]).tolist()
    width = max(table.category_sets.shape[1] for table in tables)
    for name in Nodes.__struct_fields__:
        held = [getattr(table, name) for table in tables]
        if name in ("left", "right", "roots"):
            held = [array + start for array, start in zip(held, starts, strict=False)]
        elif name == "category_set":
            held = [np.where(a < 0, -1, a + first) for a, first in zip(held, sets, strict=False)]
        elif name == "category_sets":
            held = [np.pad(array, ((0, 0), (0, width - array.shape[1]))) for array in held]
        fields[name] = np.concatenate(held).astype(held[0].dtype)
    return fields
