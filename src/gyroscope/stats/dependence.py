"""Change of the dependence between columns, which no look at single columns can see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.records import ArrayRecord
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.intervals import normal_interval, upper_tail

_ROWS = 100, 1000  # of a block, at least and at most
_PRODUCTS = 250_000  # for which no library starts threads
_AT_ONCE = 30_000  # pairs of columns, of all samples, so that they stay in the processor's cache
_LOST = 3  # rows: the variance of the z of normals is 1 / (n - 3)
_NO_PAIR = np.array([0.0, 1.0, 0.0, 1.0, 1.0])  # moments in place of those of a pair left out


class CrossProducts(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """Sums over rows of products of the scores of p columns; those of two parts add up."""

    n: int  # rows
    sums: FloatArray  # [p] of x_i
    products: FloatArray  # [p, p] of x_i x_j
    squares: FloatArray  # [p, p] of x_i^2 x_j
    quartics: FloatArray  # [p, p] of x_i^2 x_j^2
    cubes: FloatArray  # [p, p] of x_i^3 x_j

    def __add__(self, other: CrossProducts) -> CrossProducts:
        return CrossProducts(
            n=self.n + other.n,
            sums=self.sums + other.sums,
            products=self.products + other.products,
            squares=self.squares + other.squares,
            quartics=self.quartics + other.quartics,
            cubes=self.cubes + other.cubes,
        )


class DependenceChange(msgspec.Struct, frozen=True, kw_only=True):
    """The pair of columns whose correlation changed most surely."""

    pair: tuple[int, int] | None  # columns; None if no pair could be compared
    reference: float  # its correlation of normal scores in the reference, nan without a pair
    current: float
    interval: Interval  # for the difference of the two Fisher z, of this pair by itself
    p_value: float  # that no correlation of any pair changed
    pairs: int  # compared
    n_reference: int
    n_current: int


def cross_products(scores: npt.ArrayLike) -> CrossProducts:
    """The sums of scores[n, p].

    Raises:
        DataError: the scores have not two dimensions.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2:
        raise DataError(f"scores must have two dimensions, got {x.ndim}")
    p = x.shape[1]
    products, squares, quartics, cubes = np.zeros((4, p, p))
    # In small blocks: for one large product some libraries start threads that wait for one another
    # longer than it takes.
    rows = min(max(_PRODUCTS // max(p * p, 1), _ROWS[0]), _ROWS[1])
    for first in range(0, len(x), rows):
        block = x[first : first + rows]
        square = block * block
        products += block.T @ block
        squares += square.T @ block
        quartics += square.T @ square
        cubes += (square * block).T @ block
    return CrossProducts(
        n=len(x),
        sums=x.sum(axis=0),
        products=products,
        squares=squares,
        quartics=quartics,
        cubes=cubes,
    )


def dependence_change(
    reference: CrossProducts, current: CrossProducts, *, alpha: float = 0.05
) -> DependenceChange:
    """Compare the correlations of all pairs of columns by Fisher's z.

    The variance of each z is that of the delta method for any distribution, from the moments of
    both samples together, but not below 1 / (n - 3), that of normals: a few rows that happen not to
    occur must not make a pair look sure. Far out the normal limit is too bold for ties and rare
    values; z / sqrt(1 + g |z| / 3) takes its place, where g, from the kurtoses of the two columns,
    bounds the skewness of their product. It is the form of Bernstein's inequality, close to the
    tail of a Poisson count of rare rows. Over pairs the p-value is Holm's smallest. Marginals may
    have changed: each sample is centred and scaled by itself.

    Args:
        reference: sums of normal scores of the reference (:func:`cross_products`).
        current: sums of the current sample, with the same scores of cells.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The pair with the smallest p-value. A pair of which a column does not vary in one of the
        samples, or is a function of the other, is left out, and all of three rows or fewer.

    Raises:
        DataError: the samples differ in their number of columns.

    Source:
        Steiger (1980), Tests for comparing elements of a correlation matrix, Psychological Bulletin
        87; Steiger and Hakstian (1982), British Journal of Mathematical and Statistical Psychology
        35; Bernstein's inequality as in Boucheron, Lugosi and Massart (2013), Concentration
        Inequalities, section 2.8.
    """
    return dependence_changes(reference, [current], alpha=alpha)[0]


def dependence_changes(
    reference: CrossProducts,
    currents: Sequence[CrossProducts],
    *,
    alpha: float = 0.05,
    reference_rows: int | None = None,
    current_rows: Sequence[int] | None = None,
) -> list[DependenceChange]:
    """:func:`dependence_change` of each of many samples against one reference.

    ``reference_rows`` and ``current_rows`` (one for each sample) are the independent rows that
    theirs are worth, where these resemble each other; all of them if not given.
    """
    p = reference.sums.size
    for current in currents:
        if current.sums.size != p:
            raise DataError(f"samples must have the same columns, got {p} and {current.sums.size}")
    m = reference.n if reference_rows is None else reference_rows
    rows = [current.n for current in currents] if current_rows is None else current_rows
    old = _pairs([reference])
    step = max(1, _AT_ONCE // max(p * p, 1))
    found: list[DependenceChange] = []
    for first in range(0, len(currents), step):
        block = slice(first, first + step)
        found += _changed(old, m, _pairs(currents[block]), rows[block], alpha=alpha)
    return found


def _changed(
    old: FloatArray, m: int, new: FloatArray, rows: Sequence[int], *, alpha: float
) -> list[DependenceChange]:
    """The changes from moments [5, 1, pairs] of m rows to [5, samples, pairs] of others."""
    # NaN, of a column that does not vary, makes the comparison false.
    usable = np.maximum(np.abs(old[0]), np.abs(new[0])) < 1 - 1e-9
    usable &= np.minimum(np.array(rows), m)[:, None] > _LOST
    pairs = np.count_nonzero(usable, axis=-1).tolist()
    if not any(pairs):
        return [_unknown(m, n) for n in rows]
    if not usable.all():
        old, new = (np.where(usable, x, _NO_PAIR[:, None, None]) for x in (old, new))
    # What Fisher's z loses of each sample.
    of_old = max(m - _LOST, 1)
    of_new = np.maximum(np.array(rows, dtype=np.float64)[:, None] - _LOST, 1.0)
    difference = np.arctanh(new[0]) - np.arctanh(old[0])
    together = (of_old * old + of_new * new) / (of_old + of_new)
    unit = 1 / of_old + 1 / of_new
    z = np.abs(difference) / np.sqrt(_fisher_variance(together) * unit)
    skewness = np.sqrt(together[3] * together[4]) * (1 / of_old**2 + 1 / of_new**2) / unit**1.5
    z = np.where(usable, z / np.sqrt(1 + skewness * z / 3), -1.0)
    worst = np.argmax(z, axis=-1)
    at = np.arange(len(rows)), worst
    then, now = (np.broadcast_to(x, new.shape)[:, *at] for x in (old, new))
    errors = np.sqrt(_fisher_variance(then) / of_old + _fisher_variance(now) / of_new[:, 0])
    columns = round((1 + math.sqrt(1 + 8 * usable.shape[-1])) / 2)
    ends = [of_pairs[worst] for of_pairs in np.triu_indices(columns, 1)]
    return [
        DependenceChange(
            pair=(int(ends[0][k]), int(ends[1][k])),
            reference=float(then[0, k]),
            current=float(now[0, k]),
            interval=normal_interval(float(difference[at][k]), float(errors[k]), alpha=alpha),
            p_value=min(1.0, 2 * upper_tail(float(z[at][k])) * pairs[k]),
            pairs=pairs[k],
            n_reference=m,
            n_current=rows[k],
        )
        if pairs[k]
        else _unknown(m, rows[k])
        for k in range(len(rows))
    ]


def _unknown(m: int, n: int) -> DependenceChange:
    """The answer where no pair can be compared."""
    return DependenceChange(
        pair=None,
        reference=math.nan,
        current=math.nan,
        interval=Interval(-math.inf, math.inf),
        p_value=1.0,
        pairs=0,
        n_reference=m,
        n_current=n,
    )


def _pairs(samples: Sequence[CrossProducts]) -> FloatArray:
    """Moments of each pair (x, y) of columns at mean 0 and variance 1, in the order of triu.

    Five arrays [samples, pairs]: the means of x y, x^2 y^2, x^3 y + x y^3, x^4 and y^4; nan for
    columns that do not vary.
    """
    n = np.array([max(sums.n, 1) for sums in samples], dtype=np.float64)[:, None]
    mean = np.array([sums.sums for sums in samples]) / n
    columns = mean.shape[1]
    products, squares, quartics, cubes = (
        np.array([getattr(sums, name) for sums in samples]).reshape(len(samples), -1) / n
        for name in ("products", "squares", "quartics", "cubes")
    )
    raw_2, raw_3, raw_4 = (of[:, :: columns + 1] for of in (products, squares, cubes))
    variance = raw_2 - mean**2
    scale = np.sqrt(np.where(variance <= 1e-9 * raw_2, np.nan, variance))
    lean = 3 * mean * variance - raw_3
    kurtosis = (raw_4 + 3 * mean * (mean * raw_2 - raw_3) + mean * lean) / scale**4
    first, second = np.triu_indices(columns, 1)
    x_y, y_x = first * columns + second, second * columns + first  # in a flat matrix
    (x, y), (xx, yy), (scale_x, scale_y), (lean_x, lean_y), kurtoses = (
        (of.take(first, axis=1), of.take(second, axis=1))
        for of in (mean, raw_2, scale, lean, kurtosis)
    )
    xy, xxyy = products.take(x_y, axis=1), quartics.take(x_y, axis=1)
    xxy, xxxy = squares.take(x_y, axis=1), cubes.take(x_y, axis=1)
    xyy, xyyy = squares.take(y_x, axis=1), cubes.take(y_x, axis=1)
    quartic = xxyy - 2 * (y * xxy + x * xyy) + 4 * x * y * xy
    quartic += y**2 * (xx - 3 * x**2) + x**2 * yy
    cubic_x = (xxxy + 3 * x * (x * xy - xxy) + y * lean_x) / scale_x**2
    cubic_y = (xyyy + 3 * y * (y * xy - xyy) + x * lean_y) / scale_y**2
    product = scale_x * scale_y
    return np.array(
        [
            (xy - x * y) / product,
            quartic / product**2,
            (cubic_x + cubic_y) / product,
            *kurtoses,
        ]
    )


def _fisher_variance(moments: FloatArray) -> FloatArray:
    """n times the variance of atanh(r): E (xy - r (x^2 + y^2) / 2)^2 / (1 - r^2)^2, at least 1."""
    r, quartic, cubics, kurtosis_x, kurtosis_y = moments
    of_r = quartic - r * cubics + r**2 / 4 * (kurtosis_x + kurtosis_y + 2 * quartic)
    return np.asarray(np.maximum(of_r / (1 - r**2) ** 2, 1.0))
