from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.labels import (
    label_coverage_finding,
    label_drift_finding,
    material_difference,
)
from gyroscope.stats.dispersion import Dispersion, growing_dispersions_of_shares


def rates(reference: float, current: float, n: int, day: Window) -> Finding:
    return label_drift_finding(
        round(reference * 10_000), 10_000, round(current * n), n, day,
        material_psi=0.02, min_rows=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "current", "n", "verdict"),
    [
        (0.5, 0.62, 2000, Verdict.WARNING),
        (0.1, 0.2, 1000, Verdict.WARNING),
        (0.1, 0.02, 2000, Verdict.WARNING),
        (0.5, 0.53, 20_000, Verdict.NOTICE),  # real and small
        (0.1, 0.12, 300, Verdict.OK),  # chance
        (0.0, 0.0, 500, Verdict.OK),
        (0.1, 0.9, 60, Verdict.NOT_ENOUGH_DATA),
    ],
)
def test_a_label_rate_has_moved_only_if_materially_and_surely(
    reference: float, current: float, n: int, verdict: Verdict, day: Window
) -> None:
    finding = rates(reference, current, n, day)
    assert finding.verdict is verdict
    assert finding.kind is Kind.LABEL_DRIFT


def test_the_sentence_has_the_rates_and_the_interval(day: Window) -> None:
    assert rates(0.1, 0.2, 1000, day).detail == (
        "Share of positive labels up from 10 % to 20 % (1,000 labels, 95 % interval of the "
        "difference +7.56 to +12.7 points)."
    )
    assert rates(0.1, 0.11, 500, day).detail.startswith(
        "No sure change: share of positive labels up from 10 % to 11 %"
    )


def test_too_few_labels_say_how_many_would_do(day: Window) -> None:
    finding = rates(0.1, 0.5, 8, day)
    assert finding.n_needed is not None
    assert rates(0.1, 0.1, finding.n_needed, day).verdict is Verdict.OK
    small = label_drift_finding(5, 20, 50, 500, day, material_psi=0.02, min_rows=100)
    assert small.n_needed is None


@given(st.floats(0.02, 0.98), st.floats(0.001, 0.02), st.booleans())
def test_the_material_difference_makes_that_stability_index(
    rate: float, psi: float, up: bool
) -> None:
    moved = rate + material_difference(rate, psi, up=up) * (1 if up else -1)
    if not 0.002 < moved < 0.998:
        return  # at the edge of the scale a rate cannot move as far
    made = (moved - rate) * math.log(moved * (1 - rate) / (rate * (1 - moved)))
    assert made == pytest.approx(psi, rel=0.3)


def test_without_change_label_drift_is_hardly_ever_found(day: Window) -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(2000):
        old, new = rng.binomial(5000, 0.08), rng.binomial(400, 0.08)
        finding = label_drift_finding(
            int(old), 5000, int(new), 400, day, material_psi=0.02, min_rows=100
        )
        found += finding.verdict is not Verdict.OK
    assert found <= 3  # 0.2 are expected; four or more have a chance of 6e-5


@pytest.mark.parametrize(
    ("labelled", "n", "verdict"),
    [
        (950, 1000, Verdict.OK),
        (990, 1000, Verdict.OK),
        (890, 1000, Verdict.NOTICE),
        (600, 1000, Verdict.WARNING),
        (0, 1000, Verdict.WARNING),
        (0, 10, Verdict.NOT_ENOUGH_DATA),
    ],
)
def test_labels_that_stay_away_are_noticed(
    labelled: int, n: int, verdict: Verdict, day: Window
) -> None:
    finding = label_coverage_finding([(950, 50)] * 10, labelled, n, day, min_rows=100)
    assert finding.verdict is verdict
    assert finding.check == "label_coverage"


def test_without_a_past_there_is_no_usual_coverage(day: Window) -> None:
    finding = label_coverage_finding([], 500, 1000, day, min_rows=100)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed is None


def test_a_coverage_that_varies_from_day_to_day_is_no_fall(day: Window) -> None:
    past = [(1000 - 60 * k, 60 * k) for k in (1, 3, 2, 5, 1, 4, 2) * 4]
    verdicts = [
        label_coverage_finding(past, labelled, 1000, day, min_rows=100).verdict
        for labelled in (700, 100)
    ]
    assert verdicts == [Verdict.OK, Verdict.WARNING]


def test_a_rate_that_varies_from_day_to_day_is_no_drift(day: Window) -> None:
    """Days whose rates differ by 10 points: one more of them is no news, one far off is."""
    rng = np.random.default_rng(3)
    rates = np.clip(rng.normal(0.3, 0.1, 64), 0.02, 0.9)
    counts = np.array([(500 * rate, 500 * (1 - rate)) for rate in rates])
    dispersion = growing_dispersions_of_shares(counts)
    positives, n = int(counts[:, 0].sum()), int(counts.sum())

    def verdict(found: int, varied: Sequence[Dispersion]) -> Verdict:
        return label_drift_finding(
            positives, n, found, 500, day, material_psi=0.02, dispersion=varied, min_rows=100
        ).verdict

    assert verdict(220, ()) is Verdict.WARNING
    assert verdict(220, dispersion) is Verdict.OK
    assert verdict(450, dispersion) is Verdict.WARNING
