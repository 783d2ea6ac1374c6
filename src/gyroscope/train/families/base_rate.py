"""The model that knows nothing of a row."""

from __future__ import annotations

import numpy as np

from gyroscope.bundle.additive import constant_scorer
from gyroscope.bundle.base import Matrix, Vector
from gyroscope.train.families.base import Fitted, Sample, one_scorer


class BaseRate:
    """Gives every row the share of positives, the shares of all classes, or the mean: what any
    other model has to beat."""

    name = "base_rate"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; ``seed`` changes nothing."""
        p = sample.X.shape[1]
        if sample.task == "multiclass":
            shares = np.bincount(sample.y.astype(np.intp), sample.weight, sample.n_classes)
            rates = shares / shares.sum()
            margins = np.log(rates)
        else:
            rates = np.average(sample.y[:, None], weights=sample.weight, axis=0)
            margins = rates if sample.task == "regression" else np.log(rates / (1 - rates))

        def answers(X: Matrix) -> Vector:
            return np.tile(rates, (len(X), 1)) if len(rates) > 1 else np.full(len(X), rates[0])

        return Fitted(
            scorer=one_scorer([constant_scorer(margin, p) for margin in margins.tolist()]),
            link=sample.log_odds_link(),
            answers=answers,
            parameters={"rate" if k == 0 else f"rate.{k}": r for k, r in enumerate(rates.tolist())},
        )
