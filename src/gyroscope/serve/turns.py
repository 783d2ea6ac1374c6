"""Turns: one request at a time for each key, among the servers of a state folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from gyroscope.errors import LogError, RequestError

_LOOK_S = 0.005  # between two tries
_PATIENCE_S = 30.0
_PLACE = 7  # bytes of a key that say which byte of the file its lock is on


class Turns:
    """Locks on bytes of one file, which the kernel takes back from a process that dies.

    The kernel holds them for the process, so a process may have this once for each file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._here: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: bytes) -> AsyncIterator[None]:
        """Be alone with a key, a digest, among the tasks of all servers, for the block.

        Raises:
            RequestError: status 503, others had their turns for too long.
            LogError: the file cannot be opened or locked.
        """
        place = int.from_bytes(key[:_PLACE], "big")
        try:
            async with (
                asyncio.timeout(_PATIENCE_S) as patience,
                self._here.setdefault(key[:_PLACE], asyncio.Lock()),
            ):
                file = self._opened()
                while not self._taken(file, place):
                    await asyncio.sleep(_LOOK_S)
                patience.reschedule(None)
                try:
                    yield
                finally:
                    fcntl.lockf(file, fcntl.LOCK_UN, 1, place)
        except TimeoutError:
            if not patience.expired():  # of the block
                raise
            message = "another request with this Idempotency-Key is not done yet"
            raise RequestError(503, message) from None

    def close(self) -> None:
        """Give back the file, and with it all turns."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise LogError(f"{self._path} cannot be opened: {error.strerror}") from None
        return self._file

    def _taken(self, file: int, place: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # what POSIX allows for "somebody has it"
            return False
        except OSError as error:
            raise LogError(f"{self._path} cannot be locked: {error.strerror}") from None
        return True
