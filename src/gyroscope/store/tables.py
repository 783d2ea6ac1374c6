"""The tables of the control store; migrations bring a database to what is written here."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from gyroscope.errors import GyroscopeError

GENESIS = "0" * 64  # stands for the digest before the first link of the chain


class UTCDateTime(TypeDecorator[datetime]):
    """Times with zone in Python, UTC in the database (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring a time to UTC; a time without zone is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise GyroscopeError(f"the store keeps times with a time zone only, given {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Names for every constraint, so that a later migration can name what it changes.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

care = Table(
    "care",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("body", Text, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("window_start", UTCDateTime, nullable=False),
    Column("window_end", UTCDateTime, nullable=False),
    Column("digest", String(64), nullable=False),  # sha256 of body: the same finding is kept once
    Column("body", Text, nullable=False),
    UniqueConstraint("model", "window_start", "window_end", "digest"),
    Index(None, "model", "window_end"),
)

# Append-only. A decision's first link carries the decision; each change of status adds a link.
chain = Table(
    "chain",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ... no gap
    Column("at", UTCDateTime, nullable=False),
    Column("decision_id", String(200), nullable=False),
    Column("status", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("body", Text, nullable=False),  # the decision; empty in a change of status
    Column("previous", String(64), nullable=False),  # digest of the link before
    Column("digest", String(64), nullable=False),  # sha256 over all the columns above
)

# One row: where the chain ends. Writers lock it, so that the chain cannot fork.
chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("recorded", Integer, ForeignKey(chain.c.sequence), nullable=False, unique=True),
    Column("changed", Integer, ForeignKey(chain.c.sequence), nullable=False),
    Index(None, "model", "recorded"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("created", UTCDateTime, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "model", "created"),
)

quarantines = Table(
    "quarantines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("window_start", UTCDateTime, nullable=False),
    Column("window_end", UTCDateTime, nullable=False),
    Column("decision_id", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("model", "window_start", "window_end", "decision_id"),
)

# What the predictions of a checked window looked like; longer windows are merged from these.
profiles = Table(
    "profiles",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),  # on whose reference it was counted
    Column("window_start", UTCDateTime, primary_key=True),
    Column("window_end", UTCDateTime, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("process", String(64), primary_key=True),
    Column("at", UTCDateTime, nullable=False),
)


def create_all(connection: Connection) -> None:
    """Make the tables in an empty database that nobody will ever migrate."""
    metadata.create_all(connection)
    connection.execute(chain_head.insert().values(id=1, sequence=0, digest=GENESIS))
