from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.bundle.additive import AdditiveScorer, constant_scorer

CODES = 3  # of column 1; columns 0 and 2 are numbers
numbers = st.floats(-100, 100)
rows = st.lists(
    st.tuples(
        numbers | st.just(np.nan),
        st.sampled_from([0.0, 1.0, 2.0, np.nan]),
        numbers | st.just(np.nan),
    ),
    min_size=1,
    max_size=20,
).map(np.array)


def made(seed: int) -> AdditiveScorer:
    random = np.random.default_rng(seed)
    return AdditiveScorer(
        intercept=float(random.normal()),
        slopes=random.normal(size=3) * [1, 0, 1],
        missing=random.normal(size=3),
        expected=random.normal(size=3),
        tables=[None, random.normal(size=CODES), None],
    )


def term(scorer: AdditiveScorer, j: int, x: float) -> float:
    """g_j(x) as the class describes it."""
    arrays = scorer.arrays()
    if np.isnan(x):
        return float(arrays["missing"][j])
    return float(arrays["tables"][int(x)] if j == 1 else arrays["slopes"][j] * x)


@given(st.integers(0, 1000), rows)
def test_the_margin_is_the_sum_of_its_terms(seed: int, X: NDArray[np.float64]) -> None:
    scorer = made(seed)
    intercept = float(scorer.arrays()["intercept"][0])
    for row, margin in zip(X, scorer.margins(X), strict=True):
        assert margin == ((intercept + term(scorer, 0, row[0])) + term(scorer, 1, row[1])) + term(
            scorer, 2, row[2]
        )


@given(st.integers(0, 1000), rows)
def test_contributions_are_the_shapley_values_of_independent_columns(
    seed: int, X: NDArray[np.float64]
) -> None:
    scorer = made(seed)
    means = scorer.arrays()["expected"].astype(np.float64)
    found = scorer.contributions(X)

    def worth(row: NDArray[np.float64], known: tuple[int, ...]) -> float:
        return sum(term(scorer, j, row[j]) if j in known else means[j] for j in range(3))

    for row, values in zip(X, found.values, strict=True):
        for j in range(3):
            others = [k for k in range(3) if k != j]
            shapley = sum(
                factorial(size) * factorial(2 - size) / 6
                * (worth(row, (*known, j)) - worth(row, known))
                for size in range(3)
                for known in combinations(others, size)
            )  # fmt: skip
            assert values[j] == pytest.approx(shapley, abs=1e-9)
    total = found.base + found.values.sum(axis=1)
    np.testing.assert_allclose(total, scorer.margins(X), atol=1e-9)


@given(rows, st.data())
def test_the_margin_of_a_row_has_the_same_bits_in_any_company(
    X: NDArray[np.float64], data: st.DataObject
) -> None:
    order = data.draw(st.lists(st.integers(0, len(X) - 1), min_size=1))
    scorer = made(7)
    assert scorer.margins(X[order]).tobytes() == scorer.margins(X)[order].tobytes()
    found, together = scorer.contributions(X[order]), scorer.contributions(X)
    assert found.values.tobytes() == together.values[order].tobytes()


def test_a_scorer_is_built_again_from_its_arrays() -> None:
    X = np.array([[1.5, 2, np.nan], [np.nan, np.nan, -3]])
    for scorer in (made(1), constant_scorer(0.3, 3)):
        again = AdditiveScorer.from_arrays(scorer.arrays())
        assert again.margins(X).tobytes() == scorer.margins(X).tobytes()
        found, expected = again.contributions(X), scorer.contributions(X)
        assert found.values.tobytes() == expected.values.tobytes()


def test_a_constant_scorer_explains_nothing() -> None:
    found = constant_scorer(-1.5, 2).contributions(np.array([[1.0, np.nan]]))
    assert found.base == -1.5
    assert not found.values.any()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"missing": np.zeros(2)}, "differ in length"),
    ({"table_lengths": np.array([-1, 3])}, "differ in length"),
    ({"table_lengths": np.array([-1, 2, -1])}, "do not have the lengths listed"),
    ({"tables": np.zeros(9)}, "do not have the lengths listed"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_arrays_that_are_no_scorer_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdditiveScorer.from_arrays({**made(1).arrays(), **changes})


def test_rows_of_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 columns, got 1"):
        made(1).margins(np.zeros((2, 1)))
