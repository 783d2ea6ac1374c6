import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from gyroscope.errors import DataError
from gyroscope.stats.kolmogorov_smirnov import kolmogorov_smirnov, kolmogorov_smirnov_from_counts

values = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([-1.5, 0, 0.5, 1, 2, 7]))


@given(values, values)
def test_the_distance_is_that_of_scipy_ties_and_all(a: np.ndarray, b: np.ndarray) -> None:
    with np.errstate(all="ignore"):  # its p-value, which is not looked at, divides by zero
        expected = ks_2samp(a, b, method="asymp").statistic
    assert kolmogorov_smirnov(a, b).value == pytest.approx(expected)


@pytest.mark.parametrize(("m", "n"), [(60, 60), (500, 80), (3000, 2000)])
def test_the_p_value_is_close_to_that_of_scipy(m: int, n: int) -> None:
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.1, 0.2, 0.4):
        a, b = rng.normal(size=m), rng.normal(shift, size=n)
        expected = ks_2samp(a, b, method="exact").pvalue
        assert kolmogorov_smirnov(a, b).p_value == pytest.approx(expected, rel=0.15, abs=0.02)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (3, 3), (5, 4), (12, 30), (90, 100)])
def test_the_p_value_of_few_values_is_exact(m: int, n: int) -> None:
    rng = np.random.default_rng(6)
    for shift in (0.0, 0.5, 1.5, 9.0):
        a, b = rng.normal(size=m), rng.normal(shift, size=n)
        expected = ks_2samp(a, b, method="exact").pvalue
        assert kolmogorov_smirnov(a, b).p_value == pytest.approx(expected, rel=1e-9)
        assert kolmogorov_smirnov(b, a).p_value == pytest.approx(expected, rel=1e-9)


@given(values, values)
def test_swapping_shifting_and_shuffling_change_nothing(a: np.ndarray, b: np.ndarray) -> None:
    result = kolmogorov_smirnov(a, b)
    assert kolmogorov_smirnov(b, a).value == pytest.approx(result.value)
    assert kolmogorov_smirnov(a[::-1] * 3 + 1, b * 3 + 1).value == pytest.approx(result.value)
    assert result.interval.low <= result.value <= result.interval.high


@given(values, values)
def test_from_counts_of_every_value_it_is_exact(a: np.ndarray, b: np.ndarray) -> None:
    cells = np.unique(np.concatenate([a, b]))
    result = kolmogorov_smirnov_from_counts(
        [(a == cell).sum() for cell in cells], [(b == cell).sum() for cell in cells]
    )
    assert result.value == pytest.approx(kolmogorov_smirnov(a, b).value)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(-1, 1))
def test_from_counts_the_distance_lies_within_the_stated_error(
    seed: int, cells: int, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=200), rng.normal(shift, size=150)
    edges = np.quantile(a, np.linspace(0, 1, cells + 1)[1:-1])
    counted = kolmogorov_smirnov_from_counts(
        *(np.bincount(np.searchsorted(edges, x), minlength=cells) for x in (a, b))
    )
    exact = kolmogorov_smirnov(a, b)
    assert counted.value <= exact.value + 1e-12
    assert exact.value <= counted.value + counted.error + 1e-12
    assert counted.p_value >= exact.p_value - 1e-12


def test_false_findings_are_as_rare_as_the_level_says_and_the_interval_covers() -> None:
    rng = np.random.default_rng(6)
    results = [kolmogorov_smirnov(rng.random(300), rng.random(200)) for _ in range(600)]
    for level in (0.05, 0.2):
        slack = 4 * math.sqrt(level * (1 - level) / 600)
        assert np.mean([r.p_value <= level for r in results]) == pytest.approx(level, abs=slack)
    assert np.mean([r.interval.low == 0 for r in results]) >= 0.95


def test_an_empty_sample_says_nothing() -> None:
    for result in (kolmogorov_smirnov([], [1.0]), kolmogorov_smirnov_from_counts([0], [3])):
        assert (result.value, result.p_value) == (0.0, 1.0)
        assert (result.interval.low, result.interval.high) == (0.0, 1.0)


def test_constant_columns_are_equal_or_as_far_apart_as_can_be() -> None:
    assert kolmogorov_smirnov([3.0] * 50, [3.0] * 70).p_value == 1.0
    apart = kolmogorov_smirnov([3.0] * 50, [4.0] * 70)
    assert apart.value == 1.0
    assert apart.p_value < 1e-12


def test_missing_values_are_an_error() -> None:
    with pytest.raises(DataError, match="the current sample holds missing values"):
        kolmogorov_smirnov([1.0], [math.nan, 2.0])
