"""The states of a model: where each decision leads, and what is refused."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gyroscope.decide.states import adopted, after, resting
from gyroscope.decisions import Action, Care, Decision, Detector, State, Trial
from gyroscope.errors import UsageError
from gyroscope.findings import Finding, Kind, Verdict, Window

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FORTNIGHT = Window(NOW, NOW + timedelta(days=14))
TRIAL = Trial(candidate=2, incumbent=1, since=NOW, until=FORTNIGHT.end)

LEARNING = Care(model="churn")
HEALTHY = Care(model="churn", state=State.HEALTHY, champion=1)
SUSPECT = msgspec.structs.replace(HEALTHY, state=State.SUSPECT, incident="i1")
RETRAINING = msgspec.structs.replace(SUSPECT, state=State.RETRAINING, job="j1")
ON_TRIAL = msgspec.structs.replace(SUSPECT, state=State.TRIAL, trial=TRIAL)
ON_PROBATION = msgspec.structs.replace(
    HEALTHY,
    state=State.PROBATION,
    champion=2,
    probation=Trial(candidate=1, incumbent=2, since=NOW, until=FORTNIGHT.end),
)
EVERY_STATE = (LEARNING, HEALTHY, SUSPECT, RETRAINING, ON_TRIAL, ON_PROBATION)


def decision(
    action: Action,
    *,
    version: int | None = None,
    previous: int | None = None,
    window: Window | None = None,
    findings: tuple[Finding, ...] = (),
) -> Decision:
    return Decision(
        id=f"{action} now",
        model="churn",
        at=NOW,
        action=action,
        reason="",
        version=version,
        previous=previous,
        window=window,
        findings=findings,
    )


def drift(kind: Kind, subject: str) -> Finding:
    return Finding(kind=kind, check="psi", subject=subject, verdict=Verdict.WARNING, detail="")


def test_the_first_version_serves_without_probation() -> None:
    care = after(LEARNING, decision(Action.PROMOTE, version=1))
    assert (care.state, care.champion, care.probation, care.since) == (State.HEALTHY, 1, None, NOW)


def test_the_whole_way_from_an_alarm_to_a_confirmed_champion() -> None:
    care = after(HEALTHY, decision(Action.ALARM))
    assert (care.state, care.incident) == (State.SUSPECT, "alarm now")
    care = after(care, decision(Action.RETRAIN))
    assert (care.state, care.job, care.retrained) == (State.RETRAINING, "retrain now", (NOW,))
    care = after(care, decision(Action.START_TRIAL, version=2, previous=1, window=FORTNIGHT))
    assert (care.state, care.job, care.trial) == (State.TRIAL, None, TRIAL)
    care = after(care, decision(Action.PROMOTE, version=2, previous=1, window=FORTNIGHT))
    assert (care.state, care.champion, care.trial) == (State.PROBATION, 2, None)
    assert care.probation is not None
    assert (care.probation.candidate, care.probation.incumbent) == (1, 2)
    care = after(care, decision(Action.CONFIRM, version=2))
    assert (care.state, care.champion, care.probation) == (State.HEALTHY, 2, None)


def test_a_rollback_brings_the_previous_champion_back_and_counts_as_a_failure() -> None:
    care = after(ON_PROBATION, decision(Action.ROLL_BACK, version=1, previous=2))
    assert (care.state, care.champion, care.probation) == (State.HEALTHY, 1, None)
    assert care.failures == 1


def test_failures_add_up_over_promotions_until_a_champion_is_confirmed() -> None:
    promote = decision(Action.PROMOTE, version=2, previous=1, window=FORTNIGHT)
    roll_back = decision(Action.ROLL_BACK, version=1, previous=2)
    care = after(after(ON_TRIAL, promote), roll_back)
    care = after(after(care, promote), roll_back)
    assert care.failures == 2
    care = after(after(care, promote), decision(Action.CONFIRM, version=2))
    assert care.failures == 0


@pytest.mark.parametrize("care", [RETRAINING, ON_TRIAL])
def test_a_rejection_leads_back_to_where_it_began(care: Care) -> None:
    suspect = after(care, decision(Action.REJECT, version=2))
    assert (suspect.state, suspect.failures) == (State.SUSPECT, 1)
    assert (suspect.job, suspect.trial) == (None, None)
    calm = msgspec.structs.replace(care, incident=None)
    assert after(calm, decision(Action.REJECT, version=2)).state is State.HEALTHY


def test_a_resolved_incident_starts_the_detector_afresh() -> None:
    busy = msgspec.structs.replace(SUSPECT, detector=Detector(log_value=9.0, windows=5))
    care = after(busy, decision(Action.RESOLVE))
    assert (care.state, care.incident, care.detector) == (State.HEALTHY, None, Detector())


@pytest.mark.parametrize("care", [RETRAINING, ON_TRIAL, ON_PROBATION])
def test_alarms_and_their_end_interrupt_nothing(care: Care) -> None:
    alarmed = after(care, decision(Action.ALARM))
    assert alarmed.state is care.state
    assert after(alarmed, decision(Action.RESOLVE)).state is care.state


@pytest.mark.parametrize("care", EVERY_STATE)
def test_quarantine_notices_and_pausing_change_no_state(care: Care) -> None:
    quarantined = after(care, decision(Action.QUARANTINE, window=FORTNIGHT))
    assert quarantined.quarantine == "quarantine now"
    assert after(quarantined, decision(Action.RELEASE)) == care
    assert after(after(care, decision(Action.PAUSE)), decision(Action.RESUME)) == care
    assert after(care, decision(Action.PAUSE)).paused


def test_the_first_of_several_broken_windows_opens_the_quarantine() -> None:
    first = msgspec.structs.replace(HEALTHY, quarantine="first")
    assert after(first, decision(Action.QUARANTINE, window=FORTNIGHT)).quarantine == "first"


def test_a_notice_is_remembered_until_the_champion_changes() -> None:
    findings = (drift(Kind.COLUMN_DRIFT, "age"), drift(Kind.LABEL_DRIFT, "label"))
    care = after(HEALTHY, decision(Action.NOTICE, findings=findings))
    assert care.noticed == ("age", "label drift")
    assert after(care, decision(Action.NOTICE, findings=findings)) == care
    promoted = after(care, decision(Action.PROMOTE, version=2, previous=1, window=FORTNIGHT))
    assert promoted.noticed == ()


def test_retrainings_older_than_a_year_are_forgotten() -> None:
    old = msgspec.structs.replace(
        HEALTHY, retrained=(NOW - timedelta(days=366), NOW - timedelta(days=364))
    )
    care = after(old, decision(Action.RETRAIN))
    assert care.retrained == (NOW - timedelta(days=364), NOW)


LEGAL = {
    Action.RETRAIN: (HEALTHY, SUSPECT),
    Action.START_TRIAL: (HEALTHY, SUSPECT, RETRAINING),
    Action.REJECT: (RETRAINING, ON_TRIAL),
    Action.CONFIRM: (ON_PROBATION,),
    Action.RESOLVE: (SUSPECT, RETRAINING, ON_TRIAL),
    Action.RELEASE: (),
}


@pytest.mark.parametrize(
    ("action", "care"),
    [(a, care) for a, legal in LEGAL.items() for care in EVERY_STATE if care not in legal],
)
def test_a_decision_that_does_not_fit_the_state_is_refused(action: Action, care: Care) -> None:
    with pytest.raises(UsageError, match="churn"):
        after(care, decision(action, version=3, previous=1, window=FORTNIGHT))


@pytest.mark.parametrize(
    ("action", "care"), [(a, care) for a, legal in LEGAL.items() for care in legal]
)
def test_a_decision_that_fits_the_state_is_taken(action: Action, care: Care) -> None:
    assert after(care, decision(action, version=3, previous=1, window=FORTNIGHT)) != care


@pytest.mark.parametrize("care", EVERY_STATE)
@pytest.mark.parametrize("action", [Action.PROMOTE, Action.ROLL_BACK])
def test_a_person_may_move_the_champion_in_every_state(care: Care, action: Action) -> None:
    moved = after(care, decision(action, version=7))
    assert moved.champion == 7
    assert (moved.job, moved.trial, moved.incident) == (None, None, None)
    assert moved.detector == Detector()


def test_refusals_say_what_the_state_is_and_what_it_must_be() -> None:
    with pytest.raises(UsageError, match=r"cannot confirm: model churn is in state healthy, it"):
        after(HEALTHY, decision(Action.CONFIRM, version=1))
    with pytest.raises(UsageError, match="a decision to promote needs a version"):
        after(ON_TRIAL, decision(Action.PROMOTE))
    with pytest.raises(UsageError, match="a trial needs a version"):
        after(RETRAINING, decision(Action.START_TRIAL))


def test_a_champion_chosen_outside_starts_with_a_clean_sheet() -> None:
    paused = msgspec.structs.replace(ON_TRIAL, paused=True, quarantine="q1")
    care = adopted(paused, 9)
    assert (care.state, care.champion, care.trial, care.incident) == (State.HEALTHY, 9, None, None)
    assert care.paused
    assert care.quarantine == "q1"
    assert adopted(ON_TRIAL, None).state is State.LEARNING


def test_a_model_at_rest_learns_or_is_healthy_or_suspect() -> None:
    assert [resting(care) for care in (LEARNING, ON_PROBATION, RETRAINING)] == [
        State.LEARNING,
        State.HEALTHY,
        State.SUSPECT,
    ]


@pytest.mark.parametrize("care", EVERY_STATE)
def test_every_state_survives_json(care: Care) -> None:
    assert msgspec.json.decode(msgspec.json.encode(care), type=Care) == care
