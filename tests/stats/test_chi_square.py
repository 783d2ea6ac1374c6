import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from gyroscope.stats.chi_square import chi_square, g_test

counts = st.integers(2, 10).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(1, 500), min_size=n, max_size=n)] * 2)
)


@given(counts)
def test_both_tests_are_those_of_scipy(pair: tuple[list[int], list[int]]) -> None:
    pearson, g = chi_square(*pair), g_test(*pair)
    expected = chi2_contingency(np.array(pair), correction=False)
    assert pearson.value == pytest.approx(expected.statistic, abs=1e-9)
    assert pearson.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    assert pearson.df == expected.dof
    expected = chi2_contingency(np.array(pair), correction=False, lambda_="log-likelihood")
    assert g.value == pytest.approx(expected.statistic, abs=1e-9)


@given(counts)
def test_swapping_the_samples_changes_nothing(pair: tuple[list[int], list[int]]) -> None:
    assert chi_square(*pair).value == pytest.approx(chi_square(*pair[::-1]).value, abs=1e-9)


def test_the_effect_does_not_grow_with_the_sample() -> None:
    small = chi_square([500, 500], [600, 400])
    large = chi_square([500_000, 500_000], [600_000, 400_000])
    assert small.effect == pytest.approx(large.effect, abs=0.003)
    assert small.interval.low < large.interval.low < large.effect < large.interval.high


def test_the_interval_covers_the_effect_of_the_populations() -> None:
    rng = np.random.default_rng(7)
    q, p = np.array([0.5, 0.3, 0.2]), np.array([0.42, 0.36, 0.22])
    pooled = (q + p) / 2
    truth = float((((q - p) ** 2) / pooled).sum())
    results = [chi_square(rng.multinomial(2000, q), rng.multinomial(2000, p)) for _ in range(600)]
    covered = np.mean([r.interval.low <= truth <= r.interval.high for r in results])
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 600))


def test_cells_empty_in_both_samples_do_not_count() -> None:
    assert chi_square([10, 0, 20], [12, 0, 25]).df == 1


def test_an_empty_sample_or_a_single_cell_says_nothing() -> None:
    for result in (chi_square([], []), chi_square([0, 0], [4, 5]), g_test([9], [4])):
        assert (result.value, result.p_value) == (0.0, 1.0)
