from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.budget import SHARES, Budget, spending

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def finding(day: int, kind: Kind, verdict: Verdict) -> Finding:
    window = Window(START + day * DAY, START + (day + 1) * DAY)
    return Finding(kind=kind, check="c", subject="s", verdict=verdict, detail="d.", window=window)


@given(st.floats(0.001, 365), st.integers(1, 365 * 24))
def test_the_shares_are_the_whole_budget(alarms: float, hours: int) -> None:
    budget = Budget(false_alarms_per_year=alarms, window=timedelta(hours=hours))
    assert sum(budget.share(family) for family in SHARES) == pytest.approx(alarms)
    tested = [family for family in SHARES if family != "performance"]
    expected = sum(budget.alpha(family) * budget.windows_per_year for family in tested)
    assert expected + budget.windows_per_year / budget.run_length <= alarms * (1 + 1e-9)


def test_every_kind_that_can_warn_has_a_family() -> None:
    of_families = [kind for _, kinds in SHARES.values() for kind in kinds]
    assert len(of_families) == len(set(of_families))
    others = {Kind.ESTIMATED_PERFORMANCE, Kind.GATE, Kind.TRIAL, Kind.PROBATION, Kind.CANARY}
    assert set(of_families) == set(Kind) - others


def test_daily_windows_spend_a_family_s_share_evenly() -> None:
    budget = Budget(false_alarms_per_year=2, window=DAY)
    assert budget.alpha("columns") == pytest.approx(2 * 0.15 / 365)
    assert budget.run_length == pytest.approx(365)


def test_windows_are_counted_not_findings() -> None:
    budget = Budget(false_alarms_per_year=1, window=DAY)
    found = [
        finding(0, Kind.COLUMN_DRIFT, Verdict.WARNING),
        finding(0, Kind.JOINT_DRIFT, Verdict.WARNING),
        finding(1, Kind.COLUMN_DRIFT, Verdict.NOTICE),
        finding(2, Kind.PERFORMANCE, Verdict.ALARM),
        finding(2, Kind.ESTIMATED_PERFORMANCE, Verdict.NOTICE),
    ]
    spent = {one.family: one for one in spending(budget, found)}
    assert (spent["columns"].windows, spent["columns"].flagged) == (2, 1)
    assert spent["columns"].expected == pytest.approx(2 * 0.15 / 365)
    assert (spent["performance"].windows, spent["performance"].flagged) == (1, 1)
    assert spent["performance"].per_window is None
    assert spent["segments"].windows == spent["segments"].flagged == 0
