"""The SQL store: the contract on a file and in memory, several processes, sudden death."""

from __future__ import annotations

import ast
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_mock_engine
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.schema import ExecutableDDLElement

from gyroscope.decisions import Care, Status
from gyroscope.errors import ConflictError, GyroscopeError
from gyroscope.findings import Window
from gyroscope.store import chain, tables
from gyroscope.store.base import Store
from gyroscope.store.sql import SQLStore, open_store
from gyroscope.testing.store import NOON, StoreContract, day, decision, finding

if TYPE_CHECKING:
    from tests.store.conftest import Spawn


def go(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Let processes that wait for a line begin, all at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


class TestFileContract(StoreContract):
    @pytest.fixture
    def store(self, path: Path) -> Store:
        return open_store(path)


class TestMemoryContract(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return SQLStore("sqlite://")


class TestProcesses:
    def test_two_processes_that_change_one_state_lose_no_change(
        self, spawn: Spawn, path: Path
    ) -> None:
        both = [spawn("add", name, 50) for name in "ab"]
        assert [process.wait() for process in go(both)] == [0, 0]
        with closing(open_store(path)) as store:
            assert store.care("churn").failures == 100

    def test_two_processes_that_record_make_one_chain(self, spawn: Spawn, path: Path) -> None:
        both = [spawn("record", name, 50) for name in "ab"]
        assert [process.wait() for process in go(both)] == [0, 0]
        with closing(open_store(path)) as store:
            assert store.verify_chain() == 200
            assert len(store.decisions(statuses=[Status.DONE])) == 100

    @pytest.mark.parametrize("kill_after", [1, 7, 40])
    def test_kill_9_loses_nothing_that_was_acknowledged_and_leaves_the_chain_whole(
        self, spawn: Spawn, store: SQLStore, kill_after: int
    ) -> None:
        (process,) = go([spawn("record", "c", -1)])
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(kill_after)]
        process.kill()
        acknowledged += process.stdout.readlines()
        for line in acknowledged:
            if line.endswith("\n"):
                assert store.decision(line.strip()).status is Status.DONE
        assert store.verify_chain() >= 2 * kill_after
        store.record(decision("after"))
        store.verify_chain()


class TestCareAcrossReleases:
    def test_a_state_saved_before_a_field_was_added_can_still_be_replaced(
        self, store: SQLStore
    ) -> None:
        with store.engine.begin() as connection:
            body = '{"model":"churn","champion":3,"a field since dropped":1}'
            connection.execute(tables.care.insert().values(model="churn", body=body))
        store.save_care(Care(model="churn", champion=3), Care(model="churn", champion=4))
        assert store.care("churn") == Care(model="churn", champion=4)

    def test_a_state_cannot_be_replaced_by_that_of_another_model(self, store: SQLStore) -> None:
        with pytest.raises(ConflictError, match="the state of model churn"):
            store.save_care(Care(model="churn"), Care(model="fraud"))


class TestTimes:
    def test_changes_carry_the_time_of_the_clock_given(self) -> None:
        with closing(SQLStore("sqlite://", clock=lambda: NOON)) as store:
            assert store.record(decision("p-1", at=day(9).start)).updated == NOON
            assert store.advance("p-1", Status.DECIDED, Status.DONE).updated == NOON
            store.beat("pilot")
            assert store.heartbeats() == {"pilot": NOON}

    def test_a_time_without_zone_is_refused(self) -> None:
        naive = datetime(2026, 3, 1)  # noqa: DTZ001
        with (
            closing(SQLStore("sqlite://")) as store,
            pytest.raises(GyroscopeError, match="with a time zone only, given 2026-03-01"),
        ):
            store.findings("churn", since=naive)


class TestTroubles:
    def test_a_store_that_cannot_be_used_now_says_which(self, store: SQLStore, path: Path) -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE heartbeats")
        with pytest.raises(GyroscopeError, match=f"control store sqlite:///{path} cannot be used"):
            store.beat("pilot")

    def test_what_fails_halfway_leaves_nothing_behind(self, store: SQLStore) -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE decisions RENAME TO elsewhere")
        with pytest.raises(GyroscopeError):
            store.record(decision("p-1"))
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO decisions")
        assert store.verify_chain() == 0

    def test_commits_survive_a_power_loss(self, store: SQLStore) -> None:
        with store.engine.connect() as connection:
            full = 2
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


class TestLightness:
    def test_opening_and_reading_a_store_imports_no_heavy_library(
        self, store: SQLStore, path: Path
    ) -> None:
        store.record(decision("p-1"))
        program = (
            "import sys; from pathlib import Path; from gyroscope.store.sql import open_store\n"
            f"assert len(open_store(Path({str(path)!r})).decisions()) == 1\n"
            "print(sorted(set(sys.modules) & {'alembic', 'mlflow', 'pandas', 'numpy', 'scipy'}))"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert ast.literal_eval(run.stdout.decode()) == []


class TestPostgreSQL:
    """What can be said without a server: the SQL that it would be sent."""

    @pytest.fixture
    def sent(self) -> list[str]:
        return []

    @pytest.fixture
    def server(self, sent: list[str]) -> MockConnection:
        def send(sql: ExecutableDDLElement, *_: object, **__: object) -> None:
            sent.append(str(sql.compile(dialect=server.dialect)))

        server = create_mock_engine("postgresql://", send)
        return server

    def test_the_tables_keep_times_with_their_zone(
        self, server: MockConnection, sent: list[str]
    ) -> None:
        tables.metadata.create_all(server, checkfirst=False)
        columns = [line for sql in sent for line in sql.splitlines() if "TIMESTAMP" in line]
        assert len(columns) == 9
        assert all("TIMESTAMP WITH TIME ZONE" in line for line in columns)

    def test_writers_of_the_chain_wait_for_each_other(self, server: MockConnection) -> None:
        assert str(chain.HEAD.compile(dialect=server.dialect)).endswith("FOR UPDATE")


def test_findings_of_a_window_with_microseconds_keep_them(store: SQLStore) -> None:
    end = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    store.add_findings("churn", Window(NOON, end), [finding()])
    assert len(store.findings("churn", since=NOON)) == 1
    assert store.findings("churn", since=end) == []
