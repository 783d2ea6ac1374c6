"""What a reader remembers of every row: 48 bytes, so that it need not decode the rest to find it.

Ids are kept as 64-bit keys (Python's string hash, secret to each process): among a million ids the
chance that any two share a key is 3e-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from gyroscope.findings import Window
from gyroscope.prediction_log.records import Head

Integers = npt.NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(since_1970: int) -> datetime:
    """The time in UTC that :func:`microseconds` made the number of."""
    return _EPOCH + since_1970 * _MICROSECOND


def keys_of(ids: Iterable[str]) -> Integers:
    """One key for each id, shape (n,)."""
    return np.fromiter(map(hash, ids), dtype=np.int64)


class Column:
    """A growing array of integers."""

    def __init__(self) -> None:
        self._data = np.empty(1024, dtype=np.int64)
        self._length = 0

    @property
    def values(self) -> Integers:
        """All values so far, shape (n,)."""
        return self._data[: self._length]

    def extend(self, values: Integers | Sequence[int]) -> None:
        """Append values."""
        length = self._length + len(values)
        if length > len(self._data):
            data = np.empty(max(length, 2 * len(self._data)), dtype=np.int64)
            data[: self._length] = self.values
            self._data = data
        self._data[self._length : length] = values
        self._length = length


class KeyIndex:
    """Row numbers by key: sorted runs, each more than twice as long as the next.

    Adding a row costs O(log n) on average and a look-up O(log² n): the logarithmic method of
    Bentley and Saxe (1980), "Decomposable searching problems I", Journal of Algorithms 1.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Integers, Integers]] = []  # keys in order, their row numbers
        self._length = 0

    def extend(self, keys: Integers) -> None:
        """Add keys, whose rows are numbered on from those added before."""
        rows = np.arange(self._length, self._length + len(keys))
        self._length += len(keys)
        while self._runs and len(self._runs[-1][0]) <= 2 * len(keys):
            run_keys, run_rows = self._runs.pop()
            keys = np.concatenate([run_keys, keys])
            rows = np.concatenate([run_rows, rows])
        order = np.argsort(keys, kind="stable")  # quick where parts are in order
        self._runs.append((keys[order], rows[order]))

    def matches(self, keys: Integers) -> tuple[Integers, Integers]:
        """All pairs of a key asked for and a row that has it.

        Returns the positions in ``keys`` and the row numbers, both of shape (pairs,).
        """
        positions = [np.empty(0, dtype=np.int64)]
        rows = [np.empty(0, dtype=np.int64)]
        for run_keys, run_rows in self._runs:
            first = np.searchsorted(run_keys, keys, side="left")
            counts = np.searchsorted(run_keys, keys, side="right") - first
            positions.append(np.repeat(np.arange(len(keys)), counts))
            rows.append(run_rows[_ranges(first, counts)])
        return np.concatenate(positions), np.concatenate(rows)


class Batch:
    """Rows of some records on their way into the index."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.times: list[datetime] = []
        self.arrivals: list[datetime] = []
        self.records: list[int] = []  # number of each record
        self.counts: list[int] = []  # rows in each record

    def add(self, record: int, head: Head) -> None:
        """Put in all rows of a record."""
        self.ids += head.ids
        self.times += head.times
        self.arrivals += head.arrivals
        self.records.append(record)
        self.counts.append(len(head.ids))


class Rows:
    """The predictions of a log, or its labels, numbered in the order they were indexed."""

    def __init__(self) -> None:
        self._keys = KeyIndex()
        self._times = Column()  # microseconds since 1970
        self._arrivals = Column()  # microseconds since 1970
        self._records = Column()  # number of the record
        self._positions = Column()  # in the record

    def extend(self, batch: Batch) -> None:
        """Index the rows of a batch."""
        counts = np.array(batch.counts, dtype=np.int64)
        self._keys.extend(keys_of(batch.ids))
        self._times.extend([microseconds(time) for time in batch.times])
        self._arrivals.extend([microseconds(arrival) for arrival in batch.arrivals])
        self._records.extend(np.repeat(np.array(batch.records, dtype=np.int64), counts))
        self._positions.extend(_ranges(np.zeros_like(counts), counts))

    def span(self) -> tuple[datetime, datetime] | None:
        """Earliest and latest event time; None without rows."""
        times = self._times.values
        return (moment(int(times.min())), moment(int(times.max()))) if len(times) else None

    def times(self, window: Window | None) -> Integers:
        """Event times in a window in microseconds since 1970, ascending, shape (rows,)."""
        return np.sort(self._times.values[self.within(window)])

    def within(self, window: Window | None) -> Integers:
        """Numbers of the rows with event time in a window, shape (rows,)."""
        times = self._times.values
        if window is None:
            return np.arange(len(times))
        start, end = microseconds(window.start), microseconds(window.end)
        return np.flatnonzero((times >= start) & (times < end))

    def records(self, rows: Integers) -> Integers:
        """Numbers of the records that hold the rows, shape (rows,)."""
        return self._records.values[rows]

    def positions(self, rows: Integers) -> Integers:
        """Positions of the rows in their records, shape (rows,)."""
        return self._positions.values[rows]

    def has(self, keys: Integers) -> npt.NDArray[np.bool_]:
        """Whether each key has a row, shape (keys,)."""
        found = np.zeros(len(keys), dtype=np.bool_)
        found[self._keys.matches(keys)[0]] = True
        return found

    def first(self, keys: Integers, segment_order: Integers) -> Integers:
        """For each key the row that arrived first; of several, the one written first.

        ``segment_order`` has for each record the rank of its segment, shape (records,). Returns
        row numbers of shape (keys,), -1 for a key without rows.
        """
        asked, rows = self._ranked(*self._keys.matches(keys), segment_order)
        return _pick(asked[::-1], rows[::-1], len(keys))

    def last(self, keys: Integers, segment_order: Integers, as_of: datetime | None) -> Integers:
        """Like :meth:`first`, the row that arrived last, but no later than ``as_of``."""
        asked, rows = self._keys.matches(keys)
        if as_of is not None:
            in_time = self._arrivals.values[rows] <= microseconds(as_of)
            asked, rows = asked[in_time], rows[in_time]
        asked, rows = self._ranked(asked, rows, segment_order)
        return _pick(asked, rows, len(keys))

    def _ranked(
        self, asked: Integers, rows: Integers, segment_order: Integers
    ) -> tuple[Integers, Integers]:
        records = self.records(rows)
        written = (self.positions(rows), records, segment_order[records])
        order = np.lexsort((*written, self._arrivals.values[rows], asked))
        return asked[order], rows[order]


def _pick(asked: Integers, rows: Integers, n: int) -> Integers:
    """The last row given for each of n keys; -1 where there is none."""
    picked = np.full(n, -1, dtype=np.int64)
    picked[asked] = rows  # of several values for one place NumPy keeps the last
    return picked


def _ranges(starts: Integers, counts: Integers) -> Integers:
    """``starts[i], starts[i] + 1, ...`` (``counts[i]`` of them) for each i, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
