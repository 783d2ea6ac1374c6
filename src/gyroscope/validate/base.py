"""What a gate is, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from gyroscope.findings import Finding
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.intervals import Estimate


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A version on test rows, which nothing was fitted on and nothing chosen by."""

    y: FloatArray  # float64[n] in {0, 1}
    p: FloatArray  # float64[n], calibrated scores
    p_base_rate: FloatArray  # float64[n], what knowing only the base rate would say
    threshold: float  # from which score a row is decided to be positive
    metrics: Mapping[str, Estimate]  # by name, see ``gyroscope.stats.metrics``


class Gate(Protocol):
    """A condition that a version must meet before it may challenge or serve."""

    name: str

    def check(self, evaluation: Evaluation) -> Finding:
        """A finding of kind gate: ``alarm`` means not passed, anything else passed."""
        ...
