"""Decisions, and the state of a model under care that they start from and lead to."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum

import msgspec

from gyroscope.findings import Finding, Window


class State(StrEnum):
    """Where a model under care stands in the loop."""

    LEARNING = "learning"  # no champion yet
    HEALTHY = "healthy"
    SUSPECT = "suspect"  # an incident is open
    RETRAINING = "retraining"  # a job trains challengers
    TRIAL = "trial"  # a challenger is compared with the champion
    PROBATION = "probation"  # the new champion is compared with the previous one


class Action(StrEnum):
    """What a decision does."""

    QUARANTINE = "quarantine"  # keep a window out of training
    RELEASE = "release"  # the data are clean again
    NOTICE = "notice"  # put something on record that costs nothing
    ALARM = "alarm"  # tell somebody
    RESOLVE = "resolve"  # the incident is over
    RETRAIN = "retrain"
    START_TRIAL = "start trial"
    PROMOTE = "promote"
    REJECT = "reject"  # end a trial or a retraining without promotion
    CONFIRM = "confirm"  # probation is over, the champion stays
    ROLL_BACK = "roll back"
    CANARY = "canary"  # a version serves a share of the entities beside the champion
    END_CANARY = "end canary"  # the champion serves all again
    PAUSE = "pause"
    RESUME = "resume"
    ERASE = "erase"  # all that the prediction log holds of one subject


class Status(StrEnum):
    """How far a decision has been carried out."""

    DECIDED = "decided"  # on record, nothing done
    ACTING = "acting"  # begun; on restart it is finished or undone
    DONE = "done"
    UNDONE = "undone"  # given up; the world is as before
    FAILED = "failed"  # tried, and the world is as before


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action with its reasons and the findings it rests on, before it is carried out."""

    id: str
    model: str
    at: datetime  # UTC, in the clock of the loop (event time in a replay)
    action: Action
    reason: str  # one plain sentence
    actor: str = "autopilot"  # or the name of the person
    findings: tuple[Finding, ...] = ()
    window: Window | None = None  # examined; for "start trial" and "promote": how long they last
    version: int | None = None  # the version it is about
    previous: int | None = None  # the champion before a trial, promotion, rollback or canary
    percent: float | None = None  # share that a canary serves, 0 to 100


def decision_id(model: str, action: Action, *about: object) -> str:
    """The id of a decision: the same for the same model, action and occasion.

    ``about`` is whatever tells this occasion from others of its kind (a window, a version), never
    the time of deciding: a loop that was killed and decides again meets its own record.
    """
    text = "\n".join([model, action, *map(str, about)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as the store keeps it."""

    decision: Decision
    status: Status
    updated: datetime
    note: str = ""  # what happened at the last change of status
    digest: str = ""  # sha256 hex of this record and its predecessor: the hash chain


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison under way: ``candidate`` tries to prove itself better than ``incumbent``."""

    candidate: int  # version
    incumbent: int  # version
    since: datetime  # rows with event time from here on count; later than any training row
    until: datetime  # given up if not proven by then
    log_e: float = 0.0  # natural logarithm of the e-value so far
    log_e_adverse: float = 0.0  # the same, for "it does not reach the minimum improvement"
    n: int = 0  # labelled rows compared so far
    windows: int = 0


class TrialVerdict(StrEnum):
    """What a trial has come to."""

    CONTINUE = "continue"
    BETTER = "candidate better"
    NOT_BETTER = "candidate not better"  # proven not to reach the minimum improvement
    EXPIRED = "expired"  # time is up and nothing proven


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a trial or probation brought."""

    trial: Trial  # with the evidence brought up to date
    verdict: TrialVerdict
    reason: str  # one plain sentence with the numbers
    findings: tuple[Finding, ...] = ()


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """The e-detector for performance with labels (Shiryaev-Roberts type), carried over windows."""

    log_value: float = 0.0  # natural logarithm of 1 + the detector
    parts: tuple[float, ...] = ()  # the same of each part whose mean it is: one a kind of change
    log_cusum: float = 0.0  # natural logarithm of the e-CUSUM; at most 0: no change in sight
    windows: int = 0
    calm: int = 0  # windows in a row, up to the last, that spoke for no change
    change_point: datetime | None = None  # most likely start of the change
    rows: int = 0  # labelled rows since the change point
    cost: float = 0.0  # mean excess loss over the reference since then, nats per prediction
    cost_error: float = 0.0  # its standard error


class Care(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the loop remembers about one model; ``decide`` reads it, nothing else does."""

    model: str
    state: State = State.LEARNING
    since: datetime | None = None  # in this state since
    paused: bool = False
    champion: int | None = None
    closed_until: datetime | None = None  # windows up to here were checked without labels
    labelled_until: datetime | None = None  # windows up to here were checked with labels
    detector: Detector = Detector()
    incident: str | None = None  # id of the alarm decision that is open
    quarantine: str | None = None  # id of the quarantine decision that is open
    noticed: tuple[str, ...] = ()  # drifts of this champion's inputs already on record
    job: str | None = None  # id of the retraining job under way: that of its decision
    trial: Trial | None = None
    probation: Trial | None = None  # candidate: the previous champion; incumbent: the new one
    retrained: tuple[datetime, ...] = ()  # starts of retrainings, newest last
    failures: int = 0  # retrainings or trials in a row that led to no promotion
