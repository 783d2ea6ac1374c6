"""Have the columns or the scores of a window changed since the reference, and does it matter?

A column has drifted only if the change is material and significant: the lower end of the 95 %
interval of its size lies above a threshold, and its p-value passes after correction over all checks
of the window. So a million rows do not make a warning of a trifle, nor twenty columns of chance.
The threshold is what the settings call material, or what the parts of the reference differed by
among themselves if that is more: a season that the reference has been through is no drift.
Drift never raises an alarm: whether it costs anything is for the checks of performance to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from gyroscope.data.cells import BINS, SCORE, ColumnSpec
from gyroscope.data.profile import ColumnProfile, Profile, binned_counts
from gyroscope.findings import SEVERITY, Finding, Interval, Kind, Verdict, Window
from gyroscope.monitor import wording
from gyroscope.monitor.agreement import check_agreement
from gyroscope.monitor.scarcity import too_few
from gyroscope.stats.chi_square import chi_square
from gyroscope.stats.counts import MIN_EXPECTED, pool_rare_cells
from gyroscope.stats.kolmogorov_smirnov import kolmogorov_smirnov_from_counts
from gyroscope.stats.multiplicity import benjamini_hochberg
from gyroscope.stats.psi import psi, rows_needed
from gyroscope.stats.two_proportions import TwoProportionsResult, two_proportions
from gyroscope.stats.unseen import unseen_share

# Chance of any finding in a window without change: once in a year of hourly windows, and as the
# theory is only near so far out in the tails, still rarely enough should it be off by a few times.
# What is material in windows of a few hundred rows has p-values far below.
ALPHA = 1e-4
MATERIAL_MISSING = 0.02  # change of the missing share (2 points) below which nobody need look
MATERIAL_UNSEEN = 0.01  # the same for categories not in the contract: a model is blind to them


class _Examined(msgspec.Struct, frozen=True, kw_only=True):
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
    numbers: str  # the figures behind it
    change: str  # what went from where to where


def drift_findings(
    reference: Profile,
    current: Profile,
    window: Window,
    *,
    material_psi: float,
    alpha: float = ALPHA,
    min_rows: int,
) -> list[Finding]:
    """Hold the columns of a window against the reference; the worst finding comes first.

    Every column has a finding "psi"; its p-value is that of the chi-square test, together with the
    Kolmogorov-Smirnov test for numbers. Columns with missing values have one for the
    "missing_rate", those with categories outside the contract one for the "unseen_share".

    Args:
        reference: profile of the reference, on whose spec ``current`` was counted.
        current: profile of the window.
        window: the window.
        material_psi: population stability index that a change must surely pass to be a warning.
        alpha: error rate over all checks of the window (Benjamini-Hochberg).
        min_rows: rows below which the answer is "not enough data".

    Raises:
        DataError: the profiles were counted on different cells.
    """
    check_agreement(reference, current)
    enough = _rows_enough(reference.n, material_psi, min_rows)
    if current.n < min_rows:
        return [
            too_few(Kind.COLUMN_DRIFT, "psi", "all columns", window, n=current.n, needed=enough)
        ]
    done: list[Finding] = []
    examined: list[_Examined] = []
    for spec, old, new in zip(
        current.spec.columns, reference.columns, current.columns, strict=True
    ):
        if min(old.n, new.n) < min_rows or _hidden_in_rarity(spec, old, new):
            needed = _values_needed(spec, old, new, enough, min_rows)
            done.append(
                too_few(Kind.COLUMN_DRIFT, "psi", spec.name, window, n=new.n, needed=needed)
            )
        else:
            examined.append(_distribution(Kind.COLUMN_DRIFT, spec, old, new, material_psi))
        examined += _missing_rate(spec, old, new)
        examined += _unseen_share(spec, old, new)
    return _worst_first(done + _judged(examined, alpha, window))


def score_drift_findings(
    reference: Profile,
    current: Profile,
    window: Window,
    *,
    material_psi: float,
    alpha: float = ALPHA,
    min_rows: int,
) -> list[Finding]:
    """Hold the scores of a window against those of the reference; arguments as above.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    check_agreement(reference, current)
    if current.n < min_rows:
        enough = _rows_enough(reference.n, material_psi, min_rows)
        return [too_few(Kind.SCORE_DRIFT, "psi", SCORE, window, n=current.n, needed=enough)]
    spec, old, new = current.spec.columns[0], reference.columns[0], current.columns[0]
    return _judged([_distribution(Kind.SCORE_DRIFT, spec, old, new, material_psi)], alpha, window)


def _distribution(
    kind: Kind,
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    material_psi: float,
) -> _Examined:
    """The change of the values that are not missing."""
    cells = _pooled(spec, old, new)
    distance, p_value = psi(*cells), chi_square(*cells).p_value
    if spec.categorical:
        change = wording.category_change(spec, old, new)
    else:
        # The one sees a shift best, the other a spread; each is given half of the error.
        shift = kolmogorov_smirnov_from_counts(old.counts, new.counts).p_value
        p_value = min(2 * min(shift, p_value), 1.0)
        change = wording.number_change(spec, old, new)
    usual = spec.variation.psi if spec.variation else 0.0
    low, high = distance.interval.low, distance.interval.high
    effect = max(distance.effect, 0.0)
    return _Examined(
        kind=kind,
        check="psi",
        subject=spec.name,
        n=distance.n_current,
        value=effect,
        interval=distance.interval,
        p_value=p_value,
        threshold=max(material_psi, usual),
        limit=f"the {usual:.3g} between parts of the reference"
        if usual > material_psi
        else f"{material_psi:g}",
        found=f"{wording.size(effect)} change of {spec.name}",
        numbers=f"PSI {effect:.3g}, 95 % interval {low:.3g} to {high:.3g}",
        change=change,
    )


def _pooled(
    spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile
) -> tuple[np.ndarray, np.ndarray]:
    """Counts over cells large enough for the tests; levels not in the contract are rare ones."""
    reference, current = binned_counts(old.counts, spec), binned_counts(new.counts, spec)
    return pool_rare_cells(reference, current, rare=(spec.levels,) if spec.categorical else ())


def _missing_rate(spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile) -> list[_Examined]:
    if not (old.missing or new.missing) or not old.n + old.missing:
        return []
    shares = two_proportions(old.missing, old.missing + old.n, new.missing, new.missing + new.n)
    usual = spec.variation.missing - shares.reference if spec.variation else 0.0
    threshold = max(MATERIAL_MISSING, usual if shares.value > 0 else 0.0)
    return [_share(spec, "missing_rate", "missing values", shares, threshold)]


def _unseen_share(spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile) -> list[_Examined]:
    """The share of categories that are not in the contract.

    A reference that the contract's categories were taken from holds none of them, yet the next
    sample of the same population will; what counts is the excess over that.
    """
    unlisted, new_unlisted = int(old.counts[-1]), int(new.counts[-1])
    if not spec.categorical or not (unlisted or new_unlisted) or not (old.n and new.n):
        return []
    expected = unseen_share(old.counts[:-1], unlisted=unlisted)
    shares = two_proportions(expected.successes, expected.n, new_unlisted, new.n)
    return [_share(spec, "unseen_share", "categories not in the contract", shares, MATERIAL_UNSEEN)]


def _share(
    spec: ColumnSpec, check: str, what: str, shares: TwoProportionsResult, threshold: float
) -> _Examined:
    low, high = shares.interval.low, shares.interval.high
    return _Examined(
        check=check,
        subject=spec.name,
        n=shares.n_current,
        value=shares.value,
        interval=shares.interval,
        p_value=shares.p_value,
        threshold=threshold,
        limit=f"{100 * threshold:.3g} points",
        found=f"{'more' if shares.value > 0 else 'fewer'} {what} in {spec.name}",
        numbers=f"95 % interval {100 * low:+.3g} to {100 * high:+.3g} points",
        change=wording.share_moved("share", shares.reference, shares.current),
    )


def _judged(examined: Sequence[_Examined], alpha: float, window: Window) -> list[Finding]:
    corrected = benjamini_hochberg([e.p_value for e in examined])
    return [
        _finding(e, float(p), alpha, len(examined), window)
        for e, p in zip(examined, corrected, strict=True)
    ]


def _finding(e: _Examined, p_value: float, alpha: float, checks: int, window: Window) -> Finding:
    """The finding of a change, with the p-value that is left after correction."""
    significant, material = p_value <= alpha, sure_size(e.interval) > e.threshold
    if not significant:
        verdict = Verdict.OK
        opening = f"no sure change of {e.subject}" if e.check == "psi" else f"not surely {e.found}"
    else:
        verdict = Verdict.WARNING if material else Verdict.NOTICE
        opening = e.found if material else f"{e.found}, not surely above {e.limit}"
    among = "" if checks == 1 else f" among {checks} checks"
    return Finding(
        kind=e.kind,
        check=e.check,
        subject=e.subject,
        verdict=verdict,
        detail=f"{opening[0].upper()}{opening[1:]}: {e.change} ({e.numbers}, "
        f"p {_p(p_value)}{among}).",
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


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """By verdict, then by how often the sure size of the change holds its threshold."""

    def badness(finding: Finding) -> tuple[int, float]:
        if finding.interval is None or finding.threshold is None:
            return SEVERITY.index(finding.verdict), 0.0
        size = sure_size(finding.interval) / max(finding.threshold, 1e-12)
        return SEVERITY.index(finding.verdict), size

    return sorted(findings, key=badness, reverse=True)


def _rows_enough(n_reference: int, material_psi: float, min_rows: int) -> int:
    """Rows that show a large change with a chance of 90 %, and that the settings ask for."""
    large = max(wording.LARGE_PSI, 2 * material_psi)
    rows = rows_needed(large, material=material_psi, cells=BINS, n_reference=n_reference)
    return max(min_rows, rows or 0)


def _hidden_in_rarity(spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile) -> bool:
    """Whether so few values stand in each cell that all cells are binned together."""
    levels = int(np.count_nonzero(binned_counts(old.counts, spec)))
    return levels > 1 and _pooled(spec, old, new)[0].size < 2


def _values_needed(
    spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile, enough: int, min_rows: int
) -> int | None:
    """Rows after which the column could be judged; None if the reference is what is too small."""
    if old.n < min_rows:
        return None
    counts = binned_counts(old.counts, spec)
    top = float(counts.max()) / old.n
    values = max(enough, math.ceil(MIN_EXPECTED / min(top, 1 - top)) + 1) if top < 1 else enough
    present = new if new.n else old
    return math.ceil(values * (present.n + present.missing) / present.n)
