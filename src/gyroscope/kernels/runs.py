"""The runs of one value in a column: in one pass, so that every column can be looked at."""

from __future__ import annotations

import ctypes
import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.kernels.library import address, library


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one value in a piece of a column; a NaN is a run by itself."""

    n: int
    first: int  # rows of the first one
    last: int
    longest: int
    log_orders: float  # sum of log length! over all but the first and the last one


def runs_of(values: NDArray[np.float64]) -> Runs:
    """The runs of values[n], at least one."""
    run = _in_numpy if library() is None else _in_c
    return run(np.ascontiguousarray(values))


def _in_c(values: NDArray[np.float64]) -> Runs:
    compiled_library = library()
    assert compiled_library is not None  # the caller has asked
    found, log_orders = np.empty(4, dtype=np.int64), np.zeros(1)
    compiled_library.gyro_runs(
        address(values), ctypes.c_int64(values.size), address(found), address(log_orders)
    )
    n, first, last, longest = found.tolist()
    return Runs(n=n, first=first, last=last, longest=longest, log_orders=float(log_orders[0]))


def _in_numpy(values: NDArray[np.float64]) -> Runs:
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=values.size)
    inner, repeats = np.unique(lengths[1:-1], return_counts=True)
    orders = (math.lgamma(length + 1) for length in inner.tolist())
    return Runs(
        n=lengths.size,
        first=int(lengths[0]),
        last=int(lengths[-1]),
        longest=int(lengths.max()),
        log_orders=sum(
            order * times for order, times in zip(orders, repeats.tolist(), strict=True)
        ),
    )
