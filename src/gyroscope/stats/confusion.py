"""The four counts of a classifier's decisions, and the rates they give."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.binary import labels_and_scores
from gyroscope.stats.intervals import Estimate, proportion


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were decided rightly and wrongly; positive is class 1."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def n(self) -> int:
        """All rows."""
        return self.positive + self.false_positive + self.true_negative

    @property
    def positive(self) -> int:
        """Rows whose label is 1."""
        return self.true_positive + self.false_negative

    @property
    def selected(self) -> int:
        """Rows decided to be positive."""
        return self.true_positive + self.false_positive


def confusion(y: npt.ArrayLike, p: npt.ArrayLike, threshold: float) -> Confusion:
    """Count the decisions ``p >= threshold`` against the labels.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, probabilities = labels_and_scores(y, p)
    selected = probabilities >= threshold
    hits = int(np.count_nonzero(selected & (labels == 1)))
    positives = int(np.count_nonzero(labels == 1))
    false_positive = int(np.count_nonzero(selected)) - hits
    return Confusion(
        true_positive=hits,
        false_positive=false_positive,
        false_negative=positives - hits,
        true_negative=labels.size - positives - false_positive,
    )


def accuracy(counts: Confusion, *, alpha: float = 0.05) -> Estimate:
    """Share of rows decided rightly, with a Wilson interval."""
    return proportion(counts.true_positive + counts.true_negative, counts.n, alpha=alpha)


def precision(counts: Confusion, *, alpha: float = 0.05) -> Estimate:
    """Share of positive decisions that are right; undefined when nothing was selected."""
    return proportion(counts.true_positive, counts.selected, alpha=alpha)


def recall(counts: Confusion, *, alpha: float = 0.05) -> Estimate:
    """Share of positive rows that are found (sensitivity); undefined without positive rows."""
    return proportion(counts.true_positive, counts.positive, alpha=alpha)


def specificity(counts: Confusion, *, alpha: float = 0.05) -> Estimate:
    """Share of negative rows left alone; undefined without negative rows."""
    negative = counts.n - counts.positive
    return proportion(counts.true_negative, negative, alpha=alpha)


def f1(counts: Confusion, *, alpha: float = 0.05) -> Estimate:
    """Harmonic mean of precision and recall; undefined without positive rows and decisions.

    F1 = 2 J / (1 + J) of the Jaccard index J = TP / (TP + FP + FN), and given the rows that are
    positive or selected TP is binomial, so the Wilson interval of J, mapped, is one of F1.
    """
    either = counts.true_positive + counts.false_positive + counts.false_negative
    jaccard = proportion(counts.true_positive, either, alpha=alpha)
    slope = 2 / (1 + jaccard.value) ** 2
    low, high = (_f1_of_jaccard(end) for end in (jaccard.interval.low, jaccard.interval.high))
    return Estimate(
        value=_f1_of_jaccard(jaccard.value),
        standard_error=slope * jaccard.standard_error,
        interval=Interval(low, high),
        n=either,
    )


def _f1_of_jaccard(jaccard: float) -> float:
    return math.nan if math.isnan(jaccard) else 2 * jaccard / (1 + jaccard)
