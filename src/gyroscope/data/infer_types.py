"""The type of a column, guessed from its distinct values."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import ColumnType
from gyroscope.data.dates import Dates, dates_of
from gyroscope.data.distinct import Distinct
from gyroscope.data.remarks import Remark, name_words, quoted

# Texts that mean "no value" in any column, and those that do so only among numbers; lower case.
MARKERS = ("?", "na", "n/a", "#n/a", "<na>", "null", "#null!", "none", "nan", "nat", "-", "--")
MARKERS_AMONG_NUMBERS = (
    *("unknown", "unk", "missing", "undefined", "not available", "n.a.", "n.d.", "*", "."),
    *("#div/0!", "#value!", "#ref!", "#num!", "#name?"),
)
TRUE_WORDS = frozenset({"yes", "y", "true", "t"})
FALSE_WORDS = frozenset({"no", "n", "false", "f"})
CODE_WORDS = frozenset({"code", "codes", "id", "postcode", "type", "zip", "zipcode"})
MOST_CODES = 1000  # whole numbers with a name such as "type_id" are categories up to here
FEW = 5  # different texts among numbers up to which they look like slips
FEW_SLIPS = 0.1  # and the share of rows up to which they do

# Shapes of texts: any number, a whole one, one that is more likely a code.
NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?\d+$"
LEADING_ZERO = r"^0\d"
# 1,234.5 or 3,14 or 12 %, but no 10.0.0.1 or 24.12.2024
WRITTEN_NUMBER = r"^[$€£]? ?[+-]?(?:\d{1,3}(?:[.,' ]\d{3})+|\d+)(?:[.,]\d+)? ?[%$€£]?$"


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """A column with its type."""

    type: ColumnType
    values: Distinct  # texts that mean missing taken out
    words: str  # the type in words, for people
    numbers: NDArray[np.float64] | None = None  # float64[k]: the distinct values, if numbers
    missing: tuple[str, ...] = ()
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    dates: Dates | None = None
    remarks: tuple[Remark, ...] = ()


def infer_type(column: Distinct, *, untyped: bool) -> Typed:
    """Guess the type of a column.

    ``untyped`` says that the source knows no types, as CSV: texts that look like numbers are then
    numbers. Where types are known, such texts are codes somebody chose to keep as text.
    """
    if column.kind == "text":
        return _text_type(column, untyped=untyped)
    numbers = None
    if column.kind in ("integer", "float"):
        numbers = column.values.to_numpy(zero_copy_only=False).astype(np.float64)
    if column.kind == "integer" and _are_codes(column):
        return _codes(column)
    if column.kind == "integer" and (dated := _dates_as_numbers(column)) is not None:
        return dated
    types = {
        "integer": (ColumnType.INTEGER, "whole numbers"),
        "float": (ColumnType.NUMBER, "numbers"),
        "boolean": (ColumnType.BOOLEAN, "true or false"),
        "time": (ColumnType.DATETIME, _span_of_times(column)),
        "unsupported": (ColumnType.TEXT, f"values of type {column.stored}"),
    }
    kind, words = types[column.kind]
    return Typed(type=kind, values=column, words=words, numbers=numbers)


def _span_of_times(column: Distinct) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.kind != "time" or not len(column.values):
        return "no times"
    ends = (function(column.values) for function in (pc.min, pc.max))
    first, last = (end.cast(pa.string()).as_py()[:10] for end in ends)
    return f"times from {first} to {last}"


def _text_type(column: Distinct, *, untyped: bool) -> Typed:
    markers, remarks = _markers(column)
    values = column.without(markers)
    for attempt in (_boolean, _date, _number if untyped or markers else _spoilt_number):
        typed = attempt(values)
        if typed is not None:
            missing = tuple(sorted((*markers, *typed.missing)))
            noted = _missing_texts(column, markers)
            return msgspec.structs.replace(
                typed, missing=missing, remarks=(*remarks, *noted, *typed.remarks)
            )
    return Typed(
        type=ColumnType.CATEGORY,
        values=values,
        words="texts",
        missing=tuple(sorted(markers)),
        remarks=(*remarks, *_missing_texts(column, markers), *_number_like(values)),
    )


# -- texts that mean missing ----------------------------------------------------------------------


def _markers(column: Distinct) -> tuple[list[str], tuple[Remark, ...]]:
    """The texts in a column that mean missing, with a remark on one that does not."""
    found = _among(column.values, MARKERS)
    if "NA" in found and _country_codes(column):
        found.remove("NA")
        return found, (
            Remark(
                column=column.name,
                level="note",
                kind="country-code",
                message="'NA' is taken for a value (Namibia), not for missing, because the other "
                "values are codes of two letters.",
                advice="If it means missing, write `missing: [NA]` and `nullable: true` and take "
                "it out of `categories`.",
            ),
        )
    return found, ()


def _among(values: Any, texts: tuple[str, ...]) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(texts, type=values.type)
    found: list[str] = values.filter(pc.is_in(pc.utf8_lower(values), value_set=wanted)).to_pylist()
    return found


def _country_codes(column: Distinct) -> bool:
    others = [text for text in column.texts() if text != "NA"]
    codes = [text for text in others if len(text) == 2 and text.isalpha() and text.isupper()]
    return len(codes) >= 5 and len(codes) >= 0.8 * len(others)


# -- types of texts -------------------------------------------------------------------------------


def _boolean(values: Distinct) -> Typed | None:
    if not 2 <= len(values.values) <= 8:
        return None
    texts = values.texts()
    true = tuple(sorted(t for t in texts if t.casefold() in TRUE_WORDS))
    false = tuple(sorted(t for t in texts if t.casefold() in FALSE_WORDS))
    if not true or not false or len(true) + len(false) < len(texts):
        return None
    return Typed(
        type=ColumnType.BOOLEAN,
        values=values,
        words=f"{true[0]} or {false[0]}",
        true=true,
        false=false,
    )


def _date(values: Distinct) -> Typed | None:
    dates = dates_of(values.values) if len(values.values) >= 2 else None
    if dates is None:
        return None
    remarks: tuple[Remark, ...] = ()
    if dates.ambiguous:
        remarks = (
            Remark(
                column=values.name,
                level="warning",
                kind="ambiguous-date",
                message=f"Day and month could be the other way round; read as {dates.format} the "
                f"dates run from {dates.first:%Y-%m-%d} to {dates.last:%Y-%m-%d}.",
                advice="Change `format` if that is wrong.",
            ),
        )
    return Typed(
        type=ColumnType.DATETIME,
        values=values,
        words=f"dates from {dates.first:%Y-%m-%d} to {dates.last:%Y-%m-%d}",
        dates=dates,
        remarks=remarks,
    )


def _dates_as_numbers(values: Distinct) -> Typed | None:
    """Whole numbers such as 20260131 as dates."""
    import pyarrow as pa

    texts = values.values.cast(pa.large_string())
    typed = _date(msgspec.structs.replace(values, values=texts))
    return None if typed is None else msgspec.structs.replace(typed, values=values)


def _number(values: Distinct) -> Typed | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    others = values.values.filter(pc.invert(pc.match_substring_regex(values.values, NUMBER)))
    markers = _among(others, MARKERS_AMONG_NUMBERS)
    if len(others) > len(markers):
        return None
    values = values.without(markers)
    texts = values.values
    if len(texts) == 0 or pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py():
        return None
    whole = pc.all(pc.match_substring_regex(texts, _INTEGER)).as_py()
    if whole and _are_codes(values):
        return msgspec.structs.replace(_codes(values), missing=tuple(markers))
    return Typed(
        type=ColumnType.INTEGER if whole else ColumnType.NUMBER,
        values=values,
        words="whole numbers" if whole else "numbers",
        numbers=pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False),
        missing=tuple(markers),
    )


def _spoilt_number(values: Distinct) -> Typed | None:
    """Texts of a typed source are numbers only if a text that means missing spoilt them."""
    typed = _number(values)
    return typed if typed is not None and typed.missing else None


def _are_codes(values: Distinct) -> bool:
    """Whether whole numbers stand for things rather than amounts, going by the column's name."""
    return bool(name_words(values.name) & CODE_WORDS) and 2 < len(values.values) <= MOST_CODES


def _codes(values: Distinct) -> Typed:
    return Typed(
        type=ColumnType.CATEGORY,
        values=values,
        words="codes",
        remarks=(
            Remark(
                column=values.name,
                level="note",
                kind="codes",
                message="Whole numbers taken for codes, that is for a category, because of the "
                "name.",
                advice="For an amount write `type: integer` and leave out `categories`.",
            ),
        ),
    )


def _number_like(values: Distinct) -> tuple[Remark, ...]:
    """A remark on texts that may have been meant as numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = values.values
    if len(texts) == 0 or pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py():
        return ()
    odd = pc.invert(pc.match_substring_regex(texts, NUMBER))
    odd_texts, odd_rows = texts.filter(odd), pa.array(values.counts).filter(odd)
    written = odd_rows.filter(pc.match_substring_regex(odd_texts, WRITTEN_NUMBER))
    n_odd, n_written = sum(odd_rows.to_pylist()), sum(written.to_pylist())
    if 0 < len(odd_texts) <= FEW and n_odd <= FEW_SLIPS * values.n_present:
        told = _slips(odd_texts.to_pylist())
    elif n_odd and n_written >= (1 - FEW_SLIPS) * n_odd:
        told = _written_for_people(odd_texts[:2].to_pylist())
    else:
        return ()
    return (Remark(column=values.name, level="warning", kind="number-like", **told),)


def _slips(texts: list[str]) -> dict[str, str]:
    return {
        "message": f"Numbers but for {quoted(texts)}; taken for texts.",
        "advice": "If those mean missing, write `type: number` and `nullable: true`, list them "
        "under `missing` and leave out `categories`.",
    }


def _written_for_people(texts: list[str]) -> dict[str, str]:
    return {
        "message": f"Values such as {quoted(texts)} look like numbers with a decimal comma, "
        "thousands separators or a unit; taken for texts.",
        "advice": "To use them as numbers, write them like 1234.5 in the data.",
    }


def _missing_texts(column: Distinct, markers: list[str]) -> tuple[Remark, ...]:
    """A remark on texts taken for missing."""
    if not markers:
        return ()
    return (
        Remark(
            column=column.name,
            level="note",
            kind="missing-text",
            message=f"{quoted(sorted(markers))} taken for missing.",
            advice="If it is a value like others, take it out of `missing` and add it to "
            "`categories`.",
        ),
    )
