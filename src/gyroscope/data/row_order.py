"""Does the order of the rows of a table say anything, or were they sorted by a column?

Only rows in order of time show how a reference varies. Files rarely say so; but rows that were
sorted or grouped by a column give themselves away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gyroscope.data.cells import FloatArray
from gyroscope.kernels import Runs, runs_of

CHANCE = 1e-9  # of rows in random order to look sorted by a column, below which they are sorted


class RunScan:
    """Reads a column piece by piece, each float64[n] with NaN for missing, and keeps its runs."""

    def __init__(self) -> None:
        self.longest = 0  # rows with one value, one after the other; a missing value ends a run
        self.runs = 0  # of values that are not missing, missing ones left out
        self.n = 0  # values that are not missing
        self._last, self._length = math.nan, 0  # of the run that reaches the end
        self._present: float | None = None  # the last value that is not missing
        self._run = 0  # how many there are of it in a row
        self._log_orders = 0.0  # of the orders within runs: sum of log length!
        self._up = self._down = self._even = True
        self._step: float | None = None

    def read(self, values: FloatArray) -> None:
        """Read the next piece."""
        if values.size == 0:
            return
        runs = runs_of(values)
        first = runs.first + (self._length if values[0] == self._last else 0)
        self.longest = max(self.longest, first, runs.longest)
        self._length = first if runs.n == 1 else runs.last
        self._last = float(values[-1])
        absent = np.isnan(values)
        if absent.any():
            values = values[~absent]
            runs = runs_of(values) if values.size else runs
        if values.size:
            self._read_present(values, runs)

    def _read_present(self, values: FloatArray, runs: Runs) -> None:
        goes_on = self._present == values[0]
        before = [] if self._present is None else [self._present]
        # Nearly every column is found out by its first few values.
        for some in (64, values.size):
            if not (self._up or self._down or self._even):
                break
            joined = np.append(before, values[:some])
            if self._up or self._down:
                self._up &= bool((joined[1:] >= joined[:-1]).all())
                self._down &= bool((joined[1:] <= joined[:-1]).all())
            if self._even and joined.size > 1 and np.isfinite(joined).all():
                with np.errstate(over="ignore"):  # an infinite step is as good as any
                    self._step = joined[1] - joined[0] if self._step is None else self._step
                    self._even = bool((np.diff(joined) == self._step).all())
        first = runs.first + (self._run if goes_on else 0)
        if not goes_on:
            self._log_orders += math.lgamma(self._run + 1)
        if runs.n > 1:
            self._log_orders += math.lgamma(first + 1) + runs.log_orders
        self.runs += runs.n - int(goes_on)
        self._run = first if runs.n == 1 else runs.last
        self._present = float(values[-1])
        self.n += values.size

    @property
    def ascends(self) -> bool:
        """Whether the values never fall, and are not all the same."""
        return self._up and self.runs > 1

    @property
    def sorts(self) -> bool:
        """Whether only sorting by these numbers explains their order.

        Numbers of rows, which rise by the same step each, are in order without sorting.
        """
        if self.runs < 2 or not (self._up or self._down) or (self._even and self._step):
            return False
        return self._unlikely(0.0)

    def groups(self, distinct: int) -> bool:
        """Whether only sorting explains that each of ``distinct`` categories stands together."""
        return 1 < self.runs == distinct and self._unlikely(math.lgamma(distinct + 1))

    def _unlikely(self, log_ways: float) -> bool:
        orders = self._log_orders + math.lgamma(self._run + 1)
        return log_ways + orders - math.lgamma(self.n + 1) < math.log(CHANCE)


def says_something(times: Sequence[RunScan], sorted_by_others: bool) -> bool:
    """Whether rows are in an order that may be that of time.

    They are if a column of times ascends, whatever else does; they are not if another column is
    sorted; else they may be as they came.
    """
    return any(scan.ascends for scan in times) or not sorted_by_others
