import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from gyroscope.errors import UsageError
from gyroscope.stats.batches import row
from gyroscope.stats.rank_scores import RankScoresResult, rank_scores, rank_scores_batch

counts = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 400), min_size=n, max_size=n)] * 2)
)
EDGES = norm.ppf(np.linspace(0, 1, 251))  # of 250 cells with equal shares of a standard normal


def shares(shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.diff(norm.cdf((EDGES - shift) / spread))


def slack(level: float, runs: int) -> float:
    return 4 * math.sqrt(level * (1 - level) / runs)


def values(cells: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(cells)), cells)


@settings(max_examples=50)
@given(counts)
def test_the_statistics_are_those_of_the_ranks_of_all_values(
    pair: tuple[list[int], list[int]],
) -> None:
    """Mean and variance of a linear rank statistic: Hajek and Sidak (1967), section II.3.1."""
    a, b = map(values, pair)
    size = a.size + b.size
    found = rank_scores(*pair)
    if not (a.size and b.size):
        return
    scores = norm.ppf(rankdata(np.concatenate([a, b])) / (size + 1))
    for effect, s in ((found.shift, scores), (found.spread, scores**2)):
        variance = a.size * b.size / (size * (size - 1)) * ((s - s.mean()) ** 2).sum()
        if variance > 1e-9:
            expected = (s[a.size :].sum() - b.size * s.mean()) / math.sqrt(variance)
            assert effect.z == pytest.approx(expected, abs=1e-6)
            assert effect.p_value == pytest.approx(2 * norm.sf(abs(expected)), abs=1e-6)


def test_the_statistic_of_two_samples_of_three_worked_by_hand() -> None:
    """Ranks 1 to 3 against 4 to 6: the scores are the normal quantiles of k / 7."""
    quantiles = [1.067570523878, 0.565948821933, 0.180012369793]
    total, squares = sum(quantiles), sum(q * q for q in quantiles)
    expected = total / math.sqrt(9 / 30 * 2 * squares)
    assert rank_scores([1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]).shift.z == pytest.approx(expected)


@settings(max_examples=50)
@given(counts)
def test_swapping_the_samples_turns_the_signs(pair: tuple[list[int], list[int]]) -> None:
    there, back = rank_scores(*pair), rank_scores(*pair[::-1])
    for one, other in ((there.shift, back.shift), (there.spread, back.spread)):
        assert one.z == pytest.approx(-other.z, abs=1e-6)
        assert one.value == pytest.approx(-other.value, abs=1e-6)
        assert one.standard_error == pytest.approx(other.standard_error, abs=1e-6)
        assert one.interval.low <= one.interval.high


@settings(max_examples=50)
@given(counts)
def test_the_other_way_round_the_shift_turns_and_the_spread_stays(
    pair: tuple[list[int], list[int]],
) -> None:
    there, back = rank_scores(*pair), rank_scores(pair[0][::-1], pair[1][::-1])
    assert there.shift.value == pytest.approx(-back.shift.value, abs=1e-6)
    assert there.spread.value == pytest.approx(back.spread.value, abs=1e-6)


def test_a_batch_broadcasts_one_reference_over_columns_and_windows() -> None:
    rng = np.random.default_rng(1)
    reference = rng.multinomial(900, shares(), 3)[:, None, :]
    current = rng.multinomial(70, shares(0.2), (3, 400))
    found = rank_scores_batch(reference, current)
    assert found.shift.value.shape == found.n_current.shape == (3, 400)
    for at in ((0, 0), (1, 7), (2, 399)):
        expected = rank_scores(reference[at[0], 0], current[at])
        assert row(found, RankScoresResult, at) == expected


def test_empty_samples_and_single_cells_say_nothing() -> None:
    for pair, error in ((([], []), math.inf), (([4, 5], [0, 0]), math.inf), (([0, 9], [0, 4]), 0)):
        result = rank_scores(*pair)
        for effect in (result.shift, result.spread):
            assert (effect.value, effect.p_value, effect.standard_error) == (0.0, 1.0, error)
            assert (effect.interval.low, effect.interval.high) == (-error, error)


def test_two_constants_that_differ_are_as_far_apart_as_can_be() -> None:
    result = rank_scores([40, 0], [0, 30])
    assert result.shift.value == math.inf
    assert result.shift.interval.low == -math.inf
    assert result.shift.p_value < 1e-12
    assert result.spread.value == 0.0
    assert result.spread.standard_error == math.inf


def test_a_few_rows_that_happen_to_be_alike_are_no_shift() -> None:
    """A tenth of the reference lies elsewhere, and of nine rows none does."""
    shift = rank_scores([9000, 1000], [9, 0]).shift
    assert shift.interval.low < 0 < shift.interval.high


def test_overdispersion_widens_and_weakens() -> None:
    rng = np.random.default_rng(2)
    pair = rng.multinomial(900, shares()), rng.multinomial(90, shares(0.3, 1.2))
    plain, wide = rank_scores(*pair), rank_scores(*pair, overdispersion=4.0)
    for one, other in ((plain.shift, wide.shift), (plain.spread, wide.spread)):
        assert other.standard_error == pytest.approx(2 * one.standard_error)
        assert other.z == pytest.approx(one.z / 2)
        assert other.value == one.value
    with pytest.raises(UsageError, match=r"overdispersion must be at least 1, got 0\.5"):
        rank_scores(*pair, overdispersion=0.5)


@pytest.mark.parametrize(("m", "n"), [(5000, 300), (500, 500), (300, 5000)])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_the_shift_of_normals_is_found_in_standard_deviations(m: int, n: int, shift: float) -> None:
    rng = np.random.default_rng(3)
    runs = 600
    found = rank_scores_batch(
        rng.multinomial(m, shares(), runs), rng.multinomial(n, shares(shift), runs)
    ).shift
    error = found.value.std() / math.sqrt(runs)
    assert found.value.mean() == pytest.approx(shift, abs=0.01 * shift + 4 * error)
    covered = np.mean((found.interval.low <= shift) & (shift <= found.interval.high))
    assert covered == pytest.approx(0.95, abs=slack(0.05, runs))


@pytest.mark.parametrize("spread", [0.8, 1.25])
@pytest.mark.parametrize(("m", "n"), [(5000, 300), (500, 500)])
def test_the_change_of_spread_is_found_within_a_tenth(m: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(4)
    runs = 600
    found = rank_scores_batch(
        rng.multinomial(m, shares(), runs), rng.multinomial(n, shares(0.0, spread), runs)
    ).spread
    error = found.value.std() / math.sqrt(runs)
    truth = math.log(spread)
    assert found.value.mean() == pytest.approx(truth, abs=0.1 * abs(truth) + 4 * error)


@pytest.mark.parametrize("levels", [2, 4, 250])
@pytest.mark.parametrize(("m", "n"), [(5000, 200), (300, 300)])
def test_without_change_false_findings_are_as_rare_as_the_level_says(
    levels: int, m: int, n: int
) -> None:
    rng = np.random.default_rng(5)
    runs = 1500
    # Unequal cells: with two equal ones the squared scores are all alike.
    each = np.arange(1, levels + 1.0) if levels < 250 else np.ones(levels)
    each /= each.sum()
    found = rank_scores_batch(rng.multinomial(m, each, runs), rng.multinomial(n, each, runs))
    for effect in (found.shift, found.spread):
        assert np.mean(effect.p_value <= 0.05) == pytest.approx(0.05, abs=slack(0.05, runs))
    covered = (found.shift.interval.low <= 0) & (found.shift.interval.high >= 0)
    assert covered.mean() == pytest.approx(0.95, abs=slack(0.05, runs))
    if levels > 2:
        covered = (found.spread.interval.low <= 0) & (found.spread.interval.high >= 0)
        assert covered.mean() >= 0.95 - slack(0.05, runs)
