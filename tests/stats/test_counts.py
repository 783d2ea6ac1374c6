import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.errors import DataError
from gyroscope.stats.counts import MIN_EXPECTED, paired_counts, pool_rare_cells

cells = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 300), min_size=n, max_size=n)] * 2)
)


def test_rare_cells_are_binned_together_at_the_end() -> None:
    reference, current = pool_rare_cells([600, 3, 390, 4, 3], [590, 5, 395, 4, 6])
    assert reference.tolist() == [600, 390, 10]
    assert current.tolist() == [590, 395, 15]


def test_a_rest_that_is_too_small_joins_the_smallest_cell() -> None:
    reference, current = pool_rare_cells([600, 398, 2], [500, 499, 1])
    assert reference.tolist() == [600, 400]
    assert current.tolist() == [500, 500]


def test_a_rare_cell_that_becomes_common_is_kept() -> None:
    reference, current = pool_rare_cells([19_980, 20], [90, 10])
    assert reference.tolist() == [19_980, 20]
    assert current.tolist() == [90, 10]


def test_a_cell_named_rare_is_pooled_whatever_its_size() -> None:
    reference, _ = pool_rare_cells([500, 300, 200], [500, 300, 200], rare=(2,))
    assert reference.tolist() == [500, 300, 200]
    reference, _ = pool_rare_cells([500, 300, 2, 200], [500, 300, 2, 200], rare=(3,))
    assert reference.tolist() == [500, 300, 202]


@given(cells)
def test_pooling_keeps_every_observation(pair: tuple[list[int], list[int]]) -> None:
    reference, current = pool_rare_cells(*pair)
    assert reference.sum() == sum(pair[0])
    assert current.sum() == sum(pair[1])


@given(cells)
def test_pooling_does_not_care_which_sample_is_the_reference(
    pair: tuple[list[int], list[int]],
) -> None:
    there, back = pool_rare_cells(*pair), pool_rare_cells(*pair[::-1])
    assert [x.tolist() for x in there] == [x.tolist() for x in back[::-1]]


@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_no_small_cell_is_left_when_nothing_has_changed(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, levels + 1)
    a, b = (rng.multinomial(n, shares / shares.sum()) for n in (5000, 800))
    reference, current = pool_rare_cells(a, b)
    assert np.all((reference + current) * (800 / 5800) >= MIN_EXPECTED)


@pytest.mark.parametrize(
    ("reference", "current", "message"),
    [
        ([1, 2], [1], "same cells, got 2 cells for the reference and 1 for the current"),
        ([1, -2], [1, 2], "reference counts must be 0 or more, got -2.0 in cell 1"),
        ([1, 2], [np.nan, 2], "current counts must be 0 or more, got nan in cell 0"),
        ([[1]], [[1]], "reference counts must be an array of one dimension, got 2"),
    ],
)
def test_counts_that_cannot_be_used_say_why(
    reference: list[float], current: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        paired_counts(reference, current)
