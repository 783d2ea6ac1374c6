import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.e_detector import (
    alarm_limit,
    next_cusum,
    next_shiryaev_roberts,
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
