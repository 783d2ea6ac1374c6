"""From a whole Arrow column to the float64 values the model sees."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.codec import EXACT_INTEGERS, MISSING, Codec, shorten
from gyroscope.data.contract import ColumnType

Vector = NDArray[np.float64]

_TICKS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999


class EncodedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A whole column after encoding."""

    values: Vector  # float64[n]; NaN for missing and for values that do not fit
    bad: NDArray[np.int64]  # positions of values that do not fit, ascending
    first_bad: str  # the first of them as text, empty if there is none


def encode_column(codec: Codec, given: Any) -> EncodedColumn:
    """Encode an Arrow array or chunked array of any type the column can be stored in.

    Numbers and times are converted as a whole; everything else goes through :class:`Codec` once
    for each distinct value.
    """
    import pyarrow as pa

    array = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    numbers = None
    if codec.numeric:
        numbers = _numbers(codec, array)
    elif codec.column.type is ColumnType.DATETIME:
        numbers = _seconds(array)
    if numbers is None:
        return _by_distinct_value(codec, array)
    values, fits = codec.numbers(numbers)
    return _encoded(array, values, fits)


def _encoded(array: Any, values: Vector, fits: NDArray[np.bool_]) -> EncodedColumn:
    bad = np.flatnonzero(~fits)
    first_bad = shown(array, int(bad[0])) if bad.size else ""
    return EncodedColumn(values=values, bad=bad, first_bad=first_bad)


def shown(array: Any, position: int) -> str:
    """A value of an Arrow array or chunked array in a few words."""
    try:
        return shorten(array[position].as_py())
    except OverflowError:  # Python has no such time
        return "a time beyond the years 1 to 9999"


def _numbers(codec: Codec, array: Any) -> Vector | None:
    """The numbers in an Arrow array, NaN for null; None if it holds something else, too."""
    import pyarrow as pa
    from pyarrow import types

    kind = array.type
    if types.is_integer(kind) or types.is_floating(kind):
        return _floats(array)
    if types.is_decimal(kind):
        return _floats(array.cast(pa.string()))  # the direct way is off by a last bit at times
    if types.is_string(kind) or types.is_large_string(kind):
        return _numbers_of_texts(codec, array)
    return None


def _numbers_of_texts(codec: Codec, array: Any) -> Vector | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(array)
    missing = pa.array(sorted(codec.missing_texts), type=trimmed.type)
    absent = pc.is_in(trimmed, value_set=missing)
    try:
        numbers = _floats(pc.if_else(absent, None, trimmed))
    except pa.ArrowInvalid:  # some text that is no number, or not written as Arrow expects it
        return None
    empty = pc.or_(absent, pc.is_null(array)).to_numpy(zero_copy_only=False)
    return numbers if (np.isfinite(numbers) | empty).all() else None


def _floats(array: Any) -> Vector:
    import pyarrow as pa

    numbers: Vector = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers.astype(np.float64)


def _seconds(array: Any) -> Vector | None:
    """Times as seconds since 1970 UTC, NaN for null; None if the array does not hold times.

    A time beyond the years 1 to 9999 is infinite: no text could say it, so it does not fit.
    """
    import pyarrow as pa
    from pyarrow import types

    if types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    if not types.is_timestamp(array.type):
        return None
    ticks = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    rate = _TICKS_A_SECOND[array.type.unit]
    if array.type.unit == "ns":
        ticks, rate = ticks // 1000, 10**6  # read from text, a time has microseconds
    seconds: Vector = ticks / rate
    for i in np.flatnonzero(np.abs(ticks) > EXACT_INTEGERS):
        seconds[i] = int(ticks[i]) / rate  # rounded once, where float64 would round twice
    whole = ticks // rate
    seconds[(whole < _FIRST_SECOND) | (whole > _LAST_SECOND)] = math.inf
    seconds[array.is_null().to_numpy(zero_copy_only=False)] = MISSING
    return seconds


def _by_distinct_value(codec: Codec, array: Any) -> EncodedColumn:
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        try:
            array = array.dictionary_encode(null_encoding="encode")
        except pa.ArrowNotImplementedError:  # lists and structs
            fits = array.is_null().to_numpy(zero_copy_only=False) & codec.column.nullable
            return _encoded(array, np.full(len(array), MISSING), fits)
    distinct = [*array.dictionary.to_pylist(), None]
    numbers, fits = np.full(len(distinct), MISSING), np.ones(len(distinct), dtype=bool)
    for position, value in enumerate(distinct):
        try:
            numbers[position] = _number_of(codec, value)
        except ValueError:
            fits[position] = False
    indices = array.indices.cast(pa.int64()).fill_null(len(distinct) - 1)
    found = indices.to_numpy(zero_copy_only=False)
    return _encoded(array, numbers[found], fits[found])


def _number_of(codec: Codec, value: object) -> float:
    """The float64 for a value as Arrow gives it; raises ValueError."""
    if isinstance(value, str):
        return codec.number_of_text(value)
    if isinstance(value, float) and math.isnan(value):
        value = None
    elif isinstance(value, Decimal):
        value = float(value)
    elif isinstance(value, date | datetime | time):
        value = value.isoformat()
    return codec.number(value)  # type: ignore[arg-type]  # other types do not fit and say so
