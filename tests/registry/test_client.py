from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gyroscope.registry.client import mlflow_client
from gyroscope.testing.mlflow_database import fresh_mlflow_database

OPEN = """
import sys
from pathlib import Path
from gyroscope.registry.client import mlflow_client
folder = Path(sys.argv[1])
client = mlflow_client(f"sqlite:///{folder / 'mlflow.db'}", folder / "deep" / "mlflow.lock")
client.create_experiment(sys.argv[2])
print(len(client.search_experiments()) >= 2)
"""


@pytest.mark.slow
def test_two_processes_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert out.strip() == "True"
        assert err == ""


def test_a_database_that_is_there_already_is_used(tmp_path: Path) -> None:
    uri = f"sqlite:///{fresh_mlflow_database(tmp_path / 'mlflow.db')}"
    first = mlflow_client(uri, tmp_path / "mlflow.lock")
    made = first.create_experiment("churn")
    again = mlflow_client(uri, tmp_path / "mlflow.lock")
    assert again.get_experiment_by_name("churn").experiment_id == made


def test_nothing_is_sent_to_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    uri = f"sqlite:///{fresh_mlflow_database(tmp_path / 'mlflow.db')}"
    mlflow_client(uri, tmp_path / "mlflow.lock")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"
