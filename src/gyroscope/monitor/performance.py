"""Performance of the champion: realised once labels are in, estimated before.

What alarms is one detector over all windows, fed with the evidence that labels bring against the
promise of the scores. Metrics of single windows are for people to look at; they alarm nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gyroscope.data.cells import ColumnSpec, ProfileSpec
from gyroscope.data.contract import Task
from gyroscope.data.outcomes import Losses, beyond
from gyroscope.data.performance import performance, promises
from gyroscope.data.profile import profile
from gyroscope.decisions import Detector
from gyroscope.errors import UsageError
from gyroscope.findings import Finding, Interval, Kind, Verdict, Window
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.support import not_estimable
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.calibration_map import CalibrationMap, Support
from gyroscope.stats.cbpe import expected_metrics, expected_performance
from gyroscope.stats.class_cbpe import expected_class_metrics
from gyroscope.stats.e_detector import (
    alarm_limit,
    log_boosts,
    mixed_log_e,
    next_cusum,
    next_shiryaev_roberts,
    parts_of,
    starts_afresh,
)
from gyroscope.stats.e_values import e_value, log_mean_exp
from gyroscope.stats.excess_loss import (
    SHIFT_TILTS,
    ExcessReference,
    excess_evidence,
    excess_loss,
)
from gyroscope.stats.intervals import Estimate, normal_quantile
from gyroscope.stats.metrics import LOWER_IS_BETTER
from gyroscope.stats.random_effects import RandomEffects
from gyroscope.stats.ranking import ranking_evidence
from gyroscope.stats.reweighting import expected_losses

SHOWN = (
    *("roc_auc", "log_loss", "accuracy", "precision", "recall", "f1", "brier"),
    *("rmse", "mae", "r2"),
)
EXCESS = "excess_loss"  # the check that feeds the detector
DETECTOR = "detector"  # the check that raises the alarm
_KEPT = {  # what the detector counts
    "binary": "positives",
    "multiclass": "right",
    "regression": "no farther off than four of five predictions were when the model was new",
}
_LOST = {
    "multiclass": "the class chosen is no longer right as often as its probability says",
    "regression": "large errors are more frequent than when the model was new",
}
_UNSUPPORTED = 0.05  # share of rows in regions of scores that the reference hardly knows
_LARGEST_LOG = 50.0  # evidence beyond e^50 is not worth telling apart


def realised_performance(
    y: FloatArray,
    p: FloatArray,
    threshold: float | None,
    window: Window,
    *,
    task: Task = "binary",
    usual_error: float | None = None,
    reference: Mapping[str, Estimate],
    excess: ExcessReference,
    ranking: RandomEffects | None,
    min_rows: int,
) -> list[Finding]:
    """The metrics of a window with labels, and its evidence for a loss of performance.

    The metrics are on record for people: a window that is surely worse than the reference is a
    notice, because windows differ. What alarms is the detector, fed by the finding
    ``excess_loss``, which is valid and made however few rows there are: many small windows are
    evidence together.

    Args:
        y: labels[n] in {0, 1}, or classes from 0 on, or numbers.
        p: scores as served: scores[n], or scores[n, classes].
        threshold: from which score a row was decided to be positive; binary only.
        window: the window.
        task: of the contract. Of other tasks than binary the detector is fed with what
            :func:`gyroscope.data.performance.promises` says came of the predictions.
        usual_error: of a model of values.
        reference: the metrics on the test rows of the training.
        excess: how the excess loss varied there from window to window.
        ranking: how the shortfall of the ROC AUC varied there; None if it could not be told.
        min_rows: labelled rows below which the metrics are "not enough data".

    Raises:
        DataError: labels or scores that cannot be used.
    """
    n = len(y)
    kept, chance = promises(task, y, p, usual_error)
    evidence = _excess(kept, chance, excess, ranking, window, task=task, min_rows=min_rows)
    one_class = task == "binary" and y.sum() in (0, n)
    if n < min_rows or one_class:
        needed = min_rows if n < min_rows else _rows_for_both_classes(n)
        few = too_few(Kind.PERFORMANCE, "metrics", "performance", window, n=n, needed=needed)
        return [few, *evidence]
    found = performance(task, y, p, threshold)
    findings = [
        _metric(Kind.PERFORMANCE, name, found[name], reference.get(name), window)
        for name in SHOWN
        if name in found and found[name].defined
    ]
    return [*findings, *evidence]


def _rows_for_both_classes(n: int) -> int:
    """Rows among which a class that n rows lacked would very likely turn up.

    If none of n rows is of a class, its share is below 3 / n with 95 % confidence (the rule of
    three); of a class not much rarer than that, twice as many rows hold one just as surely.
    """
    return 2 * n


def estimated_performance(
    p: FloatArray,
    threshold: float | None,
    window: Window | None,
    *,
    task: Task = "binary",
    reference: Mapping[str, Estimate],
    calibration: CalibrationMap | None,
    losses: Losses | None = None,
    score: ColumnSpec | None = None,
    min_rows: int,
) -> list[Finding]:
    """What the scores of a window promise while the world stays as it was (CBPE).

    A changed relation of features and label is invisible here; only labels show it. That much of
    the window scores where the reference has few rows is a finding of its own.

    Args:
        p: scores as served: scores[n], or scores[n, classes].
        threshold: from which score a row was decided to be positive; binary only.
        window: the window.
        task: of the contract. A number does not say how far off it is: its error is estimated as
            that of the test rows with such a prediction.
        reference: the metrics on the test rows of the training.
        calibration: from scores to chances, by those test rows, of several classes from the highest
            score to the chance that it is right; None takes the scores as chances.
        losses: of the test rows; of regressions only.
        score: the cells of the prediction; likewise.
        min_rows: rows below which the answer is "not enough data".

    Raises:
        DataError: scores that cannot be used.
    """
    kind = Kind.ESTIMATED_PERFORMANCE
    if len(p) < min_rows:
        return [too_few(kind, "metrics", "performance", window, n=len(p), needed=min_rows)]
    unsupported: list[Finding] = []
    if task == "regression":
        return _expected_errors(p, losses, score, reference, window)
    if task == "multiclass":
        found = expected_class_metrics(p, calibration)
    elif calibration is None:
        found = expected_metrics(p, _known(threshold))
    else:
        expected = expected_performance(p, _known(threshold), calibration)
        found, unsupported = expected.metrics, _unsupported(expected.support, len(p), window)
    return unsupported + [
        _metric(kind, name, estimate, reference.get(name), window)
        for name, estimate in found.items()
        if estimate.defined
    ]


def _known(threshold: float | None) -> float:
    assert threshold is not None  # binary models have one
    return threshold


def _expected_errors(
    p: FloatArray,
    losses: Losses | None,
    score: ColumnSpec | None,
    reference: Mapping[str, Estimate],
    window: Window | None,
) -> list[Finding]:
    """The errors to expect of numbers predicted, by those of the test rows with such numbers."""
    n = len(p)
    if losses is None or losses.score is None or score is None:
        why = "the version keeps no errors of its test rows, as those trained from now on do"
        return [_not_estimated(why, n, window)]
    (counted,) = profile(p[:, None], ProfileSpec(columns=(score,))).columns
    found = expected_losses(losses.score, losses.metrics, counted.counts)
    why_not = not_estimable(found.unsupported, found.effective_rows)
    if why_not is not None:
        return [_not_estimated(why_not, n, window)]
    outside = float(beyond(counted, score).sum()) / n
    return [
        *_unsupported(Support(outside=outside, thin=found.unsupported), n, window),
        *(
            _metric(Kind.ESTIMATED_PERFORMANCE, name, estimate, reference.get(name), window)
            for name, estimate in found.metrics.items()
        ),
    ]


def _not_estimated(why: str, n: int, window: Window | None) -> Finding:
    return Finding(
        kind=Kind.ESTIMATED_PERFORMANCE,
        check="metrics",
        subject="performance",
        verdict=Verdict.NOT_ENOUGH_DATA,
        detail=f"Not estimable before labels: {why}.",
        window=window,
        n=n,
    )


def _unsupported(support: Support, n: int, window: Window | None) -> list[Finding]:
    if support.thin <= _UNSUPPORTED:
        return []
    return [
        Finding(
            kind=Kind.ESTIMATED_PERFORMANCE,
            check="support",
            subject="performance",
            verdict=Verdict.NOTICE,
            detail=f"{100 * support.thin:.3g} % of the rows score where the reference has few or "
            f"none ({100 * support.outside:.3g} % outside its range): the estimates rest on little "
            "there.",
            window=window,
            n=n,
            value=support.thin,
            threshold=_UNSUPPORTED,
        )
    ]


def _metric(
    kind: Kind, name: str, found: Estimate, reference: Estimate | None, window: Window | None
) -> Finding:
    low, high = found.interval.low, found.interval.high
    worse, said = False, ""
    if reference is not None:
        lower_is_better = name in LOWER_IS_BETTER
        at_birth = reference.interval
        worse = low > at_birth.high if lower_is_better else high < at_birth.low
        said = f", {reference.value:.4f} when the model was new"
    numbers = f"{name} {found.value:.4f} (95 % interval {low:.4f} to {high:.4f}){said}"
    detail = (
        f"{numbers}."
        if kind is Kind.PERFORMANCE
        else f"Expected from the scores alone: {numbers}; a changed relation of features and label "
        "would not show here."
    )
    return Finding(
        kind=kind,
        check=name,
        subject="performance",
        verdict=Verdict.NOTICE if worse else Verdict.OK,
        detail=detail,
        window=window,
        n=found.n,
        value=found.value,
        interval=found.interval,
    )


def _excess(
    y: FloatArray,
    p: FloatArray,
    reference: ExcessReference,
    ranking: RandomEffects | None,
    window: Window,
    *,
    task: Task,
    min_rows: int,
) -> list[Finding]:
    """The evidence of a window for the detector, of loss and of rank; none without rows.

    That a model of values errs less than it used to is no loss, and no evidence.
    """
    found = excess_loss(y, p)
    if found is None:
        return []
    evidence = excess_evidence(y, p, reference)
    log_es, tilts = evidence.log_es, evidence.tilts
    if task == "regression":  # fewer errors as small as usual
        log_es, tilts = log_es[-len(SHIFT_TILTS) :], tilts[-len(SHIFT_TILTS) :]
    if ranking is not None:
        of_ranks = ranking_evidence(y, p, ranking, reference)
        log_es, tilts = log_es + of_ranks.log_es, tilts + of_ranks.tilts
    excess = found.excess - reference.excess.mean
    between = math.sqrt(reference.excess.between)
    half = normal_quantile(0.975) * math.hypot(found.excess_error, between)
    enough = found.n >= min_rows
    return [
        Finding(
            kind=Kind.PERFORMANCE,
            check=EXCESS,
            subject="performance",
            verdict=Verdict.OK if enough else Verdict.NOT_ENOUGH_DATA,
            detail=f"Loss beyond what the scores promised: {excess:+.4f} nats a prediction "
            f"(from window to window it varies by {between:.4f}); {y.sum():,.0f} {_KEPT[task]}, "
            f"{p.sum():,.0f} promised.",
            window=window,
            n=found.n,
            n_needed=None if enough else min_rows,
            value=excess,
            interval=Interval(excess - half, excess + half),
            e_value=e_value(log_mean_exp(log_es)),
            log_es=log_es,
            tilts=tilts,
        )
    ]


def update_detector(
    detector: Detector, excess: Finding, window: Window, *, run_length: float
) -> Detector:
    """Carry the e-detector on by the ``excess_loss`` finding of a window.

    The detector is the mean, over the kinds of change that the finding has e-values for, of sums
    over all windows at which such a change may have begun, of the e-values since: without a change
    it takes at least ``run_length`` windows on average to reach that number, for which they are
    raised as far as they may be (:func:`~gyroscope.stats.e_detector.log_boosts`). The change point
    is where the strongest of the sums begins, and rows and cost count from there.

    Args:
        detector: as the window before left it.
        excess: the window's finding ``excess_loss``; with "not enough data" its evidence counts,
            but the window does not count as a calm one.
        window: the window.
        run_length: what :func:`performance_alarm` will hold it against.

    Raises:
        UsageError: a finding without value, interval and e-value.
    """
    if excess.e_value is None or excess.value is None or excess.interval is None:
        raise UsageError(f"the detector is fed by findings {EXCESS!r}, got {excess.check!r}")
    log_es = excess.log_es or (math.log(excess.e_value),)
    parts = parts_of(detector.parts or (detector.log_value,), len(log_es))
    log_e = mixed_log_e(parts, log_es)
    tilts = excess.tilts or ((0.0, 0.0),) * len(log_es)
    boost = float(log_boosts(parts, tilts, run_length))
    fresh = starts_afresh(detector.log_cusum)
    before = 0 if fresh else detector.rows
    rows = before + excess.n
    old, new = before / rows, excess.n / rows
    error = (excess.interval.high - excess.value) / normal_quantile(0.975)
    return Detector(
        log_value=next_shiryaev_roberts(detector.log_value, log_e + boost),
        parts=tuple(
            next_shiryaev_roberts(part, log_e + boost)
            for part, log_e in zip(parts, log_es, strict=True)
        ),
        log_cusum=next_cusum(detector.log_cusum, log_e),
        windows=detector.windows + 1,
        calm=_calm(detector.calm, log_e, excess.verdict),
        change_point=window.start if fresh else detector.change_point,
        rows=rows,
        cost=old * detector.cost + new * excess.value,
        cost_error=math.hypot(old * detector.cost_error, new * error),
    )


def _calm(calm: int, log_e: float, verdict: Verdict) -> int:
    """Windows in a row that spoke for no change; one with few rows neither adds nor ends."""
    if log_e >= 0:
        return 0
    return calm if verdict is Verdict.NOT_ENOUGH_DATA else calm + 1


def performance_alarm(
    detector: Detector, window: Window, *, run_length: float, task: Task = "binary"
) -> Finding:
    """Hold the detector against the limit that chance reaches once in ``run_length`` windows.

    The value and threshold are natural logarithms of 1 + the detector; the cost is in nats a
    prediction over the reference, since the change point. However strong past evidence was, there
    is no alarm if the last window speaks for no change.

    Args:
        detector: brought up to date by :func:`update_detector`.
        window: the last window.
        run_length: windows to a false alarm on average: windows a year / false alarms a year.
        task: of the contract.
    """
    limit = alarm_limit(run_length)
    alarm = detector.log_value >= limit and detector.calm == 0
    half = normal_quantile(0.975) * detector.cost_error
    cost = Interval(detector.cost - half, detector.cost + half)
    evidence = math.expm1(min(detector.log_value, _LARGEST_LOG))
    return Finding(
        kind=Kind.PERFORMANCE,
        check=DETECTOR,
        subject="performance",
        verdict=Verdict.ALARM if alarm else Verdict.OK,
        detail=_price(detector, cost, run_length, task)
        if alarm
        else f"No sure change of performance (evidence {evidence:,.3g}, alarm at "
        f"{run_length:,.0f}).",
        window=window,
        n=detector.rows,
        value=detector.log_value,
        threshold=limit,
        cost=detector.cost,
        cost_interval=cost,
    )


def _price(detector: Detector, cost: Interval, run_length: float, task: Task) -> str:
    since = f"{detector.change_point:%Y-%m-%d %H:%M}" if detector.change_point else "the start"
    dear = (
        f"predictions cost {detector.cost:.4f} nats each more than they should"
        if detector.cost > 0
        else "the scores no longer say how frequent positives are"
    )
    dear = _LOST.get(task, dear)
    return (
        f"Since about {since} {dear} (excess log-loss {detector.cost:+.4f}, 95 % interval "
        f"{cost.low:+.4f} to {cost.high:+.4f}, {detector.rows:,} labelled rows); without a change "
        f"such evidence comes once in {run_length:,.0f} windows or less often."
    )
