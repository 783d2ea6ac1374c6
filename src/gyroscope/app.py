"""Puts the parts together from the settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyroscope.config import Config, load_config

if TYPE_CHECKING:
    from gyroscope.bundle.bundle import Bundle
    from gyroscope.bundle.keys import Keys
    from gyroscope.loop.pilot import Pilot
    from gyroscope.loop.world import World
    from gyroscope.prediction_log.file_log import FileLog
    from gyroscope.registry.registry import Registry
    from gyroscope.store.base import Store

_BUNDLES_IN_MEMORY = 16


class Workspace:
    """A folder with ``gyroscope.yaml``; every part is made on first use and kept.

    >>> Workspace("examples/churn").store.decisions()  # doctest: +SKIP
    """

    def __init__(self, root: str | Path = ".") -> None:
        """Read the settings; raises ConfigError."""
        self.config: Config = load_config(Path(root))
        self._logs: dict[str, FileLog] = {}
        self.bundle = lru_cache(maxsize=_BUNDLES_IN_MEMORY)(self._load_bundle)

    @property
    def state(self) -> Path:
        """The folder for everything that is written."""
        return self.config.state

    def model(self, name: str | None) -> str:
        """``name`` if there is such a model, or the only one; raises NotFoundError."""
        return self.config.model(name).name

    @cached_property
    def store(self) -> Store:
        """The control store."""
        from gyroscope.store.sql import open_store

        return open_store(self.state / "control.db")

    @cached_property
    def _mlflow(self) -> Any:
        from gyroscope.registry.client import mlflow_client

        return mlflow_client(self.tracking_uri, self.state / "mlflow.lock")

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and versions."""
        return f"sqlite:///{self._registry_file}"

    @property
    def _registry_file(self) -> Path:
        return self.state / "mlflow.db"

    @cached_property
    def registry(self) -> Registry:
        """Versions and aliases."""
        from gyroscope.registry.registry import Registry

        return Registry(self._mlflow, self.state / "cache", self.keys, database=self._registry_file)

    @cached_property
    def keys(self) -> Keys:
        """The key that bundles are signed with, and those whose bundles are trusted."""
        from gyroscope.bundle.keys import Keys, keys_folder

        return Keys(keys_folder(self.state))

    def log(self, model: str) -> FileLog:
        """The prediction log of a model."""
        from gyroscope.prediction_log.file_log import FileLog

        if model not in self._logs:
            self._logs[model] = FileLog(self.config.log_folder(model))
        return self._logs[model]

    def _load_bundle(self, model: str, version: int) -> Bundle:
        from gyroscope.bundle.bundle import Bundle

        folder = self.registry.bundle_folder(model, version)
        return Bundle.load(
            folder,
            trusted=self.keys.trusted(),
            trusted_types=self.config.settings["trusted_types"],
        )

    @cached_property
    def world(self) -> World:
        """Everything the loop reads and changes."""
        from gyroscope.loop.executors import ProcessExecutor
        from gyroscope.loop.world import World
        from gyroscope.registry.publisher import Publisher
        from gyroscope.registry.tracking import Tracker

        return World(
            config=self.config,
            store=self.store,
            registry=self.registry,
            registry_file=self._registry_file,
            tracker=Tracker(self._mlflow, self.state / "artefacts"),
            publisher=Publisher(self.registry, self.state / "serving"),
            executor=ProcessExecutor(self.command("job"), self.state / "jobs"),
            log=self.log,
            bundle=self.bundle,
        )

    def pilot(self, model: str) -> Pilot:
        """The loop of one model."""
        from gyroscope.loop.pilot import Pilot

        return Pilot(self.world, model)

    @property
    def pilot_lock(self) -> Path:
        """The file that the pilot of this workspace keeps locked."""
        return self.state / "pilot.lock"

    def command(self, *words: str) -> Sequence[str]:
        """The command line that runs ``gyro words...`` on this workspace in a new process."""
        return (sys.executable, "-m", "gyroscope", *words, "--workspace", str(self.config.root))

    def close(self) -> None:
        """Give back files and connections."""
        for log in self._logs.values():
            log.close()
        if "world" in self.__dict__:
            self.world.executor.close()
        if "registry" in self.__dict__:
            self.registry.close()
        if "store" in self.__dict__:
            self.store.close()
