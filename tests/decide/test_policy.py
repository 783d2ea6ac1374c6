"""From findings to decisions, rule by rule."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.decide.policy import (
    PolicySettings,
    decide_labelled,
    decide_trial,
    decide_unlabelled,
)
from gyroscope.decide.states import after
from gyroscope.decisions import (
    Action,
    Care,
    Decision,
    Detector,
    State,
    Trial,
    TrialOutcome,
    TrialVerdict,
)
from gyroscope.findings import Finding, Kind, Verdict, Window

DAY = timedelta(days=1)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(NOW - DAY, NOW)
SETTINGS = PolicySettings(
    cooldown=7 * DAY,
    retrainings_per_year=3,
    retrain_rows=500,
    trial_length=28 * DAY,
    probation=14 * DAY,
)
SINCE_CHANGE = Detector(log_value=8.0, change_point=NOW - 3 * DAY, rows=2000)
HEALTHY = Care(model="churn", state=State.HEALTHY, champion=1, detector=SINCE_CHANGE)
SUSPECT = msgspec.structs.replace(HEALTHY, state=State.SUSPECT, incident="i1")
TRIAL = Trial(candidate=2, incumbent=1, since=NOW - 5 * DAY, until=NOW + 9 * DAY)
ON_TRIAL = msgspec.structs.replace(SUSPECT, state=State.TRIAL, trial=TRIAL)
PROBATION = Trial(candidate=1, incumbent=2, since=NOW - 5 * DAY, until=NOW + 9 * DAY)
ON_PROBATION = msgspec.structs.replace(
    HEALTHY, state=State.PROBATION, champion=2, probation=PROBATION
)


def finding(kind: Kind, verdict: Verdict, subject: str = "age") -> Finding:
    return Finding(
        kind=kind, check="c", subject=subject, verdict=verdict, detail=f"{subject}: seen."
    )


CLEAN = finding(Kind.DATA_QUALITY, Verdict.OK)
BROKEN = finding(Kind.DATA_QUALITY, Verdict.ALARM)
LOST = finding(Kind.PERFORMANCE, Verdict.ALARM, "performance")
KEPT = finding(Kind.PERFORMANCE, Verdict.OK, "performance")


def actions(decisions: tuple[Decision, ...]) -> list[Action]:
    return [decision.action for decision in decisions]


def unlabelled(care: Care, *findings: Finding, window: Window = WINDOW) -> tuple[Decision, ...]:
    return decide_unlabelled(care, findings, window, NOW)


def labelled(care: Care, *findings: Finding) -> tuple[Decision, ...]:
    return decide_labelled(care, findings, WINDOW, SETTINGS, NOW)


# -- broken data ------------------------------------------------------------------------------


def test_broken_data_are_quarantined_with_the_columns_named() -> None:
    worse = finding(Kind.DATA_QUALITY, Verdict.ALARM, "income")
    alarm, decision = unlabelled(HEALTHY, CLEAN, worse, BROKEN)
    assert alarm.action is Action.ALARM
    assert worse.detail in alarm.reason
    assert decision.action is Action.QUARANTINE
    assert decision.window == WINDOW
    assert "(age, income)" in decision.reason
    assert decision.findings == (worse, BROKEN)


def test_of_broken_data_nothing_else_is_said() -> None:
    drifted = finding(Kind.COLUMN_DRIFT, Verdict.WARNING)
    assert actions(unlabelled(HEALTHY, drifted, BROKEN)) == [Action.ALARM, Action.QUARANTINE]


def test_every_broken_window_is_quarantined_and_the_first_clean_one_releases() -> None:
    care, taken = HEALTHY, []
    for day, found in enumerate([BROKEN, BROKEN, CLEAN, CLEAN]):
        window = Window(NOW + day * DAY, NOW + (day + 1) * DAY)
        for decision in unlabelled(care, found, window=window):
            taken.append((day, decision.action))
            care = after(care, decision)
    assert taken == [
        (0, Action.ALARM),
        (0, Action.QUARANTINE),
        (1, Action.QUARANTINE),
        (2, Action.RELEASE),
    ]


def test_an_alarm_about_data_opens_no_incident_of_performance() -> None:
    alarm, _ = unlabelled(HEALTHY, BROKEN)
    assert after(HEALTHY, alarm) == HEALTHY


def test_a_window_too_small_to_judge_releases_nothing() -> None:
    held = msgspec.structs.replace(HEALTHY, quarantine="q1")
    unknown = finding(Kind.DATA_QUALITY, Verdict.NOT_ENOUGH_DATA)
    assert unlabelled(held, unknown) == ()
    assert unlabelled(held) == ()


# -- drift ------------------------------------------------------------------------------------


def test_each_newly_drifted_subject_is_put_on_record_once() -> None:
    age = finding(Kind.COLUMN_DRIFT, Verdict.WARNING)
    score = finding(Kind.SCORE_DRIFT, Verdict.WARNING, "score")
    first = unlabelled(HEALTHY, age, age, score, CLEAN)
    assert actions(first) == [Action.NOTICE, Action.NOTICE]
    care = HEALTHY
    for decision in first:
        care = after(care, decision)
    assert unlabelled(care, age, score, CLEAN) == ()
    assert actions(unlabelled(care, finding(Kind.COLUMN_DRIFT, Verdict.WARNING, "plan"))) == [
        Action.NOTICE
    ]


def test_a_column_called_score_is_not_mistaken_for_the_score() -> None:
    (decision,) = unlabelled(HEALTHY, finding(Kind.SCORE_DRIFT, Verdict.WARNING, "score"))
    care = after(HEALTHY, decision)
    assert unlabelled(care, finding(Kind.COLUMN_DRIFT, Verdict.WARNING, "score")) != ()


def test_immaterial_drift_is_not_worth_a_notice() -> None:
    assert unlabelled(HEALTHY, finding(Kind.COLUMN_DRIFT, Verdict.NOTICE), CLEAN) == ()


@given(
    st.lists(
        st.builds(
            finding,
            st.sampled_from([k for k in Kind if k is not Kind.PERFORMANCE]),
            st.sampled_from(Verdict),
            st.sampled_from(["age", "plan", "score"]),
        ),
        max_size=8,
    )
)
def test_nothing_but_lost_performance_and_broken_data_alarms(findings: list[Finding]) -> None:
    taken = actions(unlabelled(SUSPECT, *findings)) + actions(labelled(SUSPECT, *findings))
    broken = any(f.kind is Kind.DATA_QUALITY and f.verdict is Verdict.ALARM for f in findings)
    assert Action.RETRAIN not in taken
    assert (Action.ALARM in taken) is broken


# -- performance ------------------------------------------------------------------------------


def test_lost_performance_alarms_and_trains_challengers() -> None:
    alarm, retrain = labelled(HEALTHY, LOST)
    assert (alarm.action, retrain.action) == (Action.ALARM, Action.RETRAIN)
    assert alarm.reason == "performance: seen. Challengers are trained now."
    assert "since about 2026-02-27" in retrain.reason


def test_an_open_incident_is_not_told_again_but_still_retrains() -> None:
    assert actions(labelled(SUSPECT, LOST)) == [Action.RETRAIN]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paused": True}, "the autopilot is paused"),
        ({"state": State.TRIAL}, "the model is in trial"),
        ({"state": State.PROBATION}, "the model is in probation"),
        ({"state": State.RETRAINING}, "the model is in retraining"),
        ({"quarantine": "q1"}, "the incoming data are broken"),
        ({"retrained": (NOW - 6 * DAY,)}, "the cooldown lasts until 2026-03-03 00:00"),
        (
            {"retrained": (NOW - 60 * DAY, NOW - 50 * DAY, NOW - 40 * DAY)},
            "3 retrainings in the last 365 days are all that is allowed",
        ),
        (
            {"detector": msgspec.structs.replace(SINCE_CHANGE, rows=400)},
            "500 labelled rows since the change are needed, there are 400",
        ),
    ],
)
def test_an_alarm_says_why_nothing_is_trained(changes: dict[str, object], words: str) -> None:
    (alarm,) = labelled(msgspec.structs.replace(HEALTHY, **changes), LOST)
    assert alarm.action is Action.ALARM
    assert f"No retraining now: {words}." in alarm.reason


@pytest.mark.parametrize(
    ("failures", "days", "free"),
    [(0, 6, False), (0, 7, True), (1, 13, False), (1, 14, True), (2, 27, False), (2, 28, True)],
)
def test_the_cooldown_doubles_with_every_failure(failures: int, days: int, free: bool) -> None:
    care = msgspec.structs.replace(SUSPECT, failures=failures, retrained=(NOW - days * DAY,))
    assert (actions(labelled(care, LOST)) == [Action.RETRAIN]) is free


def test_hundreds_of_failures_still_have_a_cooldown() -> None:
    care = msgspec.structs.replace(SUSPECT, failures=500, retrained=(NOW - DAY,))
    assert labelled(care, LOST) == ()


def test_retrainings_of_last_year_do_not_count() -> None:
    care = msgspec.structs.replace(SUSPECT, retrained=(NOW - 366 * DAY,) * 3)
    assert actions(labelled(care, LOST)) == [Action.RETRAIN]


@pytest.mark.parametrize(("calm", "over"), [(2, False), (3, True)])
def test_an_incident_is_over_after_three_calm_windows(calm: int, over: bool) -> None:
    care = msgspec.structs.replace(SUSPECT, detector=Detector(calm=calm))
    assert (actions(labelled(care, KEPT)) == [Action.RESOLVE]) is over


def test_calm_windows_without_an_incident_are_no_news() -> None:
    care = msgspec.structs.replace(HEALTHY, detector=Detector(calm=30))
    assert labelled(care, KEPT) == ()


def test_a_later_incident_is_told_again() -> None:
    care = HEALTHY
    for decision in labelled(care, LOST)[:1]:
        care = after(care, decision)
    calm = msgspec.structs.replace(care, detector=Detector(calm=3))
    for decision in labelled(calm, KEPT):
        calm = after(calm, decision)
    assert calm.state is State.HEALTHY
    assert Action.ALARM in actions(labelled(calm, LOST))


# -- trials -----------------------------------------------------------------------------------


def outcome(trial: Trial, verdict: TrialVerdict) -> TrialOutcome:
    return TrialOutcome(trial=trial, verdict=verdict, reason="numbers")


def taken(care: Care, verdict: TrialVerdict) -> Decision | None:
    trial = care.trial or care.probation
    assert trial is not None
    return decide_trial(care, outcome(trial, verdict), SETTINGS, NOW)


def test_a_proven_challenger_is_promoted_on_probation() -> None:
    decision = taken(ON_TRIAL, TrialVerdict.BETTER)
    assert decision is not None
    assert (decision.action, decision.version, decision.previous) == (Action.PROMOTE, 2, 1)
    assert decision.window == Window(NOW, NOW + 14 * DAY)
    assert decision.reason == "Proved better: numbers."
    assert after(ON_TRIAL, decision).state is State.PROBATION


@pytest.mark.parametrize(
    ("verdict", "why"),
    [(TrialVerdict.NOT_BETTER, "Not better"), (TrialVerdict.EXPIRED, "Time is up")],
)
def test_a_challenger_that_proves_nothing_is_rejected(verdict: TrialVerdict, why: str) -> None:
    decision = taken(ON_TRIAL, verdict)
    assert decision is not None
    assert (decision.action, decision.version) == (Action.REJECT, 2)
    assert decision.reason == f"{why}: numbers."
    assert after(ON_TRIAL, decision).state is State.SUSPECT


def test_a_new_champion_that_proves_worse_is_rolled_back() -> None:
    decision = taken(ON_PROBATION, TrialVerdict.BETTER)
    assert decision is not None
    assert (decision.action, decision.version, decision.previous) == (Action.ROLL_BACK, 1, 2)
    assert after(ON_PROBATION, decision).champion == 1


@pytest.mark.parametrize("verdict", [TrialVerdict.NOT_BETTER, TrialVerdict.EXPIRED])
def test_a_champion_that_holds_its_ground_is_confirmed(verdict: TrialVerdict) -> None:
    decision = taken(ON_PROBATION, verdict)
    assert decision is not None
    assert (decision.action, decision.version) == (Action.CONFIRM, 2)
    assert after(ON_PROBATION, decision).champion == 2


@pytest.mark.parametrize("care", [ON_TRIAL, ON_PROBATION])
def test_a_trial_under_way_calls_for_nothing(care: Care) -> None:
    assert taken(care, TrialVerdict.CONTINUE) is None


@pytest.mark.parametrize("care", [ON_TRIAL, ON_PROBATION])
@pytest.mark.parametrize("verdict", TrialVerdict)
def test_a_paused_model_is_never_moved(care: Care, verdict: TrialVerdict) -> None:
    decision = taken(msgspec.structs.replace(care, paused=True), verdict)
    assert decision is None or decision.action is Action.ALARM


def test_a_paused_model_with_a_worse_champion_is_told_once() -> None:
    paused = msgspec.structs.replace(ON_PROBATION, paused=True)
    decision = taken(paused, TrialVerdict.BETTER)
    assert decision is not None
    assert "gyro rollback churn" in decision.reason
    assert taken(after(paused, decision), TrialVerdict.BETTER) is None


# -- ids --------------------------------------------------------------------------------------


def test_deciding_again_later_on_the_same_window_repeats_the_same_ids() -> None:
    later = NOW + timedelta(minutes=5)
    findings = (finding(Kind.COLUMN_DRIFT, Verdict.WARNING), LOST)
    now = decide_labelled(HEALTHY, findings, WINDOW, SETTINGS, NOW)
    again = decide_labelled(HEALTHY, findings, WINDOW, SETTINGS, later)
    assert [d.id for d in now] == [d.id for d in again]
    assert len({d.id for d in now}) == len(now) == 3
    trial = outcome(TRIAL, TrialVerdict.BETTER)
    first = decide_trial(ON_TRIAL, trial, SETTINGS, NOW)
    second = decide_trial(ON_TRIAL, trial, SETTINGS, later)
    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_another_window_or_model_gives_other_ids() -> None:
    other = Window(NOW, NOW + DAY)
    here = unlabelled(HEALTHY, BROKEN)
    next_day = unlabelled(HEALTHY, BROKEN, window=other)
    elsewhere = unlabelled(msgspec.structs.replace(HEALTHY, model="fraud"), BROKEN)
    assert len({decision.id for decision in (*here, *next_day, *elsewhere)}) == 6
