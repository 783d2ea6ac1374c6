"""The user's own scikit-learn estimator; needs the extra ``estimator``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import (
    NOISE,
    EstimatorScorer,
    answer,
    loaded_estimator,
    stored_estimator,
)
from gyroscope.data.contract import Task
from gyroscope.errors import BundleError, ConfigError
from gyroscope.train.families.base import Fitted, Sample, categorical, n_codes

_TRIED = 20  # rows scored alone and together
_USUAL = 0.9  # the quantile of the sizes of answers that counts as usual


class OwnEstimator:
    """Fits a copy of the estimator in a skops file on encoded rows.

    It sees ``float64[n, p]`` in the order of the contract's features: NaN is missing, a category
    its code. What it needs of that, such as one-hot columns, is its own affair: a pipeline.
    """

    name = "estimator"

    def __init__(self, file: Path, trusted_types: Sequence[str]) -> None:
        """``trusted_types`` are those of the setting of that name."""
        self._file, self._trusted_types = file, trusted_types

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; every ``random_state`` that is None becomes ``seed``.

        Raises:
            ConfigError: the file is missing or holds no classifier that gives probabilities, or no
                regressor for a target of numbers, or the estimator cannot take rows that the
                contract allows.
            BundleError: the file is none of skops, or needs a type that is not trusted.
            MissingExtraError: skops is not installed.
        """
        from sklearn.base import clone

        model = clone(self.given(sample.task))
        unset = [
            name
            for name, value in model.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        ]
        model.set_params(**dict.fromkeys(unset, seed))
        model.fit(sample.X, sample.y, **self._weights(model, sample.weight))
        size = _size(model, sample)
        self._try_out(model, sample, size)

        def answers(X: Matrix) -> Vector:
            return answer(model, sample.task, X)

        return Fitted(
            scorer=EstimatorScorer(
                stored_estimator(model),
                trusted_types=self._trusted_types,
                task=sample.task,
                size=size,
            ),
            link=sample.share_link(),
            answers=answers,
            parameters={"file": self._file.name, "estimator": _in_one_line(model)},
        )

    def given(self, task: Task) -> Any:
        """The estimator in the file, unfitted; raises as :meth:`fit` does."""
        from sklearn.base import is_regressor

        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise ConfigError(f"setting estimator: {self._file}: {error.strerror}") from None
        try:
            given = loaded_estimator(content, self._trusted_types)
        except BundleError as error:
            raise BundleError(f"{self._file}: {error}") from None
        if task == "regression":
            if not is_regressor(given):
                raise ConfigError(
                    f"setting estimator: {self._file} holds a {type(given).__name__}, but the "
                    "target holds numbers: a regressor is needed"
                )
        elif not hasattr(given, "predict_proba"):
            raise ConfigError(
                f"setting estimator: {self._file} holds a {type(given).__name__} without "
                "predict_proba; wrap it in sklearn.calibration.CalibratedClassifierCV"
            )
        return given

    def _weights(self, model: Any, weight: Vector) -> dict[str, Vector]:
        """The argument of ``fit`` for the weights, if they differ."""
        from sklearn.utils.validation import has_fit_parameter

        if (weight == weight[0]).all():
            return {}
        steps = getattr(model, "steps", None)
        last, prefix = (steps[-1][1], f"{steps[-1][0]}__") if steps else (model, "")
        if not has_fit_parameter(last, "sample_weight"):
            raise ConfigError(
                f"setting estimator: {type(last).__name__} takes no sample_weight, but the "
                "contract has a column of role weight; give that role ignored, or use another"
            )
        return {f"{prefix}sample_weight": weight}

    def _try_out(self, model: Any, sample: Sample, size: float) -> None:
        """Refuse an estimator that would fail on rows of the contract."""
        some, task = sample.X_stop[:_TRIED], sample.task
        alone = np.concatenate([answer(model, task, row[None]) for row in some])
        noise = np.abs(answer(model, task, some) - alone) / np.maximum(size, np.abs(alone))
        if not noise.max() <= NOISE:
            raise ConfigError(
                "setting estimator: what it answers to a row depends on the rows it is asked with, "
                "so that no prediction could be repeated; take out the step that looks at all rows"
            )
        base = some[:1]
        for j, column in enumerate(sample.columns):
            tried = {"a missing value": np.nan} if column.nullable else {}
            if j in categorical(sample.columns) and column.unknown == "other":
                tried["an unknown category"] = n_codes(column) - 1.0
            for what, value in tried.items():
                row = base.copy()
                row[0, j] = value
                try:
                    answer(model, task, row)
                except ValueError as error:
                    first = str(error).splitlines()[0]
                    raise ConfigError(
                        f"setting estimator: it refuses {what} in {column.name}, which the "
                        f"contract allows ({first}); put a step into its pipeline that takes it, "
                        'such as SimpleImputer, or OneHotEncoder(handle_unknown="ignore")'
                    ) from None


def _size(model: Any, sample: Sample) -> float:
    """The power of two at or above most values that the model predicts, 1 for probabilities.

    It goes by what is predicted, not by the target, so that a huge target here or there makes no
    grid coarse on which usual values lie.
    """
    if sample.task != "regression":
        return 1.0
    sizes = np.abs(answer(model, sample.task, sample.X_stop))
    usual = np.quantile(sizes[sizes > 0], _USUAL) if sizes.any() else 1.0
    return float(2.0 ** np.ceil(np.log2(max(usual, np.finfo(np.float32).tiny))))


def _in_one_line(model: Any) -> str:
    return " ".join(str(model).split())[:500]
