import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.e_detector import alarm_limit, next_shiryaev_roberts
from gyroscope.stats.e_values import log_mean_exp
from gyroscope.stats.random_effects import RandomEffects
from gyroscope.stats.ranking import ranking_log_es, ranking_reference, ranking_shortfall

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
    return log_mean_exp(ranking_log_es(y, q, normal))


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
