"""Linear models on standardised numbers and one-hot categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.estimator import answer
from gyroscope.train.families.base import Fitted, Sample, categorical, n_codes, one_scorer

_STRENGTH = 1.0  # the L2 penalty or its inverse, the library's default
_TOLERANCE, _STEPS = 1e-10, 3000  # of conjugate gradients
_ROUNDING = 1e-9  # of the mean: a smaller standard deviation counts as none
_SPREADS = (1e-290, 1e290)  # standard deviations whose slopes and squares float64 can hold


class LogisticRegression:
    """Linear in each number and free for each category; missing has its own coefficient.

    With several classes, multinomial: a set of coefficients for each.
    """

    name = "logistic_regression"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit by L-BFGS; ``seed`` changes nothing."""
        from sklearn.linear_model import LogisticRegression as Estimator

        design = _Design(sample)
        estimator = Estimator(C=_STRENGTH, max_iter=3000)
        estimator.fit(design(sample.X), sample.y, sample_weight=sample.weight)

        return _fitted(estimator, design, sample, {"C": _STRENGTH})


class LinearRegression:
    """The same for numbers, by ridge regression."""

    name = "linear_regression"

    def fit(self, sample: Sample, *, seed: int) -> Fitted:
        """Fit; ``seed`` changes nothing."""
        from sklearn.linear_model import Ridge

        design = _Design(sample)
        estimator = Ridge(alpha=_STRENGTH, solver="sparse_cg", tol=_TOLERANCE, max_iter=_STEPS)
        estimator.fit(design(sample.X), sample.y, sample_weight=sample.weight)
        return _fitted(estimator, design, sample, {"alpha": _STRENGTH})


def _fitted(
    estimator: Any, design: _Design, sample: Sample, parameters: dict[str, float | int | str]
) -> Fitted:
    def answers(X: Matrix) -> Vector:
        return answer(estimator, sample.task, design(X))

    coefficients = np.atleast_2d(estimator.coef_)
    intercepts = np.atleast_1d(estimator.intercept_).tolist()
    return Fitted(
        scorer=one_scorer(
            [
                design.scorer(of_output, intercept, sample)
                for of_output, intercept in zip(coefficients, intercepts, strict=True)
            ]
        ),
        link=sample.log_odds_link(),
        answers=answers,
        parameters={**parameters, "coefficients": int(coefficients.size)},
    )


class _Design:
    """The design matrix: for a number its z-score and an indicator of missing, for a category one
    column a code and one for missing."""

    def __init__(self, sample: Sample) -> None:
        X = sample.X
        self._categories = {j: n_codes(sample.columns[j]) for j in categorical(sample.columns)}
        present = ~np.isnan(X)
        count = np.maximum(present.sum(axis=0), 1)
        self._mean = (np.where(present, X, 0.0) / count).sum(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for below
            spread = np.where(present, X - self._mean, 0.0)
            widest = np.maximum(np.abs(spread).max(axis=0), np.finfo(np.float64).tiny)
            sd = widest * np.sqrt(((spread / widest) ** 2).sum(axis=0) / count)
        # A column has no effect if it varies by no more than rounding errors, or if float64 cannot
        # hold its scale: then its standard deviation is infinite.
        held = (sd > _SPREADS[0]) & (sd < _SPREADS[1])
        self._sd = np.where(held & (sd > _ROUNDING * np.abs(self._mean)), sd, np.inf)

    def __call__(self, X: Matrix) -> Any:
        from scipy import sparse

        blocks = []
        for j in range(X.shape[1]):
            x, absent = X[:, j], np.isnan(X[:, j])
            if j in self._categories:
                size = self._categories[j] + 1
                codes = np.where(absent, size - 1, x).astype(np.intp)
                ones = (np.ones(len(x)), (np.arange(len(x)), codes))
                blocks.append(sparse.csr_matrix(ones, shape=(len(x), size)))
            else:
                z = np.zeros(len(x))
                if np.isfinite(self._sd[j]):
                    z = np.where(absent, 0.0, (x - self._mean[j]) / self._sd[j])
                blocks.append(sparse.csr_matrix(np.column_stack([z, absent])))
        return sparse.hstack(blocks, format="csr")

    def scorer(self, coefficients: Vector, intercept: float, sample: Sample) -> AdditiveScorer:
        """The fitted coefficients as one function of each raw column."""
        p = sample.X.shape[1]
        slopes, missing = np.zeros(p), np.zeros(p)
        tables: list[NDArray[np.float64] | None] = [None] * p
        start = 0
        for j in range(p):
            if j in self._categories:
                size = self._categories[j]
                tables[j] = coefficients[start : start + size].copy()
                missing[j] = coefficients[start + size]
                start += size + 1
            else:
                slopes[j] = coefficients[start] / self._sd[j]
                intercept -= slopes[j] * self._mean[j]
                missing[j] = slopes[j] * self._mean[j] + coefficients[start + 1]
                start += 2
        fitted = AdditiveScorer(
            intercept=intercept, slopes=slopes, missing=missing, expected=np.zeros(p), tables=tables
        )
        means = fitted.contributions(sample.X).values.mean(axis=0)
        return AdditiveScorer(
            intercept=intercept, slopes=slopes, missing=missing, expected=means, tables=tables
        )
