import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

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
