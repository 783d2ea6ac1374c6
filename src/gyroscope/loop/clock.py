"""Time as the loop knows it: windows of event time, and what the newest rows say it is.

Event times come from clients, and some are wrong by years. Windows are therefore looked for only
between :data:`EARLIEST` and now, and a handful of rows cannot move the clock of the log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from gyroscope.findings import Window
from gyroscope.prediction_log.base import PredictionLog, span_of

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)  # far from the end of what a datetime can hold
SILENCE = 28  # empty windows in a row after which the next ones are passed over
_ROWS_OF_THE_CLOCK = 10  # fewer rows may be a sender whose clock is wrong
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def window_at(time: datetime, length: timedelta) -> Window:
    """The window that holds a time; windows start at multiples of their length since 1970 UTC."""
    start = _EPOCH + (time - _EPOCH) // length * length
    return Window(start, start + length)


def window_from(start: datetime, length: timedelta) -> Window:
    """The window that begins at ``start`` and ends where windows of that length end.

    It is shorter than the others where windows had another length before.
    """
    return Window(start, window_at(start, length).end)


def logged_span(log: PredictionLog, until: datetime) -> Window | None:
    """First event time to just after the last before ``until``; None if there is none."""
    times = log.times(Window(EARLIEST, max(EARLIEST, until)))
    return span_of(moment(int(times[0])), moment(int(times[-1]))) if len(times) else None


def log_time(log: PredictionLog, wall: datetime) -> datetime | None:
    """Just after the newest event time (1 microsecond) that ten rows, or all, have reached.

    Rows dated after ``wall``, the real time, do not count. None without rows.
    """
    times = log.times(Window(EARLIEST, max(EARLIEST, wall)))
    if not len(times):
        return None
    return moment(int(times[-min(len(times), _ROWS_OF_THE_CLOCK)]) + 1)


def window_of_first_row(log: PredictionLog, span: Window, length: timedelta) -> Window | None:
    """The window of the earliest event time in a span; None without rows."""
    times = log.times(span)
    return window_at(moment(int(times[0])), length) if len(times) else None


def due_window(
    log: PredictionLog, checked_until: datetime | None, length: timedelta, until: datetime
) -> Window | None:
    """The window to check next if it has ended by ``until``; None if none has.

    Empty windows are checked too, since silence is news. After :data:`SILENCE` of them in a row it
    is not, and the windows up to the next row are passed over.

    Args:
        log: of the model.
        checked_until: where the window before ended; None for the first.
        length: of windows.
        until: later rows are not looked for.
    """
    if checked_until is None:
        return _ended(window_of_first_row(log, Window(EARLIEST, until), length), until)
    window = window_from(checked_until, length)
    if window.end > until or not _is_silence(log, window, length):
        return _ended(window, until)
    return _ended(window_of_first_row(log, Window(window.end, until), length), until)


def _ended(window: Window | None, until: datetime) -> Window | None:
    return None if window is None or window.end > until else window


def _is_silence(log: PredictionLog, window: Window, length: timedelta) -> bool:
    """Whether a window and those before it are empty."""
    before = Window(_earlier(window.start, SILENCE, length), window.start)
    return not len(log.times(window)) and not len(log.times(before))


def row_counts(log: PredictionLog, window: Window) -> list[int]:
    """Rows of the windows before ``window``, as long as it is, oldest first.

    At most :data:`SILENCE` windows, back to the first row of the log.
    """
    length = window.length
    if window.start <= EARLIEST or not length:
        return []
    n = min(SILENCE, (window.start - EARLIEST) // length)
    start = window.start - n * length
    times = log.times(Window(start, window.start))
    numbers = (times - _microseconds(start)) // (length // _MICROSECOND)
    counts: list[int] = np.bincount(numbers, minlength=n).tolist()
    if n and not counts[0] and not len(log.times(Window(EARLIEST, start))):
        return counts[int(numbers[0]) :] if len(numbers) else []
    return counts


def _earlier(time: datetime, windows: int, length: timedelta) -> datetime:
    return time - min(windows * length, time - EARLIEST)


def usual_arrival(log: PredictionLog, window: Window) -> datetime | None:
    """When half of the rows of a window had arrived; None without rows."""
    arrivals = sorted(prediction.arrival for prediction in log.read(window).predictions)
    return arrivals[len(arrivals) // 2] if arrivals else None


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The time so many microseconds after 1970 began, UTC."""
    return _EPOCH + microseconds * _MICROSECOND
