"""Signs that a column knows the target: it will not be known when the prediction is made.

All are signs, not proofs: they are computed from one column and the target alone, on a seeded
sample of rows. To judge single features is advice of Kaufman, Rosset, Perlich and Stitelman
(2012), "Leakage in data mining: formulation, detection, and avoidance".
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.infer_types import Typed
from gyroscope.stats.auc import roc_auc

SAMPLE = 100_000  # rows looked at
FEWEST_PER_CLASS = 10  # rows of each class in each half of the sample, for an AUC
ONE_OUTCOME = (0.01, 0.05)  # a value has one outcome if the share of the other class is at most
# the first, and at most the second times what it is in all rows
ONE_OUTCOME_SHARE = 0.005  # of all rows, at least, must have the value
LOG_CHANCE = -30.0  # natural log of the probability up to which that is no chance
NO_TARGET_ROWS = 20  # fewer rows without a target show nothing
MISSING_TOGETHER = 0.8  # share of the rows without a target in which a column is missing too
MISSING_ALONE = 0.01  # largest share of the other rows in which it is

_BINS = 256  # of a number; fewer if that leaves under _ROWS_PER_BIN rows in a bin
_ROWS_PER_BIN = 50
_STREAM = 0x1EA4  # of random numbers, unlike one that synthetic data may have been drawn from
_PRIOR_ROWS = 5  # weight of the base rate in the target mean of a value


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with a target that columns are held against."""

    rows: NDArray[np.int64]  # int64[m]: positions in the table, ascending
    y: NDArray[np.float64]  # float64[m]: 0 or 1
    half: NDArray[np.bool_]  # bool[m]: rows that target means are learnt on; the others judge
    no_target: NDArray[np.bool_]  # bool[n]: rows of the table without a target

    @property
    def base_rate(self) -> float:
        """Share of positive rows."""
        return float(self.y.mean())


class OneOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Values of a column for which the target is practically always the same."""

    values: str  # in words
    positive: bool  # which class
    rows: int  # of the sample with such a value
    exceptions: int  # rows among them with the other class
    missing: bool = False  # the "values" are the absence of one
    exact: bool = True  # values as such, not bins of a number


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What one column shows about the target."""

    auc: float  # of the column alone, in [0.5, 1]; 0.5 too if there are too few rows
    one_outcome: tuple[OneOutcome, ...]
    missing_together: float  # share of the rows without a target in which it is missing; 0: no sign


def draw_sample(y: NDArray[np.float64], *, seed: int = 0) -> Sample:
    """Choose rows among those whose label in ``y`` (float64[n], NaN for none) is known."""
    random = np.random.default_rng([seed, _STREAM])
    rows = np.flatnonzero(~np.isnan(y))
    if rows.size > SAMPLE:
        rows = np.sort(random.choice(rows, SAMPLE, replace=False))
    return Sample(rows=rows, y=y[rows], half=random.random(rows.size) < 0.5, no_target=np.isnan(y))


def leakage_signs(typed: Typed, sample: Sample) -> Signs:
    """Hold one column against the target."""
    groups = _Groups(typed, sample)
    return Signs(
        auc=max(_auc_of_means(groups, sample), _auc_of_numbers(typed, sample)),
        one_outcome=tuple(_one_outcomes(groups, sample)),
        missing_together=_missing_together(typed, sample),
    )


class _Groups:
    """Rows of the sample grouped by value or by bin, in order of the values; missing is last."""

    def __init__(self, typed: Typed, sample: Sample) -> None:
        codes = typed.values.codes[sample.rows]
        self.exact = typed.numbers is None or typed.numbers.size <= _BINS
        if typed.numbers is None:
            self.names = [repr(text) for text in typed.values.texts()]
            self.of_row = np.where(codes < 0, len(self.names), codes)
        else:
            numbers = _usable(typed.numbers, codes)
            upper = _upper_edges(typed.numbers, numbers, self.exact)
            self.names = [f"{edge:g}" for edge in upper]
            self.of_row = np.searchsorted(upper, numbers)  # NaN goes to the end
        self.ordered = typed.numbers is not None
        self.count = len(self.names) + 1
        self.rows = np.bincount(self.of_row, minlength=self.count)
        self.positives = np.bincount(self.of_row, sample.y, minlength=self.count)


def _usable(distinct: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """The number in each row; NaN for missing and for the infinite, which no model can use."""
    usable = np.where(np.isfinite(distinct), distinct, np.nan)
    numbers: NDArray[np.float64] = np.append(usable, np.nan)[codes]
    return numbers


def _upper_edges(
    distinct: NDArray[np.float64], numbers: NDArray[np.float64], exact: bool
) -> NDArray[np.float64]:
    if exact:
        return np.sort(distinct[np.isfinite(distinct)])
    bins = int(np.clip(numbers.size / 2 / _ROWS_PER_BIN, 2, _BINS))
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        return np.zeros(0)
    edges: NDArray[np.float64] = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:]))
    return edges


def _auc_of_means(groups: _Groups, sample: Sample) -> float:
    """AUC, on one half, of scoring each row by its group's target mean on the other half."""
    learn, judge = groups.of_row[sample.half], groups.of_row[~sample.half]
    rows = np.bincount(learn, minlength=groups.count)
    positives = np.bincount(learn, sample.y[sample.half], minlength=groups.count)
    means = (positives + _PRIOR_ROWS * sample.base_rate) / (rows + _PRIOR_ROWS)
    return _auc(means[judge], sample.y[~sample.half])


def _auc_of_numbers(typed: Typed, sample: Sample) -> float:
    """AUC of the number itself, up or down, among the rows that have one."""
    if typed.numbers is None:
        return 0.5
    numbers = _usable(typed.numbers, typed.values.codes[sample.rows])
    present = ~np.isnan(numbers)
    if present.mean() < 0.5:  # says little about the column as a whole
        return 0.5
    auc = _auc(numbers[present], sample.y[present])
    return max(auc, 1 - auc)


def _auc(scores: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Area under the ROC curve; 0.5 if a class has too few rows to say."""
    if min(y.sum(), (1 - y).sum()) < FEWEST_PER_CLASS:
        return 0.5
    different, rank = np.unique(scores, return_inverse=True)
    return roc_auc(y, rank / different.size).value


def _one_outcomes(groups: _Groups, sample: Sample) -> list[OneOutcome]:
    found = []
    for positive in (True, False):
        expected = 1 - sample.base_rate if positive else sample.base_rate
        other = groups.rows - groups.positives if positive else groups.positives
        limit = min(ONE_OUTCOME[0], ONE_OUTCOME[1] * expected)
        pure = (groups.rows > 0) & (other <= limit * groups.rows)
        for first, last in _runs(pure, groups.ordered):
            run = slice(first, last + 1)
            rows = int(groups.rows[run].sum())
            missing = first == groups.count - 1
            if _log_chance(float(other[run].sum()) / rows, expected, rows) > LOG_CHANCE:
                continue
            if not missing and rows < ONE_OUTCOME_SHARE * sample.y.size:
                continue
            found.append(
                OneOutcome(
                    values=_run_words(groups, first, last),
                    positive=positive,
                    rows=rows,
                    exceptions=int(other[run].sum()),
                    missing=missing,
                    exact=groups.exact,
                )
            )
    return found


def _log_chance(share: float, expected: float, rows: int) -> float:
    """Upper bound of the log probability that a class has so small a share of ``rows`` by chance.

    Chernoff's bound for a binomial, ``exp(-n KL(share, expected))``.
    """
    if expected in (0.0, 1.0):
        return 0.0
    divergence = (1 - share) * math.log((1 - share) / (1 - expected))
    if share:
        divergence += share * math.log(share / expected)
    return -rows * divergence


def _runs(pure: NDArray[np.bool_], ordered: bool) -> list[tuple[int, int]]:
    """First and last positions of runs of true; single positions where order means nothing."""
    places = np.flatnonzero(pure)
    if not ordered:
        return [(int(k), int(k)) for k in places]
    absent = pure.size - 1  # the group of the missing never joins its neighbour
    breaks = np.flatnonzero((np.diff(places) > 1) | (places[1:] == absent)) + 1
    return [(int(run[0]), int(run[-1])) for run in np.split(places, breaks) if run.size]


def _run_words(groups: _Groups, first: int, last: int) -> str:
    """What the values of a run of groups are, to follow the name of the column."""
    names, end = groups.names, groups.count - 1
    if first == end:
        return "is missing"
    if first == 0 and last == end - 1:
        return "has a value"
    if groups.exact and first == last:
        return f"is {names[first]}"
    if first == 0:
        return f"is at most {names[last]}"
    if last == end - 1:
        return f"is at least {names[first]}" if groups.exact else f"is above {names[first - 1]}"
    return f"is {names[first] if groups.exact else f'above {names[first - 1]}'} to {names[last]}"


def _missing_together(typed: Typed, sample: Sample) -> float:
    """Share of the rows without a target in which the column is missing, if hardly elsewhere.

    What is recorded only when the outcome is recorded cannot be known before.
    """
    absent, no_target = typed.values.codes < 0, sample.no_target
    if no_target.sum() < NO_TARGET_ROWS:
        return 0.0
    share = float(absent[no_target].mean())
    alone = float(absent[~no_target].mean())
    return share if share >= MISSING_TOGETHER and alone <= MISSING_ALONE else 0.0
