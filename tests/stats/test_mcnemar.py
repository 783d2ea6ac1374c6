import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference

from gyroscope.errors import DataError
from gyroscope.stats.mcnemar import mcnemar, mcnemar_of_decisions


def test_the_values_of_fagerlands_example() -> None:
    # Fagerland, Lydersen and Laake (2013), table 1 with results in table 2.
    found = mcnemar(1, 7)
    assert found.exact == pytest.approx(0.0703, abs=5e-5)
    assert found.mid_p == pytest.approx(0.0391, abs=5e-5)
    assert found.chi_square == pytest.approx(0.0339, abs=5e-5)


@pytest.mark.parametrize(("b", "expected"), [(1, 0.75), (2, 0.8125), (10, 1 - 0.5 * 0.17619705)])
def test_of_equal_counts_half_the_chance_of_these_is_taken_off(b: int, expected: float) -> None:
    # Fagerland, Lydersen and Laake (2013), additional file 1.
    assert mcnemar(b, b).mid_p == pytest.approx(expected)


@given(st.integers(0, 300), st.integers(0, 300))
def test_p_values_are_those_of_statsmodels_and_symmetric(b: int, c: int) -> None:
    found = mcnemar(b, c)
    assert found.mid_p == mcnemar(c, b).mid_p
    assert found.mid_p <= found.exact <= 1
    if b + c:
        table = [[5, b], [c, 5]]
        assert found.exact == pytest.approx(reference(table, exact=True).pvalue)
        expected = reference(table, exact=False, correction=False).pvalue
        assert found.chi_square == pytest.approx(expected)


def test_classifiers_that_never_differ_give_no_evidence() -> None:
    found = mcnemar_of_decisions([1, 0, 1], [1, 1, 1], [1, 1, 1])
    assert (found.exact, found.mid_p, found.chi_square) == (1, 1, 1)


def test_discordant_rows_are_counted_on_their_side() -> None:
    found = mcnemar_of_decisions([1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0])
    assert (found.only_first_right, found.only_second_right) == (1, 2)


def test_unequal_arrays_and_negative_counts_are_refused() -> None:
    with pytest.raises(DataError, match="differ in shape"):
        mcnemar_of_decisions([1, 0], [1], [1, 0])
    with pytest.raises(DataError, match="cannot be negative, got -1 and 3"):
        mcnemar(-1, 3)


def test_mid_p_rejects_about_as_often_as_its_level_and_exact_less() -> None:
    first = np.random.default_rng(2).binomial(40, 0.5, size=4000)
    found = [mcnemar(int(b), 40 - int(b)) for b in first]
    mid_p, exact = (
        np.mean([getattr(f, name) < 0.05 for f in found]) for name in ("mid_p", "exact")
    )
    assert exact <= mid_p
    assert mid_p <= 0.05 + 0.012
