"""Estimators of the user's own for several classes and for numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.train.test_tasks import sample

from gyroscope.errors import ConfigError
from gyroscope.train.families.base import Sample
from gyroscope.train.families.own_estimator import OwnEstimator
from gyroscope.train.fidelity import check_fidelity

pytest.importorskip("skops")
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
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
