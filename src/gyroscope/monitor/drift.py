"""Have the columns or the scores of a window changed since the reference, and does it matter?

A column has drifted only if the change is material and significant: the lower end of the interval
of its size lies above a threshold, and its p-value passes after correction over all checks of the
window. So a million rows do not make a warning of a trifle, nor twenty columns of chance. A change
that is significant but not surely material is a notice.

Rows that arrive together resemble each other. How much the parts of the reference differed among
themselves, at the size of the window, is allowed to every window (``stats.dispersion``): counts are
divided by that factor before they are tested, so that a season the reference has been through is
no drift. Drift never raises an alarm: whether it costs anything is for its price to say. Times that
are later than those of the reference are a notice, for that they will always be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import BINS, ColumnSpec, ProfileSpec
from gyroscope.data.profile import ColumnProfile, Profile, binned_counts
from gyroscope.findings import Finding, Kind, Window
from gyroscope.monitor import wording
from gyroscope.monitor.agreement import check_agreement
from gyroscope.monitor.changes import Compared, DriftRules, Examined, InWindows, judged, worst_first
from gyroscope.monitor.dependence import dependences
from gyroscope.monitor.design_effects import TableEffects, design_effects
from gyroscope.monitor.distributions import always_rare, distributions
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.shares import (
    infinite_shares,
    missing_rates,
    newcomer_shares,
    outside_shares,
    strange_shares,
    unseen_shares,
)
from gyroscope.stats.counts import MIN_EXPECTED, pool_rare_cells_batch
from gyroscope.stats.psi import rows_needed

_ONCE = 0.9  # distinct values a row, of identifiers; the estimate errs by 3 %
_SHARES = (
    *(missing_rates, unseen_shares, newcomer_shares),  # of all columns, or of categories
    *(infinite_shares, strange_shares, outside_shares),  # of numbers
)


def drift_findings(
    reference: Profile, current: Profile, window: Window | None, rules: DriftRules
) -> list[Finding]:
    """Hold the columns of a window against the reference; the worst finding comes first.

    Every column has a finding "psi"; its p-value is that of a test of homogeneity, for numbers
    together with tests of location, spread and distance. Columns with missing values have one for
    the "missing_rate", those with categories outside the list one for the "unseen_share" and, where
    the reference has such too, one for the "newcomer_share", that of the most frequent of them.
    Numbers that are infinite, of an unknown size or beyond all known more often have one for the
    "infinite_share", the "strange_share" or the "outside_share".

    Args:
        reference: profile of the reference, on whose spec ``current`` was counted.
        current: profile of the window.
        window: the window, if it is one of event time.
        rules: what counts as drift.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    return drift_findings_by_window(reference, [(window, current)], rules)[0]


def drift_findings_by_window(
    reference: Profile, windows: Sequence[tuple[Window | None, Profile]], rules: DriftRules
) -> list[list[Finding]]:
    """The findings of :func:`drift_findings` for each of many windows, at once.

    Each window is judged by itself, with the error rates of ``rules``.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    done: list[list[Finding]] = [[] for _ in windows]
    examined: list[list[Examined]] = [[] for _ in windows]
    large: list[int] = []
    enough = _rows_enough(reference.n, rules)
    for position, (window, current) in enumerate(windows):
        check_agreement(reference, current)
        if current.n < rules.min_rows:
            done[position].append(_too_few("all columns", window, current.n, enough))
        else:
            large.append(position)
    able: list[list[int]] = []
    judgeable: list[InWindows] = []
    effects = design_effects(reference)
    for j, column in enumerate(_columns(reference, effects)):
        held = InWindows.of(column, [windows[position][1].columns[j] for position in large])
        able.append(np.flatnonzero(_can_be_judged(held, rules.min_rows)).tolist())
        judgeable.append(held.taken(able[-1]))
        for k in sorted(set(range(len(large))) - set(able[-1])):
            needed = _values_needed(column, held.profiles[k], enough, rules.min_rows)
            window = windows[large[k]][0]
            few = _too_few(column.spec.name, window, int(held.n[k]), needed)
            done[large[k]].append(_of_identifiers(few) if _hardly_repeats(column) else few)
        for shares in _SHARES:
            for position, found in zip(large, shares(held), strict=True):
                if found is not None:
                    examined[position].append(found)
    for own, changes in zip(able, distributions(Kind.COLUMN_DRIFT, judgeable, rules), strict=True):
        for k, change in zip(own, changes, strict=True):
            examined[large[k]].append(change)
    together = dependences(reference, effects, [windows[position][1] for position in large], rules)
    for position, pair in zip(large, together, strict=True):
        examined[position] += [pair] if pair is not None else []
    return [
        worst_first(done[k] + judged(examined[k], rules, window))
        for k, (window, _) in enumerate(windows)
    ]


def _columns(reference: Profile, effects: TableEffects) -> list[Compared]:
    held = zip(reference.spec.columns, reference.columns, effects.columns, strict=True)
    return [Compared(*column) for column in held]


def score_drift_findings(
    reference: Profile,
    current: Profile,
    window: Window | None,
    rules: DriftRules,
    *,
    kind: Kind = Kind.SCORE_DRIFT,
) -> list[Finding]:
    """Hold the scores of a window, or labels, against those of the reference; arguments as above.

    Of several classes each is judged by itself, with its part of the chance of a finding.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    parts = list(zip(_each_column(reference), _each_column(current), strict=True))
    rules = msgspec.structs.replace(rules, alpha=rules.alpha / len(parts))
    return [
        finding
        for old, new in parts
        for finding in score_drift_findings_by_window(old, [(window, new)], rules, kind=kind)[0]
    ]


def _each_column(held: Profile) -> list[Profile]:
    """The profile of each column by itself."""
    return [
        msgspec.structs.replace(
            held, spec=ProfileSpec(columns=(spec,)), columns=(column,), joint=None
        )
        for spec, column in zip(held.spec.columns, held.columns, strict=True)
    ]


def score_drift_findings_by_window(
    reference: Profile,
    windows: Sequence[tuple[Window | None, Profile]],
    rules: DriftRules,
    *,
    kind: Kind = Kind.SCORE_DRIFT,
) -> list[list[Finding]]:
    """The findings of :func:`score_drift_findings` for each of many windows, at once.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    for _, current in windows:
        check_agreement(reference, current)
    (column,) = _columns(reference, design_effects(reference))
    news = [current.columns[0] for _, current in windows if current.n >= rules.min_rows]
    (found,) = distributions(kind, [InWindows.of(column, news)], rules)
    changes = iter(found)
    needed = _rows_enough(reference.n, rules)
    return [
        judged([next(changes)], rules, window)
        if current.n >= rules.min_rows
        else [too_few(kind, "psi", column.spec.name, window, n=current.n, needed=needed)]
        for window, current in windows
    ]


# -- enough ---------------------------------------------------------------------------------------


def _too_few(subject: str, window: Window | None, n: int, needed: int | None) -> Finding:
    return too_few(Kind.COLUMN_DRIFT, "psi", subject, window, n=n, needed=needed)


def _hardly_repeats(column: Compared) -> bool:
    """Whether the reference has nearly each of its categories once."""
    if not column.spec.categorical:
        return False
    listed = int(np.count_nonzero(column.old.counts[:-1]))
    return listed + column.old.unlisted_distinct > _ONCE * column.old.n


def _of_identifiers(few: Finding) -> Finding:
    detail = f"{few.subject}: its values hardly repeat, so there is nothing to compare. "
    detail += "Leave identifiers out."
    return msgspec.structs.replace(few, detail=detail, n_needed=None)


def _can_be_judged(held: InWindows, min_rows: int) -> npt.NDArray[np.bool_]:
    """Of many windows, those with values enough, and not all in cells too rare to be compared."""
    column, n = held.column, held.n
    if column.old.n < min_rows or not n.size:
        return np.zeros(n.size, dtype=np.bool_)
    able = n >= min_rows
    then = binned_counts(column.old.counts, column.spec)
    if np.count_nonzero(then) < 2:
        return able
    share = np.minimum(n, column.old.n) / (n + column.old.n)
    doubtful = able & (_lesser_part(then, column.spec) * share < MIN_EXPECTED)
    unsure = np.flatnonzero(doubtful).tolist()
    if unsure:  # whether it is so hangs on what the windows hold
        now = binned_counts(held.counts[unsure].astype(np.int64), column.spec)
        pooled = np.add(*pool_rare_cells_batch(then, now, rare=always_rare(column.spec)))
        able[unsure] = np.count_nonzero(pooled, axis=-1) >= 2
    return able


def _lesser_part(counts: npt.NDArray[np.int64], spec: ColumnSpec) -> int:
    """The smaller of the largest cell and all others: two cells to compare, whatever is rare."""
    largest = int(counts[: spec.levels or None].max(initial=0))
    return min(largest, int(counts.sum()) - largest)


def _rows_enough(n_reference: int, rules: DriftRules) -> int:
    """Rows that show a large change with a chance of 90 %, and that the settings ask for."""
    large = max(wording.LARGE_PSI, 2 * rules.material_psi)
    rows = rows_needed(large, material=rules.material_psi, cells=BINS, n_reference=n_reference)
    return max(rules.min_rows, rows or 0)


def _values_needed(column: Compared, new: ColumnProfile, enough: int, min_rows: int) -> int | None:
    """Rows with which the column is judged, if as many of them have a value as of the window's.

    Whatever these values are: two cells are then compared that are expected to hold enough by what
    the reference alone has of them. None if it has too little for any window.
    """
    old, values = column.old, enough
    if old.n < min_rows:
        return None
    counts = binned_counts(old.counts, column.spec)
    if np.count_nonzero(counts) >= 2:
        lesser = _lesser_part(counts, column.spec)
        if lesser < 2 * MIN_EXPECTED:
            return None
        values = max(enough, math.ceil(MIN_EXPECTED * old.n / (lesser - MIN_EXPECTED)))
    present = new if new.n else old
    return math.ceil(values * (present.n + present.missing) / present.n)
