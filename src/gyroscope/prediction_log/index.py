"""What a reader remembers of every row: 48 bytes, so that it need not decode the rest to find it.

Ids are kept as 64-bit keys (Python's string hash, secret to each process): among a million ids the
chance that any two share a key is 3e-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Window
from gyroscope.prediction_log.moments import DAY_US, microseconds, moment
from gyroscope.prediction_log.records import Head

Integers = npt.NDArray[np.int64]


def keys_of(ids: Iterable[str]) -> Integers:
    """One key for each id, shape (n,)."""
    return np.fromiter(map(hash, ids), dtype=np.int64)


class Column:
    """A growing array of integers."""

    def __init__(self, dtype: npt.DTypeLike = np.int64) -> None:
        self._data = np.empty(1024, dtype=dtype)
        self._length = 0

    @property
    def values(self) -> Integers:
        """All values so far, shape (n,)."""
        return self._data[: self._length]

    def extend(self, values: Integers | Sequence[int]) -> None:
        """Append values."""
        length = self._length + len(values)
        if length > len(self._data):
            data = np.empty(max(length, 2 * len(self._data)), dtype=self._data.dtype)
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


class RowArrays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the index keeps of some rows, arrays of shape (rows,)."""

    keys: Integers  # of ids
    times: Integers  # microseconds since 1970
    arrivals: Integers  # microseconds since 1970
    records: Integers  # number of the record that holds the row now
    positions: Integers  # in that record
    origins: Integers  # number of the segment that the row was first written to
    places: Integers  # in that segment, among the rows of its kind


class Batch:
    """Rows of one segment on their way into the index."""

    def __init__(self, origin: int, first_place: int) -> None:
        self._origin = origin
        self._place = first_place
        self._ids: list[str] = []
        self._times: list[datetime] = []
        self._arrivals: list[datetime] = []
        self._records: list[int] = []
        self._positions: list[int] = []
        self._places: list[int] = []

    def add(self, record: int, head: Head, kept: Sequence[int] | None = None) -> None:
        """Put in the rows of a record, or only those at some positions."""
        n = len(head.ids)
        if kept is None:
            kept = range(n)
            self._ids += head.ids
            self._times += head.times
            self._arrivals += head.arrivals
        else:
            self._ids += [head.ids[i] for i in kept]
            self._times += [head.times[i] for i in kept]
            self._arrivals += [head.arrivals[i] for i in kept]
        self._records += [record] * len(kept)
        self._positions += kept
        self._places += [self._place + i for i in kept]
        self._place += n

    @property
    def next_place(self) -> int:
        """The place of the next row of the segment."""
        return self._place

    def arrays(self) -> RowArrays:
        """All rows put in."""
        return RowArrays(
            keys=keys_of(self._ids),
            times=_integers([microseconds(time) for time in self._times]),
            arrivals=_integers([microseconds(arrival) for arrival in self._arrivals]),
            records=_integers(self._records),
            positions=_integers(self._positions),
            origins=np.full(len(self._ids), self._origin, dtype=np.int64),
            places=_integers(self._places),
        )


class Rows:
    """The predictions of a log, or its labels, numbered in the order they were indexed."""

    def __init__(self) -> None:
        self._keys = KeyIndex()
        self._times = Column()
        self._arrivals = Column()
        self._records = Column(np.int32)
        self._positions = Column(np.int32)
        self._origins = Column(np.int32)
        self._places = Column(np.int32)

    def extend(self, rows: RowArrays) -> None:
        """Index more rows."""
        if not len(rows.keys):
            return
        self._keys.extend(rows.keys)
        self._times.extend(rows.times)
        self._arrivals.extend(rows.arrivals)
        self._records.extend(rows.records)
        self._positions.extend(rows.positions)
        self._origins.extend(rows.origins)
        self._places.extend(rows.places)

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

    def days(self, *, by_arrival: bool) -> Integers:
        """The UTC day of each row, by event time or by arrival, in days since 1970."""
        return (self._arrivals if by_arrival else self._times).values // DAY_US

    def origins(self, rows: Integers) -> Integers:
        """Numbers of the segments that the rows were first written to, shape (rows,)."""
        return self._origins.values[rows]

    def places(self, rows: Integers) -> Integers:
        """Places of the rows in those segments, shape (rows,)."""
        return self._places.values[rows]

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

    def first(self, keys: Integers, origin_ranks: Integers) -> Integers:
        """For each key the row that arrived first; of several, the one written first.

        ``origin_ranks`` has the rank of each segment, shape (origins,). Returns row numbers of
        shape (keys,), -1 for a key without rows.
        """
        asked, rows = self._ranked(*self._keys.matches(keys), origin_ranks)
        return _pick(asked[::-1], rows[::-1], len(keys))

    def last(self, keys: Integers, origin_ranks: Integers, as_of: datetime | None) -> Integers:
        """Like :meth:`first`, the row that arrived last, but no later than ``as_of``."""
        asked, rows = self._keys.matches(keys)
        if as_of is not None:
            in_time = self._arrivals.values[rows] <= microseconds(as_of)
            asked, rows = asked[in_time], rows[in_time]
        asked, rows = self._ranked(asked, rows, origin_ranks)
        return _pick(asked, rows, len(keys))

    def all(self, keys: Integers, origin_ranks: Integers) -> Integers:
        """All rows of some keys, by key, then by arrival, then as written, shape (found,)."""
        return self._ranked(*self._keys.matches(keys), origin_ranks)[1]

    def written_order(self, rows: Integers, origin_ranks: Integers) -> Integers:
        """Rows in the order in which they were written, segment by segment, shape (rows,)."""
        return rows[np.lexsort((self.places(rows), origin_ranks[self.origins(rows)]))]

    def _ranked(
        self, asked: Integers, rows: Integers, origin_ranks: Integers
    ) -> tuple[Integers, Integers]:
        written = (self.places(rows), origin_ranks[self.origins(rows)])
        order = np.lexsort((*written, self._arrivals.values[rows], asked))
        return asked[order], rows[order]


def _integers(values: Sequence[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _pick(asked: Integers, rows: Integers, n: int) -> Integers:
    """The last row given for each of n keys; -1 where there is none."""
    picked = np.full(n, -1, dtype=np.int64)
    picked[asked] = rows  # of several values for one place NumPy keeps the last
    return picked


def _ranges(starts: Integers, counts: Integers) -> Integers:
    """``starts[i], starts[i] + 1, ...`` (``counts[i]`` of them) for each i, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
