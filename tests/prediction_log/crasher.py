"""Does something to copies of a log and is killed before its 1st, 2nd, 3rd ... step: for tests.

A step is whatever changes a file. Usage: crasher.py FOLDER compact|erase [SUBJECT]

Makes FOLDER-0, FOLDER-1, ... with what is left when the process was killed before that step, until
it is killed no more, and prints how many there are.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gyroscope.prediction_log.compaction import compact
from gyroscope.prediction_log.erasure import complete_erasure, order_erasure

STEPS: list[tuple[Any, str]] = [
    (os, "fchmod"),
    (os, "fsync"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "rmdir"),
    (pq.ParquetWriter, "write_table"),
    (pq.ParquetWriter, "close"),
]


def killed_before(step: int, work: Callable[[], object]) -> bool:
    """Do work in a fork of this process; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        left = count(step, -1)

        def counted(deed: Callable[..., object]) -> Callable[..., object]:
            def one(*arguments: Any, **options: Any) -> object:
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return deed(*arguments, **options)

            return one

        os.fsync = lambda fd: None  # counts, and takes no time: no power fails here
        for owner, name in STEPS:
            setattr(owner, name, counted(getattr(owner, name)))
        work()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def main(folder: str, deed: str, subject: str = "") -> None:
    """Go through all steps."""
    for step in count():
        copy = Path(f"{folder}-{step}")
        shutil.copytree(folder, copy)

        def work(copy: Path = copy) -> None:
            if deed == "erase":
                order_erasure(copy, subject)
                complete_erasure(copy)
            else:
                compact(copy, part_bytes=4000)

        if not killed_before(step, work):
            break
    sys.stdout.write(f"{step + 1}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
