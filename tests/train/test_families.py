from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest

from gyroscope.data.contract import Column, ColumnType
from gyroscope.errors import ConfigError, MissingExtraError
from gyroscope.testing.families import PLAN, ModelFamilyContract, probabilities, rows, sample
from gyroscope.train.families.base import (
    EXTRAS,
    FAMILIES,
    CategoryRanks,
    ModelFamily,
    Sample,
    family,
    threads,
)
from gyroscope.train.fidelity import check_fidelity

TREES = [
    *("decision_tree", "random_forest", "gradient_boosting", "hist_gradient_boosting"),
    *("lightgbm", "xgboost", "catboost"),
]


class TestBaseRate(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("base_rate")


class TestLogisticRegression(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("logistic_regression")


class TestRandomForest(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("random_forest")


class TestDecisionTree(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("decision_tree")


class TestGradientBoosting(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("gradient_boosting")


class TestHistGradientBoosting(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("hist_gradient_boosting")


class TestLightGBM(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return family("lightgbm")


class TestXGBoost(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        pytest.importorskip("xgboost")
        return family("xgboost")


class TestCatBoost(ModelFamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        pytest.importorskip("catboost")
        return family("catboost")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_name_it_is_listed_under(name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(name)
    assert family(name).name == name


def test_an_unknown_family_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="no model family 'forest'; known: base_rate, logistic_"):
        family("forest")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_family_whose_library_is_missing_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    real = builtins.__import__

    def without_it(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == extra:
            raise ModuleNotFoundError(f"No module named {extra!r}", name=extra)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_it)
    monkeypatch.delitem(sys.modules, f"gyroscope.train.families.{extra}", raising=False)
    with pytest.raises(MissingExtraError, match=rf'pip install "gyroscope-ml\[{extra}\]"'):
        family(extra)


@pytest.mark.parametrize("name", TREES)
def test_a_category_is_explained_as_one_column(name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(name)
    given = sample()
    fitted = family(name).fit(given, seed=0)
    X = rows(3, 100)[0]
    X = np.vstack([X, X])
    X[:100, PLAN], X[100:, PLAN] = 1, 0  # the plan that churns, and one that does not
    values = fitted.scorer.contributions(X).values[:, PLAN]
    assert (values[:100] > values[100:]).mean() > 0.95
    p = probabilities(fitted, X)
    assert p[:100].mean() > p[100:].mean() + 0.1


def test_categories_are_ranked_by_their_share_of_positives() -> None:
    given = sample()
    ranks = CategoryRanks(given)
    X = np.full((5, given.X.shape[1]), np.nan)
    X[:, PLAN] = [0, 1, 2, 3, 4]
    ranked = ranks(X)
    assert sorted(ranked[:, PLAN].tolist()) == [0, 1, 2, 3, 4]
    assert ranked[1, PLAN] == 4  # "plus" churns most
    assert np.isnan(ranks(np.full_like(X, np.nan))).all()
    left = ranks.left_codes(PLAN, 3.5)
    assert left is not None
    assert np.flatnonzero(~left).tolist() == [1]
    assert ranks.left_codes(0, 3.5) is None


def test_few_rows_are_fitted_by_one_thread() -> None:
    assert threads(10) == threads(99_999) == 1
    assert threads(10**9) >= 1


@pytest.mark.parametrize("name", ["logistic_regression", *TREES])
@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e160, 1e300, 1.7e308])
def test_numbers_at_the_ends_of_float64_are_scored_as_the_library_does(
    name: str, scale: float
) -> None:
    if name in EXTRAS:
        pytest.importorskip(name)
    random = np.random.default_rng(0)
    X = np.column_stack([random.uniform(-1, 1, 600) * scale, random.uniform(-1, 1, 600)])
    y = (X[:, 1] + (X[:, 0] > 0) + random.normal(size=600) > 0.5).astype(float)
    columns = tuple(Column(name=c, type=ColumnType.NUMBER) for c in "ab")
    given = Sample(
        X=X[:400], y=y[:400], weight=np.ones(400), X_stop=X[400:], y_stop=y[400:], columns=columns
    )
    assert check_fidelity(name, family(name).fit(given, seed=0), given.X_stop) <= 1e-5


@pytest.mark.parametrize("name", TREES)
def test_a_column_without_a_value_and_one_with_very_many_categories_are_no_trouble(
    name: str,
) -> None:
    if name in EXTRAS:
        pytest.importorskip(name)
    random = np.random.default_rng(0)
    columns = (
        Column(name="empty", type=ColumnType.NUMBER, nullable=True),
        Column(name="void", type=ColumnType.CATEGORY, categories=("a", "b"), nullable=True),
        Column(name="street", type=ColumnType.CATEGORY, categories=tuple(map(str, range(1000)))),
        Column(name="x", type=ColumnType.NUMBER),
    )
    X = np.full((600, 4), np.nan)
    X[:, 2], X[:, 3] = random.integers(0, 1000, 600), random.normal(size=600)
    y = (X[:, 3] + np.where(X[:, 2] % 2 == 0, 1.0, -1.0) > 0).astype(np.float64)
    given = Sample(
        X=X[:400], y=y[:400], weight=np.ones(400), X_stop=X[400:], y_stop=y[400:], columns=columns
    )
    fitted = family(name).fit(given, seed=0)
    met = given.X_stop.copy()  # values where training had none
    met[:, 0], met[:, 1] = random.normal(size=200), random.integers(0, 3, 200)
    assert check_fidelity(name, fitted, np.vstack([given.X_stop, met])) <= 1e-5
