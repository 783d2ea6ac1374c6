"""Labelled reference rows counted by the cell of each column, score and label.

Small tables that say how a model did where: enough to price the drift of a column, or to see
whether columns and label still go together as they did, without any row of the reference.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec, cells_of
from gyroscope.data.profile import ColumnProfile, binned_counts
from gyroscope.data.variation import part_bounds
from gyroscope.records import ArrayRecord
from gyroscope.stats.dispersion import (
    Dispersion,
    growing_dispersions_of_scores,
    growing_dispersions_of_shares,
)
from gyroscope.stats.rank_scores import normal_scores

MOST_CATEGORIES = 50  # with cells of their own, the most frequent; all others share one
_SCORE_BINS = 40

Counts = NDArray[np.int64]
Codes = NDArray[np.int64]


class Outcomes(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """Rows that nothing was fitted on, by coarse cell of each column, bin of score, and label."""

    tables: tuple[Counts, ...]  # of each column int64[coarse cells, score bins, 2]
    mean_scores: FloatArray  # float64[score bins], rising
    threshold_bin: int  # the first bin that is decided to be positive


def outcomes(
    X: FloatArray, y: FloatArray, p: FloatArray, *, threshold: float, spec: ProfileSpec
) -> Outcomes:
    """Count labelled rows.

    Args:
        X: float64[n, columns], encoded.
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1], of at least one row.
        threshold: from which score a row is decided to be positive.
        spec: of the columns.
    """
    cuts = np.quantile(p, np.linspace(0, 1, _SCORE_BINS + 1)[1:-1])
    edges = np.unique(np.append(cuts, threshold))
    bins = np.searchsorted(edges, p, side="right")
    held = np.bincount(bins, minlength=edges.size + 1)
    ends = np.concatenate([[0.0], edges, [1.0]])
    middles = (ends[:-1] + ends[1:]) / 2  # of bins without a row
    sums = np.bincount(bins, p, minlength=held.size)
    means = np.where(held > 0, sums / np.maximum(held, 1), middles)
    return Outcomes(
        tables=tuple(
            _table(coarse_codes(values, column), coarse_cells(column), bins, held.size, y)
            for values, column in zip(X.T, spec.columns, strict=True)
        ),
        mean_scores=np.maximum.accumulate(np.clip(means, 0.0, 1.0)),
        threshold_bin=int(np.searchsorted(edges, threshold, side="right")),
    )


def coarse_cells(spec: ColumnSpec) -> int:
    """How many coarse cells a column has; the last is for missing values."""
    return 1 + (min(spec.levels, MOST_CATEGORIES) + 1 if spec.categorical else len(spec.bins))


def coarse_codes(values: FloatArray, spec: ColumnSpec) -> Codes:
    """The coarse cell of each encoded value, int64[n]."""
    fine = cells_of(values, spec).astype(np.int64)
    if spec.categorical:
        codes = np.minimum(fine, min(spec.levels, MOST_CATEGORIES))
    else:
        codes = np.searchsorted(np.asarray(spec.bins), fine, side="right") - 1
    return np.where(fine == spec.cells, coarse_cells(spec) - 1, codes)


def coarse_counts(column: ColumnProfile, spec: ColumnSpec) -> Counts:
    """The counts of a profile in the coarse cells of its column."""
    counts = binned_counts(column.counts, spec)
    if spec.categorical and spec.levels > MOST_CATEGORIES:
        counts = np.append(counts[:MOST_CATEGORIES], counts[MOST_CATEGORIES:].sum())
    return np.append(counts, column.missing)


def contingency(codes: Codes, y: FloatArray, cells: int) -> Counts:
    """Counts int64[cells, 2] of coarse cell and label."""
    counts = np.bincount(codes * 2 + y.astype(np.int64), minlength=cells * 2)
    return counts.reshape(cells, 2)


class LabelDispersions(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts of a reference in time order differ in their labels, for growing parts."""

    rate: tuple[Dispersion, ...] = ()  # of the share of positive labels
    association: tuple[tuple[Dispersion, ...], ...] = ()  # of each column with the label


def label_dispersions(X: FloatArray, y: FloatArray, spec: ProfileSpec) -> LabelDispersions:
    """Measure how labels vary within the reference, as those of windows to come may do too.

    Args:
        X: float64[n, columns], encoded, in time order.
        y: labels[n] in {0, 1}.
        spec: of the columns.
    """
    parts = np.repeat(np.arange(part_bounds(len(y)).size - 1), np.diff(part_bounds(len(y))))
    last = int(parts[-1]) + 1
    rate = contingency(parts, y, last)
    return LabelDispersions(
        rate=growing_dispersions_of_shares(rate),
        association=tuple(
            _association(coarse_codes(x, column), y, parts, coarse_cells(column), column)
            for x, column in zip(X.T, spec.columns, strict=True)
        ),
    )


def _association(
    codes: Codes, y: FloatArray, parts: Codes, cells: int, column: ColumnSpec
) -> tuple[Dispersion, ...]:
    """Of the mean product of column and label, both about their means in the whole."""
    last = int(parts[-1]) + 1
    counts = contingency(parts * cells + codes, y, last * cells).reshape(last, cells, 2)
    total = counts.sum(axis=0).astype(np.float64)
    held = total.sum(axis=1)
    if column.categorical:  # in no order: a category stands for how often it is positive
        scores = total[:, 1] / np.maximum(held, 1.0)
    else:
        scores = np.append(normal_scores(held[:-1]), 0.0)
    centred = scores - held @ scores / held.sum()
    rate = total[:, 1].sum() / held.sum()
    products = np.outer(centred, [-rate, 1 - rate]).ravel()
    return growing_dispersions_of_scores(counts.reshape(last, -1), products)


def _table(codes: Codes, cells: int, bins: Codes, score_bins: int, y: FloatArray) -> Counts:
    joint = contingency(codes * score_bins + bins, y, cells * score_bins)
    return joint.reshape(cells, score_bins, 2)
