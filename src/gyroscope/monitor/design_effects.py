"""How many independent rows the rows of a window are worth, by the parts of the reference."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import ProfileSpec
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.dispersion import Dispersion, inflation, pool


class Effect(StrEnum):
    """What of a column is compared."""

    SHIFT = "shift"
    SPREAD = "spread"
    SHARES = "shares"
    MISSING = "missing"
    ANY = "any"  # the largest of shift, spread and shares


_PARTS = {Effect.ANY: (Effect.SHIFT, Effect.SPREAD, Effect.SHARES)}


class DesignEffects:
    """The factors by which counts are to be divided, for every column and size of window."""

    def __init__(self, spec: ProfileSpec) -> None:
        self._own = {
            effect: [_of(effect, spec, j) for j in range(len(spec.columns))]
            for effect in (Effect.SHIFT, Effect.SPREAD, Effect.SHARES, Effect.MISSING)
        }
        self._pooled = {effect: pool(columns) for effect, columns in self._own.items()}

    def effective(
        self, effect: Effect, column: int, reference: npt.ArrayLike, windows: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Counts of independent rows that would be known as well.

        Args:
            effect: what is to be compared.
            column: position of the column in the spec.
            reference: counts[cells].
            windows: counts[windows, cells].
        """
        then = np.asarray(reference, dtype=np.float64)
        now = np.asarray(windows, dtype=np.float64)
        factors = np.ones(len(now))
        at_reference = 1.0
        for part in _PARTS.get(effect, (effect,)):
            own = self._own[part][column]
            if not own:
                continue
            factors = np.maximum(factors, inflation(own, now.sum(axis=1), self._pooled[part]))
            # The reference is many batches: it is worth what its largest parts are, by size.
            largest = np.array([own[-1].rows])
            at_reference = max(at_reference, float(inflation(own, largest, self._pooled[part])[0]))
        return then / at_reference, now / factors[:, np.newaxis]


def _of(effect: Effect, spec: ProfileSpec, column: int) -> tuple[Dispersion, ...]:
    variation = spec.columns[column].variation
    found: tuple[Dispersion, ...] = getattr(variation and variation.dispersions, effect.value, ())
    return found
