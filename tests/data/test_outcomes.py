import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.outcomes import (
    MOST_CATEGORIES,
    coarse_cells,
    coarse_codes,
    coarse_counts,
    contingency,
    outcomes,
)
from gyroscope.data.profile import profile
from gyroscope.data.profile_spec import profile_spec

MANY = tuple(f"c{k}" for k in range(MOST_CATEGORIES + 10))
COLUMNS = [
    Column(name="amount", type=ColumnType.NUMBER, nullable=True),
    Column(name="plan", type=ColumnType.CATEGORY, categories=("a", "b", "c"), nullable=True),
    Column(name="city", type=ColumnType.CATEGORY, categories=MANY, nullable=True),
    Column(name="member", type=ColumnType.BOOLEAN, nullable=True),
]


def rows(seed: int, n: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(size=n),
            rng.integers(0, 4, n),  # 3 is not listed
            rng.integers(0, len(MANY) + 1, n),
            rng.integers(0, 2, n),
        ]
    )
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


@given(st.integers(0, 20), st.integers(1, 300))
def test_codes_of_rows_count_to_the_counts_of_their_profile(seed: int, n: int) -> None:
    spec = profile_spec(rows(99), COLUMNS)
    X = rows(seed, n)
    for x, column, counted in zip(X.T, spec.columns, profile(X, spec).columns, strict=True):
        codes = coarse_codes(x, column)
        found = np.bincount(codes, minlength=coarse_cells(column))
        assert found.tolist() == coarse_counts(counted, column).tolist()


def test_every_row_is_counted_once_by_cell_score_and_label() -> None:
    rng = np.random.default_rng(1)
    X, p = rows(1), rng.random(2000)
    y = (rng.random(2000) < p).astype(float)
    found = outcomes(X, y, p, threshold=0.3, spec=profile_spec(X, COLUMNS))
    for table in found.tables:
        assert table.sum() == 2000
        assert table.sum(axis=(0, 1)).tolist() == [(y == 0).sum(), y.sum()]
        assert table[:, found.threshold_bin :].sum() == (p >= 0.3).sum()
    assert (np.diff(found.mean_scores) >= 0).all()
    held = found.tables[0].sum(axis=(0, 2))
    np.testing.assert_allclose(held @ found.mean_scores, p.sum())


def test_one_score_for_all_is_counted_too() -> None:
    X, p = rows(2), np.full(2000, 0.5)
    for threshold in (0.2, 0.5, 0.9):
        found = outcomes(X, np.ones(2000), p, threshold=threshold, spec=profile_spec(X, COLUMNS))
        assert found.tables[0][:, found.threshold_bin :].sum() == (2000 if threshold <= 0.5 else 0)


def test_a_contingency_table_has_a_row_for_every_cell() -> None:
    found = contingency(np.array([0, 2, 2]), np.array([1.0, 0.0, 1.0]), 4)
    assert found.tolist() == [[0, 1], [0, 0], [1, 1], [0, 0]]
