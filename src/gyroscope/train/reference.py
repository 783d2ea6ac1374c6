"""Measures what later windows are compared with."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np

from gyroscope.bundle.base import Vector
from gyroscope.bundle.reference import Reference
from gyroscope.data.contract import Contract
from gyroscope.data.outcomes import outcomes
from gyroscope.data.profile import joint_summary, profile
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.data.training_set import TrainingSet
from gyroscope.stats.calibration_map import calibration_map
from gyroscope.stats.duplicates import duplicate_share
from gyroscope.stats.excess_loss import excess_reference
from gyroscope.stats.metrics import metrics
from gyroscope.stats.ranking import ranking_reference

_DAY = 86400.0  # seconds


def make_reference(
    contract: Contract,
    rows: TrainingSet,
    test: TrainingSet,
    p: Vector,
    *,
    threshold: float,
    window: timedelta,
) -> Reference:
    """The reference of a model.

    Args:
        contract: names and types of the columns.
        rows: the whole training set.
        test: the part of it that nothing was fitted on.
        p: probabilities of the test rows, float64[n].
        threshold: from which probability a row is decided to be positive.
        window: how long the windows will be; the variance between them is learned.
    """
    timed = rows.timed
    X = rows.X[np.argsort(rows.time, kind="stable")] if timed else rows.X
    order = np.argsort(test.time, kind="stable")
    span = float(rows.time.max() - rows.time.min()) if timed else 0.0
    batches = np.floor(test.time / window.total_seconds()) if timed else None
    found = metrics(test.y, p, threshold)
    columns = profile(X, profile_spec(X, contract.features, in_time_order=timed))
    return Reference(
        columns=msgspec.structs.replace(columns, joint=joint_summary(X, columns)),
        scores=profile(p, score_spec(p[order], in_time_order=timed)),
        n=len(test),
        positives=int(test.y.sum()),
        metrics={name: estimate for name, estimate in found.items() if estimate.defined},
        excess=excess_reference(test.y, p, batches),
        ranking=ranking_reference(test.y, p, batches),
        outcomes=outcomes(test.X, test.y, p, threshold=threshold, spec=columns.spec),
        calibration=calibration_map(test.y, p),
        duplicates=duplicate_share(X),
        rows_per_day=len(rows) / (span / _DAY) if span > 0 else None,
    )
