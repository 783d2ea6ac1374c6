"""Has the distribution of a column changed, its missing values apart?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gyroscope.data.cells import ColumnSpec
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile
from gyroscope.findings import Interval, Kind
from gyroscope.monitor import wording
from gyroscope.monitor.changes import DriftRules, Examined, InWindows
from gyroscope.monitor.design_effects import Effect
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.chi_square import chi_square_batch
from gyroscope.stats.counts import pool_rare_cells_batch
from gyroscope.stats.kolmogorov_smirnov import kolmogorov_smirnov_batch
from gyroscope.stats.psi import PsiBatch, psi_batch
from gyroscope.stats.rank_scores import RankEffectBatch, rank_scores_batch
from gyroscope.stats.tails import normal_two_tails

MATERIAL_LATER = 0.01  # share of times later than the reference that tells of a column moving on

# How the error of a number's p-value is shared between its tests. Most changes are shifts.
_SHIFT, _SPREAD, _SHAPE, _DISTANCE = 0.8, 0.1, 0.05, 0.05

_AT_ONCE = 250_000  # counts of columns and windows, so that what is made of them stays small

_ONE_SIDED = 0.1  # of two-sided intervals whose lower ends alone are used: each holds at 95 %


def distributions(kind: Kind, held: Sequence[InWindows], rules: DriftRules) -> list[list[Examined]]:
    """The changes of the values that are not missing: of each column, in each of its windows.

    Columns of as many cells are measured together: there may be hundreds, of a few windows each.
    """
    found: list[list[Examined]] = [[] for _ in held]
    alike: dict[tuple[bool, int, int], list[int]] = {}
    for position, one in enumerate(held):
        if one.profiles:
            spec = one.column.spec
            bins = 0 if spec.categorical else len(spec.bins)
            alike.setdefault((spec.categorical, spec.cells, bins), []).append(position)
    for (categorical, *_), positions in alike.items():
        for some in _blocks(positions, held):
            columns = [held[position] for position in some]
            measured = _categories(columns) if categorical else _numbers(columns)
            first = 0
            for position, one in zip(some, columns, strict=True):
                own = slice(first, first + len(one.profiles))
                found[position] = _examined(kind, one, _Sizes(*(x[own] for x in measured)), rules)
                first = own.stop
    return found


class _Sizes(NamedTuple):
    """Of each change its PSI and its p-value, float64[cases]."""

    effect: FloatArray
    low: FloatArray  # the interval of the PSI
    high: FloatArray
    p_value: FloatArray


def _blocks(positions: Sequence[int], held: Sequence[InWindows]) -> Iterator[list[int]]:
    """Columns whose counts are worked on at once."""
    some: list[int] = []
    counts = 0
    for position in positions:
        some.append(position)
        counts += held[position].counts.size
        if counts >= _AT_ONCE:
            yield some
            some, counts = [], 0
    if some:
        yield some


def _examined(kind: Kind, held: InWindows, sizes: _Sizes, rules: DriftRules) -> list[Examined]:
    spec, old = held.column.spec, held.column.old
    name = spec.name
    words = wording.category_change if spec.categorical else wording.number_change
    limit, calm = f"{rules.material_psi:g}", f"No sure change of {name}"
    dated = spec.type is ColumnType.DATETIME
    rows = zip(
        held.profiles,
        held.n.astype(np.int64).tolist(),
        sizes.effect.tolist(),
        sizes.low.tolist(),
        sizes.high.tolist(),
        sizes.p_value.tolist(),
        strict=True,
    )
    return [
        Examined(
            kind=kind,
            check="psi",
            subject=name,
            n=n,
            value=effect,
            interval=Interval(low, high),
            p_value=p_value,
            threshold=rules.material_psi,
            limit=limit,
            found=f"{wording.size(effect)} change of {name}",
            calm=calm,
            numbers=f"PSI {effect:.3g}, 95 % interval {low:.3g} to {high:.3g}",
            change=partial(words, spec, old, new),
            moves_on=dated and moves_on_in_time(spec, new),
        )
        for new, n, effect, low, high, p_value in rows
    ]


def moves_on_in_time(spec: ColumnSpec, new: ColumnProfile) -> bool:
    """Whether a column of times has gone beyond the last one of the reference."""
    if spec.type is not ColumnType.DATETIME:
        return False
    return int(new.counts[-1]) > MATERIAL_LATER * new.n


Pair = tuple[FloatArray, FloatArray]  # counts[cases, cells] of the reference and of the windows


def _effective(held: Sequence[InWindows], effect: Effect) -> Pair:
    """Counts of independent rows of all columns in all windows, one case below the other."""
    thens, nows = [], []
    for one in held:
        then, now = one.column.effects.effective(effect, one.column.old.counts, one.counts)
        thens.append(np.broadcast_to(then, now.shape))
        nows.append(now)
    return np.concatenate(thens), np.concatenate(nows)


def _categories(held: Sequence[InWindows]) -> _Sizes:
    """Size and p-value of the changes of shares; values that are not listed are rare ones."""
    pair = _effective(held, Effect.SHARES)
    pair = pool_rare_cells_batch(*pair, rare=always_rare(held[0].column.spec))
    distance = psi_batch(*pair)
    return _sizes(distance, _of_shares(pair, distance), np.zeros(len(pair[0])))


def _sizes(distance: PsiBatch, p_value: FloatArray, least: FloatArray) -> _Sizes:
    low = np.maximum(distance.interval.low, least)
    high = np.maximum(distance.interval.high, low)
    return _Sizes(np.clip(distance.effect, low, high), low, high, p_value)


def _of_shares(pair: Pair, distance: PsiBatch) -> FloatArray:
    """The p-value of a change of shares: the larger of Pearson's chi-square's and of the PSI's.

    The two are alike near no change. Far from it Pearson's grows with the square of a rare share
    that a batch has more of, the PSI hardly faster than the change that made it.
    """
    return np.asarray(np.maximum(chi_square_batch(*pair).p_value, distance.p_value))


def _numbers(held: Sequence[InWindows]) -> _Sizes:
    """Size and p-value of the changes of numbers, and the least PSI that shift and spread make.

    Normal scores see a shift or a change of spread better than ten bins do. A normal that moves by
    d standard deviations has a PSI of d^2, one whose spread changes by a factor of e^u about 2 u^2;
    so the lower ends of their intervals bound the PSI from below.
    """
    pair = _effective(held, Effect.ANY)
    binned = pool_rare_cells_batch(*(_binned(counts, held) for counts in pair))
    distance = psi_batch(*binned)
    shape = _of_shares(binned, distance)
    apart = kolmogorov_smirnov_batch(*pair).p_value
    # Independent rows are worth the same to both.
    if all(one.column.effects.independent for one in held):
        scores = [rank_scores_batch(*pair, alpha=_ONE_SIDED)]
    else:
        scores = [
            rank_scores_batch(*_effective(held, effect), alpha=_ONE_SIDED)
            for effect in (Effect.SHIFT, Effect.SPREAD)
        ]
    shift, spread = scores[0].shift, scores[-1].spread
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
    return _sizes(distance, np.minimum(p_values, 1.0), least)


def _of_size(effect: RankEffectBatch) -> FloatArray:
    """The p-value of a rank test, but not below that of the size by its own error.

    Klotz's test takes a change of location for one of spread, and both take a rare value that a
    batch has more of for more than its error allows; their sizes do not.
    """
    error, known = effect.standard_error, np.isfinite(effect.value)
    # Two values that differ and do not vary, or a sample that does not, leave it to the ranks.
    z = np.full(error.shape, np.inf)
    np.divide(np.abs(effect.value), error, out=z, where=known & (error > 0))
    return np.asarray(np.maximum(effect.p_value, normal_two_tails(z)))


def _binned(counts: FloatArray, held: Sequence[InWindows]) -> FloatArray:
    parts, first = [], 0
    for one in held:
        end = first + len(one.profiles)
        parts.append(np.add.reduceat(counts[first:end], one.column.spec.bins, axis=-1))
        first = end
    return np.concatenate(parts)


def _sure_sizes(low: FloatArray, high: FloatArray) -> FloatArray:
    return np.maximum(np.maximum(low, -high), 0.0)


def always_rare(spec: ColumnSpec) -> tuple[int, ...]:
    """The cells that are pooled whatever they hold: that of the categories not listed."""
    return (spec.levels,) if spec.categorical else ()
