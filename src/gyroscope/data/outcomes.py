"""Labelled reference rows counted by the cell of each column, score and label.

Small tables that say how a model did where: enough to price the drift of a column, or to see
whether columns and label still go together as they did, without any row of the reference.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec, cells_of
from gyroscope.data.contract import Task
from gyroscope.data.performance import losses_by_metric
from gyroscope.data.profile import ColumnProfile, binned_counts
from gyroscope.data.variation import part_bounds
from gyroscope.records import ArrayRecord
from gyroscope.stats.class_metrics import macro_auc_influence
from gyroscope.stats.dispersion import (
    Dispersion,
    growing_dispersions_of_scores,
    growing_dispersions_of_shares,
)
from gyroscope.stats.rank_scores import normal_scores
from gyroscope.stats.reweighting import CellLosses, ClassRanks

MOST_CATEGORIES = 50  # with cells of their own, the most frequent; all others share one
_SCORE_BINS = 40
_RANK_BINS = 200  # of the scores of each class; rows of one bin count as equals
_RANKED_CLASSES = 10  # of more classes the ranks would be larger than the model

Counts = NDArray[np.int64]
Codes = NDArray[np.int64]


class Losses(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """Rows that nothing was fitted on, by coarse cell of each column: what they lost, and labels.

    Of models of several classes or of numbers; those of two have :class:`Outcomes`.
    """

    metrics: tuple[str, ...]  # that the losses are of
    columns: tuple[CellLosses, ...]
    score: CellLosses | None  # by cell of the number predicted; None of classes
    labels: tuple[Counts, ...]  # of each column int64[coarse cells, coarse cells of the label]
    ranks: tuple[ClassRanks, ...] = ()  # of each column; none of numbers and of many classes


class Outcomes(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """Rows that nothing was fitted on, by coarse cell of each column, bin of score, and label."""

    tables: tuple[Counts, ...]  # of each column int64[coarse cells, score bins, 2]
    mean_scores: FloatArray  # float64[score bins], rising
    threshold_bin: int  # the first bin that is decided to be positive

    @property
    def labels(self) -> tuple[Counts, ...]:
        """Of each column int64[coarse cells, 2], as of :class:`Losses`."""
        return tuple(table.sum(axis=1) for table in self.tables)


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


def cell_losses(
    task: Task,
    X: FloatArray,
    y: FloatArray,
    p: FloatArray,
    *,
    spec: ProfileSpec,
    label: ColumnSpec,
    score: ColumnSpec | None,
) -> Losses:
    """Sum up the losses of labelled rows, and count their labels.

    Args:
        task: multiclass or regression.
        X: float64[n, columns], encoded.
        y: classes[n] from 0 on, or numbers.
        p: scores[n, classes], or numbers[n].
        spec: of the columns.
        label: of the label.
        score: of the number predicted; None of classes.
    """
    lost = losses_by_metric(task, y, p)
    each = np.array(list(lost.values()))
    coded = [
        (coarse_codes(values, column), coarse_cells(column))
        for values, column in zip(X.T, spec.columns, strict=True)
    ]
    labels, cells_of_label = coarse_codes(y, label), coarse_cells(label)
    return Losses(
        metrics=tuple(lost),
        columns=tuple(_summed(codes, cells, each) for codes, cells in coded),
        score=_summed(cells_of(p, score), score.cells, each) if score else None,
        labels=tuple(contingency(codes, labels, cells, cells_of_label) for codes, cells in coded),
        ranks=_ranks(coded, y.astype(np.intp), p) if task == "multiclass" else (),
    )


def _ranks(
    coded: list[tuple[Codes, int]], y: NDArray[np.intp], p: FloatArray
) -> tuple[ClassRanks, ...]:
    """Of columns given by the cell of each row and their number of cells."""
    found = macro_auc_influence(y, p) if p.shape[1] <= _RANKED_CLASSES else None
    if found is None:
        return ()
    _, influence = found
    bins = np.empty(p.shape, dtype=np.int64)
    for k, of_class in enumerate(p.T):
        cuts = np.quantile(of_class, np.linspace(0, 1, _RANK_BINS + 1)[1:-1])
        bins[:, k] = np.searchsorted(np.unique(cuts), of_class, side="right")
    return tuple(
        ClassRanks(
            own=contingency(codes, y, cells, p.shape[1]).T,
            won=np.array([_won(codes, cells, bins[:, k], y == k) for k in range(p.shape[1])]),
            influence=_summed(codes, cells, influence[None]),
        )
        for codes, cells in coded
    )


def _won(codes: Codes, cells: int, bins: Codes, own: NDArray[np.bool_]) -> FloatArray:
    mine, others = (
        contingency(codes[rows], bins[rows], cells, _RANK_BINS).astype(np.float64)
        for rows in (own, ~own)
    )
    below = np.cumsum(others, axis=1) - others / 2
    return np.asarray(mine @ below.T)


def _summed(codes: NDArray[Any], cells: int, each: FloatArray) -> CellLosses:
    def sums(values: FloatArray) -> FloatArray:
        return np.array([np.bincount(codes, of, minlength=cells) for of in values])

    rows = np.bincount(codes, minlength=cells)
    return CellLosses(rows=rows, sums=sums(each), squares=sums(each**2))


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


def beyond(column: ColumnProfile, spec: ColumnSpec) -> Counts:
    """How many values of a profile lie beyond all of the reference, int64[coarse cells], by the
    coarse cell that they are counted in."""
    counts = np.zeros(coarse_cells(spec), dtype=np.int64)
    if not spec.categorical:
        counts[0] += column.counts[0]
        counts[-2] += column.counts[-1] if spec.cells > 1 else 0
    return counts


def contingency(codes: Codes, y: NDArray[Any], cells: int, labels: int = 2) -> Counts:
    """Counts int64[cells, labels] of coarse cell and label, which is a whole number from 0 on."""
    counts = np.bincount(codes * labels + y.astype(np.int64), minlength=cells * labels)
    return counts.reshape(cells, labels)


class LabelDispersions(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts of a reference in time order differ in their labels, for growing parts."""

    rate: tuple[Dispersion, ...] = ()  # of the share of positive labels; binary only
    association: tuple[tuple[Dispersion, ...], ...] = ()  # of each column with the label


def label_dispersions(
    X: FloatArray, y: FloatArray, spec: ProfileSpec, label: ColumnSpec | None = None
) -> LabelDispersions:
    """Measure how labels vary within the reference, as those of windows to come may do too.

    Args:
        X: float64[n, columns], encoded, in time order.
        y: labels[n].
        spec: of the columns.
        label: of the label; None if it is 0 or 1.
    """
    parts = np.repeat(np.arange(part_bounds(len(y)).size - 1), np.diff(part_bounds(len(y))))
    codes, labels = label_codes(y, label)
    rate = contingency(parts, codes, int(parts[-1]) + 1, labels) if label is None else None
    return LabelDispersions(
        rate=() if rate is None else growing_dispersions_of_shares(rate),
        association=tuple(
            _association(
                _joint_counts(parts, coarse_codes(x, column), coarse_cells(column), codes, labels),
                column,
                in_order=label is None or not label.categorical,
            )
            for x, column in zip(X.T, spec.columns, strict=True)
        ),
    )


def label_codes(y: FloatArray, label: ColumnSpec | None) -> tuple[Codes, int]:
    """The coarse cell of each label, int64[n], and how many there are; of no column 0 and 1."""
    if label is None:
        return y.astype(np.int64), 2
    return coarse_codes(y, label), coarse_cells(label)


def _joint_counts(
    parts: Codes, codes: Codes, cells: int, of_label: Codes, labels: int
) -> FloatArray:
    """Counts float64[parts, cells, labels]."""
    last = int(parts[-1]) + 1
    counts = contingency(parts * cells + codes, of_label, last * cells, labels)
    return counts.reshape(last, cells, labels).astype(np.float64)


def _association(
    counts: FloatArray, column: ColumnSpec, *, in_order: bool
) -> tuple[Dispersion, ...]:
    """Of the mean product of column and label, both about their means in the whole; of classes in
    no order that of the mean log ratio whose mean is the mutual information."""
    total = counts.sum(axis=0)
    held, of_label = total.sum(axis=1), total.sum(axis=0)
    if in_order:
        labels = normal_scores(of_label)
        labels = labels - of_label @ labels / of_label.sum()
        if column.categorical:  # in no order: a category stands for the mean of its labels
            scores = total @ labels / np.maximum(held, 1.0)
        else:
            scores = np.append(normal_scores(held[:-1]), 0.0)
        products = np.outer(scores - held @ scores / held.sum(), labels)
    else:
        expected = np.outer(held, of_label) / held.sum()
        known = total > 0
        products = np.log(np.where(known, total, 1.0) / np.where(known, expected, 1.0))
    return growing_dispersions_of_scores(counts.reshape(len(counts), -1), products.ravel())


def _table(codes: Codes, cells: int, bins: Codes, score_bins: int, y: FloatArray) -> Counts:
    joint = contingency(codes * score_bins + bins, y, cells * score_bins)
    return joint.reshape(cells, score_bins, 2)
