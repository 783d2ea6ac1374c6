import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.row_order import RunScan, says_something
from gyroscope.kernels import Stretch

values = st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan]), max_size=60)


def scanned(*pieces: list[float] | np.ndarray) -> RunScan:
    scan = RunScan(groups=3)
    for piece in pieces:
        scan.read(Stretch(values=np.asarray(piece, dtype=np.float64)))
    return scan


@given(values, st.integers(0, 60))
def test_pieces_make_no_difference(x: list[float], cut: int) -> None:
    whole, pieces = scanned(x), scanned(x[:cut], x[cut:])
    for name in ("longest", "ascends", "sorts"):
        assert getattr(whole, name) == getattr(pieces, name), name
    assert whole.groups(3) == pieces.groups(3)


def test_the_longest_run_ends_where_a_value_is_missing() -> None:
    assert scanned([1, 1, 2, 2], [2, math.nan, 2, 2, 2]).longest == 3


RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("x", "sorts"),
    [
        (np.sort(RNG.normal(size=500)), True),
        (-np.sort(RNG.integers(0, 4, 500)), True),
        (np.arange(500), False),  # numbers of rows
        (RNG.normal(size=500), False),
        (np.full(500, 3.0), False),
        (np.array([0.0] * 499 + [1.0]), False),  # one of 500 stands last by chance
        (np.array([1.0, 2.0, 3.5]), False),
    ],
)
def test_only_what_chance_does_not_explain_is_sorted(x: np.ndarray, sorts: bool) -> None:
    assert scanned(x).sorts == sorts


def test_categories_that_stand_together_are_grouped() -> None:
    assert scanned(np.repeat([2.0, 0.0, 1.0], 100)).groups(3)
    assert not scanned(RNG.integers(0, 3, 300)).groups(3)


def test_times_that_ascend_outweigh_a_sorted_column() -> None:
    assert says_something([scanned(np.arange(50.0) ** 2)], sorted_by_others=True)
    assert not says_something([scanned(RNG.random(50))], sorted_by_others=True)
    assert says_something([], sorted_by_others=False)
