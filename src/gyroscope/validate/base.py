"""What a gate is, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from gyroscope.data.contract import Task
from gyroscope.findings import Finding
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.intervals import Estimate


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A version on test rows, which nothing was fitted on and nothing chosen by."""

    y: FloatArray  # float64[n] in {0, 1}, or classes from 0 on, or numbers
    p: FloatArray  # scores: float64[n], or float64[n, classes]
    p_base_rate: FloatArray  # the same, of knowing only how frequent classes are, or the mean
    threshold: float | None  # from which score a row is decided to be positive; binary only
    metrics: Mapping[str, Estimate]  # by name, see ``gyroscope.data.performance``
    task: Task = "binary"


class Gate(Protocol):
    """A condition that a version must meet before it may challenge or serve."""

    name: str

    def check(self, evaluation: Evaluation) -> Finding:
        """A finding of kind gate: ``alarm`` means not passed, anything else passed."""
        ...
