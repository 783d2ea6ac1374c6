from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.deployment import Deployment
from gyroscope.errors import NotFoundError
from gyroscope.model import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion
from gyroscope.registry.publisher import Publisher
from gyroscope.registry.registry import Registry

Register = Callable[..., ModelVersion]


@pytest.fixture
def publisher(registry: Registry, tmp_path: Path) -> Publisher:
    return Publisher(registry, tmp_path / "serving")


@pytest.fixture
def deployment(model: str, tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "serving" / model)


def served(deployment: Deployment) -> tuple[int, int | None]:
    """The versions that servers see."""
    read = deployment.read()
    assert read is not None
    return read.champion.version, None if read.previous is None else read.previous.version


def test_nothing_is_published_while_there_is_no_champion(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    assert not publisher.publish(model)
    register()
    registry.set_alias(model, CHALLENGER, 1)
    assert not publisher.publish(model)
    assert deployment.read() is None


def test_the_file_is_written_when_and_only_when_an_alias_has_moved(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    register()
    registry.set_alias(model, CHAMPION, 1)
    assert publisher.publish(model)
    assert served(deployment) == (1, None)
    written = deployment.path.stat()
    assert not publisher.publish(model)
    assert deployment.path.stat().st_ino == written.st_ino
    registry.set_alias(model, CHALLENGER, 2)
    assert publisher.publish(model)
    versions = deployment.read()
    assert versions is not None
    assert versions.challenger is not None
    assert versions.challenger.version == 2
    registry.set_alias(model, PREVIOUS, 1)
    registry.set_alias(model, CHAMPION, 2)
    assert publisher.publish(model)
    assert served(deployment) == (2, 1)
    registry.remove_alias(model, PREVIOUS)
    assert publisher.publish(model)
    assert not publisher.publish(model)
    assert served(deployment) == (2, None)


def test_what_is_published_can_be_loaded(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    registry.set_alias(model, CHAMPION, 1)
    publisher.publish(model)
    read = deployment.read()
    assert read is not None
    champion = read.champion
    assert Bundle.load(Path(champion.bundle)).manifest.model == champion.model == model


def test_servers_keep_what_they_have_when_the_champion_is_taken_away(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    registry.set_alias(model, CHAMPION, 1)
    publisher.publish(model)
    registry.remove_alias(model, CHAMPION)
    assert not publisher.publish(model)
    assert served(deployment) == (1, None)


def test_a_damaged_file_is_written_anew(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    registry.set_alias(model, CHAMPION, 1)
    publisher.publish(model)
    deployment.path.write_bytes(b"{")
    assert publisher.publish(model)
    assert served(deployment) == (1, None)


def test_a_champion_without_its_bundle_is_not_published(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    registry.set_alias(model, CHAMPION, 1)
    folder = registry.bundle_folder(model, 1)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(NotFoundError, match=f"the bundle of {model} version 1"):
        publisher.publish(model)
    assert deployment.read() is None


def test_a_champion_is_published_though_the_bundles_of_lesser_versions_are_gone(
    publisher: Publisher, registry: Registry, register: Register, model: str, deployment: Deployment
) -> None:
    register()
    register()
    registry.set_alias(model, PREVIOUS, 1)
    registry.set_alias(model, CHALLENGER, 1)
    registry.set_alias(model, CHAMPION, 2)
    folder = registry.bundle_folder(model, 1)
    folder.rename(folder.with_name("moved"))
    assert publisher.publish(model)
    assert served(deployment) == (2, None)
    assert not publisher.publish(model), "nothing has moved since"
