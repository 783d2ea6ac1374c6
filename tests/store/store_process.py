"""A process that uses a store in the tests, at the same time as others or until it is killed."""

from __future__ import annotations

import itertools
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from gyroscope.decisions import Status
from gyroscope.errors import ConflictError
from gyroscope.store.sql import SQLStore, open_store
from gyroscope.testing.store import decision


def add_one(store: SQLStore) -> None:
    """Add one to a counter by compare-and-set."""
    while True:
        before = store.care("churn")
        try:
            after = msgspec.structs.replace(before, failures=before.failures + 1)
            return store.save_care(before, after)
        except ConflictError:
            continue


def record(store: SQLStore, name: str) -> None:
    """Record a decision, carry it out, and only then say so."""
    store.record(decision(name))
    store.advance(name, Status.DECIDED, Status.DONE)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()


def main() -> None:
    deed, path, name, times = sys.argv[1:]
    sys.stdin.readline()  # all start together
    with closing(open_store(Path(path))) as store:
        for number in range(int(times)) if int(times) >= 0 else itertools.count():
            if deed == "add":
                add_one(store)
            else:
                record(store, f"{name}-{number}")


if __name__ == "__main__":
    main()
