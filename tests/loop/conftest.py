"""A small workspace, made once and copied for each test: version 1 knows the calm world."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gyroscope.app import Workspace
from gyroscope.loop.manual import promote
from gyroscope.loop.world import World
from gyroscope.testing.mlflow_database import fresh_mlflow_database
from gyroscope.testing.small_workspace import MODEL, inline_world, register, small_workspace
from gyroscope.testing.worlds import tiny_bundle


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that workspaces are copied from; bundles and runs stay in there."""
    folder = tmp_path_factory.mktemp("template") / "workspace"
    space = small_workspace(folder)
    fresh_mlflow_database(space.state / "mlflow.db")
    world = inline_world(space)
    promote(world, MODEL, register(world, tiny_bundle()), actor="test", reason="the first")
    space.close()
    return folder


@pytest.fixture
def make_world(template: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes a world whose model has these settings, always over the same copy of the template."""
    spaces: list[Workspace] = []

    def make(**settings: Any) -> World:
        folder = tmp_path / "workspace"
        if not folder.exists():
            shutil.copytree(template, folder)
        spaces.append(small_workspace(folder, **settings))
        return inline_world(spaces[-1])

    yield make
    for space in spaces:
        space.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world with the usual settings."""
    return make_world()
