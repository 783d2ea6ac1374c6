"""Where the model is worst: segments of one or two columns, found and then tested on other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, UsageError
from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray, IntArray
from gyroscope.stats.multiplicity import holm
from gyroscope.stats.tails import student_lower, student_quantile

MISSING = -1  # the code of a missing value: a cell of its own, part of no range
FEWEST_ROWS = 30  # of a segment in either half; below, a mean is not yet normal
_MOST_CELLS = 64  # of a column; ranges of more would make the search slow
_PAIRED_COLUMNS = 20  # those with the worst single segments are combined in pairs
_LARGEST_OVERLAP = 0.5  # shared rows over rows of either: more is the same segment again


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """The cells first .. last of one column; both are -1 for missing values."""

    column: int
    first: int
    last: int


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment with its loss on rows that had no part in finding it."""

    restrictions: tuple[Restriction, ...]  # one or two, all of which hold
    n: int  # rows of the segment among those it was tested on
    mean_loss: float  # of these
    rest_mean_loss: float  # of all others that it was tested on
    difference: float  # mean_loss - rest_mean_loss; positive is worse than elsewhere
    interval: Interval  # of the difference; simultaneous over the segments returned
    p_value: float  # of "no worse than elsewhere", one-sided, adjusted by Holm


def worst_segments(
    codes: npt.ArrayLike,
    losses: npt.ArrayLike,
    ordered: Sequence[bool],
    *,
    most: int = 5,
    min_share: float = 0.01,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[Segment]:
    """Find the segments with the highest mean loss, and test them on rows not used to find them.

    The rows are cut in two at random. On the first half every cell and every range of consecutive
    cells of an ordered column is looked at, then every pair of these from two columns (of the 20
    columns whose single segments stand out most), thousands in all; those whose mean stands out
    most against the rest, in standard errors, are kept, each only if it shares at most half of its
    rows with one kept before. On the second half only these few are tested, so that it does not
    matter how many were looked at: the chance that any segment no worse than the rest gets a
    p-value <= alpha is at most alpha, for independent rows and segments large enough for normal
    theory.

    Args:
        codes: int[n, columns], the cell of each value, 0, 1, ... (below 64), or -1 if missing.
        losses: float[n], any real loss, such as the excess loss.
        ordered: for each column, whether its cells are in an order, so that ranges make sense.
        most: segments to keep, at least 1.
        min_share: smallest share of the rows in a segment, in (0, 1/2]; and never below 30 rows.
        alpha: the error of the intervals, shared equally over the segments returned.
        seed: of the halves.

    Returns:
        The kept segments, the worst (smallest p-value, then largest difference) first; none if no
        segment is large enough.

    Raises:
        DataError: codes or losses that cannot be used.
        UsageError: ``most`` or ``min_share`` out of range.

    Source:
        Cox (1975), A note on data-splitting for the evaluation of significance levels, Biometrika
        62; the search is that of Chung et al. (2020), Slice Finder, IEEE TKDE 32, with ranges.
    """
    if most < 1 or not 0 < min_share <= 0.5:
        raise UsageError(
            f"most must be at least 1 and min_share in (0, 0.5], got {most} and {min_share}"
        )
    cells, loss = _checked(codes, losses, len(ordered))
    half = np.random.default_rng(seed).permutation(np.arange(loss.size) % 2) == 0
    found = _find(cells[half], loss[half], ordered, most, min_share)
    kept = [s for s in found if _large_enough(_members(cells[~half], s))]
    tested = [_tested(s, cells[~half], loss[~half], alpha / len(kept)) for s in kept]
    adjusted = holm([s.p_value for s in tested])
    segments = [
        msgspec.structs.replace(s, p_value=float(p)) for s, p in zip(tested, adjusted, strict=True)
    ]
    return sorted(segments, key=lambda s: (s.p_value, -s.difference))


def _checked(
    codes: npt.ArrayLike, losses: npt.ArrayLike, columns: int
) -> tuple[IntArray, FloatArray]:
    cells, loss = np.asarray(codes, dtype=np.int64), np.asarray(losses, dtype=np.float64)
    if cells.ndim != 2 or cells.shape != (loss.size, columns) or loss.ndim != 1:
        raise DataError(
            f"expected codes of {loss.size} rows (as many as losses) and {columns} columns (as "
            f"many as in ordered), got shape {cells.shape}"
        )
    if cells.size and not (cells.min() >= MISSING and cells.max() < _MOST_CELLS):
        raise DataError(
            f"codes must lie in -1 .. {_MOST_CELLS - 1}, got {cells.min()} .. {cells.max()}; "
            "join cells to coarser ones"
        )
    if not np.all(np.isfinite(loss)):
        raise DataError("losses must be finite numbers, one is missing or infinite")
    return cells, loss


class _Ranges(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The cells and ranges of one column; a code is shifted by one, so that 0 is missing."""

    first: IntArray
    last: IntArray
    holds: FloatArray  # [ranges, cells], 1 where the range holds the cell

    def restriction(self, column: int, k: int) -> Restriction:
        """The k-th range in codes."""
        return Restriction(column=column, first=int(self.first[k]) - 1, last=int(self.last[k]) - 1)


def _ranges(cells: int, ordered: bool) -> _Ranges:
    first, last = np.triu_indices(cells) if ordered else (np.arange(cells), np.arange(cells))
    # Missing is in no order; all cells together are no segment.
    sound = ((first > 0) | (last == 0)) & ~((first == 1) & (last == cells - 1) & (cells > 2))
    first, last = first[sound].astype(np.int64), last[sound].astype(np.int64)
    cell = np.arange(cells)
    holds = ((first[:, None] <= cell) & (cell <= last[:, None])).astype(np.float64)
    return _Ranges(first=first, last=last, holds=holds)


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    z: float  # how far the mean stands out, in standard errors
    restrictions: tuple[Restriction, ...]


def _find(
    cells: IntArray, loss: FloatArray, ordered: Sequence[bool], most: int, min_share: float
) -> list[tuple[Restriction, ...]]:
    """The segments that stand out most, none much like another."""
    if loss.size < 2 * FEWEST_ROWS or np.ptp(loss) == 0:
        return []
    shifted = cells + 1
    sizes = [int(column.max()) + 1 for column in shifted.T]
    ranges = [_ranges(size, in_order) for size, in_order in zip(sizes, ordered, strict=True)]
    standing = _Standing(loss, max(FEWEST_ROWS, min_share * loss.size))
    single = [standing.of(shifted[:, j], r.holds) for j, r in enumerate(ranges)]
    best = [float(z.max(initial=-np.inf)) for z in single]
    columns = sorted(np.argsort(best, kind="stable")[::-1][:_PAIRED_COLUMNS].tolist())
    candidates = [
        _Candidate(z=float(single[j][k]), restrictions=(ranges[j].restriction(j, k),))
        for j in range(len(ranges))
        for k in _largest(single[j], most)
    ]
    for i, a in enumerate(columns):
        for b in columns[i + 1 :]:
            z = standing.of_pair(shifted[:, a] * sizes[b] + shifted[:, b], ranges[a], ranges[b])
            candidates += [
                _Candidate(
                    z=float(z[k]),
                    restrictions=(
                        ranges[a].restriction(a, k // len(ranges[b].first)),
                        ranges[b].restriction(b, k % len(ranges[b].first)),
                    ),
                )
                for k in _largest(z, most)
            ]
    candidates.sort(key=lambda c: (-c.z, len(c.restrictions)))
    return list(_unlike(candidates, cells, most))


class _Standing:
    """How far segments stand out in rows whose losses are standardised."""

    def __init__(self, loss: FloatArray, fewest: float) -> None:
        self._loss = (loss - loss.mean()) / loss.std()
        self._fewest = fewest

    def of(self, code: IntArray, holds: FloatArray) -> FloatArray:
        """z[ranges] of the ranges of one column; -inf for one that is too small."""
        size = holds.shape[1]
        rows, total = np.bincount(code, minlength=size), np.bincount(code, self._loss, size)
        return self._z(holds @ rows, holds @ total)

    def of_pair(self, code: IntArray, a: _Ranges, b: _Ranges) -> FloatArray:
        """z of all ranges of one column with all of another, flattened."""
        shape = a.holds.shape[1], b.holds.shape[1]
        rows = np.bincount(code, minlength=shape[0] * shape[1]).reshape(shape)
        total = np.bincount(code, self._loss, shape[0] * shape[1]).reshape(shape)
        return self._z((a.holds @ rows @ b.holds.T).ravel(), (a.holds @ total @ b.holds.T).ravel())

    def _z(self, rows: FloatArray, total: FloatArray) -> FloatArray:
        others = self._loss.size - rows
        z = np.full(rows.shape, -np.inf)
        large = (rows >= self._fewest) & (others >= self._fewest)
        z[large] = total[large] / np.sqrt(rows[large] * others[large] / self._loss.size)
        return z


def _largest(z: FloatArray, most: int) -> list[int]:
    """Where the few largest finite values are."""
    few = np.argpartition(-z, most)[:most] if z.size > most else np.arange(z.size)
    return [int(k) for k in few if z[k] > 0]


def _unlike(
    candidates: Sequence[_Candidate], cells: IntArray, most: int
) -> Iterator[tuple[Restriction, ...]]:
    kept: list[npt.NDArray[np.bool_]] = []
    for candidate in candidates:
        if len(kept) == most:
            return
        members = _members(cells, candidate.restrictions)
        overlaps = [
            np.count_nonzero(members & other) / np.count_nonzero(members | other) for other in kept
        ]
        if all(overlap <= _LARGEST_OVERLAP for overlap in overlaps):
            kept.append(members)
            yield candidate.restrictions


def _members(cells: IntArray, restrictions: tuple[Restriction, ...]) -> npt.NDArray[np.bool_]:
    inside = [
        (cells[:, r.column] >= r.first) & (cells[:, r.column] <= r.last) for r in restrictions
    ]
    return np.asarray(np.logical_and.reduce(inside))


def _large_enough(members: npt.NDArray[np.bool_]) -> bool:
    inside = int(np.count_nonzero(members))
    return FEWEST_ROWS <= inside <= members.size - FEWEST_ROWS


def _tested(
    restrictions: tuple[Restriction, ...], cells: IntArray, loss: FloatArray, alpha: float
) -> Segment:
    """Welch's one-sided test of the segment against the rest."""
    members = _members(cells, restrictions)
    inside, rest = loss[members], loss[~members]
    difference = float(inside.mean() - rest.mean())
    a, b = inside.var(ddof=1) / inside.size, rest.var(ddof=1) / rest.size
    if a + b == 0:  # constant within and without
        half, p = 0.0, float(difference <= 0)
    else:
        df = (a + b) ** 2 / (a**2 / (inside.size - 1) + b**2 / (rest.size - 1))
        error = float(np.sqrt(a + b))
        half = float(student_quantile(1 - alpha / 2, df)) * error
        p = float(student_lower(-difference / error, df))
    return Segment(
        restrictions=restrictions,
        n=inside.size,
        mean_loss=float(inside.mean()),
        rest_mean_loss=float(rest.mean()),
        difference=difference,
        interval=Interval(difference - half, difference + half),
        p_value=p,
    )
