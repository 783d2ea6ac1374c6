"""Challenger against champion on the same labelled rows, judged as often as one likes."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Task
from gyroscope.data.performance import losses_in_nats
from gyroscope.data.remarks import counted
from gyroscope.decisions import Trial, TrialOutcome, TrialVerdict
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.stats.auc import PairedAuc, paired_auc
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.class_metrics import chosen_class
from gyroscope.stats.e_values import betting_log_e, e_value
from gyroscope.stats.losses import SCORE_FLOOR
from gyroscope.stats.mcnemar import McNemar, mcnemar_of_decisions
from gyroscope.stats.paired import PairedLogLoss, paired_loss

_LOOK_ALPHA = 0.05  # of the one-sided tests that must agree: log-loss better, AUC not worse
_LARGEST_GAIN = math.log(1 / SCORE_FLOOR - 1)  # nats; no row can gain or lose more
_RARER_ROWS = 2  # of the rarer class; without them nothing is known of the order of scores
_FEWEST_WINDOWS = 2  # one window says nothing about how much windows differ
_LARGEST_SHOWN = 1e6  # an e-value beyond this is only said to be beyond it


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate has to prove."""

    alpha: float  # chance that one which is not better passes, over all looks together
    minimum_improvement: float  # nats of log-loss that must be surpassed
    min_rows: int  # labelled rows before anything is said


class Rows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The labelled rows of a trial so far, in order of time, scored by both versions."""

    y: FloatArray  # float64[n] in {0, 1}, or classes from 0 on, or numbers
    incumbent: FloatArray  # scores, float64[n] or float64[n, classes]
    candidate: FloatArray  # scores
    batch: NDArray[np.int64]  # int64[n], the window of each row
    incumbent_threshold: float | None  # from which score a row is decided to be positive; binary
    candidate_threshold: float | None
    task: Task = "binary"
    rmse: float | None = None  # of the incumbent when it was new; of models of values

    @property
    def few_of_a_class(self) -> bool:
        """Whether nothing can be said of the order of scores, which only two classes need."""
        if self.task != "binary":
            return False
        positives = int(self.y.sum())
        return min(positives, len(self.y) - positives) < _RARER_ROWS

    def gains(self) -> FloatArray:
        """What the candidate gains on each row in nats, float64[n]; see ``losses_in_nats``."""
        old, new = (losses_in_nats(self.task, self.y, p, self.rmse) for p in self._scores)
        return np.clip(old - new, -_LARGEST_GAIN, _LARGEST_GAIN)

    def decisions(self) -> McNemar | None:
        """Which of the two decides more rows rightly; None of values, which decide nothing."""
        if self.task == "regression":
            return None
        if self.task == "multiclass":
            right = [chosen_class(self.y, p)[0] for p in self._scores]
            return mcnemar_of_decisions(np.ones(len(self.y)), *right)
        assert self.incumbent_threshold is not None
        assert self.candidate_threshold is not None
        return mcnemar_of_decisions(
            self.y,
            self.incumbent >= self.incumbent_threshold,
            self.candidate >= self.candidate_threshold,
        )

    @property
    def _scores(self) -> tuple[FloatArray, FloatArray]:
        return self.incumbent, self.candidate


class _Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The three comparisons of the two versions, and what the findings on them share."""

    loss: PairedLogLoss
    auc: PairedAuc | None
    decisions: McNemar | None
    subject: str
    kind: Kind
    window: Window


def judge_trial(
    trial: Trial,
    rows: Rows,
    rules: Rules,
    *,
    kind: Kind,
    now: datetime,
    window: Window,
) -> TrialOutcome:
    """Whether the candidate has proved itself better, or that it is not.

    The e-value for "the mean improvement of the log-loss is above the minimum" stays valid however
    often one looks (:func:`~gyroscope.stats.e_values.betting_log_e`). It must pass 1 / alpha, the
    paired test of the log-loss must agree at 5 %, and the AUC must not be worse at 5 %. Rows of a
    window may depend on each other: the design effect weakens the e-value, and the paired test
    takes the larger of the errors of rows and of windows. So two equal models are exchanged in at
    most about ``alpha`` of all trials.

    A trial takes two windows at least, because one says nothing about how much windows differ; a
    probation can end in a rollback after the first, because waiting would cost more.

    Args:
        trial: as it stood.
        rows: all labelled rows from its start on, not only the new ones: a label that came late or
            was corrected counts as it stands now.
        rules: what has to be proved.
        kind: ``trial`` or ``probation``.
        now: in the clock of the loop.
        window: what has been looked at.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    n = len(rows.y)
    if n < rules.min_rows or rows.few_of_a_class:
        return _undecided(trial, rows, rules, kind=kind, now=now, window=window)
    compared = _compare(trial, rows, rules, kind, window)
    judged = msgspec.structs.replace(
        trial,
        n=n,
        windows=len(np.unique(rows.batch)),
        **_evidence(rows, rules, compared.loss.design_effect),
    )
    return TrialOutcome(
        trial=judged,
        verdict=_verdict(judged, compared, rules, now),
        reason=_reason(judged, compared),
        findings=_findings(judged, compared, rules),
    )


def _undecided(
    trial: Trial, rows: Rows, rules: Rules, *, kind: Kind, now: datetime, window: Window
) -> TrialOutcome:
    """The outcome while there are too few rows to say anything."""
    n, binary = len(rows.y), rows.task == "binary"
    positives = f", {int(rows.y.sum()):,} of them positive" if binary else ""
    of_each = f" with {_RARER_ROWS} of each class" if binary else ""
    reason = (
        f"{counted(n, 'labelled row')} so far{positives}; needed are {rules.min_rows:,}{of_each}"
    )
    finding = Finding(
        kind=kind,
        check="paired_log_loss",
        subject=_subject(trial),
        verdict=Verdict.NOT_ENOUGH_DATA,
        detail=f"{reason}.",
        window=window,
        n=n,
        n_needed=max(rules.min_rows, 2 * n) if n >= rules.min_rows else rules.min_rows,
    )
    expired = now >= trial.until
    return TrialOutcome(
        trial=msgspec.structs.replace(trial, n=n),
        verdict=TrialVerdict.EXPIRED if expired else TrialVerdict.CONTINUE,
        reason=reason,
        findings=(finding,),
    )


def _compare(trial: Trial, rows: Rows, rules: Rules, kind: Kind, window: Window) -> _Compared:
    loss = paired_loss(
        rows.gains(), clusters=rows.batch, minimum_improvement=rules.minimum_improvement
    )
    assert loss is not None  # there are rows
    return _Compared(
        loss=loss,
        auc=paired_auc(rows.y, rows.incumbent, rows.candidate) if rows.task == "binary" else None,
        decisions=rows.decisions(),
        subject=_subject(trial),
        kind=kind,
        window=window,
    )


def _evidence(rows: Rows, rules: Rules, design_effect: float) -> dict[str, float]:
    """The e-values for and against the candidate, as logarithms."""
    gains = rows.gains()
    least = rules.minimum_improvement
    return {
        "log_e": betting_log_e(
            gains, null_mean=least, lowest=-_LARGEST_GAIN, design_effect=design_effect
        ),
        "log_e_adverse": betting_log_e(
            -gains, null_mean=-least, lowest=-_LARGEST_GAIN, design_effect=design_effect
        ),
    }


def _verdict(trial: Trial, found: _Compared, rules: Rules, now: datetime) -> TrialVerdict:
    needed = math.log(1 / rules.alpha)
    enough = trial.windows >= _FEWEST_WINDOWS
    better = trial.log_e >= needed and found.loss.p_value < _LOOK_ALPHA and _auc_holds(found)
    if better and (enough or found.kind is Kind.PROBATION):
        return TrialVerdict.BETTER
    if enough and trial.log_e_adverse >= needed and found.loss.p_value > 1 - _LOOK_ALPHA:
        return TrialVerdict.NOT_BETTER
    return TrialVerdict.EXPIRED if now >= trial.until else TrialVerdict.CONTINUE


def _auc_holds(found: _Compared) -> bool:
    return found.auc is None or found.auc.p_worse > _LOOK_ALPHA


def _subject(trial: Trial) -> str:
    return f"version {trial.candidate} against {trial.incumbent}"


def _reason(trial: Trial, found: _Compared) -> str:
    loss = found.loss
    evidence = e_value(trial.log_e)
    ranks = (
        f", ROC AUC {found.auc.second:.3f} against {found.auc.first:.3f}"
        if found.auc is not None
        else ""
    )
    return (
        f"{found.subject} on {counted(loss.n, 'labelled row')} of "
        f"{counted(trial.windows, 'window')}: log-loss lower "
        f"by {loss.improvement:.4f} nats (95 % interval {loss.interval.low:.4f} to "
        f"{loss.interval.high:.4f}), evidence "
        f"{min(evidence, _LARGEST_SHOWN):,.{0 if evidence >= 10 else 2}f}"
        f"{' or more' if evidence > _LARGEST_SHOWN else ''} to 1{ranks}"
    )


def _findings(trial: Trial, found: _Compared, rules: Rules) -> tuple[Finding, ...]:
    findings = [_log_loss_finding(trial, found, rules)]
    if found.decisions is not None:
        findings.append(_mcnemar_finding(trial, found, found.decisions))
    if found.auc is not None:
        findings.append(_auc_finding(found, found.auc))
    return tuple(findings)


def _log_loss_finding(trial: Trial, found: _Compared, rules: Rules) -> Finding:
    loss = found.loss
    return Finding(
        kind=found.kind,
        check="paired_log_loss",
        subject=found.subject,
        verdict=Verdict.NOTICE if loss.p_value < _LOOK_ALPHA else Verdict.OK,
        detail=f"The log-loss of version {trial.candidate} is lower by {loss.improvement:+.4f} "
        f"nats (95 % interval {loss.interval.low:+.4f} to {loss.interval.high:+.4f}; design effect "
        f"{loss.design_effect:.1f}).",
        window=found.window,
        n=loss.n,
        value=loss.improvement,
        interval=loss.interval,
        p_value=loss.p_value,
        e_value=e_value(trial.log_e),
        threshold=1 / rules.alpha,
    )


def _mcnemar_finding(trial: Trial, found: _Compared, counts: McNemar) -> Finding:
    return Finding(
        kind=found.kind,
        check="mcnemar",
        subject=found.subject,
        verdict=Verdict.OK,
        detail=f"{counted(counts.only_second_right, 'row')} only version {trial.candidate} decides "
        f"rightly, {counts.only_first_right:,} only version {trial.incumbent} "
        f"(mid-p {counts.mid_p:.3g}).",
        window=found.window,
        n=found.loss.n,
        value=float(counts.only_second_right - counts.only_first_right),
        p_value=counts.mid_p,
    )


def _auc_finding(found: _Compared, auc: PairedAuc) -> Finding:
    return Finding(
        kind=found.kind,
        check="roc_auc",
        subject=found.subject,
        verdict=Verdict.OK if _auc_holds(found) else Verdict.NOTICE,
        detail=f"ROC AUC {auc.second:.4f} against {auc.first:.4f}, a difference of "
        f"{auc.interval.low:+.4f} to {auc.interval.high:+.4f}.",
        window=found.window,
        n=found.loss.n,
        value=auc.difference,
        interval=auc.interval,
        p_value=auc.p_worse,
        threshold=_LOOK_ALPHA,
    )
