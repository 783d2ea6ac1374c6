"""The budget of false alarms of a model, and how it is shared between the families of checks.

``false_alarms_per_year`` is what all checks of a model together may flag in a year without any
change: every warning and alarm counts, over all columns, segments, tests and windows. A family
tested by p-values spends its share evenly over the windows of a year; within a window its checks
are corrected for each other. The e-detector spends its own by its run length: if the average time
to a false alarm is at least ``run_length`` windows, no more than windows / run_length are expected.
The expectation of a sum is the sum of expectations, however much the families depend.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from gyroscope.findings import Finding, Kind, Verdict

YEAR = timedelta(days=365)
_LARGEST = 0.05  # error rate of a window, however generous the budget and rare the windows

SHARES: dict[str, tuple[float, tuple[Kind, ...]]] = {
    "performance": (0.50, (Kind.PERFORMANCE,)),
    "data quality": (0.15, (Kind.DATA_QUALITY,)),
    "columns": (0.15, (Kind.COLUMN_DRIFT, Kind.JOINT_DRIFT)),
    "scores": (0.05, (Kind.SCORE_DRIFT,)),
    "labels": (0.05, (Kind.LABEL_DRIFT,)),
    "association": (0.05, (Kind.ASSOCIATION_DRIFT,)),
    "segments": (0.05, (Kind.SEGMENT,)),
}


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a model may flag without a change."""

    false_alarms_per_year: float
    window: timedelta  # length of the windows that are checked

    @property
    def windows_per_year(self) -> float:
        """Windows of a year."""
        return YEAR / self.window

    def share(self, family: str) -> float:
        """False alarms a year that a family of checks may raise."""
        return SHARES[family][0] * self.false_alarms_per_year

    def alpha(self, family: str) -> float:
        """Chance of any warning or alarm of a family in a window without change."""
        return min(self.share(family) / self.windows_per_year, _LARGEST)

    @property
    def run_length(self) -> float:
        """Windows that the e-detector must take on average to a false alarm."""
        return self.windows_per_year / self.share("performance")


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """How a family of checks has used its part of the budget."""

    family: str
    allowed: float  # false alarms a year
    per_window: float | None  # chance in a window without change; None for the e-detector
    windows: int  # checked
    expected: float  # false alarms to expect in these at most
    flagged: int  # windows with a warning or alarm, false or not


def spending(budget: Budget, findings: Iterable[Finding]) -> list[Spent]:
    """How the budget has been used, family by family.

    Args:
        budget: of the model.
        findings: of the windows looked back on.
    """
    of_family = {kind: family for family, (_, kinds) in SHARES.items() for kind in kinds}
    checked: dict[str, set[object]] = {family: set() for family in SHARES}
    flagged: dict[str, set[object]] = {family: set() for family in SHARES}
    for finding in findings:
        family = of_family.get(finding.kind)
        if family is None or finding.window is None:
            continue
        checked[family].add(finding.window)
        if finding.verdict in (Verdict.WARNING, Verdict.ALARM):
            flagged[family].add(finding.window)
    return [
        Spent(
            family=family,
            allowed=budget.share(family),
            per_window=None if family == "performance" else budget.alpha(family),
            windows=len(checked[family]),
            expected=len(checked[family]) * min(budget.share(family) / budget.windows_per_year, 1),
            flagged=len(flagged[family]),
        )
        for family in SHARES
    ]
