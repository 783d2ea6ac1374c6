"""The state that a carried-out decision leads to.

    learning -- promote --> healthy <-- alarm, resolve --> suspect
    healthy, suspect -- retrain --> retraining -- start trial --> trial
    retraining, trial -- reject --> healthy or suspect
    trial -- promote --> probation -- confirm, roll back --> healthy

A promotion and a rollback are possible in every state, because a person may move the champion at
any time and the state has to follow. Quarantine, notices, canaries and pausing change no state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from gyroscope.decisions import Action, Care, Decision, Detector, State, Trial
from gyroscope.errors import UsageError
from gyroscope.findings import Finding, Kind

_YEAR = timedelta(days=365)


def after(care: Care, decision: Decision) -> Care:
    """The state of a model once ``decision`` has been carried out.

    Raises:
        UsageError: the decision does not fit the state; nothing should be done.
    """
    changes = _CHANGES[decision.action](care, decision)
    state = changes.get("state", care.state)
    if state is not care.state:
        changes["since"] = decision.at
    return msgspec.structs.replace(care, **changes)


def adopted(care: Care, champion: int | None) -> Care:
    """The state of a model whose champion was chosen outside: nothing is known of it yet."""
    return Care(
        model=care.model,
        state=State.LEARNING if champion is None else State.HEALTHY,
        paused=care.paused,
        champion=champion,
        closed_until=care.closed_until,
        labelled_until=care.labelled_until,
        quarantine=care.quarantine,
        retrained=care.retrained,
    )


def resting(care: Care) -> State:
    """The state of a model that nothing is being done with."""
    if care.champion is None:
        return State.LEARNING
    return State.HEALTHY if care.incident is None else State.SUSPECT


def drift_key(finding: Finding) -> str:
    """What a notice of drift is remembered by: the column, or the kind of what is no column."""
    return finding.subject if finding.kind is Kind.COLUMN_DRIFT else str(finding.kind)


def _needs(care: Care, decision: Decision, *states: State) -> None:
    """Raise unless the model is in one of the states that the decision is made for."""
    if care.state not in states:
        raise UsageError(
            f"cannot {decision.action}: model {care.model} is in state {care.state}, "
            f"it must be in {' or '.join(states)}"
        )


def _quarantine(care: Care, decision: Decision) -> dict[str, Any]:
    return {"quarantine": care.quarantine or decision.id}


def _release(care: Care, decision: Decision) -> dict[str, Any]:
    if care.quarantine is None:
        raise UsageError(f"model {care.model} has no open quarantine to release")
    return {"quarantine": None}


def _notice(care: Care, decision: Decision) -> dict[str, Any]:
    new = dict.fromkeys(map(drift_key, decision.findings))
    return {"noticed": (*care.noticed, *(key for key in new if key not in care.noticed))}


def _alarm(care: Care, decision: Decision) -> dict[str, Any]:
    """An alarm about performance opens an incident; one about data goes with a quarantine."""
    if decision.findings and all(f.kind is Kind.DATA_QUALITY for f in decision.findings):
        return {}
    calm = care.state is State.HEALTHY
    return {"incident": decision.id, "state": State.SUSPECT if calm else care.state}


def _resolve(care: Care, decision: Decision) -> dict[str, Any]:
    if care.incident is None:
        raise UsageError(f"model {care.model} has no open incident to resolve")
    calm = care.state is State.SUSPECT
    return {
        "incident": None,
        "state": State.HEALTHY if calm else care.state,
        "detector": Detector(),
    }


def _retrain(care: Care, decision: Decision) -> dict[str, Any]:
    if care.champion is None:
        raise UsageError(f"model {care.model} has no champion yet")
    _needs(care, decision, State.HEALTHY, State.SUSPECT)
    within_year = (moment for moment in care.retrained if moment > decision.at - _YEAR)
    return {
        "state": State.RETRAINING,
        "job": decision.id,
        "retrained": (*within_year, decision.at),
    }


def _start_trial(care: Care, decision: Decision) -> dict[str, Any]:
    _needs(care, decision, State.HEALTHY, State.SUSPECT, State.RETRAINING)
    if decision.version is None or decision.window is None or care.champion is None:
        raise UsageError("a trial needs a version, a champion and a time")
    trial = Trial(
        candidate=decision.version,
        incumbent=care.champion,
        since=decision.window.start,
        until=decision.window.end,
    )
    return {"state": State.TRIAL, "job": None, "trial": trial}


def _promote(care: Care, decision: Decision) -> dict[str, Any]:
    changes = _new_champion(care, decision)
    if decision.previous is None or decision.window is None:
        return changes | {"state": State.HEALTHY, "failures": 0}
    probation = Trial(
        candidate=decision.previous,
        incumbent=changes["champion"],
        since=decision.window.start,
        until=decision.window.end,
    )
    return changes | {"state": State.PROBATION, "probation": probation}


def _roll_back(care: Care, decision: Decision) -> dict[str, Any]:
    changes = _new_champion(care, decision)
    return changes | {"state": State.HEALTHY, "failures": care.failures + 1}


def _new_champion(care: Care, decision: Decision) -> dict[str, Any]:
    """A new champion starts with a clean sheet; failures count until it is confirmed."""
    if decision.version is None:
        raise UsageError(f"a decision to {decision.action} needs a version")
    return {
        "champion": decision.version,
        "job": None,
        "trial": None,
        "probation": None,
        "incident": None,
        "detector": Detector(),
        "noticed": (),
    }


def _reject(care: Care, decision: Decision) -> dict[str, Any]:
    _needs(care, decision, State.RETRAINING, State.TRIAL)
    return {
        "state": resting(care),
        "job": None,
        "trial": None,
        "failures": care.failures + 1,
    }


def _confirm(care: Care, decision: Decision) -> dict[str, Any]:
    _needs(care, decision, State.PROBATION)
    return {"state": resting(care), "probation": None, "failures": 0}


def _canary(care: Care, decision: Decision) -> dict[str, Any]:
    if decision.version is None or decision.percent is None:
        raise UsageError("a canary needs a version and a share in percent")
    return {}


def _end_canary(care: Care, decision: Decision) -> dict[str, Any]:
    return {}


def _pause(care: Care, decision: Decision) -> dict[str, Any]:
    return {"paused": True}


def _resume(care: Care, decision: Decision) -> dict[str, Any]:
    return {"paused": False}


def _erase(care: Care, decision: Decision) -> dict[str, Any]:
    return {}


_CHANGES = {
    Action.QUARANTINE: _quarantine,
    Action.RELEASE: _release,
    Action.NOTICE: _notice,
    Action.ALARM: _alarm,
    Action.RESOLVE: _resolve,
    Action.RETRAIN: _retrain,
    Action.START_TRIAL: _start_trial,
    Action.PROMOTE: _promote,
    Action.REJECT: _reject,
    Action.CONFIRM: _confirm,
    Action.ROLL_BACK: _roll_back,
    Action.CANARY: _canary,
    Action.END_CANARY: _end_canary,
    Action.PAUSE: _pause,
    Action.RESUME: _resume,
    Action.ERASE: _erase,
}
