"""The gates every version passes by default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gyroscope.data.contract import Task
from gyroscope.data.performance import losses, promises
from gyroscope.data.remarks import counted
from gyroscope.findings import Finding, Kind, Verdict
from gyroscope.stats.calibration_error import calibration_error
from gyroscope.stats.paired import paired_loss
from gyroscope.validate.base import Evaluation, Gate

_SUBJECT = "version"


class EnoughRows:
    """The test rows are enough for the other gates to mean something."""

    name = "enough_rows"

    def __init__(self, *, rows: int = 100, rarer: int = 10) -> None:
        """``rows`` in all and ``rarer`` of the rarer class, at least."""
        self._rows, self._rarer = rows, rarer

    def check(self, evaluation: Evaluation) -> Finding:
        n = len(evaluation.y)
        tested = counted(n, "test row")
        passed, detail = n >= self._rows, f"{tested}; needed are {self._rows}."
        if evaluation.task != "regression":
            rarer, of_what = _rarer(evaluation)
            passed = passed and rarer >= self._rarer
            detail = f"{tested}, {rarer:,} of {of_what}; needed are {self._rows} and {self._rarer}."
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.OK if passed else Verdict.ALARM,
            detail=detail,
            n=n,
            value=float(n),
            threshold=float(self._rows),
        )


def _rarer(evaluation: Evaluation) -> tuple[int, str]:
    """The rows of the rarer of two classes; of several, where some may be rare, all but those of
    the most frequent one."""
    held = np.bincount(evaluation.y.astype(np.intp), minlength=2)
    if evaluation.task == "binary":
        return int(held.min()), "the rarer class"
    return int(held.sum() - held.max()), "all classes but the most frequent"


class BetterThanBaseRate:
    """The loss is surely lower than that of knowing nothing of a row: only how frequent classes
    are, or the mean."""

    name = "better_than_base_rate"

    def check(self, evaluation: Evaluation) -> Finding:
        if evaluation.task == "regression":
            return self._explains(evaluation)
        task, y = evaluation.task, evaluation.y
        found = paired_loss(losses(task, y, evaluation.p_base_rate) - losses(task, y, evaluation.p))
        if found is None:
            return _too_few(self.name, len(evaluation.y))
        passed = found.interval.low > 0
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.OK if passed else Verdict.ALARM,
            detail=f"The log-loss is {found.improvement:.4f} nats lower than the base rate's "
            f"(95 % interval {found.interval.low:.4f} to {found.interval.high:.4f}); the interval "
            "must lie above 0.",
            n=found.n,
            value=found.improvement,
            interval=found.interval,
            threshold=0.0,
        )

    def _explains(self, evaluation: Evaluation) -> Finding:
        r2 = evaluation.metrics["r2"]
        if not r2.defined:
            return _too_few(self.name, len(evaluation.y))
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.OK if r2.interval.low > 0 else Verdict.ALARM,
            detail=f"Of the variance {r2.value:.4f} is explained (95 % interval "
            f"{r2.interval.low:.4f} to {r2.interval.high:.4f}); the interval must lie above 0.",
            n=r2.n,
            value=r2.value,
            interval=r2.interval,
            threshold=0.0,
        )


class RanksBetterThanChance:
    """The ROC AUC surely lies above a limit."""

    name = "roc_auc"

    def __init__(self, *, limit: float = 0.5) -> None:
        """``limit`` in [0.5, 1)."""
        self._limit = limit

    def check(self, evaluation: Evaluation) -> Finding:
        auc = evaluation.metrics["roc_auc"]
        if not auc.defined:
            return _too_few(self.name, len(evaluation.y))
        passed = auc.interval.low > self._limit
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.OK if passed else Verdict.ALARM,
            detail=f"ROC AUC {auc.value:.4f} (95 % interval {auc.interval.low:.4f} to "
            f"{auc.interval.high:.4f}); the interval must lie above {self._limit}.",
            n=auc.n,
            value=auc.value,
            interval=auc.interval,
            threshold=self._limit,
        )


class Calibrated:
    """Probabilities are about right: a surely large calibration error is a warning."""

    name = "calibration_error"

    def __init__(self, *, limit: float = 0.05) -> None:
        """``limit`` of the expected calibration error, in probability."""
        self._limit = limit

    def check(self, evaluation: Evaluation) -> Finding:
        found = calibration_error(*promises(evaluation.task, evaluation.y, evaluation.p, None))
        if not found.error.defined:
            return _too_few(self.name, len(evaluation.y))
        excess = found.error.value - found.expected
        doubtful = excess > self._limit and found.p_value < 0.05
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.WARNING if doubtful else Verdict.OK,
            detail=f"Probabilities are off by {found.error.value:.3f} on average, of which "
            f"{found.expected:.3f} is chance; up to {self._limit} more is fine.",
            n=len(evaluation.y),
            value=found.error.value,
            interval=found.error.interval,
            p_value=found.p_value,
            threshold=self._limit,
        )


def default_gates(task: Task = "binary") -> tuple[Gate, ...]:
    """The gates of a model that asks for no others; values have no order and no calibration."""
    if task == "regression":
        return (EnoughRows(), BetterThanBaseRate())
    return (EnoughRows(), BetterThanBaseRate(), RanksBetterThanChance(), Calibrated())


def run_gates(evaluation: Evaluation, gates: Sequence[Gate]) -> list[Finding]:
    """The finding of every gate, in their order; a version has passed if none is an alarm."""
    return [gate.check(evaluation) for gate in gates]


def _too_few(name: str, n: int) -> Finding:
    return Finding(
        kind=Kind.GATE,
        check=name,
        subject=_SUBJECT,
        verdict=Verdict.ALARM,
        detail=f"{counted(n, 'test row')} cannot determine it.",
        n=n,
    )
