"""Between callbacks, which cost little, and tasks that wait."""

from __future__ import annotations

import asyncio
from typing import TypeVar

_T = TypeVar("_T")


def settle(future: asyncio.Future[_T], outcome: _T | Exception) -> None:
    """Tell whoever waits for a future how it went, on its event loop.

    One whose task was cancelled is left alone.
    """
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
