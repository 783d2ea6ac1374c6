"""What runs the jobs of the loop, and what comes back from them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from gyroscope.store.base import Job


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    result: dict[str, Any] = {}  # JSON values
    error: str = ""  # why it failed, in words; empty if it did not


class Executor(Protocol):
    """Runs jobs outside the loop's own work; belongs to one thread.

    The store is the loop's business: it saves what :meth:`poll` returns. A job is started at most
    once, however often it is submitted and by however many executors over the same state, so after
    a restart the loop just polls every job that the store shows queued or running.
    """

    def submit(self, job: Job) -> None:
        """Start the job, or queue it; nothing happens if it was started before.

        Raises:
            GyroscopeError: it cannot be started now; it stays queued, and polling tries again.
        """
        ...

    def poll(self, job: Job) -> Job:
        """The job as it stands now: queued, running, done with its result, failed with its error.

        A queued job that nobody has submitted yet is submitted. A job that died without a result
        is failed, and its error says how it died and what it printed last.
        """
        ...

    def cancel(self, job: Job) -> None:
        """Stop the job and all it started, at once; :meth:`poll` then shows it failed.

        Nothing happens to a job that has ended.
        """
        ...

    def close(self) -> None:
        """Start nothing more. Jobs that run go on where the executor can let them."""
        ...
