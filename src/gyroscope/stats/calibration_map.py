"""From scores to chances of class 1, learned on labelled rows, with what the rows can vouch for."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.records import ArrayRecord
from gyroscope.stats.binary import FloatArray, labels_and_scores, scores

THIN = 20.0  # reference rows in a region of scores, below which little is known of it
_REGIONS = 1 / (1 + np.exp(-np.arange(-10, 10.01, 0.5)))  # half a log-odds wide each
_FOLDS = 5
_BINS = 3.0  # bins for the cube root of the rows: fewer are too coarse, more follow the noise


class CalibrationMap(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """A rising piecewise linear map from scores to chances, flat beyond its ends."""

    thresholds: FloatArray  # scores of the knots, rising
    values: FloatArray  # chance of class 1 at each knot, rising
    starts: FloatArray  # lowest score of the block of rows behind each knot
    rows: FloatArray  # effective number of these rows
    improves: bool  # whether it predicted rows it was not fitted on better than the scores do
    low: float  # smallest score of the reference
    high: float  # largest score of the reference
    region_rows: FloatArray  # effective reference rows in each region of scores

    def chances(self, p: npt.ArrayLike) -> FloatArray:
        """The chance of class 1 at scores[n]: the map's if it improves, else the score itself."""
        return self.fitted(p) if self.improves else np.asarray(p, dtype=np.float64)

    def fitted(self, p: npt.ArrayLike) -> FloatArray:
        """The map at scores[n], whether it improves on them or not."""
        return np.interp(np.asarray(p, dtype=np.float64), self.thresholds, self.values)


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a window lies where the reference knows little; nan without rows."""

    outside: float  # share of scores below the lowest or above the highest of the reference
    thin: float  # share in regions with fewer than 20 effective reference rows, outside or not


def calibration_map(
    y: npt.ArrayLike, p: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> CalibrationMap:
    """Fit the chance of class 1 as a rising function of the score.

    The rows are put into about 3 n^(1/3) bins of equal weight by score, isotonic regression joins
    bins to blocks whose shares of class 1 rise, and the map joins the points (mean score, share) of
    the blocks by straight lines. Isotonic regression of single rows follows their noise, so that
    the metrics it promises are too good; steps are too coarse. The map is used only if it predicts
    better than the scores themselves: by the Brier score over five folds, which are drawn by a
    fixed seed among the rows in order of score and label, so that the order given has no say.

    Args:
        y: labels[n] in {0, 1} of rows the model was not fitted on.
        p: their scores[n] in [0, 1].
        weights: importance[n] of each row, 0 or more; equal if None.

    Raises:
        DataError: no rows, or labels, scores or weights that cannot be used.

    Source:
        Zadrozny and Elkan (2002), Transforming classifier scores into accurate multiclass
        probability estimates, KDD; Oron and Flournoy (2017), Centered isotonic regression,
        Statistics in Biopharmaceutical Research 9, for the points joined; Kish (1965), Survey
        Sampling, for the effective rows (sum w)^2 / sum w^2.
    """
    labels, q = labels_and_scores(y, p)
    w = _checked_weights(weights, labels.size)
    held = w > 0
    order = np.lexsort((w[held], labels[held], q[held]))
    labels, q, w = labels[held][order], q[held][order], w[held][order]
    blocks = _centred_isotonic(labels, q, w)
    region = np.searchsorted(_REGIONS, q)
    return CalibrationMap(
        thresholds=blocks.scores,
        values=blocks.shares,
        starts=blocks.starts,
        rows=blocks.rows,
        improves=_improves(labels, q, w),
        low=float(q[0]),
        high=float(q[-1]),
        region_rows=_effective_rows(region, w, _REGIONS.size + 1),
    )


def support(p: npt.ArrayLike, calibration: CalibrationMap) -> Support:
    """How much of scores[n] lies where the reference has no or hardly any rows.

    Raises:
        DataError: scores that cannot be used.
    """
    q = scores(p)
    if not q.size:
        return Support(outside=math.nan, thin=math.nan)
    outside = (q < calibration.low) | (q > calibration.high)
    thin = calibration.region_rows[np.searchsorted(_REGIONS, q)] < THIN
    return Support(outside=float(outside.mean()), thin=float((outside | thin).mean()))


def _checked_weights(weights: npt.ArrayLike | None, n: int) -> FloatArray:
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not np.all(np.isfinite(w) & (w >= 0)):
        raise DataError(f"every row needs one finite weight of 0 or more, got {w.shape} for {n}")
    if not np.any(w > 0):
        raise DataError("a calibration needs at least one labelled row with a weight above 0")
    return w


class _Blocks(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    scores: FloatArray  # mean of each block
    shares: FloatArray  # of class 1
    starts: FloatArray  # lowest score
    rows: FloatArray  # effective


def _centred_isotonic(y: FloatArray, q: FloatArray, w: FloatArray) -> _Blocks:
    """The blocks of the isotonic regression, for rows in order of score."""
    from scipy.optimize import isotonic_regression

    fine = _bins(q, w)
    weight = np.add.reduceat(w, fine)
    blocks = isotonic_regression(np.add.reduceat(w * y, fine) / weight, weights=weight).blocks
    first = fine[blocks[:-1]]
    total = np.add.reduceat(w, first)
    positive, score = np.add.reduceat(w * y, first), np.add.reduceat(w * q, first)
    return _Blocks(
        scores=score / total,
        shares=np.maximum.accumulate(positive / total),  # rising to the last bit
        starts=q[first],
        rows=total**2 / np.add.reduceat(w * w, first),
    )


def _bins(q: FloatArray, w: FloatArray) -> npt.NDArray[np.intp]:
    """The first rows of bins of equal weight in order of score; equal scores share one.

    The two at the ends are halved: beyond the middles of the outermost bins the map is flat.
    """
    bins = math.ceil(_BINS * (w.sum() ** 2 / (w @ w)) ** (1 / 3))
    ends = np.sort(np.concatenate([np.arange(1, bins), [0.5, bins - 0.5]])) / bins
    starts = np.flatnonzero(np.diff(q, prepend=-1.0))
    before = (np.cumsum(w) - w)[starts] / w.sum()
    code = np.searchsorted(ends, before, side="right")
    return starts[np.flatnonzero(np.diff(code, prepend=-1))]


def _improves(y: FloatArray, q: FloatArray, w: FloatArray) -> bool:
    fold = np.random.default_rng(0).permutation(np.arange(q.size) % _FOLDS)
    gain = 0.0
    for k in range(min(_FOLDS, q.size)):
        here = fold == k
        if here.all():
            return False
        blocks = _centred_isotonic(y[~here], q[~here], w[~here])
        chance = np.interp(q[here], blocks.scores, blocks.shares)
        gain += float(w[here] @ ((q[here] - y[here]) ** 2 - (chance - y[here]) ** 2))
    return gain > 0


def _effective_rows(region: npt.NDArray[np.intp], w: FloatArray, regions: int) -> FloatArray:
    total = np.bincount(region, w, minlength=regions)
    squares = np.bincount(region, w * w, minlength=regions)
    return np.divide(total**2, squares, out=np.zeros(regions), where=squares > 0)
