"""Executors that need nothing but this machine."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gyroscope.errors import GyroscopeError, UsageError
from gyroscope.loop.base import Outcome
from gyroscope.loop.traces import Phase, Traces, write_outcome
from gyroscope.store.base import Job, JobStatus

NICENESS = 10  # added to a job's processes, so that serving comes first on a busy machine

# Runs a command and leaves its exit status in the file $0, for whoever is the parent by then.
# Descriptor 9 is the lock; a disk too full to hold the id starts nothing, to be tried again.
# If memory runs out, Linux is to choose a job before the server. The last line ends whatever the
# command left behind in its process group, and the shell with it.
_SHELL = f"""
echo $$ >&9 || exit
{{ echo 500 >/proc/self/oom_score_adj; }} 2>/dev/null
nice -n {NICENESS} "$@"
echo $? >"$0.partial" && mv "$0.partial" "$0"
kill -s KILL 0
"""


class InlineExecutor:
    """Runs each job in this process when it is submitted: for tests and one-shot commands.

    ``run`` returns the job's result. A :class:`GyroscopeError` from it makes the job failed; any
    other exception is a defect and goes up to whoever submitted.
    """

    def __init__(self, run: Callable[[Job], dict[str, Any]]) -> None:
        self._run = run
        self._ended: dict[str, tuple[Outcome, datetime]] = {}

    def submit(self, job: Job) -> None:
        """Run the job, unless it was run before."""
        if job.id in self._ended:
            return
        try:
            outcome = Outcome(result=self._run(job))
        except GyroscopeError as error:
            outcome = Outcome(error=str(error))
        self._ended[job.id] = (outcome, datetime.now(UTC))

    def poll(self, job: Job) -> Job:
        """The job with its result or error."""
        if _has_ended(job):
            return job
        self.submit(job)
        return _settled(job, *self._ended[job.id])

    def cancel(self, job: Job) -> None:
        """Keep the job from being run, if it has not been."""
        self._ended.setdefault(job.id, (_CANCELLED, datetime.now(UTC)))

    def close(self) -> None:
        """Nothing is held."""


class ProcessExecutor:
    """Runs each job in a process of its own, detached from the terminal and lower in priority.

    A job runs ``command --job ID --result FILE``. When its work is done the process calls
    :func:`gyroscope.loop.traces.write_outcome` with that file. A file, rather than a row in the
    store, because it is there whole or not at all whenever either side is killed, and because
    jobs in the store then have one writer, the loop.

    Jobs outlive this process; another executor on the same ``folder`` takes them up again. At
    most ``limit`` run at once; the others wait and are started, in order, by calls of
    :meth:`submit` and :meth:`poll`.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, limit: int = 1) -> None:
        if limit < 1:
            raise UsageError(f"limit must be at least 1 job, got {limit}")
        self._command = tuple(command)
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._limit = limit
        self._waiting: dict[str, None] = {}  # ids of jobs, first come first
        self._children: set[int] = set()  # ids of processes to be reaped
        self._running = self._left_running()

    def submit(self, job: Job) -> None:
        """Start the job, or queue it; nothing happens if it was started before."""
        if Traces(self._folder, job.id).phase() is Phase.NOT_STARTED:
            self._waiting.setdefault(job.id)
        self._start_waiting()

    def poll(self, job: Job) -> Job:
        """The job as it stands now; see :class:`gyroscope.loop.base.Executor`."""
        if _has_ended(job):
            return job
        self._reap()
        traces = Traces(self._folder, job.id)
        phase = traces.phase()
        if phase is Phase.NOT_STARTED:
            if job.status is JobStatus.RUNNING:
                lost = Outcome(error=f"the job is lost: {traces.lock} is gone or empty")
                return _settled(job, lost, datetime.now(UTC))
            self.submit(job)
            phase = traces.phase()
        else:
            self._start_waiting()
        if phase is Phase.RUNNING:
            return msgspec.structs.replace(job, status=JobStatus.RUNNING, pid=traces.group)
        if phase is Phase.NOT_STARTED:
            return job
        return _settled(job, traces.ending(), traces.ended_at())

    def cancel(self, job: Job) -> None:
        """Kill the job and all it started; nothing happens if it has ended."""
        self._waiting.pop(job.id, None)
        traces = Traces(self._folder, job.id)
        if not _has_ended(job) and traces.phase() is not Phase.ENDED:
            if not traces.outcome.exists():
                write_outcome(traces.outcome, _CANCELLED)
            traces.kill()

    def close(self) -> None:
        """Start nothing more; running jobs go on."""
        self._waiting.clear()
        self._reap()

    def _left_running(self) -> set[str]:
        """Ids of the jobs that an executor before this one left running."""
        ids = (path.stem for path in self._folder.glob("*.lock"))
        return {job_id for job_id in ids if self._is_running(job_id)}

    def _is_running(self, job_id: str) -> bool:
        return Traces(self._folder, job_id).phase() is Phase.RUNNING

    def _start_waiting(self) -> None:
        self._running = {job_id for job_id in self._running if self._is_running(job_id)}
        while self._waiting and len(self._running) < self._limit:
            job_id = next(iter(self._waiting))
            del self._waiting[job_id]
            self._start(job_id)
            self._running.add(job_id)

    def _start(self, job_id: str) -> None:
        """Start the job unless somebody else has: only he who holds the lock may."""
        traces = Traces(self._folder, job_id)
        try:
            with traces.lock.open("a") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if traces.group is None and not traces.outcome.exists():
                    # The child has its own copy of the descriptor, and with it the lock.
                    pid = self._spawn(job_id, traces, lock.fileno())
                    self._children.add(pid)
                    # The shell writes it too, should this process die before it can.
                    lock.write(f"{pid}\n")
        except OSError as error:
            raise GyroscopeError(
                f"job {job_id} could not be started and stays queued; its files are in "
                f"{self._folder}: {error}"
            ) from error

    def _spawn(self, job_id: str, traces: Traces, lock: int) -> int:
        command = [*self._command, "--job", job_id, "--result", str(traces.outcome)]
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SHELL, str(traces.exit), *command],
            {**os.environ, "PYTHONUNBUFFERED": "1"},  # last words reach the log at any death
            file_actions=[
                (os.POSIX_SPAWN_DUP2, lock, 9),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(traces.log), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )

    def _reap(self) -> None:
        """Let the kernel forget children that have ended."""
        for pid in tuple(self._children):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody else in this process did it
                ended = pid
            if ended:
                self._children.remove(pid)


_CANCELLED = Outcome(error="the job was cancelled")


def _has_ended(job: Job) -> bool:
    return job.status in (JobStatus.DONE, JobStatus.FAILED)


def _settled(job: Job, outcome: Outcome, at: datetime) -> Job:
    return msgspec.structs.replace(
        job,
        status=JobStatus.FAILED if outcome.error else JobStatus.DONE,
        finished=at,
        result=outcome.result,
        error=outcome.error,
    )
