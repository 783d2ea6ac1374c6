"""Canaries on seeded streams whose truth is known."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.findings import Finding, Verdict, Window
from gyroscope.promote.canary import Served, compare_canary
from gyroscope.stats.losses import log_losses

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def served(
    version: int, n: int, *, seed: int, noise: float = 0.0, rows_of_entity: int = 1
) -> Served:
    """Rows scored by a model that sees the truth through noise; an entity's rows are alike."""
    rng = np.random.default_rng([seed, version])
    entity = np.repeat(np.arange(-(-n // rows_of_entity)), rows_of_entity)[:n]
    truth = rng.normal(-1, 1.2, n)[entity]
    y = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(float)[entity]
    score = 1 / (1 + np.exp(-(truth + noise * rng.normal(size=n))))
    return Served(version=version, y=y, score=score, entity=[f"e{e}" for e in entity])


def first(rows: Served, n: int) -> Served:
    return Served(version=rows.version, y=rows.y[:n], score=rows.score[:n], entity=rows.entity[:n])


def compare(champion: Served, canary: Served, *, alpha: float = 0.05) -> Finding:
    return compare_canary(champion, canary, WINDOW, alpha=alpha, min_rows=100)


def test_the_difference_is_that_of_the_mean_losses_with_the_interval_of_the_formula() -> None:
    champion, canary = served(1, 4000, seed=1), served(2, 1000, seed=1, noise=0.5)
    found = compare(champion, canary)
    losses = [log_losses(s.y, s.score, floor=1e-3) for s in (champion, canary)]
    assert found.value == pytest.approx(losses[1].mean() - losses[0].mean())
    assert found.interval is not None
    assert found.value is not None
    error = math.sqrt(sum(x.var(ddof=1) / x.size for x in losses))
    assert found.interval.high - found.value > 2 * error
    assert found.value - found.interval.low == pytest.approx(found.interval.high - found.value)
    assert found.n == 1000
    assert "1,000 labelled rows of the canary, 4,000 of the champion" in found.detail


@pytest.mark.parametrize(
    ("noise_of_champion", "noise_of_canary", "verdict"),
    [
        (0.0, 3.0, Verdict.ALARM),
        (3.0, 0.0, Verdict.NOTICE),
        (0.5, 0.5, Verdict.OK),
    ],
)
def test_a_canary_that_is_surely_worse_is_an_alarm_and_one_surely_better_a_notice(
    noise_of_champion: float, noise_of_canary: float, verdict: Verdict
) -> None:
    champion = served(1, 3000, seed=2, noise=noise_of_champion)
    canary = served(2, 500, seed=2, noise=noise_of_canary)
    assert compare(champion, canary).verdict is verdict


def test_too_few_rows_or_too_few_of_a_class_say_nothing() -> None:
    champion, canary = served(1, 1000, seed=3), served(2, 1000, seed=3, noise=5)
    for few in (first(canary, 0), first(canary, 99)):
        assert compare(champion, few).verdict is Verdict.NOT_ENOUGH_DATA
        assert compare(few, canary).verdict is Verdict.NOT_ENOUGH_DATA
    one_class = Served(version=2, y=np.zeros(1000), score=canary.score, entity=canary.entity)
    found = compare(champion, one_class)
    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.detail.endswith("each needs 100 with 10 of each class.")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter_and_exchanged_versions_have_the_opposite_difference(
    seed: int,
) -> None:
    champion, canary = served(1, 300, seed=seed, rows_of_entity=3), served(2, 200, seed=seed)
    found = compare(champion, canary)
    order = np.random.default_rng(seed).permutation(300)
    mixed = Served(
        version=1,
        y=champion.y[order],
        score=champion.score[order],
        entity=[champion.entity[i] for i in order.tolist()],
    )
    again = compare(mixed, canary)
    assert again.value == pytest.approx(found.value)
    assert again.interval is not None
    assert found.interval is not None
    assert again.interval.low == pytest.approx(found.interval.low)
    back = compare(canary, champion)
    assert back.interval is not None
    assert (-back.interval.high, -back.interval.low) == pytest.approx(
        (found.interval.low, found.interval.high)
    )


@pytest.mark.parametrize("rows_of_entity", [1, 8])
def test_equal_versions_are_told_apart_at_any_look_as_rarely_as_alpha(rows_of_entity: int) -> None:
    runs, alpha, wrong = 100, 0.2, 0
    for seed in range(runs):
        champion = served(1, 2000, seed=seed, noise=0.5, rows_of_entity=rows_of_entity)
        canary = served(2, 500, seed=seed, noise=0.5, rows_of_entity=rows_of_entity)
        looks = (
            compare(first(champion, 4 * n), first(canary, n), alpha=alpha)
            for n in range(120, 500, 40)
        )
        wrong += any(look.verdict in (Verdict.ALARM, Verdict.NOTICE) for look in looks)
    assert wrong / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
