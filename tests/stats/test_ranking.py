import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.e_detector import alarm_limit, log_boosts, next_shiryaev_roberts
from gyroscope.stats.e_values import log_mean_exp
from gyroscope.stats.excess_loss import ExcessReference, excess_evidence, slope_weights
from gyroscope.stats.random_effects import RandomEffects
from gyroscope.stats.ranking import ranking_evidence, ranking_reference, ranking_shortfall

LIMIT = alarm_limit(365)


def world(
    rng: np.random.Generator,
    n: int,
    *,
    shift: float = 0.0,
    slope: float = 1.0,
    mix: float = -1.0,
    spread: float = 1.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels whose log-odds are slope times the scores' plus shift; mix and spread move rows."""
    log_odds = rng.normal(mix, spread, n)
    y = rng.random(n) < 1 / (1 + np.exp(-slope * log_odds - shift))
    return y.astype(float), 1 / (1 + np.exp(-log_odds))


def reference() -> RandomEffects:
    y, q = world(np.random.default_rng(100), 10_000)
    found = ranking_reference(y, q, np.arange(10_000) // 1000)
    assert found is not None
    return found


NORMAL = reference()


def log_e(y: np.ndarray, q: np.ndarray, normal: RandomEffects) -> float:
    return log_mean_exp(ranking_evidence(y, q, normal).log_es)


def test_the_shortfall_has_mean_zero_and_its_error_while_the_scores_are_right() -> None:
    rng = np.random.default_rng(1)
    q = world(rng, 400)[1]
    drawn = [ranking_shortfall(rng.random(400) < q, q) for _ in range(600)]
    values = np.array([d.value for d in drawn if d is not None])
    assert drawn[0] is not None
    assert values.std() == pytest.approx(drawn[0].standard_error, rel=0.12)
    assert values.mean() == pytest.approx(0, abs=4 * values.std() / math.sqrt(600))


@pytest.mark.parametrize(
    "harmless",
    [
        {},
        {"mix": 0.5},
        {"spread": 0.7},  # rows more alike: the AUC falls from 0.78 to 0.68, as promised
        {"shift": 1.0},
        {"shift": -1.0},
    ],
)
def test_another_mix_or_level_is_no_evidence(harmless: dict[str, float]) -> None:
    value = 0.0
    for day in range(20):
        y, q = world(np.random.default_rng(day), 1000, **harmless)
        value = next_shiryaev_roberts(value, log_e(y, q, NORMAL))
        assert value < LIMIT


@pytest.mark.parametrize("harm", [{"slope": 0.5}, {"slope": 0.0, "shift": -1.0}, {"slope": -1.0}])
def test_lost_discrimination_is_found_in_a_window(harm: dict[str, float]) -> None:
    y, q = world(np.random.default_rng(2), 1000, **harm)
    assert log_e(y, q, NORMAL) > math.log(365)


def test_an_e_value_has_mean_at_most_one_while_the_scores_are_right() -> None:
    rng = np.random.default_rng(3)
    ideal = RandomEffects()
    values = np.exp([log_e(*world(rng, 300), ideal) for _ in range(2000)])
    # Large values are rare, so that the mean of 2000 is below 1 more often than above.
    assert values.mean() <= 1 + 3 * values.std() / math.sqrt(2000)
    assert np.mean(values >= 20) <= 0.05


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    y, q = world(np.random.default_rng(seed), 100)
    there, back = log_e(y, q, NORMAL), log_e(y[::-1], q[::-1], NORMAL)
    assert there == pytest.approx(back)


def test_few_rows_of_a_class_or_equal_scores_are_no_evidence() -> None:
    y, q = world(np.random.default_rng(4), 100)
    assert log_e(np.arange(100) < 9, q, NORMAL) == 0
    assert log_e(y, np.full(100, 0.3), NORMAL) == 0
    assert ranking_reference(np.arange(100) < 9, q) is None


def projected(y: np.ndarray, q: np.ndarray, weights: np.ndarray) -> float:
    """The sum of weights (y - q) in its standard errors."""
    return float(weights @ (y - q)) / math.sqrt(float((q * (1 - q)) @ weights**2))


@pytest.mark.parametrize("n", [45, 300])
def test_tilts_say_how_the_evidence_hangs_on_level_and_slope(n: int) -> None:
    rng = np.random.default_rng(5)
    q = world(rng, n)[1]
    z, logs = [], []
    tilts = ranking_evidence(q > 0.5, q, RandomEffects()).tilts
    for _ in range(4000):
        y = (rng.random(n) < q).astype(float)
        found = ranking_evidence(y, q, RandomEffects())
        assert found.tilts == tilts  # whatever the labels: they are fixed by the scores
        z.append([projected(y, q, w) for w in (np.ones(n), slope_weights(q))])
        logs.append(found.log_es[0])
    # Of windows with enough of each class, and less by the share of the others.
    said = np.array(logs) != 0
    design = np.column_stack([z, np.ones(len(z))])[said]
    slopes = np.linalg.lstsq(design, np.array(logs)[said])[0]
    assert said.mean() * slopes[:2] == pytest.approx(tilts[0], abs=0.08)
    assert tilts[0][1] > 0.6
    assert sum(t**2 for t in tilts[0]) <= 1  # no more than the tilt of the ranks themselves


def test_of_windows_that_vary_or_rows_that_are_few_or_rare_less_is_claimed() -> None:
    rng = np.random.default_rng(6)
    y, q = world(rng, 300)
    usual = RandomEffects(between=1e-3)
    (alone,) = ranking_evidence(y, q, RandomEffects()).tilts
    (varied,) = ranking_evidence(y, q, usual, ExcessReference(slope=usual, residual=usual)).tilts
    assert 0 < varied[1] < alone[1]
    (few,) = ranking_evidence(y[:22], q[:22], RandomEffects()).tilts
    assert 0 <= few[1] < alone[1] / 2
    for n, rare in ((19, q), (300, q / 20)):
        assert ranking_evidence(y[:n], rare[:n], RandomEffects()).tilts == ((0.0, 0.0),)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [40, 100])
def test_raised_evidence_of_ranks_and_slope_keeps_the_promise_and_no_more(rows: int) -> None:
    """A false alarm in 50 windows, of all that the monitor watches; the worlds have no others."""
    rng = np.random.default_rng(7)
    lengths, runs, ideal = [], 300, ExcessReference()
    for _ in range(runs):
        parts, k = np.zeros(0), 0
        while k == 0 or np.mean(np.exp(parts)) < 1 + 50:
            y, q = world(rng, rows)
            level, ranks = excess_evidence(y, q, ideal), ranking_evidence(y, q, RandomEffects())
            log_es, tilts = level.log_es + ranks.log_es, level.tilts + ranks.tilts
            parts = parts if k else np.zeros(len(log_es))
            parts = np.logaddexp(0, parts + log_es + log_boosts(parts, tilts, 50))
            k += 1
        lengths.append(k)
    # Run lengths are about exponential.
    assert 50 * (1 - 2.5 / math.sqrt(runs)) <= np.mean(lengths) <= 56 * (1 + 2.5 / math.sqrt(runs))
