"""Does the order of the rows of a table say anything, or were they sorted by a column?

Only rows in order of time show how a reference varies. Files rarely say so; but rows that were
sorted or grouped by a column give themselves away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels import Runs, Stretch, read_runs

CHANCE = 1e-9  # of rows in random order to look sorted by a column, below which they are sorted


class RunScan:
    """Reads a column piece by piece and keeps its runs."""

    def __init__(self, groups: int = 0) -> None:
        """``groups`` is how many categories may stand each together; none among numbers."""
        self._groups, self._runs = groups, Runs()

    def read(self, numbers: Stretch) -> None:
        """Read the next numbers."""
        read_runs(numbers, self._runs, groups=self._groups)

    def read_cells(self, cells: NDArray[np.int32]) -> None:
        """Read the next categories; those that are not listed are many, and no run."""
        cells_there = Stretch(values=cells)
        read_runs(cells_there, self._runs, most=self._groups - 1, groups=self._groups)

    @property
    def longest(self) -> int:
        """Most rows with one value, one after the other; a missing value ends a run."""
        return int(self._runs.longest)

    @property
    def ascends(self) -> bool:
        """Whether the values never fall, and are not all the same."""
        return bool(self._runs.up) and self._runs.runs > 1

    @property
    def sorts(self) -> bool:
        """Whether only sorting by these numbers explains their order.

        Numbers of rows, which rise by the same step each, are in order without sorting.
        """
        kept = self._runs
        if kept.runs < 2 or not (kept.up or kept.down) or (kept.even and kept.step):
            return False
        return self._unlikely(0.0)

    def groups(self, distinct: int) -> bool:
        """Whether only sorting explains that each of ``distinct`` categories stands together."""
        return 1 < self._runs.runs == distinct and self._unlikely(math.lgamma(distinct + 1))

    def _unlikely(self, log_ways: float) -> bool:
        kept = self._runs
        orders = kept.log_orders + math.lgamma(kept.run + 1)
        return bool(log_ways + orders - math.lgamma(kept.n + 1) < math.log(CHANCE))


def says_something(times: Sequence[RunScan], sorted_by_others: bool) -> bool:
    """Whether rows are in an order that may be that of time.

    They are if a column of times ascends, whatever else does; they are not if another column is
    sorted; else they may be as they came.
    """
    return any(scan.ascends for scan in times) or not sorted_by_others
