"""Two profiles held against each other, without a model: what is broken, what has changed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gyroscope.data.profile import Profile
from gyroscope.findings import SEVERITY, Finding, Verdict, worst
from gyroscope.monitor.drift import DriftRules, drift_findings
from gyroscope.monitor.quality import quality_findings


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found, the worst first."""

    findings: tuple[Finding, ...]
    reference: Profile
    current: Profile

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        return worst(self.findings)

    @property
    def flagged(self) -> bool:
        """Whether something is a warning or worse."""
        return SEVERITY.index(self.verdict) >= SEVERITY.index(Verdict.WARNING)

    @property
    def summary(self) -> str:
        """What came out, in one sentence."""
        columns = len(self.reference.columns)
        compared = f"{self.current.n:,} rows against {self.reference.n:,} in {columns} columns"
        parts = [
            _listed(level, [f.subject for f in self.findings if f.verdict is level])
            for level in (Verdict.ALARM, Verdict.WARNING, Verdict.NOTICE)
        ]
        told = "; ".join(part for part in parts if part)
        if told:
            return f"{compared}: {told}."
        few = self.verdict is Verdict.NOT_ENOUGH_DATA
        return f"{compared}: {'not enough data for some' if few else 'no sure change'}."


_MOST_NAMES = 8


def _listed(level: Verdict, subjects: Sequence[str]) -> str:
    names = list(dict.fromkeys(subjects))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{level} for {', '.join(names[:_MOST_NAMES])}{more}" if names else ""


def compare(reference: Profile, current: Profile, rules: DriftRules) -> DriftReport:
    """Check the data quality and the drift of a sample against a reference.

    Args:
        reference: profile of the reference.
        current: profile of the sample, on the cells of the reference.
        rules: what counts as drift.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    found = [
        *quality_findings(reference, current, None, min_rows=rules.min_rows),
        *drift_findings(reference, current, None, rules),
    ]
    found.sort(key=lambda finding: -SEVERITY.index(finding.verdict))  # stable: worst stay first
    return DriftReport(findings=tuple(found), reference=reference, current=current)
