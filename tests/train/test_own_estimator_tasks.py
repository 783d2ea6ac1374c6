"""Estimators of the user's own for several classes and for numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.train.test_tasks import sample

from gyroscope.bundle.estimator import EstimatorScorer, stored_estimator
from gyroscope.errors import ConfigError
from gyroscope.train.families.base import Sample
from gyroscope.train.families.own_estimator import OwnEstimator
from gyroscope.train.fidelity import check_fidelity

pytest.importorskip("skops")
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge
from sklearn.pipeline import make_pipeline
from skops.io import dump


def even(n_classes: int) -> Sample:
    """A sample without weights, nor the columns that need a scale."""
    given = sample(n_classes)
    X, X_stop = given.X.copy(), given.X_stop.copy()
    X[:, [2, 4]] = X_stop[:, [2, 4]] = 0
    return msgspec.structs.replace(given, X=X, X_stop=X_stop, weight=np.ones(len(X)))


@pytest.mark.parametrize(("n_classes", "last"), [(3, LogisticRegression(C=1e-3)), (0, Ridge())])
def test_it_is_scored_as_by_its_library_and_alike_in_any_batch(
    tmp_path: Path, n_classes: int, last: Any
) -> None:
    dump(make_pipeline(SimpleImputer(), last), tmp_path / "own.skops")
    fitted = OwnEstimator(tmp_path / "own.skops", ()).fit(even(n_classes), seed=0)
    X = even(n_classes).X_stop
    assert check_fidelity("estimator", fitted, X) <= fitted.tolerance
    together = fitted.scorer.margins(X)
    assert together.shape == ((len(X), n_classes) if n_classes else (len(X),))
    alone = np.concatenate([fitted.scorer.margins(row[None]) for row in X[:20]])
    assert alone.tobytes() == together[:20].tobytes()


def test_numbers_need_a_regressor(tmp_path: Path) -> None:
    dump(LogisticRegression(), tmp_path / "own.skops")
    with pytest.raises(ConfigError, match="holds a LogisticRegression, but the target holds num"):
        OwnEstimator(tmp_path / "own.skops", ()).fit(even(0), seed=0)


@pytest.mark.parametrize("huge", [1e6, 1e12])
def test_one_huge_target_makes_the_grid_of_usual_values_no_coarser(
    tmp_path: Path, huge: float
) -> None:
    given = even(0)
    y = given.y.copy()
    y[0] = huge
    dump(make_pipeline(SimpleImputer(), QuantileRegressor(alpha=0)), tmp_path / "own.skops")
    fitted = OwnEstimator(tmp_path / "own.skops", ()).fit(
        msgspec.structs.replace(given, y=y), seed=0
    )
    X = given.X_stop
    assert np.abs(fitted.answers(X)).max() < 100
    np.testing.assert_allclose(fitted.scorer.margins(X), fitted.answers(X), rtol=0, atol=1e-6)


class Noisy(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Answers the first column with noise in its last bits that hangs on the number of rows."""

    def fit(self, X: Any, y: Any) -> Noisy:
        return self

    def predict(self, X: Any) -> Any:
        return X[:, 0] + 1e-12 * np.maximum(1, np.abs(X[:, 0])) * (-1) ** len(X)


def test_values_of_any_size_get_the_same_bits_in_any_batch_whatever_the_noise() -> None:
    random = np.random.default_rng(0)
    ends = 2.0 ** np.arange(-3, 60)  # where the grid widens
    middles = (2 * np.arange(1000) + 1) * 2.0**-24
    sizes = np.concatenate([ends, middles, 10 ** random.uniform(-9, 300, 2000), [0.0]])
    X = np.concatenate([sizes, -sizes])[:, None]
    name = f"{Noisy.__module__}.Noisy"
    scorer = EstimatorScorer(
        stored_estimator(Noisy()), trusted_types=(name,), task="regression", size=1.0
    )
    together = scorer.margins(X)
    assert scorer.margins(X[1:]).tobytes() == together[1:].tobytes()  # the noise turns round
    alone = np.concatenate([scorer.margins(row[None]) for row in X])
    assert alone.tobytes() == together.tobytes()
    np.testing.assert_allclose(together, X[:, 0], rtol=2.0**-23, atol=2.0**-24)
