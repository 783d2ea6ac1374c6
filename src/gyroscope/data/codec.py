"""From a value of one column, as text or JSON or Arrow, to the float64 the model sees.

This is the only place that turns values into numbers; training, serving and replays all pass
through it, so they cannot disagree. Missing is NaN, a category is its position in the contract
(``len(categories)`` for "other"), a boolean 0 or 1, a datetime its seconds since 1970 UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Column, ColumnType
from gyroscope.model import Value

MISSING = math.nan
EXACT_INTEGERS = 2**53  # beyond this a float64 cannot tell neighbouring integers apart


class EncodedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A whole column after encoding."""

    values: NDArray[np.float64]  # float64[n]; NaN for missing and for values that do not fit
    bad: NDArray[np.int64]  # positions of values that do not fit, ascending
    first_bad: str  # the first of them as text, empty if there is none


class Codec:
    """Encodes the values of one column.

    ``expected`` says in words what fits, for messages.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self._missing = frozenset({"", *(text.strip() for text in column.missing)})
        self._low, self._high = column.limits or (None, None)
        self._codes = {text: float(code) for code, text in enumerate(column.categories)}
        self._other = float(len(column.categories)) if column.unknown == "other" else None
        self._words = {word.casefold(): 1.0 for word in column.true}
        self._words |= {word.casefold(): 0.0 for word in column.false}
        self._read: Callable[[Any], float] = {
            ColumnType.NUMBER: self._number,
            ColumnType.INTEGER: self._number,
            ColumnType.BOOLEAN: self._boolean,
            ColumnType.CATEGORY: self._category,
            ColumnType.DATETIME: self._datetime,
            ColumnType.TEXT: self._text,
        }[column.type]
        self.expected = self._describe()

    def number(self, value: Value) -> float:
        """The float64 for a value as JSON carries it; numbers in quotes do not fit.

        Raises:
            ValueError: the value does not fit; ``expected`` says what would.
        """
        if value is None or (isinstance(value, str) and value.strip() in self._missing):
            if not self.column.nullable:
                raise ValueError(self.expected)
            return MISSING
        return self._read(value)

    def number_of_text(self, text: str) -> float:
        """The float64 for a field of a CSV file, where everything is text; raises as above."""
        text = text.strip()
        if self.column.type not in (ColumnType.NUMBER, ColumnType.INTEGER) or text in self._missing:
            return self.number(text)
        if "_" in text:  # float() reads 1_000, no data file means that
            raise ValueError(self.expected)
        try:
            return self._number(float(text))
        except ValueError:
            raise ValueError(self.expected) from None

    def _number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise ValueError(self.expected)
        if isinstance(value, int) and abs(value) > EXACT_INTEGERS:
            raise ValueError(self.expected)
        number = float(value)
        if (
            not math.isfinite(number)
            or (self.column.type is ColumnType.INTEGER and not number.is_integer())
            or (self._low is not None and number < self._low)
            or (self._high is not None and number > self._high)
        ):
            raise ValueError(self.expected)
        return number

    def _boolean(self, value: object) -> float:
        if isinstance(value, bool):
            return float(value)
        word = value.strip().casefold() if isinstance(value, str) else str(value)
        if word not in self._words:
            raise ValueError(self.expected)
        return self._words[word]

    def _category(self, value: object) -> float:
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int):
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(self.expected)
        code = self._codes.get(value)
        if code is None:
            code = self._codes.get(value.strip(), self._other)
        if code is None:
            raise ValueError(self.expected)
        return code

    def _datetime(self, value: object) -> float:
        return self.moment(value).timestamp()

    def moment(self, value: object) -> datetime:
        """The zone-aware time that a value of a datetime column stands for; raises ValueError."""
        if not isinstance(value, str):
            raise ValueError(self.expected)
        text = value.strip()
        try:
            if self.column.format is None:
                moment = datetime.fromisoformat(text)
            else:
                moment = datetime.strptime(text, self.column.format)  # noqa: DTZ007 (zone below)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(self.expected) from None

    def _text(self, value: object) -> float:
        if not isinstance(value, str | int):
            raise ValueError(self.expected)
        return MISSING  # text is carried along, never computed with

    def _describe(self) -> str:
        column = self.column
        kind = {
            ColumnType.NUMBER: "a finite number",
            ColumnType.INTEGER: "a whole number",
            ColumnType.DATETIME: f"a time like {column.format or '2026-01-31T12:00:00Z'}",
            ColumnType.TEXT: "a text",
            ColumnType.BOOLEAN: "true or false",
            ColumnType.CATEGORY: "a text",
        }[column.type]
        if column.type is ColumnType.CATEGORY and column.unknown == "reject":
            shown = ", ".join(column.categories[:8])
            kind = f"one of {shown}" + (", ..." if len(column.categories) > 8 else "")
        if self._low is not None:
            kind += f", at least {self._low:g}"
        if self._high is not None:
            kind += f", at most {self._high:g}"
        return kind + (" or null" if column.nullable else "")


def encode_column(codec: Codec, given: Any) -> EncodedColumn:
    """Encode an Arrow array or chunked array of any type the column can be stored in.

    Numbers are converted as a whole; everything else goes through :class:`Codec` once for each
    distinct value.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    kind = array.type
    numeric = codec.column.type in (ColumnType.NUMBER, ColumnType.INTEGER)
    if numeric and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return _checked(codec, array, _floats(array))
    if numeric and pa.types.is_decimal(kind):
        return _checked(codec, array, _floats(pc.cast(array, pa.float64())))
    if numeric and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        parsed = _parsed_numbers(codec, array)
        if parsed is not None:
            return _checked(codec, array, parsed)
    if codec.column.type is ColumnType.DATETIME and pa.types.is_temporal(kind):
        seconds = _floats(pc.cast(pc.cast(array, pa.timestamp("us")), pa.int64())) / 1e6
        return _checked(codec, array, seconds)
    return _by_distinct_value(codec, array)


def _floats(array: Any) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers: NDArray[np.float64] = pc.cast(array, pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    return numbers.astype(np.float64)


def _parsed_numbers(codec: Codec, array: Any) -> NDArray[np.float64] | None:
    """Texts as numbers in one go; None if some text is no plain number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(array)
    absent = pc.is_in(trimmed, value_set=pa.array(sorted(codec._missing), type=trimmed.type))
    try:
        numbers = _floats(pc.cast(pc.if_else(absent, None, trimmed), pa.float64()))
    except pa.ArrowInvalid:
        return None
    plain = np.isfinite(numbers) | _floats(pc.or_(absent, pc.is_null(array))).astype(bool)
    return numbers if plain.all() else None


def _checked(codec: Codec, array: Any, numbers: NDArray[np.float64]) -> EncodedColumn:
    """Let through what is plainly right at once and ask the codec about the rest."""
    plain = np.isfinite(numbers)
    if codec.column.type is ColumnType.INTEGER:
        plain &= (np.floor(numbers) == numbers) & (np.abs(numbers) <= EXACT_INTEGERS)
    if codec._low is not None:
        plain &= numbers >= codec._low
    if codec._high is not None:
        plain &= numbers <= codec._high
    if codec.column.nullable:
        plain |= np.isnan(numbers)
    bad = np.flatnonzero(~plain)
    numbers[bad] = MISSING
    return EncodedColumn(values=numbers, bad=bad, first_bad=_shown(array, bad))


def _by_distinct_value(codec: Codec, array: Any) -> EncodedColumn:
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode(null_encoding="encode")
    numbers = np.empty(len(array.dictionary) + 1)
    wrong = np.zeros(len(numbers), dtype=bool)
    for position, value in enumerate([*array.dictionary.to_pylist(), None]):
        try:
            numbers[position] = _plain_number(codec, value)
        except ValueError:
            numbers[position], wrong[position] = MISSING, True
    indices = array.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(wrong[indices])
    return EncodedColumn(values=numbers[indices], bad=bad, first_bad=_shown(array, bad))


def _plain_number(codec: Codec, value: object) -> float:
    if isinstance(value, str):
        return codec.number_of_text(value)
    if isinstance(value, float) and math.isnan(value):
        value = None
    if isinstance(value, date | datetime | time):
        value = value.isoformat()
    return codec.number(value)  # type: ignore[arg-type]  # other types do not fit and say so


def _shown(array: Any, bad: NDArray[np.int64]) -> str:
    return "" if bad.size == 0 else shorten(array[int(bad[0])].as_py())


def shorten(value: object) -> str:
    """A value in a few words, for messages."""
    if value is None:
        return "null"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 40 else text[:37] + "..."
    return repr(text) if isinstance(value, str) else text
