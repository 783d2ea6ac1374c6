"""The hash chain: whatever is done to it behind the store's back is found and named."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gyroscope.decisions import Status
from gyroscope.errors import GyroscopeError
from gyroscope.store.chain import Link
from gyroscope.store.sql import SQLStore
from gyroscope.store.tables import GENESIS
from gyroscope.testing.store import NOON, decision

Tamper = Callable[[str], None]


@pytest.fixture
def store(store: SQLStore) -> SQLStore:
    """Links 1 to 3 record decisions a, b, c; link 4 carries out a; link 5 carries out c."""
    for name in "abc":
        store.record(decision(name))
    store.advance("a", Status.DECIDED, Status.DONE, "alias champion is version 4")
    store.advance("c", Status.DECIDED, Status.FAILED, "the registry is down")
    assert store.verify_chain() == 5
    return store


@pytest.fixture
def tamper(store: SQLStore, path: Path) -> Tamper:
    """Runs SQL on the database by other means than the store."""

    def run(script: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    return run


def broken(store: SQLStore) -> str:
    """What the store says is broken."""
    with pytest.raises(GyroscopeError) as raised:
        store.verify_chain()
    match = re.fullmatch(
        r"the chain of decisions is broken: (.+)\. Somebody changed the control store by other "
        r"means than Gyroscope; compare it with a backup",
        str(raised.value),
    )
    assert match is not None, str(raised.value)
    return match[1]


class TestAlteration:
    @pytest.mark.parametrize(
        "change",
        [
            "at = '2026-03-01 12:00:00.000001'",
            "status = 'undone'",
            "note = 'alias champion is version 5'",
            "body = ''",
            f"previous = '{GENESIS}'",
            f"digest = '{'f' * 64}'",
            "decision_id = 'z'",
        ],
    )
    def test_any_column_of_a_link(self, store: SQLStore, tamper: Tamper, change: str) -> None:
        link = 3 if change.startswith("body") else 4
        tamper(f"UPDATE chain SET {change} WHERE sequence = {link}")
        assert broken(store).startswith(f"link {link} (decision ")
        assert broken(store).endswith("was altered")

    def test_a_link_rewritten_with_a_fitting_digest(self, store: SQLStore, tamper: Tamper) -> None:
        link = Link(sequence=2, at=NOON, decision_id="b", status="decided", previous=GENESIS)
        tamper(
            "UPDATE chain SET at = '2026-03-01 12:00:00.000000', body = '', "
            f"previous = '{GENESIS}', digest = '{link.digest}' WHERE sequence = 2"
        )
        assert broken(store) == "link 2 (decision b, decided) does not follow the link before it"

    @pytest.mark.parametrize(
        "change", ["status = 'decided'", "model = 'fraud'", "recorded = 4", "changed = 1"]
    )
    def test_the_table_of_decisions(self, store: SQLStore, tamper: Tamper, change: str) -> None:
        tamper(f"UPDATE decisions SET {change} WHERE id = 'a'")
        assert broken(store).startswith("decision a is on record as ")
        assert broken(store).endswith(
            "by the chain it is done, of model churn, recorded by link 1, last changed by link 4"
        )


class TestRemoval:
    @pytest.mark.parametrize("link", [1, 2, 4])
    def test_of_a_link_in_the_middle(self, store: SQLStore, tamper: Tamper, link: int) -> None:
        tamper(f"DELETE FROM chain WHERE sequence = {link}")
        assert broken(store) == f"link {link} is missing"

    def test_of_the_tail(self, store: SQLStore, tamper: Tamper) -> None:
        tamper("DELETE FROM chain WHERE sequence > 3")
        assert broken(store) == (
            "it ends at link 3, its head says link 5: the last links were removed or replaced"
        )

    def test_of_the_tail_with_the_head_set_back(self, store: SQLStore, tamper: Tamper) -> None:
        tamper(
            "DELETE FROM chain WHERE sequence > 4;"
            "UPDATE chain_head SET sequence = 4, "
            "digest = (SELECT digest FROM chain WHERE sequence = 4)"
        )
        assert broken(store).startswith("decision c is on record as failed")

    def test_of_every_link(self, store: SQLStore, tamper: Tamper) -> None:
        tamper(f"DELETE FROM chain; UPDATE chain_head SET sequence = 0, digest = '{GENESIS}'")
        assert broken(store).endswith("is on record, but its links were removed")

    def test_of_a_decision_on_record(self, store: SQLStore, tamper: Tamper) -> None:
        tamper("DELETE FROM decisions WHERE id = 'b'")
        assert broken(store) == "decision b is no longer among the decisions on record"


def test_reordered_links_are_found(store: SQLStore, tamper: Tamper) -> None:
    tamper(
        "UPDATE chain SET sequence = 99 WHERE sequence = 1;"
        "UPDATE chain SET sequence = 1 WHERE sequence = 2;"
        "UPDATE chain SET sequence = 2 WHERE sequence = 99"
    )
    assert broken(store) == "link 1 (decision b, decided) was altered"


def test_the_digest_of_a_link_is_what_it_has_always_been() -> None:
    link = Link(sequence=1, at=NOON, decision_id="a", status="decided", body="{}", previous=GENESIS)
    text = f'[1,"2026-03-01T12:00:00.000000+00:00","a","decided","","{{}}","{GENESIS}"]'
    assert link.digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_shown_with_a_decision_is_that_of_its_last_link(
    store: SQLStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((digest,),) = connection.execute("SELECT digest FROM chain WHERE sequence = 4")
    assert store.decision("a").digest == digest
