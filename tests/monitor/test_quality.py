from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.profile import Profile, profile
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.data.table_profile import reference_profile, table_profile
from gyroscope.errors import DataError
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.quality import constant_score_finding, quality_findings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.monitor.conftest import Change, People

N = 5000


def contract_of(*kinds: ColumnType) -> Contract:
    columns = [
        Column(
            name=f"x{i}",
            type=kind,
            categories=("a", "b", "c") if kind is ColumnType.CATEGORY else (),
            unknown="other",
        )
        for i, kind in enumerate(kinds)
    ]
    target = Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET)
    return Contract(columns=(*columns, target), positive=("true",), negative=("false",))


def checked(
    before: np.ndarray,
    after: np.ndarray,
    day: Window,
    *,
    kind: ColumnType = ColumnType.NUMBER,
    in_time_order: bool = True,
) -> list[Finding]:
    """The findings of a window with one column against a reference with one column."""
    contract = contract_of(kind)
    X, Y = before[:, np.newaxis], after[:, np.newaxis]
    reference = profile(X, profile_spec(X, contract.features, in_time_order=in_time_order))
    return quality_findings(reference, profile(Y, reference.spec), day, min_rows=100)


def alarm(findings: list[Finding]) -> Finding:
    """The one finding of the list, which must be an alarm."""
    (finding,) = findings
    assert finding.verdict is Verdict.ALARM, finding.detail
    assert finding.kind is Kind.DATA_QUALITY
    return finding


def assert_fine(findings: list[Finding]) -> None:
    assert [f.verdict for f in findings] == [Verdict.OK], findings[0].detail


def normal(n: int = N, mean: float = 0.0, sd: float = 1.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, n)


# -- facts ---------------------------------------------------------------------------------------


def reference_of(table: dict[str, list[Any]]) -> Profile:
    return reference_profile(pd.DataFrame(table))[1]


def test_a_missing_column_and_one_of_another_type_are_told_of_a_single_row(day: Window) -> None:
    reference = reference_of({"age": [31.0, 44.0], "visits": [1, 2], "paid": [True, False]})
    current = table_profile({"age": ["soon"], "paid": [True]}, reference.spec)
    other, absent, few = quality_findings(reference, current, day, min_rows=100)
    assert [f.verdict for f in (other, absent)] == [Verdict.ALARM] * 2
    assert other.detail == "No value of age is of type number; all in the reference are."
    assert absent.detail == "There is no column visits, in all of the rows or some."
    assert few.verdict is Verdict.NOT_ENOUGH_DATA
    assert few.detail == (
        "all columns: 1 row with a value is too few to tell a change from chance; "
        "100 would be enough."
    )


def test_a_value_that_the_reference_could_not_read_either_is_no_other_type(
    tmp_path: Path, day: Window
) -> None:
    (tmp_path / "people.csv").write_text("\n".join(["age", *map(str, range(99)), "soon"]))
    _, reference = reference_profile(tmp_path / "people.csv")
    assert reference.columns[0].unreadable == 1
    current = table_profile({"age": ["soon"]}, reference.spec)
    (few,) = quality_findings(reference, current, day, min_rows=100)
    assert few.verdict is Verdict.NOT_ENOUGH_DATA


def test_a_window_without_rows_lacks_no_column(day: Window) -> None:
    (few,) = checked(normal(), np.empty(0), day)
    assert few.verdict is Verdict.NOT_ENOUGH_DATA
    assert "0 rows with a value are too few" in few.detail


# -- unit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "factor"),
    [
        (normal(mean=170, sd=10), 0.01),  # cm to m
        (normal(mean=170, sd=10), 10.0),  # cm to mm
        (normal(sd=2.0), 100.0),
        (normal(sd=2.0), 0.01),
        (np.random.default_rng(2).random(N), 100.0),  # share to percent
        (np.random.default_rng(3).random(N) * 100, 0.01),
        (np.exp(normal(sd=1.5)), 1000.0),  # thousands to units
        (np.exp(normal(sd=1.5)), 0.001),
        (np.random.default_rng(4).integers(18, 90, N).astype(float), 12.0),  # years to months
        (np.where(normal(seed=5) > 0, 0.0, np.exp(normal(seed=6))), 1000.0),  # many zeros
    ],
)
def test_a_change_of_unit_is_an_alarm(before: np.ndarray, factor: float, day: Window) -> None:
    for in_time_order in (True, False):
        finding = alarm(checked(before, before[:1000] * factor, day, in_time_order=in_time_order))
        assert finding.check == "unit_change"
        assert "has the unit changed?" in finding.detail


def test_celsius_turned_kelvin_is_an_alarm(day: Window) -> None:
    celsius = normal(mean=15, sd=8)
    finding = alarm(checked(celsius, celsius[:500] + 273.15, day))
    assert "times larger than in the reference" in finding.detail


def test_a_mix_with_four_times_larger_values_is_no_change_of_unit(day: Window) -> None:
    amounts = np.exp(normal(sd=1.0))
    assert_fine(checked(amounts, amounts[:1000] * 4, day))


def test_a_marker_that_becomes_rare_is_no_change_of_unit(day: Window) -> None:
    """Days since the last contact, 999 for never; a campaign reaches half of the customers."""
    rng = np.random.default_rng(7)
    before = np.where(rng.random(N) < 0.96, 999.0, rng.integers(0, 21, N))
    after = np.where(rng.random(1000) < 0.4, 999.0, rng.integers(0, 21, 1000))
    assert_fine(checked(before, after, day))


def test_a_winter_day_is_no_change_of_unit_if_the_reference_has_a_winter(day: Window) -> None:
    rng = np.random.default_rng(8)
    year = np.exp(np.sin(np.linspace(0, 2 * math.pi, N)) * 1.5 + rng.normal(0, 0.1, N))
    cold = np.exp(rng.normal(-1.6, 0.1, 300))
    assert_fine(checked(year, cold, day))


# -- missing values ------------------------------------------------------------------------------


def with_missing(values: np.ndarray, share: float, seed: int = 9) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(values.size) < share, math.nan, values)


def test_twenty_five_points_more_missing_are_an_alarm(day: Window) -> None:
    finding = alarm(checked(with_missing(normal(), 0.02), with_missing(normal(1000), 0.3), day))
    assert finding.check == "missing_rate"
    assert finding.value == pytest.approx(0.28, abs=0.05)
    assert "of its values missing; in the reference 1.42 %" in finding.detail


def test_a_dead_column_is_an_alarm(day: Window) -> None:
    finding = alarm(checked(normal(), np.full(200, math.nan), day))
    assert finding.check == "dead_column"
    assert finding.detail == "x0 has no values at all; in the reference 0 % are missing."


def test_ten_points_more_missing_are_no_alarm(day: Window) -> None:
    assert_fine(checked(with_missing(normal(), 0.02), with_missing(normal(1000), 0.12), day))


def test_values_missing_as_they_were_for_a_while_in_the_reference_are_no_alarm(
    day: Window,
) -> None:
    before = normal()
    before[1000:2000] = math.nan
    after = np.full(500, math.nan)
    assert_fine(checked(before, after, day))


# -- categories ----------------------------------------------------------------------------------


def plans(n: int, seed: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).choice(3, n, p=[0.5, 0.3, 0.2]).astype(float)


def test_categories_under_other_codes_are_an_alarm(day: Window) -> None:
    finding = alarm(checked(plans(N), np.full(300, 3.0), day, kind=ColumnType.CATEGORY))
    assert finding.check == "unseen_share"
    assert finding.detail.startswith("100 % of the values of x0 are not listed; ")


def test_a_popular_new_category_is_no_alarm(day: Window) -> None:
    after = plans(1000, seed=11)
    after[:300] = 3.0
    assert_fine(checked(plans(N), after, day, kind=ColumnType.CATEGORY))


def test_a_new_month_is_no_alarm(day: Window) -> None:
    months = np.repeat([0.0, 1.0, 2.0], 1500)
    assert_fine(checked(months, np.full(1000, 3.0), day, kind=ColumnType.CATEGORY))


# -- constant columns ----------------------------------------------------------------------------


def test_a_number_that_stops_moving_is_an_alarm(day: Window) -> None:
    finding = alarm(checked(normal(), np.full(150, 0.3), day))
    assert finding.check == "constant"
    assert finding.detail.startswith("All 150 values of x0 are the same; in the reference no ")


def test_a_category_that_stops_changing_is_an_alarm(day: Window) -> None:
    before = np.random.default_rng(12).choice(3, N, p=[0.4, 0.3, 0.3]).astype(float)
    assert alarm(checked(before, np.zeros(200), day, kind=ColumnType.CATEGORY)).check == "constant"


def test_one_value_only_where_it_was_common_already_is_a_warning(day: Window) -> None:
    flags = (np.random.default_rng(13).random(N) < 0.3).astype(float)
    (finding,) = checked(flags, np.zeros(300), day, kind=ColumnType.BOOLEAN)
    assert finding.verdict is Verdict.WARNING


def test_one_value_only_where_it_was_nearly_the_only_one_is_fine(day: Window) -> None:
    flags = (np.random.default_rng(14).random(N) < 0.02).astype(float)
    assert_fine(checked(flags, np.zeros(500), day, kind=ColumnType.BOOLEAN))


def test_a_column_that_changes_once_a_day_is_fine(day: Window) -> None:
    days = np.repeat(normal(50), 300)
    assert_fine(checked(days, np.full(320, 0.1), day))


def test_without_an_order_in_time_a_constant_column_is_a_notice(day: Window) -> None:
    (finding,) = checked(normal(), np.full(150, 0.3), day, in_time_order=False)
    assert finding.verdict is Verdict.NOTICE


def test_a_column_constant_in_the_reference_may_stay_so(day: Window) -> None:
    assert_fine(checked(np.full(N, 4.0), np.full(500, 4.0), day))


def score_profiles(before: np.ndarray, after: np.ndarray) -> tuple[Profile, Profile]:
    reference = profile(before, score_spec(before))
    return reference, profile(after, reference.spec)


def test_a_score_that_no_longer_varies_is_an_alarm(day: Window) -> None:
    scores = np.random.default_rng(15).random(N)
    finding = constant_score_finding(*score_profiles(scores, np.full(200, 0.5)), day, min_rows=100)
    assert finding.verdict is Verdict.ALARM
    assert (finding.subject, finding.check) == ("score", "constant")


def test_scores_that_vary_or_never_did_are_fine(day: Window) -> None:
    scores = np.random.default_rng(16).random(N)
    for before, after in ((scores, scores[:200]), (np.full(N, 0.3), np.full(200, 0.3))):
        finding = constant_score_finding(*score_profiles(before, after), day, min_rows=100)
        assert finding.verdict is Verdict.OK
    few = constant_score_finding(*score_profiles(scores, scores[:20]), day, min_rows=100)
    assert few.verdict is Verdict.NOT_ENOUGH_DATA


# -- whole windows -------------------------------------------------------------------------------


def test_a_few_rows_are_not_enough(people: People, day: Window) -> None:
    (finding,) = quality_findings(people.reference, people.window(20, 17), day, min_rows=100)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed == 100


def test_windows_without_change_are_never_broken(people: People, day: Window) -> None:
    for seed in range(30):
        window = people.window(100 if seed % 2 else 1000, 3000 + seed)
        assert_fine(quality_findings(people.reference, window, day, min_rows=100))


def test_drift_is_not_breakage(people: People, day: Window) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[:, :12] += 1.0
        X[:, people.column("amount")] *= 3
        X[rng.random(len(X)) < 0.1, people.column("income")] = math.nan
        X[:, people.column("plan")] = rng.choice(3, len(X), p=[0.8, 0.1, 0.1])

    drifted: Change = change
    window = people.window(1000, 18, drifted)
    assert_fine(quality_findings(people.reference, window, day, min_rows=100))


def test_the_broken_comes_before_the_suspect(day: Window) -> None:
    contract = contract_of(ColumnType.BOOLEAN, ColumnType.NUMBER)
    rng = np.random.default_rng(19)
    X = np.column_stack([rng.random(N) < 0.3, rng.normal(size=N)])
    reference = profile(X, profile_spec(X, contract.features, in_time_order=True))
    broken = np.column_stack([np.zeros(300), rng.normal(size=300) * 1000])
    findings = quality_findings(reference, profile(broken, reference.spec), day, min_rows=100)
    assert [f.verdict for f in findings] == [Verdict.ALARM, Verdict.WARNING]


def test_a_window_on_other_cells_is_an_error(people: People, day: Window) -> None:
    x = normal(200)[:, np.newaxis]
    stranger = profile(x, profile_spec(x, contract_of(ColumnType.NUMBER).features))
    with pytest.raises(DataError, match="counted on other cells"):
        quality_findings(people.reference, stranger, day, min_rows=100)


# -- real streams, none of which is broken -------------------------------------------------------


def encoded(frame: pd.DataFrame, reference_rows: int) -> tuple[np.ndarray, Contract]:
    """A table as the encoder would encode it, with categories as they stand in the reference."""
    columns, arrays = [], []
    for name in frame:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values):
            columns.append(Column(name=str(name), type=ColumnType.NUMBER))
            arrays.append(values.to_numpy(np.float64))
            continue
        levels = values[:reference_rows].value_counts().index
        codes = pd.Index(levels).get_indexer(values).astype(np.float64)
        codes[codes < 0] = len(levels)
        codes[values.isna().to_numpy()] = math.nan
        columns.append(
            Column(
                name=str(name),
                type=ColumnType.CATEGORY,
                categories=tuple(map(str, levels)),
                unknown="other",
            )
        )
        arrays.append(codes)
    target = Column(name="_target", type=ColumnType.BOOLEAN, role=Role.TARGET)
    contract = Contract(columns=(*columns, target), positive=("1",), negative=("0",))
    return np.column_stack(arrays), contract


def assert_no_window_is_broken(
    frame: pd.DataFrame, groups: np.ndarray, reference_rows: int, day: Window
) -> None:
    X, contract = encoded(frame, reference_rows)
    spec = profile_spec(X[:reference_rows], contract.features, in_time_order=True)
    reference = profile(X[:reference_rows], spec)
    starts = np.flatnonzero(np.diff(groups)) + 1
    windows = np.split(X, starts)[np.searchsorted(starts, reference_rows) + 1 :]
    assert len(windows) > 20
    for rows in windows:
        for finding in quality_findings(reference, profile(rows, spec), day, min_rows=100):
            assert finding.verdict is not Verdict.ALARM, finding.detail


def test_no_day_of_flights_is_broken(shared_data: Path, day: Window) -> None:
    flights = pd.read_parquet(shared_data / "flights_nyc13" / "flights_nyc13.parquet")
    flights = flights.sort_values(["month", "day", "hour"], kind="stable")
    groups = (flights["month"] * 100 + flights["day"]).to_numpy()
    columns = ["month", "day", "sched_dep_time", "carrier", "origin", "dest", "tailnum", "distance"]
    assert_no_window_is_broken(flights[columns], groups, 140_000, day)


def test_no_four_weeks_of_the_electricity_market_are_broken(shared_data: Path, day: Window) -> None:
    market = pd.read_csv(shared_data / "elec2" / "elec2.csv.gz").drop(columns=["class"])
    assert_no_window_is_broken(market, np.arange(len(market)) // 1344, 13_440, day)


def test_no_day_of_hotel_bookings_is_broken(shared_data: Path, day: Window) -> None:
    hotel = pd.read_parquet(shared_data / "hotel_bookings" / "hotel_bookings.parquet")
    months = pd.to_datetime(hotel["arrival_date_month"], format="%B").dt.month
    date = hotel["arrival_date_year"] * 10_000 + months * 100 + hotel["arrival_date_day_of_month"]
    hotel = hotel.assign(_date=date).sort_values("_date", kind="stable")
    later = ["is_canceled", "reservation_status", "reservation_status_date", "_date"]
    groups = hotel["_date"].to_numpy()
    assert_no_window_is_broken(hotel.drop(columns=later), groups, 50_000, day)
