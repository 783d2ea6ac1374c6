"""How many independent rows the rows of a window are worth, by the parts of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import ColumnSpec
from gyroscope.data.profile import Profile
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.dispersion import Dispersion, are_dependent, inflation, pool


class Effect(StrEnum):
    """What of a column is compared."""

    SHIFT = "shift"
    SPREAD = "spread"
    SHARES = "shares"
    MISSING = "missing"
    ANY = "any"  # the largest of shift, spread and shares


_MEASURED = (Effect.SHIFT, Effect.SPREAD, Effect.SHARES, Effect.MISSING)
_FEWEST = 2.0  # rows that a sample is worth at least: tests take no fewer
_PARTS = {Effect.ANY: (Effect.SHIFT, Effect.SPREAD, Effect.SHARES)}


class ColumnEffects:
    """The factors by which the counts of one column are to be divided, for every size of window."""

    def __init__(self, own: Mapping[Effect, Sequence[Dispersion]]) -> None:
        """``own`` are the dispersions of all effects of the column; none if rows are independent.

        Rows that resemble each other in one respect are taken to do so in all.
        """
        self._own = own

    @property
    def independent(self) -> bool:
        """Whether all counts are worth what they are."""
        return not any(self._own.values())

    def effective(
        self, effect: Effect, reference: npt.ArrayLike, windows: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Counts of independent rows that would say as much.

        Args:
            effect: what is to be compared.
            reference: counts[cells].
            windows: counts[windows, cells].
        """
        if self.independent:
            return np.asarray(reference, dtype=np.float64), np.asarray(windows, dtype=np.float64)
        parts = _PARTS.get(effect, (effect,))
        return effective([self._own.get(part, ()) for part in parts], reference, windows)


def effective(
    dispersions: Sequence[Sequence[Dispersion]], reference: npt.ArrayLike, windows: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Counts of independent rows that would say as much, by the largest of several dispersions.

    Args:
        dispersions: of rows that are known to be dependent; empty ones do not count.
        reference: counts[...].
        windows: counts[windows, ...].
    """
    then = np.asarray(reference, dtype=np.float64)
    now = np.asarray(windows, dtype=np.float64)
    rows = now.sum(axis=tuple(range(1, now.ndim)))
    factors, at_reference = np.ones(len(now)), 1.0
    for own in filter(len, dispersions):
        factors = np.maximum(factors, inflation(own, rows))
        # The reference is many batches: it is worth what its largest parts are, by size.
        at_reference = max(at_reference, float(inflation(own, own[-1].rows)))
    if then.ndim == 1:
        factors = 1 + (factors - 1) * _liveliness(then, now)
    factors = np.minimum(factors, np.maximum(rows / _FEWEST, 1.0))
    at_reference = min(at_reference, max(float(then.sum()) / _FEWEST, 1.0))
    return then / at_reference, now / factors.reshape(-1, *[1] * (now.ndim - 1))


def _liveliness(reference: FloatArray, windows: FloatArray) -> FloatArray:
    """How many times more a rare share varies between batches where there is more of it.

    A share p that batches multiply by something varies with p (1 - p), as its own chance does; one
    day of many flags must not be measured by the many days of few. Counts of one value in most rows
    are of such a share: of all other values.
    """
    most = int(np.argmax(reference))
    total = reference.sum()
    if not total / 2 < reference[most] < total:
        return np.ones(len(windows))
    then = 1 - reference[most] / total
    now = 1 - windows[:, most] / np.maximum(windows.sum(axis=1), 1.0)
    return np.asarray(np.maximum(now * (1 - now) / (then * (1 - then)), 1.0))


class TableEffects(msgspec.Struct, frozen=True, kw_only=True):
    """The factors of each column, and of several that are looked at together."""

    columns: Sequence[ColumnEffects]
    together: Sequence[Dispersion]  # of the location of all columns; none if rows are independent

    def factors(self, n: npt.ArrayLike) -> FloatArray:
        """The factors for windows of ``n`` rows where several columns are looked at together."""
        return inflation(self.together, n)


def design_effects(reference: Profile) -> TableEffects:
    """The factors of a table; if columns together show that rows are dependent, all have them.

    A batch effect too small to be seen in one column shows in many.
    """
    pooled = _pooled(reference)
    own = [{e: _of(e, column) for e in _MEASURED} for column in reference.spec.columns]
    known = [[*chain(*pooled.values())], *([*chain(*held.values())] for held in own)]
    dependent, *each = are_dependent(known)
    return TableEffects(
        columns=[
            ColumnEffects(held if dependent or by_itself else {})
            for held, by_itself in zip(own, each, strict=True)
        ],
        together=pooled[Effect.SHIFT] if dependent else [],
    )


def _pooled(reference: Profile) -> dict[Effect, list[Dispersion]]:
    """What all columns show together."""
    alike = _alike(reference)
    columns = reference.spec.columns
    return {e: pool([_of(e, column) for column in columns], alike=alike) for e in _MEASURED}


def _alike(reference: Profile) -> float:
    """Mean squared correlation between two columns, as far as it is known."""
    if reference.joint is None or reference.joint.n == 0:
        return 0.0
    joint = reference.joint
    means = joint.sums / joint.n
    covariance = joint.products / joint.n - np.outer(means, means)
    variances = np.diag(covariance)
    varies = variances > 0
    p = np.count_nonzero(varies)
    if p < 2:
        return 0.0
    covariance, variances = covariance[np.ix_(varies, varies)], variances[varies]
    squares = covariance**2 / np.outer(variances, variances)
    return float((squares.sum() - p) / (p * (p - 1)))


def _of(effect: Effect, column: ColumnSpec) -> tuple[Dispersion, ...]:
    if column.variation is None:
        return ()
    found: tuple[Dispersion, ...] = getattr(column.variation.dispersions, effect.value)
    return found
