"""What every prediction log can do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from gyroscope.findings import Window
from gyroscope.model import Label, Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_MICROSECOND = timedelta(microseconds=1)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of a window in order of (time, id), each with its label if one has arrived."""

    predictions: tuple[Prediction, ...]
    labels: tuple[Label | None, ...]  # the last arrival for each prediction


def span_of(first: datetime, last: datetime) -> Window:
    """The window from the first event to just after the last, 1 microsecond.

    An event in the last microsecond of the year 9999 stays outside: no time comes after it.
    """
    return Window(first, min(last, _LAST_MOMENT - _MICROSECOND) + _MICROSECOND)


class Appends(Protocol):
    """What takes records."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Write predictions, all or none; raises LogError."""
        ...

    def append_labels(self, labels: Sequence[Label]) -> None:
        """Write arrivals of labels, all or none; raises LogError."""
        ...


class PredictionLog(Protocol):
    """The append-only record of one model's predictions and of the labels that came later.

    Appends are durable when they return: a process killed the moment after loses nothing.
    Several processes may append and read at the same time. A torn record at the end of what a
    killed process wrote is skipped by readers; nothing before it is lost.
    """

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Write predictions, all or none.

        Raises:
            LogError: the log cannot be written; nothing was acknowledged.
        """
        ...

    def append_labels(self, labels: Sequence[Label]) -> None:
        """Write arrivals of labels, all or none; raises like :meth:`append`."""
        ...

    def read(self, window: Window | None = None, *, as_of: datetime | None = None) -> Joined:
        """Predictions with event time in ``window`` (all if None), joined with their labels.

        With ``as_of``, only labels that had arrived by then count. A prediction id written twice
        (a client's retry) is returned once, as it first arrived; of labels for one prediction the
        last to arrive counts. Equal arrivals count in the order written. Labels for unknown ids
        are ignored.
        """
        ...

    def arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        """All labels that have arrived for a prediction, corrected ones too, by arrival."""
        ...

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """Which of these prediction ids are in the log."""
        ...

    def times(self, window: Window | None = None) -> NDArray[np.int64]:
        """Event times in ``window`` (all if None), ascending, retries too.

        Returns int64[n], microseconds since 1970 UTC. Costs far less than :meth:`read`.
        """
        ...

    def span(self) -> Window | None:
        """First event time to just after the last (1 microsecond), retries too; None if empty."""
        ...

    def close(self) -> None:
        """Give back files; the log may not be used afterwards."""
        ...
