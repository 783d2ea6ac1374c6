"""The gates every version passes by default."""

from __future__ import annotations

from collections.abc import Sequence

from gyroscope.findings import Finding, Kind, Verdict
from gyroscope.stats.calibration_error import calibration_error
from gyroscope.stats.paired import paired_log_loss
from gyroscope.validate.base import Evaluation, Gate

_SUBJECT = "version"


class EnoughRows:
    """The test rows are enough for the other gates to mean something."""

    name = "enough_rows"

    def __init__(self, *, rows: int = 100, rarer: int = 10) -> None:
        """``rows`` in all and ``rarer`` of the rarer class, at least."""
        self._rows, self._rarer = rows, rarer

    def check(self, evaluation: Evaluation) -> Finding:
        n, positives = len(evaluation.y), int(evaluation.y.sum())
        rarer = min(positives, n - positives)
        passed = n >= self._rows and rarer >= self._rarer
        return Finding(
            kind=Kind.GATE,
            check=self.name,
            subject=_SUBJECT,
            verdict=Verdict.OK if passed else Verdict.ALARM,
            detail=f"{n:,} test rows, {rarer:,} of the rarer class; needed are {self._rows} and "
            f"{self._rarer}.",
            n=n,
            value=float(n),
            threshold=float(self._rows),
        )


class BetterThanBaseRate:
    """The log-loss is surely lower than that of knowing only how frequent positives are."""

    name = "better_than_base_rate"

    def check(self, evaluation: Evaluation) -> Finding:
        found = paired_log_loss(evaluation.y, evaluation.p_base_rate, evaluation.p)
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
        found = calibration_error(evaluation.y, evaluation.p)
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


def default_gates() -> tuple[Gate, ...]:
    """The gates of a model that asks for no others."""
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
        detail=f"{n} test rows do not determine it.",
        n=n,
    )
