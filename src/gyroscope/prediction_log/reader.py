"""Reading a window: find its rows in the catalog, decode their records, join the labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Joined, span_of
from gyroscope.prediction_log.catalog import Catalog, Segment
from gyroscope.prediction_log.index import Integers, Rows, keys_of
from gyroscope.prediction_log.parts import MovedError, Part, unreadable
from gyroscope.prediction_log.records import (
    decode_labels,
    decode_predictions,
    labels_at,
    predictions_at,
)
from gyroscope.prediction_log.segments import Damage
from gyroscope.prediction_log.table import LABELS, PREDICTIONS, Kind, Place, rows_of

_GAP_BYTES = 1 << 18  # records with less than this between them are read in one go
_TRIES = 20  # reads of files that change places meanwhile

_T = TypeVar("_T")
_Row = TypeVar("_Row", Prediction, Label)


class SegmentReader:
    """Reads the files of one folder while they grow; not safe for threads by itself.

    Args:
        folder: of the log.
        segments: names of the only ones to read, without parts; everything if None.
    """

    def __init__(self, folder: Path, segments: Collection[str] | None = None) -> None:
        self._catalog = Catalog(folder, segments)

    def read(self, window: Window | None, as_of: datetime | None) -> Joined:
        """See :meth:`PredictionLog.read`."""
        return self._steadily(lambda: self._read_window(window, as_of))

    def arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        """See :meth:`PredictionLog.arrivals`."""
        return self._steadily(lambda: self._read_arrivals(prediction_id))

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """See :meth:`PredictionLog.known`."""
        self._catalog.refresh()
        found = self._catalog.predictions.has(keys_of(prediction_ids)).tolist()
        return {name for name, is_known in zip(prediction_ids, found, strict=True) if is_known}

    def times(self, window: Window | None) -> Integers:
        """See :meth:`PredictionLog.times`."""
        self._catalog.refresh()
        return self._catalog.predictions.times(window)

    def span(self) -> Window | None:
        """See :meth:`PredictionLog.span`."""
        self._catalog.refresh()
        span = self._catalog.predictions.span()
        return None if span is None else span_of(*span)

    def damage(self) -> tuple[Damage, ...]:
        """What cannot be read, in order of segments and offsets."""
        self._catalog.refresh()
        return self._catalog.damage()

    def days(self, kind: Kind[Any]) -> list[int]:
        """The days that rows of a kind are filed under, in days since 1970, ascending."""
        self._catalog.refresh()
        found: list[int] = np.unique(self._days(kind)).tolist()
        return found

    def of_day(
        self, kind: Kind[_Row], day: int, at_once: int
    ) -> Iterator[tuple[list[_Row], list[Place]]]:
        """The rows of one of these days as they were written, with their places, in pieces."""
        rows = self._table(kind).written_order(
            np.flatnonzero(self._days(kind) == day), self._catalog.origin_ranks()
        )
        names = self._catalog.origin_names()
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            read, values = self._rows(kind, some)
            by_row = dict(zip(read.tolist(), values, strict=True))
            table = self._table(kind)
            places = [
                Place(segment=names[origin], number=place)
                for origin, place in zip(
                    table.origins(some).tolist(), table.places(some).tolist(), strict=True
                )
            ]
            yield [by_row[row] for row in some.tolist()], places

    def _days(self, kind: Kind[Any]) -> Integers:
        return self._table(kind).days(by_arrival=kind.by_arrival)

    def _table(self, kind: Kind[Any]) -> Rows:
        return self._catalog.predictions if kind is PREDICTIONS else self._catalog.labels

    def _steadily(self, read: Callable[[], _T]) -> _T:
        """What is read after a refresh, again if files were compacted or removed meanwhile."""
        for _ in range(_TRIES):
            self._catalog.refresh()
            try:
                return read()
            except MovedError as error:
                moved = error
                self._catalog.forget()
        raise LogError(
            f"{moved.path} cannot be read: it is listed and not there; see what moves it, "
            "and that its disk is sound"
        )

    def _read_window(self, window: Window | None, as_of: datetime | None) -> Joined:
        rows, predictions = self._rows(PREDICTIONS, self._catalog.predictions.within(window))
        keys = keys_of(prediction.id for prediction in predictions)
        ranks = self._catalog.origin_ranks()
        is_first = self._catalog.predictions.first(keys, ranks) == rows
        labels = self._labels(self._catalog.labels.last(keys, ranks, as_of))
        in_time_order = sorted(
            np.flatnonzero(is_first).tolist(),
            key=lambda i: (predictions[i].time, predictions[i].id),
        )
        return Joined(
            predictions=tuple([predictions[i] for i in in_time_order]),
            labels=tuple([labels[i] for i in in_time_order]),
        )

    def _read_arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        found = self._catalog.labels.all(keys_of([prediction_id]), self._catalog.origin_ranks())
        labels = [label for label in self._labels(found) if label is not None]
        return tuple(label for label in labels if label.prediction_id == prediction_id)

    def _labels(self, rows: Integers) -> list[Label | None]:
        """The labels in some rows, in their order; None for row -1."""
        read, labels = self._rows(LABELS, np.unique(rows[rows >= 0]))
        by_row = dict(zip(read.tolist(), labels, strict=True))
        return [by_row.get(row) for row in rows.tolist()]

    # -- rows of files --------------------------------------------------------------------------

    def _rows(self, kind: Kind[_Row], rows: Integers) -> tuple[Integers, list[_Row]]:
        """Rows by number, and the numbers in the order of the rows; raises MovedError."""
        table = self._table(kind)
        records = self._catalog.records
        rows = rows[np.argsort(records.files.values[table.records(rows)], kind="stable")]
        files = records.files.values[table.records(rows)]
        starts: list[int] = np.flatnonzero(np.diff(files, prepend=-1)).tolist()
        values: list[_Row] = []
        for start, end in pairwise([*starts, len(rows)]):
            some = rows[start:end]
            file = self._catalog.file(int(files[start]))
            if isinstance(file, Part):
                values += self._rows_of_part(kind, file, some)
            else:
                values += self._rows_of_segment(kind, file, some)
        return rows, values

    def _by_record(self, table: Rows, rows: Integers) -> Iterator[tuple[int, list[int]]]:
        """Each record with some of the rows: its number and their positions in it."""
        records = table.records(rows)
        starts = np.flatnonzero(np.diff(records, prepend=-1)).tolist()
        positions = table.positions(rows).tolist()
        for start, end in pairwise([*starts, len(rows)]):
            yield int(records[start]), positions[start:end]

    def _rows_of_part(self, kind: Kind[_Row], part: Part, rows: Integers) -> Iterator[_Row]:
        import pyarrow as pa

        described = self._catalog.description(part)
        with part.open() as file:
            for record, positions in self._by_record(self._table(kind), rows):
                group = int(self._catalog.records.offsets.values[record])
                try:
                    table = file.read_row_group(group)
                except (OSError, pa.ArrowException) as error:
                    raise unreadable(part.path, error) from error
                if len(positions) < table.num_rows:
                    table = table.take(positions)
                yield from rows_of(kind, described, table)

    def _rows_of_segment(self, kind: Kind[_Row], segment: Segment, rows: Integers) -> Iterator[Any]:
        found = list(self._by_record(self._table(kind), rows))
        payloads = self._payloads(segment, np.array([record for record, _ in found]))
        for (record, positions), payload in zip(found, payloads, strict=True):
            if kind is LABELS:
                yield from labels_at(decode_labels(payload), positions)
                continue
            decoded = decode_predictions(payload)
            columns = self._catalog.schemas.get(decoded.schema)
            if columns is None:
                raise LogError(
                    f"{self._place(segment, record)}: the names of the columns of this record are "
                    "lost, damaged where they were written: restore the file from a backup, "
                    "or move it away to go on without its predictions"
                )
            yield from predictions_at(decoded, columns, positions)

    def _payloads(self, segment: Segment, numbers: Integers) -> Iterator[memoryview]:
        """The payloads of records given in order of place, read in as few goes as is sensible."""
        records = self._catalog.records
        starts = records.offsets.values[numbers]
        ends = starts + records.lengths.values[numbers]
        checksums = records.checksums.values[numbers]
        places = list(zip(*(x.tolist() for x in (numbers, starts, ends, checksums)), strict=True))
        breaks = (np.flatnonzero(starts[1:] > ends[:-1] + _GAP_BYTES) + 1).tolist()
        for first, last in pairwise([0, *breaks, len(numbers)]):
            origin = int(starts[first])
            data = _bytes(segment.path, origin, int(ends[last - 1]) - origin)
            for number, start, end, checksum in places[first:last]:
                payload = data[start - origin : end - origin]
                if crc32(payload) != checksum:
                    raise LogError(
                        f"{self._place(segment, number)}: this record was whole when it was first "
                        "read and is damaged now: see whether its disk is sound, and restore the "
                        "file from a backup"
                    )
                yield payload

    def _place(self, segment: Segment, record: int) -> str:
        return f"{segment.path}, offset {self._catalog.records.offsets.values[record]}"


def _bytes(path: Path, start: int, length: int) -> memoryview:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return memoryview(file.read(length))
    except FileNotFoundError:
        raise MovedError(path) from None
    except OSError as error:
        raise LogError(
            f"{path} cannot be read ({error.strerror or error}): "
            "see that this user may read it and that its disk is sound"
        ) from error
