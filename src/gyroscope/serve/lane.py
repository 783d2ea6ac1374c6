"""Single rows of different requests scored together: one call costs little more than one row.

Under load many requests become ready in the same turn of the event loop. What they need of the
kernels is asked for once, after all of them have been read; a request that comes alone waits for
nothing but the turn it is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

from gyroscope.bundle.bundle import Bundle
from gyroscope.data.encoder import RowNumbers, matrix_of
from gyroscope.futures import settle, tell_each
from gyroscope.serve.numbers import Numbers, Wish, numbers_of
from gyroscope.serve.pace import Pace

_FEW = 5  # rows that may take long: the scores of such a version are left to threads

Place = tuple[Numbers, int]  # numbers of some rows, and which of them is asked for
Then = Callable[[Place | Exception], None]  # what is done with them


class Lane:
    """For the tasks of one event loop.

    A call takes no more rows than can be scored soon. If those are few, it goes to ``threads``.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._gathering: dict[tuple[int, Wish | None], _Group] = {}
        self._pace = Pace()

    def numbers(self, bundle: Bundle, row: RowNumbers, wish: Wish | None) -> asyncio.Future[Place]:
        """What :func:`numbers_of` makes of one row, among others."""
        place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self.add(bundle, row, wish, partial(settle, place))
        return place

    def add(self, bundle: Bundle, row: RowNumbers, wish: Wish | None, then: Then) -> None:
        """The same for who does not wait: ``then`` is called with it, or with what went wrong."""
        group = self._gathering.get((id(bundle), wish))
        if group is None:
            group = self._gathering[id(bundle), wish] = _Group(bundle, wish)
            # Called after all that is ready now: it joins the group.
            group.loop.call_soon(self._take_up, group)
        group.rows.append(row)
        group.then.append(then)

    def _take_up(self, group: _Group) -> None:
        key = id(group.bundle), group.wish
        del self._gathering[key]
        most = self._pace.most_rows(group.bundle, group.wish)
        if most is not None and len(group.rows) > most:
            if most < _FEW:
                with suppress(RuntimeError):  # the server is stopping, and takes no more threads
                    scored = group.loop.run_in_executor(self._threads, group.score)
                    scored.add_done_callback(lambda _: group.settle(self._pace))
                    return
            else:
                self._gathering[key] = rest = group.cut(int(most))
                group.loop.call_soon(self._take_up, rest)  # others have a turn before
        group.score()
        group.settle(self._pace)


class _Group:
    """Rows that one version scores in one way."""

    def __init__(self, bundle: Bundle, wish: Wish | None) -> None:
        self.bundle, self.wish = bundle, wish
        self.loop = asyncio.get_running_loop()
        self.rows: list[RowNumbers] = []
        self.then: list[Then] = []
        self._outcomes: list[Place | Exception] = []
        self._took_s = 0.0

    def cut(self, most: int) -> _Group:
        """Keep the first rows, and give the others away."""
        rest = _Group(self.bundle, self.wish)
        rest.rows, self.rows = self.rows[most:], self.rows[:most]
        rest.then, self.then = self.then[most:], self.then[:most]
        return rest

    def score(self) -> None:
        """Find the numbers of all rows, or what is in the way; in any thread."""
        began = time.thread_time()
        try:
            numbers = numbers_of(self.bundle, matrix_of(self.rows), self.wish)
            self._outcomes = [(numbers, i) for i in range(len(self.rows))]
        except Exception:  # noqa: BLE001  each is to have the outcome that is its own
            self._outcomes = list(map(self._alone, self.rows))
        self._took_s = time.thread_time() - began

    def _alone(self, row: RowNumbers) -> Place | Exception:
        try:
            return numbers_of(self.bundle, matrix_of([row]), self.wish), 0
        except Exception as error:  # noqa: BLE001  it is for the task that waits
            return error

    def settle(self, pace: Pace) -> None:
        """Tell for each row how it went; in the thread of the event loop."""
        pace.note(self.bundle, self.wish, len(self.rows), self._took_s)
        tell_each(zip(self.then, self._outcomes, strict=True))
