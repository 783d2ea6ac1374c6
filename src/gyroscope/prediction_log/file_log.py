"""The prediction log in a folder of append-only segment files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Joined
from gyroscope.prediction_log.records import Encoded, encode_labels, encode_predictions
from gyroscope.prediction_log.segments import Damage
from gyroscope.prediction_log.writer import SegmentWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gyroscope.prediction_log.reader import SegmentReader


class FileLog:
    """A :class:`PredictionLog` in a folder; any number of processes and threads may use it.

    Each process that appends writes its own segment files, so writers need no lock between them;
    of records with equal arrival, those in the segment that was begun first count as written first.
    :func:`gyroscope.prediction_log.compaction.compact` moves segments into Parquet files meanwhile.
    A reader keeps 48 bytes for each row in memory and scans only what is new since it last looked;
    the first look, and the first after a compaction, scans ids and times of everything.

    Args:
        folder: where the segments are; made at the first append.
        fsync: force each append to the disk before it returns. Without it an acknowledged append
            survives the end of the process, not a power failure.
        segment_bytes: a segment that has reached this size is followed by the next, at least 1.
        writer: letters, digits and ``_`` that stand in the names of the segments written here;
            the process id if None.

    Raises:
        UsageError: ``segment_bytes`` or ``writer`` is out of range.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: bool = True,
        segment_bytes: int = 16 * 2**20,
        writer: str | None = None,
    ) -> None:
        self._folder = folder
        self._writer = SegmentWriter(folder, fsync=fsync, segment_bytes=segment_bytes, name=writer)
        self._reader: SegmentReader | None = None
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._is_closed = False

    def append(self, predictions: Sequence[Prediction]) -> None:
        """See :meth:`PredictionLog.append`."""
        self._append(encode_predictions(predictions))

    def append_labels(self, labels: Sequence[Label]) -> None:
        """See :meth:`PredictionLog.append_labels`."""
        self._append(encode_labels(labels))

    def read(self, window: Window | None = None, *, as_of: datetime | None = None) -> Joined:
        """See :meth:`PredictionLog.read`.

        Raises:
            LogError: names the file that cannot be read, and the offset.
        """
        with self._reading:
            return self._opened_reader().read(window, as_of)

    def arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        """See :meth:`PredictionLog.arrivals`."""
        with self._reading:
            return self._opened_reader().arrivals(prediction_id)

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """See :meth:`PredictionLog.known`."""
        with self._reading:
            return self._opened_reader().known(prediction_ids)

    def times(self, window: Window | None = None) -> NDArray[np.int64]:
        """See :meth:`PredictionLog.times`."""
        with self._reading:
            return self._opened_reader().times(window)

    def span(self) -> Window | None:
        """See :meth:`PredictionLog.span`."""
        with self._reading:
            return self._opened_reader().span()

    def damage(self) -> tuple[Damage, ...]:
        """Bytes that cannot be read, in order of segments; empty unless a disk or a person erred.

        Everything else is read all the same. What a killed process left half written is not
        damage: it was never acknowledged.
        """
        with self._reading:
            return self._opened_reader().damage()

    def close(self) -> None:
        """See :meth:`PredictionLog.close`."""
        with self._writing, self._reading:
            self._is_closed = True
            self._writer.close()
            self._reader = None

    def _append(self, records: Sequence[Encoded]) -> None:
        with self._writing:
            self._check_open()
            if records:
                self._writer.append(records)

    def _opened_reader(self) -> SegmentReader:
        self._check_open()
        if self._reader is None:
            # A server that only appends shall not load NumPy or index the history.
            from gyroscope.prediction_log.reader import SegmentReader

            self._reader = SegmentReader(self._folder)
        return self._reader

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogError(f"the prediction log in {self._folder} is closed: open it again")
