"""Has the distribution of a column changed, its missing values apart?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from gyroscope.data.cells import ColumnSpec
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile
from gyroscope.findings import Interval, Kind
from gyroscope.monitor import wording
from gyroscope.monitor.changes import Compared, DriftRules, Examined
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

_ONE_SIDED = 0.1  # of two-sided intervals whose lower ends alone are used: each holds at 95 %


def distributions(
    kind: Kind,
    column: Compared,
    news: Sequence[ColumnProfile],
    rules: DriftRules,
) -> list[Examined]:
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
            Examined(
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
                moves_on=times and moves_on_in_time(column.spec, new),
            )
        )
    return changes


def moves_on_in_time(spec: ColumnSpec, new: ColumnProfile) -> bool:
    """Whether a column of times has gone beyond the last one of the reference."""
    later = int(new.counts[-1])
    return spec.type is ColumnType.DATETIME and later > MATERIAL_LATER * new.n


def _categories(column: Compared, counts: FloatArray) -> tuple[PsiBatch, FloatArray]:
    """Size and p-value of the changes of shares; values that are not listed are rare ones."""
    then, now = column.effects.effective(Effect.SHARES, column.old.counts, counts)
    pair = pool_rare_cells_batch(then, now, rare=always_rare(column.spec))
    distance = psi_batch(*pair)
    return distance, _of_shares(pair, distance)


def _of_shares(pair: tuple[FloatArray, FloatArray], distance: PsiBatch) -> FloatArray:
    """The p-value of a change of shares: the larger of Pearson's chi-square's and of the PSI's.

    The two are alike near no change. Far from it Pearson's grows with the square of a rare share
    that a batch has more of, the PSI hardly faster than the change that made it.
    """
    return np.asarray(np.maximum(chi_square_batch(*pair).p_value, distance.p_value))


def _numbers(column: Compared, counts: FloatArray) -> tuple[PsiBatch, FloatArray, FloatArray]:
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
    error, known = effect.standard_error, np.isfinite(effect.value)
    # Two values that differ and do not vary, or a sample that does not, leave it to the ranks.
    z = np.full(error.shape, np.inf)
    np.divide(np.abs(effect.value), error, out=z, where=known & (error > 0))
    return np.asarray(np.maximum(effect.p_value, normal_two_tails(z)))


def _binned(counts: FloatArray, spec: ColumnSpec) -> FloatArray:
    return np.asarray(np.add.reduceat(counts, spec.bins, axis=-1))


def _sure_sizes(low: FloatArray, high: FloatArray) -> FloatArray:
    return np.maximum(np.maximum(low, -high), 0.0)


def always_rare(spec: ColumnSpec) -> tuple[int, ...]:
    """The cells that are pooled whatever they hold: that of the categories not listed."""
    return (spec.levels,) if spec.categorical else ()
