import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.outcomes import (
    MOST_CATEGORIES,
    cell_losses,
    coarse_cells,
    coarse_codes,
    coarse_counts,
    contingency,
    label_dispersions,
    outcomes,
)
from gyroscope.data.profile import profile
from gyroscope.data.profile_spec import number_spec, profile_spec
from gyroscope.stats.auc import roc_auc

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


def test_losses_of_rows_add_up_to_the_metrics_in_the_cells_of_every_column() -> None:
    rng = np.random.default_rng(2)
    X = rows(3)
    spec = profile_spec(X, COLUMNS)
    y = rng.normal(size=2000)
    p = y + rng.normal(size=2000)
    label, score = (number_spec(name, of, ColumnType.NUMBER) for name, of in (("y", y), ("p", p)))
    found = cell_losses("regression", X, y, p, spec=spec, label=label, score=score)
    assert found.metrics == ("rmse", "mae")
    assert found.score is not None
    for sums in (*found.columns, found.score):
        assert sums.rows.sum() == 2000
        np.testing.assert_allclose(sums.sums.sum(axis=1), [((y - p) ** 2).sum(), abs(y - p).sum()])
    assert [table.sum() for table in found.labels] == [2000] * len(COLUMNS)
    assert found.labels[0].shape == (coarse_cells(spec.columns[0]), coarse_cells(label))


def test_of_classes_pairs_won_add_up_to_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(3)
    X = rows(5)
    spec = profile_spec(X, COLUMNS)
    p = rng.dirichlet([1.0, 1.0, 1.0], 2000)
    y = (p.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1).clip(0, 2).astype(float)
    (label,) = profile_spec(y[:, None], [COLUMNS[1]]).columns
    found = cell_losses("multiclass", X, y, p, spec=spec, label=label, score=None)
    assert found.metrics == ("accuracy", "log_loss", "brier")
    for ranks in found.ranks:
        for k, (own, won) in enumerate(zip(ranks.own.sum(axis=1), ranks.won, strict=True)):
            auc = roc_auc((y == k).astype(float), p[:, k]).value
            assert won.sum() / (own * (2000 - own)) == pytest.approx(auc, abs=1e-3)
        assert ranks.influence.sums.sum() == pytest.approx(0, abs=1e-6)
    many = rng.dirichlet(np.ones(11), 2000)
    wide = cell_losses("multiclass", X, y, many, spec=spec, label=label, score=None)
    assert wide.ranks == ()


def test_one_score_for_all_is_counted_too() -> None:
    X, p = rows(2), np.full(2000, 0.5)
    for threshold in (0.2, 0.5, 0.9):
        found = outcomes(X, np.ones(2000), p, threshold=threshold, spec=profile_spec(X, COLUMNS))
        assert found.tables[0][:, found.threshold_bin :].sum() == (2000 if threshold <= 0.5 else 0)


def test_a_contingency_table_has_a_row_for_every_cell() -> None:
    found = contingency(np.array([0, 2, 2]), np.array([1.0, 0.0, 1.0]), 4)
    assert found.tolist() == [[0, 1], [0, 0], [1, 1], [0, 0]]


def test_labels_that_vary_by_the_day_show_in_rate_and_association() -> None:
    """Fifty days of 200 rows; the label follows the amount on some days and not on others."""
    rng = np.random.default_rng(5)
    X = rows(3, 10_000)
    X[:, 0] = rng.normal(size=10_000)
    day = np.repeat(np.arange(50), 200)
    spec = profile_spec(X, COLUMNS)
    strength, level = rng.normal(0.5, 1.5, 50)[day], rng.normal(0, 0.5, 50)[day]
    worlds = {"calm": 0.5 * X[:, 0], "varied": strength * X[:, 0] + level}
    ratios = {}
    for name, logit in worlds.items():
        y = (rng.random(10_000) < 1 / (1 + np.exp(-logit))).astype(float)
        found = label_dispersions(X, y, spec)
        assert len(found.association) == len(COLUMNS)
        ratios[name] = found.rate[0].ratio, found.association[0][0].ratio
    assert max(ratios["calm"]) < 2
    assert min(ratios["varied"]) > 3


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_associations_that_vary_by_the_day_show_for_every_task(task: str) -> None:
    """Fifty days of 200 rows; the label follows amount and plan more on some days than others."""
    rng = np.random.default_rng(6)
    X = rows(4, 10_000)
    X[:, 0], X[:, 1] = rng.normal(size=10_000), rng.integers(0, 3, 10_000)
    day = np.repeat(np.arange(50), 200)
    strength = rng.normal(1.0, 1.0, 50)[day]
    spec = profile_spec(X, COLUMNS)
    ratios = {}
    for name, by in (("calm", 1.0), ("varied", strength)):
        effect = by * (X[:, 0] + X[:, 1] - 1)
        if task == "regression":
            y = effect + rng.normal(size=10_000)
            (label,) = profile_spec(y[:, None], COLUMNS[:1]).columns
        else:
            margins = np.outer(effect, [1.0, 0.0, -1.0]) + rng.gumbel(size=(10_000, 3))
            y = margins.argmax(axis=1).astype(float)
            (label,) = profile_spec(y[:, None], [COLUMNS[1]]).columns
        found = label_dispersions(X, y, spec, label)
        assert found.rate == ()
        ratios[name] = [of_column[0].ratio for of_column in found.association]
    assert max(ratios["calm"]) < 2
    assert min(ratios["varied"][:2]) > 2.5
    assert max(ratios["varied"][2:]) < 2
