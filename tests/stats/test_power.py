import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2, norm
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from gyroscope.stats.power import (
    rows_for_correlation,
    rows_for_proportions,
    rows_for_psi,
    rows_for_shift,
    smallest_correlation_change,
    smallest_proportion_change,
    smallest_psi,
    smallest_shift,
)
from gyroscope.stats.psi import psi_batch
from gyroscope.stats.rank_scores import rank_scores_batch
from gyroscope.stats.two_proportions import two_proportions_batch

RUNS = 1500
SLACK = 4 * math.sqrt(0.9 * 0.1 / RUNS)
EDGES = norm.ppf(np.linspace(0, 1, 51))


def shares(shift: float) -> np.ndarray:
    return np.diff(norm.cdf(EDGES - shift))


@pytest.mark.parametrize("d", [0.05, 0.2, 0.5])
def test_rows_for_a_shift_are_those_of_statsmodels(d: float) -> None:
    n = rows_for_shift(d, n_reference=20_000, power=0.8)
    assert n is not None
    enough, less = (
        NormalIndPower().power(d, nobs1=rows, alpha=0.05, ratio=20_000 / rows)
        for rows in (n, n - 1)
    )
    assert less < 0.8 <= enough


@pytest.mark.parametrize("current", [0.11, 0.2, 0.05])
def test_rows_for_proportions_are_those_of_statsmodels(current: float) -> None:
    n = rows_for_proportions(0.1, current, n_reference=50_000, power=0.8)
    assert n is not None
    found = power_proportions_2indep(
        current - 0.1, prop2=0.1, nobs1=n, ratio=50_000 / n, return_results=False
    )
    assert found == pytest.approx(0.8, abs=0.01)


def test_the_psi_has_the_power_of_a_noncentral_chi_square() -> None:
    n = rows_for_psi(0.05, cells=10, n_reference=5000)
    assert n is not None
    critical = chi2.isf(0.05, 9)
    for rows, at_least in ((n, True), (n - 1, False)):
        power = ncx2.sf(critical, 9, 0.05 / (1 / 5000 + 1 / rows))
        assert bool(power >= 0.9) == at_least


def test_the_rows_see_the_change_as_often_as_asked() -> None:
    rng = np.random.default_rng(1)
    n = rows_for_shift(0.2, n_reference=5000)
    assert n is not None
    a, b = rng.multinomial(5000, shares(0), RUNS), rng.multinomial(n, shares(0.2), RUNS)
    seen = np.mean(rank_scores_batch(a, b).shift.p_value <= 0.05)
    assert seen == pytest.approx(0.9, abs=SLACK)

    n = rows_for_proportions(0.1, 0.16, n_reference=5000)
    assert n is not None
    a, b = rng.binomial(5000, 0.1, RUNS), rng.binomial(n, 0.16, RUNS)
    seen = np.mean(two_proportions_batch(a, 5000, b, n).p_value <= 0.05)
    assert seen == pytest.approx(0.9, abs=SLACK + 0.01)

    old, new = np.full(10, 0.1), np.linspace(0.07, 0.13, 10)
    truth = float(((new - old) * np.log(new / old)).sum())
    n = rows_for_psi(truth, cells=10, n_reference=5000)
    assert n is not None
    a, b = rng.multinomial(5000, old, RUNS), rng.multinomial(n, new, RUNS)
    seen = np.mean(psi_batch(a, b).p_value <= 0.05)
    assert seen == pytest.approx(0.9, abs=SLACK + 0.01)

    n = rows_for_correlation(0.0, 0.3, n_reference=2000)
    assert n is not None
    x = rng.normal(size=(2, 400, n))
    x[1] = 0.3 * x[0] + math.sqrt(0.91) * x[1]
    x -= x.mean(axis=-1, keepdims=True)
    r = (x[0] * x[1]).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1).prod(axis=0))
    z = np.arctanh(r) - rng.normal(size=400) / math.sqrt(1997)
    seen = np.mean(np.abs(z) >= 1.96 * math.sqrt(1 / (n - 3) + 1 / 1997))
    assert seen == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 400))


@settings(max_examples=30)
@given(st.integers(50, 10**6), st.integers(50, 10**6))
def test_the_smallest_effect_is_the_one_that_needs_these_rows(m: int, n: int) -> None:
    # Far beyond the reference the number of rows hardly matters; the effect must come back.
    d = smallest_shift(n_reference=m, n_current=n)
    rows = rows_for_shift(d * (1 + 1e-9), n_reference=m)
    assert rows is not None
    assert smallest_shift(n_reference=m, n_current=rows) == pytest.approx(d, rel=1e-6 + 1 / n)

    effect = smallest_psi(cells=5, n_reference=m, n_current=n)
    rows = rows_for_psi(effect * (1 + 1e-9), cells=5, n_reference=m)
    assert rows is not None
    back = smallest_psi(cells=5, n_reference=m, n_current=rows)
    assert back == pytest.approx(effect, rel=1e-6 + 1 / n)

    change = smallest_correlation_change(n_reference=m, n_current=n)
    rows = rows_for_correlation(0.0, math.tanh(change) + 1e-9, n_reference=m)
    assert rows is not None
    back = smallest_correlation_change(n_reference=m, n_current=rows)
    assert back == pytest.approx(change, rel=1e-6 + 1 / n)

    rise = smallest_proportion_change(0.2, n_reference=m, n_current=n)
    assert rise is not None
    rows = rows_for_proportions(0.2, 0.2 + rise, n_reference=m)
    assert rows is not None
    found = smallest_proportion_change(0.2, n_reference=m, n_current=rows)
    assert found == pytest.approx(rise, rel=1e-6 + 1 / n)


def test_more_rows_are_needed_for_less() -> None:
    needed = [rows_for_shift(d, n_reference=10_000) or math.inf for d in (1.0, 0.5, 0.2, 0.1)]
    assert needed == sorted(needed)


def test_no_window_is_large_enough_for_a_reference_that_is_too_small() -> None:
    assert rows_for_shift(0.1, n_reference=100) is None
    assert rows_for_psi(0.01, cells=10, n_reference=100) is None
    assert rows_for_correlation(0.0, 0.05, n_reference=100) is None
    assert rows_for_proportions(0.1, 0.11, n_reference=100) is None
    assert rows_for_proportions(0.1, 0.1, n_reference=10**6) is None
    assert smallest_proportion_change(0.5, n_reference=3, n_current=2) is None


def test_certain_proportions_are_seen_at_once() -> None:
    n = rows_for_proportions(0.0, 1.0, n_reference=100)
    assert n is not None
    assert n <= 3


def test_at_the_ends_the_answers_are_numbers_too() -> None:
    assert rows_for_shift(1e200, n_reference=50) == 1
    assert rows_for_psi(math.inf, cells=4, n_reference=50) == 1
    assert rows_for_shift(0.5, n_reference=0) is None
    assert rows_for_correlation(0.0, 0.9, n_reference=3) is None
    for certain in (0.0, 1.0):  # of which no number of rows shows a change
        assert rows_for_proportions(certain, certain, n_reference=1000) is None
    for m, n in ((0, 100), (100, 0)):
        assert smallest_shift(n_reference=m, n_current=n) == math.inf
        assert smallest_psi(cells=4, n_reference=m, n_current=n) == math.inf
        assert smallest_proportion_change(0.1, n_reference=m, n_current=n) is None
        assert smallest_correlation_change(n_reference=m + 3, n_current=n + 3) == math.inf
    assert rows_for_proportions(0.1, 0.9, n_reference=0) is None


@pytest.mark.parametrize("reference", [0.0, 0.02, 0.5, 0.97])
@pytest.mark.parametrize("current", [0.001, 0.3, 1.0])
def test_no_smaller_number_of_rows_is_enough_for_two_proportions(
    reference: float, current: float
) -> None:
    m = 700
    rows = np.arange(1, 2000)
    pooled = (m * reference + rows * current) / (m + rows)
    null = np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / rows))
    error = np.sqrt(reference * (1 - reference) / m + current * (1 - current) / rows)
    gap = abs(current - reference)
    enough = rows[gap - norm.isf(0.005) * null >= norm.ppf(0.8) * error]
    found = rows_for_proportions(reference, current, n_reference=m, alpha=0.01, power=0.8)
    assert found == (enough[0] if enough.size else None)
