import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from gyroscope.errors import DataError
from gyroscope.stats.random_effects import random_effects

# Log relative risks of 13 trials of the BCG vaccine with their variances, Colditz et al. (1994).
BCG = np.array(
    [
        (-0.8893, 0.3256),
        (-1.5854, 0.1946),
        (-1.3481, 0.4154),
        (-1.4416, 0.0200),
        (-0.2175, 0.0512),
        (-0.7861, 0.0069),
        (-1.6209, 0.2230),
        (0.0120, 0.0040),
        (-0.4694, 0.0564),
        (-1.3713, 0.0730),
        (-0.3394, 0.0124),
        (0.4459, 0.5325),
        (-0.0173, 0.0714),
    ]
).T


@pytest.mark.parametrize(("confidence", "bound"), [(0.025, 0.1197), (0.975, 1.1115)])
def test_the_bounds_of_the_bcg_trials(confidence: float, bound: float) -> None:
    # The Q-profile interval of the variance that metafor prints for these trials.
    found = random_effects(*BCG, confidence=confidence)
    assert found.between == pytest.approx(bound, abs=2e-4)


def test_without_variance_between_them_the_mean_is_weighted_by_precision() -> None:
    found = random_effects([1.0, 1.1], [0.1, 0.4], confidence=0.5)
    assert found.between == 0
    assert found.mean == pytest.approx((1.0 / 0.1 + 1.1 / 0.4) / (1 / 0.1 + 1 / 0.4))
    assert found.standard_error == pytest.approx((1 / 0.1 + 1 / 0.4) ** -0.5)


def test_one_estimate_says_nothing_about_the_variance_between() -> None:
    found = random_effects([0.3], [0.04])
    assert (found.mean, found.standard_error, found.between) == pytest.approx((0.3, 0.2, 0.0))


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.floats(0.1, 10))
def test_scale_multiplies_and_a_shift_moves_only_the_mean(seed: int, k: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=k), rng.uniform(0.1, 1, k)
    here, there = random_effects(x, v), random_effects(scale * x + 5, scale**2 * v)
    assert there.mean == pytest.approx(scale * here.mean + 5)
    assert there.standard_error == pytest.approx(scale * here.standard_error)
    assert there.between == pytest.approx(scale**2 * here.between, abs=1e-9)


def test_the_bound_lies_above_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(10)
    v = np.full(8, 0.5)
    bounds = [
        random_effects(rng.normal(0, np.sqrt(v + 1.0)), v, confidence=0.8).between
        for _ in range(500)
    ]
    assert np.mean(np.array(bounds) >= 1.0) == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 500))


def test_unusable_estimates_are_refused() -> None:
    with pytest.raises(DataError, match="one variance"):
        random_effects([], [])
    with pytest.raises(DataError, match=r"variances must be above 0, got 0\.0"):
        random_effects([1.0, 2.0], [0.1, 0.0])
    for x, v in (([1.0, np.nan], [1.0, 1.0]), ([1.0, 2.0], [1.0, np.inf])):
        with pytest.raises(DataError, match="must be finite"):
            random_effects(x, v)


def test_the_mean_is_that_of_statsmodels_at_the_bound() -> None:
    rng = np.random.default_rng(11)
    for k in (2, 5, 12):
        x, v = rng.normal(0, 2, k), rng.uniform(0.1, 3, k)
        found = random_effects(x, v)
        model = sm.WLS(x, np.ones(k), weights=1 / (v + found.between))
        assert found.mean == pytest.approx(model.fit().params[0])
        assert found.standard_error == pytest.approx(np.sum(1 / (v + found.between)) ** -0.5)
        if found.between > 0:  # the scatter there has the lower tail 1 - 0.8
            assert chi2.cdf(model.fit().ssr, k - 1) == pytest.approx(0.2, abs=1e-9)
