"""The model that knows only how frequent the positive class is."""

from __future__ import annotations

import math

import numpy as np

from gyroscope.bundle.additive import constant_scorer
from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.links import Link
from gyroscope.train.families.base import Fitted, Sample


class BaseRate:
    """Gives every row the share of positives: what any other model has to beat."""

    name = "base_rate"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; ``seed`` changes nothing."""
        rate = float(np.average(sample.y, weights=sample.weight))

        def probabilities(X: Matrix) -> Vector:
            return np.full(len(X), rate)

        return Fitted(
            scorer=constant_scorer(math.log(rate / (1 - rate)), sample.X.shape[1]),
            link=Link(kind="logistic"),
            probabilities=probabilities,
            parameters={"rate": rate},
        )
