"""A change of all columns together, seen by a classifier that tells two samples apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.auc import midranks
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.intervals import upper_tail

MOST_ROWS = 20_000  # of each sample; more would cost time and hardly change the answer
FEWEST_ROWS = 50  # of each sample; below, the halves teach a classifier nothing
_ROUNDS = 100
_LARGEST = 1e299  # the library cuts its thresholds off at 1e300; infinity becomes this
_PARAMETERS: dict[str, float | int | bool | str] = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


class DomainTest(msgspec.Struct, frozen=True, kw_only=True):
    """How well a classifier tells the current rows from those of the reference."""

    auc: float  # mean over the held-out halves; 1/2 is no better than chance
    p_value: float  # of "both samples are from one distribution"
    suspects: Mapping[str, float]  # column to its share of the gain of all splits, largest first
    n_reference: int  # rows looked at
    n_current: int


def domain_test(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    columns: Sequence[str],
    *,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
) -> DomainTest:
    """Classifier two-sample test: sees changes that leave every single column as it was.

    Both samples are cut in two at random. A boosted-tree classifier is fitted on one half and
    scores the other, and the other way round. If nothing has changed, the rows held out are
    exchangeable whatever the classifier, so that their Mann-Whitney statistic has its null
    distribution and a standardised value z. The two z are dependent, since each half teaches the
    classifier of the other; their mean has at most the variance of one, so that it is held against
    a standard normal. The test therefore keeps its level, and is the more careful the less the two
    agree by chance.

    Args:
        reference: float[n, columns], nan where missing; categories as codes.
        current: float[m, columns].
        columns: their names.
        most_rows: rows of each sample; of a larger one every k-th is taken.
        seed: of the halves and the classifier.

    Returns:
        The test; where all rows are alike the AUC is 1/2 and the p-value 1/2.

    Raises:
        DataError: matrices that do not fit the names, or fewer than 50 rows in one of them.

    Source:
        Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests, ICLR; Kim, Ramdas, Singh
        and Wasserman (2021), Classification accuracy as a proxy for two-sample testing, Annals of
        Statistics 49; the variance with ties is that of Lehmann (1975), Nonparametrics, section
        1.4.
    """
    a, b = (thinned(X, most_rows) for X in checked_samples(reference, current))
    if a.shape[1] != len(columns):
        raise DataError(f"expected {len(columns)} columns by their names, got {a.shape[1]}")
    X = np.concatenate([a, b])
    y = np.repeat([0.0, 1.0], [len(a), len(b)])
    fits = cross_fitted(X, y, seed=seed)
    tests = [_mann_whitney(y[held], fits.probability[held]) for held in fits.halves]
    gain = fits.gain / fits.gain.sum() if fits.gain.sum() > 0 else fits.gain
    return DomainTest(
        auc=float(np.mean([auc for auc, _ in tests])),
        p_value=upper_tail(float(np.mean([z for _, z in tests]))),
        suspects={columns[j]: float(gain[j]) for j in np.argsort(-gain, kind="stable")},
        n_reference=len(a),
        n_current=len(b),
    )


class CrossFitted(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What classifiers fitted on the other half say of each row."""

    probability: FloatArray  # of being a current row
    halves: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]  # rows scored together
    gain: FloatArray  # of all splits on each column


def cross_fitted(X: FloatArray, y: FloatArray, *, seed: int) -> CrossFitted:
    """Tell rows X[n, columns] of y = 1 from those of y = 0, each by a classifier that never saw it.

    The halves hold equal shares of both classes, at random by the seed.
    """
    import lightgbm

    X = np.clip(X, -_LARGEST, _LARGEST)
    rng = np.random.default_rng(seed)
    half = np.empty(len(y), dtype=np.intp)
    for label in (0, 1):
        members = np.flatnonzero(y == label)
        half[rng.permutation(members)] = np.arange(len(members)) % 2
    halves = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    probability, gain = np.empty(len(y)), np.zeros(X.shape[1])
    settings: dict[str, Any] = {**_PARAMETERS, "seed": seed}
    for held, seen in (halves, halves[::-1]):
        data = lightgbm.Dataset(X[seen], y[seen], params=settings)
        booster = lightgbm.train(settings, data, num_boost_round=_ROUNDS)
        probability[held] = booster.predict(X[held])
        gain += booster.feature_importance("gain")
    return CrossFitted(probability=probability, halves=halves, gain=gain)


def thinned(X: FloatArray, most_rows: int) -> FloatArray:
    """At most so many rows of X, evenly over their order."""
    if len(X) <= most_rows:
        return X
    return X[np.linspace(0, len(X) - 1, most_rows).astype(np.intp)]


def checked_samples(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return both samples as float64 matrices of the same columns.

    Raises:
        DataError: their columns differ, or one of them has fewer than 50 rows.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(
            "expected two matrices with the same columns, got shapes "
            f"{a.shape} for the reference and {b.shape} for the current sample"
        )
    if min(len(a), len(b)) < FEWEST_ROWS:
        raise DataError(
            f"a domain classifier needs {FEWEST_ROWS} rows of each sample, got {len(a)} reference "
            f"and {len(b)} current rows; wait for a larger window"
        )
    return a, b


def _mann_whitney(y: FloatArray, p: FloatArray) -> tuple[float, float]:
    """AUC and its standardised value under exchangeability; (1/2, 0) if all scores are equal."""
    positive, n = float(y.sum()), y.size
    negative = n - positive
    ranks = midranks(p)
    auc = (float(ranks @ y) - positive * (positive + 1) / 2) / (positive * negative)
    # The ranks' finite-population variance holds the correction for ties.
    variance = float(ranks.var(ddof=1)) / n / (positive * negative)
    return auc, (auc - 0.5) / math.sqrt(variance) if variance > 0 else 0.0
