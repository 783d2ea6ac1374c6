"""Columns of every Arrow type that data files bring."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.arrow import encode_column
from gyroscope.data.codec import Codec
from gyroscope.data.contract import Column, ColumnType

NAN = math.nan
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_S = NOON.timestamp()


def codec(kind: ColumnType, **fields: Any) -> Codec:
    if kind is ColumnType.CATEGORY:
        fields = {"categories": ("1", "b", "2026-03-01"), "unknown": "other", **fields}
    return Codec(Column(name="x", type=kind, nullable=True, **fields))


NUMBERS = [
    *(pa.array([3, None, 0], kind) for kind in (pa.int8(), pa.int64(), pa.uint8(), pa.uint64())),
    pa.array(np.array([3, math.nan, 0], np.float16)),
    pa.array([3, None, -0.0], pa.float32()),
    pa.array([3, math.nan, 0], pa.float64()),
    pa.array([Decimal("3.00"), None, Decimal("0.00")]),
    pa.array(["3", "", "-0"]),
    pa.array([" 3.0", "NA", "0e5\u00a0"], pa.large_string()),
    pa.array(["+3", None, ".0"], pa.string_view()),
    pa.array(["٣", None, "0"]),
    pa.array(["3", None, "0"]).dictionary_encode(),
    pa.array([3, None, 0]).dictionary_encode(),
    pa.chunked_array([[3, None], [], [0]]),
    pa.chunked_array([["3"], ["NA", "0"]]).dictionary_encode(),
]


@pytest.mark.parametrize("column", NUMBERS, ids=lambda column: str(column.type))
@pytest.mark.parametrize("kind", [ColumnType.NUMBER, ColumnType.INTEGER])
def test_numbers_may_be_stored_in_any_type(kind: ColumnType, column: Any) -> None:
    encoded = encode_column(codec(kind, missing=("NA",)), column)
    assert encoded.values.tobytes() == np.array([3, NAN, 0]).tobytes()
    assert (encoded.bad.size, encoded.first_bad) == (0, "")


TIMES = [
    *(pa.array([NOON, None], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")),
    pa.array([NOON, None], pa.timestamp("us", "Europe/Berlin")),
    pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("ms")),
    pa.array(["2026-03-01T13:00:00+01:00", ""]),
    pa.chunked_array([[NOON], [None]], pa.timestamp("ns", "Asia/Kolkata")),
]


@pytest.mark.parametrize("column", TIMES, ids=lambda column: str(column.type))
def test_times_are_seconds_whatever_their_unit_and_zone(column: Any) -> None:
    encoded = encode_column(codec(ColumnType.DATETIME), column)
    np.testing.assert_array_equal(encoded.values, [NOON_S, NAN])
    assert encoded.bad.size == 0


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_a_date_is_its_midnight(kind: Any) -> None:
    encoded = encode_column(codec(ColumnType.DATETIME), pa.array([NOON.date(), None], kind))
    np.testing.assert_array_equal(encoded.values, [NOON_S - 12 * 3600, NAN])


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_in_microseconds_has_the_bits_of_its_text(moment: datetime) -> None:
    typed = encode_column(codec(ColumnType.DATETIME), pa.array([moment], pa.timestamp("us", "UTC")))
    text = encode_column(codec(ColumnType.DATETIME), pa.array([moment.isoformat()]))
    assert typed.values.tobytes() == text.values.tobytes()
    assert typed.bad.size == text.bad.size == 0


def test_nanoseconds_are_cut_off_as_in_texts() -> None:
    stamp = pa.array([-1, 1_999], pa.timestamp("ns", "UTC"))
    texts = pa.array(["1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00.000001999Z"])
    for column in (stamp, texts):
        np.testing.assert_array_equal(
            encode_column(codec(ColumnType.DATETIME), column).values, [-1e-6, 1e-6]
        )


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_beyond_the_calendar_do_not_fit(unit: str) -> None:
    a_second = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    last, first = 253_402_300_799 * a_second, -62_135_596_800 * a_second
    column = pa.array([first - 1, first, last, last + a_second], pa.int64()).cast(
        pa.timestamp(unit)
    )
    encoded = encode_column(codec(ColumnType.DATETIME), column)
    assert encoded.bad.tolist() == [0, 3]
    assert encoded.first_bad == "a time beyond the years 1 to 9999"
    assert encoded.values[1:3].tolist() == [first / a_second, last / a_second]


CATEGORIES = [
    (pa.array(["1", None, "b ", "z", ""]), [0, NAN, 1, 3, NAN]),
    (pa.array([1, 7, None]), [0, 3, NAN]),
    (pa.array([1.0, math.nan, None]), [0, NAN, NAN]),
    (pa.array([Decimal(1), None]), [0, NAN]),
    (pa.array([True, None]), [3, NAN]),
    (pa.array([date(2026, 3, 1)]), [2]),
    (pa.array(["b", "1", "b"]).dictionary_encode(), [1, 0, 1]),
    (pa.chunked_array([["b"], ["1"]]).dictionary_encode(), [1, 0]),
    (pa.array([None, None]), [NAN, NAN]),
    (pa.array(["b"], pa.string_view()), [1]),
]


@pytest.mark.parametrize(("column", "expected"), CATEGORIES, ids=lambda v: str(v)[:30])
def test_categories_may_be_stored_in_any_type(column: Any, expected: list[float]) -> None:
    encoded = encode_column(codec(ColumnType.CATEGORY), column)
    np.testing.assert_array_equal(encoded.values, expected)
    assert encoded.bad.size == 0


def test_as_many_categories_as_a_small_index_can_hold() -> None:
    names = [f"c{k}" for k in range(128)]
    given_codec = codec(ColumnType.CATEGORY, categories=tuple(names), unknown="reject")
    column = pa.DictionaryArray.from_arrays(pa.array([127, None, 0], pa.int8()), names)
    np.testing.assert_array_equal(encode_column(given_codec, column).values, [127, NAN, 0])


def test_booleans_may_be_stored_as_words_or_numbers() -> None:
    given_codec = codec(ColumnType.BOOLEAN, true=("1", "on"), false=("0", "off"))
    for column in ([True, False, None], [1, 0, None], [1.0, 0.0, NAN], ["On", "0", ""]):
        encoded = encode_column(given_codec, pa.array(column))
        np.testing.assert_array_equal(encoded.values, [1, 0, NAN])


MISFITS = [
    (ColumnType.NUMBER, pa.array([True]), "True"),
    (ColumnType.NUMBER, pa.array([math.inf]), "inf"),
    (ColumnType.NUMBER, pa.array(["1", "nan"]), "'nan'"),
    (ColumnType.NUMBER, pa.array(["1", "inf"]), "'inf'"),
    (ColumnType.NUMBER, pa.array([b"1"]), "b'1'"),
    (ColumnType.NUMBER, pa.array([[1.0]]), "[1.0]"),
    (ColumnType.NUMBER, pa.array([{"a": 1}]), "{'a': 1}"),
    (ColumnType.INTEGER, pa.array([1.5]), "1.5"),
    (ColumnType.INTEGER, pa.array([2**53]), "9007199254740992"),
    (ColumnType.INTEGER, pa.array([2**63], pa.uint64()), "9223372036854775808"),
    (ColumnType.DATETIME, pa.array([5]), "5"),
    (ColumnType.DATETIME, pa.array([time(12)]), "datetime.time(12, 0)"),
    (ColumnType.DATETIME, pa.array([timedelta(1)]), "datetime.timedelta(days=1)"),
    (ColumnType.BOOLEAN, pa.array([[True]]), "[True]"),
    (ColumnType.CATEGORY, pa.array([1.5]), "1.5"),
]


@pytest.mark.parametrize(("kind", "column", "shown"), MISFITS, ids=lambda v: str(v)[:30])
def test_a_value_that_does_not_fit_is_shown(kind: ColumnType, column: Any, shown: str) -> None:
    encoded = encode_column(codec(kind), column)
    assert encoded.bad.tolist() == [len(column) - 1]
    assert np.isnan(encoded.values[-1])
    assert encoded.first_bad == shown


@pytest.mark.parametrize(
    "column", [pa.array([None, 1.0]), pa.array([NAN, 1.0]), pa.array(["", "1"]), pa.array([None])]
)
def test_a_missing_value_does_not_fit_where_none_may_be(column: Any) -> None:
    strict = Codec(Column(name="x", type=ColumnType.NUMBER))
    assert encode_column(strict, column).bad.tolist() == [0]


decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=6, min_value=-1e12, max_value=1e12
)


@given(st.lists(decimals, min_size=1))
def test_decimals_are_rounded_once(values: list[Decimal]) -> None:
    encoded = encode_column(codec(ColumnType.NUMBER), pa.array(values, pa.decimal128(30, 6)))
    assert encoded.values.tolist() == [float(value) for value in values]


@given(st.lists(st.floats() | st.none(), min_size=1), st.booleans(), st.booleans())
def test_a_whole_column_of_numbers_is_held_against_the_same_rules_as_one(
    values: list[float | None], whole: bool, sentinel: bool
) -> None:
    given_codec = codec(
        ColumnType.INTEGER if whole else ColumnType.NUMBER,
        limits=(-5, 1e300),
        missing=("-9", "2") if sentinel else (),
    )
    encoded = encode_column(given_codec, pa.array(values, pa.float64()))
    bad = set(encoded.bad.tolist())
    for position, value in enumerate(values):
        given_value = None if value is None or math.isnan(value) else value
        try:
            expected = given_codec.number(given_value)
        except ValueError:
            assert position in bad
            expected = NAN
        else:
            assert position not in bad
        assert np.float64(expected).tobytes() == encoded.values[position].tobytes()
