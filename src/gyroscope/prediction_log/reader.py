"""Reading a window: find its rows in the catalog, decode their records, join the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Joined, span_of
from gyroscope.prediction_log.catalog import Catalog
from gyroscope.prediction_log.index import Integers, Rows, keys_of
from gyroscope.prediction_log.records import (
    decode_labels,
    decode_predictions,
    labels_at,
    predictions_at,
)
from gyroscope.prediction_log.segments import Damage

_GAP_BYTES = 1 << 18  # records with less than this between them are read in one go


class SegmentReader:
    """Reads the segments of one folder while they grow; not safe for threads by itself."""

    def __init__(self, folder: Path) -> None:
        self._catalog = Catalog(folder)

    def read(self, window: Window | None, as_of: datetime | None) -> Joined:
        """See :meth:`PredictionLog.read`."""
        self._catalog.refresh()
        rows, predictions = self._read_predictions(self._catalog.predictions.within(window))
        keys = keys_of(prediction.id for prediction in predictions)
        order = self._catalog.segment_order()
        is_first = self._catalog.predictions.first(keys, order) == rows
        labels = self._read_labels(self._catalog.labels.last(keys, order, as_of))
        in_time_order = sorted(
            np.flatnonzero(is_first).tolist(),
            key=lambda i: (predictions[i].time, predictions[i].id),
        )
        return Joined(
            predictions=tuple([predictions[i] for i in in_time_order]),
            labels=tuple([labels[i] for i in in_time_order]),
        )

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

    def _read_predictions(self, rows: Integers) -> tuple[Integers, list[Prediction]]:
        """The predictions in some rows, and the rows in the order of the predictions."""
        rows = self._in_order_of_place(self._catalog.predictions, rows)
        predictions: list[Prediction] = []
        for record, payload, positions in self._records(self._catalog.predictions, rows):
            decoded = decode_predictions(payload)
            columns = self._catalog.schemas.get(decoded.schema)
            if columns is None:
                raise LogError(
                    f"{self._place(record)}: the names of the columns of this record are lost, "
                    "damaged where they were written: restore the file from a backup, "
                    "or move it away to go on without its predictions"
                )
            predictions += predictions_at(decoded, columns, positions)
        return rows, predictions

    def _read_labels(self, rows: Integers) -> list[Label | None]:
        """The labels in some rows, in their order; None for row -1."""
        wanted = self._in_order_of_place(self._catalog.labels, np.unique(rows[rows >= 0]))
        labels: list[Label] = []
        for _, payload, positions in self._records(self._catalog.labels, wanted):
            labels += labels_at(decode_labels(payload), positions)
        by_row = dict(zip(wanted.tolist(), labels, strict=True))
        return [by_row.get(row) for row in rows.tolist()]

    def _in_order_of_place(self, table: Rows, rows: Integers) -> Integers:
        segments = self._catalog.records.segments.values[table.records(rows)]
        return rows[np.argsort(segments, kind="stable")]  # rows of one segment are in order

    def _records(self, table: Rows, rows: Integers) -> Iterator[tuple[int, memoryview, list[int]]]:
        """Each record with some of the rows: its number, its payload, their positions in it."""
        records = table.records(rows)
        starts = np.flatnonzero(np.diff(records, prepend=-1))
        numbers = records[starts]
        positions = table.positions(rows).tolist()
        bounds = pairwise([*starts.tolist(), len(rows)])
        for number, payload, (start, end) in zip(
            numbers.tolist(), self._payloads(numbers), bounds, strict=True
        ):
            yield number, payload, positions[start:end]

    def _payloads(self, numbers: Integers) -> Iterator[memoryview]:
        """The payloads of records given in order of place, read in as few goes as is sensible."""
        records = self._catalog.records
        files = records.segments.values[numbers]
        starts = records.offsets.values[numbers]
        ends = starts + records.lengths.values[numbers]
        checksums = records.checksums.values[numbers]
        places = list(zip(*(x.tolist() for x in (numbers, starts, ends, checksums)), strict=True))
        apart = (files[1:] != files[:-1]) | (starts[1:] > ends[:-1] + _GAP_BYTES)
        breaks = (np.flatnonzero(apart) + 1).tolist()
        for first, last in pairwise([0, *breaks, len(numbers)] if places else []):
            origin = int(starts[first])
            data = self._bytes(int(files[first]), origin, int(ends[last - 1]) - origin)
            for number, start, end, checksum in places[first:last]:
                payload = data[start - origin : end - origin]
                if crc32(payload) != checksum:
                    raise LogError(
                        f"{self._place(number)}: this record was whole when it was first read and "
                        "is damaged now: see whether its disk is sound, and restore the file from "
                        "a backup"
                    )
                yield payload

    def _bytes(self, segment: int, start: int, length: int) -> memoryview:
        path = self._catalog.path(segment)
        try:
            with path.open("rb") as file:
                file.seek(start)
                return memoryview(file.read(length))
        except OSError as error:
            raise LogError(
                f"{path} cannot be read ({error.strerror or error}): "
                "see that this user may read it and that its disk is sound"
            ) from error

    def _place(self, record: int) -> str:
        records = self._catalog.records
        segment, offset = records.segments.values[record], records.offsets.values[record]
        return f"{self._catalog.path(int(segment))}, offset {offset}"
