"""Two profiles held against each other, without a model: what is broken, what has changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gyroscope.data.contract import ColumnType
from gyroscope.data.infer_types import LEADING_ZERO, NUMBER, WRITTEN_NUMBER
from gyroscope.data.profile import Profile
from gyroscope.data.remarks import are, counted
from gyroscope.findings import SEVERITY, Finding, Verdict, worst
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings
from gyroscope.monitor.quality import quality_findings

_NUMBER, _FOR_PEOPLE = re.compile(NUMBER), re.compile(WRITTEN_NUMBER)
_LEADING_ZERO = re.compile(LEADING_ZERO)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found about one column, or about how two of them go together."""

    subject: str
    verdict: Verdict  # the worst of its findings
    what: str  # what happened, in sentences
    psi: float | None = None  # size of the change of its distribution; None if it has no number
    share: float | None = None  # of that in the sum over all columns that surely changed


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
        return _at_least(self.verdict, Verdict.WARNING)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The findings by what they are about; the worst first, then the largest."""
        about: dict[str, list[Finding]] = {}
        for finding in self.findings:
            about.setdefault(finding.subject, []).append(finding)
        made = [_change(subject, found) for subject, found in about.items()]
        # A sentence that nothing is broken is about no column, and said by the verdict.
        told = [c for c in made if c.verdict is not Verdict.OK or c.psi is not None]
        return tuple(sorted(_with_shares(told), key=_badness, reverse=True))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What else a reader should know: columns not compared, values that could not be read."""
        new = [name for name in self.current.extra if name not in self.reference.extra]
        told = (
            _named("Not in the reference, and not compared: ", new),
            _named("Left out of the comparison: ", self.reference.extra),
            _written_for_people(self.reference),
            *_unreadable(self.reference, "the reference"),
            *_unreadable(self.current, "the current rows"),
        )
        return tuple(remark for remark in told if remark)

    @property
    def summary(self) -> str:
        """What came out, in one sentence."""
        columns = len(self.reference.columns)
        compared = (
            f"{counted(self.current.n, 'row')} against {self.reference.n:,} "
            f"in {counted(columns, 'column')}"
        )
        parts = [
            _named(f"{level} for ", [c.subject for c in self.changes if c.verdict is level])
            for level in (Verdict.ALARM, Verdict.WARNING, Verdict.NOTICE)
        ]
        told = "; ".join(part.rstrip(".") for part in parts if part)
        if told:
            return f"{compared}: {told}."
        few = self.verdict is Verdict.NOT_ENOUGH_DATA
        return f"{compared}: {'not enough data for some' if few else 'no sure change'}."


_MOST_NAMES, _LONGEST = 8, 60


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


def _change(subject: str, found: Sequence[Finding]) -> Change:
    verdict = worst(list(found))
    telling = [f for f in found if f.verdict is verdict]
    if verdict is Verdict.NOT_ENOUGH_DATA:
        telling = [max(telling, key=lambda finding: finding.n_needed or 0)]
    return Change(
        subject=subject,
        verdict=verdict,
        what=" ".join(dict.fromkeys(_without_figures(f) for f in telling)),
        psi=next((f.value for f in found if f.check == "psi"), None),
    )


def _with_shares(changes: Iterable[Change]) -> list[Change]:
    held = list(changes)
    sure = [c.psi is not None and _at_least(c.verdict, Verdict.NOTICE) for c in held]
    total = sum(c.psi or 0.0 for c, counts in zip(held, sure, strict=True) if counts)
    return [
        msgspec.structs.replace(c, share=(c.psi or 0.0) / total) if counts and total else c
        for c, counts in zip(held, sure, strict=True)
    ]


def _written_for_people(profile: Profile) -> str:
    """That columns were taken for texts whose values are numbers as people write them."""
    names = [
        spec.name
        for spec in profile.spec.columns
        if spec.type is ColumnType.CATEGORY
        and not all(map(_NUMBER.match, spec.categories))
        and all(map(_FOR_PEOPLE.match, spec.categories))
        and not any(map(_LEADING_ZERO.match, spec.categories))
    ]
    remark = _named("Compared as texts, although written like numbers: ", names)
    return remark and f"{remark} Write numbers like 1234.5 to have them compared as such."


def _at_least(verdict: Verdict, level: Verdict) -> bool:
    return SEVERITY.index(verdict) >= SEVERITY.index(level)


def _badness(change: Change) -> tuple[int, float]:
    return SEVERITY.index(change.verdict), -1.0 if change.psi is None else change.psi


def _without_figures(finding: Finding) -> str:
    """What happened, without the figures that drift findings end with in parentheses."""
    sentence, bracket, _ = finding.detail.rpartition(" (")
    figures = finding.p_value is not None and finding.detail.endswith(").")
    return f"{sentence}." if bracket and figures else finding.detail


def _named(opening: str, names: Iterable[str]) -> str:
    """A sentence that ends with names, at most so many; empty if there are none."""
    held = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..." for name in names]
    more = f" and {len(held) - _MOST_NAMES:,} more" if len(held) > _MOST_NAMES else ""
    return f"{opening}{', '.join(held[:_MOST_NAMES])}{more}." if held else ""


def _unreadable(profile: Profile, where: str) -> Iterator[str]:
    for spec, column in zip(profile.spec.columns, profile.columns, strict=True):
        if column.unreadable:
            values = f"{counted(column.unreadable, 'value')} of {spec.name} in {where}"
            yield f"{values} {are(column.unreadable)} no {spec.type}, and not compared."
