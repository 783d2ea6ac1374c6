"""Is a window surely broken? Checks whose alarms keep its rows out of training.

An alarm here quarantines data and wakes somebody, so it is for what no harmless change of
customers, season or mix does: the effect must be far beyond drift *and* beyond chance. What is only
suspect is a warning. Drift proper is in ``drift``.
"""

from __future__ import annotations

import msgspec

from gyroscope.data.cells import SCORE, ColumnSpec
from gyroscope.data.profile import ColumnProfile, Profile, magnitude_bounds
from gyroscope.data.remarks import counted
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.agreement import check_agreement
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.wording import percent, plain
from gyroscope.stats.intervals import proportion
from gyroscope.stats.two_proportions import TwoProportionsResult, two_proportions
from gyroscope.stats.unseen import unseen_share

# Chance is ruled out below this p-value: 100 columns with five checks each on daily windows are
# 180,000 tests a year, so less than one in five years passes by chance, before the size is asked.
CERTAIN = 1e-6

MISSING_RISE = 0.20  # a rise of the missing share by 20 points over the worst part is no mix
TYPE_RISE = 0.20  # a fifth of the values of another type: the sender has changed
TYPE_NOTED = 0.01  # what is worth a warning
UNSEEN_RISE = 0.50  # half of all values unknown: other codes are sent; one new agent brings 20 %
CONSTANT_SHARE = 0.50  # where one value holds more than half already, all is drift, not breakage
UNIT_FACTOR = 5.0  # smaller factors happen: prices, inflation, a new product
UNIT_PADDING = 3.0  # and must leave the range of nearly all reference values threefold
UNIT_TAIL = 0.01  # "nearly all": without the smallest and the largest 1 %
UNIT_OUTSIDE = 0.20  # the share that must have left it; a harmless window has about 1 %
RUN_FACTOR = 3  # rows are many only if three times more than any run of one value in the reference


def quality_findings(
    reference: Profile,
    current: Profile,
    window: Window | None,
    *,
    min_rows: int,
    certain: float = CERTAIN,
) -> list[Finding]:
    """What is surely broken, or suspect, in the columns of a window.

    Args:
        reference: profile of the reference, on whose spec ``current`` was counted.
        current: profile of the window.
        window: the window, if it is one of event time.
        min_rows: rows below which the answer is "not enough data".
        certain: the p-value below which one check rules chance out.

    Returns:
        One finding for each thing wrong, or a single one that nothing is. With too few rows one
        that says so, after columns that are not there or of another type, for which none is needed.

    Raises:
        DataError: the profiles were counted on different cells.
    """
    check_agreement(reference, current)
    if current.n < min_rows:
        few = too_few(
            Kind.DATA_QUALITY, "columns", "all columns", window, n=current.n, needed=min_rows
        )
        return [*_facts(reference, current, window), few]
    found: list[Finding] = []
    for spec, old, new in zip(
        current.spec.columns, reference.columns, current.columns, strict=True
    ):
        if spec.name in current.absent:
            found.append(_absent(spec, current.n, window))
            continue
        checks = (
            type_finding(spec, old, new, window, certain=certain),
            missing_finding(spec, old, new, window, certain=certain),
            unseen_finding(spec, old, new, window, certain=certain),
            constant_finding(spec, old, new, window, min_rows=min_rows, certain=certain),
            unit_finding(spec, old, new, window, min_rows=min_rows),
        )
        found += [finding for finding in checks if finding is not None]
    if found:
        return sorted(found, key=lambda finding: finding.verdict is not Verdict.ALARM)
    return [
        Finding(
            kind=Kind.DATA_QUALITY,
            check="columns",
            subject="all columns",
            verdict=Verdict.OK,
            detail=f"Nothing is broken in {counted(len(current.columns), 'column')} of "
            f"{counted(current.n, 'row')}.",
            window=window,
            n=current.n,
        )
    ]


def _facts(reference: Profile, current: Profile, window: Window | None) -> list[Finding]:
    """What is wrong with columns as a whole, and no matter of chance."""
    found = []
    for spec, old, new in zip(
        current.spec.columns, reference.columns, current.columns, strict=True
    ):
        if spec.name in current.absent:
            found.append(_absent(spec, current.n, window))
        elif new.unreadable and not new.n and not old.unreadable:
            found.append(_of_another_type(spec, new, window))
    return found


def _of_another_type(spec: ColumnSpec, new: ColumnProfile, window: Window | None) -> Finding:
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="type_change",
        subject=spec.name,
        verdict=Verdict.ALARM,
        detail=f"No value of {spec.name} is of type {spec.type}; all in the reference are.",
        window=window,
        n=new.unreadable,
    )


def _absent(spec: ColumnSpec, n: int, window: Window | None) -> Finding:
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="absent_column",
        subject=spec.name,
        verdict=Verdict.ALARM,
        detail=f"There is no column {spec.name}, in all of the rows or some.",
        window=window,
        n=n,
    )


def type_finding(
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    window: Window | None,
    *,
    certain: float = CERTAIN,
) -> Finding | None:
    """Values that are not of the column's type, such as words in a column of numbers."""
    rows = [column.n + column.missing + column.unreadable for column in (old, new)]
    if not new.unreadable:
        return None
    shares = two_proportions(old.unreadable, rows[0], new.unreadable, rows[1])
    if shares.value < TYPE_NOTED or shares.p_value > certain:
        return None
    detail = (
        f"{percent(shares.current)} of the values of {spec.name} are no {spec.type}; in the "
        f"reference {percent(shares.reference)} are not"
    )
    verdict = Verdict.ALARM if shares.value >= TYPE_RISE else Verdict.WARNING
    found = _rise(
        "type_change", spec, shares, window, detail=detail, threshold=TYPE_RISE, certain=certain
    )
    return found and msgspec.structs.replace(found, verdict=verdict)


def missing_finding(
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    window: Window | None,
    *,
    certain: float = CERTAIN,
) -> Finding | None:
    """A rise of the missing share that no part of the reference comes near to."""
    if new.missing < MISSING_RISE * (new.missing + new.n):
        return None
    shares = two_proportions(old.missing, old.missing + old.n, new.missing, new.missing + new.n)
    worst = max(shares.reference, spec.variation.missing if spec.variation else 0.0)
    if not shares.current - worst >= MISSING_RISE:
        return None
    dead = new.n == 0
    what = "no values at all" if dead else f"{percent(shares.current)} of its values missing"
    detail = f"{spec.name} has {what}; in the reference {percent(shares.reference)} are missing"
    check = "dead_column" if dead else "missing_rate"
    return _rise(
        check, spec, shares, window, detail=detail, threshold=MISSING_RISE, certain=certain
    )


def unseen_finding(
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    window: Window | None,
    *,
    certain: float = CERTAIN,
) -> Finding | None:
    """A rise of the share of categories that are not listed, as if other codes were sent.

    Columns that change slowly, such as the month, turn unknown as a whole and are not broken.
    """
    if not spec.categorical or _is_slow(spec, new.n):
        return None
    if int(new.counts[-1]) < UNSEEN_RISE * new.n:
        return None
    expected = unseen_share(old.counts[:-1], unlisted=int(old.counts[-1]))
    shares = two_proportions(expected.successes, expected.n, int(new.counts[-1]), new.n)
    if shares.value < UNSEEN_RISE:
        return None
    detail = (
        f"{percent(shares.current)} of the values of {spec.name} are not listed; by the "
        f"reference {percent(shares.reference)} would be"
    )
    return _rise(
        "unseen_share", spec, shares, window, detail=detail, threshold=UNSEEN_RISE, certain=certain
    )


def constant_finding(
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    window: Window | None,
    *,
    min_rows: int,
    certain: float = CERTAIN,
) -> Finding | None:
    """One single value all through a window, in a column that varies within the reference.

    Columns that change slowly, such as the month or a rate of interest, are constant within most
    windows and not broken. Without an order in time these are not known, and the finding is a
    notice unless it is about the score.
    """
    if new.n < min_rows or old.n == 0 or not _is_constant(spec, new) or _is_slow(spec, new.n):
        return None
    commonest = proportion(int(old.counts.max()), old.n, alpha=0.001).interval.high
    if commonest**new.n > certain:
        return None
    if spec.variation is None and spec.name != SCORE:
        verdict = Verdict.NOTICE
    else:
        verdict = Verdict.WARNING if commonest > CONSTANT_SHARE else Verdict.ALARM
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="constant",
        subject=spec.name,
        verdict=verdict,
        detail=f"All {new.n} values of {spec.name} are the same; in the reference no value has "
        f"more than {percent(commonest)}.",
        window=window,
        n=new.n,
        value=1.0,
        threshold=commonest,
    )


def unit_finding(
    spec: ColumnSpec,
    old: ColumnProfile,
    new: ColumnProfile,
    window: Window | None,
    *,
    min_rows: int,
) -> Finding | None:
    """A change of unit: the median of |x| is off by a factor, and values have left their range.

    Off from every part of the reference, that is, where its order in time is known, and not in a
    column that changes slowly. Zeros have no magnitude and are left out.
    """
    numbers = min(int(column.magnitude_counts.sum()) for column in (old, new))
    before, after = old.magnitude_quantile(0.5), new.magnitude_quantile(0.5)
    if numbers < min_rows or before is None or after is None or _is_slow(spec, new.n):
        return None
    usual = spec.variation.magnitudes if spec.variation else None
    lowest, highest = usual or (before, before)
    if lowest / UNIT_FACTOR < after < highest * UNIT_FACTOR:
        return None
    up = after > before
    outside = _share_outside(old, new, upwards=up)
    if outside < UNIT_OUTSIDE:
        return None
    factor = after / before if up else before / after
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="unit_change",
        subject=spec.name,
        verdict=Verdict.ALARM,
        detail=f"{spec.name} is {plain(factor)} times {'larger' if up else 'smaller'} than in the "
        f"reference (median of the absolute value {plain(before)} then, {plain(after)} now), and "
        f"{percent(outside)} of the values are far outside the range known: has the unit changed?",
        window=window,
        n=new.n,
        value=after,
        threshold=highest * UNIT_FACTOR if up else lowest / UNIT_FACTOR,
    )


def constant_score_finding(
    reference: Profile, current: Profile, window: Window | None, *, min_rows: int
) -> Finding:
    """Whether the model gives every row of a window the same score, though it did not before."""
    check_agreement(reference, current)
    if current.n < min_rows:
        return too_few(Kind.DATA_QUALITY, "constant", SCORE, window, n=current.n, needed=min_rows)
    columns = list(zip(current.spec.columns, reference.columns, current.columns, strict=True))
    varied = [each for each in columns if not _is_constant(each[0], each[1])]
    found = [constant_finding(*each, window, min_rows=min_rows) for each in varied]
    if found and found[0] is not None and None not in found:
        if len(columns) == 1:
            return found[0]
        detail = f"All {current.n} rows have the same score of each class, which varied before."
        verdict = Verdict.WARNING if found[0].verdict is Verdict.NOTICE else found[0].verdict
        return msgspec.structs.replace(found[0], subject=SCORE, verdict=verdict, detail=detail)
    spec, _, new = columns[0]
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="constant",
        subject=SCORE,
        verdict=Verdict.OK,
        detail="The scores vary as they did."
        if not _is_constant(spec, new)
        else "The scores are all the same, which is nothing new.",
        window=window,
        n=new.n,
    )


def _is_slow(spec: ColumnSpec, rows: int) -> bool:
    """Whether the column keeps one value for so long that so few rows may well all be alike."""
    return spec.variation is not None and rows <= RUN_FACTOR * spec.variation.longest_run


def _is_constant(spec: ColumnSpec, column: ColumnProfile) -> bool:
    if spec.categorical:  # values outside the contract are counted together and need not be one
        return column.n > 0 and int(column.counts[:-1].max(initial=0)) == column.n
    return column.low is not None and column.low == column.high and not column.infinite


def _share_outside(old: ColumnProfile, new: ColumnProfile, *, upwards: bool) -> float:
    """Share of the nonzero |x| beyond three times the range of nearly all of the reference."""
    end = old.magnitude_quantile(1 - UNIT_TAIL if upwards else UNIT_TAIL)
    assert end is not None  # the caller has seen that there are numbers
    limit = end * UNIT_PADDING if upwards else end / UNIT_PADDING
    outside: int = 0
    for cell, count in zip(
        new.magnitude_cells.tolist(), new.magnitude_counts.tolist(), strict=True
    ):
        low, high = magnitude_bounds(cell)
        outside += count if (low >= limit if upwards else high <= limit) else 0
    return outside / int(new.magnitude_counts.sum())


def _rise(
    check: str,
    spec: ColumnSpec,
    shares: TwoProportionsResult,
    window: Window | None,
    *,
    detail: str,
    threshold: float,
    certain: float,
) -> Finding | None:
    """The alarm that a share has risen by far, if chance is ruled out."""
    if shares.p_value > certain:
        return None
    return Finding(
        kind=Kind.DATA_QUALITY,
        check=check,
        subject=spec.name,
        verdict=Verdict.ALARM,
        detail=f"{detail}.",
        window=window,
        n=shares.n_current,
        value=shares.value,
        interval=shares.interval,
        p_value=shares.p_value,
        threshold=threshold,
    )
