"""The control store in a SQL database: SQLite, or PostgreSQL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, Insert, Update, select, update
from sqlalchemy.exc import DatabaseError, OperationalError, StatementError

from gyroscope.decisions import Care, Decision, Recorded, Status
from gyroscope.errors import ConflictError, GyroscopeError, NotFoundError
from gyroscope.findings import Finding, Window
from gyroscope.store import chain, ledger, schema, tables
from gyroscope.store.base import Job, JobStatus, Quarantine
from gyroscope.store.bodies import decoded, encoded
from gyroscope.store.engine import insert_missing, insert_or_update, is_in_memory, make_engine


def open_store(path: Path) -> SQLStore:
    """Open the control store in the SQLite file at ``path``, which may not exist yet.

    The schema is brought up to date first, after a backup beside the file; processes that open
    the store at the same moment wait for the one that does it. The file must lie on a local disk.

    Raises:
        GyroscopeError: the file is not a control store, cannot be written, or was made by a
            newer release.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    store = SQLStore(URL.create("sqlite", database=str(path)))
    with ExitStack() as on_failure:
        on_failure.callback(store.close)
        try:
            schema.bring_up_to_date(store.engine, path)
        except DatabaseError as error:
            advice = ""
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                advice = "; this user cannot write there, or its disk is read-only: allow it"
            raise GyroscopeError(
                f"{path} cannot be opened as a control store: {error.orig}{advice}"
            ) from error
        on_failure.pop_all()
    return store


class SQLStore:
    """A :class:`gyroscope.store.base.Store` in the database at ``url``.

    The tables must be there (see :func:`open_store`); a database in memory (``sqlite://``) gets
    its own. Threads may share a store; each process opens its own, also after a fork. ``clock``
    gives the time of records, changes of status and heartbeats.
    """

    def __init__(
        self, url: str | URL, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.engine = make_engine(url)
        self._reading = self.engine.execution_options(writes=False)
        self._writing = self.engine.execution_options(writes=True)
        self._clock = clock
        if is_in_memory(self.engine.url):
            with self._writes() as connection:
                tables.create_all(connection)

    def care(self, model: str) -> Care:
        """The state of a model; a fresh one (``learning``) if it has none yet."""
        with self._reads() as connection:
            body = _care_body(connection, model)
        return Care(model=model) if body is None else decoded(body, Care)

    def save_care(self, before: Care, after: Care) -> None:
        """Replace the state by compare-and-set.

        Raises:
            ConflictError: the state is no longer ``before``.
        """
        model = before.model
        with self._writes() as connection:
            body = _care_body(connection, model)
            # Compared as this release reads it: a field added since must not look like a change.
            stands = Care(model=model) if body is None else decoded(body, Care)
            if after.model != model or encoded(stands) != encoded(before):
                raise _care_moved(model)
            change: Insert | Update
            if body is None:
                change = insert_missing(connection, tables.care)
            else:
                change = update(tables.care).where(
                    tables.care.c.model == model, tables.care.c.body == body
                )
            change = change.values(model=model, body=encoded(after))
            if connection.execute(change).rowcount != 1:
                raise _care_moved(model)

    def add_findings(self, model: str, window: Window, findings: Sequence[Finding]) -> None:
        """Put the findings of a checked window on record; the same finding twice is one."""
        bodies = [encoded(finding) for finding in findings]
        rows = [
            {
                "model": model,
                "window_start": window.start,
                "window_end": window.end,
                "digest": hashlib.sha256(body.encode()).hexdigest(),
                "body": body,
            }
            for body in bodies
        ]
        if rows:
            with self._writes() as connection:
                connection.execute(insert_missing(connection, tables.findings), rows)

    def findings(
        self, model: str, *, since: datetime | None = None, limit: int = 1000
    ) -> list[Finding]:
        """The newest ``limit`` findings whose window ends after ``since``, oldest first."""
        table = tables.findings
        query = select(table.c.body).where(table.c.model == model)
        if since is not None:
            query = query.where(table.c.window_end > since)
        query = query.order_by(table.c.window_end.desc(), table.c.id.desc()).limit(limit)
        with self._reads() as connection:
            bodies = connection.scalars(query).all()
        return [decoded(body, Finding) for body in reversed(bodies)]

    def save_profile(self, model: str, version: int, window: Window, body: bytes) -> None:
        """Keep the profile of a window; one that is kept already for it is replaced."""
        table = tables.profiles
        row = {
            "model": model,
            "version": version,
            "window_start": window.start,
            "window_end": window.end,
            "body": body,
        }
        with self._writes() as connection:
            connection.execute(insert_or_update(connection, table, list(table.primary_key), row))

    def profiles(self, model: str, version: int, span: Window) -> list[tuple[Window, bytes]]:
        """The profiles of all windows within a span, oldest first."""
        table = tables.profiles
        query = (
            select(table.c.window_start, table.c.window_end, table.c.body)
            .where(table.c.model == model, table.c.version == version)
            .where(table.c.window_start >= span.start, table.c.window_end <= span.end)
            .order_by(table.c.window_start)
        )
        with self._reads() as connection:
            return [(Window(start, end), body) for start, end, body in connection.execute(query)]

    def record(self, decision: Decision) -> Recorded:
        """Put a decision on record with status ``decided``, before it is carried out.

        A decision that is on record already is returned as it stands, and nothing is written.

        Raises:
            ConflictError: another decision is on record under this id.
        """
        with self._writes() as connection:
            return ledger.record(connection, decision, self._clock())

    def advance(self, decision_id: str, before: Status, after: Status, note: str = "") -> Recorded:
        """Move a decision on by compare-and-set.

        Raises:
            NotFoundError: no such decision.
            ConflictError: its status is no longer ``before``.
        """
        with self._writes() as connection:
            at = self._clock()
            return ledger.advance(connection, decision_id, before, after, note=note, at=at)

    def decision(self, decision_id: str) -> Recorded:
        """The decision with this id in its current status; raises NotFoundError."""
        with self._reads() as connection:
            return ledger.find(connection, decision_id)

    def decisions(
        self,
        model: str | None = None,
        *,
        statuses: Sequence[Status] = (),
        limit: int = 1000,
    ) -> list[Recorded]:
        """The newest ``limit`` decisions in their current status, oldest first."""
        with self._reads() as connection:
            return ledger.newest(connection, model, statuses, limit)

    def verify_chain(self) -> int:
        """Check the hash chain over all records and changes of status.

        Returns the number of links.

        Raises:
            GyroscopeError: a link was altered or removed; the message names it.
        """
        with self._reads() as connection:
            return chain.verify(connection)

    def save_job(self, job: Job) -> None:
        """Add a job or replace the one with its id."""
        row = {
            "id": job.id,
            "model": job.model,
            "status": job.status.value,
            "created": job.created,
            "body": encoded(job),
        }
        with self._writes() as connection:
            connection.execute(insert_or_update(connection, tables.jobs, [tables.jobs.c.id], row))

    def job(self, job_id: str) -> Job:
        """The job with this id; raises NotFoundError."""
        with self._reads() as connection:
            body = connection.scalar(select(tables.jobs.c.body).where(tables.jobs.c.id == job_id))
        if body is None:
            raise NotFoundError(f"no job {job_id!r} in the control store")
        return decoded(body, Job)

    def jobs(
        self,
        model: str | None = None,
        *,
        statuses: Sequence[JobStatus] = (),
        limit: int = 1000,
    ) -> list[Job]:
        """The newest ``limit`` jobs, oldest first; all models and statuses if none are given."""
        table = tables.jobs
        query = select(table.c.body)
        if model is not None:
            query = query.where(table.c.model == model)
        if statuses:
            query = query.where(table.c.status.in_([s.value for s in statuses]))
        query = query.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
        with self._reads() as connection:
            bodies = connection.scalars(query).all()
        return [decoded(body, Job) for body in reversed(bodies)]

    def add_quarantine(self, quarantine: Quarantine) -> None:
        """Keep a window out of training; the same window and decision twice is one."""
        with self._writes() as connection:
            connection.execute(
                insert_missing(connection, tables.quarantines).values(
                    model=quarantine.model,
                    window_start=quarantine.window.start,
                    window_end=quarantine.window.end,
                    decision_id=quarantine.decision_id,
                    reason=quarantine.reason,
                )
            )

    def quarantines(self, model: str) -> list[Quarantine]:
        """All windows of a model that may not be trained on, oldest first."""
        table = tables.quarantines
        query = select(table).where(table.c.model == model)
        with self._reads() as connection:
            rows = connection.execute(query.order_by(table.c.window_start, table.c.id)).all()
        return [
            Quarantine(
                model=row.model,
                window=Window(row.window_start, row.window_end),
                reason=row.reason,
                decision_id=row.decision_id,
            )
            for row in rows
        ]

    def beat(self, process: str) -> None:
        """Note that the process of this name, e.g. "pilot", is alive now."""
        table = tables.heartbeats
        row = {"process": process, "at": self._clock()}
        with self._writes() as connection:
            connection.execute(insert_or_update(connection, table, [table.c.process], row))

    def heartbeats(self) -> dict[str, datetime]:
        """When each process last said that it was alive."""
        with self._reads() as connection:
            rows = connection.execute(select(tables.heartbeats)).all()
        return {row.process: row.at for row in rows}

    def close(self) -> None:
        """Give back connections."""
        self.engine.dispose()

    def _reads(self) -> AbstractContextManager[Connection]:
        return self._transaction(self._reading)

    def _writes(self) -> AbstractContextManager[Connection]:
        return self._transaction(self._writing)

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except StatementError as error:
            if isinstance(error.orig, GyroscopeError):  # from UTCDateTime
                raise error.orig from None
            if not isinstance(error, OperationalError):
                raise
            where = self.engine.url.render_as_string(hide_password=True)
            raise GyroscopeError(
                f"the control store {where} cannot be used now: {error.orig}"
            ) from error


def _care_body(connection: Connection, model: str) -> str | None:
    query = select(tables.care.c.body).where(tables.care.c.model == model)
    return connection.execute(query).scalar_one_or_none()


def _care_moved(model: str) -> ConflictError:
    return ConflictError(f"the state of model {model} was changed by somebody else; look again")
