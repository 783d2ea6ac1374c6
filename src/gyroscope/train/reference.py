"""Measures what later windows are compared with."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np

from gyroscope.bundle.base import Vector
from gyroscope.bundle.reference import Reference
from gyroscope.data.cells import ProfileSpec
from gyroscope.data.contract import Column, ColumnType, Contract
from gyroscope.data.outcomes import cell_losses, label_dispersions, outcomes
from gyroscope.data.performance import CLOSE, performance, promises
from gyroscope.data.profile import Profile, joint_summary, profile
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.data.training_set import TrainingSet
from gyroscope.stats.calibration_map import calibration_map
from gyroscope.stats.duplicates import duplicate_share
from gyroscope.stats.excess_loss import excess_reference
from gyroscope.stats.ranking import ranking_reference

_DAY = 86400.0  # seconds


def make_reference(
    contract: Contract,
    rows: TrainingSet,
    test: TrainingSet,
    p: Vector,
    *,
    threshold: float | None,
    window: timedelta,
) -> Reference:
    """The reference of a model.

    Args:
        contract: names and types of the columns.
        rows: the whole training set.
        test: the part of it that nothing was fitted on.
        p: scores of the test rows.
        threshold: from which score a row is decided to be positive; binary only.
        window: how long the windows will be; the variance between them is learned.
    """
    timed = rows.timed
    in_order = np.argsort(rows.time, kind="stable") if timed else np.arange(len(rows))
    X = rows.X[in_order]
    order = np.argsort(test.time, kind="stable")
    span = float(rows.time.max() - rows.time.min()) if timed else 0.0
    batches = np.floor(test.time / window.total_seconds()) if timed else None
    task = contract.task
    found = performance(task, test.y, p, threshold)
    usual = usual_error(test.y, p) if task == "regression" else None
    kept, chance = promises(task, test.y, p, usual)
    columns = profile(X, profile_spec(X, contract.features, in_time_order=timed))
    scores = profile(p, _score_spec(contract, p[order], in_time_order=timed))
    labels = None if task == "binary" else _labels(contract, test.y[order], in_time_order=timed)
    label = None if labels is None else labels.spec.columns[0]
    return Reference(
        columns=msgspec.structs.replace(columns, joint=joint_summary(X, columns)),
        scores=scores,
        n=len(test),
        positives=int(kept.sum()),
        metrics={name: estimate for name, estimate in found.items() if estimate.defined},
        excess=excess_reference(kept, chance, batches),
        ranking=None if usual is not None else ranking_reference(kept, chance, batches),
        outcomes=(
            None
            if threshold is None
            else outcomes(test.X, test.y, p, threshold=threshold, spec=columns.spec)
        ),
        losses=(
            None
            if label is None
            else cell_losses(
                task,
                test.X,
                test.y,
                p,
                spec=columns.spec,
                label=label,
                score=scores.spec.columns[0] if task == "regression" else None,
            )
        ),
        label_dispersions=(
            label_dispersions(X, rows.y[in_order], columns.spec, label) if timed else None
        ),
        calibration=None if usual is not None else calibration_map(kept, chance),
        duplicates=duplicate_share(X),
        rows_per_day=len(rows) / (span / _DAY) if span > 0 else None,
        usual_error=usual,
        labels=labels,
    )


def usual_error(y: Vector, predicted: Vector) -> float:
    """The absolute error that four of five rows do not exceed."""
    return float(np.quantile(np.abs(predicted - y), CLOSE, method="higher"))


def _labels(contract: Contract, y: Vector, *, in_time_order: bool) -> Profile:
    """The profile of classes or of numbers, as one column called "label"."""
    column = Column(name="label", type=ColumnType.NUMBER, unit=contract.target.unit)
    if contract.classes:
        column = Column(name="label", type=ColumnType.CATEGORY, categories=contract.classes)
    return profile(y[:, None], profile_spec(y[:, None], (column,), in_time_order=in_time_order))


def _score_spec(contract: Contract, p: Vector, *, in_time_order: bool) -> ProfileSpec:
    """Of the score, or of the score of each class."""
    if contract.task != "multiclass":
        return score_spec(p, in_time_order=in_time_order)
    specs = [
        score_spec(of_class, name=f"score of {name}", in_time_order=in_time_order).columns
        for name, of_class in zip(contract.classes, p.T, strict=True)
    ]
    return ProfileSpec(columns=tuple(column for columns in specs for column in columns))
