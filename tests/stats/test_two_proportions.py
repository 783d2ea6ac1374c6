import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from gyroscope.errors import DataError
from gyroscope.stats.two_proportions import two_proportions


@pytest.mark.parametrize(
    ("current", "reference", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),  # Newcombe (1998), table II, method 10
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_the_interval_is_that_of_newcombe(
    current: tuple[int, int], reference: tuple[int, int], low: float, high: float
) -> None:
    result = two_proportions(*reference, *current)
    assert result.interval.low == pytest.approx(low, abs=5e-5)
    assert result.interval.high == pytest.approx(high, abs=5e-5)


samples = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(samples, samples)
def test_the_interval_is_that_of_statsmodels(old: tuple[int, int], new: tuple[int, int]) -> None:
    low, high = confint_proportions_2indep(*new, *old, method="newcomb")
    result = two_proportions(*old, *new)
    assert result.interval.low == pytest.approx(max(low, -1), abs=1e-9)
    assert result.interval.high == pytest.approx(min(high, 1), abs=1e-9)


def test_with_large_counts_the_p_value_is_that_of_the_score_test() -> None:
    expected = proportions_ztest([130, 100], [1000, 1000])[1]
    assert two_proportions(100, 1000, 130, 1000).p_value == pytest.approx(expected)


@given(samples, samples)
def test_with_small_counts_the_p_value_is_exact(old: tuple[int, int], new: tuple[int, int]) -> None:
    (a, m), (b, n) = old, new
    successes = a + b
    if min(successes, m + n - successes) * min(m, n) / (m + n) >= 5:
        return
    law = hypergeom(m + n, successes, n)
    expected = min(2 * min(law.cdf(b), law.sf(b - 1)), 1.0)
    assert two_proportions(*old, *new).p_value == pytest.approx(expected, abs=1e-9)


def test_two_of_a_hundred_against_none_of_many_are_weak_evidence() -> None:
    """The score test would call this 1e-88."""
    assert two_proportions(0, 20_000, 2, 100).p_value == pytest.approx(4.9e-5, rel=0.02)


@given(samples, samples)
def test_swapping_the_samples_turns_the_sign(old: tuple[int, int], new: tuple[int, int]) -> None:
    there, back = two_proportions(*old, *new), two_proportions(*new, *old)
    assert there.value == pytest.approx(-back.value)
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.interval.low <= there.value <= there.interval.high


def test_an_empty_sample_says_nothing() -> None:
    result = two_proportions(0, 0, 3, 10)
    assert (result.value, result.p_value) == (0.0, 1.0)
    assert (result.interval.low, result.interval.high) == (-1.0, 1.0)
    assert math.isnan(result.reference)


def test_more_successes_than_trials_are_an_error() -> None:
    with pytest.raises(DataError, match=r"successes must lie in \[0, 10\], got 11"):
        two_proportions(1, 10, 11, 10)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_interval_covers_and_false_findings_are_rare(share: float) -> None:
    rng = np.random.default_rng(8)
    runs = 1000
    results = [
        two_proportions(int(a), 3000, int(b), 400)
        for a, b in zip(
            rng.binomial(3000, share, runs), rng.binomial(400, share, runs), strict=True
        )
    ]
    slack = 4 * math.sqrt(0.95 * 0.05 / runs)
    assert np.mean([r.interval.low <= 0 <= r.interval.high for r in results]) >= 0.95 - slack
    assert np.mean([r.p_value <= 0.05 for r in results]) <= 0.05 + slack


@pytest.mark.parametrize(("b", "a"), [(80, 2000), (200, 10_000), (5, 2600), (75, 4000)])
def test_far_out_the_p_value_is_near_the_exact_one(b: int, a: int) -> None:
    """Of 1000 rows against 100,000, where the normal limit is wrong by a factor of 3 to 30."""
    from scipy.stats import hypergeom

    found = two_proportions(a, 100_000, b, 1000)
    tails = hypergeom(101_000, a + b, 1000)
    exact = 2 * min(tails.sf(b - 1), tails.cdf(b))
    assert exact < 1e-3
    assert found.p_value == pytest.approx(exact, rel=1.0)
    assert found.p_value > exact / 2
