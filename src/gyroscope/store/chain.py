"""The hash chain over decisions: each link's digest covers the link before it.

It shows alteration, removal and reordering of links to whoever trusts the newest digest. Somebody
who may rewrite the whole database can also write a whole new chain: against that, keep digests
(they are shown with every decision) in a place that he cannot reach.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from gyroscope.decisions import Decision
from gyroscope.errors import GyroscopeError
from gyroscope.store.bodies import decoded
from gyroscope.store.tables import GENESIS, chain, chain_head, decisions


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One record or change of status, as the chain keeps it."""

    sequence: int  # 1, 2, 3, ...
    at: datetime  # UTC
    decision_id: str
    status: str
    note: str = ""
    body: str = ""  # the decision as JSON; empty in a change of status
    previous: str  # digest of the link before, GENESIS for the first

    @property
    def digest(self) -> str:
        """Sha256 over all fields, in hexadecimal."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        fields = [
            self.sequence,
            at,
            self.decision_id,
            self.status,
            self.note,
            self.body,
            self.previous,
        ]
        return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()


class Head(msgspec.Struct, frozen=True):
    """Where the chain ends: number and digest of its last link."""

    sequence: int
    digest: str


class Standing(msgspec.Struct, frozen=True):
    """What the table of decisions says about one decision."""

    model: str
    status: str
    recorded: int  # link that carries the decision
    changed: int  # link of its last change of status

    def __str__(self) -> str:
        return (
            f"{self.status}, of model {self.model}, recorded by link {self.recorded}, "
            f"last changed by link {self.changed}"
        )


# FOR UPDATE makes writers wait for each other. SQLite knows no such words and needs none: there
# the transaction holds the write lock from its start.
HEAD = select(chain_head.c.sequence, chain_head.c.digest).with_for_update()


def locked_head(connection: Connection) -> Head:
    """The end of the chain, which nobody else can move until this transaction is over."""
    return Head(*connection.execute(HEAD).one())


def append(connection: Connection, link: Link) -> None:
    """Add the link that follows the head read by :func:`locked_head` in this transaction."""
    digest = link.digest
    connection.execute(chain.insert().values(digest=digest, **msgspec.structs.asdict(link)))
    connection.execute(update(chain_head).values(sequence=link.sequence, digest=digest))


def verify(connection: Connection) -> int:
    """Check every link, the head, and that the table of decisions says the same.

    Returns the number of links.

    Raises:
        GyroscopeError: names the first link or decision that is wrong.
    """
    head = locked_head(connection)
    rows = connection.execute(
        select(chain).order_by(chain.c.sequence), execution_options={"yield_per": 1000}
    )
    end, expected = _followed(rows)
    if end != head:
        raise _broken(
            f"it ends at link {end.sequence}, its head says link {head.sequence}: "
            "the last links were removed or replaced"
        )
    _compare(expected, {row.id: Standing(*row[1:]) for row in connection.execute(_STANDINGS)})
    return end.sequence


_STANDINGS = select(
    decisions.c.id,
    decisions.c.model,
    decisions.c.status,
    decisions.c.recorded,
    decisions.c.changed,
)


def _followed(rows: Iterable[Row[Any]]) -> tuple[Head, dict[str, Standing]]:
    """Walk the chain: where it ends, and where it leaves each decision."""
    end = Head(0, GENESIS)
    standings: dict[str, Standing] = {}
    for row in rows:
        fields = row._asdict()
        digest = fields.pop(chain.c.digest.name)
        link = Link(**fields)
        if link.sequence != end.sequence + 1:
            raise _broken(f"link {end.sequence + 1} is missing")
        if link.digest != digest:
            raise _broken(f"{_name(link)} was altered")
        if link.previous != end.digest:
            raise _broken(f"{_name(link)} does not follow the link before it")
        standings[link.decision_id] = _moved(standings.get(link.decision_id), link)
        end = Head(link.sequence, digest)
    return end, standings


def _moved(before: Standing | None, link: Link) -> Standing:
    if before is None:
        model = decoded(link.body, Decision).model
        return Standing(model, link.status, link.sequence, link.sequence)
    return msgspec.structs.replace(before, status=link.status, changed=link.sequence)


def _compare(expected: dict[str, Standing], found: dict[str, Standing]) -> None:
    for decision_id, standing in expected.items():
        if decision_id not in found:
            raise _broken(f"decision {decision_id} is no longer among the decisions on record")
        if found[decision_id] != standing:
            raise _broken(
                f"decision {decision_id} is on record as {found[decision_id]}, "
                f"by the chain it is {standing}"
            )
    for decision_id in found.keys() - expected.keys():
        raise _broken(f"decision {decision_id} is on record, but its links were removed")


def _name(link: Link) -> str:
    return f"link {link.sequence} (decision {link.decision_id}, {link.status})"


def _broken(what: str) -> GyroscopeError:
    return GyroscopeError(
        f"the chain of decisions is broken: {what}. Somebody changed the control store by other "
        "means than Gyroscope; compare it with a backup"
    )
