from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.errors import DataError
from gyroscope.stats.value_metrics import value_metrics

Vector = NDArray[np.float64]


def sample(seed: int, n: int) -> tuple[Vector, Vector]:
    random = np.random.default_rng(seed)
    predicted = random.normal(size=n) * 2
    return predicted + random.normal(size=n), predicted


def test_metrics_are_those_of_scikit_learn() -> None:
    y, predicted = sample(0, 300)
    found = value_metrics(y, predicted)
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(y, predicted))
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, predicted))
    assert found["r2"].value == pytest.approx(sk.r2_score(y, predicted))


def test_intervals_hold_as_often_as_they_say() -> None:
    truth = {"rmse": 1.0, "mae": np.sqrt(2 / np.pi), "r2": 0.8}
    runs, held = 300, dict.fromkeys(truth, 0)
    for seed in range(runs):
        found = value_metrics(*sample(seed, 200))
        for name, value in truth.items():
            interval = found[name].interval
            held[name] += interval.low <= value <= interval.high
    for often in held.values():
        assert abs(often / runs - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 50), st.floats(0.001, 1000), st.floats(-1e3, 1e3))
def test_units_scale_errors_and_leave_the_share_explained(
    seed: int, n: int, scale: float, shift: float
) -> None:
    y, predicted = sample(seed, n)
    one = value_metrics(y, predicted)
    two = value_metrics(y * scale + shift, predicted * scale + shift)
    assert two["rmse"].value == pytest.approx(one["rmse"].value * scale, rel=1e-6)
    assert two["mae"].value == pytest.approx(one["mae"].value * scale, rel=1e-6)
    assert two["r2"].value == pytest.approx(one["r2"].value, rel=1e-6, abs=1e-6)
    swapped = value_metrics(y[::-1], predicted[::-1])
    assert swapped["rmse"].value == pytest.approx(one["rmse"].value)


def test_what_rows_do_not_determine_is_undefined() -> None:
    assert not any(e.defined for e in value_metrics(np.empty(0), np.empty(0)).values())
    constant = value_metrics(np.ones(5), np.zeros(5))
    assert not constant["r2"].defined
    assert constant["rmse"].value == 1
    exact = value_metrics([1.0, 2.0], [1.0, 2.0])
    assert (exact["rmse"].value, exact["r2"].value) == (0, 1)


@pytest.mark.parametrize(
    ("y", "predicted", "message"),
    [
        ([1.0, 2.0], [1.0], "a prediction for each number"),
        ([np.nan], [1.0], "must be finite"),
        ([1.0], [np.inf], "must be finite"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(
    y: list[float], predicted: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        value_metrics(y, predicted)
