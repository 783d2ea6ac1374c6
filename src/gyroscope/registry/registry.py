"""Versions of models and the aliases that say which one serves."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.keys import Keys
from gyroscope.bundle.verified import MANIFEST
from gyroscope.data.contract import Contract, Role
from gyroscope.data.files import sync_tree
from gyroscope.errors import NotFoundError
from gyroscope.model import ModelVersion
from gyroscope.registry.changes import DatabaseChanges
from gyroscope.registry.tracking import Run

_LOADER = "gyroscope.registry.pyfunc"
_FOLDER = "bundle"  # of the bundle inside the MLflow model
_ABSENT = "RESOURCE_DOES_NOT_EXIST"
_NEW_FOLDERS = 4  # above the artefacts of a version: those of its run, its model and all models


class Registry:
    """The registered versions of all models of a workspace.

    If the registry is the SQLite file ``database``, aliases are read again only after it has been
    written to, by whomever: to ask MLflow takes many milliseconds.
    """

    def __init__(
        self, client: Any, cache: Path, keys: Keys, *, database: Path | None = None
    ) -> None:
        self._client, self._cache, self._keys = client, cache, keys
        self._changes = None if database is None else DatabaseChanges(database)
        self._aliases: dict[str, dict[str, int]] = {}  # as last read
        self._lock = threading.Lock()  # the pilot has two threads
        self._sources: dict[tuple[str, int], str] = {}  # of artefacts; they stay where they are

    def register(self, bundle: Bundle, run: Run, tags: Mapping[str, str]) -> ModelVersion:
        """Store a bundle, signed, with its run and make it the next version of its model.

        Where artefacts are kept on this machine they are on the disk before the version is made:
        registry and servers know of it at once, and a bundle that a power failure has emptied
        serves nobody.
        """
        name = bundle.manifest.model
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "model")
            bundle.save(folder / _FOLDER, signer=self._keys.signer(), run=run.id)
            _describe(folder, bundle.contract, run.id)
            source = run.folder("model", folder)
        stored = _local(source)
        if stored is not None:
            sync_tree(stored, above=_NEW_FOLDERS)
        self._ensure(name)
        made = self._client.create_model_version(
            name, source=source, run_id=run.id, tags=dict(tags)
        )
        return _version(made, ())

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, oldest first; empty if it has none."""
        found = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
        aliases = self.aliases(model)  # a search leaves them out
        versions = [
            _version(v, [alias for alias, number in aliases.items() if number == int(v.version)])
            for v in found
        ]
        return sorted(versions, key=_number)

    def aliases(self, model: str) -> dict[str, int]:
        """All aliases of a model and the versions that have them; empty if there are none."""
        with self._lock:
            if self._changes is None or self._changes.any():
                self._aliases.clear()
            if model not in self._aliases:
                self._aliases[model] = self._aliases_now(model)
            return dict(self._aliases[model])

    def _aliases_now(self, model: str) -> dict[str, int]:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code != _ABSENT:
                raise
            return {}
        return {alias: int(version) for alias, version in found.aliases.items()}

    def close(self) -> None:
        """Give back the connection that looks for changes."""
        if self._changes is not None:
            self._changes.close()

    def version(self, model: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFoundError: the model has no such version.
        """
        with _not_found(f"model {model} has no version {version}; see: gyro versions {model}"):
            found = self._client.get_model_version(model, str(version))
        return _version(found, found.aliases)

    def holder(self, model: str, alias: str) -> ModelVersion | None:
        """The version that has ``alias``; None if none has."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code not in (_ABSENT, "INVALID_PARAMETER_VALUE"):  # no model, no alias
                raise
            return None
        return _version(found, found.aliases)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Move ``alias`` to ``version`` in one atomic step.

        Raises:
            NotFoundError: the model has no such version.
        """
        with _not_found(f"model {model} has no version {version}; see: gyro versions {model}"):
            self._client.set_registered_model_alias(model, alias, str(version))

    def remove_alias(self, model: str, alias: str) -> None:
        """Take ``alias`` from whichever version has it."""
        if alias in self.aliases(model):
            self._client.delete_registered_model_alias(model, alias)

    def set_tag(self, model: str, version: int, tag: str, value: str) -> None:
        """Tag a version.

        Raises:
            NotFoundError: the model has no such version.
        """
        with _not_found(f"model {model} has no version {version}; see: gyro versions {model}"):
            self._client.set_model_version_tag(model, str(version), tag, value)

    def bundle_folder(self, model: str, version: int) -> Path:
        """The folder of a version's bundle on this machine, fetched if it is kept elsewhere.

        Raises:
            NotFoundError: no such version, or its artefacts are gone.
        """
        source = self._source(model, version)
        stored = _local(source)
        if stored is None:
            folder = self._fetched(source, self._cache / model / str(version))
        else:
            folder = stored / _FOLDER
        if not (folder / MANIFEST).is_file():
            raise NotFoundError(f"the bundle of {model} version {version} is not in {folder}")
        return folder

    def _source(self, model: str, version: int) -> str:
        """Where the artefacts of a version are; asked once, since each question costs time."""
        source = self._sources.get((model, version))
        if source is None:
            self.version(model, version)
            source = str(self._client.get_model_version_download_uri(model, str(version)))
            self._sources[model, version] = source
        return source

    def _fetched(self, source: str, folder: Path) -> Path:
        """The bundle of a remote source in ``folder``, whole or not at all."""
        if not folder.is_dir():
            from mlflow.artifacts import download_artifacts

            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                download_artifacts(
                    f"{source}/{_FOLDER}",
                    dst_path=temporary,
                    tracking_uri=self._client.tracking_uri,
                )
                sync_tree(Path(temporary))
                with suppress(OSError):  # another process was faster
                    Path(temporary).rename(folder)
        return folder / _FOLDER

    def _ensure(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _local(source: str) -> Path | None:
    """The folder of artefacts that are kept on this machine; None if they are kept elsewhere."""
    parsed = urlparse(source)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


@contextmanager
def _not_found(message: str) -> Iterator[None]:
    """Turn MLflow's way of saying that something does not exist into ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != _ABSENT:
            raise
        raise NotFoundError(message) from None


def _describe(folder: Path, contract: Contract, run_id: str) -> None:
    """Write the MLmodel file that lets MLflow load the bundle as a pyfunc."""
    import sys

    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    import gyroscope

    # The contract checks types itself, with better messages: MLflow's double refuses int64.
    inputs = Schema([ColSpec(AnyType(), column.name) for column in contract.features])
    model = Model(
        run_id=run_id,
        artifact_path="model",
        flavors={
            "python_function": {
                "loader_module": _LOADER,
                "data": _FOLDER,
                "python_version": ".".join(map(str, sys.version_info[:3])),
            }
        },
        signature=ModelSignature(inputs=inputs, outputs=Schema([ColSpec("double")])),
        metadata={"target": next(c.name for c in contract.columns if c.role is Role.TARGET)},
    )
    model.save(str(folder / "MLmodel"))
    requirement = f"gyroscope-ml=={gyroscope.__version__}\n"
    (folder / "requirements.txt").write_text(requirement, encoding="utf-8")


def _version(found: Any, aliases: Iterable[str]) -> ModelVersion:
    return ModelVersion(
        model=found.name,
        version=int(found.version),
        run_id=found.run_id or "",
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(aliases)),
        tags=dict(found.tags),
    )


def _number(version: ModelVersion) -> int:
    return version.version
