"""The schema: made, upgraded from every released version, backed up, refused."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gyroscope.errors import GyroscopeError
from gyroscope.store import schema
from gyroscope.store.base import Quarantine
from gyroscope.store.sql import SQLStore, open_store
from gyroscope.store.tables import metadata
from gyroscope.testing.store import day, decision, finding, job

if TYPE_CHECKING:
    from tests.store.conftest import Spawn

RELEASED = sorted(Path(__file__).with_name("released").glob("*.sql"))

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("approvals", sa.Column("id", sa.Integer, primary_key=True))
    {then}
"""


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Migrations of a pretended next release; the file of the new one."""
    folder = tmp_path / "100% new" / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder)
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    path = folder / "versions" / "schema_0003_approvals.py"
    path.write_text(NEXT.format(then="pass"))
    return path


def tables_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows}


def backups_of(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.schema-*"))


class TestMaking:
    def test_the_migrations_make_the_tables_as_they_are_written_down(self, store: SQLStore) -> None:
        with store.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []

    def test_folders_on_the_way_are_made_and_a_new_store_needs_no_backup(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "a" / "b" / "control?x=%20#1.db"
        open_store(path).close()
        assert "decisions" in tables_in(path)
        assert backups_of(path) == []

    def test_processes_that_open_a_new_store_at_the_same_moment_all_succeed(
        self, spawn: Spawn, path: Path
    ) -> None:
        four: list[subprocess.Popen[str]] = [spawn("record", name, 1) for name in "abcd"]
        for process in four:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait() for process in four] == [0, 0, 0, 0]
        with closing(open_store(path)) as store:
            assert store.verify_chain() == 8

    def test_a_store_that_is_up_to_date_is_opened_without_waiting(
        self, store: SQLStore, path: Path
    ) -> None:
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            open_store(path).close()


class TestUpgrading:
    def test_every_schema_but_the_newest_has_been_released(self) -> None:
        released = [path.stem.removeprefix("schema_") for path in RELEASED]
        assert released in (schema.revisions(), schema.revisions()[:-1])

    @pytest.mark.parametrize("dump", RELEASED, ids=lambda path: path.stem)
    def test_a_store_of_every_released_schema_is_read_and_carried_on(
        self, dump: Path, path: Path
    ) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(dump.read_text())
        with closing(open_store(path)) as store:
            assert store.verify_chain() == 3
            assert store.care("churn").champion == 4
            assert store.findings("churn") == [finding("age"), finding("plan")]
            assert store.record(decision("p-1")).note == "alias champion is version 4"
            assert store.record(decision("p-2")).decision == decision("p-2")
            assert store.jobs() == [job("j-1")]
            assert store.quarantines("churn") == [
                Quarantine(model="churn", window=day(0), reason="age in months", decision_id="q-1")
            ]
            assert store.heartbeats().keys() == {"pilot"}
            store.record(decision("p-3"))
            assert store.verify_chain() == 4

    def test_an_existing_store_is_copied_before_it_is_upgraded(
        self, store: SQLStore, path: Path, request: pytest.FixtureRequest
    ) -> None:
        store.record(decision("p-1"))
        request.getfixturevalue("next_release")
        with closing(open_store(path)) as upgraded:
            assert upgraded.decision("p-1").decision == decision("p-1")
        assert "approvals" in tables_in(path)
        (backup,) = backups_of(path)
        assert backup.name.startswith("control.db.schema-0002.")
        assert backup.name.endswith("Z.backup")
        assert "approvals" not in tables_in(backup)
        with closing(SQLStore(f"sqlite:///{backup}")) as old:
            assert old.verify_chain() == 1

    def test_an_upgrade_that_fails_leaves_the_store_as_it_was(
        self, store: SQLStore, path: Path, next_release: Path
    ) -> None:
        next_release.write_text(NEXT.format(then="raise ZeroDivisionError"))
        with pytest.raises(ZeroDivisionError):
            open_store(path)
        assert "approvals" not in tables_in(path)
        assert schema.revision(store.engine) == "0002"
        next_release.write_text(NEXT.format(then="pass"))
        open_store(path).close()
        assert "approvals" in tables_in(path)


class TestRefusing:
    def test_a_store_of_a_newer_release_is_refused(self, path: Path) -> None:
        open_store(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0099'")
            connection.commit()
        with pytest.raises(
            GyroscopeError,
            match=f"{path} has schema 0099, this release knows schemas up to 0002: upgrade gyro",
        ):
            open_store(path)

    def test_a_database_of_another_program_is_left_alone(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE songs (id INTEGER)")
        with pytest.raises(GyroscopeError, match="is a database of another program"):
            open_store(path)
        assert tables_in(path) == {"songs"}

    def test_a_file_that_is_no_database_is_named(self, path: Path) -> None:
        path.write_text("age,plan\n" * 1000)
        with pytest.raises(GyroscopeError, match=f"{path} cannot be opened .* not a database"):
            open_store(path)

    def test_a_file_that_cannot_be_written_is_said_to_be_so(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text("age,plan\n" * 1000)
        monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
        with pytest.raises(GyroscopeError, match="cannot write there, or its disk is read-only"):
            open_store(path)

    def test_a_folder_in_place_of_the_file_is_named(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(GyroscopeError, match=f"{path} cannot be opened .* unable to open"):
            open_store(path)
