import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.e_detector import (
    Detection,
    alarm_limit,
    cusum,
    log_boosts,
    mixed_log_e,
    next_cusum,
    next_shiryaev_roberts,
    parts_of,
    shift_sizes,
    shiryaev_roberts,
    starts_afresh,
)


@given(st.lists(st.floats(-3, 3), max_size=20))
def test_the_detector_is_the_sum_over_all_possible_starts(log_e: list[float]) -> None:
    carried = 0.0
    for value in log_e:
        carried = next_shiryaev_roberts(carried, value)
    from_start = sum(math.exp(sum(log_e[start:])) for start in range(len(log_e)))
    assert carried == pytest.approx(math.log1p(from_start))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_the_cusum_is_the_best_of_all_possible_starts(log_e: list[float]) -> None:
    cusum, start = 0.0, 0
    for k, value in enumerate(log_e):
        start = k if starts_afresh(cusum) else start
        cusum = next_cusum(cusum, value)
    sums = [sum(log_e[j:]) for j in range(len(log_e))]
    assert cusum == pytest.approx(max(sums))
    assert sums[start] == pytest.approx(max(sums))


def test_evidence_of_any_size_neither_overflows_nor_vanishes() -> None:
    assert next_shiryaev_roberts(1000.0, 5000.0) == pytest.approx(6000.0)
    assert next_shiryaev_roberts(1000.0, -5000.0) == pytest.approx(0.0)


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 3), max_size=20))
def test_a_mixture_is_the_mean_of_the_detectors_of_each_kind(
    steps: list[tuple[float, ...]],
) -> None:
    parts, carried = parts_of((), 3), 0.0
    for log_es in steps:
        carried = next_shiryaev_roberts(carried, mixed_log_e(parts, log_es))
        parts = tuple(map(next_shiryaev_roberts, parts, log_es))
    of_kind = [
        sum(math.exp(sum(step[j] for step in steps[start:])) for start in range(len(steps)))
        for j in range(3)
    ]
    assert carried == pytest.approx(math.log1p(sum(of_kind) / 3))
    assert math.log(np.mean(np.exp(parts))) == pytest.approx(carried)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=5), st.integers(1, 6))
def test_another_number_of_kinds_keeps_the_mean(parts: list[float], m: int) -> None:
    renewed = parts_of(parts, m)
    assert len(renewed) == m
    assert math.log(np.mean(np.exp(renewed))) == pytest.approx(math.log(np.mean(np.exp(parts))))


def mixture_lengths(seed: int, runs: int, chance: float, most: int) -> np.ndarray:
    """Steps to the alarm on ten coins a step, betting on four biases either way at once."""
    rng = np.random.default_rng(seed)
    stakes = np.array([-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8])
    parts, lengths = np.zeros((runs, stakes.size)), np.full(runs, most)
    for k in range(most):
        heads = rng.binomial(10, chance, (runs, 1))
        parts = np.logaddexp(0, parts + heads * np.log1p(stakes) + (10 - heads) * np.log1p(-stakes))
        alarm = np.log(np.mean(np.exp(parts), axis=1)) >= alarm_limit(100)
        lengths = np.where(alarm & (lengths == most), k + 1, lengths)
        parts = np.minimum(parts, 600)
    return lengths


def test_a_mixture_keeps_the_average_run_length_and_finds_a_small_change_of_any_kind() -> None:
    runs = 400
    # Cut off at 2000 steps, which can only shorten the mean.
    assert mixture_lengths(1, runs, 0.5, 2000).mean() >= 100 * (1 - 3 / math.sqrt(runs))
    for chance in (0.4, 0.6):  # 0.2 nats a step at best
        assert mixture_lengths(2, runs, chance, 200).mean() < 40


def run_length(rng: np.random.Generator, limit: float, change: int, most: int) -> int:
    """Steps to the alarm on coins that turn unfair (0.5 to 0.7) after ``change`` steps."""
    carried = 0.0
    for k in range(most):
        heads = rng.random() < (0.5 if k < change else 0.7)
        carried = next_shiryaev_roberts(carried, math.log(1.4 if heads else 0.6))
        if carried >= limit:
            return k + 1
    return most


def test_without_a_change_an_alarm_takes_at_least_the_average_run_length() -> None:
    rng = np.random.default_rng(8)
    lengths = [run_length(rng, alarm_limit(100), 10_000, 10_000) for _ in range(200)]
    # Run lengths are about exponential: the error of their mean is its 14th part.
    assert np.mean(lengths) >= 100 * (1 - 3 / math.sqrt(200))


def test_it_fires_soon_after_a_change_and_seldom_before() -> None:
    rng = np.random.default_rng(9)
    lengths = np.array([run_length(rng, alarm_limit(1000), 100, 1000) for _ in range(200)])
    assert np.mean(lengths <= 100) <= 0.15
    assert np.median(lengths[lengths > 100] - 100) < 90
    assert lengths.max() < 1000


@given(st.floats(1, 1e9))
def test_sizes_rise_evenly_to_two_standard_deviations(average_run_length: float) -> None:
    sizes = np.array(shift_sizes(average_run_length))
    assert sizes[-1] == pytest.approx(2)
    assert sizes[0] ** 2 / 2 * average_run_length == pytest.approx(8) or sizes[0] == 2
    ratios = sizes[1:] / sizes[:-1]
    assert ratios == pytest.approx(np.full(ratios.size, ratios[0]))
    assert np.all(ratios < 4)


@given(st.lists(st.floats(-1, 1), max_size=40))
def test_a_stream_is_watched_as_row_by_row_and_the_cusum_stays_below(x: list[float]) -> None:
    options = {"null_mean": 0.0, "lowest": -1.0, "average_run_length": 50.0}
    one, other = shiryaev_roberts(x, **options), cusum(x, **options)
    sizes, squares = np.array(shift_sizes(50.0)), 1.0
    detectors = np.zeros(sizes.size)  # M for each size
    for k, value in enumerate(x):
        stakes = np.minimum(sizes / math.sqrt(squares / (k + 1)), 0.95)
        detectors = (1 + detectors) * (1 + stakes * value)
        squares += value**2
        assert one.path[k] == pytest.approx(math.log1p(detectors.mean()), abs=1e-9)
        assert other.path[k] <= one.path[k] + 1e-9
        if one.alarm is None or k < one.alarm:
            assert one.path[k] < one.limit
    assert one.alarm is None or one.path[one.alarm] >= one.limit == math.log(51)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.1, 10), st.floats(-5, 5))
def test_unit_and_origin_of_the_observations_do_not_matter(
    x: list[float], unit: float, origin: float
) -> None:
    values = np.array(x)
    one = shiryaev_roberts(values, null_mean=0.4, lowest=0.0, average_run_length=50.0)
    moved = origin + unit * values
    other = shiryaev_roberts(
        moved, null_mean=origin + unit * 0.4, lowest=origin, average_run_length=50.0
    )
    assert one.path == pytest.approx(other.path, abs=1e-6)


def test_a_stream_that_never_varies_takes_no_more_than_the_average_run_length() -> None:
    """Why no lower limit would do: at the null mean all factors are 1 and M_k = k."""
    found = shiryaev_roberts(np.full(60, 0.3), null_mean=0.3, lowest=0.0, average_run_length=50.0)
    assert found.alarm in (49, 50)  # M of the 50th row is 50 but for rounding


def watched(x: np.ndarray, null_mean: float, average_run_length: float) -> np.ndarray:
    """Rows to the alarm in each stream of x[runs, n], one more than n without any."""
    found = [
        shiryaev_roberts(
            row, null_mean=null_mean, lowest=0.0, average_run_length=average_run_length
        ).alarm
        for row in x
    ]
    return np.array([x.shape[1] + 1 if alarm is None else alarm + 1 for alarm in found])


SPREAD = np.where(np.arange(300) < 50, 2.0, 200.0)  # a storm, then calm


@pytest.mark.parametrize(
    ("law", "null_mean"),
    [
        (lambda rng, shape: (rng.random(shape) < 0.03).astype(float), 0.03),
        (lambda rng, shape: rng.beta(20, 80, shape), 0.2),
        (lambda rng, shape: rng.beta(0.1, 0.9, shape), 0.1),
        (lambda rng, shape: rng.beta(1, 9, shape), 0.12),  # the mean is below
        (lambda rng, shape: rng.beta(0.3 * SPREAD, 0.7 * SPREAD, shape), 0.3),
    ],
    ids=["rare coins", "narrow", "skewed", "below", "calm after a storm"],
)
def test_whatever_the_law_a_false_alarm_takes_the_average_run_length(
    law: Callable[[np.random.Generator, tuple[int, int]], np.ndarray], null_mean: float
) -> None:
    runs = 40
    # Cut at 300 rows, the mean run is less than it would be.
    lengths = watched(law(np.random.default_rng(15), (runs, 300)), null_mean, 50.0)
    assert lengths.mean() + 4 * lengths.std() / math.sqrt(runs) >= 50


def test_a_small_shift_of_a_narrow_law_is_found_as_soon_as_a_large_one_of_coins() -> None:
    """Half a standard deviation in both; stakes for coins took three times as long."""
    rng, runs, calm = np.random.default_rng(16), 30, 100
    narrow = np.hstack([rng.beta(8, 32, (runs, calm)), rng.beta(9.3, 30.7, (runs, 200))])
    coins = (rng.random((runs, 300)) < np.where(np.arange(300) < calm, 0.2, 0.4)).astype(float)
    for x in (narrow, coins):
        delays = watched(x, 0.2, 1000.0) - calm
        assert np.mean(delays[delays > 0]) < 50


@pytest.mark.parametrize("watch", [shiryaev_roberts, cusum])
def test_a_stream_keeps_the_average_run_length_and_a_change_is_found(
    watch: Callable[..., Detection],
) -> None:
    rng = np.random.default_rng(12)
    options = {"null_mean": 0.0, "lowest": -1.0, "average_run_length": 100.0}
    # Cut at 500 rows, the mean run is less than it would be.
    alarms = [watch(rng.choice([-1.0, 1.0], 500), **options).alarm for _ in range(60)]
    runs = np.array([500 if alarm is None else alarm + 1 for alarm in alarms])
    assert runs.mean() + 4 * runs.std() / math.sqrt(60) >= 100
    calm, changed = rng.uniform(-1, 1, 200), rng.uniform(-0.4, 1, 300)
    found = watch(np.concatenate([calm, changed]), **(options | {"average_run_length": 1e5}))
    assert found.alarm is not None
    assert 200 < found.alarm < 350


def kept_mean(boost: float, tilt: float, needed: float) -> float:
    """The mean of min(boost e, needed) for e with the law of exp(tilt Z - tilt^2 / 2)."""
    from scipy.special import ndtr

    z = (math.log(needed / boost) + tilt**2 / 2) / tilt
    return float(boost * ndtr(z - tilt) + needed * ndtr(-z))


@pytest.mark.parametrize("tilt", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("value", [0.0, 10.0, 90.0, 200.0, 330.0])
def test_e_values_are_raised_until_what_the_alarm_can_use_has_mean_one(
    tilt: float, value: float
) -> None:
    boost = math.exp(log_boosts([math.log1p(value)], [(tilt, 0.0)], 365))
    assert kept_mean(boost, tilt, 365 / (1 + value)) == pytest.approx(1, abs=0.02)
    assert boost >= 1


RAISED = 300  # streams
TILTS = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=6)


@given(TILTS, st.integers(0, 2**32 - 1))
def test_a_boost_does_not_depend_on_order_side_or_axis(
    tilts: list[tuple[float, float]], seed: int
) -> None:
    parts = np.random.default_rng(seed).uniform(0, 6, len(tilts))
    boost = log_boosts(parts, tilts, 365)
    array = np.array(tilts)
    assert boost >= 0
    for same in (-array, array[:, ::-1], array * [1, -1]):
        assert log_boosts(parts, same, 365) == pytest.approx(boost, abs=1e-6)
    assert log_boosts(parts[::-1], array[::-1], 365) == pytest.approx(boost, abs=1e-6)
    streams = log_boosts(np.stack([parts, parts + 8]), array[None], 365)
    assert streams == pytest.approx([float(boost), 0.0])  # the second has passed the limit


def test_nothing_is_gained_where_nothing_is_known_of_the_law() -> None:
    assert log_boosts([1.0, 5.5], [(0.0, 0.0)] * 2, 365) == 0


def raised_lengths(seed: int, *, raised: bool, mean: float = 0.0) -> np.ndarray:
    """Steps to an alarm promised once in 50, of normal bets in two directions at once."""
    rng = np.random.default_rng(seed)
    tilts = np.array([(0.4, 0), (1.5, 0), (-0.4, 0), (-1.5, 0), (0, 0.4), (0, 1.5)])
    parts, lengths = np.zeros((RAISED, len(tilts))), []
    for step in range(1, 1000):
        z = rng.standard_normal((len(parts), 2)) + np.array([mean, 0.0])
        boosts = log_boosts(parts, tilts[None], 50)[:, None] if raised else 0.0
        parts = np.logaddexp(0, parts + z @ tilts.T - (tilts**2).sum(1) / 2 + boosts)
        alarm = np.log(np.mean(np.exp(np.minimum(parts, 600)), axis=1)) >= alarm_limit(50)
        lengths += [step] * int(alarm.sum())
        parts = parts[~alarm]
        if not len(parts):
            break
    return np.array(lengths)


def test_raised_e_values_keep_the_promise_and_no_more_than_it() -> None:
    error = 1 / math.sqrt(RAISED)  # run lengths are about exponential
    length = raised_lengths(1, raised=True).mean()
    assert 50 * (1 - 3 * error) <= length <= 53 * (1 + 3 * error)
    assert raised_lengths(1, raised=False).mean() > 1.25 * length
    delays = [raised_lengths(2, raised=raised, mean=1.0).mean() for raised in (True, False)]
    assert delays[0] < 0.92 * delays[1]
