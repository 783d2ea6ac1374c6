"""Single rows of different requests scored together: one call costs little more than one row.

Under load many requests become ready in the same turn of the event loop. What they need of the
kernels is asked for once, after all of them have been read; a request that comes alone waits for
nothing but the turn it is in.
"""

from __future__ import annotations

import asyncio

import numpy as np

from gyroscope.bundle.base import Matrix
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.explanation import Space
from gyroscope.serve.scoring import Numbers, numbers_of

_Place = tuple[Numbers, int]  # numbers of some rows, and which of them is asked for


class Lane:
    """For the tasks of one event loop."""

    def __init__(self) -> None:
        self._gathering: dict[tuple[int, Space | None], _Group] = {}

    def numbers(self, bundle: Bundle, X: Matrix, space: Space | None) -> asyncio.Future[_Place]:
        """What :func:`numbers_of` makes of one row ``float64[1, p]``, among others."""
        group = self._gathering.get((id(bundle), space))
        if group is None:
            group = self._gathering[id(bundle), space] = _Group(bundle, space)
            # Called after all tasks that are ready now: they join the group.
            asyncio.get_running_loop().call_soon(self._score, group)
        return group.add(X)

    def _score(self, group: _Group) -> None:
        del self._gathering[id(group.bundle), group.space]
        group.score()


class _Group:
    """Rows that one version scores in one way."""

    def __init__(self, bundle: Bundle, space: Space | None) -> None:
        self.bundle, self.space = bundle, space
        self._loop = asyncio.get_running_loop()
        self._rows: list[Matrix] = []
        self._waiting: list[asyncio.Future[_Place]] = []

    def add(self, X: Matrix) -> asyncio.Future[_Place]:
        place: asyncio.Future[_Place] = self._loop.create_future()
        self._rows.append(X)
        self._waiting.append(place)
        return place

    def score(self) -> None:
        X = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows)
        try:
            numbers = numbers_of(self.bundle, X, self.space)
        except Exception as error:  # noqa: BLE001  it is for the tasks that wait
            for place in self._waiting:
                if not place.done():
                    place.set_exception(error)
            return
        for i, place in enumerate(self._waiting):
            if not place.done():  # its task was cancelled
                place.set_result((numbers, i))
