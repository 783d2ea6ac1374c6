"""A real MLflow on SQLite, one for all tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.keys import Keys
from gyroscope.model import ModelVersion
from gyroscope.registry.client import mlflow_client
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Tracker
from gyroscope.testing.mlflow_database import fresh_mlflow_database
from gyroscope.testing.worlds import tiny_bundle

_numbers = itertools.count()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def uri(workspace: Path) -> str:
    return f"sqlite:///{fresh_mlflow_database(workspace / 'mlflow.db')}"


@pytest.fixture(scope="session")
def client(workspace: Path, uri: str) -> Any:
    return mlflow_client(uri, workspace / "mlflow.lock")


@pytest.fixture
def tracker(client: Any, workspace: Path) -> Tracker:
    return Tracker(client, workspace / "artefacts")


@pytest.fixture
def registry(client: Any, workspace: Path, tmp_path: Path) -> Iterator[Registry]:
    database = workspace / "mlflow.db"
    made = Registry(client, tmp_path / "cache", Keys(tmp_path / "keys"), database=database)
    yield made
    made.close()


@pytest.fixture
def model() -> str:
    """A model name that no other test uses."""
    return f"model-{next(_numbers)}"


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return tiny_bundle(kind="trees")


@pytest.fixture
def register(
    tracker: Tracker, registry: Registry, model: str, bundle: Bundle
) -> Callable[..., ModelVersion]:
    """Registers the tiny bundle as the next version of the model."""

    def made(**tags: str) -> ModelVersion:
        manifest = msgspec.structs.replace(bundle.manifest, model=model)
        named = Bundle(
            manifest=manifest,
            contract=bundle.contract,
            scorer=bundle.scorer,
            link=bundle.link,
            reference=bundle.reference,
        )
        with tracker.run(model, "train") as run:
            return registry.register(named, run, tags)

    return made
