import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gyroscope.stats.psi import psi, rows_needed

counts = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 10_000), min_size=n, max_size=n)] * 2)
)


def decile_shares(shift: float) -> np.ndarray:
    """Shares of a normal moved by ``shift`` standard deviations in the deciles of the unmoved."""
    return np.diff(norm.cdf(norm.ppf(np.linspace(0, 1, 11)) - shift))


def population_psi(p: np.ndarray, q: np.ndarray) -> float:
    return float(((p - q) * np.log(p / q)).sum())


def test_it_is_the_sum_over_cells_worked_by_hand() -> None:
    # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
    by_hand = 0.1 * math.log(1.2) - 0.1 * math.log(0.8)
    assert psi([5_000_000, 5_000_000], [6_000_000, 4_000_000]).value == pytest.approx(by_hand)


def test_without_change_it_passes_the_critical_value_of_yurdakul_once_in_twenty() -> None:
    """With ten cells and 100 rows each, the 95 % point is 16.919 * (1/100 + 1/100) = 0.338."""
    rng = np.random.default_rng(12)
    shares, runs = np.full(10, 0.1), 1500
    pairs = zip(rng.multinomial(100, shares, runs), rng.multinomial(100, shares, runs), strict=True)
    results = [psi(a, b) for a, b in pairs]
    passed = np.array([r.value > 0.33838 for r in results])
    assert passed.tolist() == [r.p_value < 0.05 for r in results]
    assert passed.mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / runs))


def test_a_quarter_of_a_standard_deviation_is_about_six_hundredths() -> None:
    p, q = decile_shares(0.25), decile_shares(0.0)
    assert psi(q * 1e7, p * 1e7).value == pytest.approx(0.06, abs=0.003)


def test_the_effect_is_free_of_the_bias_of_small_samples() -> None:
    rng = np.random.default_rng(1)
    q, p = decile_shares(0.0), decile_shares(0.25)
    effects = [psi(rng.multinomial(2000, q), rng.multinomial(300, p)).effect for _ in range(1500)]
    error = float(np.std(effects)) / math.sqrt(len(effects))
    assert np.mean(effects) == pytest.approx(population_psi(p, q), abs=4 * error)


@given(counts)
def test_swapping_the_samples_changes_nothing(pair: tuple[list[int], list[int]]) -> None:
    there, back = psi(*pair), psi(*pair[::-1])
    assert there.value == pytest.approx(back.value, abs=1e-12)
    assert there.interval.low == pytest.approx(back.interval.low, abs=1e-9)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-9)


@given(counts)
def test_the_interval_holds_the_effect_or_what_is_left_of_it_above_zero(
    pair: tuple[list[int], list[int]],
) -> None:
    result = psi(*pair)
    assert result.value >= 0
    assert 0 <= result.interval.low <= max(result.effect, 0) + 1e-12
    assert max(result.effect, 0) <= result.interval.high + 1e-12
    assert 0 <= result.p_value <= 1


@given(counts, st.randoms(use_true_random=False))
def test_the_order_of_the_cells_does_not_matter(
    pair: tuple[list[int], list[int]], random: st.DataObject
) -> None:
    order = list(range(len(pair[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = psi(*([cells[i] for i in order] for cells in pair))
    assert shuffled.value == pytest.approx(psi(*pair).value, abs=1e-9)


def test_equal_shares_have_none() -> None:
    result = psi([100, 200, 300], [1000, 2000, 3000])
    assert result.value < 1e-4
    assert result.effect < 0
    assert result.interval.low == 0
    assert result.p_value > 0.99


def test_an_empty_sample_says_nothing() -> None:
    for result in (psi([], []), psi([0, 0], [5, 5]), psi([5, 5], [0, 0])):
        assert (result.value, result.p_value) == (0.0, 1.0)
        assert result.interval.high == math.inf


def test_a_single_cell_cannot_change() -> None:
    result = psi([0, 50], [0, 70])
    assert (result.value, result.interval.high, result.cells) == (0.0, 0.0, 1)


def test_an_empty_cell_keeps_it_finite() -> None:
    assert 0.5 < psi([1000, 0], [900, 100]).value < 1.0


@pytest.mark.parametrize(("n", "m"), [(150, 5000), (1000, 1000), (5000, 20_000), (50_000, 3000)])
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.25, 0.5, 1.0])
def test_the_interval_covers_the_psi_of_the_populations(n: int, m: int, shift: float) -> None:
    rng = np.random.default_rng(2)
    p, q = decile_shares(shift), decile_shares(0.0)
    truth, runs = population_psi(p, q), 400
    covered = 0
    for a, b in zip(rng.multinomial(m, q, runs), rng.multinomial(n, p, runs), strict=True):
        interval = psi(a, b).interval
        covered += interval.low <= truth + 1e-12 <= interval.high + 1e-9
    slack = 4 * math.sqrt(0.95 * 0.05 / runs)
    assert covered / runs >= 0.95 - slack


def test_under_no_change_p_values_are_uniform_with_many_cells_too() -> None:
    rng = np.random.default_rng(3)
    shares = np.full(200, 1 / 200)
    pairs = zip(
        rng.multinomial(20_000, shares, 600), rng.multinomial(2000, shares, 600), strict=True
    )
    p_values = np.array([psi(a, b).p_value for a, b in pairs])
    for level in (0.05, 0.2, 0.5):
        slack = 4 * math.sqrt(level * (1 - level) / 600)
        assert np.mean(p_values <= level) == pytest.approx(level, abs=slack + 0.02)


def test_the_rows_needed_see_the_effect_as_often_as_asked() -> None:
    rng = np.random.default_rng(4)
    p, q = decile_shares(0.25), decile_shares(0.0)
    truth = population_psi(p, q)
    n = rows_needed(truth, material=0.02, cells=10, n_reference=20_000, power=0.9)
    assert n is not None
    pairs = zip(rng.multinomial(20_000, q, 600), rng.multinomial(n, p, 600), strict=True)
    seen = np.mean([psi(a, b).interval.low > 0.02 for a, b in pairs])
    assert seen == pytest.approx(0.9, abs=0.06)


def test_more_rows_are_needed_for_less() -> None:
    needed = [
        rows_needed(effect, material=0.02, cells=10, n_reference=50_000)
        for effect in (1.0, 0.25, 0.1, 0.05)
    ]
    assert None not in needed
    assert needed == sorted(needed, key=lambda n: n or 0)


def test_no_window_is_large_enough_for_a_reference_that_is_too_small() -> None:
    assert rows_needed(0.05, material=0.04, cells=10, n_reference=200) is None
    assert rows_needed(0.02, material=0.02, cells=10, n_reference=10**9) is None
