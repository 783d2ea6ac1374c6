import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm, wasserstein_distance

from gyroscope.errors import DataError
from gyroscope.stats import distances
from gyroscope.stats.batches import row
from gyroscope.stats.distances import (
    hellinger,
    hellinger_batch,
    jensen_shannon_distance,
    jensen_shannon_distance_batch,
    jensen_shannon_divergence,
    jensen_shannon_divergence_batch,
    permutation_p_value,
    total_variation,
    total_variation_batch,
    wasserstein,
    wasserstein_from_counts,
)
from gyroscope.stats.divergences import DivergenceBatch, DivergenceResult

counts = st.integers(2, 10).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 300), min_size=n, max_size=n)] * 2)
)
full = counts.filter(lambda pair: bool(sum(pair[0]) and sum(pair[1])))
values = arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([-2, 0.5, 1, 3.25, 7]))
Distance = Callable[..., DivergenceResult]
Batch = Callable[..., DivergenceBatch]
ALL = [jensen_shannon_divergence, jensen_shannon_distance, hellinger, total_variation]
DECILES = norm.ppf(np.linspace(0, 1, 11))


def shares(shift: float) -> np.ndarray:
    return np.diff(norm.cdf(DECILES - shift))


def slack(level: float, runs: int) -> float:
    return 4 * math.sqrt(level * (1 - level) / runs)


@settings(max_examples=50)
@given(full)
def test_the_values_are_those_of_scipy_and_of_the_definitions(
    pair: tuple[list[int], list[int]],
) -> None:
    q, p = (np.array(x) / sum(x) for x in pair)
    found = jensen_shannon_distance(*pair).value
    assert found**2 == pytest.approx(jensen_shannon_divergence(*pair).value, abs=1e-9)
    if not np.allclose(p, q):
        assert found == pytest.approx(jensenshannon(p, q), abs=1e-7)
    affinity = min(np.sqrt(p * q).sum(), 1.0)
    assert hellinger(*pair).value ** 2 == pytest.approx(1 - affinity, abs=1e-9)
    assert total_variation(*pair).value == pytest.approx(np.abs(p - q).sum() / 2)


@pytest.mark.parametrize("distance", ALL)
@settings(max_examples=25)
@given(pair=full)
def test_swapping_samples_and_cells_changes_nothing(
    distance: Distance, pair: tuple[list[int], list[int]]
) -> None:
    found, swapped = distance(*pair), distance(*pair[::-1])
    turned = distance(pair[0][::-1], pair[1][::-1])
    for other in (swapped, turned):
        assert other.value == pytest.approx(found.value, abs=1e-7)
        assert other.p_value == pytest.approx(found.p_value, abs=1e-7)
        assert other.interval.low == pytest.approx(found.interval.low, abs=1e-6)
    assert 0 <= found.interval.low <= found.value + 1e-9
    assert found.value <= found.interval.high + 1e-9


@pytest.mark.parametrize("distance", ALL)
def test_empty_samples_and_single_cells_say_nothing(distance: Distance) -> None:
    for pair in (([], []), ([1, 2], [0, 0]), ([0, 7], [0, 3])):
        result = distance(*pair)
        assert (result.value, result.p_value) == (0.0, 1.0)
    assert distance([1, 2], [0, 0]).interval.high >= 1


def population(kind: Batch, shift: float) -> float:
    return float(kind(shares(0) * 1e13, shares(shift) * 1e13).value)


@pytest.mark.parametrize(
    "kind", [jensen_shannon_divergence_batch, hellinger_batch, total_variation_batch]
)
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.7])
@pytest.mark.parametrize(("m", "n"), [(5000, 400), (1000, 1000)])
def test_the_interval_covers_the_distance_of_the_populations(
    kind: Batch, shift: float, m: int, n: int
) -> None:
    rng = np.random.default_rng(1)
    runs = 800
    truth = population(kind, shift)
    found = kind(rng.multinomial(m, shares(0), runs), rng.multinomial(n, shares(shift), runs))
    covered = (found.interval.low <= truth + 1e-6) & (truth <= found.interval.high + 1e-9)
    assert covered.mean() >= 0.95 - slack(0.05, runs)


def test_no_interval_reaches_beyond_the_largest_distance() -> None:
    for n in (1, 5, 1000):
        apart = [n, 0], [0, n]
        assert distances.hellinger(*apart).interval.high == 1
        assert distances.jensen_shannon_divergence(*apart).interval.high == math.log(2)
        root = distances.jensen_shannon_distance(*apart)
        assert root.interval.high == pytest.approx(root.value) == math.sqrt(math.log(2))


@pytest.mark.parametrize(
    "kind", [jensen_shannon_divergence_batch, hellinger_batch, total_variation_batch]
)
def test_without_change_bias_and_level_are_as_stated(kind: Batch) -> None:
    rng = np.random.default_rng(2)
    runs = 3000
    # Some cells never hold anything: the bias counts those that do.
    each = np.append(np.arange(5, 15) / 95, [0.0, 0.0])
    found = kind(rng.multinomial(3000, each, runs), rng.multinomial(500, each, runs))
    power = 2 if kind is hellinger_batch else 1  # its bias is that of the square
    assert (found.value**power).mean() == pytest.approx((found.bias**power).mean(), rel=0.04)
    false = np.mean(found.p_value <= 0.05)
    if kind is total_variation_batch:
        assert false <= 0.05  # a bound
        far = kind(rng.multinomial(3000, each), rng.multinomial(500, each[::-1]))
        assert far.p_value < 1e-6
    else:
        assert false == pytest.approx(0.05, abs=slack(0.05, runs))


def test_a_row_of_a_batch_is_the_single_result() -> None:
    rng = np.random.default_rng(3)
    reference, current = rng.multinomial(90, shares(0)), rng.multinomial(50, shares(0.2), 4)
    for single, batch in (
        (jensen_shannon_divergence, jensen_shannon_divergence_batch),
        (jensen_shannon_distance, jensen_shannon_distance_batch),
        (hellinger, hellinger_batch),
        (total_variation, total_variation_batch),
    ):
        expected = single(reference, current[2])
        assert row(batch(reference, current), DivergenceResult, (2,)) == expected


@settings(max_examples=40)
@given(values, values)
def test_the_wasserstein_distance_is_that_of_scipy(a: np.ndarray, b: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    found = wasserstein(a, b, rng, permutations=1)
    assert found.value == pytest.approx(wasserstein_distance(a, b), abs=1e-9)
    scaled = wasserstein(10 - 3 * b, 10 - 3 * a, rng, permutations=1)
    assert scaled.value == pytest.approx(3 * found.value, abs=1e-9)
    assert scaled.bias == pytest.approx(3 * found.bias, abs=1e-9)
    assert found.interval.low <= found.value <= found.interval.high


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.floats(-1, 1))
def test_from_counts_the_distance_is_within_the_stated_error(
    seed: int, cells: int, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(80), rng.random(60) + shift
    edges = np.linspace(-1, 2, cells + 1)
    found = wasserstein_from_counts(
        np.histogram(a, edges)[0],
        np.histogram(b, edges)[0],
        (edges[1:] + edges[:-1]) / 2,
        rng,
        radius=np.diff(edges) / 2,
        permutations=1,
    )
    assert abs(found.value - wasserstein_distance(a, b)) <= found.error + 1e-9


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
def test_the_wasserstein_interval_covers_and_its_bias_is_right(shift: float) -> None:
    rng = np.random.default_rng(5)
    runs, covered, observed, bias = 200, 0, [], []
    for _ in range(runs):
        found = wasserstein(rng.normal(size=800), rng.normal(shift, size=200), rng, permutations=1)
        covered += found.interval.low <= shift <= found.interval.high
        observed.append(found.value)
        bias.append(found.bias)
    assert covered / runs >= 0.95 - slack(0.05, runs)
    if shift == 0:
        assert np.mean(observed) == pytest.approx(np.mean(bias), rel=0.12)


def test_the_permutation_test_keeps_its_level_and_finds_a_shift() -> None:
    rng = np.random.default_rng(6)
    runs = 300
    positions = np.arange(12.0)
    pairs = [
        (rng.multinomial(300, np.full(12, 1 / 12)), rng.multinomial(80, np.full(12, 1 / 12)))
        for _ in range(runs)
    ]
    found = [
        wasserstein_from_counts(*pair, positions, rng, permutations=99).p_value for pair in pairs
    ]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=slack(0.05, runs))
    moved = wasserstein_from_counts([50, 50, 0], [10, 60, 30], [0, 1, 2], rng)
    assert moved.p_value == 0.001

    def variation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return distances.total_variation_batch(a, b).value

    assert permutation_p_value(variation, [50, 50, 0], [10, 60, 30], rng) == 0.001


def test_what_cannot_be_used_says_why() -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(DataError, match="the current sample holds missing or infinite values"):
        wasserstein([1.0], [math.inf], rng)
    with pytest.raises(DataError, match="positions must be 2 finite ascending numbers"):
        wasserstein_from_counts([1, 2], [1, 2], [3, 1], rng)
    empty = wasserstein([], [1.0], rng)
    assert (empty.value, empty.p_value, empty.interval.high) == (0.0, 1.0, math.inf)
