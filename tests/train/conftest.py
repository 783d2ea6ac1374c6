"""A real MLflow on SQLite, one for all tests."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from gyroscope.bundle.keys import Keys
from gyroscope.registry.client import mlflow_client
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Tracker
from gyroscope.testing.mlflow_database import fresh_mlflow_database

_numbers = itertools.count()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def client(workspace: Path) -> Any:
    database = fresh_mlflow_database(workspace / "mlflow.db")
    return mlflow_client(f"sqlite:///{database}", workspace / "mlflow.lock")


@pytest.fixture(scope="session")
def tracker(client: Any, workspace: Path) -> Tracker:
    return Tracker(client, workspace / "artefacts")


@pytest.fixture(scope="session")
def registry(client: Any, workspace: Path) -> Registry:
    return Registry(client, workspace / "cache", Keys(workspace / "keys"))


@pytest.fixture
def model() -> str:
    """A model name that no other test uses."""
    return f"model-{next(_numbers)}"
