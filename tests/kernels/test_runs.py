"""Runs of one value, in C and in NumPy, against what itertools groups."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gyroscope.kernels import compiled, runs, runs_of

few = st.sampled_from([0.0, 1.0, -1.0, 2.5, math.inf, math.nan])
columns = arrays(np.float64, st.integers(1, 200), elements=few) | arrays(
    np.float64, st.integers(1, 50), elements=st.floats(allow_nan=False)
)


@pytest.fixture(params=["C", "NumPy"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "NumPy":
        monkeypatch.setattr(runs, "library", lambda: None)
    elif not compiled():
        pytest.skip("no compiler was there at installation")


def lengths_of(x: np.ndarray) -> list[int]:
    """Lengths of the runs; every NaN is one by itself."""
    # A NaN is not equal to itself: only its row tells it from the next.
    plain = [
        (0.0, row) if math.isnan(value) else (value, -1) for row, value in enumerate(x.tolist())
    ]
    return [len(list(group)) for _, group in groupby(plain)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(columns)
def test_runs_are_those_that_are_seen(x: np.ndarray) -> None:
    found, lengths = runs_of(x), lengths_of(x)
    assert (found.n, found.first, found.last) == (len(lengths), lengths[0], lengths[-1])
    assert found.longest == max(lengths)
    orders = sum(math.lgamma(length + 1) for length in lengths[1:-1])
    assert found.log_orders == pytest.approx(orders, rel=1e-12, abs=1e-12)


def test_long_runs_count_all_their_orders() -> None:
    x = np.repeat([1.0, 2.0, 3.0, 4.0], [5, 63, 1000, 2])
    found = runs_of(x)
    assert (found.n, found.first, found.longest, found.last) == (4, 5, 1000, 2)
    assert found.log_orders == pytest.approx(math.lgamma(64) + math.lgamma(1001))
