"""What every control store can do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from gyroscope.decisions import Care, Decision, Recorded, Status
from gyroscope.findings import Finding, Window


class JobStatus(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that runs outside the loop's process."""

    id: str
    model: str
    kind: str  # a name of ``gyroscope.loop.jobs``, e.g. "retrain"
    arguments: dict[str, Any]  # JSON values
    status: JobStatus = JobStatus.QUEUED
    created: datetime
    finished: datetime | None = None
    pid: int | None = None  # process that runs it
    result: dict[str, Any] = {}  # JSON values, when done
    error: str = ""  # when failed


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """A window that may not be trained on."""

    model: str
    window: Window
    reason: str
    decision_id: str


class Store(Protocol):
    """The control plane: states, findings, decisions, jobs, quarantines of all models.

    Every method is one transaction. Times given and returned are UTC with zone.
    """

    def care(self, model: str) -> Care:
        """The state of a model; a fresh one (``learning``) if it has none yet."""
        ...

    def save_care(self, before: Care, after: Care) -> None:
        """Replace the state by compare-and-set.

        Raises:
            ConflictError: the state is no longer ``before``.
        """
        ...

    def add_findings(self, model: str, window: Window, findings: Sequence[Finding]) -> None:
        """Put the findings of a checked window on record; the same finding twice is one."""
        ...

    def findings(
        self, model: str, *, since: datetime | None = None, limit: int = 1000
    ) -> list[Finding]:
        """The newest ``limit`` findings whose window ends after ``since``, oldest first."""
        ...

    def save_profile(self, model: str, version: int, window: Window, body: bytes) -> None:
        """Keep the profile of a window; one that is kept already for it is replaced.

        ``version`` is the one on whose reference it was counted.
        """
        ...

    def profiles(self, model: str, version: int, span: Window) -> list[tuple[Window, bytes]]:
        """The profiles of all windows within a span, oldest first."""
        ...

    def record(self, decision: Decision) -> Recorded:
        """Put a decision on record with status ``decided``, before it is carried out.

        Ids are deterministic, so a restarted loop repeats itself: a decision that is on record
        already is returned as it stands, in whatever status, and nothing is written.

        Raises:
            ConflictError: another decision is on record under this id.
        """
        ...

    def advance(self, decision_id: str, before: Status, after: Status, note: str = "") -> Recorded:
        """Move a decision on by compare-and-set.

        Raises:
            NotFoundError: no such decision.
            ConflictError: its status is no longer ``before``.
        """
        ...

    def decisions(
        self,
        model: str | None = None,
        *,
        statuses: Sequence[Status] = (),
        limit: int = 1000,
    ) -> list[Recorded]:
        """The newest ``limit`` decisions in their current status, oldest first."""
        ...

    def decision(self, decision_id: str) -> Recorded:
        """The decision with this id in its current status; raises NotFoundError."""
        ...

    def verify_chain(self) -> int:
        """Check the hash chain over all records and changes of status.

        Returns the number of links.

        Raises:
            GyroscopeError: a link was altered or removed; the message names it.
        """
        ...

    def save_job(self, job: Job) -> None:
        """Add a job or replace the one with its id."""
        ...

    def job(self, job_id: str) -> Job:
        """The job with this id; raises NotFoundError."""
        ...

    def jobs(
        self,
        model: str | None = None,
        *,
        statuses: Sequence[JobStatus] = (),
        limit: int = 1000,
    ) -> list[Job]:
        """The newest ``limit`` jobs, oldest first; all models and statuses if none are given."""
        ...

    def add_quarantine(self, quarantine: Quarantine) -> None:
        """Keep a window out of training; the same window and decision twice is one."""
        ...

    def quarantines(self, model: str) -> list[Quarantine]:
        """All windows of a model that may not be trained on, oldest first."""
        ...

    def beat(self, process: str) -> None:
        """Note that the process of this name, e.g. "pilot", is alive now."""
        ...

    def heartbeats(self) -> dict[str, datetime]:
        """When each process last said that it was alive."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
