"""Appends of concurrent requests written together, so that they share one sync."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from gyroscope.errors import LogError
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import PredictionLog

_Row = TypeVar("_Row")
_Outcomes = list[LogError | None]  # one for each append of a group


class GroupCommit:
    """Awaitable appends to a log, for the tasks of one event loop.

    The first append goes to the writing thread at once. What arrives before that thread takes it
    up, as it cannot while it syncs the group before, joins it and is made durable by the same
    sync. So there is no timer: groups are small when there is little to do and grow with the load.
    """

    def __init__(self, log: PredictionLog) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prediction-log")
        self._predictions = _Gatherer(log.append, self._thread)
        self._labels = _Gatherer(log.append_labels, self._thread)
        self._is_closed = False

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """Return when the predictions are durable, all of them.

        Raises:
            LogError: none of these predictions was written; those of other tasks may have been.
        """
        self._check_open()
        await self._predictions.append(predictions)

    async def append_labels(self, labels: Sequence[Label]) -> None:
        """Return when the labels are durable, all of them; raises like :meth:`append`."""
        self._check_open()
        await self._labels.append(labels)

    async def close(self) -> None:
        """Wait until all that was handed in is written; the log itself stays open."""
        self._is_closed = True
        await self._predictions.finish()
        await self._labels.finish()
        await asyncio.to_thread(self._thread.shutdown)

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogError("the prediction log takes no more records: the server is stopping")


class _Group(Generic[_Row]):
    """Appends that are written together."""

    def __init__(self) -> None:
        self.appends: list[Sequence[_Row]] = []
        self.outcomes: asyncio.Task[_Outcomes]


class _Gatherer(Generic[_Row]):
    """Gathers appends of one kind while the writing thread is busy."""

    def __init__(self, write: Callable[[Sequence[_Row]], None], thread: ThreadPoolExecutor) -> None:
        self._write = write
        self._thread = thread
        self._lock = threading.Lock()  # between the event loop and the writing thread
        self._gathering: _Group[_Row] | None = None

    async def append(self, rows: Sequence[_Row]) -> None:
        with self._lock:
            group = self._gathering or self._new_group()
            number = len(group.appends)
            group.appends.append(rows)
        # Shielded, because a task that is cancelled must not cancel the others of its group.
        outcomes = await asyncio.shield(group.outcomes)
        error = outcomes[number]
        if error is not None:
            raise error

    async def finish(self) -> None:
        """Wait until the group that is gathering has been taken up and written."""
        group = self._gathering
        if group is not None:
            await asyncio.wait([group.outcomes])

    def _new_group(self) -> _Group[_Row]:
        group: _Group[_Row] = _Group()
        # A task of its own begins after all tasks that are ready now: they join the group.
        group.outcomes = asyncio.create_task(self._written(group))
        self._gathering = group
        return group

    async def _written(self, group: _Group[_Row]) -> _Outcomes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._write_group, group)

    def _write_group(self, group: _Group[_Row]) -> _Outcomes:
        with self._lock:
            self._gathering = None  # whoever comes now joins the next
        outcome = self._attempt([row for rows in group.appends for row in rows])
        if outcome is None or len(group.appends) == 1:
            return [outcome] * len(group.appends)
        # One append may have spoilt it for all; alone, each has the outcome that is its own.
        return [self._attempt(rows) for rows in group.appends]

    def _attempt(self, rows: Sequence[_Row]) -> LogError | None:
        try:
            self._write(rows)
        except LogError as error:
            return error
        return None
