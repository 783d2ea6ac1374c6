"""Connections to the database: the only place that knows one database from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Insert,
    QueuePool,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY_TIMEOUT_S = 30.0  # how long a SQLite writer waits for the one before it


def make_engine(url: str | URL) -> Engine:
    """An engine whose transactions are the database's own.

    On SQLite, connections made with the execution option ``writes`` take the write lock when the
    transaction begins: a transaction that reads first and writes later could otherwise find, too
    late to wait, that another process has written in between.
    """
    url = make_url(url)
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if is_in_memory(url):
        # The database lives in its connection: keep one, and let threads take turns.
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        options["connect_args"]["check_same_thread"] = False
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def is_in_memory(url: URL) -> bool:
    """Whether the URL names a SQLite database that no other process can see."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def use_write_ahead_log(engine: Engine) -> None:
    """Let readers go on while one writes. SQLite remembers this in its file."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def insert_missing(connection: Connection, table: Table) -> Insert:
    """An INSERT that passes over rows which a unique constraint says are there already."""
    return _insert(connection, table).on_conflict_do_nothing()


def insert_or_update(
    connection: Connection, table: Table, key: Sequence[Column[Any]], row: dict[str, Any]
) -> Insert:
    """An INSERT of ``row`` that replaces the row with the same ``key``."""
    insert = _insert(connection, table).values(row)
    return insert.on_conflict_do_update(index_elements=key, set_=row)


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    return sqlite.insert(table)


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _begin
    # FULL, not NORMAL. In WAL mode both survive kill -9, but NORMAL may lose the last commits at a
    # power loss: an alias could have moved while the decision to move it is gone. Writes are few.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
