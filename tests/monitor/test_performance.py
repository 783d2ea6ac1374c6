"""Performance of windows whose truth is known, and the detector over streams of them."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from gyroscope.decisions import Detector
from gyroscope.errors import UsageError
from gyroscope.findings import Finding, Interval, Kind, Verdict, Window
from gyroscope.monitor.performance import (
    EXCESS,
    estimated_performance,
    performance_alarm,
    realised_performance,
    update_detector,
)
from gyroscope.stats.e_detector import log_boosts
from gyroscope.stats.excess_loss import excess_reference
from gyroscope.stats.metrics import metrics
from gyroscope.stats.ranking import ranking_reference

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 365.0  # daily windows at one false alarm a year


def window(day: int) -> Window:
    return Window(START + day * DAY, START + (day + 1) * DAY)


def rows(
    seed: int, n: int, *, shift: float = 0.0, slope: float = 1.0, spread: float = 1.2
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores; the labels' log-odds are slope times the scores' plus shift."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, spread, n)
    y = rng.random(n) < 1 / (1 + np.exp(-slope * log_odds - shift))
    return y.astype(float), 1 / (1 + np.exp(-log_odds))


Y, P = rows(10_000, 10_000)
REFERENCE = metrics(Y, P, 0.5)
EXCESS_REFERENCE = excess_reference(Y, P, np.arange(10_000) // 1000)
RANKING = ranking_reference(Y, P, np.arange(10_000) // 1000)


def realised(y: np.ndarray, p: np.ndarray, day: int = 0) -> dict[str, Finding]:
    found = realised_performance(
        y,
        p,
        0.5,
        window(day),
        reference=REFERENCE,
        excess=EXCESS_REFERENCE,
        ranking=RANKING,
        min_rows=100,
    )
    return {finding.check: finding for finding in found}


def estimated(p: np.ndarray) -> dict[str, Finding]:
    found = estimated_performance(
        p, 0.5, window(0), reference=REFERENCE, calibration=None, min_rows=100
    )
    return {finding.check: finding for finding in found}


def days_to_alarm(
    days: int, what: dict[str, float], *, change: int, rows_a_day: int = 1000
) -> int | None:
    """The day of the first alarm on a stream that changes on day ``change``; None without one."""
    detector = Detector()
    for day in range(days):
        y, p = rows(day, rows_a_day, **(what if day >= change else {}))
        detector = update_detector(
            detector, realised(y, p, day)[EXCESS], window(day), run_length=YEAR
        )
        finding = performance_alarm(detector, window(day), run_length=YEAR)
        if finding.verdict is Verdict.ALARM:
            return day
    return None


# -- one window -------------------------------------------------------------------------------


def test_a_window_like_the_reference_is_fine() -> None:
    found = realised(*rows(1, 2000))
    assert {"roc_auc", "log_loss", "accuracy", EXCESS} <= set(found)
    assert {f.verdict for f in found.values()} == {Verdict.OK}
    assert {f.kind for f in found.values()} == {Kind.PERFORMANCE}
    for finding in found.values():
        assert finding.interval is not None
        assert finding.value is not None
        assert finding.interval.low <= finding.value <= finding.interval.high


def test_a_surely_worse_window_is_a_notice_and_raises_no_alarm_by_itself() -> None:
    found = realised(*rows(1, 2000, slope=0.0))
    assert found["roc_auc"].verdict is Verdict.NOTICE
    assert found["log_loss"].verdict is Verdict.NOTICE
    assert found[EXCESS].verdict is Verdict.OK
    e_value = found[EXCESS].e_value
    assert e_value is not None
    assert e_value > YEAR


def test_a_better_window_is_no_notice() -> None:
    assert realised(*rows(1, 2000, slope=3.0))["roc_auc"].verdict is Verdict.OK


def test_few_rows_are_too_few_for_metrics_and_still_evidence() -> None:
    found = realised(*rows(2, 30))
    assert set(found) == {"metrics", EXCESS}
    assert found["metrics"].verdict is Verdict.NOT_ENOUGH_DATA
    assert found["metrics"].n_needed == 100
    assert found[EXCESS].verdict is Verdict.NOT_ENOUGH_DATA
    assert found[EXCESS].e_value is not None


def test_rows_of_one_class_ask_for_more_rows() -> None:
    y, p = rows(3, 200)
    found = realised(np.zeros_like(y), p)
    assert found["metrics"].verdict is Verdict.NOT_ENOUGH_DATA
    assert found["metrics"].n_needed == 400


def test_no_rows_are_no_evidence() -> None:
    assert set(realised(np.empty(0), np.empty(0))) == {"metrics"}


def test_findings_survive_json() -> None:
    for finding in [*realised(*rows(1, 150)).values(), *estimated(P[:150]).values()]:
        assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding


# -- before labels ----------------------------------------------------------------------------


def test_the_estimate_is_near_what_labels_say_later() -> None:
    y, p = rows(4, 5000)
    promised, later = estimated(p), realised(y, p)
    for name in ("roc_auc", "log_loss", "accuracy", "f1", "brier"):
        interval, value = promised[name].interval, later[name].value
        assert interval is not None
        assert value is not None
        assert interval.low <= value <= interval.high
        assert promised[name].kind is Kind.ESTIMATED_PERFORMANCE


def test_scores_near_one_half_promise_less_than_the_reference_had() -> None:
    found = estimated(0.5 + 0.1 * (P[:2000] - 0.5))
    assert found["log_loss"].verdict is Verdict.NOTICE
    assert found["accuracy"].verdict is Verdict.NOTICE


def test_the_estimate_does_not_claim_to_see_concept_drift() -> None:
    for finding in estimated(P[:2000]).values():
        assert "changed relation of features and label would not show" in finding.detail


def test_few_scores_are_too_few() -> None:
    (finding,) = estimated(P[:20]).values()
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed == 100


# -- the detector -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", [{"slope": 0.5}, {"slope": -1.0, "shift": -2.0}, {"shift": 0.6}, {"shift": -0.6}]
)
def test_it_fires_soon_after_a_change_and_not_before(what: dict[str, float]) -> None:
    alarm = days_to_alarm(40, what, change=25)
    assert alarm is not None
    assert 25 <= alarm <= 28


@pytest.mark.parametrize("what", [{}, {"spread": 0.6}, {"spread": 1.6}])
def test_it_stays_silent_on_a_quiet_stream_and_under_a_harmless_change_of_mix(
    what: dict[str, float],
) -> None:
    assert days_to_alarm(60, what, change=20) is None


def test_many_small_windows_are_evidence_together() -> None:
    alarm = days_to_alarm(60, {"slope": -1.0, "shift": -2.0}, change=20, rows_a_day=40)
    assert alarm is not None
    assert 20 <= alarm <= 30


@pytest.mark.parametrize("what", [{"shift": 0.5}, {"shift": -0.5}, {"slope": 0.6, "shift": -0.4}])
def test_what_small_windows_have_in_common_is_found_though_each_says_little(
    what: dict[str, float],
) -> None:
    # No window is enough by itself.
    means = [realised(*rows(day, 150, **what))[EXCESS].e_value for day in range(20, 30)]
    assert max(mean or 0 for mean in means) < YEAR
    alarm = days_to_alarm(60, what, change=20, rows_a_day=150)
    assert alarm is not None
    assert 20 <= alarm <= 40


def test_the_detector_goes_on_when_the_kinds_of_change_become_others() -> None:
    detector = update_detector(Detector(), evidence(100.0), window(0), run_length=YEAR)
    log_es = (math.log(2.0), math.log(4.0))
    finding = msgspec.structs.replace(evidence(3.0), log_es=log_es)
    detector = update_detector(detector, finding, window(1), run_length=YEAR)
    assert detector.log_value == pytest.approx(math.log(1 + 101 * 3))
    assert detector.parts == pytest.approx((math.log(1 + 101 * 2), math.log(1 + 101 * 4)))
    # The second kind has done better so far, so that it weighs more now.
    assert update_detector(detector, finding, window(2), run_length=YEAR).log_value > math.log(
        1 + 304 * 3
    )


def test_evidence_is_raised_by_what_would_be_wasted_beyond_the_limit() -> None:
    finding = msgspec.structs.replace(evidence(1.0), log_es=(0.0, 0.0))
    raised = msgspec.structs.replace(finding, tilts=((2.0, 0.0), (-2.0, 0.0)))
    half_way = update_detector(Detector(), evidence(100.0), window(0), run_length=YEAR)
    for of_law, one_plus in [(finding, 102), (raised, 1 + 101 * math.exp(boost_at(101)))]:
        detector = update_detector(half_way, of_law, window(1), run_length=YEAR)
        assert detector.log_value == pytest.approx(math.log(one_plus), abs=1e-6)
        assert math.log(np.mean(np.exp(detector.parts))) == pytest.approx(detector.log_value)
        assert detector.log_cusum == pytest.approx(half_way.log_cusum)  # the cost is as it was


def test_evidence_of_the_slope_and_of_ranks_is_raised_alike() -> None:
    finding = realised(*rows(1, 300))[EXCESS]
    slope, ranks = finding.tilts[0], finding.tilts[-1]
    assert len(finding.tilts) == len(finding.log_es or ())
    assert ranks[1] > 0.5
    assert slope[1] > 0.5
    near = [math.log(1 + 100)] * len(finding.tilts)
    without = (*finding.tilts[:-1], (0.0, 0.0))
    assert log_boosts(near, finding.tilts, YEAR) > log_boosts(near, without, YEAR) + 0.01


def boost_at(one_plus: float) -> float:
    return float(log_boosts([math.log(one_plus)] * 2, [(2.0, 0.0), (-2.0, 0.0)], YEAR))


def test_the_alarm_names_the_start_and_the_price_of_the_change() -> None:
    detector = Detector()
    for day in range(12):
        changed = {"slope": 0.5, "shift": -0.5} if day >= 8 else {}
        y, p = rows(day, 1000, **changed)
        detector = update_detector(
            detector, realised(y, p, day)[EXCESS], window(day), run_length=YEAR
        )
    finding = performance_alarm(detector, window(11), run_length=YEAR)
    assert finding.verdict is Verdict.ALARM
    assert detector.change_point == START + 8 * DAY
    assert detector.rows == finding.n == 4000
    # What the change costs: the mean of slope and shift's excess over many rows.
    large_y, large_p = rows(99, 200_000, slope=0.5, shift=-0.5)
    truth = realised(large_y, large_p)[EXCESS].value
    assert truth is not None
    assert finding.cost_interval is not None
    assert finding.cost_interval.low <= truth <= finding.cost_interval.high
    assert finding.cost_interval.low > 0
    assert finding.detail.startswith("Since about 2026-01-09 00:00 predictions cost 0.0")
    assert "4,000 labelled rows" in finding.detail


def test_fewer_positives_are_told_as_wrong_scores_not_as_a_price() -> None:
    detector = Detector()
    for day in range(5):
        y, p = rows(day, 1000, shift=-0.7)
        detector = update_detector(
            detector, realised(y, p, day)[EXCESS], window(day), run_length=YEAR
        )
    finding = performance_alarm(detector, window(4), run_length=YEAR)
    assert finding.verdict is Verdict.ALARM
    assert detector.cost < 0
    assert "the scores no longer say how frequent positives are" in finding.detail


def evidence(e_value: float, *, n: int = 100, verdict: Verdict = Verdict.OK) -> Finding:
    return Finding(
        kind=Kind.PERFORMANCE,
        check=EXCESS,
        subject="performance",
        verdict=verdict,
        detail="",
        n=n,
        value=0.1,
        interval=Interval(0.0, 0.2),
        e_value=e_value,
    )


def test_calm_windows_are_counted_and_small_ones_neither_add_nor_end() -> None:
    detector = Detector()
    for e_value, verdict, calm in [
        (0.5, Verdict.OK, 1),
        (0.5, Verdict.OK, 2),
        (0.9, Verdict.NOT_ENOUGH_DATA, 2),
        (3.0, Verdict.OK, 0),
        (0.9, Verdict.NOT_ENOUGH_DATA, 0),
        (0.9, Verdict.OK, 1),
    ]:
        detector = update_detector(
            detector, evidence(e_value, verdict=verdict), window(0), run_length=YEAR
        )
        assert detector.calm == calm


def test_past_evidence_raises_no_alarm_once_a_window_is_calm() -> None:
    detector = update_detector(Detector(), evidence(1e9), window(0), run_length=YEAR)
    assert performance_alarm(detector, window(0), run_length=YEAR).verdict is Verdict.ALARM
    detector = update_detector(detector, evidence(0.5), window(1), run_length=YEAR)
    assert performance_alarm(detector, window(1), run_length=YEAR).verdict is Verdict.OK


def test_the_limit_is_the_run_length() -> None:
    detector = update_detector(Detector(), evidence(100.0), window(0), run_length=YEAR)
    assert detector.log_value == pytest.approx(math.log(101))
    assert performance_alarm(detector, window(0), run_length=99.0).verdict is Verdict.ALARM
    assert performance_alarm(detector, window(0), run_length=101.0).verdict is Verdict.OK


def test_cost_and_rows_count_from_the_change_point() -> None:
    detector = update_detector(Detector(), evidence(0.5), window(0), run_length=YEAR)
    detector = update_detector(detector, evidence(5.0), window(1), run_length=YEAR)
    detector = update_detector(detector, evidence(5.0, n=300), window(2), run_length=YEAR)
    assert detector.change_point == window(1).start
    assert detector.rows == 400
    assert detector.cost == pytest.approx(0.1)
    error = 0.1 / 1.959964
    assert detector.cost_error == pytest.approx(math.hypot(error / 4, 3 * error / 4))


def test_the_detector_takes_only_the_finding_made_for_it() -> None:
    wrong = msgspec.structs.replace(evidence(1.0), check="roc_auc", e_value=None)
    with pytest.raises(UsageError, match="fed by findings 'excess_loss', got 'roc_auc'"):
        update_detector(Detector(), wrong, window(0), run_length=YEAR)
