from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.codec import Codec, label_text, plain_number, shorten
from gyroscope.data.contract import Column, ColumnType

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def codec(type_: ColumnType = ColumnType.NUMBER, **fields: Any) -> Codec:
    if type_ is ColumnType.CATEGORY:
        fields = {"categories": ("basic", "plus"), **fields}
    return Codec(Column(name="x", type=type_, **fields))


def other(*categories: str) -> Codec:
    """A category that takes unknown values for "other"."""
    return codec(ColumnType.CATEGORY, categories=categories, unknown="other")


FITTING = [
    # codec, a value as JSON carries it, the number the model sees
    (codec(), 1.5, 1.5),
    (codec(), 7, 7.0),
    (codec(), 10**17, 1e17),
    (codec(), 5e-324, 5e-324),
    (codec(limits=(0, None)), 0, 0.0),
    (codec(ColumnType.INTEGER), 7, 7.0),
    (codec(ColumnType.INTEGER), 7.0, 7.0),
    (codec(ColumnType.INTEGER), 2**53 - 1, float(2**53 - 1)),
    (codec(ColumnType.BOOLEAN), True, 1.0),
    (codec(ColumnType.BOOLEAN), "True", 1.0),
    (codec(ColumnType.BOOLEAN), " false", 0.0),
    (codec(ColumnType.BOOLEAN, true=("Ja",), false=("Nein",)), "JA ", 1.0),
    (codec(ColumnType.BOOLEAN, true=("Ja",), false=("Nein",)), False, 0.0),
    (codec(ColumnType.BOOLEAN, true=("1",), false=("0",)), 1, 1.0),
    (codec(ColumnType.BOOLEAN, true=("1",), false=("0",)), 0.0, 0.0),
    (codec(ColumnType.BOOLEAN, true=("1",), false=("0",)), "1.0", 1.0),
    (codec(ColumnType.CATEGORY), "plus", 1.0),
    (codec(ColumnType.CATEGORY), " plus ", 1.0),
    (codec(ColumnType.CATEGORY, categories=(" plus ",)), "plus", 0.0),
    (other("basic"), "Basic", 1.0),
    (other("basic"), 7, 1.0),
    (other("7", "8"), 8, 1.0),
    (other("7", "8"), 8.0, 1.0),
    (other("7.0", "8.0"), 8, 1.0),
    (other("07", "7"), 7, 1.0),
    (other("07", "8"), 7, 0.0),
    (other("1.5", "2.5"), 2.5, 1.0),
    (other("True", "False"), False, 1.0),
    (codec(ColumnType.DATETIME), "2026-03-01T12:00:00Z", NOON),
    (codec(ColumnType.DATETIME), "2026-03-01 12:00", NOON),
    (codec(ColumnType.DATETIME), "2026-03-01T17:30:00+05:30", NOON),
    (codec(ColumnType.DATETIME), "2026-03-01", NOON - 12 * 3600),
    (codec(ColumnType.DATETIME), "1969-12-31T23:59:59.5Z", -0.5),
    (codec(ColumnType.DATETIME, format="%d.%m.%Y %H:%M"), "01.03.2026 12:00", NOON),
    (codec(ColumnType.DATETIME, format="%d.%m.%Y %H:%M %z"), "01.03.2026 14:00 +0200", NOON),
    (codec(ColumnType.DATETIME, format="%Y%m%d"), 20260301, NOON - 12 * 3600),
    (codec(ColumnType.DATETIME, format="%Y%m%d"), 20260301.0, NOON - 12 * 3600),
]


@pytest.mark.parametrize(("given", "value", "expected"), FITTING)
def test_a_value_that_fits_becomes_a_number(given: Codec, value: Any, expected: float) -> None:
    assert given.number(value) == expected


UNFIT = [
    # codec, a value that does not fit, what is expected instead
    (codec(), "1.5", "a finite number"),
    (codec(), True, "a finite number"),
    (codec(), math.inf, "a finite number"),
    (codec(), math.nan, "a finite number"),
    (codec(), 10**400, "a finite number"),
    (codec(), None, "a finite number"),
    (codec(), [1], "a finite number"),
    (codec(nullable=True), "?", "a finite number or null"),
    (codec(limits=(0, 1234567)), -1, "a finite number, at least 0, at most 1234567"),
    (codec(limits=(None, 0.1)), 0.2, "a finite number, at most 0.1"),
    (codec(ColumnType.INTEGER), 1.5, "a whole number"),
    (codec(ColumnType.INTEGER), 2**53, "a whole number"),
    (codec(ColumnType.INTEGER), 1e300, "a whole number"),
    (codec(ColumnType.BOOLEAN), 1, "true or false"),
    (codec(ColumnType.BOOLEAN), None, "true or false"),
    (codec(ColumnType.BOOLEAN, true=("yes",), false=("no",)), "x", "true or false or yes or no"),
    (codec(ColumnType.CATEGORY), "pro", "one of basic, plus"),
    (codec(ColumnType.CATEGORY), 7, "one of basic, plus"),
    (codec(ColumnType.CATEGORY), None, "one of basic, plus"),
    (codec(ColumnType.CATEGORY), "", "one of basic, plus"),
    (
        codec(ColumnType.CATEGORY, categories=tuple("abcdefghij")),
        "k",
        "one of a, b, c, d, e, f, g, h, ...",
    ),
    (other("basic"), 1.5, "a text"),
    (other("basic"), math.nan, "a text"),
    (other("basic"), math.inf, "a text"),
    (other("basic"), {"a": 1}, "a text"),
    (codec(ColumnType.DATETIME), "soon", "a time like 2026-01-31T12:00:00Z"),
    (codec(ColumnType.DATETIME), 20260301, "a time like 2026-01-31T12:00:00Z"),
    (codec(ColumnType.DATETIME), "0001-01-01T00:00:00+01:00", "a time like 2026-01-31T12:00:00Z"),
    (codec(ColumnType.DATETIME, format="%Y%m%d"), 20261301, "a time like %Y%m%d"),
    (codec(ColumnType.DATETIME, format="%Y%m%d"), 20260301.5, "a time like %Y%m%d"),
    (codec(ColumnType.DATETIME, format="%Y%m%d"), True, "a time like %Y%m%d"),
    (codec(ColumnType.TEXT), 1.5, "a text"),
]


@pytest.mark.parametrize(("given", "value", "expected"), UNFIT)
def test_a_value_that_does_not_fit_says_what_would(given: Codec, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        given.number(value)
    assert given.expected == expected


@pytest.mark.parametrize("value", [None, "", " ", "?", " NA "])
@pytest.mark.parametrize("kind", list(ColumnType))
def test_null_blank_and_listed_texts_are_missing_in_every_type(
    kind: ColumnType, value: Any
) -> None:
    nullable = codec(kind, nullable=True, missing=("?", " NA"))
    assert math.isnan(nullable.number(value))
    assert nullable.is_missing(value)
    strict = codec(kind, missing=("?", " NA"))
    with pytest.raises(ValueError, match="^" + strict.expected.split(",")[0]):
        strict.number(value)


def test_a_number_listed_as_missing_is_so_however_it_is_written() -> None:
    given = codec(nullable=True, missing=("-999",), limits=(0, None))
    assert all(math.isnan(given.number(value)) for value in (-999, -999.0))
    assert all(math.isnan(given.number_of_text(text)) for text in ("-999", " -999.0", "-9.99e2"))
    assert math.isnan(codec(ColumnType.CATEGORY, nullable=True, missing=("0",)).number(0.0))
    assert not codec(missing=("1",)).is_missing(True)


@pytest.mark.parametrize(
    ("text", "number"),
    [(" 1.5 ", 1.5), ("+1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("1e-400", 0.0), ("-0", 0.0)],
)
def test_texts_of_a_data_file_are_read_as_numbers(text: str, number: float) -> None:
    found = codec().number_of_text(text)
    assert (found, math.copysign(1, found)) == (number, math.copysign(1, number))


@pytest.mark.parametrize(
    "text", ["1_000", "1,5", "1e999", "nan", "inf", "-Infinity", "0x10", "", "1 000", "--1", "1.5€"]
)
def test_texts_that_are_no_plain_number_do_not_fit(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a finite number$"):
        codec().number_of_text(text)


def test_a_negative_zero_is_zero() -> None:
    assert math.copysign(1, codec().number(-0.0)) == 1


def test_text_is_carried_along_but_is_never_a_number() -> None:
    assert all(math.isnan(codec(ColumnType.TEXT).number(value)) for value in ("x", 7))


@pytest.mark.parametrize(
    "spellings",
    [
        ("1", 1, 1.0, " 1.0 ", "1e0", "+1", "01"),
        ("true", True, "TRUE "),
        ("0.5", 0.5, ".50"),
        ("No", "no", " NO"),
        ("0", -0.0, 0, "-0"),
    ],
)
def test_spellings_of_one_class_have_one_text(spellings: tuple[Any, ...]) -> None:
    assert len({label_text(value) for value in spellings}) == 1


def test_classes_that_differ_have_different_texts() -> None:
    values = ["1", "2", "1.5", "true", "false", "yes", "nan", "inf", "1_0", "10", ""]
    assert len({label_text(value) for value in values}) == len(values)


def test_plain_numbers_are_finite() -> None:
    assert plain_number("1e308") == 1e308
    assert [plain_number(text) for text in ("1e309", "nan", "x", "1_0", "")] == [None] * 5


def test_a_value_is_shown_in_a_few_words() -> None:
    assert [shorten(value) for value in (None, "a", 1.5, True)] == ["null", "'a'", "1.5", "True"]
    assert shorten("x" * 50) == repr("x" * 37 + "...")
    assert len(shorten(list(range(100)))) == 40


PLAIN = [
    {},
    {"limits": (0.0, 10.0)},
    {"limits": (None, 1e300), "nullable": True},
    {"missing": ("-1", "basic")},
    {"type_": ColumnType.INTEGER},
    {"type_": ColumnType.INTEGER, "limits": (-1.0, None)},
    {"type_": ColumnType.CATEGORY},
    {"type_": ColumnType.CATEGORY, "missing": ("plus",), "nullable": True},
    {"type_": ColumnType.BOOLEAN, "true": ("basic", "1")},
]
values = (
    st.floats()
    | st.integers(-5, 20)
    | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**53), 10**17, 10**400, -0.0, 0.0, -1.0])
    | st.sampled_from(["basic", "plus", " plus", "", "1", None, True, False])
)


def read(chosen: Codec, value: Any) -> str:
    try:
        return repr(chosen.number(value))
    except ValueError:
        return "does not fit"


@pytest.mark.parametrize("fields", PLAIN)
@given(value=values)
def test_values_that_surely_fit_are_read_like_all_others(
    fields: dict[str, Any], value: Any
) -> None:
    slow = codec(**fields)
    slow._plain_types, slow.codes = frozenset(), {}
    assert read(codec(**fields), value) == read(slow, value)


@pytest.mark.parametrize("fields", PLAIN)
@given(given=st.lists(values, max_size=6) | st.lists(st.floats(0, 9) | st.none(), max_size=6))
def test_many_values_are_read_like_each_of_them(fields: dict[str, Any], given: list[Any]) -> None:
    chosen = codec(**fields)
    expected = [read(chosen, value) for value in given]
    if "does not fit" in expected:
        with pytest.raises(ValueError, match=re.escape(chosen.expected)):
            chosen.numbers_of(given)
    else:
        assert list(map(repr, chosen.numbers_of(given).tolist())) == expected
