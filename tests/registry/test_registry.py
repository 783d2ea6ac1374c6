from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gyroscope.bundle.bundle import Bundle, read_bundle
from gyroscope.bundle.keys import Keys
from gyroscope.errors import NotFoundError
from gyroscope.model import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion
from gyroscope.registry.client import mlflow_client
from gyroscope.registry.registry import Registry
from gyroscope.testing.worlds import CALM

Register = Callable[..., ModelVersion]


def test_versions_are_numbered_in_order_of_registration(
    registry: Registry, register: Register, model: str
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = [register(purpose=purpose) for purpose in ("train", "retrain")]
    assert [version.version for version in made] == [1, 2]
    assert registry.versions(model) == made
    assert [v.tags for v in made] == [{"purpose": "train"}, {"purpose": "retrain"}]
    assert made[0].model == model
    assert before <= made[0].created <= made[1].created <= datetime.now(UTC)
    assert made[0].run_id != made[1].run_id


def test_a_registered_bundle_is_signed_and_names_its_run(
    registry: Registry, register: Callable[..., ModelVersion], model: str, tmp_path: Path
) -> None:
    version = register()
    trusted = Keys(tmp_path / "keys").trusted()
    verified = read_bundle(registry.bundle_folder(model, 1), trusted=trusted)
    assert verified.signature is not None
    assert verified.signature.run == version.run_id


def test_a_bundle_is_on_the_disk_before_its_version_is_made(
    client: Any,
    registry: Registry,
    register: Register,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced, synced_before = set[int](), set[int]()
    sync, make = os.fsync, client.create_model_version

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def made(*given: Any, **named: Any) -> Any:
        synced_before.update(synced)
        return make(*given, **named)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(client, "create_model_version", made)
    register()
    folder = registry.bundle_folder(model, 1)
    files = [folder, *folder.iterdir(), *folder.parents[:5]]  # down from the folder of artefacts
    assert {path.name for path in files if path.stat().st_ino not in synced_before} == set()


def test_a_model_nobody_registered_has_no_versions_and_no_aliases(registry: Registry) -> None:
    assert registry.versions("nobody") == []
    assert registry.aliases("nobody") == {}
    assert registry.holder("nobody", CHAMPION) is None
    registry.remove_alias("nobody", CHAMPION)


def test_an_alias_names_one_version_until_it_moves(
    registry: Registry, register: Register, model: str
) -> None:
    register()
    register()
    assert registry.holder(model, CHAMPION) is None
    for version in (1, 2, 1):
        registry.set_alias(model, CHAMPION, version)
        holder = registry.holder(model, CHAMPION)
        assert holder is not None
        assert (holder.version, holder.aliases) == (version, (CHAMPION,))
    registry.set_alias(model, CHALLENGER, 2)
    registry.set_alias(model, PREVIOUS, 2)
    assert registry.aliases(model) == {CHAMPION: 1, CHALLENGER: 2, PREVIOUS: 2}
    assert [v.aliases for v in registry.versions(model)] == [(CHAMPION,), (CHALLENGER, PREVIOUS)]
    assert registry.version(model, 2).aliases == (CHALLENGER, PREVIOUS)


def test_aliases_are_read_again_when_and_only_when_somebody_has_written(  # noqa: PLR0917
    registry: Registry,
    register: Register,
    model: str,
    uri: str,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    register()
    registry.set_alias(model, CHAMPION, 1)
    asked = list[str]()
    read = registry._aliases_now  # each call is a question to MLflow

    def counted(model: str) -> dict[str, int]:
        asked.append(model)
        return read(model)

    monkeypatch.setattr(registry, "_aliases_now", counted)
    mine = registry.aliases(model)
    assert mine == registry.aliases(model) == {CHAMPION: 1}
    mine[CHAMPION] = 7  # the caller's own
    assert registry.aliases(model) == {CHAMPION: 1}
    assert asked == [model]
    other = mlflow_client(uri, workspace / "mlflow.lock")
    other.set_registered_model_alias(model, CHAMPION, "2")
    assert registry.aliases(model) == {CHAMPION: 2}
    assert asked == [model, model]


def test_an_alias_may_be_removed_also_twice(
    registry: Registry, register: Register, model: str
) -> None:
    register()
    registry.set_alias(model, CHALLENGER, 1)
    registry.remove_alias(model, CHALLENGER)
    registry.remove_alias(model, CHALLENGER)
    assert registry.holder(model, CHALLENGER) is None


def test_a_version_that_does_not_exist_says_where_to_look(
    registry: Registry, register: Register, model: str
) -> None:
    register()
    message = f"model {model} has no version 7; see: gyro versions {model}"
    for ask in (
        lambda: registry.version(model, 7),
        lambda: registry.set_alias(model, CHAMPION, 7),
        lambda: registry.bundle_folder(model, 7),
    ):
        with pytest.raises(NotFoundError) as caught:
            ask()
        assert str(caught.value) == message
    with pytest.raises(NotFoundError, match="model nobody has no version 1"):
        registry.set_alias("nobody", CHAMPION, 1)


def test_the_bundle_of_a_version_is_loaded_from_its_folder(
    registry: Registry, register: Register, model: str, bundle: Bundle
) -> None:
    register()
    loaded = Bundle.load(registry.bundle_folder(model, 1))
    X = bundle.encoder.encode_rows([event.row for event in CALM.events(0, 1)])
    assert loaded.probabilities(X).tobytes() == bundle.probabilities(X).tobytes()
    assert loaded.manifest.model == model


def test_a_bundle_whose_artefacts_are_gone_is_not_found(
    registry: Registry, register: Register, model: str
) -> None:
    register()
    folder = registry.bundle_folder(model, 1)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(NotFoundError, match=f"the bundle of {model} version 1 is not in {folder}"):
        registry.bundle_folder(model, 1)


class RemoteClient:
    """The client of a server that keeps artefacts elsewhere: paths are no longer local."""

    tracking_uri = "sqlite://"

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_model_version_download_uri(self, model: str, version: str) -> str:
        found: str = self._client.get_model_version_download_uri(model, version)
        return found.replace("file://", "remote://")


def test_a_bundle_kept_elsewhere_is_fetched_once_and_whole(
    client: Any,
    register: Register,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow.artifacts

    real = mlflow.artifacts.download_artifacts
    fetched: list[str] = []

    def download(source: str, *, dst_path: str, tracking_uri: str) -> str:
        fetched.append(source)
        Path(dst_path, "bundle").mkdir()
        if len(fetched) == 1:
            raise OSError("the line is dead")
        found: str = real(source.replace("remote://", "file://"), dst_path=dst_path)
        return found

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    register()
    remote = Registry(RemoteClient(client), tmp_path / "cache", Keys(tmp_path / "keys"))
    with pytest.raises(OSError, match="the line is dead"):
        remote.bundle_folder(model, 1)
    for _ in range(2):
        folder = remote.bundle_folder(model, 1)
        assert Bundle.load(folder).manifest.model == model
        assert folder.is_relative_to(tmp_path / "cache" / model / "1")
    assert len(fetched) == 2
    assert [path.name for path in (tmp_path / "cache" / model).iterdir()] == ["1"]
