"""Changes measured, and the verdicts on them: is a change significant, and does it matter?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from gyroscope.data.cells import ColumnSpec
from gyroscope.data.profile import ColumnProfile
from gyroscope.findings import SEVERITY, Finding, Interval, Kind, Verdict, Window
from gyroscope.monitor.design_effects import ColumnEffects
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.multiplicity import benjamini_hochberg

# Chance of any warning in a window without change, where no budget says otherwise: once in a year
# of hourly windows, and as the theory is only near so far out in the tails, still rarely enough
# should it be off by a few times. What is material in windows of a few hundred rows has p-values
# far below.
ALPHA = 1e-4
MATERIAL_PSI = 0.02  # a shift of a seventh of a standard deviation


class DriftRules(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as drift."""

    material_psi: float = MATERIAL_PSI  # size that a change must surely pass to be a warning
    alpha: float = ALPHA  # chance of any warning in a window without change
    notice_alpha: float | None = None  # chance of any notice in one; None: as alpha
    min_rows: int = 100  # rows below which the answer is "not enough data"


class Compared(msgspec.Struct, frozen=True):
    """What a column is held against."""

    spec: ColumnSpec
    old: ColumnProfile
    effects: ColumnEffects


class InWindows(msgspec.Struct, frozen=True):
    """A column and what many windows hold of it."""

    column: Compared
    profiles: Sequence[ColumnProfile]  # of the windows
    counts: FloatArray  # float64[windows, cells]
    n: FloatArray  # float64[windows]: values that are not missing
    missing: FloatArray  # float64[windows]

    @classmethod
    def of(cls, column: Compared, profiles: Sequence[ColumnProfile]) -> InWindows:
        """A column in these windows."""
        held = [profile.counts for profile in profiles]
        counts = np.array(held, dtype=np.float64).reshape(len(held), column.spec.cells)
        missing = np.array([profile.missing for profile in profiles], dtype=np.float64)
        return cls(column, profiles, counts, counts.sum(axis=1), missing)

    def taken(self, windows: Sequence[int]) -> InWindows:
        """The same of some of the windows."""
        if len(windows) == len(self.profiles):
            return self
        at = list(windows)
        profiles = [self.profiles[k] for k in at]
        return InWindows(self.column, profiles, self.counts[at], self.n[at], self.missing[at])


class Examined(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change measured, before its p-value is corrected for all the others."""

    kind: Kind = Kind.COLUMN_DRIFT
    check: str
    subject: str
    n: int
    value: float
    interval: Interval
    p_value: float
    threshold: float
    limit: str  # the threshold in words
    found: str  # the start of the sentence if there is a change
    calm: str  # the same if there is not, with its capital
    numbers: str  # the figures behind it
    change: Callable[[], str]  # what went from where to where, asked for only if there is one
    moves_on: bool = False  # times that are later than all of the reference, as times will be


def judged(examined: Sequence[Examined], rules: DriftRules, window: Window | None) -> list[Finding]:
    """The findings on the changes of one window, their p-values corrected for one another.

    A warning is significant at ``rules.alpha`` and surely material; a notice is significant only.
    """
    corrected = benjamini_hochberg([e.p_value for e in examined])
    among = "" if len(examined) == 1 else f" among {len(examined)} checks"
    return [
        _finding(e, p, rules, among, window)
        for e, p in zip(examined, corrected.tolist(), strict=True)
    ]


def _finding(
    e: Examined, p_value: float, rules: DriftRules, among: str, window: Window | None
) -> Finding:
    """The finding of a change, with the p-value that is left after correction."""
    verdict, words = Verdict.OK, e.calm
    if p_value <= max(rules.notice_alpha or 0.0, rules.alpha):
        material = sure_size(e.interval) > e.threshold
        sure = material and p_value <= rules.alpha and not e.moves_on
        verdict = Verdict.WARNING if sure else Verdict.NOTICE
        opening = e.found if material else f"{e.found}, not surely above {e.limit}"
        words = f"{opening[0].upper()}{opening[1:]}: {e.change()}"
    return Finding(
        kind=e.kind,
        check=e.check,
        subject=e.subject,
        verdict=verdict,
        detail=f"{words} ({e.numbers}, p {_p(p_value)}{among}).",
        window=window,
        n=e.n,
        value=e.value,
        interval=e.interval,
        p_value=p_value,
        threshold=e.threshold,
    )


def sure_size(interval: Interval) -> float:
    """The size that a change has at least if its interval is right; 0 if that holds 0."""
    return max(interval.low, -interval.high, 0.0)


def _p(p_value: float) -> str:
    return "below 1e-12" if p_value < 1e-12 else f"{p_value:.2g}"


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """By verdict, then by how often the sure size of the change holds its threshold."""

    def badness(finding: Finding) -> tuple[int, float]:
        if finding.interval is None or finding.threshold is None:
            return SEVERITY.index(finding.verdict), 0.0
        size = sure_size(finding.interval) / max(finding.threshold, 1e-12)
        return SEVERITY.index(finding.verdict), size

    return sorted(findings, key=badness, reverse=True)
