from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gyroscope.data.contract import Column, ColumnType, Role
from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_roles import Placed, given_role, infer_role
from gyroscope.data.infer_types import infer_type
from gyroscope.errors import ContractError


def placed(values: list[Any], *, name: str = "column") -> Placed:
    return infer_role(infer_type(distinct_values(name, pa.array(values)), untyped=True))


def reason(values: list[Any], *, name: str = "column") -> str | None:
    """Why the column is ignored; None if it is a feature."""
    one = placed(values, name=name)
    return one.remarks[0].kind if one.column.role is Role.IGNORED else None


def texts(pattern: str, n: int) -> list[str]:
    return [pattern.format(k) for k in range(n)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, "", " "], "empty"),
        (["x"] * 30, "constant"),
        (["2026-01-31", "2026-02-01"] * 20, "date"),
        (texts("C-{:05}", 100), "id-like"),
        (texts("{}", 100), "id-like"),
        ([str(10**9 + k * k * 7919) for k in range(2000)], "id-like"),
        ([str(2**60), "5", "5", "6"], "id-like"),
        ([f"the customer said that {k} was not enough" for k in range(50)], "free-text"),
        (texts("town {}", 30) * 3, "high-cardinality"),
        (texts("town {}", 1001) * 6, "high-cardinality"),
        (["red", "blue"] * 20, None),
        ([str(k % 7) for k in range(50)], None),
        ([str(0.5 + k) for k in range(2000)], None),
        (["x", None] * 20, None),
    ],
)
def test_columns_that_teach_nothing_are_ignored(values: list[Any], expected: str | None) -> None:
    assert reason(values) == expected


def test_a_name_that_says_id_makes_many_values_an_identifier() -> None:
    values = [str(k % 60 * 17) for k in range(100)]
    assert reason(values, name="amount") is None
    assert reason(values, name="customerId") == "id-like"
    assert reason([str(k % 5) for k in range(100)], name="plan_id") is None


def test_whole_numbers_that_differ_by_chance_are_no_identifier() -> None:
    numbers = np.random.default_rng(1).choice(10_000, 100, replace=False)
    assert reason([str(k) for k in numbers]) is None


def test_decimal_numbers_that_all_differ_are_measurements() -> None:
    numbers = np.random.default_rng(1).normal(size=500)
    assert reason([str(x) for x in numbers]) is None


def test_a_short_list_of_values_is_complete_and_others_are_refused() -> None:
    column = placed(["b"] * 5 + ["a"] * 5 + ["c"] * 9).column
    assert column.categories == ("c", "a", "b")
    assert (column.unknown, column.why) == ("reject", "complete list of 3")


def test_a_value_that_occurs_once_says_that_others_may_come() -> None:
    column = placed(["a"] * 50 + ["b"] * 49 + ["c"]).column
    assert (column.categories, column.unknown) == (("a", "b"), "other")
    assert column.why == "2 most frequent of 3 values, 1 in 100 rows brings a new one"


def test_more_than_50_values_are_never_taken_for_all() -> None:
    column = placed(texts("value {}", 51) * 10).column
    assert (len(column.categories), column.unknown) == (51, "other")
    assert column.why == "51 values, others may come"


def test_no_more_than_the_200_most_frequent_values_are_listed() -> None:
    rows = texts("value {:03}", 300) * 6 + texts("value {:03}", 200)
    column = placed(rows).column
    assert column.categories == tuple(texts("value {:03}", 200))


def test_values_in_fewer_than_1_in_2000_rows_are_left_to_other() -> None:
    rows = ["common"] * 19_000 + ["rare"] * 10 + ["rarer"] * 9 + ["once"]
    assert placed(rows).column.categories == ("common", "rare")


def test_numbers_show_their_range_and_missing_share() -> None:
    assert placed(["3", "-1.5", "", "2"]).column == Column(
        name="column", type=ColumnType.NUMBER, nullable=True, seen=(-1.5, 3.0), why="25 % missing"
    )


def test_a_number_that_only_rises_along_the_file_may_be_a_clock() -> None:
    rising = placed([str(k // 2 + 0.5) for k in range(200)])
    assert rising.column.role is Role.FEATURE
    assert [(r.level, r.kind) for r in rising.remarks] == [("warning", "clock-like")]
    assert not placed([str(k % 90 + 0.5) for k in range(200)]).remarks


def test_a_decimal_comma_is_told_even_if_the_column_is_ignored() -> None:
    one = placed([f"{k},5" for k in range(100)])
    assert [r.kind for r in one.remarks] == ["id-like", "number-like"]


def test_the_time_must_hold_dates() -> None:
    typed = infer_type(distinct_values("when", pa.array(["1.5", "2"])), untyped=True)
    with pytest.raises(
        ContractError, match=r"column 'when' cannot be the time.*'1\.5', '2'.*2026-01"
    ):
        given_role(typed, Role.TIME)


def test_a_sensitive_column_keeps_its_categories_and_an_id_is_text() -> None:
    typed = infer_type(distinct_values("c", pa.array(["a", "b", "a", "b"])), untyped=True)
    assert given_role(typed, Role.SENSITIVE).column.categories == ("a", "b")
    assert given_role(typed, Role.ID).column.type is ColumnType.TEXT


def test_an_empty_column_cannot_be_sensitive() -> None:
    typed = infer_type(distinct_values("c", pa.array([None, ""])), untyped=True)
    with pytest.raises(ContractError, match="'c' cannot be sensitive"):
        given_role(typed, Role.SENSITIVE)


def test_too_many_values_cannot_make_groups() -> None:
    typed = infer_type(distinct_values("c", pa.array(texts("v{}", 1001))), untyped=True)
    with pytest.raises(ContractError, match="'c' cannot be sensitive: 1,001 different values"):
        given_role(typed, Role.SENSITIVE)


def test_what_cannot_be_used_says_how_it_is_stored() -> None:
    one = placed([[1], None])
    assert one.column == Column(
        name="column",
        type=ColumnType.TEXT,
        role=Role.IGNORED,
        why="values of type list<item: int64>",
    )
    assert [(r.level, r.kind) for r in one.remarks] == [("warning", "unsupported")]


def test_times_show_their_span() -> None:
    times = [dt.datetime(2026, 1, 1, 5, tzinfo=dt.UTC), dt.datetime(2026, 3, 1, tzinfo=dt.UTC)]
    assert placed(times).column.why == "times from 2026-01-01 to 2026-03-01"


def test_numbers_of_the_largest_size_are_compared_without_overflow() -> None:
    one = placed([f"{(-1) ** k * (100 + k)}e306" for k in range(60)])
    assert one.column.seen == (-1.59e308, 1.58e308)
    assert not one.remarks


def test_a_negative_zero_is_shown_as_zero() -> None:
    assert str(placed(["-0.0", "0.5"]).column.seen) == "(0.0, 0.5)"


def test_whole_numbers_that_float64_cannot_tell_apart_are_ignored_for_that_reason() -> None:
    [remark] = placed([str(2**60 + k % 10) for k in range(200)]).remarks
    assert "(whole numbers beyond 2**53, where a model cannot tell neighbours apart)" in (
        remark.message
    )
