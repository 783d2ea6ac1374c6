from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.codec import Codec
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.dates import Dates, dates_of

FORMATS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d-%b-%Y",
    "%B %d, %Y",
    "%Y%m%d",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%Y %H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M+02:00",
]
DAYS = [date(2024, 1, 1) + timedelta(days=19 * k) for k in range(40)]


def found(*texts: str) -> Dates | None:
    return dates_of(pa.array(texts, pa.large_string()))


@pytest.mark.parametrize("form", FORMATS)
def test_common_formats_are_recognised_and_read_back_by_the_codec(form: str) -> None:
    moments = [datetime(d.year, d.month, d.day, 13, 5, tzinfo=UTC) for d in DAYS]
    texts = [moment.strftime(form) for moment in moments]
    dates = found(*texts)
    assert dates is not None
    assert not dates.ambiguous
    assert (dates.first.date(), dates.last.date()) == (DAYS[0], DAYS[-1])
    codec = Codec(Column(name="t", type=ColumnType.DATETIME, format=dates.format))
    assert [codec.moment(text).date() for text in texts] == DAYS


def test_iso_8601_needs_no_format_even_where_precision_varies() -> None:
    dates = found("2026-01-31", "2026-01-31T12:00Z", "2026-02-01 12:00:01.5")
    assert dates is not None
    assert dates.format is None


@pytest.mark.parametrize(("last", "form"), [("13/02/2026", "%d/%m/%Y"), ("02/13/2026", "%m/%d/%Y")])
def test_a_day_above_12_tells_day_from_month(last: str, form: str) -> None:
    dates = found("01/02/2026", "03/04/2026", last)
    assert dates is not None
    assert (dates.format, dates.ambiguous) == (form, False)


def test_where_both_orders_fit_the_one_nearer_to_ascending_is_taken_and_called_doubtful() -> None:
    months_first = found("01/05/2026", "01/12/2026", "02/03/2026", "02/10/2026")
    days_first = found("05/01/2026", "12/01/2026", "03/02/2026", "10/02/2026")
    assert months_first is not None
    assert days_first is not None
    assert (months_first.format, months_first.ambiguous) == ("%m/%d/%Y", True)
    assert (days_first.format, days_first.ambiguous) == ("%d/%m/%Y", True)


@pytest.mark.parametrize(
    "texts",
    [
        ("2026-01-31", "unknown"),
        ("2026-02-30", "2026-01-01"),
        ("31/31/2026", "01/01/2026"),
        ("1.5", "2.5"),
        ("12345678", "20260131"),
        ("10000101", "99991231"),
        ("12:30", "13:45"),
        ("1/2", "3/4"),
    ],
)
def test_what_is_not_all_dates_is_none(texts: tuple[str, ...]) -> None:
    assert found(*texts) is None


@given(st.lists(st.text(max_size=12), min_size=1))
def test_any_texts_can_be_asked_about(texts: list[str]) -> None:
    found(*texts)
