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

_BLOCK = 100  # rows


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

    def __truediv__(self, factor: float) -> CrossProducts:
        """The sums of as many rows as these are worth, if rows that resemble each other are not."""
        names = [name for name in self.__struct_fields__ if name != "n"]
        sums = {name: getattr(self, name) / factor for name in names}
        return CrossProducts(n=round(self.n / factor), **sums)


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
    for first in range(0, len(x), _BLOCK):
        block = x[first : first + _BLOCK]
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
    both samples together, but not below 1 / n, that of normals: a few rows that happen not to occur
    must not make a pair look sure. Far out the normal limit is too bold for ties and rare values;
    z / sqrt(1 + g |z| / 3) takes its place, where g, from the kurtoses of the two columns, bounds
    the skewness of their product. It is the form of Bernstein's inequality, close to the tail of a
    Poisson count of rare rows. Over pairs the p-value is Holm's smallest. Marginals may have
    changed: each sample is centred and scaled by itself.

    Args:
        reference: sums of normal scores of the reference (:func:`cross_products`).
        current: sums of the current sample, with the same scores of cells.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The pair with the smallest p-value. A pair of which a column does not vary in one of the
        samples, or is a function of the other, is left out.

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
    reference: CrossProducts, currents: Sequence[CrossProducts], *, alpha: float = 0.05
) -> list[DependenceChange]:
    """:func:`dependence_change` of each of many samples against one reference."""
    old = _pairs(reference)
    return [_changed(reference, old, current, alpha) for current in currents]


def _changed(
    reference: CrossProducts, old: FloatArray, current: CrossProducts, alpha: float
) -> DependenceChange:
    p, m, n = reference.sums.size, reference.n, current.n
    if current.sums.size != p:
        raise DataError(f"samples must have the same columns, got {p} and {current.sums.size}")
    new = _pairs(current)
    # NaN, of a column that does not vary, makes the comparison false.
    usable = np.flatnonzero(np.maximum(np.abs(old[0]), np.abs(new[0])) < 1 - 1e-9)
    if not usable.size:
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
    old, new = old[:, usable], new[:, usable]
    difference = np.arctanh(new[0]) - np.arctanh(old[0])
    together = (m * old + n * new) / (m + n)
    unit = 1 / m + 1 / n
    z = np.abs(difference) / np.sqrt(_fisher_variance(together) * unit)
    skewness = np.sqrt(together[3] * together[4]) * (1 / m**2 + 1 / n**2) / unit**1.5
    z /= np.sqrt(1 + skewness * z / 3)
    worst = int(np.argmax(z))
    errors = _fisher_variance(old[:, worst]) / m + _fisher_variance(new[:, worst]) / n
    first, second = (int(ends[usable[worst]]) for ends in np.triu_indices(p, 1))
    return DependenceChange(
        pair=(first, second),
        reference=float(old[0, worst]),
        current=float(new[0, worst]),
        interval=normal_interval(float(difference[worst]), math.sqrt(errors), alpha=alpha),
        p_value=min(1.0, 2 * upper_tail(float(z[worst])) * usable.size),
        pairs=usable.size,
        n_reference=m,
        n_current=n,
    )


def _pairs(sums: CrossProducts) -> FloatArray:
    """Moments of each pair (x, y) of columns at mean 0 and variance 1, in the order of triu.

    Five rows: the means of x y, x^2 y^2, x^3 y + x y^3, x^4 and y^4; nan for columns that do not
    vary.
    """
    n = max(sums.n, 1)
    xy, xxy = sums.products / n, sums.squares / n
    x, y = (sums.sums / n)[:, None], (sums.sums / n)[None, :]
    xx, xxx = np.diag(xy)[:, None], np.diag(xxy)[:, None]
    quartic = sums.quartics / n - 2 * y * xxy - 2 * x * xxy.T + y**2 * xx + x**2 * xx.T
    quartic += 4 * x * y * xy - 3 * x**2 * y**2
    cubic = sums.cubes / n - y * xxx - 3 * x * xxy + 3 * x * y * xx + 3 * x**2 * xy - 3 * x**3 * y
    variance = xx[:, 0] - x[:, 0] ** 2
    variance[variance <= 1e-9 * xx[:, 0]] = np.nan
    scale = np.sqrt(variance)[:, None]
    correlation = (xy - x * y) / (scale * scale.T)
    quartic, cubic = quartic / (scale * scale.T) ** 2, cubic / (scale**3 * scale.T)
    first, second = at = np.triu_indices(sums.sums.size, 1)
    kurtosis = np.diag(cubic)
    return np.array(
        [correlation[at], quartic[at], (cubic + cubic.T)[at], kurtosis[first], kurtosis[second]]
    )


def _fisher_variance(moments: FloatArray) -> FloatArray:
    """n times the variance of atanh(r): E (xy - r (x^2 + y^2) / 2)^2 / (1 - r^2)^2, at least 1."""
    r, quartic, cubics, kurtosis_x, kurtosis_y = moments
    of_r = quartic - r * cubics + r**2 / 4 * (kurtosis_x + kurtosis_y + 2 * quartic)
    return np.asarray(np.maximum(of_r / (1 - r**2) ** 2, 1.0))
