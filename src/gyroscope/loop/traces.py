"""The files by which a job's process can be followed, by its parent or by the next one.

``ID.lock``   locked (flock) by the process and its shell for as long as one of them lives; the
              kernel gives the lock back at any death, so a process id that went to another
              program misleads nobody. Holds the id of the process group once it has started.
``ID.log``    what it printed, standard output and standard error.
``ID.exit``   its exit status as the shell counts it: 128 + n if signal n ended it.
``ID.json``   its :class:`Outcome`, moved into place whole.

They must lie on a local disk: network file systems do not pass locks on to child processes.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from gyroscope.errors import UsageError
from gyroscope.loop.base import Outcome
from gyroscope.store.bodies import decoded, encoded

TAIL_BYTES = 2000
TAIL_LINES = 20

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory")


class Phase(StrEnum):
    """How far a process has come."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    ENDED = "ended"


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Leave the outcome of a job where its executor looks for it: whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(encoded(outcome))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Traces:
    """The files of one job in ``folder``."""

    def __init__(self, folder: Path, job_id: str) -> None:
        if not _JOB_ID.fullmatch(job_id):
            raise UsageError(
                f"job id {job_id!r}: it names files, so use 1 to 150 letters, digits, "
                "'.', '-' and '_', starting with a letter or digit"
            )
        self.lock = folder / f"{job_id}.lock"
        self.log = folder / f"{job_id}.log"
        self.exit = folder / f"{job_id}.exit"
        self.outcome = folder / f"{job_id}.json"

    def phase(self) -> Phase:
        """How far the process has come."""
        held = self._held()  # asked first: once nobody holds it, the other files are complete
        if self.exit.exists():
            return Phase.ENDED
        if held:
            return Phase.RUNNING
        if self.outcome.exists() or self.group is not None:
            return Phase.ENDED
        return Phase.NOT_STARTED

    @property
    def group(self) -> int | None:
        """The id of the process group; None before the process has started."""
        try:
            written = self.lock.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return None
        return int(written[0]) if written else None

    def kill(self) -> None:
        """Kill what still runs of the process and of its children; nothing if it has ended."""
        group = self.group
        if group is not None and self._held():
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def ending(self) -> Outcome:
        """The outcome of a process that has ended, in words if it left none."""
        try:
            return decoded(self.outcome.read_text(encoding="utf-8"), Outcome)
        except FileNotFoundError:
            return Outcome(error=self._cause_of_death())

    def ended_at(self) -> datetime:
        """When a process that has ended last left a trace."""
        files = (self.lock, self.log, self.outcome, self.exit)
        present = [path for path in files if path.exists()]
        return datetime.fromtimestamp(max(path.stat().st_mtime for path in present), UTC)

    def _held(self) -> bool:
        try:
            with self.lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _cause_of_death(self) -> str:
        tail = self._tail()
        memory = any(sign in tail for sign in _OUT_OF_MEMORY)
        how = "ran out of memory and " if memory else ""
        return f"the job {how}{_exit_in_words(self._exit_status())}. {self.log} ends: {tail}"

    def _exit_status(self) -> int | None:
        try:
            return int(self.exit.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def _tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.strip().splitlines()[-TAIL_LINES:]) or "(nothing printed)"


def _exit_in_words(status: int | None) -> str:
    if status is None:
        return "ended with all it had started, or the machine was restarted; it left no result"
    if status == 128 + signal.SIGKILL:
        return "was killed by SIGKILL; if nobody did that, the machine ran out of memory"
    if status - 128 in set(signal.Signals):
        return f"was ended by {signal.Signals(status - 128).name}"
    if status == 0:
        return "ended without leaving a result"
    return f"ended with exit status {status}"
