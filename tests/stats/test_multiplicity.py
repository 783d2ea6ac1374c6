import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from gyroscope.errors import DataError
from gyroscope.stats.multiplicity import benjamini_hochberg, e_benjamini_hochberg, holm

# Benjamini and Hochberg (1995), section 3.2: fifteen endpoints of a trial of heart attacks
HEART = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459,
    0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
]  # fmt: skip

p_values = st.lists(st.floats(0, 1), max_size=30)


def test_the_example_of_benjamini_and_hochberg_rejects_four_and_holm_three() -> None:
    assert (benjamini_hochberg(HEART) <= 0.05).sum() == 4
    assert (holm(HEART) <= 0.05).sum() == 3


@given(p_values.filter(bool))
def test_adjusted_p_values_are_those_of_statsmodels(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(p_values)
def test_adjusting_never_lowers_a_p_value_nor_changes_the_order(p: list[float]) -> None:
    for adjusted in (holm(p), benjamini_hochberg(p)):
        assert np.all(adjusted >= np.array(p) - 1e-12)
        assert np.all(np.diff(adjusted[np.argsort(p)]) >= 0)


@given(p_values, st.floats(0.001, 0.5))
def test_the_e_procedure_on_inverted_p_values_is_the_one_on_p_values(
    p: list[float], alpha: float
) -> None:
    with np.errstate(divide="ignore", over="ignore"):
        rejected = e_benjamini_hochberg(1 / np.array(p), alpha)
    # Away from ties with the threshold, where rounding decides, both agree.
    adjusted = benjamini_hochberg(p)
    clear = np.abs(adjusted - alpha) > 1e-9
    assert np.array_equal(rejected[clear], (adjusted <= alpha)[clear])


def test_one_e_value_must_reach_the_number_of_tests_over_alpha() -> None:
    assert e_benjamini_hochberg([59.9, 1, 1], 0.05).tolist() == [False, False, False]
    assert e_benjamini_hochberg([60.0, 1, 1], 0.05).tolist() == [True, False, False]
    assert e_benjamini_hochberg([30.0, 30.0, 1], 0.05).tolist() == [True, True, False]
    assert e_benjamini_hochberg([math.inf, 0], 0.05).tolist() == [True, False]


def test_no_tests_reject_nothing() -> None:
    assert holm([]).size == benjamini_hochberg([]).size == e_benjamini_hochberg([], 0.05).size == 0


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_without_any_change_a_rejection_is_as_rare_as_alpha(adjust: object) -> None:
    rng = np.random.default_rng(9)
    runs = 2000
    any_rejected = np.mean([np.any(adjust(rng.random(20)) <= 0.05) for _ in range(runs)])  # type: ignore[operator]
    assert any_rejected == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / runs))


def test_the_share_of_false_rejections_stays_below_alpha() -> None:
    rng = np.random.default_rng(10)
    shares = []
    for _ in range(500):
        p = rng.random(40)
        p[:10] /= 1e5
        e = np.where(np.arange(40) < 10, 1e4, rng.exponential(size=40))
        for rejected in (benjamini_hochberg(p) <= 0.1, e_benjamini_hochberg(e, 0.1)):
            shares.append(rejected[10:].sum() / max(rejected.sum(), 1))
    assert np.mean(shares) <= 0.1


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_an_error(wrong: float) -> None:
    with pytest.raises(DataError, match=r"p-values must lie in \[0, 1\], got .* at 1"):
        holm([0.5, wrong])


def test_what_is_no_e_value_is_an_error() -> None:
    with pytest.raises(DataError, match=r"e-values must lie in \[0, inf\], got -1"):
        e_benjamini_hochberg([2.0, -1.0], 0.05)
