"""From an Arrow array to the values that JSON would have brought."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from gyroscope.data.codec import EXACT_INTEGERS, Codec, kind_of
from gyroscope.data.contract import Column, ColumnType
from gyroscope.model import Value
from gyroscope.serve.strict_json import Unfit

Given = Value | Unfit  # a value, or what stands for one that cannot be used

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def values_of(array: Any, column: Column) -> list[Given] | None:
    """The values of an array that belongs to a column; None if its type holds no plain values.

    Missing and NaN are None. Times are UTC, written as the column's texts are.
    """
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        distinct = values_of(array.dictionary, column)
        if distinct is None:
            return None
        codes = array.indices.to_pylist()
        return [None if code is None else distinct[code] for code in codes]
    if types.is_run_end_encoded(kind):
        return None  # a few bytes that stand for any number of values
    if types.is_timestamp(kind) or types.is_date(kind):
        return _times(array, column)
    read = _reader_of(kind, column)
    return None if read is None else [None if v is None else read(v) for v in array.to_pylist()]


def _reader_of(kind: Any, column: Column) -> Callable[[Any], Given] | None:
    """What makes a value of one that Arrow gives, by the type of the array."""
    from pyarrow import types

    if types.is_boolean(kind) or types.is_null(kind):
        return _as_it_is
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _as_it_is
    if types.is_integer(kind):
        return _text_of_integer if column.type is ColumnType.TEXT else _integer
    if types.is_floating(kind) or types.is_decimal(kind):
        return _number
    if types.is_time(kind):
        return _text_of_time_of_day
    return None


def _as_it_is(value: Value) -> Given:
    return value


def _integer(value: int) -> Given:
    if abs(value) <= EXACT_INTEGERS:
        return value
    expected = f"a number within 2**53 ({EXACT_INTEGERS}); send longer identifiers as text"
    return Unfit(status=422, given="a larger number", expected=expected)


def _text_of_integer(value: int) -> Given:
    return value if abs(value) <= EXACT_INTEGERS else str(value)


def _number(value: Any) -> Given:
    number = float(value)
    if math.isinf(number):
        return Unfit(status=422, given=kind_of(number), expected="a finite number")
    return None if math.isnan(number) else number


def _text_of_time_of_day(value: Any) -> Given:
    text: str = value.isoformat()
    return text


def _times(array: Any, column: Column) -> list[Given]:
    """Times as texts; without a zone they are UTC, as wherever a contract reads times."""
    import pyarrow as pa

    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    rate = _TICKS_A_SECOND[array.type.unit]
    codec = Codec(column)
    return [
        None if ticks is None else _text_of_time(ticks, rate, codec)
        for ticks in array.cast(pa.int64()).to_pylist()
    ]


def _text_of_time(ticks: int, rate: int, codec: Codec) -> Given:
    try:
        moment = _EPOCH + timedelta(microseconds=ticks * 10**6 // rate)
    except OverflowError:
        given = "a time beyond the years 1 to 9999"
        return Unfit(status=422, given=given, expected=codec.expected)
    form = codec.column.format
    if form is None:
        return moment.isoformat()
    text = moment.strftime(form)
    if _same_moment(codec, text, moment):
        return text
    return Unfit(
        status=422, given="a time that needs more than the format says", expected=codec.expected
    )


def _same_moment(codec: Codec, text: str, moment: datetime) -> bool:
    """Whether the text in the column's format says all that the time does."""
    try:
        return codec.moment(text) == moment
    except ValueError:
        return False
