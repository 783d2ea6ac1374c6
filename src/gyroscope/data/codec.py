"""From a value of one column, as text or JSON, to the float64 the model sees.

This is the only place that turns values into numbers; training, serving and replays all pass
through it, so they cannot disagree. Missing is NaN, a category is its position in the contract
(``len(categories)`` for "other"), a boolean 0 or 1, a datetime its seconds since 1970 UTC.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Column, ColumnType
from gyroscope.model import Value

Vector = NDArray[np.float64]

MISSING = math.nan
EXACT_INTEGERS = 2**53  # from here on a float64 cannot tell neighbouring integers apart
# For msgspec: values in JSON that are exact beyond doubt.
PlainInteger = Annotated[int, msgspec.Meta(ge=-EXACT_INTEGERS, le=EXACT_INTEGERS)]
PlainFloat = Annotated[float, msgspec.Meta(ge=-float(EXACT_INTEGERS), le=float(EXACT_INTEGERS))]
_NoNumber = Annotated[int, msgspec.Meta(ge=1, le=0)]
PlainValue = str | PlainInteger | PlainFloat | bool | None
_NUMERIC = (ColumnType.NUMBER, ColumnType.INTEGER)
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
}


class Codec:
    """Encodes the values of one column.

    ``expected`` says in words what fits, for messages; ``codes`` has the numbers of categories as
    they are spelt in the contract, if they are not missing.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self.numeric = column.type in _NUMERIC
        self.missing_texts = frozenset({"", *(text.strip() for text in column.missing)})
        self._missing_numbers = _numbers_among(self.missing_texts)
        self._low, self._high = column.limits or (None, None)
        self._codes = _positions([text.strip() for text in column.categories])
        # What a number or boolean may stand for; a category spelt just like it comes first.
        self._spelt = _positions([label_text(text) for text in column.categories]) | self._codes
        self._other = float(len(column.categories)) if column.unknown == "other" else None
        self._plain_types, self._plain_low, self._plain_high = self._plain_numbers()
        self.codes: dict[Value, float] = {}
        if column.type is ColumnType.CATEGORY:
            self.codes |= {t: code for t, code in self._codes.items() if not self.is_missing(t)}
        self._words = {"true": 1.0, "false": 0.0}
        self._words |= {label_text(word): 1.0 for word in column.true}
        self._words |= {label_text(word): 0.0 for word in column.false}
        self._read: Callable[[Any], float] = {
            ColumnType.NUMBER: self._number,
            ColumnType.INTEGER: self._number,
            ColumnType.BOOLEAN: self._boolean,
            ColumnType.CATEGORY: self._category,
            ColumnType.DATETIME: self._datetime,
            ColumnType.TEXT: self._text,
        }[column.type]
        self.expected = self._describe()

    # -- single values --------------------------------------------------------------------------

    def number(self, value: Value) -> float:
        """The float64 for a value as JSON carries it; numbers in quotes do not fit.

        Raises:
            ValueError: the value does not fit; ``expected`` says what would.
        """
        kind = type(value)
        if kind in self._plain_types and self._plain_low <= value <= self._plain_high:  # type: ignore[operator]
            return value + 0.0  # type: ignore[operator]
        if kind is str and value in self.codes:
            return self.codes[value]
        if not self.is_missing(value):
            return self._read(value)
        if not self.column.nullable:
            raise ValueError(self.expected)
        return MISSING

    def number_of_text(self, text: str) -> float:
        """The float64 for a field of a CSV file, where everything is text; raises as above."""
        text = text.strip()
        if not self.numeric or text in self.missing_texts:
            return self.number(text)
        number = plain_number(text)
        if number is None:
            raise ValueError(self.expected)
        return self.number(number)

    @property
    def plain(self) -> bool:
        """Whether this is a column of numbers of which most need no more than a look at their type.

        :meth:`plain_type` leaves only those.
        """
        return bool(self._plain_types)

    def plain_type(self) -> Any:
        """The type for msgspec of values in JSON that :meth:`number` need not look at.

        Only where :attr:`plain`: numbers within the limits, for which ``float(value) + 0.0`` is
        enough, and null if they may be missing.
        """
        low, high = max(self._plain_low, -EXACT_INTEGERS), min(self._plain_high, EXACT_INTEGERS)
        kinds: list[Any] = [None] if self.column.nullable else []
        if math.ceil(low) <= math.floor(high):
            kinds.append(Annotated[int, msgspec.Meta(ge=math.ceil(low), le=math.floor(high))])
        if float in self._plain_types:
            kinds.append(Annotated[float, msgspec.Meta(ge=float(low), le=float(high))])
        return Union[tuple(kinds or [_NoNumber])]  # noqa: UP007  they are known only here

    def is_missing(self, value: Value) -> bool:
        """Whether a value stands for "no value": null, blank, or listed as missing."""
        if isinstance(value, str):
            return value.strip() in self.missing_texts
        if self._missing_numbers and isinstance(value, int | float):
            return value in self._missing_numbers and not isinstance(value, bool)
        return value is None

    def moment(self, value: object) -> datetime:
        """The zone-aware time that a value of a datetime column stands for; raises ValueError."""
        form = self.column.format
        if form is not None and _is_whole(value):
            value = label_text(value)  # 20260131 in a column written as %Y%m%d
        if not isinstance(value, str):
            raise ValueError(self.expected)
        text = value.strip()
        try:
            moment = _read_time(text, form)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(self.expected) from None

    def _plain_numbers(self) -> tuple[frozenset[type], float, float]:
        """Types and range of the numbers that surely fit, so that most values need no more checks.

        A whole number given as a float is not among them, nor is any number if some are missing.
        """
        if not self.numeric or self._missing_numbers:
            return frozenset(), 0.0, 0.0
        whole = self.column.type is ColumnType.INTEGER
        largest = float(EXACT_INTEGERS - 1) if whole else sys.float_info.max
        low = -largest if self._low is None else max(self._low, -largest)
        high = largest if self._high is None else min(self._high, largest)
        return frozenset({int} if whole else {int, float}), low, high

    def _number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise ValueError(self.expected)
        try:
            number = float(value) + 0.0  # -0.0 becomes 0.0: as an integer it has no sign
        except OverflowError:
            raise ValueError(self.expected) from None
        if (
            not math.isfinite(number)
            or (self.column.type is ColumnType.INTEGER and not _is_exact(value))
            or (self._low is not None and number < self._low)
            or (self._high is not None and number > self._high)
        ):
            raise ValueError(self.expected)
        return number

    def _boolean(self, value: object) -> float:
        if isinstance(value, bool):
            return float(value)
        word = self._words.get(label_text(value)) if isinstance(value, str | int | float) else None
        if word is None:
            raise ValueError(self.expected)
        return word

    def _category(self, value: object) -> float:
        if isinstance(value, str):
            code = self._codes.get(value.strip(), self._other)
        elif isinstance(value, bool) or _is_whole(value):
            code = self._spelt.get(label_text(value), self._other)
        elif isinstance(value, float):  # a fraction is surely no category unless it is listed
            code = self._spelt.get(label_text(value)) if math.isfinite(value) else None
        else:
            code = None
        if code is None:
            raise ValueError(self.expected)
        return code

    def _datetime(self, value: object) -> float:
        return self.moment(value).timestamp()

    def _text(self, value: object) -> float:
        if not isinstance(value, str | int):
            raise ValueError(self.expected)
        return MISSING  # text is carried along, never computed with

    # -- whole columns --------------------------------------------------------------------------

    def numbers_of(self, values: Sequence[Value]) -> Vector:
        """What :meth:`number` makes of each of n values, ``float64[n]``; raises ValueError."""
        kinds = set(map(type, values))
        if kinds and kinds <= self._plain_types | {type(None)}:
            numbers = self._plain_column(values)
            if numbers is not None:
                return numbers
        elif kinds == {str} and self.codes:
            codes = list(map(self.codes.get, values))
            if None not in codes:
                return np.array(codes, dtype=np.float64)
        return np.array([self.number(value) for value in values], dtype=np.float64)

    def _plain_column(self, values: Sequence[Value]) -> Vector | None:
        """The numbers of a column, missing for null; None unless all of them surely fit."""
        try:
            numbers = np.array(values, dtype=np.float64) + 0.0
        except OverflowError:
            return None
        fits = (numbers >= self._plain_low) & (numbers <= self._plain_high)
        n_missing = values.count(None) if self.column.nullable else 0
        return numbers if np.count_nonzero(fits) + n_missing == len(values) else None

    def numbers(self, given: Vector) -> tuple[Vector, NDArray[np.bool_]]:
        """What :meth:`number` makes of numbers, for a whole column of numbers at once.

        Returns:
            The encoded values, ``float64[n]``, with missing where one does not fit; and which fit,
            ``bool[n]``. NaN among those given is missing.
        """
        absent = np.isnan(given)
        if self._missing_numbers:
            absent |= np.isin(given, sorted(self._missing_numbers))
        fits = np.isfinite(given)
        if self.column.type is ColumnType.INTEGER:
            fits &= (np.floor(given) == given) & (np.abs(given) < EXACT_INTEGERS)
        if self._low is not None:
            fits &= given >= self._low
        if self._high is not None:
            fits &= given <= self._high
        encoded = np.where(fits & ~absent, given + 0.0, MISSING)
        return encoded, np.where(absent, self.column.nullable, fits)

    def _describe(self) -> str:
        column = self.column
        kind = {
            ColumnType.NUMBER: "a finite number",
            ColumnType.INTEGER: "a whole number",
            ColumnType.DATETIME: f"a time like {column.format or '2026-01-31T12:00:00Z'}",
            ColumnType.TEXT: "a text",
            ColumnType.BOOLEAN: " or ".join(["true or false", *column.true, *column.false]),
            ColumnType.CATEGORY: "a text",
        }[column.type]
        if column.type is ColumnType.CATEGORY and column.unknown == "reject":
            shown = ", ".join(column.categories[:8])
            kind = f"one of {shown}" + (", ..." if len(column.categories) > 8 else "")
        if self._low is not None:
            kind += f", at least {self._low:.15g}"
        if self._high is not None:
            kind += f", at most {self._high:.15g}"
        return kind + (" or null" if column.nullable else "")


def plain_number(text: str) -> float | None:
    """The number that a text of a data file stands for; None if it is none, or not finite."""
    if "_" in text:  # float() reads 1_000, no data file means that
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def label_text(value: object) -> str:
    """One spelling for the same class: ``1``, ``1.0`` and ``"1"``; ``True`` and ``"true"``."""
    text = str(value).strip()
    number = plain_number(text)
    if number is None:
        return text.casefold()
    return str(int(number)) if number.is_integer() else repr(number)


def spelt_differently(texts: Iterable[str]) -> list[list[str]]:
    """Texts that stand for one class though they differ, those of each class together."""
    of_class: dict[str, list[str]] = {}
    for text in texts:
        of_class.setdefault(label_text(text), []).append(text)
    return [spellings for spellings in of_class.values() if len(spellings) > 1]


def shorten(value: object) -> str:
    """A value in a few words, for messages."""
    if value is None:
        return "null"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 40 else text[:37] + "..."
    return repr(text) if isinstance(value, str) else text


def kind_of(value: object) -> str:
    """What a value is, in a few words that do not tell it: for messages that others may read."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, str) and not value.strip():
        return "a blank text"
    return _KINDS.get(type(value)) or f"a value of type {type(value).__name__}"


def _read_time(text: str, form: str | None) -> datetime:
    if form is None:
        return datetime.fromisoformat(text)
    return datetime.strptime(text, form)  # noqa: DTZ007 (the caller adds the zone)


def _positions(texts: list[str]) -> dict[str, float]:
    """Where each text stands first."""
    return {text: float(k) for k, text in reversed(list(enumerate(texts)))}


def _numbers_among(texts: frozenset[str]) -> frozenset[float]:
    numbers = (plain_number(text) for text in texts)
    return frozenset(number for number in numbers if number is not None)


def _is_whole(value: object) -> bool:
    """Whether a value is a number without a fraction, written as 7 or as 7.0."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _is_exact(value: float) -> bool:
    return abs(value) < EXACT_INTEGERS and float(value).is_integer()
