"""What every test may count on: a clean environment, the same examples, the shared data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED_DATA = "GYROSCOPE_SHARED_DATA"

os.environ["MPLBACKEND"] = "Agg"
os.environ["DO_NOT_TRACK"] = "true"  # MLflow's telemetry, also where a test uses MLflow itself

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("developer", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # for a long night
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell, or left by another test, reaches a test."""
    for name in os.environ:
        if name.startswith(("GYROSCOPE_", "MLFLOW_")) and name != SHARED_DATA:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public data sets; tests that need it are skipped without it."""
    folder = Path(os.environ.get(SHARED_DATA, ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; name the one with the data sets in {SHARED_DATA}")
    return folder
