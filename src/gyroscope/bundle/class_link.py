"""From the raw margins of all classes to their calibrated probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Matrix, ordered_sum

ClassLinkKind = Literal["softmax", "shares"]


class ClassLink(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """``probabilities = f(scale * raw + shifts)``, over the classes of each row.

    ``softmax``: f divides the exponentials by their sum; the margins are log-odds but for a
    constant of the row that all classes share. ``shares``: the margins are probabilities already.

    Raises ValueError for numbers that make no link.
    """

    kind: ClassLinkKind
    scale: float = 1.0
    shifts: tuple[float, ...]  # of each class

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and all(map(math.isfinite, self.shifts))):
            raise ValueError("scale and shifts of the link must be finite")

    @property
    def unit(self) -> str:
        """What the margins are measured in."""
        return "log-odds" if self.kind == "softmax" else "probability"

    def margin(self, raw: Matrix) -> Matrix:
        """The margins that are explained, ``float64[n, classes]``."""
        margins: Matrix = raw * self.scale + np.array(self.shifts)
        return margins

    def probability(self, margin: Matrix) -> Matrix:
        """Calibrated probabilities ``float64[n, classes]`` in [0, 1]."""
        if self.kind == "softmax":
            return softmax(margin)
        return np.clip(margin, 0.0, 1.0)

    def arrays(self) -> Arrays:
        """All numbers of the link."""
        return {"scale": np.array([self.scale]), "shifts": np.array(self.shifts, dtype=np.float64)}

    @classmethod
    def from_arrays(cls, kind: ClassLinkKind, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Build the link from what :meth:`arrays` gave."""
        return cls(
            kind=kind, scale=float(arrays["scale"][0]), shifts=tuple(arrays["shifts"].tolist())
        )


def softmax(margin: Matrix) -> Matrix:
    """Exponentials over their sum along the last axis, without overflow; the same bits of a row
    whatever it comes with."""
    rows = np.ascontiguousarray(margin).reshape(-1, margin.shape[-1])
    with np.errstate(over="ignore"):  # so far below the largest that nothing is left
        size = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares: Matrix = (size / ordered_sum(size)[:, None]).reshape(margin.shape)
    return shares
