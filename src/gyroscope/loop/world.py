"""Everything of a workspace that the loop reads and changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gyroscope.bundle.bundle import Bundle
from gyroscope.config import Config
from gyroscope.loop.base import Executor
from gyroscope.loop.clock import log_time
from gyroscope.loop.locks import locked
from gyroscope.prediction_log.base import PredictionLog
from gyroscope.registry.publisher import Publisher
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Tracker
from gyroscope.store.base import Store

_WAIT_S = 30.0  # for another process that acts on the same model; it takes a second or two


class World(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The outside of the loop, put together by ``gyroscope.app``."""

    config: Config
    store: Store
    registry: Registry
    tracker: Tracker
    registry_file: Path  # the registry's database, looked at to see whether it has changed
    publisher: Publisher
    executor: Executor
    log: Callable[[str], PredictionLog]  # by model; the same object each time
    bundle: Callable[[str, int], Bundle]  # by model and version; verified, kept in memory

    @property
    def snapshots(self) -> Path:
        """Where training sets are kept."""
        return self.config.state / "snapshots"

    def log_folder(self, model: str) -> Path:
        """Where the prediction log of a model is kept."""
        return self.config.log_folder(model)

    def acting_on(self, model: str) -> AbstractContextManager[None]:
        """The right to act on a model, which one process has at a time; waits for it.

        Raises:
            GyroscopeError: another process keeps it too long.
        """
        path = self.config.state / "locks" / f"{model}.lock"
        return locked(path, wait_s=_WAIT_S, doing=f"acting on model {model}")

    def now(self, model: str) -> datetime:
        """The time the loop lives in, UTC: the wall clock, or that of the prediction log.

        With the clock of the log and an empty log it is the end of the newest version's training
        data, if they have times.
        """
        wall = datetime.now(UTC)
        if self.config.settings["clock"] == "wall":
            return wall
        logged = log_time(self.log(model), wall)
        if logged is not None:
            return logged
        trained = [v.tags.get("trained_until") for v in self.registry.versions(model)]
        return datetime.fromisoformat(trained[-1]) if trained and trained[-1] else wall
