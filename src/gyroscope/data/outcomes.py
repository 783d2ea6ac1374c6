"""Labelled reference rows counted by the cell of each column, score and label.

Small tables that say how a model did where: enough to price the drift of a column, or to see
whether columns and label still go together as they did, without any row of the reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec, cells_of
from gyroscope.data.profile import ColumnProfile, binned_counts
from gyroscope.records import ArrayRecord

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


def _table(codes: Codes, cells: int, bins: Codes, score_bins: int, y: FloatArray) -> Counts:
    joint = contingency(codes * score_bins + bins, y, cells * score_bins)
    return joint.reshape(cells, score_bins, 2)
