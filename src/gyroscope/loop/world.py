"""Everything of a workspace that the loop reads and changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gyroscope.bundle.bundle import Bundle
from gyroscope.config import Config
from gyroscope.loop.base import Executor
from gyroscope.prediction_log.base import PredictionLog
from gyroscope.registry.publisher import Publisher
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Tracker
from gyroscope.store.base import Store


class World(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The outside of the loop, put together by ``gyroscope.app``."""

    config: Config
    store: Store
    registry: Registry
    tracker: Tracker
    publisher: Publisher
    executor: Executor
    log: Callable[[str], PredictionLog]  # by model; the same object each time
    bundle: Callable[[str, int], Bundle]  # by model and version; verified, kept in memory

    @property
    def snapshots(self) -> Path:
        """Where training sets are kept."""
        return self.config.state / "snapshots"

    def now(self, model: str) -> datetime:
        """The time the loop lives in, UTC: the wall clock, or just after the newest logged event.

        With the clock of the log and an empty log it is the end of the newest version's training
        data, if they have times.
        """
        if self.config.settings["clock"] == "log":
            span = self.log(model).span()
            if span is not None:
                return span.end
            trained = [v.tags.get("trained_until") for v in self.registry.versions(model)]
            if trained and trained[-1]:
                return datetime.fromisoformat(trained[-1])
        return datetime.now(UTC)
