"""Waiting for a condition, with a deadline instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, timeout_s: float = 120.0) -> T:
    """Call ``condition`` until it returns something true, and return that.

    Raises:
        TimeoutError: it did not within ``timeout_s`` seconds; names what it returned last.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s, the condition is still {value!r}")
        time.sleep(0.005)
    return value
