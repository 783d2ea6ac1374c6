"""The runs of one value in a column: in one pass, so that every column can be looked at."""

from __future__ import annotations

import ctypes
import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.library import library
from gyroscope.kernels.values import NUMBER_TYPES, Stretch, floats_of, handed_over


class Runs(ctypes.Structure):
    """What is kept of the values of a column that have been read, to go on with the next ones.

    A missing value is a run by itself for ``longest``, and left out of all else.
    """

    _fields_ = (
        ("longest", ctypes.c_int64),  # rows with one value, one after the other
        ("length", ctypes.c_int64),  # of the run that reaches the end; 0 if a missing value does
        ("careful", ctypes.c_int64),  # whether all else is still kept; only ``longest`` if not
        ("up", ctypes.c_int64),  # whether no value falls
        ("down", ctypes.c_int64),  # whether none rises
        ("even", ctypes.c_int64),  # whether all rise by ``step``
        ("n", ctypes.c_int64),  # values
        ("runs", ctypes.c_int64),
        ("run", ctypes.c_int64),  # values in the last one
        ("last", ctypes.c_double),  # NaN if it is missing
        ("present", ctypes.c_double),  # the last value that is not
        ("step", ctypes.c_double),
        ("log_orders", ctypes.c_double),  # sum of log length! over all runs but the last
    )

    def __init__(self) -> None:
        super().__init__(careful=1, up=1, down=1, even=1, last=math.nan)


def read_runs(stretch: Stretch, so_far: Runs, *, most: float = math.inf, groups: int = 0) -> None:
    """Add the next values of a column to its runs. Other threads run meanwhile.

    Args:
        stretch: the values.
        so_far: runs of the values before, changed in place.
        most: whatever is larger is missing too.
        groups: of more runs than this, of values that neither ascend nor descend, only the longest
            is of interest.
    """
    compiled_library = library()
    if compiled_library is None:
        _read_in_numpy(stretch, so_far, most=most, groups=groups)
        return
    known = stretch.readable()
    compiled_library.gyro_scan_runs(
        handed_over([known]),
        ctypes.c_int32(NUMBER_TYPES[known.values.dtype]),
        ctypes.c_double(most),
        ctypes.c_int64(groups),
        ctypes.byref(so_far),
    )


def _read_in_numpy(stretch: Stretch, so_far: Runs, *, most: float, groups: int) -> None:
    if stretch.values.size == 0:
        return
    x = floats_of([stretch])
    x[x > most] = math.nan
    joined = np.append(so_far.last, x)
    starts = np.flatnonzero(joined[1:] != joined[:-1])
    lengths = np.diff(starts, prepend=0, append=x.size)
    lengths[0] += so_far.length
    so_far.longest = max(so_far.longest, int(lengths.max()), 1)
    so_far.last = x[-1]
    so_far.length = 0 if np.isnan(x[-1]) else int(lengths[-1])
    so_far.careful &= so_far.up | so_far.down | (so_far.runs <= groups)
    if so_far.careful:
        _read_order(x[~np.isnan(x)], so_far)


def _read_order(x: NDArray[np.float64], so_far: Runs) -> None:
    """The same of values none of which is missing."""
    if x.size == 0:
        return
    joined = np.append(so_far.present, x) if so_far.n else x
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(joined)
    if so_far.n < 2 and steps.size:
        so_far.step = steps[0]
    so_far.up &= int((joined[1:] >= joined[:-1]).all())
    so_far.down &= int((joined[1:] <= joined[:-1]).all())
    so_far.even &= int(((steps == so_far.step) & np.isfinite(steps)).all())
    cuts = [0, *(np.flatnonzero(joined[1:] != joined[:-1]) + 1).tolist(), joined.size]
    lengths = [end - first for first, end in pairwise(cuts)]
    if so_far.n:
        lengths[0] += so_far.run - 1  # the value that was there before is counted in both
    so_far.log_orders += sum(math.lgamma(length + 1) for length in lengths[:-1])
    so_far.runs += len(lengths) - int(so_far.n > 0)
    so_far.run = lengths[-1]
    so_far.present = x[-1]
    so_far.n += x.size
