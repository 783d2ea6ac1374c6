"""The server does what its own description says: requests made from it, good ones and bad ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.test_server import Process


@pytest.mark.slow
def test_schemathesis_finds_nothing(state: Path, tmp_path: Path) -> None:
    process = Process(state)
    with process.client() as client:
        assert client.get("/openapi.json").status_code == 200  # the first waits for FastAPI
    command = [
        *(str(Path(sys.executable).with_name("st")), "run"),
        f"http://127.0.0.1:{process.port}/openapi.json",
        *("--seed", "26", "--max-examples", "15", "--workers", "1", "--no-color"),
        *("--phases", "examples,coverage,fuzzing", "--checks", "all"),
    ]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    finally:
        errors = process.stop(signal.SIGTERM)
    assert ran.returncode == 0, ran.stdout
    assert "failed with" not in errors
