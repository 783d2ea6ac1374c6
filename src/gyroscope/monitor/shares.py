"""Have the shares of missing, unknown and outlying values of a column changed?"""

from __future__ import annotations

import math
from functools import partial

import msgspec
import numpy as np

from gyroscope.data.codec import shorten
from gyroscope.data.profile import ColumnProfile
from gyroscope.findings import Interval
from gyroscope.monitor import wording
from gyroscope.monitor.changes import Compared, Examined, InWindows
from gyroscope.monitor.design_effects import Effect
from gyroscope.monitor.distributions import moves_on_in_time
from gyroscope.stats.batches import FloatArray
from gyroscope.stats.two_proportions import TwoProportionsBatch, two_proportions_batch
from gyroscope.stats.unseen import unseen_share

MATERIAL_MISSING = 0.02  # change of the missing share (2 points) below which nobody need look
MATERIAL_UNSEEN = 0.01  # the same for categories not listed: a model is blind to them
MATERIAL_INFINITE = 0.01  # the same for infinite numbers, which are errors of whoever divides
MATERIAL_STRANGE = 0.01  # the same for numbers of a size that the reference does not hold
MATERIAL_OUTSIDE = 0.20  # the same for numbers beyond all that the reference holds

# Values of a reference beyond whose range a fifth of the next ones are by chance in one of 1e8
# tables; of ten values a fifth is beyond all the time.
_RANGE_KNOWN = 100

_OCTAVE = 4  # cells of a factor of two among those of magnitudes
# Values of the reference that are taken to be of such a size: it is known by its smallest, its
# largest and no zero, and each of them had as good a chance to be in the window instead.
_STRANGERS_GRANTED = 3


def missing_rates(held: InWindows) -> list[Examined | None]:
    """The shares of missing values; None for windows where neither sample has any."""
    column, missing = held.column, held.missing
    old, variation = column.old, column.spec.variation
    before = old.n + old.missing
    if not (old.missing or missing.any()) or not before:
        return [None] * missing.size
    then, now = column.effects.effective(
        Effect.MISSING, [old.missing, old.n], np.stack([missing, held.n], axis=1)
    )
    shares = _shares(then, now)
    usual = variation.missing - old.missing / before if variation else 0.0
    found: list[Examined | None] = []
    for k, rows in enumerate((held.n + missing).tolist()):
        limit = max(MATERIAL_MISSING, usual if shares.value[k] > 0 else 0.0)
        share = _Share("missing_rate", "missing values", int(rows), limit)
        found.append(_share(column, share, shares, k) if old.missing or missing[k] else None)
    return found


def unseen_shares(held: InWindows) -> list[Examined | None]:
    """The shares of categories that are not listed.

    A reference that the list was taken from holds none of them, yet the next sample of the same
    population will; what counts is the excess over that.
    """
    column = held.column
    if not column.spec.categorical:
        return [None] * held.n.size
    counts = column.old.counts
    expected = unseen_share(counts[:-1], unlisted=int(counts[-1]))
    # The error of an expectation has longer tails than that of a share: as if from half the rows.
    reference = [expected.successes / 2, (expected.n - expected.successes) / 2]
    unlisted = held.counts[:, -1]
    windows = np.stack([unlisted, held.n - unlisted], axis=1)
    pair = column.effects.effective(Effect.SHARES, reference, windows)
    what = "categories that are not listed"
    return _strangers(column, *pair, _Share("unseen_share", what, 0, MATERIAL_UNSEEN))


def infinite_shares(held: InWindows) -> list[Examined | None]:
    """The shares of infinite numbers; None for windows where neither sample has any."""
    column, old = held.column, held.column.old
    infinite = np.array([new.infinite for new in held.profiles], dtype=np.float64)
    if not old.n or not (old.infinite or infinite.any()):
        return [None] * held.n.size
    windows = np.stack([infinite, held.n - infinite], axis=1)
    pair = column.effects.effective(Effect.SHARES, [old.infinite, old.n - old.infinite], windows)
    shares = _shares(*pair)
    share = _Share("infinite_share", "infinite values", 0, MATERIAL_INFINITE)
    return [
        _share(column, share, shares, k) if old.infinite or infinite[k] else None
        for k in range(held.n.size)
    ]


def strange_shares(held: InWindows) -> list[Examined | None]:
    """The shares of numbers of a size that the reference does not hold: about twice as large as its
    largest, half as large as its smallest, or 0.

    What stands for "no value", such as -999, moves too few ranks for the tests of a distribution.
    Of a reference of n rows hardly more than 3 of the next n are such, however long its tails are.
    """
    column, old = held.column, held.column.old
    strange = _strange(held)
    strange[strange <= MATERIAL_STRANGE * held.n] = 0.0
    if column.spec.categorical or old.n < _RANGE_KNOWN or not strange.any():
        return [None] * held.n.size
    reference = [_STRANGERS_GRANTED, old.n - _STRANGERS_GRANTED]
    windows = np.stack([strange, np.where(strange > 0, held.n - strange, 0.0)], axis=1)
    pair = column.effects.effective(Effect.SHARES, reference, windows)
    what = "values of a size that the reference does not hold"
    found = _strangers(column, *pair, _Share("strange_share", what, 0, MATERIAL_STRANGE))
    came = zip(found, held.profiles, strange / np.maximum(held.n, 1.0), strict=True)
    return [
        e and msgspec.structs.replace(e, change=partial(_strangers_came, column, new, share))
        for e, new, share in came
    ]


def _strangers_came(column: Compared, new: ColumnProfile, share: float) -> str:
    now, before = (wording.span(column.spec, column.old, of) for of in (new, column.old))
    return f"{wording.share_moved('share', 0.0, share)}, range {now}, was {before}"


def _strange(held: InWindows) -> FloatArray:
    """How many numbers of each window are of no size that those of the reference have."""
    old, strange = held.column.old, np.zeros(held.n.size)
    if not old.magnitude_cells.size:  # all zeros, of which no size is known
        return strange
    least, most = old.magnitude_cells[0] - _OCTAVE, old.magnitude_cells[-1] + _OCTAVE
    no_zeros = not old.zeros
    for k, new in enumerate(held.profiles):
        cells, counts = new.magnitude_cells, new.magnitude_counts
        if cells.size and (cells[0] < least or cells[-1] > most):
            strange[k] = counts[(cells < least) | (cells > most)].sum()
        if no_zeros:
            strange[k] += new.zeros
    return strange


def outside_shares(held: InWindows) -> list[Examined | None]:
    """The shares of numbers beyond the range of the reference, in its outermost cells.

    Where the parts of the reference differ by much, as in a season, tests on ranks see little; a
    window beyond all that was ever seen is told by this. Fewer strays are left to those tests.
    """
    column = held.column
    if column.spec.categorical or not column.spec.edges or column.old.n < _RANGE_KNOWN:
        return [None] * held.n.size
    old = column.old.counts
    reference = np.array([old[0] + old[-1], old[1:-1].sum()], dtype=np.float64)
    ends = held.counts[:, 0] + held.counts[:, -1]
    ends[ends <= MATERIAL_OUTSIDE * held.n] = 0
    if not reference[0] and not ends.any():
        return [None] * held.n.size
    windows = np.stack([ends, np.where(ends > 0, held.n - ends, 0.0)], axis=1)
    what = "values beyond the range of the reference"
    found = _strangers(
        column, reference, windows, _Share("outside_share", what, 0, MATERIAL_OUTSIDE)
    )
    return [
        e and msgspec.structs.replace(e, moves_on=moves_on_in_time(column.spec, new))
        for e, new in zip(found, held.profiles, strict=True)
    ]


def newcomer_shares(held: InWindows) -> list[Examined | None]:
    """The share of the most frequent category of each window that is not listed.

    Where the reference has many categories that are not listed, a new one is hidden among them. It
    cannot have had more of the reference than a listed one has on average, since those are the most
    frequent; so much is granted. Chance has as many tries as there may be such categories.
    """
    column, spec, n = held.column, held.column.spec, held.column.old.n
    unlisted = int(column.old.counts[-1])
    if not spec.categorical or not unlisted:
        return [None] * held.n.size
    most = min(unlisted, math.ceil(n / (spec.levels + 1)))
    found: list[Examined | None] = []
    for k, new in enumerate(held.profiles):
        name, rows = new.others.counts[0] if new.others.counts else ("", 0)
        windows = np.array([[rows, new.n - rows]], dtype=np.float64)
        pair = column.effects.effective(Effect.SHARES, [most, n - most], windows)
        what = f"rows with {shorten(name)}, which is not listed,"
        (one,) = _strangers(column, *pair, _Share("newcomer_share", what, new.n, MATERIAL_UNSEEN))
        found.append(one and _most_of_many(one, int(held.counts[k, -1]), most / n, rows / new.n))
    return found


def _most_of_many(one: Examined, tries: int, before: float, after: float) -> Examined:
    """The finding on a category that was chosen because it is the most frequent of so many."""
    at_most = f"share up from at most {wording.percent(before)} to {wording.percent(after)}"
    return msgspec.structs.replace(
        one, p_value=min(1.0, one.p_value * tries), change=lambda: at_most
    )


class _Share(msgspec.Struct, frozen=True):
    """A share that is compared: how it is called, and when it matters."""

    check: str
    what: str
    n: int  # rows of the window; 0: all that it has in the two cells
    limit: float


def _strangers(
    column: Compared, reference: FloatArray, windows: FloatArray, share: _Share
) -> list[Examined | None]:
    """The shares of values that the reference does not know, where they are more than expected."""
    if not reference.sum() or not (reference[0] or windows[:, 0].any()):
        return [None] * len(windows)
    shares = _shares(reference, windows)
    return [
        _share(column, share, shares, k) if pair.any() and shares.value[k] > 0 else None
        for k, pair in enumerate(windows)
    ]


def _shares(reference: FloatArray, windows: FloatArray) -> TwoProportionsBatch:
    """The first of two cells against the second, as counts of whole rows."""
    then, now = np.rint(reference), np.rint(windows)
    shares = two_proportions_batch(then[0], then.sum(), now[:, 0], now.sum(axis=1))
    at_each = np.broadcast_to(shares.reference, shares.value.shape)
    return msgspec.structs.replace(shares, reference=at_each)


def _share(column: Compared, share: _Share, shares: TwoProportionsBatch, k: int) -> Examined:
    low, high = float(shares.interval.low[k]), float(shares.interval.high[k])
    value, before, after = (float(of[k]) for of in (shares.value, shares.reference, shares.current))
    name = column.spec.name
    found = f"{'more' if value > 0 else 'fewer'} {share.what} in {name}"
    return Examined(
        check=share.check,
        subject=name,
        n=share.n or int(shares.n_current[k]),
        value=value,
        interval=Interval(low, high),
        p_value=float(shares.p_value[k]),
        threshold=share.limit,
        limit=f"{100 * share.limit:.3g} points",
        found=found,
        calm=f"Not surely {found}",
        numbers=f"95 % interval {100 * low:+.3g} to {100 * high:+.3g} points",
        change=lambda: wording.share_moved("share", before, after),
    )
