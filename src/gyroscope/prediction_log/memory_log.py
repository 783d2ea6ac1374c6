"""The prediction log in memory, for tests and replays; nothing outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Joined, span_of
from gyroscope.prediction_log.moments import microseconds
from gyroscope.prediction_log.records import encode_labels, encode_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MemoryLog:
    """A :class:`PredictionLog` that refuses what a log on disk refuses."""

    def __init__(self) -> None:
        self._predictions: list[Prediction] = []  # in the order written
        self._labels: list[Label] = []  # in the order written
        self._lock = threading.Lock()
        self._is_closed = False

    def append(self, predictions: Sequence[Prediction]) -> None:
        """See :meth:`PredictionLog.append`."""
        encode_predictions(predictions)
        with self._lock:
            self._check_open()
            self._predictions += predictions

    def append_labels(self, labels: Sequence[Label]) -> None:
        """See :meth:`PredictionLog.append_labels`."""
        encode_labels(labels)
        with self._lock:
            self._check_open()
            self._labels += labels

    def read(self, window: Window | None = None, *, as_of: datetime | None = None) -> Joined:
        """See :meth:`PredictionLog.read`."""
        with self._lock:
            self._check_open()
            predictions = sorted(self._predictions, key=_arrival)
            labels = sorted(self._labels, key=_arrival)
        first: dict[str, Prediction] = {}
        for prediction in predictions:
            first.setdefault(prediction.id, prediction)
        last = {x.prediction_id: x for x in labels if as_of is None or x.arrival <= as_of}
        found = [p for p in first.values() if window is None or p.time in window]
        found.sort(key=lambda p: (p.time, p.id))
        return Joined(predictions=tuple(found), labels=tuple(last.get(p.id) for p in found))

    def arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        """See :meth:`PredictionLog.arrivals`."""
        with self._lock:
            self._check_open()
            labels = [x for x in self._labels if x.prediction_id == prediction_id]
        return tuple(sorted(labels, key=_arrival))

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """See :meth:`PredictionLog.known`."""
        with self._lock:
            self._check_open()
            return {p.id for p in self._predictions}.intersection(prediction_ids)

    def times(self, window: Window | None = None) -> NDArray[np.int64]:
        """See :meth:`PredictionLog.times`."""
        import numpy as np

        with self._lock:
            self._check_open()
            times = [p.time for p in self._predictions if window is None or p.time in window]
        return np.sort(np.array([microseconds(time) for time in times], dtype=np.int64))

    def span(self) -> Window | None:
        """See :meth:`PredictionLog.span`."""
        with self._lock:
            self._check_open()
            times = [p.time for p in self._predictions]
        return span_of(min(times), max(times)) if times else None

    def close(self) -> None:
        """See :meth:`PredictionLog.close`."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogError("the prediction log in memory is closed: make another")


def _arrival(row: Prediction | Label) -> datetime:
    return row.arrival
