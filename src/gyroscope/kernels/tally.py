"""Tallies of a column: all that a profile needs to know of its values, in one pass."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.errors import DataError
from gyroscope.kernels.library import address, library
from gyroscope.kernels.values import NUMBER_TYPES, Stretch, floats_of, handed_over

MAGNITUDES = 8192  # cells of |x|: the exponent and two bits of the fraction
REGISTERS = 1024  # of the sketch of distinct values
MAX_EDGES = 16_384

_of_thread = threading.local()
_SHIFT = 50  # bits of |x| below its magnitude
_LARGEST = float(np.finfo(np.float64).max)

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Sketch = NDArray[np.uint8]


class NumberTally(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The tally of a column of numbers, in consecutive parts. -0.0 counts as 0.0."""

    counts: Counts  # int64[edges + 1]: values in each cell, infinite ones in the outer two
    binned: Counts  # int64[parts, bins]: those of each part, in bins of cells
    magnitudes: Counts  # int64[groups, k]: finite nonzero values by the magnitude of |x| ...
    first_magnitude: int  # ... from this one on; the others are of no value
    missing: Counts  # int64[parts]
    infinite: int
    finite: int
    mean: float  # of the finite values; 0 without any
    m2: float  # their sum of squared deviations; at most the largest float
    low: float  # least finite value, inf without any
    high: float  # largest finite value, -inf without any
    sketch: Sketch  # uint8[REGISTERS]: HyperLogLog of the values


def tally_numbers(
    stretches: Sequence[Stretch],
    edges: Floats,
    *,
    bounds: Sequence[int] | None = None,
    bins: Sequence[int] = (0,),
    groups: NDArray[np.int32] | None = None,
) -> NumberTally:
    """Tally a column of numbers. Other threads run meanwhile.

    Args:
        stretches: the values, one stretch after the other, all of one type. float64, float32,
            int64 and int32 are read where they are, if contiguous. Integers beyond 2^53 are
            rounded.
        edges: float64[k], ascending and finite; cell i holds edges[i - 1] < x <= edges[i].
        bounds: where the parts begin and the last one ends, ascending; one part if not given.
        bins: first cell of each bin in which parts are counted, ascending from 0.
        groups: int32[parts], from 0 on and ascending: parts whose magnitudes are counted together,
            for there are many of them; each part by itself if not given.

    Raises:
        DataError: more than ``MAX_EDGES`` edges.

    Source:
        Moments of blocks are joined as in Chan, Golub and LeVeque (1983), The American Statistician
        37; distinct values are sketched as in Flajolet, Fusy, Gandouet and Meunier (2007),
        HyperLogLog.
    """
    _check_edges(edges)
    rows = sum(stretch.values.size for stretch in stretches)
    ends = np.array([0, rows] if bounds is None else bounds, dtype=np.int64)
    run = _in_numpy if library() is None else _in_c
    return run(
        stretches,
        edges,
        ends=ends,
        bins=np.array(bins, dtype=np.int32),
        groups=np.arange(ends.size - 1, dtype=np.int32) if groups is None else groups,
    )


def cells_of_numbers(values: Floats, edges: Floats) -> NDArray[np.uint16]:
    """The cell of each of values[n], as counted by :func:`tally_numbers`; edges + 1 for NaN."""
    _check_edges(edges)
    compiled_library = library()
    if compiled_library is None:
        cells = np.searchsorted(edges, values)
        return np.where(np.isnan(values), edges.size + 1, cells).astype(np.uint16)
    x, padded = np.require(values, np.float64, ("C", "A")), _padded(edges)
    found = np.empty(x.size, dtype=np.uint16)
    compiled_library.gyro_cells_of_numbers(
        address(x),
        ctypes.c_int64(x.size),
        address(padded),
        ctypes.c_int32(edges.size),
        address(found),
    )
    return found


def count_codes(
    codes: NDArray[np.int32], lookup: NDArray[np.int32], k: int, *, bounds: Sequence[int]
) -> Counts:
    """Turn codes[n] into cells, in place, and count these: int64[parts, k], parts bounded as above.

    ``lookup`` holds the cell, from 0 to k - 1, of each code from 0 on, and last that of -1.
    """
    compiled_library = library()
    if compiled_library is None:
        codes[:] = lookup[codes]
        return np.array([np.bincount(codes[a:b], minlength=k) for a, b in pairwise(bounds)])
    ends = np.array(bounds, dtype=np.int64)
    counts = np.zeros((ends.size - 1, k), dtype=np.int64)
    compiled_library.gyro_count_codes(
        address(codes),
        address(np.require(lookup, np.int32, ("C", "A"))),
        ctypes.c_int32(lookup.size - 1),
        address(ends),
        ctypes.c_int32(ends.size - 1),
        ctypes.c_int64(k),
        address(counts),
    )
    return counts


def sketch_texts(data: memoryview | bytes, offsets: NDArray[np.int64], sketch: Sketch) -> None:
    """Add texts to a HyperLogLog sketch (uint8[REGISTERS], changed in place).

    ``offsets`` (int64[n + 1]) says where in ``data`` each text begins and ends, as in Arrow.
    """
    compiled_library = library()
    data_bytes = np.frombuffer(data, dtype=np.uint8)
    if compiled_library is None:
        _raise_registers(sketch, _mixed(_fnv(data_bytes, offsets)))
        return
    offsets = np.require(offsets, np.int64, ("C", "A"))
    compiled_library.gyro_sketch_texts(
        address(data_bytes),
        address(offsets),
        ctypes.c_int64(offsets.size - 1),
        address(sketch),
    )


def _in_c(
    stretches: Sequence[Stretch],
    edges: Floats,
    *,
    ends: Counts,
    bins: NDArray[np.int32],
    groups: NDArray[np.int32],
) -> NumberTally:
    compiled_library = library()
    assert compiled_library is not None  # the caller has asked
    parts, cells = ends.size - 1, edges.size + 1
    padded = _padded(edges)
    known = [stretch.readable() for stretch in stretches]
    counts = np.zeros((3, cells), dtype=np.int64)  # two of them to work in
    binned = np.zeros((parts, bins.size), dtype=np.int64)
    magnitudes = _zeros(int(groups[-1]) + 1)
    missing, totals = np.zeros(parts, dtype=np.int64), np.zeros(4, dtype=np.int64)
    moments = np.zeros(4)
    sketch = np.zeros(REGISTERS, dtype=np.uint8)
    compiled_library.gyro_tally_numbers(
        handed_over(known),
        ctypes.c_int32(NUMBER_TYPES[known[0].values.dtype] if known else 0),
        address(ends),
        address(groups),
        ctypes.c_int32(parts),
        address(padded),
        ctypes.c_int32(edges.size),
        address(bins),
        ctypes.c_int32(bins.size),
        *(address(out) for out in (counts, binned, magnitudes, missing, totals, moments, sketch)),
    )
    infinite, finite, first, end = totals.tolist()
    mean, m2, low, high = moments.tolist()
    found = magnitudes[:, first:end].copy()
    magnitudes[:, first:end] = 0  # nothing else has been counted
    return NumberTally(
        counts=counts[0],
        binned=binned,
        magnitudes=found,
        first_magnitude=first,
        missing=missing,
        infinite=infinite,
        finite=finite,
        mean=mean,
        m2=m2,
        low=low,
        high=high,
        sketch=sketch,
    )


def _zeros(groups: int) -> Counts:
    """Magnitudes int64[groups, MAGNITUDES] to count in: all zero, and to be left so.

    Each thread keeps its own: they are many, of which few are ever touched, and fresh memory costs
    more than what is counted in it.
    """
    kept: Counts | None = getattr(_of_thread, "magnitudes", None)
    if kept is None or len(kept) < groups:
        kept = _of_thread.magnitudes = np.zeros((groups, MAGNITUDES), dtype=np.int64)
    return kept[:groups]


def _check_edges(edges: Floats) -> None:
    if edges.size > MAX_EDGES:
        raise DataError(f"expected at most {MAX_EDGES} edges of cells, got {edges.size}")


def _padded(edges: Floats) -> Floats:
    """Edges and as many infinities as a search among them may look at."""
    padded = np.full(2 * edges.size + 1, math.inf)
    padded[: edges.size] = edges
    return padded


# -- the same without a compiler ------------------------------------------------------------------


def _in_numpy(
    stretches: Sequence[Stretch],
    edges: Floats,
    *,
    ends: Counts,
    bins: NDArray[np.int32],
    groups: NDArray[np.int32],
) -> NumberTally:
    x = floats_of(stretches)[ends[0] : ends[-1]] + 0.0
    there = ~np.isnan(x)
    parts, cells = ends.size - 1, edges.size + 1
    of_rows = np.repeat(np.arange(parts), np.diff(ends))
    present = x[there]
    held = np.bincount(
        of_rows[there] * cells + np.searchsorted(edges, present), minlength=parts * cells
    ).reshape(parts, cells)
    known = np.isfinite(present)
    finite = present[known]
    some = finite != 0
    magnitudes = np.bincount(
        groups[of_rows[there]][known][some].astype(np.int64) * MAGNITUDES
        + (np.abs(finite[some]).view(np.int64) >> _SHIFT),
        minlength=(int(groups[-1]) + 1) * MAGNITUDES,
    ).reshape(-1, MAGNITUDES)
    seen = np.flatnonzero(magnitudes.any(axis=0))
    first, end = (int(seen[0]), int(seen[-1]) + 1) if seen.size else (0, 0)
    mean, m2 = _moments(finite) if finite.size else (0.0, 0.0)
    sketch = np.zeros(REGISTERS, dtype=np.uint8)
    _raise_registers(sketch, _mixed(present.view(np.uint64)))
    return NumberTally(
        counts=held.sum(axis=0),
        binned=np.add.reduceat(held, bins, axis=1),
        magnitudes=magnitudes[:, first:end],
        first_magnitude=first,
        missing=np.diff(ends) - np.bincount(of_rows[there], minlength=parts),
        infinite=present.size - finite.size,
        finite=finite.size,
        mean=mean,
        m2=m2,
        low=float(finite.min(initial=math.inf)),
        high=float(finite.max(initial=-math.inf)),
        sketch=sketch,
    )


def _moments(finite: Floats) -> tuple[float, float]:
    """Mean and sum of squared deviations, without overflow on the way to the mean."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(finite.mean())
        if not math.isfinite(mean):
            mean = float((finite / finite.size).sum().clip(-_LARGEST, _LARGEST))  # it may round up
        deviations = finite - mean
        return mean, min(float(deviations @ deviations), _LARGEST)


def _mixed(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of MurmurHash3."""
    h = h ^ (h >> np.uint64(33))
    h = h * np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


def _raise_registers(sketch: Sketch, hashes: NDArray[np.uint64]) -> None:
    rest = (hashes << np.uint64(10)) >> np.uint64(11)  # 53 bits, which a float64 holds exactly
    ranks = 54 - np.frexp(rest.astype(np.float64))[1]
    np.maximum.at(sketch, hashes >> np.uint64(54), ranks.astype(np.uint8))


def _fnv(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """FNV-1a of all texts at once, byte by byte."""
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = np.full(starts.size, 0xCBF29CE484222325, dtype=np.uint64)
    for position in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > position)
        hashes[longer] ^= data[starts[longer] + position]
        hashes[longer] *= np.uint64(0x100000001B3)
    return hashes
