"""The policy: from findings to decisions, pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from gyroscope.data.remarks import are, counted
from gyroscope.decide.states import drift_key
from gyroscope.decisions import (
    Action,
    Care,
    Decision,
    State,
    TrialOutcome,
    TrialVerdict,
    decision_id,
)
from gyroscope.findings import Finding, Kind, Verdict, Window

_YEAR = timedelta(days=365)
_CALM_WINDOWS = 3  # in a row without evidence, and the incident is over
_MOST_DOUBLINGS = 6  # of the cooldown: 64 times as long, more than a year for a week
_DRIFT = (
    Kind.COLUMN_DRIFT,
    Kind.JOINT_DRIFT,
    Kind.SCORE_DRIFT,
    Kind.LABEL_DRIFT,
    Kind.ASSOCIATION_DRIFT,
    Kind.SEGMENT,
)


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the user allows."""

    cooldown: timedelta  # between two retrainings; doubles with each of six failures in a row
    retrainings_per_year: int
    retrain_rows: int  # labelled rows since the change before challengers are worth training
    trial_length: timedelta
    probation: timedelta


def decide_unlabelled(
    care: Care, findings: Sequence[Finding], window: Window, now: datetime
) -> tuple[Decision, ...]:
    """What a window calls for before its labels: quarantine, release, or a notice of drift.

    Broken data alarm once, at once, and every window of them is quarantined until the first clean
    one releases. Of broken data nothing else is said: its drift is that of the fault. Drift never
    leads to a retraining.

    Args:
        care: the state of the model.
        findings: on the window.
        window: the window.
        now: in the clock of the loop.
    """
    broken = [f for f in findings if f.kind is Kind.DATA_QUALITY and f.verdict is Verdict.ALARM]
    if broken:
        quarantine = _quarantine(care, broken, window, now)
        known = care.quarantine is not None
        return (quarantine,) if known else (_data_alarm(care, broken, window, now), quarantine)
    decisions: list[Decision] = []
    if care.quarantine is not None and _is_clean(findings):
        decisions.append(_release(care, care.quarantine, window, now))
    return (*decisions, *_notices(care, findings, window, now))


def decide_labelled(
    care: Care,
    findings: Sequence[Finding],
    window: Window,
    settings: PolicySettings,
    now: datetime,
) -> tuple[Decision, ...]:
    """What a window calls for once its labels are in: an alarm, a retraining, or its end.

    An alarm is raised once per incident. Challengers are trained while it stands and nothing
    speaks against it: a pause, a retraining or trial under way, broken data, the cooldown, or the
    yearly budget. The incident is over after three windows in a row that speak for no change.

    Args:
        care: the state of the model, its detector brought up to date with the window.
        findings: on the window; those of quarantined windows do not count and are not given.
        window: the window.
        settings: what the user allows.
        now: in the clock of the loop.
    """
    alarms = [f for f in findings if f.kind is Kind.PERFORMANCE and f.verdict is Verdict.ALARM]
    decisions = list(_notices(care, findings, window, now))
    if alarms:
        obstacle = _obstacle(care, settings, now)
        if care.incident is None:
            decisions.append(_alarm(care, alarms, obstacle, window, now))
        if obstacle is None:
            decisions.append(_retrain(care, alarms, window, now))
    elif care.incident is not None and care.detector.calm >= _CALM_WINDOWS:
        decisions.append(_resolve(care, care.incident, window, now))
    return tuple(decisions)


def decide_trial(
    care: Care, outcome: TrialOutcome, settings: PolicySettings, now: datetime
) -> Decision | None:
    """What a look at the trial or probation under way calls for; None while it goes on.

    While the model is paused nothing is moved and nothing ends; that the previous champion proves
    better is told all the same.

    Args:
        care: the state of the model.
        outcome: what :func:`~gyroscope.promote.trial.judge_trial` came to.
        settings: what the user allows.
        now: in the clock of the loop.
    """
    if outcome.verdict is TrialVerdict.CONTINUE:
        return None
    if care.state is State.PROBATION:
        return _end_of_probation(care, outcome, now)
    if care.paused:
        return None
    if outcome.verdict is TrialVerdict.BETTER:
        return _promote(care, outcome, settings, now)
    return _reject(care, outcome, now)


def decide_canary(
    care: Care, finding: Finding, decided: Decision, now: datetime
) -> tuple[Decision, ...]:
    """The end of a canary that is surely worse than the champion; none while the model is paused.

    A canary that is surely better goes on: only a trial or a person promotes.

    Args:
        care: the state of the model.
        finding: what :func:`~gyroscope.promote.canary.compare_canary` came to.
        decided: the decision that gave the canary its share.
        now: in the clock of the loop.
    """
    if care.paused or finding.verdict is not Verdict.ALARM:
        return ()
    return (
        Decision(
            id=decision_id(care.model, Action.END_CANARY, decided.id),
            model=care.model,
            at=now,
            action=Action.END_CANARY,
            reason=finding.detail,
            findings=(finding,),
            window=finding.window,
            version=decided.version,
            previous=care.champion,
        ),
    )


# -- data -------------------------------------------------------------------------------------


def _data_alarm(care: Care, broken: Sequence[Finding], window: Window, now: datetime) -> Decision:
    return Decision(
        id=decision_id(care.model, Action.ALARM, "data", window),
        model=care.model,
        at=now,
        action=Action.ALARM,
        reason=f"The incoming data are broken. {' '.join(f.detail for f in broken[:3])}",
        findings=tuple(broken),
        window=window,
    )


def _quarantine(care: Care, broken: Sequence[Finding], window: Window, now: datetime) -> Decision:
    columns = ", ".join(sorted({f.subject for f in broken}))
    return Decision(
        id=decision_id(care.model, Action.QUARANTINE, window),
        model=care.model,
        at=now,
        action=Action.QUARANTINE,
        reason=f"The data of {window} are broken ({columns}) and will not be trained on.",
        findings=tuple(broken),
        window=window,
    )


def _is_clean(findings: Sequence[Finding]) -> bool:
    """Whether the window was examined and nothing in it is broken."""
    quality = [f.verdict for f in findings if f.kind is Kind.DATA_QUALITY]
    return bool(quality) and Verdict.ALARM not in quality and quality[-1] is Verdict.OK


def _release(care: Care, quarantine: str, window: Window, now: datetime) -> Decision:
    return Decision(
        id=decision_id(care.model, Action.RELEASE, quarantine),
        model=care.model,
        at=now,
        action=Action.RELEASE,
        reason=f"The data of {window} are clean again.",
        window=window,
    )


def _notices(
    care: Care, findings: Sequence[Finding], window: Window, now: datetime
) -> list[Decision]:
    """One notice for each subject whose material drift is not yet on record."""
    drifted = [f for f in findings if f.kind in _DRIFT and f.verdict is Verdict.WARNING]
    first = {drift_key(f): f for f in reversed(drifted) if drift_key(f) not in care.noticed}
    return [
        Decision(
            id=decision_id(care.model, Action.NOTICE, key, care.champion, window),
            model=care.model,
            at=now,
            action=Action.NOTICE,
            reason=finding.detail,
            findings=(finding,),
            window=window,
        )
        for key, finding in first.items()
    ]


# -- performance ------------------------------------------------------------------------------


def _alarm(
    care: Care, alarms: Sequence[Finding], obstacle: str | None, window: Window, now: datetime
) -> Decision:
    then = "Challengers are trained now." if obstacle is None else f"No retraining now: {obstacle}."
    return Decision(
        id=decision_id(care.model, Action.ALARM, care.champion, window),
        model=care.model,
        at=now,
        action=Action.ALARM,
        reason=f"{alarms[0].detail} {then}",
        findings=tuple(alarms),
        window=window,
        version=care.champion,
    )


def _obstacle(care: Care, settings: PolicySettings, now: datetime) -> str | None:
    """Why no retraining may start now, in words; None if it may."""
    within_year = sum(moment > now - _YEAR for moment in care.retrained)
    rows, needed = care.detector.rows, settings.retrain_rows
    free = _free_from(care, settings) or now
    obstacles = (
        (care.paused, "the autopilot is paused"),
        (care.state not in (State.HEALTHY, State.SUSPECT), f"the model is in {care.state}"),
        (care.quarantine is not None, "the incoming data are broken"),
        (
            within_year >= settings.retrainings_per_year,
            f"{within_year} retrainings in the last 365 days are all that is allowed",
        ),
        (
            rows < needed,
            f"{counted(needed, 'labelled row')} since the change {are(needed)} needed, "
            f"there {are(rows)} {rows:,}",
        ),
        (now < free, f"the cooldown lasts until {free:%Y-%m-%d %H:%M}"),
    )
    return next((words for in_the_way, words in obstacles if in_the_way), None)


def _free_from(care: Care, settings: PolicySettings) -> datetime | None:
    """When the cooldown after the last retraining ends; None if there was none."""
    if not care.retrained:
        return None
    return care.retrained[-1] + settings.cooldown * (1 << min(care.failures, _MOST_DOUBLINGS))


def _retrain(care: Care, alarms: Sequence[Finding], window: Window, now: datetime) -> Decision:
    since = care.detector.change_point
    return Decision(
        id=decision_id(care.model, Action.RETRAIN, care.champion, window),
        model=care.model,
        at=now,
        action=Action.RETRAIN,
        reason="Performance was lost"
        + ("" if since is None else f" since about {since:%Y-%m-%d}")
        + "; training challengers on all rows, on recent ones and on those since the change.",
        findings=tuple(alarms),
        window=window,
        version=care.champion,
    )


def _resolve(care: Care, incident: str, window: Window, now: datetime) -> Decision:
    return Decision(
        id=decision_id(care.model, Action.RESOLVE, incident),
        model=care.model,
        at=now,
        action=Action.RESOLVE,
        reason=f"{care.detector.calm} windows in a row are as they should be.",
        window=window,
    )


# -- trials -----------------------------------------------------------------------------------


def _promote(
    care: Care, outcome: TrialOutcome, settings: PolicySettings, now: datetime
) -> Decision:
    trial = outcome.trial
    return Decision(
        id=decision_id(care.model, Action.PROMOTE, trial.candidate, trial.since),
        model=care.model,
        at=now,
        action=Action.PROMOTE,
        reason=f"Proved better: {outcome.reason}.",
        findings=outcome.findings,
        window=Window(now, now + settings.probation),
        version=trial.candidate,
        previous=trial.incumbent,
    )


def _reject(care: Care, outcome: TrialOutcome, now: datetime) -> Decision:
    trial = outcome.trial
    why = "Not better" if outcome.verdict is TrialVerdict.NOT_BETTER else "Time is up"
    return Decision(
        id=decision_id(care.model, Action.REJECT, trial.candidate, trial.since),
        model=care.model,
        at=now,
        action=Action.REJECT,
        reason=f"{why}: {outcome.reason}.",
        findings=outcome.findings,
        version=trial.candidate,
    )


def _end_of_probation(care: Care, outcome: TrialOutcome, now: datetime) -> Decision | None:
    trial = outcome.trial
    worse = outcome.verdict is TrialVerdict.BETTER  # the candidate is the previous champion
    if care.paused:
        return _alarm_while_paused(care, outcome, now) if worse else None
    action = Action.ROLL_BACK if worse else Action.CONFIRM
    why = "The previous champion is better" if worse else "Probation is over"
    return Decision(
        id=decision_id(care.model, action, trial.incumbent, trial.since),
        model=care.model,
        at=now,
        action=action,
        reason=f"{why}: {outcome.reason}.",
        findings=outcome.findings,
        version=trial.candidate if worse else trial.incumbent,
        previous=trial.incumbent if worse else None,
    )


def _alarm_while_paused(care: Care, outcome: TrialOutcome, now: datetime) -> Decision | None:
    if care.incident is not None:
        return None
    trial = outcome.trial
    return Decision(
        id=decision_id(care.model, Action.ALARM, trial.incumbent, trial.since),
        model=care.model,
        at=now,
        action=Action.ALARM,
        reason=f"The previous champion is better, and the autopilot is paused: {outcome.reason}. "
        f"Go back by hand: gyro rollback {care.model}",
        findings=outcome.findings,
        version=trial.incumbent,
    )
