"""What drift costs: the change of the user's metric that comes with it, if all else stays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from gyroscope.bundle.reference import Reference
from gyroscope.data.outcomes import beyond, coarse_counts
from gyroscope.data.profile import Profile
from gyroscope.findings import SEVERITY, Finding, Interval, Kind, Verdict
from gyroscope.monitor.support import not_estimable, unsupported_share
from gyroscope.monitor.wording import percent
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.metrics import LOWER_IS_BETTER
from gyroscope.stats.reweighting import DriftPrice, drift_price, loss_price, macro_auc_price

_UNSUPPORTED = 0.05  # share of rows of which the reference says nothing, to call nothing harmless
_MOST_SUSPECTS = 5


def priced(
    findings: Sequence[Finding],
    reference: Reference,
    current: Profile,
    expected: Finding | None,
    *,
    metric: str,
    harmless: float,
) -> list[Finding]:
    """The findings with the cost of each drift, its suspects, and harmless drift as a notice.

    The price of a column is that of its changed mix (``stats.reweighting``). The price of drifting
    scores, and of columns that go together differently, is what the metric estimated for the window
    (CBPE) lies off its value on the reference; their suspects are the columns that drifted, the
    dearest first. A warning whose cost is surely below ``harmless`` is a notice. Where the window
    is like hardly any row that had a label, it says that the price is not estimable. Concept drift
    has no price here: only labels show it.

    Args:
        findings: of drift.
        reference: of the model.
        current: profile of the window.
        expected: the finding of the metric estimated for the window, if there is one.
        metric: the name of the user's metric.
        harmless: worsening of the metric below which drift is no warning.
    """
    columns = {spec.name: j for j, spec in enumerate(current.spec.columns)}
    done = []
    for finding in findings:
        if finding.kind is Kind.COLUMN_DRIFT and _drifted(finding):
            price = _column_price(reference, current, columns[finding.subject])
            done.append(_with_price(finding, price, metric, harmless) if price else finding)
        else:
            done.append(finding)
    suspects = _suspects(done)
    overall = _overall(expected, reference.metrics.get(metric), metric)
    return [
        _with_overall(finding, overall, suspects, metric, harmless)
        if finding.kind in (Kind.SCORE_DRIFT, Kind.JOINT_DRIFT) and _drifted(finding)
        else finding
        for finding in done
    ]


def _drifted(finding: Finding) -> bool:
    return finding.verdict in (Verdict.NOTICE, Verdict.WARNING)


def _column_price(reference: Reference, current: Profile, j: int) -> DriftPrice | None:
    """The price of one column; values beyond all of the reference are like no labelled row."""
    spec = current.spec.columns[j]
    outside = beyond(current.columns[j], spec)
    then = coarse_counts(reference.columns.columns[j], spec)
    now = coarse_counts(current.columns[j], spec)
    if reference.outcomes is not None:
        outcomes = reference.outcomes
        price = drift_price(
            outcomes.tables[j],
            outcomes.mean_scores,
            then,
            now - outside,
            threshold_bin=outcomes.threshold_bin,
        )
    elif reference.losses is not None:
        losses = reference.losses
        price = loss_price(losses.columns[j], losses.metrics, then, now - outside)
        if losses.ranks:
            auc = macro_auc_price(losses.ranks[j], then, now - outside)
            price = msgspec.structs.replace(price, costs={**price.costs, "roc_auc": auc})
    else:
        return None
    unsupported = unsupported_share(price.unsupported, int(outside.sum()), int(now.sum()))
    return msgspec.structs.replace(price, unsupported=unsupported)


def _with_price(finding: Finding, price: DriftPrice, metric: str, harmless: float) -> Finding:
    why = not_estimable(price.unsupported, price.effective_rows)
    if why is not None:
        detail = f"{finding.detail} Its price is not estimable: {why}."
        return msgspec.structs.replace(finding, detail=detail)
    cost = price.costs.get(metric)
    if cost is None or not cost.defined:
        return finding
    known = price.unsupported <= _UNSUPPORTED
    unknown = f" {percent(price.unsupported)} of the rows are like none that had a label."
    return _with_cost(
        finding,
        cost.value,
        cost.interval,
        f"Its price: {_worse(metric, cost.value, cost.interval)}.{'' if known else unknown}",
        harmless=harmless if known else -math.inf,
    )


def _with_overall(
    finding: Finding,
    overall: Estimate | None,
    suspects: tuple[str, ...],
    metric: str,
    harmless: float,
) -> Finding:
    among = f" Suspects: {', '.join(suspects)}." if suspects else ""
    if overall is None:
        return msgspec.structs.replace(
            finding, suspects=suspects, detail=f"{finding.detail}{among}"
        )
    said = f"By the scores: {_worse(metric, overall.value, overall.interval)}.{among}"
    found = _with_cost(finding, overall.value, overall.interval, said, harmless=harmless)
    return msgspec.structs.replace(found, suspects=suspects)


def _with_cost(
    finding: Finding, cost: float, interval: Interval, said: str, *, harmless: float
) -> Finding:
    free = finding.verdict is Verdict.WARNING and interval.high < harmless
    return msgspec.structs.replace(
        finding,
        verdict=Verdict.NOTICE if free else finding.verdict,
        detail=f"{finding.detail} {said}{' Harmless as far as can be seen.' if free else ''}",
        cost=cost,
        cost_interval=interval,
    )


def _overall(expected: Finding | None, at_birth: Estimate | None, metric: str) -> Estimate | None:
    """What the metric estimated for the window is worse than on the reference."""
    if expected is None or at_birth is None or expected.value is None or expected.interval is None:
        return None
    sign = 1 if metric in LOWER_IS_BETTER else -1
    cost = sign * (expected.value - at_birth.value)
    half = math.hypot(expected.interval.high - expected.interval.low, _width(at_birth)) / 2
    return Estimate(
        value=cost, standard_error=half, interval=Interval(cost - half, cost + half), n=expected.n
    )


def _width(estimate: Estimate) -> float:
    return estimate.interval.high - estimate.interval.low


def _suspects(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Columns that drifted: the worst verdict first, then the dearest."""
    drifted = [f for f in findings if f.kind is Kind.COLUMN_DRIFT and _drifted(f)]
    drifted.sort(key=lambda f: (-SEVERITY.index(f.verdict), -(f.cost or 0.0)))
    return tuple(dict.fromkeys(f.subject for f in drifted))[:_MOST_SUSPECTS]


def _worse(metric: str, cost: float, interval: Interval) -> str:
    name = metric.replace("_", "-") if metric == "log_loss" else metric.replace("_", " ")
    digits = ".3g" if metric in ("rmse", "mae") else ".4f"  # those are in the unit of the target
    return (
        f"{name} {'worse' if cost > 0 else 'better'} by {abs(cost):{digits}} at this mix "
        f"(95 % interval {interval.low:+{digits}} to {interval.high:+{digits}})"
    )
