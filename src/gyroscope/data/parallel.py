"""Work on all cores. The kernels and Arrow let go of the interpreter, so threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

FEW_VALUES = 1_000_000

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, values: int
) -> list[Result]:
    """``function`` of every item, in their order, on all cores; raises what it raises.

    Fewer ``values`` than ``FEW_VALUES`` in all are soon done, and threads that mostly run Python
    would only wait for one another.
    """
    threads = min(cores(), len(items)) if values >= FEW_VALUES else 1
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
