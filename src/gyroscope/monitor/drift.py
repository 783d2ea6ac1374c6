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
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import BINS, SCORE, ColumnSpec, ProfileSpec
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile, Profile, binned_counts
from gyroscope.findings import SEVERITY, Finding, Interval, Kind, Verdict, Window
from gyroscope.monitor import wording
from gyroscope.monitor.agreement import check_agreement
from gyroscope.monitor.design_effects import ColumnEffects, Effect, design_effects, table_factors
from gyroscope.monitor.scarcity import too_few
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.chi_square import chi_square_batch
from gyroscope.stats.counts import MIN_EXPECTED, pool_rare_cells_batch
from gyroscope.stats.dependence import DependenceChange, dependence_changes
from gyroscope.stats.kolmogorov_smirnov import kolmogorov_smirnov_batch
from gyroscope.stats.multiplicity import benjamini_hochberg
from gyroscope.stats.psi import PsiBatch, psi_batch, rows_needed
from gyroscope.stats.rank_scores import RankEffectBatch, rank_scores_batch
from gyroscope.stats.two_proportions import TwoProportionsBatch, two_proportions_batch
from gyroscope.stats.unseen import unseen_share

# Chance of any warning in a window without change, where no budget says otherwise: once in a year
# of hourly windows, and as the theory is only near so far out in the tails, still rarely enough
# should it be off by a few times. What is material in windows of a few hundred rows has p-values
# far below.
ALPHA = 1e-4
MATERIAL_PSI = 0.02  # a shift of a seventh of a standard deviation
MATERIAL_MISSING = 0.02  # change of the missing share (2 points) below which nobody need look
MATERIAL_UNSEEN = 0.01  # the same for categories not listed: a model is blind to them
MATERIAL_LATER = 0.01  # share of times later than the reference that tells of a column moving on
MATERIAL_OUTSIDE = 0.20  # the same for numbers beyond all that the reference holds

# How the error of a number's p-value is shared between its tests. Most changes are shifts.
_SHIFT, _SPREAD, _SHAPE, _DISTANCE = 0.8, 0.1, 0.05, 0.05

_ONE_SIDED = 0.1  # of two-sided intervals whose lower ends alone are used: each holds at 95 %


class DriftRules(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as drift."""

    material_psi: float = MATERIAL_PSI  # size that a change must surely pass to be a warning
    alpha: float = ALPHA  # chance of any warning in a window without change
    notice_alpha: float | None = None  # chance of any notice in one; None: as alpha
    min_rows: int = 100  # rows below which the answer is "not enough data"


class _Column(msgspec.Struct, frozen=True):
    """What a column is held against."""

    spec: ColumnSpec
    old: ColumnProfile
    effects: ColumnEffects


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
    calm: str  # the same if there is not
    numbers: str  # the figures behind it
    change: Callable[[], str]  # what went from where to where, asked for only if there is one
    moves_on: bool = False  # times that are later than all of the reference, as times will be


def drift_findings(
    reference: Profile, current: Profile, window: Window | None, rules: DriftRules
) -> list[Finding]:
    """Hold the columns of a window against the reference; the worst finding comes first.

    Every column has a finding "psi"; its p-value is that of a test of homogeneity, for numbers
    together with tests of location, spread and distance. Columns with missing values have one for
    the "missing_rate", those with categories outside the list one for the "unseen_share".

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
    examined: list[list[_Examined]] = [[] for _ in windows]
    large: list[int] = []
    enough = _rows_enough(reference.n, rules)
    for position, (window, current) in enumerate(windows):
        check_agreement(reference, current)
        if current.n < rules.min_rows:
            done[position].append(_too_few("all columns", window, current.n, enough))
        else:
            large.append(position)
    for j, column in enumerate(_columns(reference)):
        news = [windows[position][1].columns[j] for position in large]
        able = np.flatnonzero(_can_be_judged(column, news, rules.min_rows)).tolist()
        changes = _distributions(Kind.COLUMN_DRIFT, column, [news[k] for k in able], rules)
        for k, change in zip(able, changes, strict=True):
            examined[large[k]].append(change)
        for k in sorted(set(range(len(news))) - set(able)):
            needed = _values_needed(column, news[k], enough, rules.min_rows)
            window = windows[large[k]][0]
            done[large[k]].append(_too_few(column.spec.name, window, news[k].n, needed))
        for shares in (_missing_rates, _unseen_shares, _outside_shares):
            for position, found in zip(large, shares(column, news), strict=True):
                examined[position] += [found] if found is not None else []
    together = _dependences(reference, [windows[position][1] for position in large], rules)
    for position, pair in zip(large, together, strict=True):
        examined[position] += [pair] if pair is not None else []
    return [
        worst_first(done[k] + _judged(examined[k], rules, window))
        for k, (window, _) in enumerate(windows)
    ]


def _columns(reference: Profile) -> list[_Column]:
    spec = reference.spec
    held = zip(spec.columns, reference.columns, design_effects(reference), strict=True)
    return [_Column(*column) for column in held]


def score_drift_findings(
    reference: Profile, current: Profile, window: Window | None, rules: DriftRules
) -> list[Finding]:
    """Hold the scores of a window against those of the reference; arguments as above.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    return score_drift_findings_by_window(reference, [(window, current)], rules)[0]


def score_drift_findings_by_window(
    reference: Profile, windows: Sequence[tuple[Window | None, Profile]], rules: DriftRules
) -> list[list[Finding]]:
    """The findings of :func:`score_drift_findings` for each of many windows, at once.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    for _, current in windows:
        check_agreement(reference, current)
    (column,) = _columns(reference)
    news = [current.columns[0] for _, current in windows if current.n >= rules.min_rows]
    changes = iter(_distributions(Kind.SCORE_DRIFT, column, news, rules))
    needed = _rows_enough(reference.n, rules)
    return [
        _judged([next(changes)], rules, window)
        if current.n >= rules.min_rows
        else [too_few(Kind.SCORE_DRIFT, "psi", SCORE, window, n=current.n, needed=needed)]
        for window, current in windows
    ]


# -- distributions --------------------------------------------------------------------------------


def _distributions(
    kind: Kind,
    column: _Column,
    news: Sequence[ColumnProfile],
    rules: DriftRules,
) -> list[_Examined]:
    """The changes of the values that are not missing, of one column in many windows."""
    if not news:
        return []
    counts = np.array([new.counts for new in news], dtype=np.float64)
    n = counts.sum(axis=1)
    if column.spec.categorical:
        distance, p_values = _categories(column, counts)
        least = np.zeros(n.size)
    else:
        distance, p_values, least = _numbers(column, counts)
    words = wording.category_change if column.spec.categorical else wording.number_change
    times = column.spec.type is ColumnType.DATETIME
    changes = []
    for k, new in enumerate(news):
        low = max(float(distance.interval.low[k]), float(least[k]))
        high = max(float(distance.interval.high[k]), low)
        effect = min(max(float(distance.effect[k]), low), high)
        changes.append(
            _Examined(
                kind=kind,
                check="psi",
                subject=column.spec.name,
                n=int(n[k]),
                value=effect,
                interval=Interval(low, high),
                p_value=float(p_values[k]),
                threshold=rules.material_psi,
                limit=f"{rules.material_psi:g}",
                found=f"{wording.size(effect)} change of {column.spec.name}",
                calm=f"no sure change of {column.spec.name}",
                numbers=f"PSI {effect:.3g}, 95 % interval {low:.3g} to {high:.3g}",
                change=partial(words, column.spec, column.old, new),
                moves_on=times and _moves_on(column.spec, new),
            )
        )
    return changes


def _moves_on(spec: ColumnSpec, new: ColumnProfile) -> bool:
    """Whether a column of times has gone beyond the last one of the reference."""
    later = int(new.counts[-1])
    return spec.type is ColumnType.DATETIME and later > MATERIAL_LATER * new.n


def _categories(column: _Column, counts: FloatArray) -> tuple[PsiBatch, FloatArray]:
    """Size and p-value of the changes of shares; values that are not listed are rare ones."""
    then, now = column.effects.effective(Effect.SHARES, column.old.counts, counts)
    pair = pool_rare_cells_batch(then, now, rare=_always_rare(column.spec))
    distance = psi_batch(*pair)
    return distance, _of_shares(pair, distance)


def _of_shares(pair: tuple[FloatArray, FloatArray], distance: PsiBatch) -> FloatArray:
    """The p-value of a change of shares: the larger of Pearson's chi-square's and of the PSI's.

    The two are alike near no change. Far from it Pearson's grows with the square of a rare share
    that a batch has more of, the PSI hardly faster than the change that made it.
    """
    return np.asarray(np.maximum(chi_square_batch(*pair).p_value, distance.p_value))


def _numbers(column: _Column, counts: FloatArray) -> tuple[PsiBatch, FloatArray, FloatArray]:
    """Size and p-value of the changes of numbers, and the least PSI that shift and spread make.

    Normal scores see a shift or a change of spread better than ten bins do. A normal that moves by
    d standard deviations has a PSI of d^2, one whose spread changes by a factor of e^u about 2 u^2;
    so the lower ends of their intervals bound the PSI from below.
    """
    then, now = column.effects.effective(Effect.ANY, column.old.counts, counts)
    pair = pool_rare_cells_batch(_binned(then, column.spec), _binned(now, column.spec))
    distance = psi_batch(*pair)
    shape = _of_shares(pair, distance)
    apart = kolmogorov_smirnov_batch(then, now).p_value
    # Independent rows are worth the same to both.
    effects = [Effect.SHIFT] if column.effects.independent else [Effect.SHIFT, Effect.SPREAD]
    of_effects = [
        rank_scores_batch(
            *column.effects.effective(effect, column.old.counts, counts), alpha=_ONE_SIDED
        )
        for effect in effects
    ]
    shift, spread = of_effects[0].shift, of_effects[-1].spread
    p_values = np.min(
        [
            _of_size(shift) / _SHIFT,
            _of_size(spread) / _SPREAD,
            shape / _SHAPE,
            apart / _DISTANCE,
        ],
        axis=0,
    )
    least = np.maximum(
        _sure_sizes(shift.interval.low, shift.interval.high) ** 2,
        2 * _sure_sizes(spread.interval.low, spread.interval.high) ** 2,
    )
    return distance, np.minimum(p_values, 1.0), least


def _of_size(effect: RankEffectBatch) -> FloatArray:
    """The p-value of a rank test, but not below that of the size by its own error.

    Klotz's test takes a change of location for one of spread, and both take a rare value that a
    batch has more of for more than its error allows; their sizes do not.
    """
    from scipy.special import erfc

    error, known = effect.standard_error, np.isfinite(effect.value)
    # Two values that differ and do not vary, or a sample that does not, leave it to the ranks.
    z = np.full(error.shape, np.inf)
    np.divide(np.abs(effect.value), error, out=z, where=known & (error > 0))
    return np.asarray(np.maximum(effect.p_value, erfc(z / math.sqrt(2))))


def _binned(counts: FloatArray, spec: ColumnSpec) -> FloatArray:
    return np.asarray(np.add.reduceat(counts, spec.bins, axis=-1))


def _sure_sizes(low: FloatArray, high: FloatArray) -> FloatArray:
    return np.maximum(np.maximum(low, -high), 0.0)


# -- shares ---------------------------------------------------------------------------------------


def _missing_rates(column: _Column, news: Sequence[ColumnProfile]) -> list[_Examined | None]:
    old, variation = column.old, column.spec.variation
    missing, n = _sums([(new.missing, new.n + new.missing) for new in news])
    if not (old.missing or missing.any()) or not old.n + old.missing:
        return [None] * len(news)
    then, now = column.effects.effective(
        Effect.MISSING, [old.missing, old.n], np.stack([missing, n - missing], axis=1)
    )
    shares = _shares(then, now)
    usual = variation.missing - old.missing / (old.n + old.missing) if variation else 0.0
    found: list[_Examined | None] = []
    for k in range(len(news)):
        limit = max(MATERIAL_MISSING, usual if shares.value[k] > 0 else 0.0)
        share = _Share("missing_rate", "missing values", int(n[k]), limit)
        found.append(_share(column, share, shares, k) if old.missing or missing[k] else None)
    return found


def _unseen_shares(column: _Column, news: Sequence[ColumnProfile]) -> list[_Examined | None]:
    """The shares of categories that are not listed.

    A reference that the list was taken from holds none of them, yet the next sample of the same
    population will; what counts is the excess over that.
    """
    if not column.spec.categorical:
        return [None] * len(news)
    counts = column.old.counts
    expected = unseen_share(counts[:-1], unlisted=int(counts[-1]))
    # The error of an expectation has longer tails than that of a share: as if from half the rows.
    reference = [expected.successes / 2, (expected.n - expected.successes) / 2]
    windows = np.array([(new.counts[-1], new.counts[:-1].sum()) for new in news]).reshape(-1, 2)
    pair = column.effects.effective(Effect.SHARES, reference, windows)
    what = "categories that are not listed"
    return _strangers(column, *pair, _Share("unseen_share", what, 0, MATERIAL_UNSEEN))


def _outside_shares(column: _Column, news: Sequence[ColumnProfile]) -> list[_Examined | None]:
    """The shares of numbers beyond the range of the reference, in its outermost cells.

    Where the parts of the reference differ by much, as in a season, tests on ranks see little; a
    window beyond all that was ever seen is told by this. Fewer strays are left to those tests.
    """
    if column.spec.categorical or not column.spec.edges:
        return [None] * len(news)
    reference = np.array(_ends(column.old), dtype=np.float64)
    windows = np.array([_ends(new) for new in news], dtype=np.float64).reshape(-1, 2)
    windows[windows[:, 0] <= MATERIAL_OUTSIDE * windows.sum(axis=1)] = 0
    what = "values beyond the range of the reference"
    found = _strangers(
        column, reference, windows, _Share("outside_share", what, 0, MATERIAL_OUTSIDE)
    )
    return [
        e and msgspec.structs.replace(e, moves_on=_moves_on(column.spec, new))
        for e, new in zip(found, news, strict=True)
    ]


def _ends(column: ColumnProfile) -> tuple[int, int]:
    """Values in the outermost cells, and all others."""
    ends = int(column.counts[0] + column.counts[-1])
    return ends, column.n - ends


class _Share(msgspec.Struct, frozen=True):
    """A share that is compared: how it is called, and when it matters."""

    check: str
    what: str
    n: int  # rows of the window; 0: all that it has in the two cells
    limit: float


def _strangers(
    column: _Column, reference: FloatArray, windows: FloatArray, share: _Share
) -> list[_Examined | None]:
    """The shares of values that the reference does not know, where they are more than expected."""
    if not reference.sum() or not (reference[0] or windows[:, 0].any()):
        return [None] * len(windows)
    shares = _shares(reference, windows)
    return [
        _share(column, share, shares, k) if pair.any() and shares.value[k] > 0 else None
        for k, pair in enumerate(windows)
    ]


def _sums(pairs: Sequence[tuple[int, int]]) -> tuple[FloatArray, FloatArray]:
    held = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return held[:, 0], held[:, 1]


def _shares(reference: FloatArray, windows: FloatArray) -> TwoProportionsBatch:
    """The first of two cells against the second, as counts of whole rows."""
    then, now = np.rint(reference), np.rint(windows)
    return two_proportions_batch(then[0], then.sum(), now[:, 0], now.sum(axis=1))


def _share(column: _Column, share: _Share, shares: TwoProportionsBatch, k: int) -> _Examined:
    low, high = float(shares.interval.low[k]), float(shares.interval.high[k])
    value, before, after = (
        float(np.broadcast_to(x, shares.value.shape)[k])
        for x in (shares.value, shares.reference, shares.current)
    )
    name = column.spec.name
    found = f"{'more' if value > 0 else 'fewer'} {share.what} in {name}"
    return _Examined(
        check=share.check,
        subject=name,
        n=share.n or int(shares.n_current[k]),
        value=value,
        interval=Interval(low, high),
        p_value=float(shares.p_value[k]),
        threshold=share.limit,
        limit=f"{100 * share.limit:.3g} points",
        found=found,
        calm=f"not surely {found}",
        numbers=f"95 % interval {100 * low:+.3g} to {100 * high:+.3g} points",
        change=lambda: wording.share_moved("share", before, after),
    )


# -- how columns go together ----------------------------------------------------------------------


def _dependences(
    reference: Profile, currents: Sequence[Profile], rules: DriftRules
) -> list[_Examined | None]:
    """Of each window the pair of columns whose correlation changed most surely, if it is known.

    Two columns of which each stays as it was and whose correlation changes by d have a joint PSI of
    about d^2, so that the root of what is material for a column is material here.
    """
    if reference.joint is None:
        return [None] * len(currents)
    factors = table_factors(reference, [reference.n, *(current.n for current in currents)])
    known = [k for k, current in enumerate(currents) if current.joint is not None]
    joints = [currents[k].joint / factors[k + 1] for k in known]
    found: list[_Examined | None] = [None] * len(currents)
    for k, change in zip(
        known, dependence_changes(reference.joint / factors[0], joints), strict=True
    ):
        if change.pair is not None and min(change.n_reference, change.n_current) >= rules.min_rows:
            found[k] = _dependence(reference.spec, change, rules)
    return found


def _dependence(spec: ProfileSpec, change: DependenceChange, rules: DriftRules) -> _Examined:
    assert change.pair is not None  # the caller has seen that there is one
    one, other = (spec.columns[position].name for position in change.pair)
    low, high = change.interval.low, change.interval.high
    value = math.atanh(change.current) - math.atanh(change.reference)
    before, after = f"{change.reference:+.2f}", f"{change.current:+.2f}"
    return _Examined(
        kind=Kind.JOINT_DRIFT,
        check="correlation",
        subject=f"{one} and {other}",
        n=change.n_current,
        value=value,
        interval=change.interval,
        p_value=change.p_value,
        threshold=math.sqrt(rules.material_psi),
        limit=f"{math.sqrt(rules.material_psi):.2g}",
        found=f"{one} and {other} go together differently",
        calm=f"no sure change of how columns go together, the least so {one} and {other}",
        numbers=f"on Fisher's scale {value:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"worst of {change.pairs} pairs",
        change=lambda: wording.moved(
            "correlation of ranks", before, after, up=change.current > change.reference
        ),
    )


# -- verdicts -------------------------------------------------------------------------------------


def _judged(
    examined: Sequence[_Examined], rules: DriftRules, window: Window | None
) -> list[Finding]:
    corrected = benjamini_hochberg([e.p_value for e in examined])
    return [
        _finding(e, float(p), rules, len(examined), window)
        for e, p in zip(examined, corrected, strict=True)
    ]


def _finding(
    e: _Examined, p_value: float, rules: DriftRules, checks: int, window: Window | None
) -> Finding:
    """The finding of a change, with the p-value that is left after correction."""
    noticed = p_value <= max(rules.notice_alpha or 0.0, rules.alpha)
    material = sure_size(e.interval) > e.threshold
    among = "" if checks == 1 else f" among {checks} checks"
    figures = f"({e.numbers}, p {_p(p_value)}{among})"
    if not noticed:
        verdict, detail = Verdict.OK, f"{e.calm} {figures}."
    else:
        sure = material and p_value <= rules.alpha and not e.moves_on
        verdict = Verdict.WARNING if sure else Verdict.NOTICE
        opening = e.found if material else f"{e.found}, not surely above {e.limit}"
        detail = f"{opening}: {e.change()} {figures}."
    return Finding(
        kind=e.kind,
        check=e.check,
        subject=e.subject,
        verdict=verdict,
        detail=f"{detail[0].upper()}{detail[1:]}",
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


# -- enough ---------------------------------------------------------------------------------------


def _too_few(subject: str, window: Window | None, n: int, needed: int | None) -> Finding:
    return too_few(Kind.COLUMN_DRIFT, "psi", subject, window, n=n, needed=needed)


def _can_be_judged(
    column: _Column, news: Sequence[ColumnProfile], min_rows: int
) -> npt.NDArray[np.bool_]:
    """Of many windows, those with values enough, and not all in cells too rare to be compared."""
    if column.old.n < min_rows or not news:
        return np.zeros(len(news), dtype=np.bool_)
    n = np.array([new.n for new in news], dtype=np.float64)
    able = n >= min_rows
    then = binned_counts(column.old.counts, column.spec)
    if np.count_nonzero(then) < 2:
        return able
    share = np.minimum(n, column.old.n) / (n + column.old.n)
    doubtful = able & (_lesser_part(then, column.spec) * share < MIN_EXPECTED)
    unsure = np.flatnonzero(doubtful).tolist()
    if unsure:  # whether it is so hangs on what the windows hold
        now = binned_counts(np.array([news[k].counts for k in unsure]), column.spec)
        pooled = np.add(*pool_rare_cells_batch(then, now, rare=_always_rare(column.spec)))
        able[unsure] = np.count_nonzero(pooled, axis=-1) >= 2
    return able


def _always_rare(spec: ColumnSpec) -> tuple[int, ...]:
    return (spec.levels,) if spec.categorical else ()


def _lesser_part(counts: npt.NDArray[np.int64], spec: ColumnSpec) -> int:
    """The smaller of the largest cell and all others: two cells to compare, whatever is rare."""
    largest = int(counts[: spec.levels or None].max(initial=0))
    return min(largest, int(counts.sum()) - largest)


def _rows_enough(n_reference: int, rules: DriftRules) -> int:
    """Rows that show a large change with a chance of 90 %, and that the settings ask for."""
    large = max(wording.LARGE_PSI, 2 * rules.material_psi)
    rows = rows_needed(large, material=rules.material_psi, cells=BINS, n_reference=n_reference)
    return max(rules.min_rows, rows or 0)


def _values_needed(column: _Column, new: ColumnProfile, enough: int, min_rows: int) -> int | None:
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
