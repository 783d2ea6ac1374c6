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
    next_cusum,
    next_shiryaev_roberts,
    shiryaev_roberts,
    starts_afresh,
)
from gyroscope.stats.e_values import STAKES


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


@given(st.lists(st.floats(-1, 1), max_size=40))
def test_a_stream_is_watched_as_row_by_row_and_the_cusum_stays_below(x: list[float]) -> None:
    options = {"null_mean": 0.0, "lowest": -1.0, "average_run_length": 50.0}
    one, other = shiryaev_roberts(x, **options), cusum(x, **options)
    detectors = np.zeros(len(STAKES))  # M for each stake
    for k, value in enumerate(x):
        detectors = (1 + detectors) * (1 + np.array(STAKES) * value)
        assert one.path[k] == pytest.approx(math.log1p(detectors.mean()), abs=1e-9)
        assert other.path[k] <= one.path[k] + 1e-9
        if one.alarm is None or k < one.alarm:
            assert one.path[k] < one.limit
    assert one.alarm is None or one.path[one.alarm] >= one.limit == math.log(51)


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
