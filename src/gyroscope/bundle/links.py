"""From the raw margin of a scorer to a calibrated probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Vector

LinkKind = Literal["logistic", "identity", "isotonic", "value"]


class Link(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """``probability = f(scale * raw + shift)``.

    ``logistic``: f is the logistic function and the margin is in log-odds (Platt scaling when
    scale and shift are fitted). ``identity``: the margin is a probability already.
    ``isotonic``: f interpolates a non-decreasing table. ``value``: there is no probability; the
    margin is the number that is predicted.

    Raises ValueError for numbers that make no link.
    """

    kind: LinkKind
    scale: float = 1.0
    shift: float = 0.0
    margins: tuple[float, ...] = ()  # ascending, for isotonic
    probabilities: tuple[float, ...] = ()  # non-decreasing, same length

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and math.isfinite(self.shift)):
            raise ValueError("scale and shift of the link must be finite")
        if len(self.margins) != len(self.probabilities):
            raise ValueError("the table of the link has columns of different length")
        if self.kind == "isotonic" and not self._is_monotone():
            raise ValueError("the table of an isotonic link must not fall, nor leave [0, 1]")

    def _is_monotone(self) -> bool:
        margins, probabilities = self._table
        inside = ((probabilities >= 0) & (probabilities <= 1)).all()
        rising = (np.diff(margins) > 0).all() and (np.diff(probabilities) >= 0).all()
        return bool(len(margins) and np.isfinite(margins).all() and inside and rising)

    @cached_property
    def _table(self) -> tuple[Vector, Vector]:
        return np.array(self.margins), np.array(self.probabilities)

    @property
    def unit(self) -> str:
        """What the margin is measured in."""
        return {"logistic": "log-odds", "value": "value"}.get(self.kind, "probability")

    def margin(self, raw: Vector) -> Vector:
        """The margin that is explained, ``float64[n]``."""
        return raw * self.scale + self.shift

    def probability(self, margin: Vector) -> Vector:
        """Calibrated probabilities ``float64[n]`` in [0, 1], or the values predicted."""
        if self.kind == "logistic":
            return expit(margin)
        if self.kind == "isotonic":
            return np.interp(margin, *self._table)
        if self.kind == "value":
            return margin
        return np.clip(margin, 0.0, 1.0)

    def arrays(self) -> Arrays:
        """All numbers of the link."""
        return {
            "affine": np.array([self.scale, self.shift]),
            "margins": np.array(self.margins, dtype=np.float64),
            "probabilities": np.array(self.probabilities, dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, kind: LinkKind, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Build the link from what :meth:`arrays` gave."""
        return cls(
            kind=kind,
            scale=float(arrays["affine"][0]),
            shift=float(arrays["affine"][1]),
            margins=tuple(arrays["margins"].tolist()),
            probabilities=tuple(arrays["probabilities"].tolist()),
        )


def expit(margin: Vector) -> Vector:
    """The logistic function without overflow, ``float64[n]``."""
    if margin.size == 1:  # a request: plain numbers cost less, and have the same bits
        x = margin.item()
        small = float(np.exp(-abs(x)))
        return np.array([(1.0 if x >= 0 else small) / (1 + small)])
    decay = np.exp(-np.abs(np.ascontiguousarray(margin)))
    probability: Vector = np.where(margin >= 0, 1.0, decay) / (1 + decay)
    return probability
