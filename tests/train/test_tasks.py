"""Every family on targets of several classes and of numbers, held against its library."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.class_link import ClassLink
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.testing.families import COLUMNS, awkward_rows, rows, same_arrays
from gyroscope.train.families.base import EXTRAS, Fitted, Sample, family
from gyroscope.train.fidelity import check_fidelity

TREES = (
    "decision_tree",
    "random_forest",
    "gradient_boosting",
    "hist_gradient_boosting",
    "lightgbm",
    "xgboost",
    "catboost",
)
FLOAT32 = {"xgboost": 1e-5}  # its own arithmetic
CLASSIFIERS = ("base_rate", "logistic_regression", *TREES)
REGRESSORS = ("base_rate", "linear_regression", *TREES)
CASES = [(name, n) for n in (3, 12) for name in CLASSIFIERS] + [(name, 0) for name in REGRESSORS]


def target(X: Matrix, n_classes: int, seed: int) -> Vector:
    """Classes from 0 on that hang on the columns, or numbers if ``n_classes`` is 0."""
    random = np.random.default_rng(seed)
    x = np.nan_to_num(X)
    value = 2 * x[:, 0] + x[:, 5] + 0.3 * (x[:, 6] == 1) * x[:, 7] + random.normal(size=len(X))
    if n_classes:
        ends = np.quantile(value, np.linspace(0, 1, n_classes + 1)[1:-1])
        value = np.searchsorted(ends, value).astype(np.float64)
    return np.asarray(value)


@cache
def sample(n_classes: int) -> Sample:
    X, X_stop = rows(0, 600)[0], rows(1, 200)[0]
    return Sample(
        X=X,
        y=target(X, n_classes, 2),
        weight=np.random.default_rng(3).uniform(0.5, 2, len(X)),
        X_stop=X_stop,
        y_stop=target(X_stop, n_classes, 4),
        columns=COLUMNS,
        task="multiclass" if n_classes else "regression",
        n_classes=n_classes,
    )


@cache
def fitted(name: str, n_classes: int) -> Fitted:
    if name in EXTRAS:
        pytest.importorskip(name)
    return family(name).fit(sample(n_classes), seed=0)


def scores(of: Fitted, X: Matrix) -> Matrix:
    found: Matrix = of.link.probability(of.link.margin(of.scorer.margins(X)))
    return found


@pytest.mark.parametrize(("name", "n_classes"), CASES)
def test_scores_are_those_of_the_library(name: str, n_classes: int) -> None:
    found, X = fitted(name, n_classes), awkward_rows(5, 500)
    ours, theirs = scores(found, X), found.answers(X)
    assert ours.shape == theirs.shape == ((500, n_classes) if n_classes else (500,))
    size = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=FLOAT32.get(name, 1e-6) * size)
    assert check_fidelity(name, found, sample(n_classes).X_stop) <= FLOAT32.get(name, 1e-6)


@pytest.mark.parametrize(("name", "n_classes"), CASES)
def test_a_row_has_the_same_margins_in_any_batch(name: str, n_classes: int) -> None:
    found, X = fitted(name, n_classes), awkward_rows(6, 100)
    together = scores(found, X)
    alone = np.concatenate([scores(found, row[None]) for row in X])
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize(("name", "n_classes"), CASES)
def test_it_learns_more_than_the_base_rate(name: str, n_classes: int) -> None:
    if name == "base_rate":
        return
    given = sample(n_classes)

    def loss(of: Fitted) -> float:
        found = scores(of, given.X_stop)
        y = given.y_stop
        if n_classes:  # Brier
            found, y = found[np.arange(len(y)), y.astype(np.intp)], np.ones(len(y))
        return float(np.square(found - y).mean())

    assert loss(fitted(name, n_classes)) < 0.95 * loss(fitted("base_rate", n_classes))


@pytest.mark.parametrize("n_classes", [3, 0])
@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_contributions_are_those_of_the_library(name: str, n_classes: int) -> None:
    found, X = fitted(name, n_classes), awkward_rows(8, 30)
    assert found.contributions is not None
    ours, theirs = found.scorer.contributions(X), found.contributions(X)
    assert ours.values.shape == theirs.shape
    atol = FLOAT32.get(name, 1e-6)
    np.testing.assert_allclose(ours.values, theirs, rtol=0, atol=atol)
    added_up = ours.base + ours.values.sum(axis=1)
    np.testing.assert_allclose(added_up, found.scorer.margins(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["random_forest", "lightgbm", "logistic_regression"])
def test_scorers_of_classes_survive_being_stored(name: str) -> None:
    found = fitted(name, 3)
    assert isinstance(found.scorer, ClassScorers)
    assert isinstance(found.link, ClassLink)
    arrays = found.scorer.arrays()
    part = type(found.scorer._parts[0])
    again = ClassScorers.from_arrays(part, arrays, 3)
    assert same_arrays(again.arrays(), arrays)
    X = awkward_rows(7, 50)
    assert again.margins(X).tobytes() == found.scorer.margins(X).tobytes()
    assert ClassLink.from_arrays(found.link.kind, found.link.arrays()) == found.link


def test_the_splits_of_a_forest_are_stored_once() -> None:
    arrays = fitted("random_forest", 12).scorer.arrays()
    assert "threshold" in arrays
    assert "11.value" in arrays
    assert "0.threshold" not in arrays
