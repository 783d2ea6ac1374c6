import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from gyroscope.errors import DataError
from gyroscope.stats.clustered import clustered_mean


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 9))
def test_the_errors_are_those_of_a_regression_on_a_constant(seed: int, w: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(w), m)
    x = rng.normal(size=w * m) + rng.normal(size=w)[ids]
    found = clustered_mean(x, ids)
    assert found is not None
    model = sm.OLS(x, np.ones_like(x))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": ids, "use_correction": False})
    assert found.value == pytest.approx(x.mean())
    assert found.row_error == pytest.approx(model.fit().bse[0])
    assert found.cluster_error == pytest.approx(robust.bse[0] * math.sqrt(w / (w - 1)))


def test_the_larger_of_both_errors_counts() -> None:
    together = clustered_mean([1.0, 1.1, 3.0, 3.1], ["a", "a", "b", "b"])
    balanced = clustered_mean([1.0, 3.0, 1.1, 3.1], ["a", "a", "b", "b"])
    assert together is not None
    assert balanced is not None
    assert together.design_effect > 1
    assert balanced.design_effect == 1
    # One degree of freedom: t has its 97.5 % point at 12.7.
    assert together.half_width(0.05) == pytest.approx(12.706 * together.cluster_error, rel=1e-4)
    assert together.p_above(1.0) > balanced.p_above(1.0)


def test_p_values_and_intervals_are_those_of_students_t() -> None:
    rng = np.random.default_rng(6)
    ids = np.repeat(np.arange(5), 20)
    x = rng.normal(size=100) + rng.normal(size=5)[ids]
    found = clustered_mean(x, ids)
    assert found is not None
    assert found.cluster_error > found.row_error
    # Clusters of one size: the test is that of their means.
    means = x.reshape(5, 20).mean(axis=1)
    for limit in found.value - np.array([3.0, 1.0, 0.2]):
        expected = ttest_1samp(means, limit, alternative="greater")
        assert found.p_above(limit) == pytest.approx(expected.pvalue, rel=1e-10)
    expected = ttest_1samp(means, 0.0).confidence_interval(0.99)
    assert found.value + found.half_width(0.01) == pytest.approx(expected.high, rel=1e-10)


def test_rows_without_clusters_are_independent() -> None:
    found = clustered_mean([1.0, 2.0, 4.0])
    assert found is not None
    assert math.isnan(found.cluster_error)
    assert found.design_effect == 1
    assert found.half_width(0.05) == pytest.approx(1.96 * found.row_error, rel=1e-4)


def test_equal_values_leave_no_doubt_and_one_row_no_error() -> None:
    sure = clustered_mean([2.0, 2.0, 2.0], [1, 2, 2])
    assert sure is not None
    assert (sure.p_above(1.0), sure.p_above(2.0), sure.p_above(3.0)) == (0.0, 0.5, 1.0)
    rounded = clustered_mean(np.full(13, 0.3), np.arange(13) // 2)
    assert rounded is not None
    assert (rounded.value, rounded.row_error, rounded.cluster_error) == (0.3, 0.0, 0.0)
    assert (rounded.p_above(0.3), rounded.design_effect) == (0.5, 1.0)
    assert clustered_mean([1.0]) is None
    assert clustered_mean([]) is None
    with pytest.raises(DataError, match="one cluster id"):
        clustered_mean([1.0, 2.0], [1])


@pytest.mark.parametrize("between", [0.0, 1.0])
def test_a_mean_of_zero_is_found_positive_no_more_often_than_the_level(between: float) -> None:
    rng = np.random.default_rng(5)
    ids = np.repeat(np.arange(6), 30)
    rejected = 0
    for _ in range(1000):
        found = clustered_mean(rng.normal(size=180) + between * rng.normal(size=6)[ids], ids)
        assert found is not None
        rejected += found.p_above(0.0) < 0.05
    assert rejected / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
