import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.errors import UsageError
from gyroscope.stats.e_values import (
    STAKES,
    adaptive_betting_log_e,
    betting_log_e,
    e_value,
    log_mean_exp,
    shift_log_factors,
)

bounded = st.lists(st.floats(-1, 1), max_size=30)


@given(bounded)
def test_the_wealth_is_that_of_gamblers_followed_row_by_row(x: list[float]) -> None:
    wealth = [1.0] * len(STAKES)
    for value in x:
        wealth = [w * (1 + s * value) for w, s in zip(wealth, STAKES, strict=True)]
    found = betting_log_e(x, null_mean=0.0, lowest=-1.0)
    assert found == pytest.approx(math.log(sum(wealth) / len(wealth)), abs=1e-9)


@given(bounded)
def test_the_order_of_rows_does_not_matter(x: list[float]) -> None:
    there = betting_log_e(x, null_mean=0.0, lowest=-1.0)
    assert there == pytest.approx(betting_log_e(x[::-1], null_mean=0.0, lowest=-1.0), abs=1e-9)


@given(bounded, st.floats(0.1, 100), st.floats(-50, 50))
def test_scale_and_origin_do_not_matter(x: list[float], scale: float, origin: float) -> None:
    there = betting_log_e(x, null_mean=0.0, lowest=-1.0)
    moved = [origin + scale * value for value in x]
    back = betting_log_e(moved, null_mean=origin, lowest=origin - scale)
    assert back == pytest.approx(there, abs=1e-6)


@given(st.integers(1, 12))
def test_the_mean_over_all_coin_sequences_is_exactly_one(n: int) -> None:
    # k heads of n fair coins: a martingale has mean 1 at every length.
    total = sum(
        math.comb(n, k)
        * math.exp(betting_log_e([1.0] * k + [-1.0] * (n - k), null_mean=0.0, lowest=-1.0))
        for k in range(n + 1)
    )
    assert total / 2**n == pytest.approx(1.0)


def test_no_rows_are_no_evidence() -> None:
    assert betting_log_e([], null_mean=0.0, lowest=-1.0) == pytest.approx(0.0)


def test_a_design_effect_weakens_evidence_either_way() -> None:
    x = np.full(200, 0.1)
    full = betting_log_e(x, null_mean=0.0, lowest=-1.0)
    weak = betting_log_e(x, null_mean=0.0, lowest=-1.0, design_effect=4.0)
    assert 0 < weak < full
    assert betting_log_e(x, null_mean=0.0, lowest=-1.0, design_effect=math.inf) == pytest.approx(0)


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(UsageError, match="lowest must be below null_mean, got 0 and 0"):
        betting_log_e([0.1], null_mean=0, lowest=0)
    with pytest.raises(UsageError, match=r"an observation is -2\.0, below the lowest possible -1"):
        betting_log_e([-2.0], null_mean=0.0, lowest=-1.0)
    with pytest.raises(UsageError, match=r"at least 1, got 0\.5"):
        betting_log_e([0.1], null_mean=0.0, lowest=-1.0, design_effect=0.5)


def crosses(x: np.ndarray, level: float) -> bool:
    """Whether the wealth is ever above the level when it is looked at after every row."""
    paths = np.cumsum(np.log1p(np.outer(STAKES, x)), axis=1)
    return bool(np.log(np.mean(np.exp(paths), axis=0)).max() >= level)


@pytest.mark.parametrize("kind", ["coin", "skewed"])
def test_looking_after_every_row_rejects_a_true_null_no_more_often_than_alpha(kind: str) -> None:
    rng = np.random.default_rng(6)
    runs, crossed = 1000, 0
    for _ in range(runs):
        if kind == "coin":
            x = rng.choice([-1.0, 1.0], 1000)
        else:  # rare large gains, frequent small losses, mean 0
            x = np.where(rng.random(1000) < 0.05, 0.95, -0.05)
        crossed += crosses(x, math.log(20))
    assert crossed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_gain_is_found_soon() -> None:
    rng = np.random.default_rng(7)
    x = rng.choice([-1.0, 1.0], (50, 1000), p=[0.4, 0.6])
    assert all(betting_log_e(row, null_mean=0.0, lowest=-1.0) > math.log(20) for row in x)


@given(st.lists(st.floats(-800, 800), min_size=1, max_size=5))
def test_a_mean_of_e_values_lies_among_them(logs: list[float]) -> None:
    found = log_mean_exp(logs)
    assert min(logs) - 1e-9 <= found <= max(logs) + 1e-9


def test_e_values_stay_numbers() -> None:
    assert e_value(math.log(7)) == pytest.approx(7)
    assert 0 < e_value(-1e6) < 1e-290
    assert 1e290 < e_value(1e6) < math.inf
    assert log_mean_exp([math.log(4), 0.0]) == pytest.approx(math.log(2.5))


def test_over_all_coin_sequences_the_learning_gambler_has_mean_one_at_every_row() -> None:
    coins = np.array(np.meshgrid(*[[-1.0, 1.0]] * 8)).reshape(8, -1).T
    wealth = np.exp(adaptive_betting_log_e(coins, null_mean=0.0, lowest=-1.0))
    assert wealth.mean(axis=0) == pytest.approx(np.ones(8))


@given(bounded)
def test_the_learning_gambler_stakes_what_the_source_says(x: list[float]) -> None:
    """Waudby-Smith and Ramdas (2024), section B.3, row by row."""
    wealth, total, squares, stake = 0.0, 0.0, 0.25, 0.0
    for t, value in enumerate(x, start=1):
        wealth += math.log1p(stake * value)
        total += value
        mean = total / (t + 1)
        squares += (value - mean) ** 2
        stake = min(max(mean / (squares / (t + 1) + mean**2), 0.0), 0.5)
    path = adaptive_betting_log_e(x, null_mean=0.0, lowest=-1.0)
    assert (path[-1] if x else 0.0) == pytest.approx(wealth, abs=1e-9)


def test_over_all_coin_sequences_every_size_of_shift_has_mean_one_at_every_row() -> None:
    coins = np.array(np.meshgrid(*[[-0.2, 0.8]] * 6)).reshape(6, -1).T
    chances = np.where(coins > 0, 0.2, 0.8).prod(axis=1)
    sizes = (0.1, 0.5, 2.0)
    logs = np.array(
        [shift_log_factors(row, null_mean=0.0, lowest=-0.2, sizes=sizes) for row in coins]
    )
    wealth = np.exp(np.cumsum(logs, axis=-1))
    assert np.tensordot(chances, wealth, axes=1) == pytest.approx(np.ones((3, 6)))


def test_the_learning_gambler_rejects_a_true_null_rarely_and_a_false_one_soon() -> None:
    rng = np.random.default_rng(8)
    runs = 1000
    calm = np.where(rng.random((runs, 1000)) < 0.05, 0.95, -0.05)
    crossed = adaptive_betting_log_e(calm, null_mean=0.0, lowest=-0.05).max(axis=1) >= math.log(20)
    assert crossed.mean() <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)
    gain = rng.choice([-1.0, 1.0], (50, 1000), p=[0.4, 0.6])
    paths = adaptive_betting_log_e(gain, null_mean=0.0, lowest=-1.0)
    assert np.mean(paths.max(axis=1) > math.log(20)) >= 0.96
