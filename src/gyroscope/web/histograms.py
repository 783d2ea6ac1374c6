"""What a chart of a column shows of two profiles: shares in bins or categories that both share."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from gyroscope.data.cells import ColumnSpec, FloatArray
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile, quantile

_BINS = 24
_MOST_VALUES = 40  # whole numbers that have a bin each
_TAIL = 0.005  # share at either end that the outermost bins take in
_MOST_CATEGORIES = 8
_MOST_STEPS = 1e9  # whole numbers further apart are treated as any others
_DAY_S = 86_400.0
_FEW_DAYS = 3  # in which the bins of a datetime are no whole days
_FAR = 1e300  # beyond which charts cannot reckon


class Shares(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Shares of the values of a reference and a current sample, in the same k bins or categories.

    A sample without values has shares of 0.
    """

    reference: FloatArray  # float64[k], sums to 1
    current: FloatArray
    ends: FloatArray | None = None  # float64[k + 1] of bins; None for categories
    names: tuple[str, ...] = ()  # of categories; the last may stand for all others


def number_shares(spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile) -> Shares | None:
    """A histogram of a number or datetime, from fine cells; None if there is no finite number.

    Within a cell values are taken to lie evenly, also in those beyond the reference; values beyond
    the bins count in the outermost.
    """
    known = [column for column in (old, new) if column.low is not None]
    if not known or not spec.edges:
        return None
    ends = _bin_ends(spec, known)
    return Shares(reference=_binned(spec, old, ends), current=_binned(spec, new, ends), ends=ends)


def category_shares(spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile) -> Shares | None:
    """The categories that are most frequent in either sample, and the rest; None without values."""
    if not old.n and not new.n:
        return None
    pair = np.array([column.counts / max(column.n, 1) for column in (old, new)])
    listed = pair[:, :-1]
    top = np.argsort(-listed.max(axis=0, initial=0.0), kind="stable")[:_MOST_CATEGORIES]
    top = top[listed[:, top].max(axis=0) > 0] if top.size else top
    top = top[np.argsort(-listed[0, top], kind="stable")]
    names = [spec.categories[code] for code in top]
    columns = [listed[:, top]]
    rest = 1.0 * (pair.sum(axis=1) > 0) - listed[:, top].sum(axis=1) - pair[:, -1]
    for name, share in (("other", rest), ("not listed", pair[:, -1])):
        if share.max() > 1e-9:
            names.append(name)
            columns.append(np.maximum(share, 0.0)[:, np.newaxis])
    shares = np.concatenate(columns, axis=1)
    return Shares(reference=shares[0], current=shares[1], names=tuple(names))


def _bin_ends(spec: ColumnSpec, known: list[ColumnProfile]) -> FloatArray:
    low = min(quantile(column, spec, _TAIL) or 0.0 for column in known)
    high = max(quantile(column, spec, 1 - _TAIL) or 0.0 for column in known)
    if spec.type is ColumnType.INTEGER and high - low < _MOST_STEPS:
        return _stepped(low, high, 1.0, _MOST_VALUES) - 0.5
    if spec.type is ColumnType.DATETIME and high - low > _FEW_DAYS * _DAY_S:
        return _stepped(low, high, _DAY_S, _BINS) - 1.0  # midnight opens a bin
    if low == high:
        margin = max(abs(low), 1.0) / 20
        low, high = low - margin, high + margin
    return np.linspace(max(low, -_FAR), min(high, _FAR), _BINS + 1)


def _stepped(low: float, high: float, unit: float, most: int) -> FloatArray:
    """Ends of at most so many bins whose widths are whole units, the first at a whole unit."""
    first, last = math.floor(low / unit), math.floor(high / unit) + 1
    step = math.ceil((last - first) / most)
    return unit * np.arange(first, last + step, step, dtype=np.float64)


def _binned(spec: ColumnSpec, column: ColumnProfile, ends: FloatArray) -> FloatArray:
    """Shares in the bins; an outermost cell reaches as far as the sample does."""
    if not column.n:
        return np.zeros(ends.size - 1)
    first, last = spec.edges[0], spec.edges[-1]
    low = first if column.low is None else column.low
    high = last if column.high is None else column.high
    bounds = [
        min(low, math.nextafter(first, -math.inf)),
        min(high, first),
        *spec.edges[:-1],
        last,
        max(low, last),
        max(high, math.nextafter(max(low, last), math.inf)),
    ]
    below = np.cumsum(column.counts, dtype=np.float64) / column.n
    reached = [0.0, below[0], *below[:-1], below[-2], 1.0]
    at = np.interp(ends[1:-1], bounds, reached)
    return np.diff(at, prepend=0.0, append=1.0)
