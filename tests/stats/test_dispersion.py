import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2_contingency, f_oneway, norm, t

from gyroscope.stats.dispersion import (
    GATE,
    Dispersion,
    dispersion_of_scores,
    dispersion_of_shares,
    growing_dispersions_of_scores,
    growing_dispersions_of_scores_batch,
    growing_dispersions_of_shares,
    growing_dispersions_of_shares_batch,
    inflation,
    is_dependent,
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


def bounds(found: Dispersion, *dfs: int) -> list[float]:
    """The ratio, raised to give a normal deviate the tail of Student's t at one in a million."""
    return [found.ratio * (t.isf(5e-7, df) / norm.isf(5e-7)) ** 2 for df in dfs]


def test_the_variance_of_a_batch_is_read_off_at_the_size_of_the_window() -> None:
    """Batches of 200 with a level of their own of 0.2 sd: a batch of 800 is worth 1 in 33."""
    rng = np.random.default_rng(5)
    counts = parts_of(rng, 64, 200, between=0.2)
    scales = [counts]
    found = [dispersion_of_scores(counts, SCORES)]
    assert found[0].ratio == pytest.approx(1 + 200 * 0.04, rel=0.4)
    # 64 windows of 200 have been seen, 16 of 800: the bounds are those of Student's t.
    at_200, at_800 = (
        1 + (r - 1) * k for r, k in zip(bounds(found[0], 63, 15), (1, 4), strict=True)
    )
    assert inflation(found, 200) == pytest.approx(at_200)
    assert inflation(found, 100) == pytest.approx(at_200, rel=0.1)
    assert inflation(found, 800) == pytest.approx(at_800)
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
    # No further but for what few windows leave unknown: 32 of 400, 8 of 1600.
    assert inflation(found, 400) <= bounds(found[1], 31)[0] * (1 + 1e-6)
    assert inflation(found, 1600) <= bounds(found[3], 7)[0] * (1 + 1e-6)
    assert found[3].ratio < 20


def test_chance_makes_no_rows_dependent() -> None:
    rng = np.random.default_rng(7)
    passed = 0
    for _ in range(400):
        counts, found = (
            np.asarray(rng.multinomial(200, np.full(8, 1 / 8), 64), dtype=np.float64),
            [],
        )
        while len(counts) >= 8:
            found.append(dispersion_of_scores(counts, np.arange(8)))
            counts = joined(counts)
        passed += is_dependent(found)
    assert passed <= 400 * GATE + 4 * math.sqrt(400 * GATE)


def test_what_many_columns_show_together_is_more_than_one_shows() -> None:
    weak = [Dispersion(rows=100, ratio=1.3, df=63, worst=1.3, parts=64)]
    columns = [weak] * 40
    assert not is_dependent(weak)
    assert is_dependent(pool(columns))
    assert not is_dependent(pool(columns, alike=1.0))  # forty times the same column
    assert pool([]) == []
    assert inflation(weak, 100) == pytest.approx(bounds(weak[0], 63)[0])
    assert inflation([], 100) == 1


def test_what_is_alike_in_columns_that_go_together_is_told_once() -> None:
    """Independent rows of columns with a correlation of 0.7 pass as rarely as they should."""
    rng = np.random.default_rng(8)
    passed = 0
    for _ in range(150):
        x = 0.7**0.5 * rng.normal(size=(2048, 1)) + 0.3**0.5 * rng.normal(size=(2048, 15))
        cells = np.searchsorted(np.linspace(-3, 3, 20), x).reshape(16, 128, 15)
        counts = (cells[..., None] == np.arange(21)).sum(axis=1)
        columns = [[dispersion_of_scores(counts[:, j], np.arange(21))] for j in range(15)]
        (together,) = pool(columns, alike=0.49)
        passed += bool(tail(together.ratio, together.df) < 0.01)
    assert passed <= 150 * 0.01 + 4 * math.sqrt(150 * 0.01)


def test_a_batch_that_moves_many_shares_a_little_is_told_by_its_direction() -> None:
    """The largest eigenvalue is 1 + n t^2 for shares p (1 + t g v), v of mean 0 and variance 1."""
    rng = np.random.default_rng(9)
    k, n, t_ = 20, 200, 0.2
    v = np.tile([1.0, -1.0], k // 2)
    shares = (1 + t_ * np.clip(rng.normal(size=(256, 1)), -4, 4) * v) / k
    found = dispersion_of_shares(np.array([rng.multinomial(n, p) for p in shares]))
    assert found.worst == pytest.approx(1 + n * t_**2, rel=0.25)
    assert found.ratio < 2
    still = dispersion_of_shares(rng.multinomial(n, np.full(k, 1 / k), 256))
    assert still.worst < 1.5


@given(
    arrays(
        np.int64,
        st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 6)),
        elements=st.integers(0, 50),
    )
)
def test_many_columns_at_once_are_as_each_by_itself(counts: np.ndarray) -> None:
    scores = np.tile(np.arange(counts.shape[2], dtype=float), (len(counts), 1))
    for together, alone in (
        (growing_dispersions_of_shares_batch(counts), growing_dispersions_of_shares),
        (
            growing_dispersions_of_scores_batch(counts, scores),
            lambda column: growing_dispersions_of_scores(column, scores[0]),
        ),
    ):
        for column, found in zip(counts, together, strict=True):
            expected = alone(column)
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert msgspec.structs.astuple(one) == pytest.approx(
                    msgspec.structs.astuple(other), rel=1e-9, abs=1e-9
                )
