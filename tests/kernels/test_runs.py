"""Runs of one value, in C and in NumPy, against what itertools groups."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gyroscope.kernels import Runs, Stretch, compiled, read_runs, runs

few = st.sampled_from([0.0, 1.0, -1.0, 2.5, math.inf, math.nan])
columns = arrays(np.float64, st.integers(0, 200), elements=few) | arrays(
    np.float64, st.integers(0, 50), elements=st.floats(allow_nan=False)
)
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
ALL = 10**9  # groups


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


@relaxed
@given(columns, st.integers(0, 200))
def test_runs_are_those_that_are_seen(x: np.ndarray, cut: int) -> None:
    found = Runs()
    for piece in (x[:cut], x[cut:]):
        read_runs(Stretch(values=piece), found, groups=ALL)
    assert found.longest == max(lengths_of(x), default=0)
    present = x[~np.isnan(x)]
    lengths = lengths_of(present)
    assert (found.n, found.runs, found.run) == (present.size, len(lengths), (lengths or [0])[-1])
    orders = sum(math.lgamma(length + 1) for length in lengths[:-1])
    assert found.log_orders == pytest.approx(orders, rel=1e-12, abs=1e-12)
    assert bool(found.up) == bool((present[1:] >= present[:-1]).all())
    assert bool(found.down) == bool((present[1:] <= present[:-1]).all())
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(present)
        assert bool(found.even) == bool((np.isfinite(steps) & (steps == steps[:1])).all())


def test_values_beyond_the_bitmap_or_too_large_are_missing() -> None:
    x = np.array([0, 0, 0, 0, 7, 7, 7, 1], dtype=np.int32)
    found = Runs()
    numbers = Stretch(values=x, valid=memoryview(bytes([0b10110100, 1])), offset=1)
    read_runs(numbers, found, most=5, groups=ALL)
    # Valid are the rows 1, 3, 4, 6 and 7, of which 4 and 6 hold more than five.
    assert (found.n, found.longest, found.runs) == (3, 1, 2)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.int32, np.uint8])
def test_of_long_columns_in_no_order_the_longest_run_is_found(kind: type) -> None:
    x: np.ndarray = np.random.default_rng(1).permutation(3000).astype(kind)
    x[1400:1700] = 9
    found = Runs()
    read_runs(Stretch(values=x[:1500]), found)
    read_runs(Stretch(values=x[1500:]), found)
    assert found.longest == max(lengths_of(x.astype(float)))
    assert not found.careful
