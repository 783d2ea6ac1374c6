"""How columns move together: sums over rows of products of normal scores, which can be added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import Cells
from gyroscope.stats.dependence import CrossProducts, cross_products
from gyroscope.stats.rank_scores import normal_scores

JOINT_ROWS = 20_000  # of a part, evenly taken: a correlation is known within 0.007
JOINT_COLUMNS = 200  # the first ones of a table; the work grows with their square


def joint_of_cells(cells: Sequence[Cells], counts: Sequence[NDArray[np.int64]]) -> CrossProducts:
    """The cross-products of rows whose cells are known, of the first ``JOINT_COLUMNS`` columns.

    A value scores the normal quantile of its cell's mid-rank in the reference, a missing one 0.

    Args:
        cells: of each column the cells uint16[n], after the last cell for a missing value.
        counts: of each column the counts int64[cells] of the reference.
    """
    pairs = list(zip(cells, counts, strict=True))[:JOINT_COLUMNS]
    scores = np.empty((len(pairs), cells[0].size if cells else 0))
    for of_column, (column, held) in zip(scores, pairs, strict=True):
        of_cells = np.append(normal_scores(held.astype(np.float64)), 0.0)
        of_cells.take(column, out=of_column, mode="clip")  # the other modes take a copy first
    return cross_products(scores.T)
