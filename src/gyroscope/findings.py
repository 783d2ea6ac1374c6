"""What was examined and what came out: the one value that checks, gates and trials return."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from gyroscope.errors import GyroscopeError


class Window(msgspec.Struct, frozen=True, order=True, gc=False):
    """A half-open interval ``[start, end)`` of event time, always with time zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise GyroscopeError("a window needs times with a time zone")
        if self.end < self.start:
            raise GyroscopeError(f"a window cannot end before it starts: {self}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M}"

    @property
    def length(self) -> timedelta:
        """How long the window is."""
        return self.end - self.start

    def overlaps(self, other: Window) -> bool:
        """Whether the two windows share a moment."""
        return self.start < other.end and other.start < self.end


class Verdict(StrEnum):
    """What a finding says, from nothing to see to a person is needed."""

    OK = "ok"
    NOTICE = "notice"  # real but harmless, or not known to cost anything
    WARNING = "warning"  # material, worth watching; wakes nobody
    ALARM = "alarm"  # somebody must know
    NOT_ENOUGH_DATA = "not enough data"


class Kind(StrEnum):
    """The family of checks a finding comes from; ``decide`` treats each family differently."""

    DATA_QUALITY = "data quality"
    COLUMN_DRIFT = "column drift"
    JOINT_DRIFT = "joint drift"  # how columns go together
    SCORE_DRIFT = "score drift"
    LABEL_DRIFT = "label drift"
    ASSOCIATION_DRIFT = "association drift"  # how columns and label go together
    SEGMENT = "segment"  # where performance is worst
    PERFORMANCE = "performance"  # with labels
    ESTIMATED_PERFORMANCE = "estimated performance"  # before labels
    GATE = "gate"
    TRIAL = "trial"  # challenger against champion
    PROBATION = "probation"  # new champion against the previous one
    CANARY = "canary"  # against the champion, each on the rows that it served


class Interval(msgspec.Struct, frozen=True, gc=False):
    """A confidence interval, 95 % unless its finding says otherwise."""

    low: float
    high: float


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was examined, on which window, the value, its uncertainty, the threshold, the verdict.

    Numbers are in the unit of the statistic named by ``check``; probabilities lie in [0, 1].
    """

    kind: Kind
    check: str  # the statistic or rule, e.g. "psi", "missing_rate", "mcnemar"
    subject: str  # a column, "score", "label", a metric, a version
    verdict: Verdict
    detail: str  # one plain sentence with the numbers in it
    window: Window | None = None
    n: int = 0  # rows examined in the current window
    value: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    e_value: float | None = None
    log_es: tuple[float, ...] = ()  # natural logarithms of the e-values whose mean is e_value
    tilts: tuple[tuple[float, float], ...] = ()  # of each: its law if all is well, see log_boosts
    threshold: float | None = None  # the limit that ``value`` (or its p-/e-value) was held against
    n_needed: int | None = None  # rows that would be enough, with "not enough data"
    cost: float | None = None  # estimated change of the user's metric; positive is worse
    cost_interval: Interval | None = None
    suspects: tuple[str, ...] = ()  # what is likely behind it, the likeliest first


SEVERITY = (Verdict.OK, Verdict.NOT_ENOUGH_DATA, Verdict.NOTICE, Verdict.WARNING, Verdict.ALARM)


def worst(findings: tuple[Finding, ...] | list[Finding]) -> Verdict:
    """The most severe verdict among the findings; ``ok`` if there are none."""
    return max((f.verdict for f in findings), key=SEVERITY.index, default=Verdict.OK)
