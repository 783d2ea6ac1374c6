"""How many independent rows the rows of a window are worth, by the parts of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import ColumnSpec, ProfileSpec
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.dispersion import Dispersion, inflation, pool


class Effect(StrEnum):
    """What of a column is compared."""

    SHIFT = "shift"
    SPREAD = "spread"
    SHARES = "shares"
    MISSING = "missing"
    ANY = "any"  # the largest of shift, spread and shares


_MEASURED = (Effect.SHIFT, Effect.SPREAD, Effect.SHARES, Effect.MISSING)
_PARTS = {Effect.ANY: (Effect.SHIFT, Effect.SPREAD, Effect.SHARES)}


class ColumnEffects:
    """The factors by which the counts of one column are to be divided, for every size of window."""

    def __init__(
        self,
        own: Mapping[Effect, Sequence[Dispersion]],
        pooled: Mapping[Effect, Sequence[Dispersion]],
    ) -> None:
        self._own, self._pooled = own, pooled

    def effective(
        self, effect: Effect, reference: npt.ArrayLike, windows: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Counts of independent rows that would say as much.

        Args:
            effect: what is to be compared.
            reference: counts[cells].
            windows: counts[windows, cells].
        """
        parts = _PARTS.get(effect, (effect,))
        return effective(
            [(self._own[part], self._pooled[part]) for part in parts], reference, windows
        )


def effective(
    dispersions: Sequence[tuple[Sequence[Dispersion], Sequence[Dispersion]]],
    reference: npt.ArrayLike,
    windows: npt.ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Counts of independent rows that would say as much, by the largest of several dispersions.

    Args:
        dispersions: of what is compared, and of the same over all columns of the table.
        reference: counts[...].
        windows: counts[windows, ...].
    """
    then = np.asarray(reference, dtype=np.float64)
    now = np.asarray(windows, dtype=np.float64)
    rows = now.reshape(len(now), -1).sum(axis=1)
    factors, at_reference = np.ones(len(now)), 1.0
    for own, pooled in dispersions:
        if own:
            factors = np.maximum(factors, inflation(own, rows, pooled))
            # The reference is many batches: it is worth what its largest parts are, by size.
            at_reference = max(at_reference, float(inflation(own, own[-1].rows, pooled)))
    return then / at_reference, now / factors.reshape(-1, *[1] * (now.ndim - 1))


def design_effects(spec: ProfileSpec) -> list[ColumnEffects]:
    """The factors of all columns; what they show together counts for each."""
    own = [{effect: _of(effect, column) for effect in _MEASURED} for column in spec.columns]
    pooled = {effect: pool([column[effect] for column in own]) for effect in _MEASURED}
    return [ColumnEffects(column, pooled) for column in own]


def table_factor(spec: ProfileSpec, n: float) -> float:
    """The factor for a window of ``n`` rows where several columns are looked at together."""
    together = pool([_of(Effect.SHIFT, column) for column in spec.columns])
    return float(inflation(together, n))


def _of(effect: Effect, column: ColumnSpec) -> tuple[Dispersion, ...]:
    if column.variation is None:
        return ()
    found: tuple[Dispersion, ...] = getattr(column.variation.dispersions, effect.value)
    return found
