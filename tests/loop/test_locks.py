from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from gyroscope.errors import GyroscopeError
from gyroscope.loop.locks import holder, locked

HOLDER = """
import signal, sys
from pathlib import Path
from gyroscope.loop.locks import locked
with locked(Path(sys.argv[1]), wait_s=0, doing="testing"):
    print("locked", flush=True)
    signal.pause()
"""


def test_a_lock_is_held_by_one_and_given_back_with_the_block(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "churn.lock"
    for _ in range(2):
        with (
            locked(path, wait_s=0, doing="acting on model churn"),
            pytest.raises(GyroscopeError) as refused,
            locked(path, wait_s=0.05, doing="acting on model churn"),
        ):
            pass
    assert str(refused.value) == (
        f"process {os.getpid()} is acting on model churn already; wait for it, or stop it first"
    )


def test_an_error_in_the_block_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), locked(path, wait_s=0, doing="testing"):
        _ = 1 / 0
    with locked(path, wait_s=0, doing="testing"):
        pass


def test_the_lock_of_a_file_that_was_removed_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock = fcntl.flock
    removed = iter([path, path])

    def removed_before(file: TextIO, operation: int) -> None:
        for one in removed:
            one.unlink()
            break
        flock(file, operation)

    monkeypatch.setattr("gyroscope.loop.locks.fcntl.flock", removed_before)
    with locked(path, wait_s=0, doing="testing"):
        assert holder(path) == os.getpid()
        with (
            pytest.raises(GyroscopeError, match="is testing already"),
            locked(path, wait_s=0, doing="testing"),
        ):
            pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(GyroscopeError, match=f"process {process.pid} is testing"),
            locked(path, wait_s=0, doing="testing"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    with locked(path, wait_s=5, doing="testing"):
        assert path.read_text() == f"{os.getpid()}\n"
