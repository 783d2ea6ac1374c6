"""Work of many seconds: it has threads of its own, and only so much of it may wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from gyroscope.errors import RequestError
from gyroscope.serve.http import BusyError

PATIENCE_S = 60.0  # that work may have to wait for other work; clients seldom wait longer

_T = TypeVar("_T")


class LongWork:
    """Does what is asked for in turn, in ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        self._n_threads = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="long scoring")
        self._taken_s: list[float] = []  # how long each was expected to take that is not done

    async def run(self, work: Callable[[], _T], expected_s: float, left: Callable[[], bool]) -> _T:
        """Do work that is expected to take some seconds, unless its client has ``left`` when its
        turn comes.

        Raises:
            BusyError: it would have to wait for too long; nothing was done.
            RequestError: status 503, the client has left; nothing was done.
        """
        wait_s = self._wait_s()
        if wait_s > PATIENCE_S:
            raise BusyError("too much work that takes long is to be done before", math.ceil(wait_s))
        self._taken_s.append(expected_s)
        try:
            turn = partial(_unless_left, work, left)
            return await asyncio.get_running_loop().run_in_executor(self._threads, turn)
        finally:
            self._taken_s.remove(expected_s)

    def _wait_s(self) -> float:
        """How long new work would have to wait, at most: what has begun counts whole."""
        free = len(self._taken_s) < self._n_threads
        return 0.0 if free else sum(self._taken_s) / self._n_threads

    def close(self) -> None:
        """Wait for what is under way, and give back the threads."""
        self._threads.shutdown()


def _unless_left(work: Callable[[], _T], left: Callable[[], bool]) -> _T:
    if left():  # one that only sends no more is told so
        raise RequestError(503, "the connection was ended while this waited: nothing was stored")
    return work()
