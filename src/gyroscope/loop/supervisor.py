"""Keeps the processes of ``gyro up`` running, and stops them together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from gyroscope.errors import UsageError

SUPERVISED = "GYROSCOPE_SUPERVISED"  # variable: the parent holds our standard input open
_LOOK_S = 0.2  # between two looks at the children
_GRACE_S = 20.0  # from SIGTERM to SIGKILL
_LONGEST_BACKOFF_S = 30.0
_STEADY_S = 60.0  # a process that ran this long starts again at once
_UP_S = 5.0  # a process that ran this long can be started
_TRIES = 3  # of starting a process that says each time that it was given something wrong


class _Child:
    """One process and when it may be started again."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name, self._command = name, command
        self._failures, self._started, self._due = 0, 0.0, 0.0
        self._refusals, self._was_up = 0, False
        self.process: subprocess.Popen[bytes] | None = None

    def start_if_due(self) -> None:
        if self.process is None and time.monotonic() >= self._due:
            self._started = time.monotonic()
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                env={**os.environ, SUPERVISED: "1"},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops us in order
            )

    def look(self) -> int | None:
        """The exit code if the process has ended since the last look."""
        code = None if self.process is None else self.process.poll()
        if code is not None:
            self._end_input()
            self.process = None
            ran_s = time.monotonic() - self._started
            self._was_up |= ran_s > _UP_S
            self._refusals += code == UsageError.exit_code
            steady = code == 0 or ran_s > _STEADY_S
            self._failures = 0 if steady else self._failures + 1
            pause = 0.0 if self._failures == 0 else 2.0 ** (self._failures - 1)
            self._due = time.monotonic() + min(_LONGEST_BACKOFF_S, pause)
        return code

    @property
    def hopeless(self) -> bool:
        """Whether it never came up, because of something that no waiting will mend."""
        return not self._was_up and self._refusals >= _TRIES

    def stop(self, deadline: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._end_input()

    def _end_input(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


class Supervisor:
    """Runs commands, restarts those that end (at once, or ever later if they fail), until stopped.

    If the supervisor itself is killed, its children notice that their standard input has ended
    and stop as well: see :func:`stop_with_parent`.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], tell: Callable[[str], None] = print
    ) -> None:
        self._children = [_Child(name, command) for name, command in commands.items()]
        self._tell = tell
        self._stopping = threading.Event()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop every process in good order.

        Raises:
            UsageError: a process cannot be started, as it has said itself.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping.wait(_LOOK_S):
                for child in self._children:
                    self._look_after(child)
        finally:
            self._stop_children()

    def _look_after(self, child: _Child) -> None:
        code = child.look()
        if child.hopeless:
            raise UsageError(f"{child.name} cannot be started; see above what it said")
        if code:
            self._tell(f"{child.name} ended with exit code {code}; starting it again")
        child.start_if_due()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _stop_children(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for child in self._children:
            child.stop(deadline)


def stop_with_parent() -> None:
    """In a supervised process: stop in good order when the supervisor is gone."""
    if os.environ.pop(SUPERVISED, None) is None:
        return

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock would hold up our own exit
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="parent").start()
