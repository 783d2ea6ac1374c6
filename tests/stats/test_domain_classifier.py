import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from gyroscope.errors import DataError
from gyroscope.stats.domain_classifier import _mann_whitney, domain_test, thinned
from gyroscope.stats.intervals import upper_tail

COLUMNS = [f"column_{j}" for j in range(20)]


def rows(seed: int, n: int, correlation: float = 0.0, columns: int = 20) -> np.ndarray:
    X = np.random.default_rng(seed).normal(size=(n, columns))
    X[:, 1] = correlation * X[:, 0] + np.sqrt(1 - correlation**2) * X[:, 1]
    return X


def test_the_statistic_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    y, p = (rng.random(300) < 0.3).astype(float), np.round(rng.random(300), 1)
    auc, z = _mann_whitney(y, p)
    expected = mannwhitneyu(
        p[y == 1], p[y == 0], alternative="greater", use_continuity=False, method="asymptotic"
    )
    assert auc == pytest.approx(expected.statistic / (y.sum() * (300 - y.sum())))
    assert upper_tail(z) == pytest.approx(expected.pvalue)


def test_a_correlation_of_one_pair_among_twenty_columns_is_seen_and_named() -> None:
    found = domain_test(rows(1, 5000), rows(2, 5000, 0.6), COLUMNS)
    assert found.p_value < 1e-6
    assert found.auc > 0.55
    assert set(list(found.suspects)[:2]) == {"column_0", "column_1"}
    assert sum(found.suspects.values()) == pytest.approx(1)


def rejections(runs: int) -> float:
    found = [
        domain_test(rows(2 * k, 100, 0.5, 3), rows(2 * k + 1, 150, 0.5, 3), COLUMNS[:3], seed=k)
        for k in range(runs)
    ]
    return float(np.mean([f.p_value <= 0.1 for f in found]))


def test_without_change_it_keeps_its_level() -> None:
    runs = 12
    assert rejections(runs) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


@pytest.mark.slow
def test_without_change_it_keeps_its_level_in_many_runs() -> None:
    runs = 200
    assert 0.01 < rejections(runs) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_a_seed_gives_the_same_answer_and_swapped_samples_a_like_one() -> None:
    a, b = rows(5, 200), rows(6, 200) + 0.3
    there = domain_test(a, b, COLUMNS, seed=3)
    assert there == domain_test(a, b, COLUMNS, seed=3)
    assert domain_test(b, a, COLUMNS, seed=3).auc == pytest.approx(there.auc, abs=0.1)


def test_missing_infinite_and_constant_values_are_values() -> None:
    a, b = rows(7, 300), rows(8, 300)
    b[::2, 4], a[:, 5], b[:, 5], a[0, 6], b[0, 6] = np.nan, 1.0, 1.0, np.inf, -np.inf
    found = domain_test(a, b, COLUMNS)
    assert found.p_value < 1e-6
    assert next(iter(found.suspects)) == "column_4"
    same = domain_test(np.ones((200, 1)), np.ones((200, 1)), ["one"])
    assert (same.auc, same.p_value, same.suspects) == (0.5, 0.5, {"one": 0.0})


def test_a_large_sample_is_thinned_evenly() -> None:
    found = domain_test(rows(9, 500), rows(10, 300), COLUMNS, most_rows=200)
    assert (found.n_reference, found.n_current) == (200, 200)
    assert thinned(np.arange(10.0), 4).tolist() == [0, 3, 6, 9]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="needs 50 rows of each sample, got 40 reference"):
        domain_test(rows(0, 40), rows(0, 60), COLUMNS)
    with pytest.raises(DataError, match="the same columns"):
        domain_test(np.zeros((60, 2)), np.zeros((60, 3)), ["a", "b"])
    with pytest.raises(DataError, match="by their names"):
        domain_test(np.zeros((60, 2)), np.zeros((60, 2)), ["a"])
