"""Decisions on record: each is written, moved on and read here, always along the chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select, update

from gyroscope.decisions import Decision, Recorded, Status
from gyroscope.errors import ConflictError, NotFoundError
from gyroscope.store.bodies import decoded, encoded
from gyroscope.store.chain import Link, append, locked_head
from gyroscope.store.tables import chain, decisions

_first, _last = chain.alias("first_link"), chain.alias("last_link")
_RECORDED = (
    select(_first.c.body, _last.c.status, _last.c.at, _last.c.note, _last.c.digest)
    .select_from(decisions)
    .join(_first, _first.c.sequence == decisions.c.recorded)
    .join(_last, _last.c.sequence == decisions.c.changed)
)


def record(connection: Connection, decision: Decision, at: datetime) -> Recorded:
    """Write a decision with status ``decided``; one on record already is returned as it stands.

    Raises:
        ConflictError: another decision is on record under this id.
    """
    head = locked_head(connection)
    existing = _find(connection, decision.id)
    if existing is not None:
        # Compared as this release reads it: a field added since must not look like a difference.
        if encoded(existing.decision) == encoded(decision):
            return existing
        raise ConflictError(
            f"another decision is on record as {decision.id}: {existing.decision.action} of model "
            f"{existing.decision.model} at {existing.decision.at}"
        )
    link = Link(
        sequence=head.sequence + 1,
        at=at,
        decision_id=decision.id,
        status=Status.DECIDED.value,
        body=encoded(decision),
        previous=head.digest,
    )
    append(connection, link)
    connection.execute(
        decisions.insert().values(
            id=decision.id,
            model=decision.model,
            status=link.status,
            recorded=link.sequence,
            changed=link.sequence,
        )
    )
    return Recorded(decision=decision, status=Status.DECIDED, updated=at, digest=link.digest)


def advance(
    connection: Connection,
    decision_id: str,
    before: Status,
    after: Status,
    *,
    note: str,
    at: datetime,
) -> Recorded:
    """Move a decision on by compare-and-set.

    Raises:
        NotFoundError: no such decision.
        ConflictError: its status is no longer ``before``.
    """
    head = locked_head(connection)
    link = Link(
        sequence=head.sequence + 1,
        at=at,
        decision_id=decision_id,
        status=after.value,
        note=note,
        previous=head.digest,
    )
    append(connection, link)  # before the row that points to it; undone if that is refused
    change = (
        update(decisions)
        .where(decisions.c.id == decision_id, decisions.c.status == before.value)
        .values(status=link.status, changed=link.sequence)
    )
    moved = connection.execute(change).rowcount == 1
    recorded = find(connection, decision_id)
    if not moved:
        raise ConflictError(
            f"decision {decision_id} is {recorded.status}, no longer {before}: "
            "somebody else carried it on; look again"
        )
    return recorded


def find(connection: Connection, decision_id: str) -> Recorded:
    """The decision with this id in its current status.

    Raises:
        NotFoundError: no such decision.
    """
    recorded = _find(connection, decision_id)
    if recorded is None:
        raise NotFoundError(f"no decision {decision_id!r} in the control store")
    return recorded


def newest(
    connection: Connection, model: str | None, statuses: Sequence[Status], limit: int
) -> list[Recorded]:
    """The newest ``limit`` decisions, oldest first; all models and statuses if none are given."""
    query = _RECORDED
    if model is not None:
        query = query.where(decisions.c.model == model)
    if statuses:
        query = query.where(decisions.c.status.in_([status.value for status in statuses]))
    rows = connection.execute(query.order_by(decisions.c.recorded.desc()).limit(limit)).all()
    return [_read(*row) for row in reversed(rows)]


def _find(connection: Connection, decision_id: str) -> Recorded | None:
    row = connection.execute(_RECORDED.where(decisions.c.id == decision_id)).one_or_none()
    return None if row is None else _read(*row)


def _read(body: str, status: str, at: datetime, note: str, digest: str) -> Recorded:
    return Recorded(
        decision=decoded(body, Decision),
        status=Status(status),
        updated=at,
        note=note,
        digest=digest,
    )
