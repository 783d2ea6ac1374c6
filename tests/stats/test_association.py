import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, norm, pearsonr, rankdata
from sklearn.metrics import mutual_info_score

from gyroscope.errors import DataError
from gyroscope.stats.association import (
    correlation_change,
    mutual_information,
    mutual_information_change,
    pooled_tables,
)

tables = arrays(np.int64, (4, 3), elements=st.integers(0, 60)).filter(lambda t: t.sum() > 0)
INDEPENDENT = np.outer([0.3, 0.4, 0.2, 0.1], [0.6, 0.4])
TILTED = np.array([[0.25, 0.05], [0.25, 0.15], [0.08, 0.12], [0.03, 0.07]])
TILTED_COUNTS = np.array([[50, 10, 5], [30, 30, 10], [10, 30, 30], [5, 10, 50]])


def slack(level: float, runs: int) -> float:
    return 4 * math.sqrt(level * (1 - level) / runs)


def draw(rng: np.random.Generator, n: int, shares: np.ndarray, runs: int) -> np.ndarray:
    return rng.multinomial(n, shares.ravel(), runs).reshape(runs, *shares.shape)


def information(shares: np.ndarray) -> float:
    product = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    return float((shares * np.log(shares / product)).sum())


@settings(max_examples=50)
@given(tables)
def test_the_information_is_that_of_scikit_learn_less_the_bias(table: np.ndarray) -> None:
    rows, columns = (np.repeat(x.ravel(), table.ravel()) for x in np.indices(table.shape))
    plug_in = mutual_info_score(rows, columns)
    held = [np.count_nonzero(x) for x in (table, table.sum(axis=1), table.sum(axis=0))]
    bias = (held[0] - held[1] - held[2] + 1) / (2 * table.sum())
    assert mutual_information(table).value == pytest.approx(plug_in - bias, abs=1e-9)


@settings(max_examples=50)
@given(tables, tables)
def test_swapping_the_samples_turns_the_sign_and_labels_may_be_swapped(
    a: np.ndarray, b: np.ndarray
) -> None:
    for change in (mutual_information_change, correlation_change):
        there, back = change(a, b), change(b, a)
        assert there.value == pytest.approx(-back.value, abs=1e-9)
        assert there.p_value == pytest.approx(back.p_value, abs=1e-9)
        assert there.interval.low <= there.value <= there.interval.high
        turned = change(a[::-1, ::-1], b[::-1, ::-1])
        assert turned.value == pytest.approx(there.value, abs=1e-6)
        assert change(a.T, b.T).value == pytest.approx(there.value, abs=1e-6)


def test_a_correlation_of_1_up_to_rounding_says_nothing_however_it_is_turned() -> None:
    for counts in np.random.default_rng(6).integers(1, 60, (200, 3)):
        a, b = np.diag(counts), np.diag(counts[::-1])
        for tables in ((a, b), (a.T, b.T), (a[::-1, ::-1], b[::-1, ::-1])):
            found = correlation_change(*tables)
            assert found.reference == pytest.approx(1.0)
            assert (found.value, found.p_value) == (0.0, 1.0)


def test_bias_and_error_of_the_information_are_as_stated() -> None:
    rng = np.random.default_rng(1)
    for shares in (INDEPENDENT, TILTED):
        found = [mutual_information(table) for table in draw(rng, 300, shares, 1500)]
        values = np.array([x.value for x in found])
        error = values.std()
        assert values.mean() == pytest.approx(information(shares), abs=4 * error / math.sqrt(1500))
        assert np.mean([x.standard_error for x in found]) == pytest.approx(error, rel=0.25)


@pytest.mark.parametrize("change", [mutual_information_change, correlation_change])
@pytest.mark.parametrize("shares", [INDEPENDENT, TILTED])
def test_without_change_false_findings_are_rare_and_intervals_cover(
    change: object, shares: np.ndarray
) -> None:
    rng = np.random.default_rng(2)
    runs = 800
    pairs = zip(draw(rng, 3000, shares, runs), draw(rng, 400, shares, runs), strict=True)
    results = [change(*pair) for pair in pairs]  # type: ignore[operator]
    assert np.mean([r.p_value <= 0.05 for r in results]) <= 0.05 + slack(0.05, runs)
    assert np.mean([r.interval.low <= 0 <= r.interval.high for r in results]) >= 0.95 - slack(
        0.05, runs
    )


def test_a_change_of_the_relation_is_found() -> None:
    rng = np.random.default_rng(3)
    old, new = draw(rng, 5000, TILTED, 1)[0], draw(rng, 1000, INDEPENDENT, 1)[0]
    lost = mutual_information_change(old, new)
    assert lost.p_value < 1e-6
    assert lost.interval.high < 0 < lost.reference
    assert lost.value == pytest.approx(-information(TILTED), abs=4 * lost.standard_error)
    assert correlation_change(old, new).p_value < 1e-6


def test_the_correlation_is_that_of_pearson_of_normal_scores() -> None:
    rng = np.random.default_rng(4)
    table = draw(rng, 400, TILTED, 1)[0]
    result = correlation_change(table, table)
    cells, labels = (np.repeat(x.ravel(), table.ravel()) for x in np.indices(table.shape))
    # Ranks in both samples together: every row counts twice.
    scores = norm.ppf(rankdata(np.tile(cells, 2)) / 801)[:400]
    assert result.reference == pytest.approx(pearsonr(scores, labels).statistic)
    assert (result.value, result.p_value) == (0.0, 1.0)


def test_the_error_of_fishers_z_is_that_of_normals_for_normals() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 20_000))
    x[1] = 0.5 * x[0] + math.sqrt(0.75) * x[1]
    codes = np.clip((x + 3) * 10, 0, 59).astype(int)
    table = np.zeros((60, 60))
    np.add.at(table, tuple(codes), 1)
    assert correlation_change(table, table).standard_error == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("m", "n"), [(2000, 40), (2000, 100), (50, 50)])
def test_few_rows_of_a_rare_label_make_no_correlation_look_changed(m: int, n: int) -> None:
    """With two to five of them the window alone does not tell how far its correlation errs."""
    rng, runs = np.random.default_rng(9), 1000
    shares = np.outer(np.full(10, 0.1), [0.95, 0.05])
    pairs = zip(draw(rng, m, shares, runs), draw(rng, n, shares, runs), strict=True)
    p_values = np.array([correlation_change(*pair).p_value for pair in pairs])
    for level in (0.05, 0.01):
        assert np.mean(p_values <= level) <= level + slack(level, runs)


def test_what_does_not_vary_says_nothing_and_wrong_tables_are_refused() -> None:
    for change in (mutual_information_change, correlation_change):
        empty = change(np.zeros((2, 2)), [[5, 3], [2, 9]])
        assert (empty.value, empty.p_value, empty.interval.high) == (0.0, 1.0, math.inf)
    constant = correlation_change([[5, 3], [0, 0]], [[5, 3], [2, 9]])
    assert constant.p_value == 1.0
    certain = correlation_change([[5, 0], [0, 4]], [[5, 3], [2, 9]])
    assert certain.reference == pytest.approx(1.0)
    assert certain.p_value == 1.0
    with pytest.raises(DataError, match="same cells and labels"):
        correlation_change([[1, 2]], [[1], [2]])
    with pytest.raises(DataError, match="two dimensions, got 1"):
        mutual_information([1, 2])
    with pytest.raises(DataError, match="0 or more and finite"):
        mutual_information([[1, -2]])


def test_the_p_value_of_an_information_is_the_tail_of_its_chi_square() -> None:
    """Held against a reference so large that only the window varies."""
    shares, df, n = np.outer([0.25] * 4, [0.5, 0.3, 0.2]), 6, 500
    reference = np.round(1e12 * shares)
    compared = 0
    for table in draw(np.random.default_rng(7), n, shares, 60):
        change = mutual_information_change(reference, table)
        twice = 2 * chi2.sf(2 * n * change.value + df, df)
        if change.value > 0 and twice < 0.9:
            assert change.p_value == pytest.approx(twice, rel=0.05)
            compared += 1
    assert compared >= 20


def test_far_out_false_findings_are_as_rare_as_promised() -> None:
    """Tables of many cells, of which 1 in 500 may be found."""
    rng = np.random.default_rng(8)
    shares = np.outer(np.full(8, 1 / 8), np.full(5, 0.2))
    runs, level = 1000, 0.002
    reference = draw(rng, 20_000, shares, 1)[0]
    found = [
        mutual_information_change(reference, table).p_value <= level
        for table in draw(rng, 400, shares, runs)
    ]
    assert np.mean(found) <= level + slack(level, runs)


@settings(max_examples=50)
@given(tables, tables, st.booleans(), st.booleans())
def test_pooled_tables_hold_all_rows_and_enough_of_each_cell(
    a: np.ndarray, b: np.ndarray, cells: bool, labels: bool
) -> None:
    pair = pooled_tables(a, b, ordered=(cells, labels))
    assert [x.sum() for x in pair] == [a.sum(), b.sum()]
    assert pair[0].shape == pair[1].shape
    both = (pair[0] + pair[1]) * min(a.sum(), b.sum()) / (a.sum() + b.sum())
    if both.shape[1] > 1:
        assert both.sum(axis=0).min() >= 20 - 1e-9
    if both.shape[0] > 1:
        expected = np.outer(both.sum(axis=1), both.sum(axis=0)) / both.sum()
        assert expected.min() >= 5 - 1e-9
    swapped = pooled_tables(b, a, ordered=(cells, labels))
    assert np.array_equal(swapped[0], pair[1])


def test_pooling_joins_neighbours_in_an_order_and_else_what_is_rare() -> None:
    table = np.outer([1, 60, 2, 30, 3, 4], [50, 50])
    in_order = pooled_tables(table, table, ordered=(True, True))[0].sum(axis=1)
    assert in_order.tolist() == [100 * x for x in (1, 60, 2, 30, 3, 4)]
    few = np.outer([1, 60, 2, 30, 3, 4], [1, 1])
    assert pooled_tables(few, few, ordered=(True, True))[0].sum(axis=1).tolist() == [122, 64, 14]
    assert pooled_tables(few, few)[0].sum(axis=1).tolist() == [120, 60, 20]
    empty = np.zeros((3, 2))
    assert pooled_tables(empty, empty)[0].shape == (1, 1)


def test_an_information_that_its_bias_outruns_is_reported_as_0() -> None:
    flat = np.full((4, 3), 20)
    change = mutual_information_change(flat, TILTED_COUNTS)
    assert mutual_information(flat).value < 0
    assert change.reference == 0.0
    assert change.current == mutual_information(TILTED_COUNTS).value
    assert change.value > change.current
