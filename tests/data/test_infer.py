from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.data.checks import check_table
from gyroscope.data.contract import Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.infer import Inferred, infer_contract
from gyroscope.data.sources import read_table
from gyroscope.errors import ContractError, GyroscopeError, UsageError

N = 600


def customers(**more: Any) -> pa.Table:
    """A table as from CSV: every column is text."""
    random = np.random.default_rng(0)
    age = random.integers(18, 90, N)
    columns: dict[str, Any] = {
        "age": age,
        "plan": random.choice(["basic", "family", "pro"], N),
        "left": np.where(random.random(N) < np.clip(age / 150, 0, 1), "yes", "no"),
        **more,
    }
    return pa.table({name: pa.array([str(v) for v in values]) for name, values in columns.items()})


def roles(inferred: Inferred) -> dict[str, str]:
    return {column.name: column.role.value for column in inferred.contract.columns}


def kinds(inferred: Inferred, column: str, level: str = "warning") -> list[str]:
    return [r.kind for r in inferred.remarks if (r.column, r.level) == (column, level)]


def test_columns_keep_their_order_and_the_target_its_classes() -> None:
    contract = infer_contract(customers(), target="left").contract
    assert [column.name for column in contract.columns] == ["age", "plan", "left"]
    assert (contract.positive, contract.negative) == (("yes",), ("no",))
    assert [column.type for column in contract.columns] == ["integer", "category", "category"]


def test_columns_named_for_a_role_have_it() -> None:
    days = [f"2026-01-{1 + k % 28:02}" for k in range(N)]
    table = customers(day=days, customer=[k % 50 for k in range(N)], sex=["f", "m"] * (N // 2))
    inferred = infer_contract(table, target="left", time="day", id="customer", sensitive=["sex"])
    assert roles(inferred) == {
        "age": "feature",
        "plan": "feature",
        "left": "target",
        "day": "time",
        "customer": "id",
        "sex": "sensitive",
    }
    assert {r.kind for r in inferred.remarks} == {"positive"}


def test_a_date_that_was_not_named_is_proposed_as_the_time() -> None:
    days = [f"2026-01-{1 + k % 28:02}" for k in range(N)]
    inferred = infer_contract(customers(day=days), target="left")
    assert roles(inferred)["day"] == "ignored"
    (remark,) = [r for r in inferred.remarks if r.kind == "no-time"]
    assert remark.advice == "If 'day' is the moment of the prediction, name it as --time."


def test_a_date_whose_name_sounds_like_the_outcome_is_not_proposed() -> None:
    days = [f"2026-01-{1 + k % 28:02}" for k in range(N)]
    inferred = infer_contract(customers(closed_on=days), target="left")
    (remark,) = [r for r in inferred.remarks if r.kind == "no-time"]
    assert "sounds like the time of the outcome" in remark.advice


def test_a_copy_of_a_column_is_ignored_and_a_recoding_is_noted() -> None:
    plan = customers().column("plan").to_pylist()
    recoded = [{"basic": 1, "family": 2, "pro": 3}[value] for value in plan]
    inferred = infer_contract(customers(copy=plan, recoded=recoded), target="left")
    assert (roles(inferred)["copy"], roles(inferred)["recoded"]) == ("ignored", "feature")
    assert kinds(inferred, "copy") == ["duplicate"]
    assert kinds(inferred, "recoded", "note") == ["same-information"]


def test_the_target_in_other_words_is_ignored() -> None:
    left = customers().column("left").to_pylist()
    amount = [100 + k % 7 if value == "yes" else k % 7 for k, value in enumerate(left)]
    inferred = infer_contract(customers(refund=amount), target="left")
    assert roles(inferred)["refund"] == "ignored"
    assert kinds(inferred, "refund") == ["leak"]
    why = next(c.why for c in inferred.contract.columns if c.name == "refund")
    assert why == "leak: alone it has an AUC of 1.000"


def test_a_column_that_predicts_suspiciously_well_is_kept_and_questioned() -> None:
    left = np.array(customers().column("left").to_pylist()) == "yes"
    score = left + np.random.default_rng(1).normal(0, 0.5, N)
    inferred = infer_contract(customers(x=score), target="left")
    assert roles(inferred)["x"] == "feature"
    (remark,) = [r for r in inferred.remarks if r.column == "x"]
    assert (remark.level, remark.kind) == ("warning", "suspicious")
    assert "use `role: ignored`" in remark.advice


def test_a_name_that_speaks_of_the_outcome_lowers_the_bar() -> None:
    left = np.array(customers().column("left").to_pylist()) == "yes"
    x = left + np.random.default_rng(1).normal(0, 0.9, N)
    table = customers(call_duration=x, balance=np.random.default_rng(2).permutation(x))
    assert kinds(infer_contract(table, target="left"), "call_duration") == ["suspicious"]
    assert kinds(infer_contract(customers(balance=x), target="left"), "balance") == []


def test_sensitive_columns_are_proposed_by_name_unless_some_were_named() -> None:
    table = customers(sex=["f", "m"] * (N // 2))
    proposed = [r.message for r in infer_contract(table, target="left").remarks]
    assert "Judging by the names, these may be protected: 'age', 'sex'." in proposed
    named = infer_contract(table, target="left", sensitive=["sex"])
    assert "sensitive" not in {r.kind for r in named.remarks}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "Left"}, "--target: the data have no column 'Left'; did you mean 'left'?"),
        ({"target": "q"}, "--target: the data have no column 'q'; they have 'age', 'plan', 'left'"),
        ({"target": "left", "time": "plan_"}, "--time: .*did you mean 'plan'?"),
        ({"target": "left", "sensitive": ["ages"]}, "--sensitive: .*did you mean 'age'?"),
        ({"target": "left", "id": "left"}, "column 'left' cannot be both target and id"),
    ],
)
def test_a_wrong_column_is_named_with_what_was_meant(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        infer_contract(customers(), **options)


def test_a_table_with_nothing_to_learn_from_is_refused_with_the_reasons() -> None:
    table = customers().select(["left"]).append_column("x", pa.array(["1"] * N))
    with pytest.raises(ContractError, match=r"no column is left to learn 'left' from \(x: always"):
        infer_contract(table, target="left")
    with pytest.raises(ContractError, match="the table has no other column"):
        infer_contract(table.select(["left"]), target="left")


def test_odd_names_are_kept() -> None:
    names = [" ", "a b", "ü.x", '"q"', "a:b", "null", "日本", "two\nlines", "🎈"]
    random = np.random.default_rng(3)
    table = customers(**{name: random.integers(0, 9, N) for name in names})
    assert set(names) <= set(roles(infer_contract(table, target="left")))


def test_a_table_of_a_few_rows_can_be_asked_about() -> None:
    for rows in (1, 2, 3, 10):
        with pytest.raises(GyroscopeError):
            infer_contract(customers().slice(0, rows).select(["left"]), target="left")


cells = st.sampled_from(
    [
        "",
        " ",
        "0",
        "1",
        "2.5",
        "-3",
        "1e400",
        "yes",
        "no",
        "NA",
        "?",
        "a",
        "b",
        "2026-01-31",
        "31.1.26",
    ]
) | st.text(max_size=4)
kinds_of_columns = st.sampled_from([cells, st.sampled_from(["0", "1"]), st.integers(0, 9).map(str)])


@settings(max_examples=60)
@given(st.data(), st.integers(1, 80), st.integers(1, 4))
def test_any_table_of_texts_ends_in_a_contract_or_a_message(
    data: st.DataObject, n_rows: int, n_columns: int
) -> None:
    random = np.random.default_rng(n_rows)
    table = {"y": random.choice(["yes", "no", ""], n_rows).tolist()}
    for k in range(n_columns):
        pool = data.draw(st.lists(data.draw(kinds_of_columns), min_size=1, max_size=12))
        table[f"x{k}"] = random.choice(pool, n_rows).tolist()
    try:
        contract = infer_contract(pa.table(table), target="y").contract
    except ContractError:
        return
    assert Encoder(contract).encode_table(pa.table(table)).X.shape[0] == n_rows
    assert check_table(pa.table(table), contract)


@cache
def dataset(shared_data: Path, name: str) -> pa.Table:
    return read_table(next((shared_data / name).glob(f"{name}.*")))


@cache
def inferred_from(
    shared_data: Path, name: str, target: str, positive: str | None = None
) -> Inferred:
    return infer_contract(dataset(shared_data, name), target=target, positive=positive)


def warned(inferred: Inferred) -> set[str]:
    return {remark.column for remark in inferred.remarks if remark.level == "warning"}


@pytest.mark.parametrize(
    ("name", "target", "positive"),
    [
        ("bank_marketing", "y", None),
        ("churn_telecom", "churn", None),
        ("email_hillstrom", "visit", None),
        ("diabetes_pima", "Outcome", None),
        ("diabetes_130us", "readmitted", "<30"),
        ("telco_churn_ibm", "Churn", None),
        ("elec2", "class", None),
        ("weather_nebraska", "class", None),
        ("hotel_bookings", "is_canceled", None),
    ],
)
def test_every_value_of_real_data_fits_the_contract_inferred_from_them(
    shared_data: Path, name: str, target: str, positive: str | None
) -> None:
    table = dataset(shared_data, name)
    encoder = Encoder(inferred_from(shared_data, name, target, positive).contract)
    assert encoder.encode_table(table).fits.all()
    assert not np.isnan(encoder.encode_target(table)).any()


def test_the_status_of_a_booking_leaks_its_cancellation(shared_data: Path) -> None:
    inferred = inferred_from(shared_data, "hotel_bookings", "is_canceled")
    ignored = {name for name, role in roles(inferred).items() if role == Role.IGNORED}
    assert ignored == {"reservation_status", "reservation_status_date"}
    assert warned(inferred) == {"reservation_status", "deposit_type"}


def test_the_duration_of_a_call_is_questioned(shared_data: Path) -> None:
    assert warned(inferred_from(shared_data, "bank_marketing", "y")) == {"duration"}


def test_what_is_recorded_at_the_arrival_of_a_flight_is_questioned(shared_data: Path) -> None:
    table = dataset(shared_data, "flights_nyc13")
    late = pc.cast(pc.greater(table.column("arr_delay"), 15), pa.int8())
    inferred = infer_contract(table.append_column("late", late), target="late", time="time_hour")
    assert kinds(inferred, "arr_delay") == ["leak"]
    recorded = ("dep_time", "dep_delay", "arr_time", "air_time")
    assert [kinds(inferred, name) for name in recorded] == [["known-later"]] * len(recorded)
    assert warned(inferred) == {*recorded, "arr_delay", "tailnum", "late"}


def test_what_was_bought_is_questioned_as_a_sign_of_a_visit(shared_data: Path) -> None:
    visit = inferred_from(shared_data, "email_hillstrom", "visit")
    assert warned(visit) == {"conversion", "spend"}
    conversion = inferred_from(shared_data, "email_hillstrom", "conversion")
    assert (roles(conversion)["spend"], warned(conversion)) == ("ignored", {"visit", "spend"})


def test_the_dead_who_cannot_be_readmitted_are_noted(shared_data: Path) -> None:
    inferred = inferred_from(shared_data, "diabetes_130us", "readmitted", "<30")
    notes = [r.message for r in inferred.remarks if r.column == "discharge_disposition_id"]
    assert "Where it is '11' (1.6 % of the rows) the target is always negative." in notes
    assert roles(inferred)["encounter_id"] == roles(inferred)["patient_nbr"] == "ignored"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("churn_telecom", "churn"),
        ("diabetes_pima", "Outcome"),
        ("telco_churn_ibm", "Churn"),
        ("elec2", "class"),
        ("weather_nebraska", "class"),
    ],
)
def test_clean_data_bring_no_warning(shared_data: Path, name: str, target: str) -> None:
    assert warned(inferred_from(shared_data, name, target)) == set()
