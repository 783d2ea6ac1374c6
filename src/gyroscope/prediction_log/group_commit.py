"""Appends of concurrent requests written together, so that they share one sync."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from gyroscope.errors import LogError
from gyroscope.futures import settle, tell_each
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Appends

_Row = TypeVar("_Row")

Then = Callable[[Exception | None], None]  # told of an error, or that it is done


class GroupCommit:
    """Awaitable appends to a log, for the tasks of one event loop.

    The first append goes to the writing thread at once. What arrives before that thread takes it
    up, as it cannot while it syncs the group before, joins it and is made durable by the same
    sync. So there is no timer: groups are small when there is little to do and grow with the load.
    """

    def __init__(self, log: Appends) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prediction-log")
        self._predictions = _Gatherer(log.append, self._thread)
        self._labels = _Gatherer(log.append_labels, self._thread)
        self._is_closed = False

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """Return when the predictions are durable, all of them.

        Raises:
            LogError: none of these predictions was written; those of other tasks may have been.
        """
        await _waited(partial(self.hand_in, predictions))

    def hand_in(self, predictions: Sequence[Prediction], then: Then) -> None:
        """The same for who does not wait: ``then`` is called on the event loop.

        Raises:
            LogError: the log takes no more; ``then`` is not called.
        """
        self._check_open()
        self._predictions.add(predictions, then)

    async def append_labels(self, labels: Sequence[Label]) -> None:
        """Return when the labels are durable, all of them; raises like :meth:`append`."""
        self._check_open()
        await _waited(partial(self._labels.add, labels))

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

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.appends: list[Sequence[_Row]] = []
        self.then: list[Then] = []
        self.settled: asyncio.Future[None] = loop.create_future()


class _Gatherer(Generic[_Row]):
    """Gathers appends of one kind while the writing thread is busy."""

    def __init__(self, write: Callable[[Sequence[_Row]], None], thread: ThreadPoolExecutor) -> None:
        self._write = write
        self._thread = thread
        self._lock = threading.Lock()  # between the event loop and the writing thread
        self._gathering: _Group[_Row] | None = None

    def add(self, rows: Sequence[_Row], then: Then) -> None:
        """Have the rows written, and then be told."""
        with self._lock:
            group = self._gathering or self._new_group()
            group.appends.append(rows)
            group.then.append(then)

    async def finish(self) -> None:
        """Wait until the group that is gathering has been taken up and written."""
        group = self._gathering
        if group is not None:
            await group.settled

    def _new_group(self) -> _Group[_Row]:
        group: _Group[_Row] = _Group(asyncio.get_running_loop())
        # Called after all that is ready now: it joins the group.
        group.loop.call_soon(self._thread.submit, self._write_group, group)
        self._gathering = group
        return group

    def _write_group(self, group: _Group[_Row]) -> None:
        with self._lock:
            self._gathering = None  # whoever comes now joins the next
        alone = len(group.appends) == 1
        outcome = self._attempt(
            group.appends[0] if alone else [row for rows in group.appends for row in rows]
        )
        if isinstance(outcome, LogError) and not alone:
            # One append may have spoilt it for all; alone, each has the outcome that is its own.
            outcomes = [self._attempt(rows) for rows in group.appends]
        else:
            outcomes = [outcome] * len(group.appends)
        group.loop.call_soon_threadsafe(_settle, group, outcomes)

    def _attempt(self, rows: Sequence[_Row]) -> Exception | None:
        try:
            self._write(rows)
        except Exception as error:  # noqa: BLE001  it is for the tasks that wait
            return error
        return None


def _settle(group: _Group[_Row], outcomes: Sequence[Exception | None]) -> None:
    """Tell for each append, on the event loop, how it went."""
    tell_each(zip(group.then, outcomes, strict=True))
    group.settled.set_result(None)


async def _waited(begin: Callable[[Then], None]) -> None:
    """Begin an append and return when it is written; raises what it came to."""
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begin(partial(settle, written))
    await written
