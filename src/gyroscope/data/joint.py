"""How columns move together: sums of products of normal scores, which can be added up."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import Cells
from gyroscope.stats.normal_scores import normal_scores

JOINT_ROWS = 20_000  # of a part, evenly taken: a correlation is known within 0.007
JOINT_COLUMNS = 200  # the first ones of a table; the work grows with their square

_BLOCK = 100  # rows


class JointSummary(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Sums of products of the normal scores of all pairs of columns, over ``n`` rows.

    Of more than ``JOINT_COLUMNS`` columns the first ones only.
    """

    n: int
    products: NDArray[np.float64]  # float64[p, p], symmetric

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JointSummary):
            return NotImplemented
        return self.n == other.n and np.array_equal(self.products, other.products)

    def __hash__(self) -> int:
        return hash((self.n, self.products.tobytes()))

    def merged(self, other: JointSummary) -> JointSummary:
        """The summary of the rows of both."""
        return JointSummary(n=self.n + other.n, products=self.products + other.products)


def joint_of_cells(cells: list[Cells], counts: list[NDArray[np.int64]]) -> JointSummary:
    """The summary of rows whose cells are known.

    Args:
        cells: of each column the cells uint16[n], after the last cell for a missing value.
        counts: of each column the counts of the reference.
    """
    pairs = list(zip(cells, counts, strict=True))[:JOINT_COLUMNS]
    n = cells[0].size if cells else 0
    scores = np.empty((n, len(pairs)))
    for position, (column, held) in enumerate(pairs):
        scores[:, position] = normal_scores(held)[column]
    products = np.zeros((len(pairs), len(pairs)))
    # In small blocks: for one large product some libraries start threads that wait for one another
    # longer than it takes.
    for first in range(0, n, _BLOCK):
        block = scores[first : first + _BLOCK]
        products += block.T @ block
    return JointSummary(n=n, products=products)
