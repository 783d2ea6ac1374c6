from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gyroscope.data.checks import check_table
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.findings import Finding, Verdict, worst

N = 1000


def contract(*more: Column) -> Contract:
    plan = ("basic", "pro")
    return Contract(
        columns=(
            Column(name="age", type=ColumnType.INTEGER),
            Column(name="plan", type=ColumnType.CATEGORY, categories=plan),
            Column(name="left", type=ColumnType.CATEGORY, role=Role.TARGET),
            *more,
        ),
        positive=("yes",),
        negative=("no",),
    )


def rows(**changed: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "age": [str(k) for k in range(N)],
        "plan": ["basic", "pro"] * (N // 2),
        "left": ["yes", "no", "no", "no"] * (N // 4),
        **changed,
    }
    return pa.table({name: values for name, values in columns.items() if values is not None})


def with_change(values: list[Any], changes: dict[int, Any]) -> list[Any]:
    return [changes.get(k, value) for k, value in enumerate(values)]


def found(table: pa.Table, contract: Contract) -> list[Finding]:
    return [f for f in check_table(table, contract) if f.verdict is not Verdict.OK]


def only(table: pa.Table, contract: Contract) -> Finding:
    (finding,) = found(table, contract)
    return finding


def test_a_table_that_fits_is_ok_in_every_check() -> None:
    findings = check_table(rows(), contract())
    assert worst(findings) is Verdict.OK
    assert [(f.check, f.subject) for f in findings] == [
        ("fits", "age"),
        ("fits", "plan"),
        ("known_classes", "left"),
        ("enough_rows", "left"),
        ("repeated_rows", "rows"),
    ]


def test_a_column_that_is_absent_makes_training_impossible() -> None:
    finding = only(rows(age=None, unique=[str(k) for k in range(N)]), contract())
    assert (finding.check, finding.subject, finding.verdict) == ("column_present", "age", "alarm")
    assert finding.detail == "the data have no column 'age', which the contract lists as feature"


def test_an_absent_id_is_only_a_warning_and_an_ignored_column_none() -> None:
    more = (
        Column(name="who", type=ColumnType.TEXT, role=Role.ID),
        Column(name="old", type=ColumnType.TEXT, role=Role.IGNORED),
    )
    finding = only(rows(), contract(*more))
    assert (finding.subject, finding.verdict) == ("who", "warning")


def test_values_that_do_not_fit_are_counted_and_the_first_is_shown() -> None:
    ages = with_change([str(k) for k in range(N)], {6: "old", 9: "1.5"})
    finding = only(rows(age=ages), contract())
    assert (finding.check, finding.subject, finding.verdict) == ("fits", "age", "warning")
    assert finding.detail == (
        "2 rows (0.2 %) do not fit, first row 7: given 'old', expected a whole number; training "
        "leaves them out"
    )
    assert (finding.n, finding.value) == (N, 0.002)


def test_missing_values_are_told_from_those_that_do_not_fit() -> None:
    ages = with_change([str(k) for k in range(N)], {3: "", 4: None, 5: "x"})
    findings = {f.check: f for f in found(rows(age=ages), contract())}
    assert set(findings) == {"missing", "fits"}
    assert findings["missing"].detail.startswith(
        "2 rows (0.2 %) have no value, first row 4, though"
    )
    assert "1 row " in findings["fits"].detail


def test_missing_values_are_fine_where_the_contract_allows_them() -> None:
    ages = with_change([str(k) for k in range(N)], {3: "", 4: "?"})
    nullable = Column(name="age", type=ColumnType.INTEGER, nullable=True, missing=("?",))
    whole = Contract(
        columns=(nullable, *contract().columns[1:]), positive=("yes",), negative=("no",)
    )
    assert found(rows(age=ages), whole) == []


def test_a_number_that_means_missing_is_missing() -> None:
    needed = Column(name="code", type=ColumnType.INTEGER, missing=("-1",))
    finding = only(rows(code=[k if k else -1 for k in range(N)]), contract(needed))
    assert (finding.check, finding.value) == ("missing", 0.001)


def test_unknown_categories_are_named_where_they_are_refused() -> None:
    finding = only(rows(plan=with_change(["basic", "pro"] * 500, {1: "gold"})), contract())
    assert finding.check == "known_categories"
    assert "row 2: given 'gold', expected one of basic, pro" in finding.detail


def test_a_feature_with_one_value_or_none_that_fits_teaches_nothing() -> None:
    constant = only(rows(plan=["pro"] * N), contract())
    assert (constant.check, constant.verdict) == ("constant", "warning")
    findings = found(rows(age=["x"] * N, row=[str(k) for k in range(N)]), contract())
    assert [(f.check, f.verdict) for f in findings] == [
        ("fits", "warning"),
        ("constant", "warning"),
        ("enough_rows", "alarm"),
    ]


def test_target_values_in_neither_class_are_an_alarm() -> None:
    left = with_change(rows().column("left").to_pylist(), {7: "perhaps"})
    finding = only(rows(left=left), contract())
    assert (finding.check, finding.verdict) == ("known_classes", "alarm")
    assert finding.detail.startswith("'perhaps' in 1 row, first row 8, but the contract lists only")


def test_classes_are_known_in_any_spelling() -> None:
    table = rows(left=["YES", " No ", "no", "no"] * (N // 4))
    assert found(table, contract()) == []
    numbers = Contract(columns=contract().columns, positive=("1",), negative=("0",))
    for kind in (pa.int8(), pa.float64(), pa.bool_()):
        made = pa.array([1, 0] * (N // 2)).cast(kind)
        if kind == pa.bool_():
            numbers = Contract(columns=contract().columns, positive=("true",), negative=("false",))
        assert found(rows(left=made), numbers) == []


def test_rows_without_target_are_counted() -> None:
    left = with_change(rows().column("left").to_pylist(), {1: "", 2: None})
    finding = only(rows(left=left), contract())
    assert (finding.check, finding.verdict, finding.value) == ("missing", "warning", 0.002)


@pytest.mark.parametrize(("positives", "verdict"), [(33, "alarm"), (34, "warning"), (0, "alarm")])
def test_both_classes_need_rows(positives: int, verdict: str) -> None:
    finding = only(rows(left=["yes"] * positives + ["no"] * (N - positives)), contract())
    assert (finding.check, finding.verdict, finding.value) == ("enough_rows", verdict, positives)


def test_only_rows_that_can_be_trained_on_count() -> None:
    left, ages = ["yes"] * 300 + ["no"] * 700, [""] * 290 + [str(k) for k in range(710)]
    findings = {f.check: f for f in found(rows(left=left, age=ages), contract())}
    assert findings["enough_rows"].value == 10


def test_a_row_needs_a_time_and_a_positive_weight() -> None:
    more = (
        Column(name="day", type=ColumnType.DATETIME, role=Role.TIME, nullable=True),
        Column(name="w", type=ColumnType.NUMBER, role=Role.WEIGHT),
    )
    days = with_change(["2026-01-31"] * N, {0: ""})
    weights = with_change([1.0] * N, {1: 0.0, 2: -1.0})
    findings = found(rows(day=days, w=weights), contract(*more))
    assert [(f.subject, f.check, f.value) for f in findings] == [
        ("day", "missing", 0.001),
        ("w", "positive_weight", 0.002),
    ]


def test_sensitive_values_that_do_not_fit_leave_the_row_in() -> None:
    sex = Column(name="sex", type=ColumnType.CATEGORY, role=Role.SENSITIVE, categories=("f", "m"))
    findings = check_table(rows(sex=["x"] * N), contract(sex))
    assert {f.check: f.verdict for f in findings}["enough_rows"] is Verdict.OK
    assert (
        "fairness checks leave them out" in next(f for f in findings if f.subject == "sex").detail
    )


def test_repeated_rows_are_counted_exactly() -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "age": random.integers(0, 30, N),
            "plan": random.choice(["basic", "pro"], N),
            "left": random.choice(["yes", "no"], N),
            "x": pa.array(random.choice([0.5, 1.5, np.nan], N), from_pandas=True),
        }
    )
    expected = N - len({tuple(row.values()) for row in table.to_pylist()})
    (finding,) = [f for f in check_table(table, contract()) if f.check == "repeated_rows"]
    assert finding.verdict is Verdict.WARNING
    assert finding.value == expected / N


def test_a_single_repetition_is_only_a_notice() -> None:
    ages = with_change([str(k) for k in range(N)], {4: "0"})
    finding = only(rows(age=ages), contract())
    assert (finding.check, finding.verdict, finding.value) == ("repeated_rows", "notice", 0.001)
