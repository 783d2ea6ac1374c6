import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from gyroscope.errors import UsageError
from gyroscope.stats.confidence_sequences import (
    empirical_bernstein_sequence,
    normal_mixture_half_width,
    normal_mixture_sequence,
)

bounded = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(max_examples=50)
@given(bounded)
def test_the_empirical_bernstein_sequence_is_that_of_the_theorem_row_by_row(x: list[float]) -> None:
    """Waudby-Smith and Ramdas (2024), theorem 2, written as a loop."""
    found = empirical_bernstein_sequence(x, alpha=0.1)
    mean, variance, stakes, weighted, cost = 0.5, 0.25, 0.0, 0.0, 0.0
    total, squares = 0.5, 0.25
    low, high = 0.0, 1.0
    for t, value in enumerate(x, start=1):
        stake = min(math.sqrt(2 * math.log(20) / (variance * t * math.log(1 + t))), 0.5)
        psi = (-math.log(1 - stake) - stake) / 4
        cost += 4 * (value - mean) ** 2 * psi
        stakes, weighted = stakes + stake, weighted + stake * value
        total += value
        mean = total / (t + 1)
        squares += (value - mean) ** 2
        variance = squares / (t + 1)
        half = (math.log(20) + cost) / stakes
        low, high = max(low, weighted / stakes - half), min(high, weighted / stakes + half)
        if low > high:
            return
        assert found.low[t - 1] == pytest.approx(low)
        assert found.high[t - 1] == pytest.approx(high)


@settings(max_examples=50)
@given(bounded, st.floats(0.1, 50), st.floats(-20, 20))
def test_origin_scale_and_direction_do_not_matter(
    x: list[float], scale: float, origin: float
) -> None:
    there = empirical_bernstein_sequence(x)
    moved = np.clip(origin + scale * np.array(x), origin, origin + scale)
    back = empirical_bernstein_sequence(moved, low=origin, high=origin + scale)
    assert (back.low - origin) / scale == pytest.approx(there.low, abs=1e-6)
    turned = empirical_bernstein_sequence(1 - np.array(x))
    assert 1 - turned.low == pytest.approx(there.high, abs=1e-9)
    assert np.all(there.low <= there.high)


@pytest.mark.parametrize("kind", ["coin", "rare", "uniform"])
def test_the_mean_is_outside_at_any_time_as_rarely_as_alpha(kind: str) -> None:
    rng = np.random.default_rng(1)
    shape = runs, _ = 500, 1500
    if kind == "uniform":
        x, truth = rng.random(shape), 0.5
    else:
        truth = 0.5 if kind == "coin" else 0.02
        x = (rng.random(shape) < truth).astype(float)
    slack = 4 * math.sqrt(0.1 * 0.9 / runs)
    for found in (
        empirical_bernstein_sequence(x, alpha=0.1),
        normal_mixture_sequence(x, sigma=0.5, best_at=300, alpha=0.1),
    ):
        ever_outside = np.any((found.low > truth) | (found.high < truth), axis=-1)
        assert ever_outside.mean() <= 0.1 + slack


def test_a_small_variance_makes_it_narrow() -> None:
    rng = np.random.default_rng(2)
    x = 0.5 + 0.01 * (rng.random(2000) - 0.5)
    by_variance = empirical_bernstein_sequence(x)
    by_range = normal_mixture_sequence(x, sigma=0.5, best_at=2000)
    assert by_variance.high[-1] - by_variance.low[-1] < 0.02
    assert by_range.high[-1] - by_range.low[-1] > 0.05


def test_the_normal_mixture_is_the_formula_and_narrowest_where_asked() -> None:
    half = normal_mixture_sequence(np.zeros(3), sigma=2.0, best_at=2).high
    # The derivative of the width by V / r = w vanishes where (1 + w) exp(-w) = alpha^2.
    rho = 8 / brentq(lambda w: (1 + w) * math.exp(-w) - 0.0025, 1, 20)
    for t in (1, 2, 3):
        v = 4 * t
        expected = math.sqrt((v + rho) * math.log((v + rho) / (rho * 0.0025))) / t
        assert half[t - 1] == pytest.approx(expected, rel=1e-9)
    widths = [
        normal_mixture_sequence(np.zeros(100), sigma=1.0, best_at=best).high[-1]
        for best in (10, 50, 100, 200, 1000)
    ]
    assert min(widths) == widths[2]


def test_the_half_width_of_an_estimate_is_that_of_the_mean_of_as_many_rows() -> None:
    sequence = normal_mixture_sequence(np.zeros(50), sigma=2.0, best_at=20, alpha=0.1)
    errors = 2.0 / np.sqrt(np.arange(1, 51))
    half = normal_mixture_half_width(errors, best_at=2.0 / math.sqrt(20), alpha=0.1)
    assert half == pytest.approx(sequence.high)
    scaled = normal_mixture_half_width(7 * errors, best_at=14 / math.sqrt(20), alpha=0.1)
    assert scaled == pytest.approx(7 * half)


def test_with_estimated_errors_the_difference_of_two_means_is_held_at_all_looks() -> None:
    rng = np.random.default_rng(5)
    runs, alpha = 400, 0.1
    x, y = rng.exponential(1.0, (runs, 3000)), rng.exponential(1.0, (runs, 3000))
    n = np.arange(1, 3001)
    late = slice(200, None)  # the guarantee is asymptotic
    variances = [np.cumsum(z**2, axis=-1) / n - (np.cumsum(z, axis=-1) / n) ** 2 for z in (x, y)]
    errors = np.sqrt((variances[0] + variances[1]) / n)[:, late]
    difference = (np.cumsum(x - y, axis=-1) / n)[:, late]
    half = normal_mixture_half_width(errors, best_at=0.05, alpha=alpha)
    ever_outside = np.any(np.abs(difference) > half, axis=-1).mean()
    assert ever_outside <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


def test_an_impossible_observation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must lie in \[0\.0, 1\.0\], got 1\.5"):
        empirical_bernstein_sequence([0.2, 1.5])
    with pytest.raises(UsageError, match="low must be below high, got 1 and 1"):
        empirical_bernstein_sequence([1], low=1, high=1)
    with pytest.raises(UsageError, match="best_at at least 1, got 1, 0"):
        normal_mixture_sequence([1.0], sigma=1, best_at=0)
    assert empirical_bernstein_sequence([]).low.size == 0
