import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.segments import Restriction, worst_segments


def world(
    seed: int, n: int, columns: int, planted: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, skewed losses, and the 5 % of rows in cells of two columns that lose more."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 10, (n, columns))
    bad = (codes[:, 1] >= 2) & (codes[:, 1] <= 4) & (codes[:, 3] >= 5) & (codes[:, 3] <= 6)
    return codes, rng.exponential(1, n) + planted * bad, bad


def test_a_planted_segment_of_two_columns_is_found_first() -> None:
    codes, losses, bad = world(0, 20_000, 20, planted=0.4)
    worst = worst_segments(codes, losses, [True] * 20)[0]
    assert {r.column for r in worst.restrictions} == {1, 3}
    members = np.logical_and.reduce(
        [
            (codes[:, r.column] >= r.first) & (codes[:, r.column] <= r.last)
            for r in worst.restrictions
        ]
    )
    assert (members & bad).sum() / (members | bad).sum() > 0.8
    assert worst.p_value < 1e-4
    assert worst.interval.low < 0.4 < worst.interval.high


def test_it_is_found_nearly_always() -> None:
    runs = 6
    found = 0
    for seed in range(runs):
        codes, losses, _ = world(seed, 20_000, 6, planted=0.3)
        worst = worst_segments(codes, losses, [True] * 6, seed=seed)[0]
        found += worst.p_value <= 0.05 and {r.column for r in worst.restrictions} == {1, 3}
    assert found >= runs - 1


def false_alarms(runs: int) -> float:
    found = []
    for seed in range(runs):
        codes, losses, _ = world(seed, 2000, 4)
        segments = worst_segments(codes, losses, [True, False, True, True], seed=seed)
        found.append(min(s.p_value for s in segments) <= 0.1)
    return float(np.mean(found))


def test_without_effect_the_search_raises_no_more_alarms_than_allowed() -> None:
    runs = 40
    assert false_alarms(runs) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


@pytest.mark.slow
def test_without_effect_the_level_holds_in_many_runs() -> None:
    """Below it for losses with a long upper tail, whose t statistic has a short one."""
    runs = 600
    assert 0.01 < false_alarms(runs) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_the_test_is_that_of_welch_on_the_rows_not_searched() -> None:
    codes = np.repeat([[0], [1]], 200, axis=0)
    losses = np.random.default_rng(0).normal(size=400) + codes[:, 0]
    found = worst_segments(codes, losses, [True], most=1)[0]
    half = np.random.default_rng(0).permutation(np.arange(400) % 2) == 1
    inside, rest = losses[half & (codes[:, 0] == 1)], losses[half & (codes[:, 0] == 0)]
    expected = ttest_ind(inside, rest, equal_var=False, alternative="greater")
    assert found.restrictions == (Restriction(column=0, first=1, last=1),)
    assert found.n == inside.size
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = ttest_ind(inside, rest, equal_var=False).confidence_interval()
    assert found.interval.low == pytest.approx(interval.low)
    assert found.interval.high == pytest.approx(interval.high)


def test_missing_values_are_a_cell_and_part_of_no_range() -> None:
    codes, losses, _ = world(1, 3000, 4)
    losses[codes[:, 0] == -1] += 1
    found = worst_segments(codes, losses, [True] * 4)
    assert found[0].restrictions[0] == Restriction(column=0, first=-1, last=-1)
    for segment in found:
        assert all(r.first >= 0 or r.last == -1 for r in segment.restrictions)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.floats(0.1, 100))
def test_the_scale_of_losses_does_not_matter(seed: int, n: int, scale: float) -> None:
    codes, losses, _ = world(seed, n, 4)
    there = worst_segments(codes, losses, [False] * 4)
    back = worst_segments(codes, 3 + scale * losses, [False] * 4)
    assert [s.restrictions for s in there] == [s.restrictions for s in back]
    assert [s.p_value for s in there] == pytest.approx([s.p_value for s in back], abs=1e-9)
    assert all(s.n >= 30 for s in there)
    assert [s.p_value for s in there] == sorted(s.p_value for s in there)


def test_constant_losses_have_no_worst_segment() -> None:
    codes, _, _ = world(2, 500, 4)
    assert worst_segments(codes, np.ones(500), [True] * 4) == []


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(DataError, match="2 columns"):
        worst_segments(np.zeros((3, 1)), np.zeros(3), [True, False])
    with pytest.raises(DataError, match="join cells to coarser ones"):
        worst_segments([[64]], [1.0], [True])
    with pytest.raises(DataError, match="finite"):
        worst_segments([[1]], [np.inf], [True])
    with pytest.raises(UsageError, match="most must be at least 1"):
        worst_segments([[1]], [1.0], [True], most=0)
