"""The words in which findings are put: sizes, shares, and what went from where to where."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from gyroscope.data.cells import ColumnSpec, bin_edges
from gyroscope.data.codec import shorten
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile, binned_counts, quantile

MODERATE_PSI = 0.10  # the customary bands of the population stability index
LARGE_PSI = 0.25

_NOTABLE_SHIFT = 0.05  # standard deviations by which a mean moves before the text dwells on it
_NOTABLE_SPREAD = 1.1  # factor by which a standard deviation changes before the text names it


def size(psi: float) -> str:
    """The size of a change in words."""
    if psi >= LARGE_PSI:
        return "large"
    return "moderate" if psi >= MODERATE_PSI else "small"


def plain(number: float) -> str:
    """A number to three digits, written out where people write it out: 1,730, not 1.73e+03."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if 1e3 <= abs(rounded) < 1e12 else f"{rounded:.3g}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with three digits."""
    return f"{100 * share:.3g} %"


def moved(what: str, before: str, after: str, *, up: bool) -> str:
    """What went up or down, from where to where."""
    if before == after:
        return f"{what} unchanged at {before}"
    return f"{what} {'up' if up else 'down'} from {before} to {after}"


def share_moved(what: str, before: float, after: float) -> str:
    """Which share went up or down, from where to where."""
    return moved(what, percent(before), percent(after), up=after > before)


def number_change(spec: ColumnSpec, reference: ColumnProfile, current: ColumnProfile) -> str:
    """What changed in a number: mean, median and spread, or else the range that changed most."""
    if current.low is None or reference.low is None:
        return f"all values {'are' if current.low is None else 'of the reference are'} infinite"
    parts = []
    old_sd, new_sd = _spread(reference), _spread(current)
    datetimes = spec.type is ColumnType.DATETIME
    if not datetimes:
        mean = (value_text(x, spec, old_sd or new_sd) for x in (reference.mean, current.mean))
        parts.append(moved("mean", *mean, up=current.mean > reference.mean))
    old, new = quantile(reference, spec, 0.5), quantile(current, spec, 0.5)
    if old is not None and new is not None:
        median = (value_text(x, spec, old_sd or new_sd) for x in (old, new))
        parts.append(moved("median", *median, up=new > old))
    respread = not old_sd / _NOTABLE_SPREAD <= new_sd <= old_sd * _NOTABLE_SPREAD
    if respread and not datetimes:
        spread = (f"{old_sd:.4g}", f"{new_sd:.4g}")
        parts.append(moved("standard deviation", *spread, up=new_sd > old_sd))
    elif abs(current.mean - reference.mean) < _NOTABLE_SHIFT * old_sd:
        parts.append(_range_change(spec, reference, current))
    return ", ".join(parts)


def category_change(spec: ColumnSpec, reference: ColumnProfile, current: ColumnProfile) -> str:
    """Which category's share changed most, from where to where."""
    old, new = _shares(reference.counts), _shares(current.counts)
    code = int(np.argmax(np.abs(new - old)))
    return share_moved(f"share of {_level(spec, code)}", float(old[code]), float(new[code]))


def span(spec: ColumnSpec, reference: ColumnProfile, column: ColumnProfile) -> str:
    """Between which two its finite numbers lie, of which there are some."""
    assert column.low is not None
    assert column.high is not None
    low, high = (value_text(x, spec, _spread(reference)) for x in (column.low, column.high))
    return f"{low} to {high}"


def _range_change(spec: ColumnSpec, reference: ColumnProfile, current: ColumnProfile) -> str:
    old = _shares(binned_counts(reference.counts, spec))
    new = _shares(binned_counts(current.counts, spec))
    bin_ = int(np.argmax(np.abs(new - old)))
    spread = _spread(reference)
    ends = bin_edges(spec)
    low = "" if bin_ == 0 else value_text(ends[bin_ - 1], spec, spread)
    high = "" if bin_ == len(ends) else value_text(ends[bin_], spec, spread)
    bounds = (f"above {low}" if low else "", f"up to {high}" if high else "")
    # A value that many rows have is a bin by itself, from the float just below it.
    where = f"at {high}" if low == high else " and ".join(text for text in bounds if text)
    return share_moved(f"share of values {where}".strip(), float(old[bin_]), float(new[bin_]))


def _spread(column: ColumnProfile) -> float:
    """The standard deviation; 0 if it is only what rounding leaves of equal values."""
    return 0.0 if column.low == column.high else column.standard_deviation


def _shares(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    held = np.asarray(counts, dtype=np.float64)
    return np.asarray(held / max(float(held.sum()), 1.0))


def _level(spec: ColumnSpec, code: int) -> str:
    if spec.type is ColumnType.BOOLEAN:
        return ("false", "true", "neither")[code]
    if code == spec.levels:
        return "categories that are not listed"
    return shorten(spec.categories[code])


def value_text(value: float, spec: ColumnSpec, spread: float = 0.0) -> str:
    """A time as such; a number with the decimals that matter at this standard deviation.

    Without a standard deviation it has four digits.
    """
    if spec.type is ColumnType.DATETIME:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"
    fine = spread > 0 and abs(value) < 1e6
    decimals = min(max(2 - math.floor(math.log10(spread)), 0), 9) if fine else 0
    shown = f"{value:z.{decimals}f}" if fine else f"{value:.4g}"
    return f"{shown} {spec.unit}".strip()
