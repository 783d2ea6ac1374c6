from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.findings import Window
from gyroscope.loop.clock import (
    EARLIEST,
    SILENCE,
    due_window,
    log_time,
    logged_span,
    row_counts,
    window_at,
    window_from,
)
from gyroscope.model import Prediction
from gyroscope.prediction_log.memory_log import MemoryLog

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WALL = datetime(2026, 11, 1, tzinfo=UTC)


def log_of(times: Sequence[datetime]) -> MemoryLog:
    """A log with one row at each of these times."""
    log = MemoryLog()
    log.append(
        [
            Prediction(
                id=str(i), version=1, time=time, arrival=time, columns=("x",), row=(1,), score=0.5
            )
            for i, time in enumerate(times)
        ]
    )
    return log


def at(*hours: float) -> list[datetime]:
    return [MIDNIGHT + hour * HOUR for hour in hours]


LATEST = datetime(9000, 1, 1, tzinfo=UTC)
times = st.timedeltas(timedelta(), LATEST - EARLIEST).map(lambda after: EARLIEST + after)
lengths = st.timedeltas(timedelta(seconds=1), timedelta(days=365))


@given(times, lengths)
def test_a_window_holds_its_time_and_begins_where_another_ends(
    time: datetime, length: timedelta
) -> None:
    window = window_at(time, length)
    assert time in window
    assert window.length == length
    assert window_at(window.end, length) == Window(window.end, window.end + length)
    assert window_from(window.start, length) == window


def test_daily_windows_begin_at_midnight_utc() -> None:
    assert window_at(MIDNIGHT + 5 * HOUR, DAY) == Window(MIDNIGHT, MIDNIGHT + DAY)


def test_after_a_change_of_length_the_first_window_is_shorter() -> None:
    assert window_from(MIDNIGHT + 18 * HOUR, DAY) == Window(MIDNIGHT + 18 * HOUR, MIDNIGHT + DAY)


def test_the_first_window_is_that_of_the_first_row() -> None:
    log = log_of(at(30, 6, 50))
    assert due_window(log, None, DAY, WALL) == Window(MIDNIGHT, MIDNIGHT + DAY)


def test_a_window_is_due_once_it_has_ended() -> None:
    log, end = log_of(at(6)), MIDNIGHT + DAY
    assert due_window(log, None, DAY, end - HOUR) is None
    assert due_window(log, None, DAY, end) == Window(MIDNIGHT, end)
    assert due_window(log, end, DAY, end + HOUR) is None
    assert due_window(log, end, DAY, end + DAY) == Window(end, end + DAY)


def test_an_empty_log_has_no_due_window_and_no_time() -> None:
    assert due_window(MemoryLog(), None, DAY, WALL) is None
    assert log_time(MemoryLog(), WALL) is None
    assert logged_span(MemoryLog(), WALL) is None


def test_silence_is_looked_at_for_a_while_and_then_passed_over() -> None:
    log = log_of([*at(0), MIDNIGHT + 100 * DAY])
    checked, windows = None, []
    while (window := due_window(log, checked, DAY, MIDNIGHT + 200 * DAY)) is not None:
        windows.append(window)
        checked = window.end
    days = [(window.start - MIDNIGHT).days for window in windows]
    assert days == [*range(SILENCE + 1), *range(100, 100 + SILENCE + 1)]


def test_the_end_of_a_silence_is_waited_for() -> None:
    log = log_of([*at(0), MIDNIGHT + 100 * DAY])
    checked = MIDNIGHT + (SILENCE + 2) * DAY
    assert due_window(log, checked, DAY, MIDNIGHT + 100 * DAY) is None
    assert due_window(log, checked, DAY, MIDNIGHT + 101 * DAY) == Window(
        MIDNIGHT + 100 * DAY, MIDNIGHT + 101 * DAY
    )


ABSURD = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]


def test_times_of_no_calendar_are_never_looked_at() -> None:
    log = log_of([*ABSURD, *at(6)])
    assert due_window(log, None, DAY, WALL) == Window(MIDNIGHT, MIDNIGHT + DAY)
    assert logged_span(log, WALL) == Window(at(6)[0], at(6)[0] + timedelta(microseconds=1))


@pytest.mark.parametrize("length", [timedelta(seconds=1), DAY, timedelta(days=40_000)])
def test_windows_of_any_length_can_be_asked_for(length: timedelta) -> None:
    log = log_of([EARLIEST, *at(6)])
    for checked in (None, EARLIEST, MIDNIGHT):
        window = due_window(log, checked, length, datetime(2500, 1, 1, tzinfo=UTC))
        assert window is not None
        row_counts(log, window)


def test_the_clock_of_the_log_is_where_ten_rows_have_been() -> None:
    log = log_of(at(*range(20)))
    assert log_time(log, WALL) == MIDNIGHT + 10 * HOUR + timedelta(microseconds=1)
    assert log_time(log_of(at(3, 4)), WALL) == MIDNIGHT + 3 * HOUR + timedelta(microseconds=1)


def test_a_few_rows_of_the_future_do_not_move_the_clock_of_the_log() -> None:
    rows = at(*range(20))
    before = log_time(log_of(rows), WALL)
    assert log_time(log_of([*rows, *[datetime(2099, 1, 1, tzinfo=UTC)] * 500]), WALL) == before
    later = [MIDNIGHT + 50 * DAY] * 9
    moved = log_time(log_of([*rows, *later]), WALL)
    assert moved == MIDNIGHT + 19 * HOUR + timedelta(microseconds=1)


def test_rows_are_counted_back_to_the_first() -> None:
    log = log_of(at(1, 2, 30, 49, 50, 51, 99))
    window = Window(MIDNIGHT + 3 * DAY, MIDNIGHT + 4 * DAY)
    assert row_counts(log, window) == [2, 1, 3]
    assert row_counts(log, Window(MIDNIGHT, MIDNIGHT + DAY)) == []


def test_at_most_four_weeks_are_counted_and_silence_counts() -> None:
    log = log_of(at(1, 2, 3))
    window = Window(MIDNIGHT + SILENCE * DAY, MIDNIGHT + (SILENCE + 1) * DAY)
    assert row_counts(log, window) == [3] + [0] * (SILENCE - 1)
    assert row_counts(log, window_at(window.end, DAY)) == [0] * SILENCE
