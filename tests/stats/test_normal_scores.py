import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from gyroscope.stats.normal_scores import normal_scores


def test_scores_are_normal_quantiles_of_middle_ranks() -> None:
    x = np.random.default_rng(1).integers(0, 5, 300)
    expected = norm.ppf((rankdata(x) - 0.5) / 300)
    assert normal_scores(np.bincount(x))[x] == pytest.approx(expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_scores_ascend_are_finite_and_missing_is_nought(counts: list[int]) -> None:
    scores = normal_scores(np.array(counts))
    assert np.isfinite(scores).all()
    assert scores[-1] == 0
    if sum(counts):
        assert (np.diff(scores[:-1]) >= 0).all()
    else:
        assert not scores.any()
