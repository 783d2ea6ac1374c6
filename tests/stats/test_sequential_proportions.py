import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.sequential_proportions import sequential_proportions, two_stream_log_e

batch = st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
streams = st.lists(st.tuples(batch, batch), min_size=1, max_size=8)


def split(stream: list[tuple[tuple[int, int], tuple[int, int]]]) -> tuple[list[int], ...]:
    return tuple(list(x) for x in zip(*(old + new for old, new in stream), strict=True))


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("difference", [0.0, 0.15, -0.1])
def test_the_mean_over_all_outcomes_of_two_batches_is_at_most_one(
    m: int, n: int, share: float, difference: float
) -> None:
    other = share + difference
    total = 0.0
    for a1, b1, a2, b2 in itertools.product(range(m + 1), range(n + 1), repeat=2):
        chance = math.prod(
            math.comb(size, k) * p**k * (1 - p) ** (size - k)
            for k, size, p in ((a1, m, share), (a2, m, share), (b1, n, other), (b2, n, other))
        )
        log_e = two_stream_log_e([a1, a2], [m, m], [b1, b2], [n, n], difference=difference)[-1]
        total += chance * math.exp(log_e)
    assert total <= 1 + 1e-9


def test_without_difference_the_null_is_the_weighted_mean_as_in_the_source() -> None:
    """Turner, Ly and Grunwald: the factor is the likelihood ratio to the pooled share."""
    path = two_stream_log_e([3, 4], [10, 10], [9, 14], [20, 20])
    p, q = (3 + 0.18) / 10.36, (9 + 0.18) / 20.36
    pooled = (10 * p + 20 * q) / 30
    expected = 4 * math.log(p / pooled) + 6 * math.log((1 - p) / (1 - pooled))
    expected += 14 * math.log(q / pooled) + 6 * math.log((1 - q) / (1 - pooled))
    assert path[0] == pytest.approx(0.0)  # nothing was learned before the first batch
    assert path[1] == pytest.approx(expected)


@settings(max_examples=20)
@given(streams)
def test_swapping_streams_or_outcomes_changes_no_evidence(
    stream: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    a, m, b, n = split(stream)
    found = two_stream_log_e(a, m, b, n)
    assert two_stream_log_e(b, n, a, m) == pytest.approx(found, abs=1e-6)
    lost = [(np.array(size) - k).tolist() for k, size in ((a, m), (b, n))]
    assert two_stream_log_e(lost[0], m, lost[1], n) == pytest.approx(found, abs=1e-6)
    there, back = (sequential_proportions(*x, resolution=0.1) for x in ((a, m, b, n), (b, n, a, m)))
    assert there.interval.low == pytest.approx(-back.interval.high, abs=0.21)
    assert 0 < there.p_value <= 1


def test_looking_after_every_batch_rejects_and_misses_as_rarely_as_alpha() -> None:
    rng = np.random.default_rng(1)
    runs, batches = 120, 60
    rejected = missed = 0
    for _ in range(runs):
        a, b = rng.binomial(20, 0.3, batches), rng.binomial(5, 0.3, batches)
        sizes = np.full(batches, 20), np.full(batches, 5)
        rejected += sequential_proportions(a, sizes[0], b, sizes[1], resolution=0.5).p_value <= 0.1
        b = rng.binomial(5, 0.5, batches)
        largest = two_stream_log_e(a, sizes[0], b, sizes[1], difference=0.2).max()
        missed += largest >= math.log(10)
    slack = 4 * math.sqrt(0.1 * 0.9 / runs)
    assert rejected / runs <= 0.1 + slack
    assert missed / runs <= 0.1 + slack


def test_a_difference_is_found_and_the_interval_closes_on_it() -> None:
    rng = np.random.default_rng(2)
    sizes = np.full(200, 50)
    result = sequential_proportions(
        rng.binomial(50, 0.3, 200), sizes, rng.binomial(50, 0.4, 200), sizes
    )
    assert result.p_value < 1e-6
    assert result.log_e > 10
    assert 0.05 < result.interval.low < 0.1 < result.interval.high < 0.15
    assert result.value == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("resolution", [0.005, 0.1])
def test_a_truth_between_two_differences_of_the_grid_lies_in_the_interval(
    resolution: float,
) -> None:
    """So many rows that every difference of the grid is excluded."""
    rng = np.random.default_rng(3)
    n = np.array([20, 200, 2000, 20_000, 200_000, 2_000_000, 20_000_000])
    old, new = rng.binomial(n, 0.3), rng.binomial(n, 0.4023)
    found = sequential_proportions(old, n, new, n, resolution=resolution).interval
    assert found.low < 0.1023 < found.high
    assert found.high - found.low == pytest.approx(2 * resolution)


def test_no_batches_say_nothing() -> None:
    result = sequential_proportions([], [], [], [])
    assert (result.p_value, result.log_e) == (1.0, 0.0)
    assert math.isnan(result.value)
    assert (result.interval.low, result.interval.high) == (-1.0, 1.0)


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="every batch needs four counts"):
        two_stream_log_e([1], [2], [1, 1], [2, 2])
    with pytest.raises(DataError, match=r"successes of a batch must lie in \[0, n\]"):
        two_stream_log_e([3], [2], [1], [2])
    with pytest.raises(UsageError, match=r"resolution must lie in \(0, 1\), got 1"):
        sequential_proportions([1], [2], [1], [2], resolution=1)
