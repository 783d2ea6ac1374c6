from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats import chi_square, kolmogorov_smirnov, psi
from gyroscope.stats.batches import Intervals, row
from gyroscope.stats.counts import paired_count_batches, pool_rare_cells, pool_rare_cells_batch
from gyroscope.stats.two_proportions import (
    TwoProportionsResult,
    two_proportions,
    two_proportions_batch,
)

COLUMNS, WINDOWS, CELLS = 4, 60, 7
TESTS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (psi.psi, psi.psi_batch),
    (chi_square.chi_square, chi_square.chi_square_batch),
    (chi_square.g_test, chi_square.g_test_batch),
    (
        kolmogorov_smirnov.kolmogorov_smirnov_from_counts,
        kolmogorov_smirnov.kolmogorov_smirnov_batch,
    ),
]


def samples() -> tuple[np.ndarray, np.ndarray]:
    """References[columns, 1, cells] and windows[columns, windows, cells].

    Many cells are rare; the second column has one cell only, and the last windows are empty.
    """
    rng = np.random.default_rng(30)
    shares = rng.dirichlet(np.full(CELLS, 0.5), COLUMNS)
    shares[1] = np.eye(CELLS)[2]
    reference = rng.multinomial(500, shares)[:, None, :]
    sizes = np.where(np.arange(WINDOWS) < WINDOWS - 3, rng.integers(1, 300, WINDOWS), 0)
    return reference, rng.multinomial(sizes, shares[:, None, :])


@pytest.mark.parametrize(("single", "batch"), TESTS)
def test_a_batch_is_the_test_of_each_pair(
    single: Callable[..., Any], batch: Callable[..., Any]
) -> None:
    reference, current = samples()
    found = batch(reference, current, alpha=0.01)
    assert found.value.shape == found.n_reference.shape == (COLUMNS, WINDOWS)
    for at in np.ndindex(COLUMNS, WINDOWS):
        expected = single(reference[at[0], 0], current[at], alpha=0.01)
        result = row(found, type(expected), at)
        for name in expected.__struct_fields__:
            a, b = getattr(result, name), getattr(expected, name)
            assert type(a) is type(b)
            if isinstance(a, Interval):
                a, b = (a.low, a.high), (b.low, b.high)
            assert a == pytest.approx(b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("single", "batch"), TESTS)
def test_a_batch_may_be_empty(single: Callable[..., Any], batch: Callable[..., Any]) -> None:
    assert batch(np.zeros(5), np.zeros((0, 5))).p_value.shape == (0,)
    assert batch(np.zeros((2, 0)), np.zeros((2, 0))).p_value.tolist() == [1.0, 1.0]


def test_pooling_a_batch_keeps_its_width_and_the_cells_of_each_pair() -> None:
    reference, current = samples()
    pooled = pool_rare_cells_batch(reference, current, rare=(1,))
    for at in np.ndindex(COLUMNS, WINDOWS):
        expected = pool_rare_cells(reference[at[0], 0], current[at], rare=(1,))
        held = (pooled[0][at] + pooled[1][at]) > 0
        for found, kept in zip(pooled, expected, strict=True):
            assert found[at].size == CELLS
            assert sorted(found[at][held]) == sorted(kept)


def test_pooling_no_cells_leaves_none() -> None:
    assert pool_rare_cells_batch(np.zeros((3, 0)), np.zeros((3, 0)))[0].shape == (3, 0)


def test_proportions_in_a_batch_are_compared_pair_by_pair() -> None:
    rng = np.random.default_rng(31)
    m, n = rng.integers(0, 3000, 400), rng.integers(0, 200, 400)
    share = rng.choice([0, 0.001, 0.02, 0.4, 0.99, 1], 400)
    a, b = rng.binomial(m, share), rng.binomial(n, share)
    found = two_proportions_batch(a, m, b, n)
    for i in range(400):
        result = row(found, TwoProportionsResult, (i,))
        expected = two_proportions(int(a[i]), int(m[i]), int(b[i]), int(n[i]))
        assert result.p_value == pytest.approx(expected.p_value, rel=1e-9)
        assert result.interval == expected.interval


def test_proportions_out_of_range_name_the_pair_at_fault() -> None:
    with pytest.raises(DataError, match=r"successes must lie in \[0, 5\], got 7"):
        two_proportions_batch([1, 7], [9, 5], 2, 8)


def test_counts_of_a_batch_that_cannot_be_used_say_why() -> None:
    with pytest.raises(DataError, match=r"got -1\.0 in cell 0 of row \[1\]"):
        paired_count_batches([1, 2], [[1, 2], [-1, 3]])
    with pytest.raises(DataError, match="same cells, got 2 cells for the reference and 3"):
        paired_count_batches([1, 2], [[1, 2, 3]])
    with pytest.raises(DataError, match=r"must broadcast, got counts of shape \(2, 1\)"):
        paired_count_batches([[1], [2]], [[1], [2], [3]])
    with pytest.raises(DataError, match=r"over cells, got the number 3\.0"):
        paired_count_batches(3, [1])


def test_a_row_is_numbers() -> None:
    ends = row(Intervals(np.array([0.0, 1.0]), np.array([2.0, 3.0])), Interval, (1,))
    assert ends == Interval(1.0, 3.0)
    assert isinstance(ends.low, float)
