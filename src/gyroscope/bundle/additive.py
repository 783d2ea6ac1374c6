"""Scorers whose margin is a sum of one function of each column: linear models, the base rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Contributions, Matrix, Vector, ordered_sum


class AdditiveScorer:
    """``margin = intercept + sum_j g_j(x_j)``.

    ``g_j`` is ``slope * x`` for a numeric column and a table for a category; a missing value has
    its own entry in both. The Shapley value of column j, with the columns taken as independent,
    is ``g_j(x_j)`` minus its mean over the training rows (Strumbelj and Kononenko 2014, sec. 2).
    """

    kind = "additive"
    explains = True

    def __init__(
        self,
        *,
        intercept: float,
        slopes: Vector,  # float64[p]; 0 for categories
        missing: Vector,  # float64[p]; g_j of a missing value
        expected: Vector,  # float64[p]; mean of g_j over the training rows
        tables: Sequence[Vector | None],  # g_j by code for categories, None for numbers
    ) -> None:
        self._intercept = intercept
        self._slopes, self._missing, self._expected = slopes, missing, expected
        self._tables = list(tables)
        if not len(slopes) == len(missing) == len(expected) == len(self._tables):
            raise ValueError("the arrays of an additive scorer differ in length")
        # All tables end to end: one look-up for all categories of a row.
        coded = [(j, table) for j, table in enumerate(self._tables) if table is not None]
        self._coded = np.array([j for j, _ in coded], dtype=np.intp)
        self._lengths = np.array([len(table) for _, table in coded], dtype=np.intp)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._flat = np.concatenate([np.empty(0), *(table for _, table in coded)])

    def margins(self, X: Matrix) -> Vector:
        terms = np.empty((X.shape[0], X.shape[1] + 1))
        terms[:, 0] = self._intercept
        terms[:, 1:] = self._terms(X)
        return ordered_sum(terms)

    def contributions(self, X: Matrix) -> Contributions:
        base = self._intercept + float(self._expected.sum())
        return Contributions(values=self._terms(X) - self._expected, base=base)

    def _terms(self, X: Matrix) -> Matrix:
        if X.shape[1] != len(self._slopes):
            raise ValueError(f"expected {len(self._slopes)} columns, got {X.shape[1]}")
        absent = np.isnan(X)
        terms = np.where(absent, self._missing, X * self._slopes)
        if self._coded.size:
            missing = absent[:, self._coded]
            codes = np.where(missing, 0.0, X[:, self._coded]).astype(np.intp)
            if ((codes < 0) | (codes >= self._lengths)).any():
                raise IndexError("a row holds a category code that no table of the scorer knows")
            found = self._flat[self._starts + codes]
            terms[:, self._coded] = np.where(missing, self._missing[self._coded], found)
        return terms

    def arrays(self) -> Arrays:
        lengths = [-1 if table is None else len(table) for table in self._tables]
        return {
            "intercept": np.array([self._intercept]),
            "slopes": self._slopes,
            "missing": self._missing,
            "expected": self._expected,
            "table_lengths": np.array(lengths, dtype=np.int64),
            "tables": self._flat,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        flat = np.asarray(arrays["tables"], dtype=np.float64)
        tables: list[Vector | None] = []
        start = 0
        for length in np.asarray(arrays["table_lengths"], dtype=np.int64).tolist():
            tables.append(None if length < 0 else flat[start : start + length])
            start += max(length, 0)
        if start != len(flat):
            raise ValueError("the tables of an additive scorer do not have the lengths listed")
        return cls(
            intercept=float(np.asarray(arrays["intercept"], dtype=np.float64)[0]),
            slopes=np.asarray(arrays["slopes"], dtype=np.float64),
            missing=np.asarray(arrays["missing"], dtype=np.float64),
            expected=np.asarray(arrays["expected"], dtype=np.float64),
            tables=tables,
        )


def constant_scorer(margin: float, n_features: int) -> AdditiveScorer:
    """The scorer that gives every row the same margin."""
    zeros = np.zeros(n_features)
    return AdditiveScorer(
        intercept=margin, slopes=zeros, missing=zeros, expected=zeros, tables=[None] * n_features
    )
