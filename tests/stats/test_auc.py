import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from gyroscope.stats.auc import midranks, paired_auc, roc_auc


def naive_components(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components by comparing every pair."""
    positive, negative = p[y == 1], p[y == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return wins.mean(axis=1), wins.mean(axis=0)


def variance(components: tuple[np.ndarray, np.ndarray]) -> float:
    return float(sum(np.var(c, ddof=1) / len(c) for c in components))


@given(st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9]), min_size=1))
def test_midranks_are_average_ranks(values: list[float]) -> None:
    assert midranks(values).tolist() == rankdata(values).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
def test_the_error_is_that_of_all_pairs_compared(seed: int, m: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], [m, n])
    first, second = (np.round(rng.random(m + n), 1) for _ in range(2))
    one, two = naive_components(y, first), naive_components(y, second)
    assert roc_auc(y, first).value == pytest.approx(one[0].mean())
    assert roc_auc(y, first).standard_error == pytest.approx(np.sqrt(variance(one)))
    pair = paired_auc(y, first, second)
    assert pair is not None
    both = (two[0] - one[0], two[1] - one[1])
    assert pair.difference == pytest.approx(two[0].mean() - one[0].mean())
    assert pair.standard_error == pytest.approx(np.sqrt(variance(both)), abs=1e-12)


def test_the_textbook_value_of_a_small_sample() -> None:
    # Positives 0.8, 0.6, 0.35 and negatives 0.7, 0.3, 0.1: seven of nine pairs are in order. The
    # positives beat 3/3, 2/3, 2/3 of the negatives and the negatives lose to 1/3, 3/3, 3/3, so
    # the variance is (1/27)/3 + (4/27)/3 = 5/81.
    found = roc_auc([1, 1, 1, 0, 0, 0], [0.8, 0.6, 0.35, 0.7, 0.3, 0.1])
    assert found.value == pytest.approx(7 / 9)
    assert found.standard_error == pytest.approx(np.sqrt(5 / 81))


@given(st.integers(0, 2**32 - 1))
def test_a_monotone_change_of_scores_changes_nothing_and_a_reversal_mirrors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(50), 2)
    y = rng.random(50) < 0.5
    y[:2] = True, False
    there, cubed, back = roc_auc(y, p), roc_auc(y, p**3), roc_auc(y, 1 - p)
    assert there.value == pytest.approx(cubed.value)
    assert there.value == pytest.approx(1 - back.value)
    assert there.interval.low == pytest.approx(1 - back.interval.high)


def test_perfect_separation_still_has_an_interval() -> None:
    y = np.repeat([0, 1], [500, 20])
    found = roc_auc(y, y * 0.8 + 0.1)
    assert found.value == 1
    # Twenty disjoint pairs, all in order: A^20 = 0.05.
    assert found.interval.low == pytest.approx(0.05 ** (1 / 20))


def test_one_class_leaves_the_auc_undefined_and_no_pair_to_compare() -> None:
    assert not roc_auc([1, 1], [0.2, 0.3]).defined
    assert paired_auc([1, 1], [0.2, 0.3], [0.1, 0.4]) is None
    assert paired_auc([1, 0, 0], [0.2, 0.3, 0.4], [0.1, 0.4, 0.2]) is None


def test_identical_scores_show_no_difference() -> None:
    pair = paired_auc([1, 0, 1, 0], [0.2, 0.3, 0.6, 0.4], [0.2, 0.3, 0.6, 0.4])
    assert pair is not None
    assert (pair.difference, pair.p_worse) == (0, 0.5)


def test_equal_models_look_worse_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(4)
    runs, rejected = 1000, 0
    for _ in range(runs):
        signal = rng.normal(size=200)
        y = rng.random(200) < 1 / (1 + np.exp(-2 * signal))
        first, second = (1 / (1 + np.exp(-signal - rng.normal(size=200))) for _ in range(2))
        pair = paired_auc(y, first, second)
        assert pair is not None
        rejected += pair.p_worse < 0.05
    assert rejected / runs == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / runs))
