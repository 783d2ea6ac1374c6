"""Fresh MLflow databases for tests: making the tables takes seconds, copying them does not."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path


def fresh_mlflow_database(path: Path) -> Path:
    """Put an MLflow database without any run at ``path``; the first of a process takes seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    return path


@cache
def _empty() -> bytes:
    from gyroscope.registry.client import mlflow_client

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mlflow.db")
        mlflow_client(f"sqlite:///{file}", Path(folder, "lock"))
        return file.read_bytes()
