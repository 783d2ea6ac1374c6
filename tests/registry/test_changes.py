from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gyroscope.registry.changes import DatabaseChanges


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a database?.db"  # such a name must be quoted in a URI


@pytest.fixture(params=["delete", "wal"])
def writer(path: Path, request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
        connection.execute("CREATE TABLE rows (x)")
        connection.commit()
        yield connection


def test_each_commit_is_seen_once(path: Path, writer: sqlite3.Connection) -> None:
    with closing(DatabaseChanges(path)) as changes:
        assert changes.any()
        assert not changes.any()
        writer.execute("INSERT INTO rows VALUES (1)")
        assert not changes.any()
        writer.commit()
        assert changes.any()
        assert not changes.any()


def test_while_there_is_no_database_anything_may_have_changed(path: Path) -> None:
    with closing(DatabaseChanges(path)) as changes:
        assert changes.any()
        assert changes.any()


def test_a_database_that_was_put_in_the_place_of_another_is_looked_at(
    path: Path, tmp_path: Path, writer: sqlite3.Connection
) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(copy)) as other:
        other.execute("CREATE TABLE rows (x)")
        other.commit()
    with closing(DatabaseChanges(path)) as changes:
        assert changes.any()
        assert not changes.any()
        copy.rename(path)
        assert changes.any()
        assert not changes.any()
        with closing(sqlite3.connect(path)) as other:
            other.execute("INSERT INTO rows VALUES (1)")
            other.commit()
        assert changes.any()
