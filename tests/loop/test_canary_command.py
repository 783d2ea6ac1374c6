"""``gyro canary``, and what other commands say of a canary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gyroscope.app import Workspace
from gyroscope.cli.commands import app
from gyroscope.errors import GyroscopeError
from gyroscope.loop.manual import start_canary
from gyroscope.testing.small_workspace import MODEL, inline_world, register, serve, small_workspace
from gyroscope.testing.worlds import CALM, tiny_bundle
from gyroscope.web.report import render_report


@pytest.fixture(scope="module")
def two_versions(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose champion is version 1, and there is a version 2 that is much worse."""
    folder = tmp_path_factory.mktemp("canary") / "workspace"
    shutil.copytree(template, folder)
    space = small_workspace(folder)
    register(inline_world(space), tiny_bundle(noise=3.0))
    space.close()
    return folder


@pytest.fixture
def space(two_versions: Path, tmp_path: Path) -> Iterator[Workspace]:
    folder = tmp_path / "workspace"
    shutil.copytree(two_versions, folder)
    workspace = Workspace(folder)
    yield workspace
    workspace.close()


def run(space: Workspace, *arguments: str) -> Result:
    where = ("--workspace", str(space.config.root))
    return CliRunner().invoke(app, [*arguments, *where], env={"COLUMNS": "300"})


def told(space: Workspace, *arguments: str) -> Any:
    """What a command prints for programs."""
    result = run(space, *arguments, "--json")
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def words(space: Workspace, *arguments: str) -> str:
    """What a command prints for people, its lines joined."""
    result = run(space, *arguments)
    assert result.exit_code == 0, result.exception
    return " ".join(result.stdout.split())


def test_a_canary_is_put_up_shown_and_taken_down(space: Workspace) -> None:
    begun = told(space, "canary", MODEL, "2")["decision"]
    assert (begun["action"], begun["version"], begun["percent"]) == ("canary", 2, 10)
    assert told(space, "canary", MODEL, "2", "--percent", "2.5")["status"] == "done"
    assert told(space, "status")["canaries"][MODEL]["percent"] == 2.5
    assert "version 1, 2.5 %: version 2" in words(space, "status")
    assert "canary (2.5 %)" in words(space, "versions")
    assert "canary (2.5 %)" in render_report(space, MODEL)
    assert told(space, "canary", "--off")["decision"]["action"] == "end canary"
    assert told(space, "status")["canaries"] == {MODEL: None}
    assert "canary" not in words(space, "versions")
    assert words(space, "canary") == (
        f"{MODEL} has no canary; begin one with: gyro canary {MODEL} VERSION --percent 10"
    )
    assert told(space, "canary") == {"model": MODEL, "canary": None, "comparison": None}


def test_without_a_version_the_canary_is_compared_with_the_champion(space: Workspace) -> None:
    world = inline_world(space)
    start_canary(world, MODEL, 2, 50, actor="somebody", reason="try it")
    serve(world, CALM.events(0, 5))
    said = words(space, "canary")
    assert f"Version 2 serves 50 % of {MODEL} beside version 1 since" in said
    assert "the canary is surely worse" in said
    compared = told(space, "canary", MODEL)
    assert (compared["canary"]["version"], compared["canary"]["percent"]) == (2, 50)
    assert compared["comparison"]["verdict"] == "alarm"
    low, value = compared["comparison"]["interval"]["low"], compared["comparison"]["value"]
    assert 0 < low < value


REFUSALS = [
    (("2", "--percent", "101"), "must lie in 0 to 100 percent, got 101"),
    (("2", "--percent", "-1"), "must lie in 0 to 100 percent, got -1"),
    (("2", "--percent", "nan"), "must lie in 0 to 100 percent, got nan"),
    (("9",), "has no version 9"),
    (("1",), "version 1 of churn is champion: it serves everything"),
    (("--off",), "model churn has no canary"),
    (("2", "--off"), "give a version, with --percent, or --off"),
    (("--percent", "10"), "give a version, with --percent, or --off"),
]


def test_what_makes_no_sense_is_refused_and_leaves_no_trace(space: Workspace) -> None:
    before = space.store.decisions(MODEL)
    for arguments, message in REFUSALS:
        result = run(space, "canary", MODEL, *arguments)
        assert isinstance(result.exception, GyroscopeError), arguments
        assert message in str(result.exception)
    assert space.store.decisions(MODEL) == before


def test_without_a_champion_there_is_no_canary(space: Workspace) -> None:
    space.registry.remove_alias(MODEL, "champion")
    result = run(space, "canary", MODEL, "2")
    assert isinstance(result.exception, GyroscopeError)
    assert "has no champion yet; run: gyro train churn" in str(result.exception)
