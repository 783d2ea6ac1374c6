"""Labels of a window: has their rate changed, and do enough of them come?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gyroscope.data.remarks import counted
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.changes import ALPHA, sure_size
from gyroscope.monitor.design_effects import effective
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.wording import LARGE_PSI, percent, share_moved
from gyroscope.stats.dispersion import (
    Dispersion,
    growing_dispersions_of_shares,
    is_dependent,
)
from gyroscope.stats.psi import rows_needed
from gyroscope.stats.two_proportions import TwoProportionsResult, two_proportions

MATERIAL_COVERAGE = 0.10  # fall of the labelled share (10 points) that deserves a look


def label_drift_finding(
    reference_positives: int,
    reference_n: int,
    positives: int,
    n: int,
    window: Window | None,
    *,
    material_psi: float,
    dispersion: Sequence[Dispersion] = (),
    alpha: float = ALPHA,
    min_rows: int,
) -> Finding:
    """Whether the rate of positive labels has changed since the reference.

    The change is material if its interval lies beyond the difference that makes a population
    stability index of ``material_psi`` between the two rates: 7 points from 50 %, 4 from 10 %.

    Args:
        reference_positives: positive labels of the reference.
        reference_n: labels of the reference.
        positives: positive labels of the window.
        n: labels of the window.
        window: the window.
        material_psi: population stability index that a change must surely pass to be a warning.
        dispersion: how the rate differs between parts of the reference, allowed to windows too.
        alpha: chance of any finding in a window without change.
        min_rows: labels below which the answer is "not enough data".
    """
    if min(n, reference_n) < min_rows:
        needed = _labels_enough(reference_n, material_psi, min_rows)
        return too_few(Kind.LABEL_DRIFT, "positive_rate", "label", window, n=n, needed=needed)
    rates = _rates(
        (reference_positives, reference_n - reference_positives),
        (positives, n - positives),
        dispersion,
    )
    threshold = material_difference(rates.reference, material_psi, up=rates.value > 0)
    significant = rates.p_value <= alpha
    material = sure_size(rates.interval) > threshold
    verdict = (Verdict.WARNING if material else Verdict.NOTICE) if significant else Verdict.OK
    opening = "" if significant else "No sure change: "
    moved = share_moved("share of positive labels", rates.reference, rates.current)
    return Finding(
        kind=Kind.LABEL_DRIFT,
        check="positive_rate",
        subject="label",
        verdict=verdict,
        detail=f"{opening}{moved if opening else moved.capitalize()} "
        f"({counted(n, 'label')}, 95 % interval of the difference "
        f"{_points(rates.interval.low)} to {_points(rates.interval.high)} points).",
        window=window,
        n=n,
        value=rates.value,
        interval=rates.interval,
        p_value=rates.p_value,
        threshold=threshold,
    )


def _rates(
    reference: tuple[int, int], window: tuple[int, int], dispersion: Sequence[Dispersion]
) -> TwoProportionsResult:
    """Positives and negatives compared, as many as independent rows would say as much."""
    then, now = effective([dispersion] if is_dependent(dispersion) else [], reference, [window])
    then, now = np.rint(then), np.rint(now[0])
    return two_proportions(*(int(x) for x in (then[0], then.sum(), now[0], now.sum())))


def label_coverage_finding(
    past: Sequence[tuple[int, int]],
    labelled: int,
    n: int,
    window: Window | None,
    *,
    alpha: float = ALPHA,
    min_rows: int,
) -> Finding:
    """Whether fewer predictions than usual have their label by the time they should.

    Windows differ in this by more than chance; by how much, the past ones say.

    Args:
        past: of each past window, predictions that had a label when judged, and that had none.
        labelled: predictions of this window that have a label.
        n: predictions of this window.
        window: the window.
        alpha: chance of any finding in a window without change.
        min_rows: predictions, now and in the past, below which the answer is "not enough data".
    """
    counts = np.array(past, dtype=np.float64).reshape(-1, 2)
    usual_n = int(counts.sum())
    if min(n, usual_n) < min_rows:
        needed = min_rows if usual_n >= min_rows else None
        return too_few(Kind.LABEL_DRIFT, "label_coverage", "label", window, n=n, needed=needed)
    dispersion = growing_dispersions_of_shares(counts)[:1]
    usual = (int(counts[:, 0].sum()), int(counts[:, 1].sum()))
    shares = _rates(usual, (labelled, n - labelled), dispersion)
    fallen = shares.p_value <= alpha and shares.value < 0
    material = -shares.interval.high > MATERIAL_COVERAGE
    return Finding(
        kind=Kind.LABEL_DRIFT,
        check="label_coverage",
        subject="label",
        verdict=(Verdict.WARNING if material else Verdict.NOTICE) if fallen else Verdict.OK,
        detail=f"{percent(shares.current)} of {counted(n, 'prediction')} have a label, "
        f"usually {percent(shares.reference)} do.",
        window=window,
        n=n,
        value=shares.value,
        interval=shares.interval,
        p_value=shares.p_value,
        threshold=MATERIAL_COVERAGE,
    )


def material_difference(rate: float, material_psi: float, *, up: bool) -> float:
    """How far a rate must move for a population stability index of ``material_psi``.

    On the scale of the arc sine of the square root, where a binomial proportion has a constant
    variance, a small PSI is the square of twice the distance.

    Source:
        Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 6.2, whose
        effect size h is the square root of that PSI.
    """
    angle = math.asin(math.sqrt(rate))
    half = math.sqrt(material_psi) / 2
    moved = min(angle + half, math.pi / 2) if up else max(angle - half, 0.0)
    return abs(math.sin(moved) ** 2 - rate)


def _labels_enough(reference_n: int, material_psi: float, min_rows: int) -> int | None:
    if reference_n < min_rows:
        return None
    large = max(LARGE_PSI, 2 * material_psi)
    rows = rows_needed(large, material=material_psi, cells=2, n_reference=reference_n)
    return max(min_rows, rows or 0)


def _points(difference: float) -> str:
    return f"{100 * difference:+.3g}"
