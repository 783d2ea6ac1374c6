"""Locks that the kernel gives back at any death, so that nobody has to break them.

They must lie on a local disk.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gyroscope.errors import GyroscopeError

_LOOK_S = 0.02  # between two tries


@contextmanager
def locked(path: Path, *, wait_s: float, doing: str) -> Iterator[None]:
    """Hold the lock on the file at ``path``, which is made if need be, for the block.

    Not reentrant: a thread that holds the lock and asks again waits in vain. Whoever holds it may
    remove the file.

    Args:
        path: the file; it holds the process id of whoever had the lock last.
        wait_s: how long to wait for whoever has the lock now, seconds.
        doing: what the lock is for, as it stands in the message, e.g. "watching this workspace".

    Raises:
        GyroscopeError: the lock was not to be had in that time; says which process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _taken(path, time.monotonic() + wait_s, doing) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield  # the lock goes with the file


def holder(path: Path) -> int | None:
    """The process that holds the lock on the file at ``path`` now; None if none does."""
    try:
        with path.open("r", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        written = path.read_text(encoding="ascii").strip()
        return int(written) if written else None  # taken this very moment
    return None


def _taken(path: Path, deadline: float, doing: str) -> TextIO:
    """The file at ``path`` with its lock, which goes when the file is closed."""
    while True:
        file = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if time.monotonic() >= deadline:
                raise GyroscopeError(
                    f"process {holder(path) or '?'} is {doing} already; wait for it, or stop it "
                    "first"
                ) from None
            time.sleep(_LOOK_S)
            continue
        if _is_at(path, file):
            return file
        file.close()  # whoever had the lock has removed the file meanwhile


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
