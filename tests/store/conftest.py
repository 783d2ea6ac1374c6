"""A store in a file, and processes that use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gyroscope.store.sql import SQLStore, open_store

PROCESS = Path(__file__).with_name("store_process.py")

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLStore]:
    made = open_store(path)
    yield made
    made.close()


@pytest.fixture
def spawn(path: Path) -> Iterator[Spawn]:
    """Starts a process that waits for a line, then does one deed so many times."""
    processes: list[subprocess.Popen[str]] = []

    def start(deed: str, name: str, times: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROCESS), deed, str(path), name, str(times)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
