import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2_contingency, f_oneway

from gyroscope.stats.dispersion import (
    GATE,
    Dispersion,
    dispersion_of_scores,
    dispersion_of_shares,
    inflation,
    joined,
    pool,
    tail,
)

tables = arrays(
    np.int64, st.tuples(st.integers(1, 9), st.integers(1, 6)), elements=st.integers(0, 50)
)


def parts_of(rng: np.random.Generator, parts: int, rows: int, between: float) -> np.ndarray:
    """Counts of parts[parts] of normal rows, each part with a level of its own."""
    x = rng.normal(size=(parts, rows)) + between * rng.normal(size=(parts, 1))
    edges = np.linspace(-4, 4, 80)
    cells = np.searchsorted(edges, x)
    return np.array([np.bincount(row, minlength=81) for row in cells])


SCORES = np.linspace(-4.05, 4.05, 81)


def test_of_scores_it_is_the_analysis_of_variance_over_the_whole_variance() -> None:
    rng = np.random.default_rng(1)
    groups = [rng.integers(0, 5, 30) for _ in range(6)]
    counts = np.array([np.bincount(group, minlength=5) for group in groups])
    found = dispersion_of_scores(counts, np.arange(5))
    whole = np.concatenate(groups)
    within_and_between = whole.var() * whole.size
    f = f_oneway(*groups).statistic
    between = within_and_between * 5 * f / (5 * f + whole.size - 6)
    assert found.df == 5
    assert found.ratio == pytest.approx(between / 5 / whole.var())


def test_of_shares_it_is_the_chi_square_of_the_table_over_its_degrees_of_freedom() -> None:
    counts = np.array([[30, 40, 30], [35, 33, 32], [28, 41, 31], [29, 36, 35]])
    found = dispersion_of_shares(counts)
    expected = chi2_contingency(counts, correction=False)
    assert found.df == expected.dof
    assert found.ratio * found.df == pytest.approx(expected.statistic)


def test_one_share_that_moves_is_not_hidden_among_many_that_do_not() -> None:
    rng = np.random.default_rng(3)
    shares = np.full((40, 10), 0.1)
    shares[:, 0] += np.tile([0.06, -0.06], 20)
    shares[:, 1] -= np.tile([0.06, -0.06], 20)
    found = dispersion_of_shares(np.array([rng.multinomial(300, s) for s in shares]))
    assert found.df == 39
    assert found.ratio == pytest.approx(1 + 300 * 0.06**2 / 0.09, rel=0.4)


@given(tables)
def test_the_order_of_parts_does_not_matter_and_nothing_is_negative(counts: np.ndarray) -> None:
    for found, again in (
        (dispersion_of_shares(counts), dispersion_of_shares(counts[::-1])),
        (
            dispersion_of_scores(counts, np.arange(counts.shape[1])),
            dispersion_of_scores(counts[::-1], np.arange(counts.shape[1])),
        ),
    ):
        assert found.ratio >= 0
        assert found.df >= 0
        assert found.ratio == pytest.approx(again.ratio, abs=1e-9)


@pytest.mark.parametrize("counts", [[[0, 0]], [[5, 0], [7, 0]], [[3, 4]], np.zeros((4, 3))])
def test_without_two_parts_or_two_values_nothing_is_known(counts: list[list[int]]) -> None:
    found = dispersion_of_shares(counts)
    assert (found.ratio, found.df) == (1.0, 0)
    found = dispersion_of_scores(counts, np.arange(np.shape(counts)[1]))
    assert (found.ratio, found.df) == (1.0, 0)


def test_independent_rows_pass_the_gate_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(4)
    runs = 2000
    counts = rng.multinomial(100, np.full(10, 0.1), (runs, 16))
    tails = np.array(
        [[tail(d.ratio, d.df) for d in (dispersion_of_scores(c, np.arange(10)),)] for c in counts]
    ).ravel()
    for level in (0.05, 0.2):
        error = math.sqrt(level * (1 - level) / runs)
        assert np.mean(tails < level) == pytest.approx(level, abs=4 * error)


def test_the_variance_of_a_batch_is_read_off_at_the_size_of_the_window() -> None:
    """Batches of 200 with a level of their own of 0.2 sd: a batch of 800 is worth 1 in 33."""
    rng = np.random.default_rng(5)
    counts = parts_of(rng, 64, 200, between=0.2)
    scales = [counts]
    found = [dispersion_of_scores(counts, SCORES)]
    assert found[0].ratio == pytest.approx(1 + 200 * 0.04, rel=0.4)
    assert inflation(found, 100) == pytest.approx(found[0].ratio, rel=0.2)
    assert inflation(found, 800) == pytest.approx(1 + (inflation(found, 200) - 1) * 4)
    assert inflation(found, [100, 800]).shape == (2,)
    assert len(joined(scales[0])) == 32


def test_neighbours_that_resemble_each_other_inflate_no_further_in_larger_windows() -> None:
    """Runs of ten equal rows: any window is worth a tenth of its rows, however large."""
    rng = np.random.default_rng(6)
    counts, found = (
        np.asarray(rng.multinomial(20, np.full(8, 1 / 8), 64) * 10.0, dtype=np.float64),
        [],
    )
    while len(counts) >= 8:
        found.append(dispersion_of_scores(counts, np.arange(8)))
        counts = joined(counts)
    assert [d.rows for d in found] == [200, 400, 800, 1600]
    assert inflation(found, 400) == pytest.approx(10, rel=0.5)
    assert inflation(found, 1600) < 30


def test_chance_inflates_nothing() -> None:
    rng = np.random.default_rng(7)
    factors = []
    for _ in range(200):
        counts, found = (
            np.asarray(rng.multinomial(200, np.full(8, 1 / 8), 64), dtype=np.float64),
            [],
        )
        while len(counts) >= 8:
            found.append(dispersion_of_scores(counts, np.arange(8)))
            counts = joined(counts)
        factors.append(inflation(found, 1600))
    assert np.mean(np.array(factors) > 1) <= 4 * GATE + 4 * math.sqrt(4 * GATE / 200)


def test_what_many_columns_show_together_counts_for_each() -> None:
    weak = [Dispersion(rows=100, ratio=1.3, df=15)]
    columns = [weak] * 40
    assert inflation(weak, 100) == 1
    assert inflation(weak, 100, pool(columns)) == pytest.approx(1.3)
    assert pool([]) == []
    assert inflation([], 100, pool([weak])) == 1
