import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from gyroscope.stats.intervals import mean, normal_quantile, proportion, two_tails, upper_tail


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.001, 0.5))
def test_the_interval_of_a_proportion_is_wilsons(n: int, share: float, alpha: float) -> None:
    successes = round(share * n)
    found = proportion(successes, n, alpha=alpha)
    low, high = proportion_confint(successes, n, alpha=alpha, method="wilson")
    assert found.interval.low == pytest.approx(low, abs=1e-12)
    assert found.interval.high == pytest.approx(high, abs=1e-12)
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


def test_wilsons_interval_of_newcombes_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263 is 0.2553 to 0.3662.
    found = proportion(81, 263)
    assert found.interval.low == pytest.approx(0.2553, abs=5e-5)
    assert found.interval.high == pytest.approx(0.3662, abs=5e-5)


def test_swapping_success_and_failure_mirrors_the_interval() -> None:
    there, back = proportion(7, 40), proportion(33, 40)
    assert there.interval.low == pytest.approx(1 - back.interval.high)


def test_no_trials_leave_a_proportion_undefined_over_its_whole_range() -> None:
    found = proportion(0, 0)
    assert not found.defined
    assert (found.interval.low, found.interval.high) == (0, 1)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_wilsons_interval_covers_nearly_as_often_as_it_says(share: float) -> None:
    hits = np.random.default_rng(1).binomial(200, share, size=2000)
    covered = [(found := proportion(int(h), 200).interval).low <= share <= found.high for h in hits]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_the_normal_functions_agree_with_scipy_far_into_the_tail() -> None:
    for z in (-3.0, 0.0, 1.96, 8.0, 30.0):
        assert upper_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)
    assert normal_quantile(0.975) == pytest.approx(stats.norm.ppf(0.975), abs=1e-12)


def test_a_mean_has_the_textbook_error_and_one_value_has_none() -> None:
    x = [1.0, 2.0, 4.0]
    assert mean(x).standard_error == pytest.approx(stats.sem(x))
    assert math.isnan(mean([1.0]).standard_error)
    assert mean([1.0]).interval.high == math.inf
    assert not mean([]).defined


def test_tails_of_skewed_statistics_are_those_of_a_gamma_distribution() -> None:
    from scipy.stats import gamma, norm, poisson

    z = np.array([-2.0, 0.5, 4.9])
    assert two_tails(z, 0.0) == pytest.approx(2 * norm.sf(np.abs(z)))
    assert two_tails(z, 1e-5) == pytest.approx(2 * norm.sf(np.abs(z)), rel=1e-3)
    assert two_tails(4.9, 0.2) == pytest.approx(2 * gamma.sf(100 + 49, 100))
    assert two_tails(-4.9, -0.2) == pytest.approx(two_tails(4.9, 0.2))
    assert two_tails(-4.9, 0.2) < two_tails(4.9, 0.0) < two_tails(4.9, 0.2)
    # A Poisson count of 100 expected, as skewed as 0.1: 155 or more are one in a million.
    assert two_tails(5.45, 0.1) == pytest.approx(2 * poisson.sf(154, 100), rel=0.5)
