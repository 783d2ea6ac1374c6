"""Upkeep of the prediction logs: into Parquet files, old records out, erasures completed."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

import msgspec

from gyroscope.loop.executors import NICENESS
from gyroscope.loop.locks import locked
from gyroscope.loop.world import World
from gyroscope.prediction_log import erasure
from gyroscope.prediction_log.compaction import Compacted, compact, expire
from gyroscope.prediction_log.erasure import Erasure

_FIRST_S = 60.0  # from the start to the first time at most: a process may not live for an hour
_GRACE_S = 10.0  # from SIGTERM to SIGKILL
_WAIT_S = 600.0  # for another process that compacts the same log

_log = logging.getLogger("gyroscope.upkeep")


def keep_up(world: World, model: str) -> Compacted:
    """Compact the log of a model, complete an erasure cut short, and remove what is too old.

    Raises:
        LogError: a file of the log cannot be read or written; nothing is lost.
    """
    folder = world.log_folder(model)
    with _alone(world, model):
        spool = world.config.spool_folder(model)
        erasure.complete_erasure(folder, spool)
        done = compact(folder, spool=spool)
        keep: timedelta | None = world.config.model(model).settings["keep_log"]
        if keep is not None:
            expired = expire(folder, world.now(model) - keep)
            done = msgspec.structs.replace(done, expired_files=expired.expired_files)
    return done


def complete_erasure(world: World, model: str, *, wait_s: float = _WAIT_S) -> Erasure | None:
    """Erase what was ordered; see :func:`gyroscope.prediction_log.erasure.complete_erasure`.

    ``wait_s`` is how long to wait for another process that compacts the log, seconds.

    Raises:
        LogError: it is not complete; call again.
        GyroscopeError: the other process is not done in that time.
    """
    with _alone(world, model, wait_s):
        return erasure.complete_erasure(world.log_folder(model), world.config.spool_folder(model))


def _alone(world: World, model: str, wait_s: float = _WAIT_S) -> AbstractContextManager[None]:
    path = world.config.state / "locks" / f"{model}.log.lock"
    return locked(path, wait_s=wait_s, doing=f"compacting the log of model {model}")


class Upkeep:
    """Has the logs kept up by a process of its own, every so often.

    Args:
        command: that does it once, for all models, and ends.
        every: from one beginning to the next, at least; the first comes that much after the start,
            or a minute after it.
    """

    def __init__(self, command: Sequence[str], every: timedelta) -> None:
        self._command = ("nice", "-n", str(NICENESS), *command)
        self._every_s = every.total_seconds()
        self._due = time.monotonic() + min(self._every_s, _FIRST_S)
        self._process: subprocess.Popen[bytes] | None = None
        # What it says goes to a file: a pipe that nobody reads would stop it.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (see close)

    def look(self) -> None:
        """Start the process if it is due, and warn if it has failed."""
        if self._process is not None and self._process.poll() is not None:
            self._tell(self._process.returncode)
            self._process = None
        if self._process is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._said,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                _log.warning("the prediction logs could not be compacted: %s", error)

    def close(self) -> None:
        """Stop the process; the next one goes on where it was."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process = None
        self._said.close()

    def _tell(self, code: int) -> None:
        """Warn if the process failed or was killed, with the end of what it said."""
        self._said.seek(0)
        said = self._said.read()[-2000:].decode(errors="replace").strip()
        self._said.seek(0)
        self._said.truncate()
        if code:
            _log.warning(
                "the prediction logs could not be compacted (exit code %d): %s", code, said
            )
