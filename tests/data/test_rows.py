from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.rows import json_rows

CONTRACT = Contract(
    columns=(
        Column(name="amount", type=ColumnType.NUMBER, nullable=True, missing=("?", "-9")),
        Column(name="plan", type=ColumnType.CATEGORY, categories=("1",), missing=("NA",)),
        Column(name="day", type=ColumnType.DATETIME, format="%d.%m.%Y"),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME),
        Column(name="who", type=ColumnType.TEXT, role=Role.ID),
        Column(name="heft", type=ColumnType.NUMBER, role=Role.WEIGHT),
        Column(name="note", type=ColumnType.TEXT, role=Role.IGNORED),
        Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET),
    ),
    positive=("yes",),
    negative=("no",),
)


def sent(**columns: list[Any]) -> list[dict[str, Any]]:
    return [row for batch in json_rows(pa.table(columns), CONTRACT) for row in batch]


def test_what_a_server_does_not_want_is_left_out() -> None:
    [row] = sent(amount=["1"], plan=["1"], at=["2026"], who=["a"], heft=["1"], note=["n"],
                 y=["yes"], colour=["red"])  # fmt: skip
    assert row == {"amount": 1, "plan": "1", "at": "2026", "who": "a"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" 1 ", 1),
        ("1.0", 1.0),
        ("-0", 0),
        ("+7", 7),
        ("007", 7),
        ("1e3", 1000.0),
        ("9007199254740993", 9007199254740992.0),
        ("9" * 30, 1e30),
        ("?", None),
        ("-9", None),
        ("-9.0", -9.0),  # the encoder takes it for missing
        ("", None),
        (None, None),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e999", "1e999"),
        ("ten", "ten"),
    ],
)
def test_texts_become_numbers_if_they_are_any(text: str | None, value: Any) -> None:
    [row] = sent(amount=pa.array([text], pa.string()))
    assert row["amount"] == value
    assert type(row["amount"]) is type(value)


@pytest.mark.parametrize(
    ("typed", "value"),
    [(1, 1), (1.5, 1.5), (float("nan"), None), (None, None), (-9.0, None), (Decimal("1.50"), 1.5)],
)
def test_typed_numbers_stay_as_they_are(typed: Any, value: Any) -> None:
    assert sent(amount=[typed]) == [{"amount": value}]


def test_categories_stay_text_and_listed_texts_are_missing() -> None:
    assert sent(plan=[" 1 ", "NA", "1.0"]) == [{"plan": "1"}, {"plan": None}, {"plan": "1.0"}]


def test_times_are_written_as_the_contract_reads_them() -> None:
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    [row] = sent(at=pa.array([moment], pa.timestamp("ms", "UTC")), day=[date(2026, 3, 1)])
    assert row == {"at": "2026-03-01T12:30:00+00:00", "day": "01.03.2026"}


def test_batches_hold_all_rows_in_order() -> None:
    table = pa.table({"amount": list(range(25))})
    batches = list(json_rows(table, CONTRACT, batch=10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [row["amount"] for batch in batches for row in batch] == list(range(25))
    assert list(json_rows(table.slice(0, 0), CONTRACT)) == []
