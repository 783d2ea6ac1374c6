"""Every family on real rows: the library's probabilities, and the Shapley values of ``shap``."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gyroscope.bundle.base import Matrix
from gyroscope.data.encoder import Encoder
from gyroscope.data.infer import infer_contract
from gyroscope.data.sources import read_table
from gyroscope.testing.families import probabilities
from gyroscope.train.families.base import (
    EXTRAS,
    FAMILIES,
    CategoryRanks,
    Fitted,
    Sample,
    categorical,
    family,
    n_codes,
)
from gyroscope.train.families.sklearn_trees import mean_scorer
from gyroscope.train.fidelity import check_fidelity

ROWS = 3000
DATA = {
    "diabetes_130us": ("readmitted", "<30"),  # missing values, hundreds of codes of diagnoses
    "hotel_bookings": ("is_canceled", "1"),  # countries, agents; integers with many ties
    "elec2": ("class", "UP"),  # numbers of six digits
}
TREES = [
    name
    for name in FAMILIES
    if name not in ("base_rate", "logistic_regression", "linear_regression")
]
FLOAT32 = {"xgboost": 1e-5}  # its own arithmetic


@cache
def real_sample(folder: Path, name: str) -> Sample:
    """Some rows to fit on and as many others."""
    target, positive = DATA[name]
    table = read_table(next((folder / name).glob(f"{name}.*")))
    table = table.take(np.linspace(0, table.num_rows - 1, 2 * ROWS).astype(np.int64))
    contract = infer_contract(table, target=target, positive=[positive]).contract
    encoder = Encoder(contract)
    X, y = encoder.encode_table(table).X, encoder.encode_target(table)
    return Sample(
        X=X[::2],
        y=y[::2],
        weight=np.ones(ROWS),
        X_stop=X[1::2],
        y_stop=y[1::2],
        columns=contract.features,
    )


@cache
def fitted_on(folder: Path, name: str, data: str) -> Fitted:
    if name in EXTRAS:
        pytest.importorskip(name)
    return family(name).fit(real_sample(folder, data), seed=0)


def awkward(sample: Sample, fitted: Fitted) -> Matrix:
    """The rows not fitted on with missing values, unknown categories and ties at the splits."""
    random = np.random.default_rng(0)
    X = sample.X_stop.copy()
    nodes: Any = getattr(fitted.scorer, "_nodes", None)
    for j in range(X.shape[1]):
        some = random.uniform(size=len(X)) < 0.3
        if j in categorical(sample.columns):
            X[some, j] = random.integers(0, n_codes(sample.columns[j]), some.sum())
        elif nodes is not None and (nodes.feature == j).any():
            splits = random.choice(nodes.threshold[nodes.feature == j], some.sum())
            toward = random.choice([-np.inf, np.inf], some.sum())
            with np.errstate(over="ignore"):  # beside the lowest float
                close = np.nextafter(splits.astype(np.float32), toward.astype(np.float32))
            kinds = [splits, np.nextafter(splits, toward), close.astype(np.float64)]
            ties = np.choose(random.integers(0, 3, some.sum()), kinds)
            X[some, j] = np.where(np.isfinite(ties), ties, X[some, j])
    X[random.uniform(size=X.shape) < 0.05] = np.nan
    return X


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "linear_regression"])
def test_probabilities_of_real_and_awkward_rows_are_those_of_the_library(
    shared_data: Path, name: str, data: str
) -> None:
    sample, fitted = real_sample(shared_data, data), fitted_on(shared_data, name, data)
    tolerance = FLOAT32.get(name, 1e-6)
    for X in (sample.X, sample.X_stop, awkward(sample, fitted)):
        with np.errstate(invalid="ignore"):  # of an infinite split, which stands for "is missing"
            gap = np.abs(probabilities(fitted, X) - fitted.answers(X)).max()
        assert gap <= tolerance
    assert check_fidelity(name, fitted, sample.X_stop) <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", TREES)
def test_contributions_of_real_rows_are_those_of_shap(
    shared_data: Path, name: str, data: str
) -> None:
    sample, fitted = real_sample(shared_data, data), fitted_on(shared_data, name, data)
    X = np.vstack([sample.X_stop[:60], awkward(sample, fitted)[:40]])
    ours = fitted.scorer.contributions(X)
    if fitted.contributions is not None:  # LightGBM, XGBoost and CatBoost have shap's algorithm
        theirs = fitted.contributions(X)
    else:
        model, seen = library_of(fitted)
        if name == "hist_gradient_boosting" and model.is_categorical_ is not None:
            pytest.skip("shap does not know its category splits")
        theirs = shap_values(model, seen(X))
    scale = 1 + np.abs(ours.values).sum(axis=1).max()
    np.testing.assert_allclose(ours.values, theirs, rtol=0, atol=FLOAT32.get(name, 1e-6) * scale)


def library_of(fitted: Fitted) -> tuple[Any, Any]:
    """The library's model and how it is shown rows, from what its answers close over."""
    held = inspect.getclosurevars(fitted.answers).nonlocals
    view = next(held[key] for key in ("seen", "view") if key in held)
    return next(held[key] for key in ("model", "forest", "tree") if key in held), view


def shap_values(model: Any, X: Matrix) -> Matrix:
    shap = pytest.importorskip("shap")
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    found: Matrix = explainer.shap_values(X, check_additivity=False)
    return found[..., 1] if found.ndim == 3 else found


@pytest.mark.slow
def test_a_forest_grown_to_the_end_is_explained_as_by_shap(shared_data: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    sample = real_sample(shared_data, "diabetes_130us")
    ranks = CategoryRanks(sample)
    forest = RandomForestClassifier(30, random_state=0).fit(ranks(sample.X), sample.y)
    assert max(tree.get_depth() for tree in forest.estimators_) > 25
    scorer = mean_scorer(forest.estimators_, ranks, sample)
    X = sample.X_stop[:30]
    margins, theirs = scorer.margins(X), forest.predict_proba(ranks(X))[:, 1]
    np.testing.assert_allclose(margins, theirs, rtol=0, atol=1e-12)
    values = scorer.contributions(X).values
    np.testing.assert_allclose(values, shap_values(forest, ranks(X)), rtol=0, atol=1e-6)
