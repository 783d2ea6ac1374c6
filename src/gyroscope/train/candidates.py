"""Fitting candidates and choosing between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Vector
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.links import Link
from gyroscope.data.contract import Contract
from gyroscope.data.performance import performance
from gyroscope.data.splits import Split
from gyroscope.data.training_set import TrainingSet
from gyroscope.errors import DataError
from gyroscope.stats.metrics import LOWER_IS_BETTER
from gyroscope.train.calibration import Calibration, calibrate
from gyroscope.train.families.base import Fitted, ModelFamily, Sample, family
from gyroscope.train.fidelity import check_fidelity

RECALIBRATION = "recalibration"  # the champion with a new link
_FEWEST = 5  # rows of each class a family needs


class Candidate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A fitted model with its calibration, before it is a version."""

    family: str
    span: str  # which rows it was fitted on, e.g. "all rows"
    rows: int
    fitted: Fitted
    calibration: Calibration
    metrics: dict[str, float]  # on the validation rows, cross-fitted
    fidelity: float  # largest difference to the library's probabilities
    seconds: float

    @property
    def name(self) -> str:
        """Family and span in one phrase."""
        return f"{self.family} on {self.span}"


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a candidate before it is calibrated."""

    family: str
    span: str
    rows: int
    fidelity: float
    began: float  # of time.perf_counter()


class Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to try on which rows."""

    rows: TrainingSet
    split: Split
    contract: Contract
    families: Sequence[str]
    spans: Mapping[str, NDArray[np.bool_]]  # name to a mask over ``rows``
    champion: Bundle | None = None  # recalibrated as one more candidate
    own: ModelFamily | None = None  # the user's, tried as one more family
    seed: int = 0
    most_rows: int = 200_000  # fitted on at most; more rows add time and little else


def fit_candidates(plan: Plan) -> Iterator[Candidate]:
    """Fit every family on every span, one after the other.

    A span with fewer than 5 training rows of a class, or in all, is passed over.

    Raises:
        ConfigError, MissingExtraError: a family is unknown or its library is not installed.
        BundleError: a scorer does not equal its library.
    """
    for span, mask in plan.spans.items():
        train = plan.split.train[mask[plan.split.train]]
        if _fewest(plan.contract, plan.rows.y[train]) < _FEWEST:
            continue
        thinned = _thinned(train, plan.most_rows)
        for name in plan.families:
            yield _fit(plan, family(name), span, thinned)
        if plan.own is not None:
            yield _fit(plan, plan.own, span, thinned)
    if plan.champion is not None:
        yield _recalibrated(plan, plan.champion)


def best(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """The candidate with the best value of ``metric`` on the validation rows.

    Raises:
        DataError: there is no candidate.
    """
    if not candidates:
        raise DataError("no candidate could be fitted: every span lacks rows of a class")
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return min(candidates, key=lambda candidate: sign * candidate.metrics[metric])


def _fit(plan: Plan, maker: ModelFamily, span: str, train: NDArray[np.intp]) -> Candidate:
    began, name = time.perf_counter(), maker.name
    rows, validation = plan.rows, plan.split.validation
    y, centre, spread = _standardised(plan, maker, train)
    sample = Sample(
        X=rows.X[train],
        y=y[train],
        weight=rows.weight[train],
        X_stop=rows.X[validation],
        y_stop=y[validation],
        columns=plan.contract.features,
        task=plan.contract.task,
        n_classes=len(plan.contract.classes) or 2,
    )
    fitted = maker.fit(sample, seed=plan.seed)
    fidelity = check_fidelity(name, fitted, sample.X_stop)
    if plan.contract.task == "regression":
        units = Link(kind="value", scale=spread, shift=centre)
        fitted = msgspec.structs.replace(fitted, link=units)
    named = _Named(family=name, span=span, rows=len(train), fidelity=fidelity, began=began)
    return _candidate(plan, named, fitted)


def _standardised(
    plan: Plan, maker: ModelFamily, train: NDArray[np.intp]
) -> tuple[Vector, float, float]:
    """The target as a family is given it, and its zero and unit.

    Numbers are given to our families in standard deviations from their mean, so that libraries
    that compute in float32 lose nothing and penalties mean the same in any unit; to the user's own
    estimator as they are.
    """
    y = plan.rows.y
    if plan.contract.task != "regression" or maker is plan.own:
        return y, 0.0, 1.0
    centre, spread = float(y[train].mean()), float(y[train].std())
    if not np.isfinite(spread) or spread == 0:
        raise DataError(
            f"target {plan.contract.target.name}: its values are all the same, or too large to "
            "compute with"
        )
    return (y - centre) / spread, centre, spread


def _fewest(contract: Contract, y: Vector) -> int:
    """Rows of the rarest class, or all if there are no classes."""
    if contract.task == "regression":
        return len(y)
    counts = np.bincount(y.astype(np.intp), minlength=len(contract.classes) or 2)
    return int(counts.min())


def _recalibrated(plan: Plan, champion: Bundle) -> Candidate:
    began = time.perf_counter()

    fitted = Fitted(
        scorer=champion.scorer,
        link=champion.link,
        answers=champion.scores,
        parameters={"family": champion.manifest.family},
    )
    named = _Named(family=RECALIBRATION, span="the champion", rows=0, fidelity=0.0, began=began)
    return _candidate(plan, named, fitted)


def _candidate(plan: Plan, named: _Named, fitted: Fitted) -> Candidate:
    y = plan.rows.y[plan.split.validation]
    raw = fitted.scorer.margins(plan.rows.X[plan.split.validation])
    task = plan.contract.task
    calibration = calibrate(task, fitted.link, raw, y)
    found = performance(task, y, calibration.scores, 0.5 if task == "binary" else None)
    return Candidate(
        family=named.family,
        span=named.span,
        rows=named.rows,
        fitted=fitted,
        calibration=calibration,
        metrics={key: value.value for key, value in found.items() if value.defined},
        fidelity=named.fidelity,
        seconds=time.perf_counter() - named.began,
    )


def _thinned(train: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many rows, evenly taken, so that every stretch of time is in."""
    if len(train) <= most:
        return train
    return train[np.linspace(0, len(train) - 1, most).astype(np.intp)]
