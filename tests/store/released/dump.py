"""Write a store of the present schema, with one of everything in it, as SQL.

Run before a release that has a new schema:
    python tests/store/released/dump.py > tests/store/released/schema_0002.sql
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from gyroscope.decisions import Care, Detector, Status
from gyroscope.store.base import Quarantine
from gyroscope.store.sql import open_store
from gyroscope.testing.store import day, decision, finding, job


def fill(path: Path) -> None:
    """Put one of everything into the store at ``path``."""
    with closing(open_store(path)) as store:
        detector = Detector(log_value=float("-inf"))
        store.save_care(Care(model="churn"), Care(model="churn", champion=4, detector=detector))
        store.add_findings("churn", day(0), [finding("age"), finding("plan")])
        store.save_profile("churn", 4, day(0), b"\x00profile")
        store.record(decision("p-1"))
        store.record(decision("p-2"))
        store.advance("p-1", Status.DECIDED, Status.DONE, "alias champion is version 4")
        store.save_job(job("j-1"))
        store.add_quarantine(
            Quarantine(model="churn", window=day(0), reason="age in months", decision_id="q-1")
        )
        store.beat("pilot")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "control.db")
        fill(path)
        with closing(sqlite3.connect(path)) as connection:
            sys.stdout.writelines(f"{line}\n" for line in connection.iterdump())


if __name__ == "__main__":
    main()
