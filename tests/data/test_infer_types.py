from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.arrow import encode_column
from gyroscope.data.codec import Codec
from gyroscope.data.contract import ColumnType
from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_roles import infer_role
from gyroscope.data.infer_types import Typed, infer_type


def typed(
    values: list[Any], *, name: str = "column", kind: Any = None, untyped: bool = True
) -> Typed:
    return infer_type(distinct_values(name, pa.array(values, kind)), untyped=untyped)


def kinds(one: Typed) -> list[str]:
    return [remark.kind for remark in one.remarks]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-20", "+3"], "integer"),
        ([" 1 ", "2\t"], "integer"),
        (["1", "2.5", "1e5", ".5", "7."], "number"),
        (["0", "1"], "integer"),
        (["yes", "no"], "boolean"),
        (["True", "FALSE", "true"], "boolean"),
        (["t", "f"], "boolean"),
        (["Y", "N"], "boolean"),
        (["yes", "no", "maybe"], "category"),
        (["yes", "yes"], "category"),
        (["007", "042"], "category"),
        (["1_000", "2_000"], "category"),
        (["inf", "1"], "category"),
        (["2026-01-31", "2026-02-01"], "datetime"),
        (["20260131", "20260201"], "datetime"),
        (["red", "blue"], "category"),
    ],
)
def test_the_type_of_texts_is_guessed_from_all_of_them(texts: list[str], expected: str) -> None:
    assert typed(texts).type == expected


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, None], pa.int32(), "integer"),
        ([20260131, 20260201], pa.int64(), "datetime"),
        ([20260131, 20260299], pa.int64(), "integer"),
        ([1, 2**63], pa.uint64(), "integer"),
        ([1.0, 2.0], pa.float32(), "number"),
        ([Decimal("1.50"), None], pa.decimal128(5, 2), "number"),
        ([True, False, None], pa.bool_(), "boolean"),
        ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC"), "datetime"),
        ([dt.date(2026, 1, 1)], pa.date32(), "datetime"),
        (["1", "2", "10"], pa.string(), "category"),
        ([[1], [2]], pa.list_(pa.int64()), "text"),
        ([b"a", b"b"], pa.binary(), "text"),
    ],
)
def test_types_of_the_source_are_kept(values: list[Any], kind: Any, expected: str) -> None:
    assert typed(values, kind=kind, untyped=False).type == expected


def test_dates_kept_as_numbers_are_read_by_the_codec() -> None:
    array = pa.array([20260131, None, 20260201])
    column = infer_role(infer_type(distinct_values("day", array), untyped=False)).column
    assert (column.format, column.nullable) == ("%Y%m%d", True)
    encoded = encode_column(Codec(column), array)
    assert encoded.bad.size == 0
    assert np.nanmax(encoded.values) - np.nanmin(encoded.values) == 86_400


def test_dictionaries_count_as_their_values() -> None:
    array = pa.array(["b", "a", None, "b"]).dictionary_encode()
    values = distinct_values("c", array)
    assert values.texts() == ["b", "a"]
    assert values.counts.tolist() == [2, 1]
    assert values.codes.tolist() == [0, 1, -1, 0]


def test_numbers_kept_as_text_are_numbers_only_where_a_text_for_missing_spoilt_them() -> None:
    assert typed(["1", "2", "NA"], untyped=False).type is ColumnType.INTEGER
    assert typed(["1", "2", ""], untyped=False).type is ColumnType.CATEGORY


@pytest.mark.parametrize(
    "marker", ["?", "NA", "N/A", "n/a", "null", "NULL", "None", "nan", "NaN", "-", "<NA>"]
)
def test_texts_that_mean_missing_are_listed_and_make_the_column_nullable(marker: str) -> None:
    one = typed([f" {marker}", "2.5", "3"])
    column = infer_role(one).column
    assert (one.type, column.missing, column.nullable) == (ColumnType.NUMBER, (marker,), True)
    assert "missing-text" in kinds(one)


def test_blank_and_null_are_missing_without_being_listed() -> None:
    column = infer_role(typed(["a", "b", " ", "", None, "a"])).column
    assert (column.missing, column.nullable) == ((), True)


def test_unknown_means_missing_only_among_numbers() -> None:
    assert typed(["1", "unknown", "2"]).missing == ("unknown",)
    assert typed(["red", "unknown", "blue"]).missing == ()


def test_na_among_codes_of_two_letters_is_a_country() -> None:
    one = typed(["DE", "NA", "FR", "US", "GB", "ES", "IT"])
    assert one.missing == ()
    assert "NA" in one.values.texts()
    assert kinds(one) == ["country-code"]


@pytest.mark.parametrize("name", ["admission_type_id", "zipCode", "PRODUCT CODE"])
def test_whole_numbers_are_codes_if_the_name_says_so(name: str) -> None:
    for values, untyped in ((["1", "2", "3"], True), ([1, 2, 3], False)):
        one = typed(values, name=name, untyped=untyped)
        assert one.type is ColumnType.CATEGORY
        assert kinds(one) == ["codes"]


def test_a_few_slips_among_numbers_are_named() -> None:
    one = typed([str(k) for k in range(50)] + ["12a"])
    assert one.type is ColumnType.CATEGORY
    assert kinds(one) == ["number-like"]
    assert "Numbers but for '12a'" in one.remarks[0].message


@pytest.mark.parametrize("texts", [["3,14", "2,72", "1"], ["$1,200", "$3"], ["12 %", "7.5 %"]])
def test_numbers_written_for_people_are_named(texts: list[str]) -> None:
    one = typed(texts)
    assert one.type is ColumnType.CATEGORY
    assert "decimal comma" in one.remarks[0].message


def test_mixed_codes_are_not_mistaken_for_spoilt_numbers() -> None:
    assert kinds(typed([str(k) for k in range(50)] + [f"V{k}" for k in range(20)])) == []


def test_a_date_that_may_be_read_two_ways_carries_a_warning() -> None:
    one = typed(["01/02/2026", "02/02/2026"])
    assert [r.level for r in one.remarks] == ["warning"]
    assert kinds(one) == ["ambiguous-date"]


values = st.one_of(
    st.text(max_size=6), st.sampled_from(["1", "2.5", "NA", "yes", "no", "2026-01-31"])
)


@given(st.lists(st.none() | values, min_size=1, max_size=40))
def test_whatever_is_inferred_fits_every_value_it_was_inferred_from(
    texts: list[str | None],
) -> None:
    array = pa.array(texts, pa.string())
    placed = infer_role(infer_type(distinct_values("column", array), untyped=True))
    if placed.column.role == "feature":
        encoded = encode_column(Codec(placed.column), array)
        assert encoded.bad.size == 0
