"""Between callbacks, which cost little, and tasks that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

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


def tell_each(told: Iterable[tuple[Callable[[_T], None], _T]]) -> None:
    """Tell each how it went, also if telling one of them fails: the event loop is told of that."""
    for then, outcome in told:
        try:
            then(outcome)
        except Exception as error:  # noqa: BLE001  it must not keep the others from their answers
            context: dict[str, Any] = {"message": "a callback failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
