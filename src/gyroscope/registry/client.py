"""One way to reach MLflow, quiet and without telemetry."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any


def mlflow_client(uri: str, lock: Path) -> Any:
    """An ``MlflowClient`` for the tracking server or database at ``uri``.

    The first client of a fresh SQLite database creates its tables; ``lock`` is a file that keeps
    two processes from doing so at once.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client
